import Units

// A row stream: eight bytes of heading, a frame per row (its length, then a tag and the fields), a frame of length 0 and
// the number of rows. Numbers are LEB128 (seven bits a byte, low ones first), bytes and text carry their length.

private let heading: [UInt8] = Array("SERAIRW1".utf8)

/// Larger than any row may be: a value plus its key, or a piece of a restore.
private let largestFrame = 64 << 20

struct RowWriter: RowSink {
    var output: [UInt8] = []

    mutating func number(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            self.output.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        self.output.append(UInt8(value))
    }

    mutating func bytes(_ value: [UInt8]) {
        self.number(UInt64(value.count))
        self.output.append(contentsOf: value)
    }

    mutating func text(_ value: String) {
        self.number(UInt64(value.utf8.count))
        self.output.append(contentsOf: value.utf8)
    }
}

/// Reads what a `RowWriter` wrote; every length is held against what is there.
struct RowReader {
    private let input: [UInt8]
    private(set) var offset: Int
    private let end: Int

    init(_ input: [UInt8]) {
        self.init(input, 0..<input.count)
    }

    init(_ input: [UInt8], _ range: Range<Int>) {
        self.input = input
        self.offset = range.lowerBound
        self.end = range.upperBound
    }

    var isAtEnd: Bool { self.offset == self.end }

    mutating func number() throws(RegistryError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while self.offset < self.end {
            let byte = self.input[self.offset]
            self.offset += 1
            // The tenth byte has room for one bit of the 64.
            if shift == 63, byte > 1 { throw .badRow("a number of more than 64 bits") }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw .badRow("a number is cut off")
    }

    mutating func number32() throws(RegistryError) -> UInt32 {
        let value = try self.number()
        guard let small = UInt32(exactly: value) else { throw .badRow("a number of more than 32 bits") }
        return small
    }

    /// A length or a count: never more than the bytes that are left.
    mutating func count() throws(RegistryError) -> Int {
        let value = try self.number()
        guard value <= UInt64(self.end - self.offset) else { throw .badRow("a length beyond the end of its row") }
        return Int(value)
    }

    mutating func bytes() throws(RegistryError) -> [UInt8] {
        let count = try self.count()
        defer { self.offset += count }
        return Array(self.input[self.offset..<(self.offset + count)])
    }

    mutating func text() throws(RegistryError) -> String {
        let count = try self.count()
        let slice = self.input[self.offset..<(self.offset + count)]
        guard let text = String(validating: slice, as: UTF8.self) else { throw .badRow("text that is not UTF-8") }
        self.offset += count
        return text
    }

    mutating func texts() throws(RegistryError) -> [String] {
        let count = try self.count()
        var texts: [String] = []
        texts.reserveCapacity(count)
        for _ in 0..<count { texts.append(try self.text()) }
        return texts
    }

    mutating func map() throws(RegistryError) -> StringMap {
        var pairs: [StringMap.Pair] = []
        for _ in 0..<(try self.count()) {
            pairs.append(StringMap.Pair(key: try self.text(), value: try self.text()))
        }
        return StringMap(pairs)
    }
}

extension Row {
    func write(to writer: inout RowWriter) {
        switch self {
        case .kv(let row): writer.tagged(1, row)
        case .session(let row): writer.tagged(2, row)
        case .node(let row): writer.tagged(3, row)
        case .service(let row): writer.tagged(4, row)
        case .check(let row): writer.tagged(5, row)
        case .tombstone(let key, let index, let wallTime): writer.tagged(6, key, numbers: [index, wallTime])
        case .lockDelay(let key, let until): writer.tagged(7, key, numbers: [until])
        case .serviceIndex(let name, let index): writer.tagged(8, name, numbers: [index])
        case .tableIndex(let name, let index): writer.tagged(9, ByteKey(name), numbers: [index])
        case .dedupClient(let client, let floor, let kept, let seenWall, let seenIndex):
            writer.tagged(10, ByteKey([]), numbers: [client, floor, kept, seenWall, seenIndex])
        case .dedupResult(let client, let sequence, let result):
            writer.tagged(11, ByteKey(result), numbers: [client, sequence])
        case .revokedNode(let id, let name): writer.tagged(12, ByteKey(name), numbers: [id])
        case .restoreStaging(let id, let totalBytes, let hash, let seenWall):
            writer.tagged(13, ByteKey(hash), numbers: [id, totalBytes, seenWall])
        case .restoreChunk(let offset, let bytes): writer.tagged(14, ByteKey(bytes), numbers: [offset])
        case .hashMark(let index, let hash): writer.tagged(15, ByteKey(hash), numbers: [index])
        case .meta(let key, let value):
            writer.number(16)
            writer.text(key)
            writer.bytes(value)
        }
    }

    init(_ reader: inout RowReader) throws(RegistryError) {
        let tag = try reader.number()
        switch tag {
        case 1: self = .kv(try KVEntry(&reader))
        case 2: self = .session(try Session(&reader))
        case 3: self = .node(try Node(&reader))
        case 4: self = .service(try ServiceInstance(&reader))
        case 5: self = .check(try HealthCheck(&reader))
        case 9: self = .tableIndex(name: try reader.text(), index: try reader.number())
        case 16: self = .meta(key: try reader.text(), value: try reader.bytes())
        case 12:
            let name = try reader.text()
            self = .revokedNode(id: try reader.number(), name: name)
        case 6, 7, 8, 10, 11, 13, 14, 15: self = try Row(tag, try reader.bytes(), &reader)
        default: throw .badRow("a row of kind \(tag)")
        }
        guard reader.isAtEnd else { throw .badRow("bytes after the end of a row of kind \(tag)") }
    }

