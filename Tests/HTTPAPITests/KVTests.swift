import HTTPAPI
import Protocol
import Testing

@Suite struct KVTests {
    let desk = Desk()

    @Test func aPutAnswersTrueAndNamesTheModifyIndex() async {
        let reply = await self.desk.put("/v1/kv/a", "hello")
        #expect(
            reply.full
                == """
                200
                Content-Type: application/json
                X-Consul-Default-Acl-Policy: allow
                Vary: Accept-Encoding
                X-Consul-ModifyIndex: 11

                true
                """)
    }

    @Test func aGetShowsTheKeyWithConsulsHeaders() async {
        _ = await self.desk.put("/v1/kv/a", "hello")
        let reply = await self.desk.get("/v1/kv/a")
        #expect(
            reply.full
                == """
                200
                Content-Type: application/json
                X-Consul-Default-Acl-Policy: allow
                Vary: Accept-Encoding
                X-Consul-Index: 11
                X-Consul-Knownleader: true
                X-Consul-Lastcontact: 0

                [{"LockIndex":0,"Key":"a","Flags":0,"Value":"aGVsbG8=","CreateIndex":11,"ModifyIndex":11}]
                """)
    }

    @Test func prettyIndentsByFourAndEndsInANewline() async {
        _ = await self.desk.put("/v1/kv/a", "hello")
        let expected = """
            [
                {
                    "LockIndex": 0,
                    "Key": "a",
                    "Flags": 0,
                    "Value": "aGVsbG8=",
                    "CreateIndex": 11,
                    "ModifyIndex": 11
                }
            ]

            """
        #expect(await self.desk.get("/v1/kv/a?pretty").body == expected)
        #expect(await self.desk.get("/v1/kv/a?pretty=false").body == expected)
        #expect(await self.desk.get("/v1/kv/?keys&pretty").body == "[\n    \"a\"\n]\n")
    }

    @Test func aMissingKeyIs404WithoutBodyButWithTheIndex() async {
        _ = await self.desk.put("/v1/kv/a", "x")
        let reply = await self.desk.get("/v1/kv/nope")
        #expect(reply.short == "404 ")
        #expect(reply["X-Consul-Index"] == "11")
        #expect(reply["Content-Type"] == nil)
    }

    @Test func theIndexOfAnEmptyStoreIsOne() async {
        #expect(await self.desk.get("/v1/kv/a")["X-Consul-Index"] == "1")
    }

    @Test func anEmptyValueIsNull() async {
        _ = await self.desk.put("/v1/kv/empty")
        #expect(await self.desk.get("/v1/kv/empty").body.contains(#""Value":null"#))
    }

    @Test func rawIsTheValueItselfGuardedAgainstBrowsers() async {
        _ = await self.desk.ask("PUT", "/v1/kv/bin", bytes: [0, 255, 10])
        let reply = await self.desk.get("/v1/kv/bin?raw")
        #expect(reply.bytes == [0, 255, 10])
        #expect(reply["Content-Type"] == "text/plain")
        #expect(reply["X-Content-Type-Options"] == "nosniff")
        #expect(reply["Content-Security-Policy"] == "sandbox")
        #expect(reply["X-Consul-Index"] == "11")
    }

    @Test(arguments: ["a//b", "/a", "a%2Fb%20c", "ç", "%C3%A7", "a/", "e%CC%81", "a+b", "a..b/../c", "%00%01", "a;b"])
    func keysAreStoredByteForByte(_ key: String) async {
        var settings = HTTPAPISettings()
        settings.refusesUnprintablePaths = false
        let desk = Desk(settings: settings)
        #expect(await desk.put("/v1/kv/\(key)", "v").body == "true")
        #expect(await desk.get("/v1/kv/\(key)?raw").body == "v")
        #expect(await desk.get("/v1/kv/?keys").body.split(separator: ",").count == 1)
        guard case .kvPut(let put)? = desk.cluster.proposals.first?.kind else {
            Issue.record("no put was proposed")
            return
        }
        let plain: [String: [UInt8]] = [
            "a%2Fb%20c": Array("a/b c".utf8), "%C3%A7": Array("ç".utf8), "e%CC%81": [0x65, 0xCC, 0x81],
            "%00%01": [0, 1],
        ]
        #expect([UInt8](put.key) == plain[key] ?? Array(key.utf8))
    }

    @Test func composedAndDecomposedAccentsAreTwoKeys() async {
        _ = await self.desk.put("/v1/kv/%C3%A9", "composed")
        _ = await self.desk.put("/v1/kv/e%CC%81", "decomposed")
        #expect(await self.desk.get("/v1/kv/%C3%A9?raw").body == "composed")
        #expect(await self.desk.get("/v1/kv/e%CC%81?raw").body == "decomposed")
    }

    @Test func recurseListsInBytewiseOrder() async {
        for key in ["b/2", "a", "b/1", "b%C3%A9", "c"] { _ = await self.desk.put("/v1/kv/\(key)", "x") }
        let reply = await self.desk.get("/v1/kv/b?recurse")
        #expect(
            reply.body.split(separator: ",").filter { $0.hasPrefix("\"Key\"") } == [
                "\"Key\":\"b/1\"", "\"Key\":\"b/2\"", "\"Key\":\"bé\"",
            ])
        #expect(reply["X-Consul-Index"] == "14")
        #expect(await self.desk.get("/v1/kv/?recurse").body.contains("\"c\""))
        #expect(await self.desk.get("/v1/kv?recurse").body.contains("\"c\""))
        #expect(await self.desk.get("/v1/kv/zz?recurse").short == "404 ")
    }

    @Test func keysAreCutAtTheSeparator() async {
        for key in ["a", "d/1", "d/2", "d/e/3", "f"] { _ = await self.desk.put("/v1/kv/\(key)", "x") }
        #expect(await self.desk.get("/v1/kv/?keys").body == #"["a","d/1","d/2","d/e/3","f"]"#)
        #expect(await self.desk.get("/v1/kv/?keys&separator=/").body == #"["a","d/","f"]"#)
        #expect(await self.desk.get("/v1/kv/d/?keys&seperator=%2F").body == #"["d/1","d/2","d/e/"]"#)
        #expect(await self.desk.get("/v1/kv/zz?keys").short == "404 ")
    }

    @Test func keysOfAnEmptyStoreAreAnEmptyList() async {
        #expect(await self.desk.get("/v1/kv/?keys").short == "200 []")
    }

    @Test func casZeroCreatesOnly() async {
        #expect(await self.desk.put("/v1/kv/a?cas=0", "1").body == "true")
        let second = await self.desk.put("/v1/kv/a?cas=0", "2")
        #expect(second.short == "200 false")
        #expect(second["X-Consul-ModifyIndex"] == nil)
        #expect(await self.desk.put("/v1/kv/a?cas=11", "3").body == "true")
        #expect(await self.desk.get("/v1/kv/a?raw").body == "3")
    }

    @Test func anIdenticalPutChangesNoIndexAndNamesNone() async {
        _ = await self.desk.put("/v1/kv/a?flags=7", "1")
        let second = await self.desk.put("/v1/kv/a?flags=7", "1")
        #expect(second.short == "200 true")
        #expect(second["X-Consul-ModifyIndex"] == nil)
        #expect(await self.desk.get("/v1/kv/a")["X-Consul-Index"] == "11")
        #expect(await self.desk.get("/v1/kv/a").body.contains("\"Flags\":7"))
    }

    @Test func deletesAnswerAsConsulDoes() async {
        _ = await self.desk.put("/v1/kv/a", "1")
        #expect(await self.desk.delete("/v1/kv/a?cas=0").short == "200 false")
        #expect(await self.desk.delete("/v1/kv/a?cas=99").short == "200 false")
        #expect(await self.desk.delete("/v1/kv/a?cas=11").short == "200 true")
        #expect(await self.desk.delete("/v1/kv/a?cas=11").short == "200 true")
        #expect(await self.desk.delete("/v1/kv/never").short == "200 true")
        for key in ["t/1", "t/2", "u"] { _ = await self.desk.put("/v1/kv/\(key)", "x") }
        #expect(await self.desk.delete("/v1/kv/t/?recurse").short == "200 true")
        #expect(await self.desk.get("/v1/kv/?keys").body == #"["u"]"#)
        #expect(await self.desk.delete("/v1/kv/?recurse").short == "200 true")
        #expect(await self.desk.get("/v1/kv/?keys").body == "[]")
    }

    @Test(
        arguments: [
            ("PUT", "/v1/kv/", "400 Missing key name"),
            ("GET", "/v1/kv/", "400 Missing key name"),
            ("DELETE", "/v1/kv/", "400 Missing key name"),
            ("PUT", "/v1/kv/a?cas=1&acquire=x", "400 Conflicting flags: acquire=x&cas=1"),
            ("PUT", "/v1/kv/a?release=x&acquire=y", "400 Conflicting flags: acquire=y&release=x"),
            ("DELETE", "/v1/kv/a?recurse&cas=3", "400 Conflicting flags: cas=3&recurse="),
            ("PUT", "/v1/kv/a?cas=x", "500 strconv.ParseUint: parsing \"x\": invalid syntax"),
            ("PUT", "/v1/kv/a?flags=-1", "500 strconv.ParseUint: parsing \"-1\": invalid syntax"),
            (
                "PUT", "/v1/kv/a?flags=18446744073709551616",
                "500 strconv.ParseUint: parsing \"18446744073709551616\": value out of range"
            ),
            ("DELETE", "/v1/kv/a?cas=zz", "500 strconv.ParseUint: parsing \"zz\": invalid syntax"),
            ("PUT", "/v1/kv/a?acquire=", "500 missing session"),
            (
                "PUT", "/v1/kv/a?acquire=00000000-0000-0000-0000-000000000000",
                "500 invalid session \"00000000-0000-0000-0000-000000000000\""
            ),
            ("PUT", "/v1/kv/a?release=zz", "200 false"),
            ("GET", "/v1/kv/a?dc=other", "500 No path to datacenter"),
            ("GET", "/v1/kv/a?dc=dc1", "404 "),
            ("GET", "/v1/kv/%zz", "400 "),
            ("GET", "/v1/kv/a?x=%zz", "500 "),
            (
                "GET", "/v1/kv/a?ns=team",
                "400 Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature"
            ),
        ])
    func refusalsUseConsulsTexts(_ method: String, _ target: String, _ expected: String) async {
        #expect(await self.desk.ask(method, target).short == expected)
    }

    @Test func aValueAboveTheLimitIsRefused() async {
        let exact = [UInt8](repeating: 120, count: 524_288)
        #expect(await self.desk.ask("PUT", "/v1/kv/big", bytes: exact).short == "200 true")
        #expect(
            await self.desk.ask("PUT", "/v1/kv/big", bytes: exact + [1]).short
                == "413 Request body(524289 bytes) too large, max size: 524288 bytes. "
                + "See https://www.consul.io/docs/agent/options.html#kv_max_value_size.")
    }

    @Test func keysThatAreNotUTF8ShowTheReplacementCharacter() async {
        _ = await self.desk.put("/v1/kv/a%FFb", "x")
        #expect(await self.desk.get("/v1/kv/?keys").body == #"["a\ufffdb"]"#)
        #expect(await self.desk.get("/v1/kv/a%FFb?raw").body == "x")
    }

    @Test func headAnswersLikeGet() async {
        _ = await self.desk.put("/v1/kv/a", "hello")
        let reply = await self.desk.ask("HEAD", "/v1/kv/a")
        #expect(reply.status == 200)
        #expect(reply["X-Consul-Index"] == "11")
    }
}
