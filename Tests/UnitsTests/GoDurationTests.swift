import Testing
import Units

@Suite struct GoDurationTests {
    @Test(
        "Durations are read as Go reads them",
        arguments: [
            ("0", 0), ("0s", 0), ("300ms", 300_000_000), ("1.5h", 5_400_000_000_000), ("2h45m", 9_900_000_000_000),
            ("+10s", 10_000_000_000), ("1us", 1000), ("1µs", 1000), ("1μs", 1000), ("7ns", 7), (".5s", 500_000_000),
            ("1.s", 1_000_000_000), ("1h1m1s", 3_661_000_000_000), ("0.000000001s", 1),
            ("1.00000000000000000001s", 1_000_000_000), ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ] as [(String, UInt64)])
    func read(_ text: String, _ nanoseconds: UInt64) {
        #expect(GoDuration.parse(text) == Nanoseconds(nanoseconds))
    }

    @Test(
        "What Go would not read, or would read as negative, is refused",
        arguments: [
            "", "+", "10", "s", ".", ".s", "1x", "-1s", "1 s", " 1s", "1s ", "1.1.1s", "1sm", "10S", "++1s", "1e3s",
            "9223372036854775808ns", "99999999999999999999s", "2562048h", "1h2562047h48m",
        ])
    func refused(_ text: String) {
        #expect(GoDuration.parse(text) == nil)
    }

    @Test(
        "Durations are written as Go writes them",
        arguments: [
            (0, "0s"), (1, "1ns"), (1500, "1.5µs"), (1_500_000, "1.5ms"), (15_000_000_000, "15s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_000, "1m30s"), (3_600_000_000_000, "1h0m0s"), (259_380_500_000_000, "72h3m0.5s"),
            (1_000_000_001, "1.000000001s"), (999_999_999, "999.999999ms"),
        ] as [(UInt64, String)])
    func written(_ nanoseconds: UInt64, _ text: String) {
        #expect(GoDuration.format(Nanoseconds(nanoseconds)) == text)
    }

    @Test func whatIsWrittenIsReadBack() {
        var value: UInt64 = 1
        while value < UInt64(Int64.max) / 7 {
            #expect(GoDuration.parse(GoDuration.format(Nanoseconds(value))) == Nanoseconds(value))
            value = value &* 7 &+ 3
        }
    }
}
