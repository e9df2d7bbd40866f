import NIOCore
import Protocol
import SwiftProtobuf

/// Why a stream of bytes is no stream of frames; the connection is closed with this text.
package enum FrameError: Error, Equatable, CustomStringConvertible {
    case tooLarge(bytes: Int, limit: Int)
    case malformed

    package var description: String {
        switch self {
        case .tooLarge(let bytes, let limit): "a frame of \(bytes) bytes exceeds the limit of \(limit)"
        case .malformed: "a frame is not a valid message"
        }
    }
}

/// Cuts a byte stream into frames: four bytes of length, big-endian, then so many bytes of `PeerFrame`. A frame of
/// length zero is a keep-alive. Memory grows with the bytes that have arrived, never with the length that is
/// announced.
package struct FrameReader: Sendable {
    private var buffer = ByteBuffer()
    package var limit: Int

    package init(limit: Int) { self.limit = limit }

    package mutating func append(_ bytes: ByteBuffer) {
        if self.buffer.readableBytes == 0 {
            self.buffer = bytes
        } else {
            var bytes = bytes
            self.buffer.writeBuffer(&bytes)
        }
    }

    package enum Frame: Equatable, Sendable {
        case keepAlive
        case message(PeerFrame)
    }

    /// The next whole frame; nil when more bytes are needed.
    package mutating func next() throws(FrameError) -> Frame? {
        guard let length = self.buffer.getInteger(at: self.buffer.readerIndex, as: UInt32.self) else { return nil }
        guard Int(length) <= self.limit else { throw .tooLarge(bytes: Int(length), limit: self.limit) }
        guard self.buffer.readableBytes >= 4 + Int(length) else {
            // Room that was read already is used again before the buffer grows.
            self.buffer.discardReadBytes()
            return nil
        }
        self.buffer.moveReaderIndex(forwardBy: 4)
        if length == 0 { return .keepAlive }
        guard let body = self.buffer.readSlice(length: Int(length)) else { return nil }
        do {
            return .message(try body.withUnsafeReadableBytes { try PeerFrame(serializedBytes: $0.bytes) })
        } catch {
            throw .malformed
        }
    }
}

/// Writes frames into a buffer. The payload is encoded before; the few bytes of `Frame` around it are written here, so
/// that nothing is copied twice.
package enum FrameWriter {
    /// Tags of `Frame`'s fields in the schema: number << 3 | 2 (length-delimited).
    package enum Kind: UInt8, Sendable {
        case hello = 0x12
        case raft = 0x1A
        case request = 0x22
        case response = 0x2A
        case cancel = 0x32
    }

    package static func writeKeepAlive(into buffer: inout ByteBuffer) { buffer.writeInteger(UInt32(0)) }

    /// `call` 0 is one-way.
    package static func write(_ kind: Kind, call: UInt64, payload: [UInt8], into buffer: inout ByteBuffer) {
        let start = buffer.writerIndex
        buffer.writeInteger(UInt32(0))
        if call != 0 {
            buffer.writeInteger(UInt8(0x08))
            Self.writeVarint(call, into: &buffer)
        }
        buffer.writeInteger(kind.rawValue)
        Self.writeVarint(UInt64(payload.count), into: &buffer)
        buffer.writeBytes(payload)
        buffer.setInteger(UInt32(buffer.writerIndex - start - 4), at: start)
    }

    /// Bytes of a frame beyond its payload, at most: length 4, call 1 + 10, tag 1, payload length 10.
    package static let overhead = 26

    private static func writeVarint(_ value: UInt64, into buffer: inout ByteBuffer) {
        var rest = value
        while rest >= 0x80 {
            buffer.writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        buffer.writeInteger(UInt8(truncatingIfNeeded: rest))
    }
}

extension SwiftProtobuf.Message {
    /// Encoding fails only for missing required fields, which proto3 has none of, and beyond 2 GiB.
    func encoded() -> [UInt8]? { try? self.serializedBytes() }
}
