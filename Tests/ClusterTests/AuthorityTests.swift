import Certificates
import Cluster
import Protocol
import Testing
import Units

/// What an agent may write: its own node's registrations and nothing else.
@Suite struct AuthorityTests {
    private let agent: NodeIdentity

    init() throws {
        self.agent = try NodeIdentity(
            clusterID: "0b0f5f0a-51fd-4a3c-8f0e-0c6a1d1c9d10", role: .agent, name: "agent-1",
            nodeID: NodeID(0x8000_0001))
    }

    private func mayWrite(_ change: (inout LogCommand) -> Void) -> Bool {
        var command = LogCommand()
        change(&command)
        return Server.concernsOwnNode(command, of: self.agent)
    }

    @Test func anAgentRegistersAndDeregistersItsOwnNode() {
        #expect(
            self.mayWrite {
                $0.register.node.name = "agent-1"
                $0.register.node.id = self.agent.nodeID.uuid
                $0.register.service.name = "web"
                $0.register.checks = [LogCheck()]
            })
        #expect(self.mayWrite { $0.deregister.node = "agent-1" })
    }

    @Test func anAgentRegistersNothingForAnotherNode() {
        #expect(!self.mayWrite { $0.register.node.name = "agent-2" })
        #expect(!self.mayWrite { $0.deregister.node = "server-1" })
        #expect(
            !self.mayWrite {
                $0.register.node.name = "agent-1"
                var check = LogCheck()
                check.node = "agent-2"
                $0.register.checks = [check]
            })
    }

    @Test func anAgentCanNotTakeAnotherNodesID() {
        #expect(
            !self.mayWrite {
                $0.register.node.name = "agent-1"
                $0.register.node.id = NodeID(0x8000_0002).uuid
            })
    }

    @Test func oneForeignCommandSpoilsABatch() {
        var own = LogCommand()
        own.deregister.node = "agent-1"
        var foreign = LogCommand()
        foreign.kvPut.key = .init("k".utf8)
        #expect(self.mayWrite { $0.batch.commands = [own, own] })
        #expect(!self.mayWrite { $0.batch.commands = [own, foreign] })
    }

    @Test func anAgentWritesNoKeysSessionsOrDecisionsOfTheLeader() {
        #expect(!self.mayWrite { $0.kvPut.key = .init("k".utf8) })
        #expect(!self.mayWrite { $0.sessionDestroy.ids = ["x"] })
        #expect(!self.mayWrite { $0.revokeNode.nodeID = 1 })
        #expect(!self.mayWrite { $0.setFeatureLevel.level = 2 })
        #expect(!self.mayWrite { _ in })
    }
}
