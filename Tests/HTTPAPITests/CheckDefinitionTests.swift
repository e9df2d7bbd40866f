import HTTPAPI
import LocalAgent
import Testing
import Units

/// What bodies say about checks, of each type.
struct CheckDefinitionTests {
    private func decoded(_ text: String) throws -> CheckDefinition {
        try DefinitionDecoder.check(try JSONValue.parse(Array(text.utf8)))
    }

    @Test(
        arguments: [
            ("http", #""HTTP":"http://x","Interval":"1s""#), ("tcp", #""TCP":"h:1","TCPUseTLS":true,"Interval":"1s""#),
            ("udp", #""UDP":"h:1","Interval":"1s""#), ("grpc", #""GRPC":"h:1/s","Interval":"1s""#),
            ("h2ping", #""H2PING":"h:1","Interval":"1s""#), ("script", #""Args":["x"],"Interval":"1s""#),
            ("docker", #""DockerContainerID":"c","Args":["x"],"Interval":"1s""#),
            ("os_service", #""OSService":"sshd","Interval":"1s""#), ("alias", #""AliasService":"web""#),
            ("alias", #""AliasNode":"n2""#), ("ttl", #""TTL":"1s""#),
        ])
    func everyTypeIsRead(_ type: String, _ fields: String) throws {
        let check = try self.decoded("{\"Name\":\"c\",\(fields)}")
        #expect(check.type == type)
        #expect(check.validate() == nil)
    }

    @Test(
        arguments: [
            (#"{"TTL":"-1s"}"#, "TTL must be > 0 for TTL checks"),
            (#"{"TTL":-5}"#, "TTL must be > 0 for TTL checks"),
            (
                #"{"TCP":"h:1","Interval":"-1s"}"#,
                "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
            ),
            (#"{"TTL":"1s","OutputMaxSize":-1}"#, "MaxOutputMaxSize must be positive"),
            (
                #"{"TCP":"h:1","Interval":"1s","FailuresBeforeCritical":1,"FailuresBeforeWarning":2}"#,
                "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
            ),
            (#"{"DockerContainerID":"c","Shell":"/bin/sh"}"#, "TTL must be > 0 for TTL checks"),
            (#"{"AliasNode":"n","TCP":"h:1","Interval":"1s"}"#, "Interval cannot be set for Alias checks"),
        ])
    func whatCannotRunIsRefusedInConsulsWords(_ body: String, _ text: String) throws {
        #expect(try self.decoded(body).validate() == text)
    }

    @Test(
        arguments: [
            (#"{"TCP":"127.0.0.1:1","Interval":"10s"}"#, "tcp"), (#"{"TCP":"127.0.0.1:1"}"#, ""),
            (#"{"HTTP":"http://x","Interval":"10s","Timeout":"1s"}"#, "http"),
            (#"{"UDP":"h:1","Interval":"10s"}"#, "udp"),
            (#"{"AliasService":"web"}"#, "alias"), ("{}", ""),
        ])
    func aCheckWrittenIntoTheCatalogHasTheTypeOfItsDefinition(_ definition: String, _ type: String) async {
        let desk = Desk()
        let body =
            "{\"Node\":\"n9\",\"Address\":\"10.0.0.9\",\"Check\":{\"Node\":\"n9\",\"CheckID\":\"c\",\"Name\":\"c\","
            + "\"Status\":\"passing\",\"Definition\":\(definition)}}"
        #expect(await desk.put("/v1/catalog/register", body).short == "200 true")
        let shown = await desk.get("/v1/health/node/n9").body
        #expect(shown.contains("\"Type\":\"\(type)\""), "\(shown)")
    }

    @Test func aTypeThatIsWrittenStays() async {
        let desk = Desk()
        let body =
            #"{"Node":"n9","Address":"10.0.0.9","Check":{"Node":"n9","CheckID":"c","Name":"c","Type":"own","#
            + #""Definition":{"TCP":"h:1","Interval":"10s"}}}"#
        #expect(await desk.put("/v1/catalog/register", body).short == "200 true")
        #expect(await desk.get("/v1/health/node/n9").body.contains(#""Type":"own""#))
    }
}
