/// Appends integers in big-endian order and strings with their length. What is written so is hashed and compared
/// between servers, so the form never changes.
struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.bigEndian) { self.bytes.append(contentsOf: $0) }
    }
    mutating func put(_ text: String) { self.put(sized: Array(text.utf8)) }
    mutating func put(sized bytes: [UInt8]) {
        self.put(UInt32(bytes.count))
        self.bytes.append(contentsOf: bytes)
    }
    mutating func put(raw bytes: [UInt8]) { self.bytes.append(contentsOf: bytes) }
}

/// Reads what `ByteWriter` wrote; nil at the first thing that is not there.
struct ByteReader {
    private let bytes: [UInt8]
    private(set) var position: Int

    init(_ bytes: [UInt8], at position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    var isAtEnd: Bool { self.position == self.bytes.count }

    mutating func take<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) -> Value? {
        let size = MemoryLayout<Value>.size
        guard self.bytes.count - self.position >= size else { return nil }
        let value = self.bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: self.position, as: Value.self) }
        self.position += size
        return Value(bigEndian: value)
    }

    mutating func take(count: Int) -> [UInt8]? {
        guard count >= 0, self.bytes.count - self.position >= count else { return nil }
        defer { self.position += count }
        return Array(self.bytes[self.position..<self.position + count])
    }

    mutating func takeSized() -> [UInt8]? {
        guard let count = self.take(UInt32.self) else { return nil }
        return self.take(count: Int(count))
    }

    mutating func takeText() -> String? {
        guard let bytes = self.takeSized() else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }
}
