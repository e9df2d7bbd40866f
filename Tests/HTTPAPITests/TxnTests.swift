import Cluster
import Protocol
import Testing

@Suite struct TxnTests {
    let desk = Desk()

    /// What a transaction that only reads says at the end of its body.
    private static let mark = #","Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#

    private func txn(_ body: String) async -> Reply { await self.desk.put("/v1/txn", body) }

    @Test func aWriteAnswersItsRowsWithoutValues() async {
        let reply = await self.txn(
            #"[{"KV":{"Verb":"set","Key":"t","Value":"aGk=","Flags":3}},{"KV":{"Verb":"get","Key":"t"}}]"#)
        #expect(
            reply.full
                == """
                200
                Content-Type: application/json
                X-Consul-Default-Acl-Policy: allow
                Vary: Accept-Encoding

                {"Results":[{"KV":{"LockIndex":0,"Key":"t","Flags":3,"Value":null,"CreateIndex":11,"ModifyIndex":11}},\
                {"KV":{"LockIndex":0,"Key":"t","Flags":3,"Value":"aGk=","CreateIndex":11,"ModifyIndex":11}}],"Errors":null}
                """)
    }

    @Test func aReadOnlyTransactionSkipsTheLog() async {
        _ = await self.desk.put("/v1/kv/t", "hi")
        let before = self.desk.cluster.proposals.count
        let reply = await self.txn(#"[{"KV":{"Verb":"get","Key":"t"}}]"#)
        #expect(self.desk.cluster.proposals.count == before)
        #expect(reply["X-Consul-Index"] == nil)
        #expect(reply["X-Consul-Knownleader"] == "true")
        #expect(
            reply.short
                == #"200 {"Results":[{"KV":{"LockIndex":0,"Key":"t","Flags":0,"Value":"aGk=","CreateIndex":11,"ModifyIndex":11}}],"Errors":null"#
                + Self.mark)
        _ = await self.desk.put("/v1/txn?stale", #"[{"KV":{"Verb":"get","Key":"t"}}]"#)
        #expect(self.desk.cluster.views.last == .stale)
    }

    @Test func aFailureIs409WithEveryError() async {
        _ = await self.desk.put("/v1/kv/t", "hi")
        let reply = await self.txn(
            #"[{"KV":{"Verb":"cas","Key":"t","Index":3,"Value":"aGk="}},{"KV":{"Verb":"check-index","Key":"t","Index":1}}]"#
        )
        #expect(
            reply.short
                == #"409 {"Results":null,"Errors":[{"OpIndex":0,"What":"failed to set key \"t\", index is stale"},"#
                + #"{"OpIndex":1,"What":"failed index check for key \"t\", current modify index 11 != 1"}]}"#)
        #expect(await self.desk.get("/v1/kv/t?raw").body == "hi")
    }

    @Test(
        arguments: [
            ("[]", #"200 {"Results":[],"Errors":null"# + Self.mark),
            ("[{}]", #"200 {"Results":[],"Errors":null"# + Self.mark),
            ("null", #"200 {"Results":[],"Errors":null"# + Self.mark),
            ("x", "400 Failed to parse body: invalid character 'x' looking for beginning of value"),
            ("", "400 Failed to parse body: EOF"),
            (#"{"a":1}"#, "400 Failed to parse body: json: cannot unmarshal object into Go value of type api.TxnOps"),
            (#"[{"Foo":{}}]"#, "400 Failed to parse body: json: unknown field \"Foo\""),
            (#"[{"KV":{"Verb":"get","Key":"t","Foo":1}}]"#, "400 Failed to parse body: json: unknown field \"Foo\""),
            (
                #"[{"KV":{"Verb":"set","Key":"t","Value":"%%"}}]"#,
                "400 Failed to parse body: illegal base64 data at input byte 0"
            ),
            (
                #"[{"KV":{"Verb":"set","Key":"t","Index":"x"}}]"#,
                "400 Failed to parse body: json: cannot unmarshal string into Go struct field .Index of type uint64"
            ),
            (
                #"[{"KV":{"Verb":"zip","Key":"t"}}]"#,
                #"409 {"Results":null,"Errors":[{"OpIndex":0,"What":"unknown KV verb \"zip\""}]"# + Self.mark
            ),
            (
                #"[{"KV":{"Verb":"get-or-empty","Key":"t"}},{"Node":{"Verb":"zip"}}]"#,
                #"409 {"Results":null,"Errors":[{"OpIndex":1,"What":"unknown Node verb \"zip\""}]"# + Self.mark
            ),
            (
                #"[{"KV":{"Verb":"set","Key":""}}]"#,
                #"409 {"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide key"}]}"#
            ),
            (
                #"[{"KV":{"Verb":"get","Key":"none"}}]"#,
                #"409 {"Results":null,"Errors":[{"OpIndex":0,"What":"key \"none\" doesn't exist"}]"# + Self.mark
            ),
            (
                #"[{"KV":{"Verb":"lock","Key":"t","Session":"00000000-0000-0000-0000-000000000000"}}]"#,
                #"409 {"Results":null,"Errors":[{"OpIndex":0,"What":"invalid session \"00000000-0000-0000-0000-000000000000\""}]}"#
            ),
        ])
    func refusalsUseConsulsTexts(_ body: String, _ expected: String) async {
        #expect(await self.txn(body).short == expected)
        // Nothing malformed may reach the log: an operation without a kind would stop every server.
        for command in self.desk.cluster.proposals {
            guard case .txn(let txn)? = command.kind else { continue }
            #expect(txn.ops.allSatisfy { $0.kind != nil })
        }
    }

    @Test func operationsAreCounted() async {
        func body(_ count: Int) -> String {
            "["
                + [String](repeating: #"{"KV":{"Verb":"check-not-exists","Key":"a"}}"#, count: count).joined(
                    separator: ",") + "]"
        }
        #expect(await self.txn(body(128)).status == 200)
        #expect(await self.txn(body(129)).short == "413 Transaction contains too many operations (129 > 128)")
    }

    @Test func nodesServicesAndChecksAreRowsToo() async {
        let set = await self.txn(
            #"[{"Node":{"Verb":"set","Node":{"Node":"n1","Address":"1.2.3.4"}}},"#
                + #"{"Service":{"Verb":"set","Node":"n1","Service":{"Service":"web","ID":"w1","Port":80,"Tags":["a"]}}},"#
                + #"{"Check":{"Verb":"set","Check":{"Node":"n1","CheckID":"c1","Name":"C","Status":"passing","ServiceID":"w1"}}}]"#
        )
        #expect(
            set.body
                == #"{"Results":[{"Node":{"ID":"","Node":"n1","Address":"1.2.3.4","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":11,"ModifyIndex":11}},"#
                + #"{"Service":{"ID":"w1","Service":"web","Tags":["a"],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":11,"ModifyIndex":11}},"#
                + #"{"Check":{"Node":"n1","CheckID":"c1","Name":"C","Status":"passing","Notes":"","Output":"","ServiceID":"w1","ServiceName":"web","ServiceTags":["a"],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":11,"ModifyIndex":11}}],"Errors":null}"#
        )
        let get = await self.txn(
            #"[{"Node":{"Verb":"get","Node":{"Node":"n1"}}},{"Service":{"Verb":"get","Node":"n1","Service":{"ID":"w1"}}},"#
                + #"{"Check":{"Verb":"get","Check":{"Node":"n1","CheckID":"c1"}}}]"#)
        #expect(get.body == set.body.dropLast() + Self.mark)
        let stale = await self.txn(
            #"[{"Node":{"Verb":"cas","Node":{"Node":"n1","Address":"1.2.3.5","ModifyIndex":3}}}]"#)
        #expect(stale.status == 409)
        let gone = await self.txn(
            #"[{"Check":{"Verb":"delete","Check":{"Node":"n1","CheckID":"c1"}}},{"Node":{"Verb":"delete-cas","Node":{"Node":"n1","ModifyIndex":11}}}]"#
        )
        #expect(gone.short == #"200 {"Results":[],"Errors":null}"#)
    }

    @Test func aSessionCanBeDestroyedInATransaction() async {
        let reply = await self.txn(
            #"[{"Session":{"Verb":"delete","Session":{"ID":"00000000-0000-0000-0000-000000000000"}}}]"#)
        #expect(reply.short == #"200 {"Results":[],"Errors":null}"#)
    }

    @Test func aBodyAboveTheLimitIsRefused() async {
        let body = "[" + String(repeating: " ", count: 524_288) + "]"
        #expect(
            await self.txn(body).short
                == "413 Request body(524290 bytes) too large, max size: 524288 bytes. "
                + "See https://www.consul.io/docs/agent/options.html#txn_max_req_len.")
    }

    @Test func anotherDatacenterHasNoPath() async {
        #expect(await self.desk.put("/v1/txn?dc=x", "[]").short == "500 No path to datacenter")
    }
}
