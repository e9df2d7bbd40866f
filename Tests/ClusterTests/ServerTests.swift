import Certificates
import Cluster
import Foundation
import Glibc
import Logging
import NIOPosix
import Protocol
import Raft
import Registry
import Replica
import Testing
import Units

/// One server that is a cluster of its own, on its real files.
@Suite(.serialized) struct ServerTests {
    private static let address = "127.\(192 + Int(getpid()) % 60).\(Int(getpid()) / 60 % 250).1"

    private static func freshDirectory() -> String {
        NSTemporaryDirectory() + "serai-server-\(getpid())-\(UInt32.random(in: .min ... .max))"
    }

    private func withServer(
        directory: String = Self.freshDirectory(), _ body: (Server) async throws -> Void
    ) async throws {
        var settings = ServerSettings(
            dataDirectory: directory, nodeName: "alone", advertiseAddress: Self.address,
            fatal: { Issue.record("the server ended: \($0)") })
        settings.bindAddress = Self.address
        settings.expect = 1
        settings.replica.raft.heartbeatInterval = .milliseconds(20)
        settings.replica.raft.electionTimeoutMin = .milliseconds(100)
        settings.replica.raft.electionTimeoutMax = .milliseconds(200)
        let logger = Logger(label: "test") { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = .critical
            return handler
        }
        let server = try await Server.start(settings, group: MultiThreadedEventLoopGroup.singleton, logger: logger)
        do {
            try await body(server)
        } catch {
            await server.stop()
            throw error
        }
        await server.stop()
        try FileManager.default.removeItem(atPath: directory)
    }

    private func put(_ key: String, _ value: String) -> LogCommand {
        var command = LogCommand()
        command.kvPut.key = .init(key.utf8)
        command.kvPut.value = .init(value.utf8)
        return command
    }

    private func value(_ server: Server, _ key: String) async throws -> String? {
        let registry = try await server.view(.default, timeout: .seconds(20)).registry
        return registry.kvEntry(ByteKey(key)).value.map { String(decoding: $0.value, as: UTF8.self) }
    }

    @Test func whatWasProposedIsReadAndBacksUpAndRestores() async throws {
        try await self.withServer { server in
            _ = try await server.propose(self.put("a", "1"), identity: "", timeout: .seconds(20))
            #expect(try await self.value(server, "a") == "1")
            let backup = try await server.backup(stale: false)
            var pieces: [[UInt8]] = []
            while let piece = try await backup.next() { pieces.append(piece) }
            _ = try await server.propose(self.put("a", "2"), identity: "", timeout: .seconds(20))
            let source = Pieces(pieces)
            try await server.restore { await source.next() }
            #expect(try await self.value(server, "a") == "1")
        }
    }

    @Test func aNumberedWriteThatIsSentTwiceIsAppliedOnce() async throws {
        try await self.withServer { server in
            var request = PeerHTTPRequest()
            request.client = 77
            request.sequence = 1
            request.lowestOutstanding = 1
            let number = try #require(RequestNumber(request))
            let first = try await server.propose(
                self.put("a", "1"), identity: "", timeout: .seconds(20), number: number)
            _ = try await server.propose(self.put("a", "2"), identity: "", timeout: .seconds(20))
            let second = try await server.propose(
                self.put("a", "1"), identity: "", timeout: .seconds(20), number: number)
            #expect(first.index == second.index)
            #expect(try await self.value(server, "a") == "2")
        }
    }

    @Test func aBackupThatWasCutOffOrChangedIsRefusedAndChangesNothing() async throws {
        try await self.withServer { server in
            _ = try await server.propose(self.put("a", "1"), identity: "", timeout: .seconds(20))
            let backup = try await server.backup(stale: true)
            var bytes: [UInt8] = []
            while let piece = try await backup.next() { bytes += piece }
            _ = try await server.propose(self.put("a", "2"), identity: "", timeout: .seconds(20))
            var changed = bytes
            changed[bytes.count / 3] ^= 0xFF
            for damaged in [Array(bytes.dropLast(5000)), changed, Array("not a backup".utf8), []] {
                let source = Pieces([damaged])
                await #expect(throws: ClusterError.self) { try await server.restore { await source.next() } }
            }
            #expect(try await self.value(server, "a") == "2")
        }
    }

    @Test func aRunningLogIsLookedAtWithoutItsValues() async throws {
        try await self.withServer { server in
            for number in 0..<30 {
                let command = self.put("key-\(number)", "secret")
                _ = try await server.propose(command, identity: "", timeout: .seconds(20))
            }
            let newest = try await server.lookAtLog(from: nil, count: 5)
            #expect(
                newest.entries.map(\.index.rawValue) == Array(newest.lastIndex.rawValue - 4...newest.lastIndex.rawValue)
            )
            #expect(newest.entries.last?.text == "kvPut key-29")
            #expect(newest.commitIndex <= newest.lastIndex && newest.appliedIndex <= newest.commitIndex)
            #expect(newest.node == server.identity.nodeUUID && !newest.cluster.isEmpty)
            let first = try await server.lookAtLog(from: .zero, count: 2)
            #expect(first.entries.map(\.index.rawValue) == [1, 2])
            #expect(first.entries[0].text == "configuration: voters alone")
            #expect(try await server.lookAtLog(from: LogIndex(.max), count: 1000).entries.isEmpty)
            let all = try await server.lookAtLog(from: .zero, count: 1000)
            #expect(all.entries.count == Int(all.lastIndex.rawValue))
            #expect(!all.entries.contains { $0.text.contains("secret") })
            #expect(try await server.lookAtSnapshots().isEmpty)
            await server.stop()
            await #expect(throws: ClusterError.self) { try await server.lookAtLog(from: nil, count: 1) }
        }
    }

    @Test func aCertificateIsRenewedAtHalfItsLifeAndKeptOnDisk() async throws {
        let directory = Self.freshDirectory()
        try await self.withServer(directory: directory) { server in
            let before = server.certificateExpiry
            #expect(abs(before - 72 * UnixSeconds.day) < 60)
            var times = RenewalTimes()
            await server.renewCertificateIfDue(&times, now: .now().adding(seconds: 35 * UnixSeconds.day))
            #expect(abs(server.certificateExpiry - before) < 60)
            await server.renewCertificateIfDue(&times, now: .now().adding(seconds: 36 * UnixSeconds.day))
            #expect(abs(server.certificateExpiry - before - 36 * UnixSeconds.day) < 60)
            let kept = try #require(try NodeCredentials.load(from: directory))
            #expect(abs(kept.expiry.rawValue - UnixSeconds.now().rawValue - server.certificateExpiry) <= 1)
            #expect(try await self.value(server, "a") == nil)
        }
    }

    @Test func aStoppedServerAnswersNothingAndHangsNobody() async throws {
        try await self.withServer { server in
            _ = try await server.propose(self.put("a", "1"), identity: "", timeout: .seconds(20))
            await server.stop()
            await #expect(throws: ClusterError.self) {
                try await server.propose(self.put("a", "2"), identity: "", timeout: .milliseconds(100))
            }
            await #expect(throws: ClusterError.shuttingDown) {
                try await server.waitForChange(of: [.all(.kv)], after: LogIndex(1_000_000), timeout: .seconds(3600))
            }
        }
    }
}

/// A backup's bytes, handed out piece by piece.
private actor Pieces {
    private var left: [[UInt8]]
    init(_ pieces: [[UInt8]]) { self.left = pieces.filter { !$0.isEmpty } }
    func next() -> [UInt8]? { self.left.isEmpty ? nil : self.left.removeFirst() }
}
