import HTTPAPI
import Testing
import Units

@Suite struct RequestTargetTests {
    private func target(_ text: String) -> RequestTarget? { try? RequestTarget(text) }

    @Test(
        arguments: [
            ("/v1/kv/a//b", "/v1/kv/a//b"), ("/a%2Fb", "/a/b"), ("/a+b", "/a+b"), ("/%41%e2%82%ac", "/A€"), ("/", "/"),
            ("http://host:1/x?y", "/x"), ("/a;b", "/a;b"), ("?a=b", ""), ("http://host", ""),
        ])
    func pathsAreDecodedOnceAndNothingElse(_ text: String, _ path: String) {
        #expect(self.target(text)?.path == Array(path.utf8))
    }

    @Test(arguments: ["/%", "/%4", "/%4g", "/%%41", "relative", "/?a=%", "/?%zz=1", "/?a;b"])
    func malformedTargetsAreRefused(_ text: String) {
        #expect(self.target(text) == nil)
    }

    @Test func parametersKeepOrderAndRepetition() {
        let query = Query("tag=a&x=1+2%263&tag=b&&bare&empty=&=nameless")
        #expect(query?.all("tag") == ["a", "b"])
        #expect(query?.first("x") == "1 2&3")
        #expect(query?.has("bare") == true)
        #expect(query?["bare"] == "")
        #expect(query?.first("none") == nil)
        #expect(query?.parameters.count == 6)
        #expect(query?.encoded == "=nameless&bare=&empty=&tag=a&tag=b&x=1+2%263")
    }

    @Test func encodingAndDecodingAreInverse() {
        var dice = Dice(seed: 9)
        for _ in 0..<3000 {
            let alphabet = ["a", "=", "&", "%", "+", " ", "é", "/", "?", ";", "~", "\u{0}"]
            func word() -> String {
                (0..<Int.random(in: 1...5, using: &dice)).map { _ in alphabet.randomElement(using: &dice) ?? "" }
                    .joined()
            }
            let (name, value) = (word(), word())
            guard let once = Query("\(percent(name))=\(percent(value))") else {
                Issue.record("not readable: \(name)=\(value)")
                return
            }
            #expect(once.parameters == [.init(name: name, value: value)])
            #expect(Query(once.encoded)?.parameters == once.parameters)
        }
    }

    /// Escapes every byte.
    private func percent(_ text: String) -> String {
        text.utf8.map { "%" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test func randomBytesNeverTrap() {
        var dice = Dice(seed: 10)
        for _ in 0..<5000 {
            let bytes = (0..<Int.random(in: 0...24, using: &dice)).map { _ in
                Bool.random(using: &dice)
                    ? UInt8.random(in: 0...255, using: &dice)
                    : Array("/?%&=;+:a0".utf8).randomElement(using: &dice) ?? 0
            }
            let text = String(decoding: bytes, as: UTF8.self)
            if let target = self.target(text) { #expect(target.path.count <= text.utf8.count) }
        }
    }

    @Test(
        arguments: [
            ("300ms", 300_000_000), ("1.5h", 5_400_000_000_000), ("2h45m", 9_900_000_000_000), ("+10s", 10_000_000_000),
            ("0", 0), ("15.0s", 15_000_000_000), ("1us", 1000), ("1µs", 1000), (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
        ] as [(String, UInt64)])
    func goDurationsAreRead(_ text: String, _ nanoseconds: UInt64) {
        #expect(GoDuration.parse(text) == Nanoseconds(nanoseconds))
    }

    @Test(arguments: [
        "", "5", "s", ".s", "1", "-1s", "1x", "1s ", " 1s", "1e3s", "9999999h", "99999999999999999999s", "+",
    ])
    func otherTextIsNoDuration(_ text: String) {
        #expect(GoDuration.parse(text) == nil)
    }

    @Test(
        arguments: [
            (0, "0s"), (1, "1ns"), (1500, "1.5µs"), (2_000_000, "2ms"), (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (259_200_000_000_000, "72h0m0s"), (3_600_000_000_001, "1h0m0.000000001s"),
        ] as [(UInt64, String)])
    func durationsAreWrittenAsGoDoes(_ nanoseconds: UInt64, _ text: String) {
        #expect(GoDuration.format(Nanoseconds(nanoseconds)) == text)
        #expect(GoDuration.parse(text) == Nanoseconds(nanoseconds))
    }
}
