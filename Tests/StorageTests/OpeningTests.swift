import Crypto
import FaultDisk
import Foundation
import GRDB
import Raft
import Storage
import Testing
import Units

@Suite struct OpeningTests {
    @Test func aSecondOpenerOfADirectoryIsTurnedAwayAndToldWhoHasIt() throws {
        let directory = try TemporaryDirectory()
        let first = try LogStorage(directory: directory.path, settings: smallSettings)
        let refusal = #expect(throws: StorageError.self) {
            _ = try LogStorage(directory: directory.path, settings: smallSettings)
        }
        #expect("\(String(describing: refusal))".contains("pid "))
        guard case .locked(directory.path, _) = refusal else {
            Issue.record("\(String(describing: refusal))")
            return
        }
        withExtendedLifetime(first) {}
    }

    @Test func aSecondOpenerOfASimulatedDirectoryIsTurnedAwayUntilTheFirstIsGone() throws {
        let disk = freshDisk()
        do {
            let first = try LogStorage(directory: "/n1", settings: smallSettings, fileSystem: disk)
            #expect(throws: StorageError.self) {
                _ = try LogStorage(directory: "/n1", settings: smallSettings, fileSystem: disk)
            }
            withExtendedLifetime(first) {}
        }
        _ = try LogStorage(directory: "/n1", settings: smallSettings, fileSystem: disk)
    }

    @Test func theLogWorksOnRealFilesAndLeavesNoSharedMemoryFile() throws {
        let directory = try TemporaryDirectory()
        let data = "\(directory.path)/a/b"
        do {
            let (log, _) = try open(PosixFileSystem(), data)
            try log.commit([batch(entries(1...30, term: 1), hard: vote(1, for: 2))])
            try log.writePromise()
            let names = try PosixFileSystem().list(data)
            #expect(names == ["lock", "promise", "raft.db", "raft.db-wal"])
        }
        let (_, recovery) = try open(PosixFileSystem(), data)
        #expect(recovery.findings.isEmpty)
        #expect(recovery.restored.lastIndex == LogIndex(30))
        #expect(recovery.restored.hardState == vote(1, for: 2))
    }

    @Test func theReserveFileIsReallyAllocated() throws {
        let directory = try TemporaryDirectory()
        var settings = smallSettings
        settings.reserveBytes = .mebibytes(1)
        let (log, _) = try open(PosixFileSystem(), directory.path, settings: settings)
        #expect(log.hasRoom())
        #expect(try PosixFileSystem().size("\(directory.path)/reserve") == 1 << 20)
    }

    @Test func aNewerFormatIsRefusedWithBothNumbers() throws {
        let directory = try TemporaryDirectory()
        do { _ = try open(PosixFileSystem(), directory.path) }
        let path = "\(directory.path)/raft.db"
        do { try DatabaseQueue(path: path).write { try $0.execute(sql: "PRAGMA user_version=7") } }
        #expect(throws: StorageError.newerFormat(file: path, found: 7, supported: 1)) {
            _ = try LogStorage(directory: directory.path, settings: smallSettings)
        }
    }

    /// The chain by its definition: the first 16 bytes of SHA-256 over the link before, index, term and kind as
    /// big-endian 64-bit numbers, and the data.
    private func link(after chain: [UInt8], index: UInt64, term: UInt64, kind: UInt64, data: [UInt8]) -> [UInt8] {
        var bytes = chain
        for number in [index, term, kind] {
            for shift in stride(from: UInt64(56), through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: number >> shift))
            }
        }
        return Array(SHA256.hash(data: bytes + data).prefix(16))
    }

    @Test func theChainIsWhatItsDefinitionSays() throws {
        let (log, _) = try open(freshDisk())
        let noop = Entry(term: Term(3), index: LogIndex(1), payload: .noop)
        let text = Entry(term: Term(4), index: LogIndex(2), payload: .command([1, 2, 3]))
        try log.commit([batch([noop, text], hard: vote(4))])
        let first = self.link(after: [UInt8](repeating: 0, count: 16), index: 1, term: 3, kind: 0, data: [])
        #expect(try log.chain(at: LogIndex(1)) == first)
        #expect(try log.chain(at: LogIndex(2)) == self.link(after: first, index: 2, term: 4, kind: 1, data: [1, 2, 3]))
    }

    @Test func anEntryOfAnUnknownKindIsRefusedNotSkipped() throws {
        let directory = try TemporaryDirectory()
        var chain: [UInt8] = []
        do {
            let (log, _) = try open(PosixFileSystem(), directory.path)
            try log.commit([batch(entries(1...3, term: 1), hard: vote(1))])
            chain = try #require(try log.chain(at: LogIndex(3)))
        }
        // As a later version would write it: the checksum is right, the kind unknown here.
        let later = self.link(after: chain, index: 4, term: 1, kind: 9, data: [5])
        do {
            try DatabaseQueue(path: "\(directory.path)/raft.db").write {
                try $0.execute(
                    sql: "INSERT INTO log(idx,term,kind,chain,data) VALUES(4,1,9,?,?)",
                    arguments: [Data(later), Data([5])])
            }
        }
        #expect(throws: StorageError.newerFormat(file: "raft.db, entry 4", found: 9, supported: 2)) {
            _ = try open(PosixFileSystem(), directory.path)
        }
        #expect(throws: StorageError.self) { _ = try open(PosixFileSystem(), directory.path) }
    }

    @Test func everyPragmaIsReadBackFromTheOpenConnection() throws {
        let directory = try TemporaryDirectory()
        let (log, _) = try open(PosixFileSystem(), directory.path)
        let pragmas = try log.pragmas()
        #expect(pragmas["locking_mode"] == "exclusive")
        #expect(pragmas["journal_mode"] == "wal")
        #expect(pragmas["synchronous"] == "2")
        #expect(pragmas["wal_autocheckpoint"] == "0")
        #expect(pragmas["secure_delete"] == "0")
        #expect(pragmas["page_size"] == "4096")
        #expect(pragmas["cache_size"] == "-512")
        #expect(pragmas["temp_store"] == "2")
        #expect(pragmas["mmap_size"] == "0")
        #expect(pragmas["journal_size_limit"] == "\(16 << 20)")
        #expect(pragmas["trusted_schema"] == "0")
    }
}

@Suite struct CRC32CTests {
    @Test func knownChecksums() {
        #expect(CRC32C.checksum([]) == 0)
        #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(CRC32C.checksum((0..<32).map { UInt8($0) }) == 0x46DD_794E)
    }

    @Test func aChecksumOfPiecesIsTheChecksumOfTheWhole() {
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for cut in [0, 1, 7, 8, 9, 500, 1000] {
            let pieces = bytes.withUnsafeBytes { whole in
                CRC32C.extend(
                    CRC32C.checksum(UnsafeRawBufferPointer(rebasing: whole[..<cut])),
                    with: UnsafeRawBufferPointer(rebasing: whole[cut...]))
            }
            #expect(pieces == CRC32C.checksum(bytes))
        }
    }
}
