import Testing
import serai

@Suite("Arguments")
struct ArgumentTests {
    @Test("One dash before a long name becomes two; short names, values and positionals stay")
    func oneDashBecomesTwo() {
        #expect(
            Arguments.normalised(["kv", "get", "-recurse", "--keys", "-h", "a", "-separator=/", "-token", "x"])
                == ["kv", "get", "--recurse", "--keys", "-h", "a", "--separator=/", "--token", "x"])
        #expect(Arguments.normalised(["kv", "put", "k", "-"]) == ["kv", "put", "k", "-"])
    }

    @Test func aSwitchMayBeWrittenWithTrueOrFalse() {
        #expect(Arguments.normalised(["kv", "get", "-recurse=true", "a"]) == ["kv", "get", "--recurse", "a"])
        #expect(Arguments.normalised(["kv", "get", "-recurse=false", "a"]) == ["kv", "get", "a"])
        #expect(Arguments.normalised(["kv", "get", "-separator=true", "a"]) == ["kv", "get", "--separator=true", "a"])
    }

    @Test func aNegativeNumberAtTheEndIsDataAndAllBehindTwoDashesIsToo() {
        #expect(Arguments.normalised(["kv", "put", "k", "-5.5"]) == ["kv", "put", "k", "--", "-5.5"])
        #expect(Arguments.normalised(["kv", "put", "--", "k", "-cas"]) == ["kv", "put", "--", "k", "-cas"])
    }

    @Test func theAgentReadsItsOwnFlags() {
        #expect(Arguments.normalised(["agent", "-dev", "-x=true"]) == ["agent", "-dev", "-x=true"])
    }
}

@Suite("Tables")
struct TableTests {
    @Test func columnsAreAsWideAsTheirWidestCellAndLinesHaveNoTrailingSpace() {
        let text = Output.table([["Node", "Address", "DC"], ["a", "127.0.0.1:8300", "dc1"], ["long-name", "x", ""]])
        #expect(
            text == """
                Node       Address         DC
                a          127.0.0.1:8300  dc1
                long-name  x
                """)
    }
}
