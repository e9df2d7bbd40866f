import FuzzDriver
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

@main
struct Fuzzer {
    static func main() { FuzzDriver.run(check) }
}
