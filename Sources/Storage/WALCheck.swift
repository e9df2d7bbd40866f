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
        /// The header is not valid and no single bit makes it so: a crash tore it when the log began anew after a
        /// checkpoint. SQLite takes such a log for empty, but writes on with the salts that it finds, so that the old
        /// frames behind the new ones would look like later transactions.
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
            let isDamaged = try self.isDamagedHeader(header, size: size)
            return isDamaged ? .damaged("the header of raft.db-wal is damaged") : .headless
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

    /// Whether one bit turned back makes the header valid and the first frame's predecessor. A torn header has more
    /// wrong with it, unless the tear left only its count of checkpoints one too high, which was no damage.
    private func isDamagedHeader(_ header: [UInt8], size: UInt64) throws(StorageError) -> Bool {
        for bit in 0..<Self.headerBytes * 8 {
            var mended = header
            mended[bit / 8] ^= 1 << (bit % 8)
            guard let start = Self.start(mended) else { continue }
            let frameBytes = Self.frameHeaderBytes + start.pageBytes
            guard size >= UInt64(Self.headerBytes + frameBytes) else { continue }
            let bytes = try self.fileSystem.read(self.path, at: UInt64(Self.headerBytes), count: frameBytes)
            guard bytes.count == frameBytes else { continue }
            let frame = Self.frame(bytes[...], salts: mended[16..<24], start.sum, start.bigEndian)
            if frame.hasSalts && frame.continues {
                return Self.word(header[...], 12) != Self.word(mended[...], 12) &+ 1
            }
        }
        return false
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
