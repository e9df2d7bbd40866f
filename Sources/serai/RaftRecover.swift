import ArgumentParser
import Certificates
import Foundation
import Raft
import Storage
import Units

/// After the loss of a majority: makes one survivor the whole of a new cluster, offline.
///
/// A majority that is gone may have held writes that were acknowledged and that no survivor has. Nobody can tell from
/// the survivors alone, so this shows what each of them holds, refuses a survivor that knows less than another, and
/// wants to be told that losing writes is accepted. The new cluster has an id and a key of its own: servers of the old
/// one that come back are turned away.
struct RaftRecover: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover", abstract: "Makes a survivor the first server of a new cluster, after a lost majority",
        discussion: """
            Stop every server first. Give the data directory that is to go on, and with -survivor the (copied) data \
            directory of every other server that is left, so that the one with the longest log can be found. Without \
            -allow-data-loss nothing is changed.
            """)

    @Option(name: .customLong("data-dir"), help: "The data directory that is to go on.") var directory: String
    @Option(name: .customLong("survivor"), help: "Another survivor's data directory, to compare with; repeatable.")
    var survivors: [String] = []
    @Flag(name: .customLong("allow-data-loss"), help: "Go on although acknowledged writes may be lost.")
    var allowDataLoss = false
    @Flag(name: .customLong("force"), help: "Go on although another survivor's log reaches further.") var force = false

    func run() async throws {
        let chosen = try Survivor(self.directory)
        let others = try self.survivors.map(Survivor.init)
        Output.print(
            table: [["Server", "Directory", "Last term", "Last entry", "State"]]
                + ([chosen] + others).map { $0.row })
        try self.refuseUnsafe(chosen, others)
        let clusterID = try self.remake(chosen)
        Output.line(
            """

            \(self.directory) is now the only server of cluster \(clusterID), with everything up to entry \(chosen.lastIndex).
            Next:
              start its agent as before, with bootstrap_expect 1 or none, and without its old join token
              serai cluster token -role server -key \(self.directory)/cluster.key   for each further server
              serai cluster token -role agent -key \(self.directory)/cluster.key    for each client agent
            The other servers and the agents join with empty data directories; the old cluster's tokens are void.
            """)
    }

    private func refuseUnsafe(_ chosen: Survivor, _ others: [Survivor]) throws {
        if let foreign = others.first(where: { $0.cluster != chosen.cluster }) {
            throw CommandFailure(
                "Error! \(foreign.directory) is of another cluster (\(foreign.cluster)) than \(self.directory)")
        }
        if let better = others.first(where: { chosen.isBehind($0) }), !self.force {
            throw CommandFailure(
                """
                Error! \(better.directory) holds more: its log ends with entry \(better.lastIndex) of term \
                \(better.lastTerm), that of \(self.directory) with \(chosen.lastIndex) of term \(chosen.lastTerm). Choose it \
                (-data-dir \(better.directory) -survivor \(self.directory)), or go on with -force and lose the difference.
                """)
        }
        let voters = chosen.configuration.voters.count
        let majority = voters / 2 + 1
        let present = Set(([chosen] + others).map(\.node)).count
        // What was acknowledged is on some majority; enough survivors meet every majority.
        if present + majority <= voters, !self.allowDataLoss {
            throw CommandFailure(
                """
                Error! Writes may be lost: \(present) of \(voters) servers are compared here, and the \(voters - present) that \
                are missing are enough to have acknowledged writes that none of these holds. If they are gone for good, \
                say -allow-data-loss.
                """)
        }
        if chosen.isDamaged, !self.allowDataLoss {
            throw CommandFailure(
                """
                Error! The log in \(self.directory) is damaged, or shorter than what was acknowledged (serai debug log \
                -data-dir \(self.directory) shows where). To go on with what is whole, say -allow-data-loss.
                """)
        }
    }

    /// Order matters for a crash in between: until the key is there the server refuses to start, and this can be run
    /// again.
    private func remake(_ chosen: Survivor) throws -> String {
        let secret = ClusterSecret.generate()
        do {
            let path = ServerFolder.log(self.directory)
            let log = try LogStorage(directory: path)
            let recovery = try log.recover(snapshots: try SnapshotStore(directory: path + "/snapshots"))
            try log.liftQuarantine()
            guard let identity = log.identity, let id = NodeID(uuid: identity.node) else {
                throw CommandFailure("Error! \(self.directory) does not say which server it is of")
            }
            let member = chosen.configuration.member(id) ?? Member(id: id)
            let term = max(recovery.restored.hardState.term, log.lastTerm).next
            let alone = Configuration(voters: [member])
            try log.commit([
                PersistBatch(
                    id: 0, truncateFrom: nil,
                    entries: [Entry(term: term, index: log.lastIndex.next, payload: .configuration(alone))],
                    hardState: HardState(term: term, vote: id), commitHint: .zero)
            ])
            try log.setIdentity(Identity(node: identity.node, cluster: secret.clusterID))
            let keyPath = self.directory + "/" + ClusterSecret.fileName
            if FileManager.default.fileExists(atPath: keyPath) {
                try FileManager.default.moveItem(atPath: keyPath, toPath: "\(keyPath).of-\(chosen.cluster)")
            }
            try secret.save(to: keyPath)
            return secret.clusterID
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure("Error! \(error)")
        }
    }
}

