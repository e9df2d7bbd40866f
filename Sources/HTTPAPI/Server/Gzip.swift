import CZlib
import NIOCore
import NIOPosix

/// Compresses answers for whoever accepts gzip (RFC 9110 §8.4.1.3). As Consul does, whatever their size and type; what is
/// streamed is sent as it is. `@unchecked Sendable`: each is used by its own thread alone.
final class GzipEncoder: @unchecked Sendable {
    /// What zlib needs for one answer, 268 KB, is made once for each thread.
    private static let ofThread = ThreadSpecificVariable<GzipEncoder>()
    /// The fastest: an answer is read once, and the way to its reader is short.
    private static let level: Int32 = 1

    private let stream: UnsafeMutablePointer<z_stream>

    private init?() {
        self.stream = .allocate(capacity: 1)
        self.stream.initialize(to: z_stream())
        if czlib_gzip_init(self.stream, Self.level) != Z_OK {
            self.stream.deallocate()
            return nil
        }
    }

    deinit {
        deflateEnd(self.stream)
        self.stream.deallocate()
    }

    /// Nil when there is no memory for it.
    static func encode(_ body: ByteBuffer) -> ByteBuffer? {
        if let encoder = self.ofThread.currentValue { return encoder.encode(body) }
        guard let encoder = GzipEncoder() else { return nil }
        self.ofThread.currentValue = encoder
        return encoder.encode(body)
    }

    private func encode(_ body: ByteBuffer) -> ByteBuffer? {
        guard let size = UInt32(exactly: body.readableBytes), deflateReset(self.stream) == Z_OK else { return nil }
        var output = ByteBuffer()
        var isWhole = false
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: Int(deflateBound(self.stream, UInt(size)))) { target in
            body.withUnsafeReadableBytes { source in
                // zlib reads only, whatever the type says.
                self.stream.pointee.next_in = UnsafeMutablePointer(
                    mutating: source.assumingMemoryBound(to: UInt8.self).baseAddress)
                self.stream.pointee.avail_in = size
                self.stream.pointee.next_out = target.assumingMemoryBound(to: UInt8.self).baseAddress
                let room = UInt32(clamping: target.count)
                self.stream.pointee.avail_out = room
                isWhole = deflate(self.stream, Z_FINISH) == Z_STREAM_END
                return Int(room - self.stream.pointee.avail_out)
            }
        }
        return isWhole ? output : nil
    }
}

/// Whether `Accept-Encoding` names gzip with a weight above zero (RFC 9110 §12.5.3). `*` is not enough, as for Consul.
func gzipIsAccepted(_ header: String) -> Bool {
    header.split(separator: ",").contains { element in
        let parts = element.split(separator: ";", omittingEmptySubsequences: false).map { $0.trimmingSpaces }
        guard let coding = parts.first, equalsIgnoringCase(coding.utf8, "gzip".utf8) else { return false }
        return parts.dropFirst().allSatisfy { parameter in
            !parameter.lowercased().hasPrefix("q=") || Double(parameter.dropFirst(2)).map { $0 > 0 } ?? false
        }
    }
}

extension Substring {
    var trimmingSpaces: Substring {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        guard let first = self.firstIndex(where: { !isSpace($0) }), let last = self.lastIndex(where: { !isSpace($0) })
        else { return "" }
        return self[first...last]
    }
}

extension APIResponse {
    /// Up to this size compressing takes less than a change of threads and back; larger ones are not for an event loop.
    static let compressedOnLoopMax = 16_384

    /// The same answer, its body in gzip's format.
    var compressed: APIResponse {
        guard self.stream == nil, self.body.readableBytes > 0, let body = GzipEncoder.encode(self.body) else {
            return self
        }
        var response = self
        response.body = body
        response.headers.append(("Content-Encoding", "gzip"))
        return response
    }
}
