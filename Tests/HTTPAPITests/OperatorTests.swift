import Protocol
import Testing
import Units

@Suite struct OperatorTests {
    let desk = Desk()
    let ids = [NodeID(random: 1), NodeID(random: 2), NodeID(random: 3)]

    init() { self.desk.cluster.set(self.status()) }

    private func status(lastContact: UInt64 = 20, match: UInt64 = 90, quarantined: Bool = false) -> PeerRaftStatus {
        var status = PeerRaftStatus()
        for (position, id) in self.ids.enumerated() {
            var member = PeerMember()
            member.id = id.rawValue
            member.name = "s\(position + 1)"
            member.address = "10.0.0.\(position + 1):8300"
            if position < 2 {
                status.configuration.voters.append(member)
            } else {
                status.configuration.learners.append(member)
            }
            if position == 0 { continue }
            var progress = PeerPeerProgress()
            progress.id = id.rawValue
            progress.matchIndex = match
            progress.lastContactMs = position == 1 ? lastContact : 20
            progress.quarantined = quarantined && position == 1
            status.progress.append(progress)
        }
        status.leader = self.ids[0].rawValue
        status.term = 4
        status.lastIndex = 100
        status.configurationIndex = 7
        return status
    }

    @Test func theConfigurationListsVotersAndLearners() async {
        #expect(
            await self.desk.get("/v1/operator/raft/configuration").body
                == #"{"Servers":[{"ID":"\#(self.ids[0].uuid)","Node":"s1","Address":"10.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true,"LastIndex":100},"#
                + #"{"ID":"\#(self.ids[1].uuid)","Node":"s2","Address":"10.0.0.2:8300","Leader":false,"ProtocolVersion":"3","Voter":true,"LastIndex":90},"#
                + #"{"ID":"\#(self.ids[2].uuid)","Node":"s3","Address":"10.0.0.3:8300","Leader":false,"ProtocolVersion":"3","Voter":false,"LastIndex":90}],"Index":7}"#
        )
    }

    @Test func aPeerIsRemovedByIDOrAddress() async {
        #expect(await self.desk.delete("/v1/operator/raft/peer?id=\(self.ids[1].uuid)").short == "200 ")
        #expect(await self.desk.delete("/v1/operator/raft/peer?address=10.0.0.3:8300").short == "200 ")
        #expect(self.desk.cluster.admins.map(\.kind) == [.remove, .remove])
        #expect(self.desk.cluster.admins.map(\.nodeID) == [self.ids[1].rawValue, self.ids[2].rawValue])
    }

    @Test(
        arguments: [
            ("", "400 Must specify either ?id with the server's ID or ?address with IP:port of peer to remove"),
            ("?id=x&address=y", "400 Must specify only one of ?id or ?address"),
            ("?id=x", "500 id \"x\" was not found in the Raft configuration"),
            ("?address=1.1.1.1:3", "500 address \"1.1.1.1:3\" was not found in the Raft configuration"),
        ])
    func removalsAreChecked(_ query: String, _ expected: String) async {
        #expect(await self.desk.delete("/v1/operator/raft/peer\(query)").short == expected)
        #expect(self.desk.cluster.admins.isEmpty)
    }

    @Test func leadershipIsTransferredToAVoter() async {
        #expect(await self.desk.ask("POST", "/v1/operator/raft/transfer-leader").short == #"200 {"Success":true}"#)
        #expect(
            await self.desk.ask("POST", "/v1/operator/raft/transfer-leader?id=\(self.ids[1].uuid)").short
                == #"200 {"Success":true}"#)
        #expect(self.desk.cluster.admins.map(\.nodeID) == [0, self.ids[1].rawValue])
        #expect(await self.desk.ask("POST", "/v1/operator/raft/transfer-leader?id=\(self.ids[2].uuid)").status == 500)
    }

    @Test func healthIs429WhenAServerIsNotHealthy() async {
        let healthy = await self.desk.get("/v1/operator/autopilot/health")
        #expect(healthy.status == 200)
        #expect(
            healthy.body.hasPrefix(
                #"{"Healthy":true,"FailureTolerance":0,"Servers":[{"ID":"\#(self.ids[0].uuid)","Name":"s1","Address":"10.0.0.1:8300","SerfStatus":"alive","Version":"1.22.1","Leader":true,"LastContact":"0s","LastTerm":4,"LastIndex":100,"Healthy":true,"Voter":true,"StableSince":"#
            ))
        #expect(healthy.body.contains(#""LastContact":"20ms""#))
        self.desk.cluster.set(self.status(lastContact: 5000))
        let silent = await self.desk.get("/v1/operator/autopilot/health")
        #expect(silent.status == 429)
        #expect(silent.body.contains(#""SerfStatus":"failed""#))
        self.desk.cluster.set(self.status(quarantined: true))
        #expect(await self.desk.get("/v1/operator/autopilot/health").status == 429)
        var leaderless = self.status()
        leaderless.leader = 0
        self.desk.cluster.set(leaderless)
        #expect(await self.desk.get("/v1/operator/autopilot/health").status == 429)
    }

    @Test func aSnapshotIsSavedAndRestored() async {
        let saved = await self.desk.get("/v1/snapshot?stale")
        #expect(
            saved.full
                == """
                200
                Content-Type: application/x-gzip
                X-Consul-Default-Acl-Policy: allow
                Vary: Accept-Encoding
                X-Consul-Index: 42
                X-Consul-Knownleader: true
                X-Consul-Lastcontact: 0

                onetwothree
                """)
        #expect(await self.desk.put("/v1/snapshot", "archive").short == "200 ")
        #expect(self.desk.snapshot.restored == Array("archive".utf8))
        #expect(await self.desk.put("/v1/snapshot", "junk").short == "400 not a snapshot")
    }
}
