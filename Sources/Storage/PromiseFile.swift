import Units

/// What this server has promised, in a file apart from the log: "I have acknowledged entries up to here, and this is my
/// term and vote". Two slots of 4 KiB are written in turn, so that a torn write leaves the other one.
///
/// A log that shows less than the promise has lost something: SQLite drops everything behind a damaged frame of its
/// write-ahead log without a word, and a restored backup looks healthy. The promise may be older than the log (it is
/// written about once a second, and with every vote), never newer: it is lowered before the log is truncated.
struct Promise: Equatable {
    /// Rises with each write.
    var sequence: UInt64 = 0
    var index: LogIndex = .zero
    var term: Term = .zero
    /// The chain's link at `index`.
    var chain: Chain = .start
    /// Hard state: the second copy of it.
    var hardTerm: Term = .zero
    var vote: NodeID?
    var commitHint: LogIndex = .zero
    /// Set while this server may not vote because it holds less than it promised.
    var quarantinedUntil: LogIndex?
    var node: String = ""
    var cluster: String = ""

    static let format: UInt32 = 1
    static let slotBytes = 4096
    private static let magic: UInt64 = 0x5345_5241_4950_524D
    /// Magic, format, checksum.
    private static let headBytes = 16

    /// Nothing was ever promised: the file has just been made.
    var isBlank: Bool {
        self.index == .zero && self.hardTerm == .zero && self.quarantinedUntil == nil && self.node.isEmpty
    }

    func encoded() -> [UInt8] {
        var body = ByteWriter()
        body.put(self.sequence)
        body.put(self.index.rawValue)
        body.put(self.term.rawValue)
        body.put(raw: self.chain.bytes)
        body.put(self.hardTerm.rawValue)
        body.put(UInt8(self.vote == nil ? 0 : 1))
        body.put(self.vote?.rawValue ?? 0)
        body.put(self.commitHint.rawValue)
        body.put(UInt8(self.quarantinedUntil == nil ? 0 : 1))
        body.put(self.quarantinedUntil?.rawValue ?? 0)
        body.put(self.node)
        body.put(self.cluster)
        invariant(body.bytes.count <= Self.slotBytes - Self.headBytes, "promise of \(body.bytes.count) bytes")
        body.bytes += [UInt8](repeating: 0, count: Self.slotBytes - Self.headBytes - body.bytes.count)
        var slot = ByteWriter()
        slot.put(Self.magic)
        slot.put(Self.format)
        slot.put(CRC32C.checksum(body.bytes))
        slot.put(raw: body.bytes)
        return slot.bytes
    }

    enum Slot: Equatable {
        case valid(Promise)
        case damaged
        case newer(Int)
    }

    static func decode(_ bytes: [UInt8]) -> Slot {
        var head = ByteReader(bytes)
        guard bytes.count == Self.slotBytes, head.take(UInt64.self) == Self.magic, let format = head.take(UInt32.self),
            let checksum = head.take(UInt32.self)
        else { return .damaged }
        let body = Array(bytes[Self.headBytes...])
        guard CRC32C.checksum(body) == checksum else { return .damaged }
        if format > Self.format { return .newer(Int(format)) }
        var reader = ByteReader(body)
        guard let sequence = reader.take(UInt64.self), let index = reader.take(UInt64.self),
            let term = reader.take(UInt64.self), let chain = reader.take(count: Chain.byteCount).flatMap({ Chain($0) }),
            let hardTerm = reader.take(UInt64.self), let hasVote = reader.take(UInt8.self),
            let vote = reader.take(UInt64.self), let commitHint = reader.take(UInt64.self),
            let isQuarantined = reader.take(UInt8.self), let quarantine = reader.take(UInt64.self),
            let node = reader.takeText(), let cluster = reader.takeText()
        else { return .damaged }
        return .valid(
            Promise(
                sequence: sequence, index: LogIndex(index), term: Term(term), chain: chain, hardTerm: Term(hardTerm),
                vote: hasVote == 1 ? NodeID(vote) : nil, commitHint: LogIndex(commitHint),
                quarantinedUntil: isQuarantined == 1 ? LogIndex(quarantine) : nil, node: node, cluster: cluster))
    }
}

/// The file `promise`.
struct PromiseFile {
    let path: String
    let fileSystem: any FileSystem

    enum Content: Equatable {
        case absent
        case promise(Promise)
        /// Neither slot can be read.
        case damaged
    }

    func read() throws(StorageError) -> Content {
        guard try self.fileSystem.size(self.path) != nil else { return .absent }
        var newest: Promise?
        for slot in 0..<2 {
            let offset = UInt64(slot * Promise.slotBytes)
            switch Promise.decode(try self.fileSystem.read(self.path, at: offset, count: Promise.slotBytes)) {
            case .damaged: break
            case .newer(let format):
                throw .newerFormat(file: self.path, found: format, supported: Int(Promise.format))
            case .valid(let promise):
                if promise.sequence >= newest?.sequence ?? 0 { newest = promise }
            }
        }
        return newest.map { .promise($0) } ?? .damaged
    }

    /// Writes the file anew: both slots hold space, so that later writes need none. Durable with its name.
    func create(_ promise: Promise) throws(StorageError) {
        let blank = [UInt8](repeating: 0, count: Promise.slotBytes)
        let own = Int(promise.sequence % 2)
        try self.fileSystem.write(self.path, at: UInt64((1 - own) * Promise.slotBytes), blank)
        try self.fileSystem.write(self.path, at: UInt64(own * Promise.slotBytes), promise.encoded())
        try self.fileSystem.sync(self.path)
        try self.fileSystem.syncDirectory(parentDirectory(self.path))
    }

    /// Overwrites the older slot; durable when this returns.
    func write(_ promise: Promise) throws(StorageError) {
        let slot = promise.sequence % 2
        try self.fileSystem.write(self.path, at: slot * UInt64(Promise.slotBytes), promise.encoded())
        try self.fileSystem.sync(self.path)
    }
}
