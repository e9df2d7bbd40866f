import Certificates
import Testing
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A directory of one test's own, removed with it.
final class Scratch {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appending(path: "serai-certificates-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        self.path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: self.path) }

    func mode(_ name: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: "\(self.path)/\(name)")
        // Its type differs between systems, its text does not.
        return try #require(attributes[.posixPermissions].flatMap { Int("\($0)") })
    }
}

/// 2023-11-14, the moment that most tests play at.
let start = UnixSeconds(1_700_000_000)

func hours(_ count: Int64) -> Int64 { count * UnixSeconds.hour }
func days(_ count: Int64) -> Int64 { count * UnixSeconds.day }

func identity(
    _ secret: ClusterSecret, _ role: NodeRole = .agent, name: String = "web-1", id: UInt64 = 7
) throws -> NodeIdentity {
    try NodeIdentity(clusterID: secret.clusterID, role: role, name: name, nodeID: NodeID(id))
}

/// The error that `body` throws, to be compared as a whole.
func failure(_ body: () throws -> Void) -> CertificatesError? {
    do {
        try body()
        return nil
    } catch {
        return error as? CertificatesError
    }
}

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { self.state = seed }
    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
