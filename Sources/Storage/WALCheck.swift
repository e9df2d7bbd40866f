/// Looks for damage in the middle of SQLite's write-ahead log, before SQLite opens it: SQLite takes the first frame
/// with a wrong checksum for the end of the log and drops every transaction behind it, which is right after a torn
/// write and silent loss after a flipped bit.
///
/// The two can be told apart. Each commit is synced before the next transaction writes a frame, so a crash tears the
/// last transaction only. If behind the break there is a commit frame with a frame after it that continues its
/// checksum, a later transaction had begun: what stands before was durable once, and is damaged now.
///
/// Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
struct WALCheck {
    /// What a log says before SQLite has looked at it.
    enum Verdict: Equatable {
        /// Empty, whole, or torn where a crash tears.
        case sound
        /// The header is not valid, and all that stands behind it is in the database: a crash tore the header when the
        /// log began anew after a checkpoint. SQLite takes such a log for empty, but writes on with the salts that it
        /// finds, so that the old frames behind the new ones would look like later transactions.
        case headless
        /// A sentence about what is damaged, with durable transactions behind it.
        case damaged(String)
    }

    private static let headerBytes = 32
    private static let frameHeaderBytes = 24
    private static let magic: UInt32 = 0x377F_0682
    private static let framesPerRead = 128

    private let fileSystem: any FileSystem
    private let path: String

    init(_ path: String, _ fileSystem: any FileSystem) {
        self.path = path
        self.fileSystem = fileSystem
    }

    private struct Sum: Equatable {
        var first: UInt32
        var second: UInt32
    }

    private struct Frame {
        var isCommit: Bool
        var hasSalts: Bool
        var sum: Sum
        /// Its checksum continues the one of the frame before.
        var continues: Bool
    }

    func verdict() throws(StorageError) -> Verdict {
        guard let size = try self.fileSystem.size(self.path), size > UInt64(Self.headerBytes) else { return .sound }
        let header = try self.fileSystem.read(self.path, at: 0, count: Self.headerBytes)
        guard header.count == Self.headerBytes else { return .sound }
        guard Self.start(header) != nil else {
            let isDamaged = try self.holdsMoreThanDatabase(size: size)
            return isDamaged
                ? .damaged("the header of raft.db-wal is damaged, and transactions behind it are lost") : .headless
        }
        guard let frame = try self.damagedFrame(header, size: size) else { return .sound }
        return .damaged("raft.db-wal is damaged at frame \(frame), and transactions behind it are lost")
    }

    private struct Start {
        var pageBytes: Int
        var sum: Sum
        var bigEndian: Bool
    }

    /// nil when the header is not valid.
    private static func start(_ header: [UInt8]) -> Start? {
        let magic = Self.word(header[...], 0)
        let pageBytes = Int(Self.word(header[...], 8))
        guard magic & ~1 == Self.magic, pageBytes >= 512, pageBytes <= 65536 else { return nil }
        let sum = Self.sum(header[0..<24], Sum(first: 0, second: 0), bigEndian: magic & 1 == 1)
        guard sum == Sum(first: Self.word(header[...], 24), second: Self.word(header[...], 28)) else { return nil }
        return Start(pageBytes: pageBytes, sum: sum, bigEndian: magic & 1 == 1)
    }

    /// Whether a committed page of the log is not in the database as it is here. A header is written anew only once every
    /// page was copied and synced, and before any frame; so then there is none, whatever the tear has left of it.
    private func holdsMoreThanDatabase(size: UInt64) throws(StorageError) -> Bool {
        let database = String(self.path.dropLast("-wal".count))
        let field = try self.fileSystem.read(database, at: 16, count: 2)
        let written = field.count == 2 ? Int(field[0]) << 8 | Int(field[1]) : 0
        let pageBytes = written == 1 ? 65536 : written
        // Without a database whatever there is stands here.
        if pageBytes < 512 { return size > UInt64(Self.headerBytes + Self.frameHeaderBytes) }
        // The order of the checksums' bytes stood in the header, too: the right one leads further.
        let (little, big) = (
            try self.committedPages(size: size, pageBytes, bigEndian: false),
            try self.committedPages(size: size, pageBytes, bigEndian: true)
        )
        for (page, offset) in little.frames >= big.frames ? little.images : big.images {
            let image = try self.fileSystem.read(self.path, at: offset, count: pageBytes)
            let place = UInt64(page - 1) * UInt64(pageBytes)
            if try image != self.fileSystem.read(database, at: place, count: pageBytes) { return true }
        }
        return false
    }

