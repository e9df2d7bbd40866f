import CZlib
import HTTPAPI
import NIOCore
import Testing

/// Answers in gzip's format, as a client on a socket gets them.
@Suite struct CompressionTests {
    let desk = Desk()

    private static func get(_ target: String, _ accept: String?) -> String {
        "GET \(target) HTTP/1.1\r\nHost: x\r\n" + (accept.map { "Accept-Encoding: \($0)\r\n" } ?? "") + "\r\n"
    }

    @Test(
        arguments: [
            (nil, false), ("gzip", true), ("GZIP", true), ("deflate, gzip;q=0.5", true), ("gzip;q=1.0, *;q=0", true),
            ("gzip;q=0", false), ("gzip; q=0.0", false), ("gzip;q=x", false), ("*", false), ("identity", false),
            ("br,zstd", false), ("", false),
        ] as [(String?, Bool)])
    func whoAcceptsGzipGetsIt(_ accept: String?, _ isCompressed: Bool) async throws {
        let desk = self.desk
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await client.send(Self.get("/v1/status/peers", accept))
            let (head, body) = try await client.bytes()
            #expect(head.contains("Content-Encoding: gzip\r\n") == isCompressed)
            #expect(head.contains("Vary: Accept-Encoding\r\n"))
            let plain = isCompressed ? try #require(gunzipped(body)) : body
            #expect(String(decoding: plain, as: UTF8.self) == #"["10.0.0.1:8300","10.0.0.2:8300"]"#)
            try await client.close()
        }
    }

    @Test func smallAndLargeValuesAreWhole() async throws {
        let desk = self.desk
        var dice = Dice(seed: 7)
        // On the event loop, beyond what is compressed there, and what does not get smaller.
        let values: [[UInt8]] = [
            [1], Array(repeating: UInt8(ascii: "x"), count: 9000), Array(repeating: UInt8(ascii: "y"), count: 500_000),
            (0..<200_000).map { _ in UInt8.random(in: 0...255, using: &dice) },
        ]
        for (position, value) in values.enumerated() {
            #expect(await desk.ask("PUT", "/v1/kv/v\(position)", bytes: value).status == 200)
        }
        try await desk.serving { port in
            let client = try await Client(port: port)
            // Of two answers asked for together the second waits for the first, wherever that is compressed.
            for position in values.indices {
                try await client.send(Self.get("/v1/kv/v\(position)?raw", "gzip") + Self.get("/v1/kv/v0?raw", nil))
                let (head, body) = try await client.bytes()
                #expect(head.contains("Content-Encoding: gzip\r\n"))
                #expect(gunzipped(body) == values[position])
                #expect(try await client.bytes().body == values[0])
            }
            try await client.send(Self.get("/v1/kv/?recurse", "gzip"))
            #expect(gunzipped(try await client.bytes().body)?.count ?? 0 > 900_000)
            try await client.close()
        }
    }

    @Test func errorsAreCompressedTooButNothingIsLeftAsItIs() async throws {
        let desk = self.desk
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await client.send(Self.get("/v1/catalog/nodes?index=x", "gzip"))
            let (head, body) = try await client.bytes()
            #expect(head.hasPrefix("HTTP/1.1 400 Bad Request\r\n") && head.contains("Content-Encoding: gzip\r\n"))
            #expect(gunzipped(body) == Array("Invalid index".utf8))
            try await client.send(Self.get("/v1/kv/none", "gzip"))
            let none = try await client.bytes()
            #expect(none.head.hasPrefix("HTTP/1.1 404") && !none.head.contains("Content-Encoding"))
            #expect(none.body.isEmpty)
            try await client.close()
        }
    }

    @Test func whatIsStreamedIsSentAsItIs() async throws {
        let desk = self.desk
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await client.send(Self.get("/v1/snapshot", "gzip"))
            #expect(!(try await client.head()).contains("Content-Encoding"))
            #expect(try await client.line() == "3")
            #expect(try await client.line() == "one")
            try await client.close()
        }
    }

    @Test func anUnknownPathDoesNotVary() async {
        #expect(await self.desk.get("/v1/foo")["Vary"] == nil)
        #expect(await self.desk.get("/v1/status/leader")["Vary"] == "Accept-Encoding")
    }
}

/// Nil when it is no whole gzip stream.
private func gunzipped(_ bytes: [UInt8]) -> [UInt8]? {
    var input = bytes
    var output = [UInt8](repeating: 0, count: 4 << 20)
    var stream = z_stream()
    guard inflateInit2_(&stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else { return nil }
    defer { inflateEnd(&stream) }
    let (status, count) = input.withUnsafeMutableBufferPointer { source in
        output.withUnsafeMutableBufferPointer { target in
            stream.next_in = source.baseAddress
            stream.avail_in = UInt32(source.count)
            stream.next_out = target.baseAddress
            stream.avail_out = UInt32(target.count)
            return (inflate(&stream, Z_FINISH), target.count - Int(stream.avail_out))
        }
    }
    return status == Z_STREAM_END && stream.avail_in == 0 ? Array(output[..<count]) : nil
}
