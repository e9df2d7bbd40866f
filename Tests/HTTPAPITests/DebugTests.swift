import Cluster
import HTTPAPI
import Protocol
import Testing

@Suite struct DebugTests {
    let desk = Desk()

    @Test func theLogIsShownFromWhereItIsAskedWithoutValues() async {
        #expect(
            await self.desk.get("/v1/internal/debug/log?from=4&count=2").short
                == #"200 {"node":"n","cluster":"c","format":1,"term":3,"firstIndex":1,"lastIndex":100,"commitIndex":99,"#
                + #""appliedIndex":98,"promisedIndex":97,"findings":[],"#
                + #""entries":[{"index":4,"term":3,"bytes":7,"entry":"kvPut a4"},"#
                + #"{"index":5,"term":3,"bytes":7,"entry":"kvPut a5"}]}"#)
        let newest = await self.desk.get("/v1/internal/debug/log").body
        #expect(newest.contains("kvPut a81") && newest.contains("kvPut a100") && !newest.contains("kvPut a80"))
    }

    @Test(arguments: [
        "from=x", "from=-1", "from=%2B4", "from=99999999999999999999", "count=0", "count=1001", "count=ten",
    ])
    func anIndexOrCountThatIsNoneIsRefused(_ query: String) async {
        let name = query.split(separator: "=")[0]
        let reply = await self.desk.get("/v1/internal/debug/log?\(query)")
        #expect(reply.status == 400)
        #expect(reply.body.hasPrefix("Invalid \(name)"))
    }

    @Test func snapshotsAreShownWithTheirFlaws() async {
        #expect(
            await self.desk.get("/v1/internal/debug/snapshot").short
                == #"200 [{"name":"snapshot-9-3","index":9,"term":3,"servers":"voters s1","bytes":4096,"#
                + #""rows":{"nodes":1,"kv":2}},"#
                + #"{"name":"snapshot-5-1","bytes":0,"rows":{},"flaw":"its description is damaged"}]"#)
    }

    @Test func theyAreAnsweredByTheServerThatIsAskedAndByNoAgentThroughIt() async {
        var request = PeerHTTPRequest()
        request.method = "GET"
        for path in ["/v1/internal/debug/log", "/v1/internal/debug/snapshot"] {
            request.target = path
            #expect(await self.desk.api.respond(to: request, origin: "agent-1").status == 403)
            #expect(await self.desk.put(path).status == 405)
        }
    }
}