    /// Where each page's last committed image stands, by the frames alone, and how many of those hang together.
    private func committedPages(
        size: UInt64, _ pageBytes: Int, bigEndian: Bool
    ) throws(StorageError) -> (images: [UInt32: UInt64], frames: Int) {
        let frameBytes = Self.frameHeaderBytes + pageBytes
        var salts: [UInt8] = []
        var before = Sum(first: 0, second: 0)
        // Of the transaction at hand, and of those that are whole.
        var pending: [UInt32: UInt64] = [:]
        var committed: [UInt32: UInt64] = [:]
        var pages: UInt32 = 0
        var frames = 0
        for number in 0..<(Int(size) - Self.headerBytes) / frameBytes {
            let offset = UInt64(Self.headerBytes + number * frameBytes)
            let bytes = try self.fileSystem.read(self.path, at: offset, count: frameBytes)
            guard bytes.count == frameBytes else { break }
            if number == 0 { salts = Array(bytes[8..<16]) }
            let frame = Self.frame(bytes[...], salts: salts[...], before, bigEndian)
            // What the first one continues is gone with the header.
            guard frame.hasSalts, number == 0 || frame.continues else { break }
            pending[Self.word(bytes[...], 0)] = offset + UInt64(Self.frameHeaderBytes)
            if frame.isCommit {
                committed.merge(pending) { $1 }
                pending = [:]
                pages = Self.word(bytes[...], 4)
            }
            before = frame.sum
            frames += 1
        }
        return (committed.filter { $0.key > 0 && $0.key <= pages }, frames)
    }

    /// The number of the damaged frame, counted from 0, when durable transactions stand behind it; nil otherwise.
    private func damagedFrame(_ header: [UInt8], size: UInt64) throws(StorageError) -> Int? {
        guard let start = Self.start(header) else { return nil }
        let (pageBytes, bigEndian) = (start.pageBytes, start.bigEndian)
        let frameBytes = Self.frameHeaderBytes + pageBytes
        let count = (Int(size) - Self.headerBytes) / frameBytes
        var before = start.sum
        var damaged: Int?
        var followsCommit = false
        for base in stride(from: 0, to: count, by: Self.framesPerRead) {
            let frames = min(Self.framesPerRead, count - base)
            let offset = UInt64(Self.headerBytes + base * frameBytes)
            let bytes = try self.fileSystem.read(self.path, at: offset, count: frames * frameBytes)
            guard bytes.count == frames * frameBytes else { return nil }
            for number in 0..<frames {
                let frame = Self.frame(
                    bytes[number * frameBytes..<(number + 1) * frameBytes], salts: header[16..<24], before, bigEndian)
                let isGood = frame.hasSalts && frame.continues
                if damaged != nil {
                    if isGood && followsCommit { return damaged }
                } else if !isGood {
                    damaged = base + number
                }
                followsCommit = damaged != nil && frame.hasSalts && frame.isCommit
                before = frame.sum
            }
        }
        return nil
    }

    private static func frame(_ bytes: ArraySlice<UInt8>, salts: ArraySlice<UInt8>, _ before: Sum, _ bigEndian: Bool)
        -> Frame
    {
        let start = bytes.startIndex
        var sum = Self.sum(bytes[start..<start + 8], before, bigEndian: bigEndian)
        sum = Self.sum(bytes[(start + Self.frameHeaderBytes)...], sum, bigEndian: bigEndian)
        let stored = Sum(first: Self.word(bytes, start + 16), second: Self.word(bytes, start + 20))
        return Frame(
            isCommit: Self.word(bytes, start + 4) != 0, hasSalts: bytes[start + 8..<start + 16].elementsEqual(salts),
            sum: stored, continues: sum == stored)
    }

    private static func word(_ bytes: ArraySlice<UInt8>, _ position: Int) -> UInt32 {
        bytes.withUnsafeBytes {
            UInt32(bigEndian: $0.loadUnaligned(fromByteOffset: position - bytes.startIndex, as: UInt32.self))
        }
    }

    private static let littleEndianHost = UInt32(1).littleEndian == 1

    private static func sum(_ bytes: ArraySlice<UInt8>, _ seed: Sum, bigEndian: Bool) -> Sum {
        bytes.withUnsafeBytes { buffer in
            var (first, second) = (seed.first, seed.second)
            var position = 0
            // No conversions in the loop where none are needed: every page of the log passes through here.
            if !bigEndian && Self.littleEndianHost {
                while position + 8 <= buffer.count {
                    first &+= buffer.loadUnaligned(fromByteOffset: position, as: UInt32.self) &+ second
                    second &+= buffer.loadUnaligned(fromByteOffset: position + 4, as: UInt32.self) &+ first
                    position += 8
                }
            }
            while position + 8 <= buffer.count {
                let left = buffer.loadUnaligned(fromByteOffset: position, as: UInt32.self)
                let right = buffer.loadUnaligned(fromByteOffset: position + 4, as: UInt32.self)
                first &+= (bigEndian ? UInt32(bigEndian: left) : UInt32(littleEndian: left)) &+ second
                second &+= (bigEndian ? UInt32(bigEndian: right) : UInt32(littleEndian: right)) &+ first
                position += 8
            }
            return Sum(first: first, second: second)
        }
    }
}
