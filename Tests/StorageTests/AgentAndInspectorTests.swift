import FaultDisk
import Raft
import Registry
import Storage
import Testing
import Units

@Suite struct AgentStorageTests {
    @Test func registrationsAndResultsOutliveACrash() throws {
        let disk = freshDisk()
        do {
            let agent = try AgentStorage(directory: "/a", fileSystem: disk)
            try agent.putService(.init(id: "web", json: Array(#"{"Name":"web"}"#.utf8)))
            try agent.putService(.init(id: "db", json: Array("{}".utf8)))
            try agent.putService(.init(id: "web", json: Array(#"{"Name":"web","Port":1}"#.utf8)))
            try agent.putCheck(.init(id: "c1", json: Array("{}".utf8)))
            try agent.putCheck(.init(id: "c2", json: Array("{}".utf8)))
            try agent.putCheckState(.init(id: "c1", status: "critical", output: "no\nanswer", expires: 77))
            try agent.putCheckState(.init(id: "c2", status: "passing", output: "", expires: 0))
            try agent.removeService("db")
            try agent.removeService("never there")
            try agent.removeCheck("c2")
            disk.crash(seed: 1, .loseAll)
        }
        let agent = try AgentStorage(directory: "/a", fileSystem: disk)
        #expect(try agent.services() == [.init(id: "web", json: Array(#"{"Name":"web","Port":1}"#.utf8))])
        #expect(try agent.checks() == [.init(id: "c1", json: Array("{}".utf8))])
        #expect(try agent.checkStates() == [.init(id: "c1", status: "critical", output: "no\nanswer", expires: 77)])
    }

    @Test func onlyOneAgentHasTheDirectory() throws {
        let directory = try TemporaryDirectory()
        let agent = try AgentStorage(directory: directory.path)
        #expect(throws: StorageError.self) { _ = try AgentStorage(directory: directory.path) }
        withExtendedLifetime(agent) {}
    }
}

@Suite struct InspectorTests {
    private func fill(_ path: String) throws {
        let (log, _) = try open(PosixFileSystem(), path)
        try log.setIdentity(Identity(node: "0d1f3a52-0000-4000-8000-000000000001", cluster: "c1"))
        try log.commit([batch(entries(1...5, term: 1), hard: vote(2, for: 3))])
        try log.commit([batch([Entry(term: Term(2), index: LogIndex(6), payload: .configuration(configuration(1, 2)))])]
        )
        try log.writePromise()
    }

    @Test func theLogInspectorShowsWhatIsThereAndChangesNothing() throws {
        let directory = try TemporaryDirectory()
        let scratch = try TemporaryDirectory()
        try self.fill(directory.path)
        let files = PosixFileSystem()
        let before = try files.list(directory.path).map {
            [UInt8]($0.utf8) + (try files.read("\(directory.path)/\($0)", at: 0, count: 1 << 22))
        }
        let inspector = try LogInspector(directory: directory.path, scratch: scratch.path)
        let summary = try inspector.summary()
        #expect(summary.findings.isEmpty)
        #expect(summary.hardState == vote(2, for: 3) && summary.hardStateIsSound)
        #expect(summary.firstIndex == LogIndex(1) && summary.lastIndex == LogIndex(6) && summary.entryCount == 6)
        #expect(summary.promisedIndex == LogIndex(6) && summary.quarantinedUntil == nil)
        #expect(summary.identity?.cluster == "c1")
        let shown = try inspector.entries(from: LogIndex(5), to: LogIndex(99), limit: 10)
        #expect(shown.map(\.index) == [LogIndex(5), LogIndex(6)])
        #expect(shown.last?.payload == .configuration(configuration(1, 2)))
        #expect(try inspector.entries(from: LogIndex(1), to: LogIndex(99), limit: 2).count == 2)
        let after = try files.list(directory.path).map {
            [UInt8]($0.utf8) + (try files.read("\(directory.path)/\($0)", at: 0, count: 1 << 22))
        }
        #expect(before == after)
    }

    @Test func theLogInspectorShowsDamage() throws {
        let directory = try TemporaryDirectory()
        let scratch = try TemporaryDirectory()
        try self.fill(directory.path)
        let files = PosixFileSystem()
        var bytes = try files.read("\(directory.path)/raft.db", at: 0, count: 1 << 22)
        let at = try #require(bytes.indices.first { bytes[$0...].starts(with: Array("entry 3 of 1".utf8)) })
        bytes[at] ^= 1
        try files.write("\(directory.path)/raft.db", at: 0, bytes)
        let summary = try LogInspector(directory: directory.path, scratch: scratch.path).summary()
        #expect(summary.findings.first == "the checksum of entry 3 is wrong")
        #expect(summary.entryCount == 6)
    }

    @Test func theLogInspectorKeepsAwayFromARunningServer() throws {
        let directory = try TemporaryDirectory()
        let scratch = try TemporaryDirectory()
        let (log, _) = try open(PosixFileSystem(), directory.path)
        #expect(throws: StorageError.self) { _ = try LogInspector(directory: directory.path, scratch: scratch.path) }
        withExtendedLifetime(log) {}
    }

    @Test func theSnapshotInspectorCountsRowsAndNamesFlaws() throws {
        let disk = freshDisk()
        let store = try SnapshotStore(directory: "/s", fileSystem: disk)
        for index in [UInt64(5), 6] {
            var registry = Registry()
            registry.applyEmpty(at: LogIndex(index), term: Term(1))
            try registry.load(.node(Node(name: "n1", createIndex: 1, modifyIndex: 1)))
            _ = try store.write(
                registry, index: LogIndex(index), term: Term(1), configuration: configuration(1),
                configurationIndex: LogIndex(1), chain: [UInt8](repeating: 1, count: 16))
        }
        #expect(disk.flipBit("/s/snapshot-5-1.db", at: 5000, bit: 0))
        let summaries = try SnapshotInspector.summaries(store)
        #expect(summaries.map(\.name) == ["snapshot-6-1", "snapshot-5-1"])
        #expect(summaries[0].flaw == nil && summaries[1].flaw != nil)
        #expect(summaries[0].rows.first { $0.table == "nodes" }?.rows == 1)
    }
}