/// What a survivor's directory holds, as far as it can be trusted.
private struct Survivor {
    var directory: String
    var node: String
    var cluster: String
    var lastTerm: Term
    var lastIndex: LogIndex
    var configuration: Configuration
    var findings: [String]

    var isDamaged: Bool { !self.findings.isEmpty }

    init(_ directory: String) throws {
        self.directory = directory
        let snapshots = ServerFolder.snapshots(directory)
        do {
            let (summary, last, configurations) = try ServerFolder.withLog(directory) { log in
                let summary = try log.summary()
                let tail = try log.entries(from: summary.lastIndex, to: summary.lastIndex, limit: 1)
                return (summary, tail.last, try Self.configurations(log, summary))
            }
            let newest =
                try FileManager.default.fileExists(atPath: snapshots)
                ? SnapshotInspector.summaries(SnapshotStore(directory: snapshots)).first { $0.flaw == nil }?.meta : nil
            self.node = summary.identity?.node ?? ""
            self.cluster = summary.identity?.cluster ?? ""
            self.findings = summary.findings
            self.lastIndex = max(summary.lastIndex, newest?.index ?? .zero)
            self.lastTerm = last?.term ?? newest?.term ?? .zero
            guard let found = configurations.last ?? newest?.configuration else {
                throw CommandFailure("Error! \(directory) names no servers: it was never part of a cluster")
            }
            self.configuration = found
        } catch let error as StorageError {
            throw CommandFailure("Error! \(directory): \(error)")
        }
    }

    private static func configurations(
        _ log: LogInspector, _ summary: LogInspector.Summary
    ) throws(StorageError) -> [Configuration] {
        var found: [Configuration] = []
        var next = summary.firstIndex
        while next <= summary.lastIndex {
            let page = try log.entries(from: next, to: summary.lastIndex, limit: 4096)
            guard let last = page.last else { break }
            for entry in page {
                if case .configuration(let configuration) = entry.payload { found.append(configuration) }
            }
            next = last.index.next
        }
        return found
    }

    /// Raft's comparison of logs (dissertation §3.6.1).
    func isBehind(_ other: Survivor) -> Bool {
        (self.lastTerm, self.lastIndex) < (other.lastTerm, other.lastIndex)
    }

    var row: [String] {
        let name = NodeID(uuid: self.node).flatMap { self.configuration.member($0)?.name } ?? self.node
        return [
            name, self.directory, "\(self.lastTerm)", "\(self.lastIndex)",
            self.isDamaged ? self.findings[0] : "whole",
        ]
    }
}
