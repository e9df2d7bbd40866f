import DNSCodec
import FuzzDriver
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

@main
struct Fuzzer {
    static func main() { FuzzDriver.run(check) }
}
