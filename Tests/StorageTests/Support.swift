import FaultDisk
import Raft
import Storage
import Testing
import Units

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// Names for simulated disks: SQLite knows them by name in the whole process, and tests run side by side.
private let diskNumbers = DiskNumbers()
private final class DiskNumbers: @unchecked Sendable {
    // Guarded by the lock; only tests use it.
    private var next = 0
    private var lock = pthread_mutex_t()
    init() { pthread_mutex_init(&self.lock, nil) }
    func take() -> Int {
        pthread_mutex_lock(&self.lock)
        defer { pthread_mutex_unlock(&self.lock) }
        self.next += 1
        return self.next
    }
}

func freshDiskName() -> String { "storage-test-\(diskNumbers.take())" }
func freshDisk(seed: UInt64 = 1) -> FaultDisk { FaultDisk(name: freshDiskName(), seed: seed) }

/// A directory of real files that ends with the test.
final class TemporaryDirectory {
    let path: String
    init() throws {
        var template = Array("/tmp/storage-test-XXXXXX\0".utf8CString)
        template.removeLast()
        guard let made = mkdtemp(&template) else { throw StorageError.invalid("mkdtemp failed") }
        self.path = String(cString: made)
    }
    deinit { Self.remove(self.path) }

    private static func remove(_ path: String) {
        let files = PosixFileSystem()
        for name in (try? files.list(path)) ?? [] {
            if unlink("\(path)/\(name)") != 0 { Self.remove("\(path)/\(name)") }
        }
        rmdir(path)
    }
}

var smallSettings: StorageSettings {
    var settings = StorageSettings()
    settings.checkpointPages = 64
    settings.reserveBytes = ByteCount(0)
    settings.cacheBytes = .kibibytes(512)
    return settings
}

func member(_ id: UInt64) -> Member { Member(id: NodeID(id), name: "s\(id)", address: "10.0.0.\(id):8300") }
func configuration(_ ids: UInt64...) -> Configuration { Configuration(voters: ids.map(member)) }

/// The payload says where it belongs, so that one read back tells whether it is the right one.
func command(_ index: UInt64, _ term: UInt64, bytes: Int = 40) -> Entry {
    let text = Array("entry \(index) of \(term) ".utf8)
    let padding = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: max(0, bytes - text.count))
    return Entry(term: Term(term), index: LogIndex(index), payload: .command(text + padding))
}

func entries(_ range: ClosedRange<UInt64>, term: UInt64, bytes: Int = 40) -> [Entry] {
    range.map { command($0, term, bytes: bytes) }
}

func batch(
    _ entries: [Entry] = [], truncateFrom: UInt64? = nil, hard: HardState? = nil, commit: UInt64 = 0
) -> PersistBatch {
    PersistBatch(
        id: 1, truncateFrom: truncateFrom.map { LogIndex($0) }, entries: entries, hardState: hard,
        commitHint: LogIndex(commit))
}

func vote(_ term: UInt64, for node: UInt64? = nil) -> HardState {
    HardState(term: Term(term), vote: node.map { NodeID($0) })
}

/// Opens and recovers.
func open(
    _ files: any FileSystem, _ directory: String = "/n1", settings: StorageSettings = smallSettings,
    snapshot: SnapshotMeta? = nil
) throws -> (LogStorage, Recovery) {
    let log = try LogStorage(directory: directory, settings: settings, fileSystem: files)
    return (log, try log.recover(snapshot: snapshot))
}

func meta(_ index: UInt64, _ term: UInt64, chain: [UInt8]) -> SnapshotMeta {
    SnapshotMeta(
        index: LogIndex(index), term: Term(term), configuration: configuration(1, 2, 3),
        configurationIndex: LogIndex(1),
        totalBytes: 0, sha256: [UInt8](repeating: 0, count: 32), chain: chain)
}
