import Synchronization

/// How many requests each part of the API has answered since the start, for `/v1/agent/metrics`.
public final class RequestCounters: Sendable {
    public enum Part: Int, Sendable, CaseIterable {
        case kv, txn, session, catalog, health, agent, status, `operator`, snapshot, other

        public var name: String {
            switch self {
            case .kv: "kv"
            case .txn: "txn"
            case .session: "session"
            case .catalog: "catalog"
            case .health: "health"
            case .agent: "agent"
            case .status: "status"
            case .operator: "operator"
            case .snapshot: "snapshot"
            case .other: "other"
            }
        }

        /// By the path's part after `/v1/`.
        init(path: [UInt8]) {
            let parts: [(StaticString, Part)] = [
                ("/v1/kv/", .kv), ("/v1/txn", .txn), ("/v1/session/", .session), ("/v1/catalog/", .catalog),
                ("/v1/health/", .health), ("/v1/agent/", .agent), ("/v1/status/", .status),
                ("/v1/operator/", .operator), ("/v1/snapshot", .snapshot),
            ]
            for (prefix, part) in parts where path.hasPrefix(prefix) {
                self = part
                return
            }
            self = .other
        }
    }

    public struct Count: Sendable, Equatable {
        public var reads: UInt64 = 0
        public var writes: UInt64 = 0
        /// Answers of 400 and above.
        public var refused: UInt64 = 0

        public init(reads: UInt64 = 0, writes: UInt64 = 0, refused: UInt64 = 0) {
            self.reads = reads
            self.writes = writes
            self.refused = refused
        }
    }

    private let counts = Mutex([Count](repeating: Count(), count: Part.allCases.count))

    public func snapshot() -> [(part: Part, count: Count)] {
        let counts = self.counts.withLock { $0 }
        return Part.allCases.map { ($0, counts[$0.rawValue]) }
    }

    func note(_ part: Part, isWrite: Bool, status: Int) {
        self.counts.withLock { counts in
            if isWrite { counts[part.rawValue].writes += 1 } else { counts[part.rawValue].reads += 1 }
            if status >= 400 { counts[part.rawValue].refused += 1 }
        }
    }
}

extension [UInt8] {
    func hasPrefix(_ prefix: StaticString) -> Bool {
        let count = prefix.utf8CodeUnitCount
        guard self.count >= count else { return false }
        for position in 0..<count where self[position] != prefix.utf8Start[position] { return false }
        return true
    }
}
