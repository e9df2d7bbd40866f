import Foundation
import Testing
import serai

@Suite("The agent that is asked")
struct ClientTests {
    @Test("A flag goes before SERAI_…, which goes before CONSUL_…; empty ones say nothing")
    func precedence() {
        let both = CommandEnvironment(["CONSUL_CACERT": "consul", "SERAI_CACERT": "serai", "CONSUL_CAPATH": ""])
        #expect(both.value("given", or: "CACERT") == "given")
        #expect(both.value("", or: "CACERT") == "serai")
        #expect(both.value(nil, or: "CAPATH") == nil)
        #expect(CommandEnvironment(["CONSUL_CACERT": "consul"])["CACERT"] == "consul")
    }

    @Test func aTruthThatIsNoneIsAnError() throws {
        #expect(try CommandEnvironment(["CONSUL_HTTP_SSL": "t"]).truth("HTTP_SSL") == true)
        #expect(try CommandEnvironment([:]).truth("HTTP_SSL") == nil)
        #expect(throws: (any Error).self) { try CommandEnvironment(["SERAI_HTTP_SSL": "yes"]).truth("HTTP_SSL") }
    }

    @Test("Coordinates are as far apart as Consul says")
    func coordinates() throws {
        let one = NetworkCoordinate(vector: [3, 0], adjustment: 0.5, height: 1)
        let other = NetworkCoordinate(vector: [0, 4], adjustment: -0.25, height: 2)
        #expect(try one.distance(to: other) == 5 + 3 + 0.25)
        let low = NetworkCoordinate(vector: [0, 4], adjustment: -20, height: 2)
        #expect(try one.distance(to: low) == 8)
        let flat = NetworkCoordinate(vector: [0], adjustment: 0, height: 0)
        #expect(throws: (any Error).self) { try one.distance(to: flat) }
    }
}

@Suite("Service definitions in files")
struct ServiceFileTests {
    @Test(
        "HCL and JSON say the same, and the user's own keys stay as they are",
        arguments: [
            ("web.hcl", "service {\n name = \"web\"\n enable_tag_override = true\n meta { a_b = \"c\" }\n}"),
            (
                "web.json",
                #"{"services": [{"name": "web", "enable_tag_override": true, "meta": {"a_b": "c"}}]}"#
            ),
        ])
    func bothSyntaxes(file: String, text: String) throws {
        let found = try ServiceFile.definitions(Array(text.utf8), file: file)
        #expect(found.map(\.json) == [#"{"Name":"web","EnableTagOverride":true,"Meta":{"a_b":"c"}}"#])
        #expect(ServiceFile.text("name", in: found[0]) == "web")
    }

    @Test(
        "What is no service definition is refused",
        arguments: ["{}", #"{"server": true}"#, #"{"service": 1}"#, "{", "service = "])
    func refused(text: String) {
        #expect(throws: (any Error).self) { try ServiceFile.definitions(Array(text.utf8), file: "x.json") }
    }
}

@Suite("Archives")
struct ArchiveTests {
    @Test("The checksum is CRC-32 (its check value is that of \"123456789\")")
    func checksum() {
        #expect(Archive.crc32(Array("123456789".utf8)) == 0xcbf4_3926)
        #expect(Archive.crc32([]) == 0)
    }

    @Test(arguments: [0, 1, 511, 512, 70_000])
    func tarAndGzipReadWhatWasWritten(size: Int) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("archive-" + UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let file = folder.appendingPathComponent("x.tar.gz")
        let tar = Archive.tar([("d/a.bin", bytes), ("d/b.txt", Array("hi".utf8))], at: 1_700_000_000)
        try Data(Archive.gzip(tar)).write(to: file)
        let unpack = Process()
        unpack.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        unpack.arguments = ["tar", "xzf", file.path, "-C", folder.path]
        try unpack.run()
        unpack.waitUntilExit()
        #expect(unpack.terminationStatus == 0)
        #expect(try Array(Data(contentsOf: folder.appendingPathComponent("d/a.bin"))) == bytes)
        #expect(try String(contentsOf: folder.appendingPathComponent("d/b.txt"), encoding: .utf8) == "hi")
    }
}

@Suite("Standard output")
struct OutputTests {
    @Test func whatCanNotBeWrittenIsTold() throws {
        let full = open("/dev/full", O_WRONLY)
        defer { close(full) }
        #expect(Output.write(Array("x".utf8), to: full) == ENOSPC)
        _ = signal(SIGPIPE, SIG_IGN)
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        close(ends[0])
        #expect(Output.write(Array("x".utf8), to: ends[1]) == EPIPE)
        close(ends[1])
    }

    @Test func aReaderThatIsSlowGetsAllOfIt() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let (input, output) = (ends[0], ends[1])
        _ = fcntl(output, F_SETFL, O_NONBLOCK)
        let bytes = (0..<500_000).map { UInt8(truncatingIfNeeded: $0) }
        let reader = FileHandle(fileDescriptor: input, closeOnDealloc: true)
        Thread.detachNewThread {
            #expect(Output.write(bytes, to: output) == nil)
            close(output)
        }
        #expect(try reader.readToEnd().map { Array($0) } == bytes)
    }
}

@Suite("Sessions of locks")
struct RenewalTests {
    @Test(
        "A session that can't be renewed counts as lost when its TTL is over, and not later",
        arguments: [10, 11, 15, 60, 86_400])
    func lostInTime(seconds: Int) {
        let start = ContinuousClock.now
        var plan = RenewalPlan(ttl: .seconds(seconds), good: start)
        var now = start
        var tries = 0
        while true {
            now = plan.next(after: now)
            guard let patience = plan.patience(at: now) else { break }
            // Each try takes all the time that it may.
            now += patience
            plan.failed()
            tries += 1
        }
        #expect(now == start + .seconds(seconds) && tries >= 2)
        plan.renewed(at: now)
        #expect(plan.next(after: now) == now + .seconds(seconds) / 3 && plan.patience(at: now) == .seconds(4))
    }
}