    /// The kinds made of some bytes and a few numbers.
    private init(_ tag: UInt64, _ bytes: [UInt8], _ reader: inout RowReader) throws(RegistryError) {
        let first = try reader.number()
        switch tag {
        case 6: self = .tombstone(key: ByteKey(bytes), index: first, wallTime: try reader.number())
        case 7: self = .lockDelay(key: ByteKey(bytes), until: first)
        case 8: self = .serviceIndex(name: ByteKey(bytes), index: first)
        case 10:
            self = .dedupClient(
                client: first, floor: try reader.number(), kept: try reader.number(), seenWall: try reader.number(),
                seenIndex: try reader.number())
        case 11: self = .dedupResult(client: first, sequence: try reader.number(), result: bytes)
        case 13:
            self = .restoreStaging(
                id: first, totalBytes: try reader.number(), hash: bytes, seenWall: try reader.number())
        case 14: self = .restoreChunk(offset: first, bytes: bytes)
        default: self = .hashMark(index: first, hash: bytes)
        }
    }
}

extension RowWriter {
    fileprivate mutating func tagged(_ tag: UInt64, _ row: some CanonicalRow) {
        self.number(tag)
        row.write(to: &self)
    }

    fileprivate mutating func tagged(_ tag: UInt64, _ bytes: ByteKey, numbers: [UInt64]) {
        self.number(tag)
        self.bytes(bytes.bytes)
        for number in numbers { self.number(number) }
    }
}

extension Registry {
    /// The rows as bytes, handed out in pieces of at least `pieceBytes` (the last may be shorter): a snapshot file, or
    /// the chunks of a restore.
    public func encodeRows(
        _ scope: RowScope = .everything, pieceBytes: Int = 1 << 20, _ body: ([UInt8]) throws -> Void
    ) rethrows {
        var stream = RowWriter()
        var frame = RowWriter()
        var count: UInt64 = 0
        stream.output = heading
        try self.forEachRow(scope) { row in
            frame.output.removeAll(keepingCapacity: true)
            row.write(to: &frame)
            stream.bytes(frame.output)
            count += 1
            if stream.output.count >= pieceBytes {
                try body(stream.output)
                stream.output.removeAll(keepingCapacity: true)
            }
        }
        stream.number(0)
        stream.number(count)
        try body(stream.output)
    }

    /// The rows as one array.
    public func encodedRows(_ scope: RowScope = .everything) -> [UInt8] {
        var bytes: [UInt8] = []
        self.encodeRows(scope) { bytes += $0 }
        return bytes
    }

    /// A registry from what `encodeRows` handed out.
    public init(encodedRows bytes: [UInt8]) throws(RegistryError) {
        self.init()
        var decoder = RowStreamDecoder()
        decoder.feed(bytes)
        while let row = try decoder.next() { try self.load(row) }
        try decoder.finish()
    }
}

/// Rows from bytes that arrive in pieces, cut anywhere.
public struct RowStreamDecoder: Sendable {
    private var buffer: [UInt8] = []
    private var offset = 0
    private var rows: UInt64 = 0
    private var hasHeading = false
    private var hasEnded = false

    public init() {}

    public mutating func feed(_ bytes: [UInt8]) {
        if self.offset == self.buffer.count {
            self.buffer = bytes
        } else {
            self.buffer.removeSubrange(..<self.offset)
            self.buffer += bytes
        }
        self.offset = 0
    }

    /// The next whole row; nil when more bytes are needed, or at the end.
    public mutating func next() throws(RegistryError) -> Row? {
        guard !self.hasEnded, try self.takeHeading(), let length = try self.peekNumber(at: self.offset) else {
            return nil
        }
        if length.value == 0 {
            guard let count = try self.peekNumber(at: length.end) else { return nil }
            guard count.value == self.rows else {
                throw .badRow("the stream names \(count.value) rows and holds \(self.rows)")
            }
            self.offset = count.end
            self.hasEnded = true
            return nil
        }
        guard length.value <= UInt64(largestFrame) else { throw .badRow("a row of \(length.value) bytes") }
        let end = length.end + Int(length.value)
        guard end <= self.buffer.count else { return nil }
        var reader = RowReader(self.buffer, length.end..<end)
        let row = try Row(&reader)
        self.offset = end
        self.rows += 1
        return row
    }

    /// To be called after the last piece: throws unless the stream ended as it should.
    public func finish() throws(RegistryError) {
        guard self.hasEnded else { throw .badRow("the stream is cut off after \(self.rows) rows") }
        guard self.offset == self.buffer.count else { throw .badRow("bytes after the end of the stream") }
    }

    private mutating func takeHeading() throws(RegistryError) -> Bool {
        if self.hasHeading { return true }
        guard self.buffer.count >= heading.count else { return false }
        guard self.buffer.starts(with: heading) else { throw .badRow("this is no row stream of a known version") }
        self.offset = heading.count
        self.hasHeading = true
        return true
    }

    private func peekNumber(at start: Int) throws(RegistryError) -> (value: UInt64, end: Int)? {
        let end = min(self.buffer.count, start + 10)
        guard self.buffer[start..<end].contains(where: { $0 < 0x80 }) else {
            if end - start == 10 { throw .badRow("a number of more than 64 bits") }
            return nil
        }
        var reader = RowReader(self.buffer, start..<end)
        let value = try reader.number()
        return (value, reader.offset)
    }
}
