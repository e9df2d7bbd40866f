import NIOCore

/// One system's protocol on one connection, with one request under way at most.
protocol Wire {
    /// What to send before the first request.
    mutating func greeting() -> ByteBuffer?
    mutating func request(_ ask: Ask, into buffer: inout ByteBuffer)
    /// Takes bytes off `input`. Bytes to send back at once (acknowledgements) go to `output`.
    mutating func read(_ input: inout ByteBuffer, output: inout ByteBuffer) throws(WireError) -> WireEvent
}

enum WireEvent: Equatable {
    case needsMore
    /// The answer to the request under way; nil when it was right, else what was wrong.
    case answer(String?)
}

struct WireError: Error {
    var text: String
}

/// HTTP/1.1 with Consul's paths. Reads just what the two systems send: Content-Length or chunks.
struct ConsulWire: Wire {
    let workload: Workload
    private let putHead: [UInt8]
    private let getHead: [UInt8]
    private let putTail: [UInt8]
    private let getTail: [UInt8]
    private var asked: Ask = .put(0)
    private var body: [UInt8] = []

    init(workload: Workload, address: Address) {
        self.workload = workload
        self.putHead = Array("PUT /v1/kv/".utf8)
        self.getHead = Array("GET /v1/kv/".utf8)
        self.putTail = Array(
            " HTTP/1.1\r\nHost: \(address.text)\r\nContent-Length: \(workload.valueBytes)\r\n\r\n".utf8)
        let query =
            switch workload.operation {
            case .put, .get: ""
            case .getConsistent: "?consistent"
            case .getStale: "?stale"
            }
        self.getTail = Array("\(query) HTTP/1.1\r\nHost: \(address.text)\r\n\r\n".utf8)
    }

    mutating func greeting() -> ByteBuffer? { nil }

    mutating func request(_ ask: Ask, into buffer: inout ByteBuffer) {
        self.asked = ask
        switch ask {
        case .put(let number):
            buffer.writeBytes(self.putHead)
            self.workload.writeKey(number, to: &buffer)
            buffer.writeBytes(self.putTail)
            buffer.writeBytes(self.workload.value(number))
        case .get(let number):
            buffer.writeBytes(self.getHead)
            self.workload.writeKey(number, to: &buffer)
            buffer.writeBytes(self.getTail)
        }
    }

    mutating func read(_ input: inout ByteBuffer, output: inout ByteBuffer) throws(WireError) -> WireEvent {
        guard let head = try Self.head(in: input) else { return .needsMore }
        self.body.removeAll(keepingCapacity: true)
        let consumed: Int
        if head.chunked {
            guard let length = try self.takeChunks(input, from: head.length) else { return .needsMore }
            consumed = length
        } else {
            guard input.readableBytes >= head.length + head.bodyLength else { return .needsMore }
            consumed = head.length + head.bodyLength
            if self.workload.verify || head.status != 200,
                let bytes = input.getBytes(at: input.readerIndex + head.length, length: head.bodyLength)
            {
                self.body = bytes
            }
        }
        input.moveReaderIndex(forwardBy: consumed)
        return .answer(self.complaint(head.status))
    }

    private func complaint(_ status: Int) -> String? {
        guard status == 200 else {
            return "status \(status): \(String(decoding: self.body.prefix(100), as: UTF8.self))"
        }
        guard self.workload.verify else { return nil }
        switch self.asked {
        case .put:
            return self.body.starts(with: Array("true".utf8)) ? nil : "put answered other than true"
        case .get(let number):
            let wanted = Base64.encode(self.workload.value(number))
            return self.body.contains(wanted) ? nil : "get answered another value"
        }
    }

    private struct Head {
        var status: Int
        /// Bytes up to and with the empty line.
        var length: Int
        var bodyLength = 0
        var chunked = false
    }

    /// The bytes read so far, up to the end of the headers; nil when that has not come.
    private static func head(in input: ByteBuffer) throws(WireError) -> Head? {
        let parsed = input.withUnsafeReadableBytes { bytes -> Result<Head?, WireError> in
            var position = 0
            var head: Head?
            while let end = lineEnd(bytes, from: position) {
                let line = UnsafeRawBufferPointer(rebasing: bytes[position..<end])
                position = end + 2
                if head == nil {
                    // "HTTP/1.1 200"
                    guard line.count >= 12, line[0] == UInt8(ascii: "H"), let status = number(line, from: 9) else {
                        return .failure(WireError(text: "no HTTP answer"))
                    }
                    head = Head(status: status, length: 0)
                } else if line.isEmpty {
                    head?.length = position
                    return .success(head)
                } else if hasName(line, "content-length:") {
                    head?.bodyLength = number(line, from: 15) ?? 0
                } else if hasName(line, "transfer-encoding:") {
                    head?.chunked = true
                }
            }
            return .success(nil)
        }
        return try parsed.get()
    }

    private static func lineEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var position = start
        while position + 1 < bytes.count {
            if bytes[position] == 13, bytes[position + 1] == 10 { return position }
            position += 1
        }
        return nil
    }

    private static func hasName(_ line: UnsafeRawBufferPointer, _ name: StaticString) -> Bool {
        guard line.count >= name.utf8CodeUnitCount else { return false }
        for position in 0..<name.utf8CodeUnitCount where line[position] | 0x20 != name.utf8Start[position] | 0x20 {
            return false
        }
        return true
    }

    /// A decimal number behind any spaces.
    private static func number(_ line: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var position = start
        while position < line.count, line[position] == 32 { position += 1 }
        var value: Int?
        while position < line.count, line[position] >= 48, line[position] <= 57, (value ?? 0) < 1 << 40 {
            value = (value ?? 0) * 10 + Int(line[position] - 48)
            position += 1
        }
        return value
    }

    /// Collects chunks into `body`; returns where the answer ends, or nil when it has not come whole.
    private mutating func takeChunks(_ input: ByteBuffer, from start: Int) throws(WireError) -> Int? {
        let bytes = input.readableBytesView
        var position = bytes.startIndex + start
        while true {
            var size = 0
            while position < bytes.endIndex, let digit = Self.hex(bytes[position]), size < 1 << 32 {
                size = size * 16 + digit
                position += 1
            }
            guard position + 2 <= bytes.endIndex else { return nil }
            guard bytes[position] == 13 else { throw WireError(text: "malformed chunk") }
            position += 2
            guard position + size + 2 <= bytes.endIndex else { return nil }
            self.body += bytes[position..<position + size]
            position += size + 2
            if size == 0 { return position - bytes.startIndex }
        }
    }

    private static func hex(_ byte: UInt8) -> Int? {
        switch byte {
        case 48...57: Int(byte) - 48
        case 65...70: Int(byte) - 55
        case 97...102: Int(byte) - 87
        default: nil
        }
    }
}

extension [UInt8] {
    /// True when `other` occurs in it.
    func contains(_ other: [UInt8]) -> Bool {
        guard let first = other.first, self.count >= other.count else { return other.isEmpty }
        for start in 0...(self.count - other.count) where self[start] == first {
            var position = 1
            while position < other.count, self[start + position] == other[position] { position += 1 }
            if position == other.count { return true }
        }
        return false
    }
}
