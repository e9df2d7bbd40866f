import NIOCore
import Protocol
import Raft
import SwiftProtobuf
import Transport
import Units

/// What a connection brings, in two pieces, cut where the first byte says: frames or an error, the same wherever the cut
/// is; a Raft message in a frame is refused, or encodes to itself.
private func check(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let stream = Array(input.dropFirst())
    let whole = read([stream])
    let cut = min(Int(first), stream.count)
    let pieces = read([Array(stream[..<cut]), Array(stream[cut...])])
    invariant(whole.frames == pieces.frames && whole.error == pieces.error, "\(whole) and \(pieces)")
    for case .message(let frame) in whole.frames {
        guard case .raft(let wire) = frame.kind, let message = try? RaftWire.decode(wire) else { continue }
        let again = try? RaftWire.decode(RaftWire.encode(message))
        invariant(again == message, "\(message) became \(String(describing: again))")
    }
}

private func read(_ pieces: [[UInt8]]) -> (frames: [FrameReader.Frame], error: FrameError?) {
    var reader = FrameReader(limit: 64 * 1024)
    var frames: [FrameReader.Frame] = []
    for piece in pieces {
        reader.append(ByteBuffer(bytes: piece))
        do throws(FrameError) {
            while let frame = try reader.next() { frames.append(frame) }
        } catch {
            return (frames, error)
        }
    }
    return (frames, nil)
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
