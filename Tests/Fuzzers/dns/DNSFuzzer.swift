import DNSCodec
import Units

/// A DNS packet is refused, or what was read of it can be written and is read the same again, whole or cut.
private func check(_ packet: [UInt8]) {
    guard let message = try? DNSMessage(decoding: packet) else { return }
    do throws(DNSCodecError) {
        let again = try DNSMessage(decoding: try message.encoded())
        if again.truncated && !message.truncated {
            invariant(again.answers == Array(message.answers.prefix(again.answers.count)), "\(message)")
        } else {
            invariant(again == message, "\(message) became \(again)")
        }
        let cut = try message.encoded(limit: 512)
        invariant(cut.count <= 512, "\(cut.count) bytes where 512 are allowed")
        _ = try DNSMessage(decoding: cut)
    } catch {
        // The one thing that is read more generously than it is written.
        invariant(error == .valueTooLarge(field: "OPT options"), "\(error)")
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    check(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// SwiftPM gives every executable a `main` of its own; this one hands over to libFuzzer's.
@main
struct Fuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        _ = runDriver(&count, &arguments, fuzzOneInput)
    }
}
