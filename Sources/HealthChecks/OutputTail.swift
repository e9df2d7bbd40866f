/// The last bytes of an output whose length nobody knows beforehand; takes at most twice its limit of memory.
public struct OutputTail: Sendable {
    private let limit: Int
    private var kept: [UInt8] = []
    /// Bytes seen so far.
    public private(set) var total = 0

    public init(limit: Int) { self.limit = max(0, limit) }

    public mutating func append(_ bytes: some Collection<UInt8>) {
        self.total += bytes.count
        self.kept.append(contentsOf: bytes.suffix(self.limit))
        if self.kept.count > self.limit * 2 { self.kept.removeFirst(self.kept.count - self.limit) }
    }

    /// The tail as text; bytes that are not UTF-8 become U+FFFD.
    public var text: String { String(decoding: self.kept.suffix(self.limit), as: UTF8.self) }

    /// The tail, after a note when it is not all there was.
    public var noted: String {
        self.total > self.limit ? "Captured \(self.limit) of \(self.total) bytes\n...\n\(self.text)" : self.text
    }

    /// A text that its owner hands in whole (a TTL report): cut at the front end, with a note about it.
    public static func shorten(_ text: String, limit: Int) -> String {
        let bytes = Array(text.utf8)
        if bytes.count <= limit { return text }
        let captured = String(decoding: bytes.prefix(limit), as: UTF8.self)
        return "\(captured) ... (captured \(limit) of \(bytes.count) bytes)"
    }
}
