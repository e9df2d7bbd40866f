import Pattern
import Testing

@Suite struct PatternTests {
    @Test(arguments: [
        ("", "anything", true), ("abc", "xabcx", true), ("abc", "ab", false), ("^b", "ab", false), ("a$", "ab", false),
        ("^$", "", true), ("a.c", "a\nc", false), ("(?s)a.c", "a\nc", true), ("(?m)^b$", "a\nb\nc", true),
        ("^b$", "a\nb\nc", false), ("\\Ab", "ab", false), ("a\\z", "ba", true), ("[a-c]+x", "abcx", true),
        ("[^a-c]", "abc", false), ("[]a]", "]", true), ("[^]a]", "a]", false), ("[a-]", "-", true), ("[-a]", "-", true),
        ("[[:alpha:]]", "1a", true), ("[[:^alpha:]]", "ab", false), ("[[:word:]-z]", "-", true),
        ("\\d{2,3}$", "a12", true),
        ("^\\d{2,3}$", "1234", false), ("^a{2}$", "aaa", false), ("^a{2,}$", "aaaa", true), ("a{,1}", "a{,1}", true),
        ("a{", "a{", true), ("\\w+\\s\\w+", "ab cd", true), ("\\W", "ab_9", false), ("\\bfoo\\b", "a foo b", true),
        ("\\bfoo\\b", "afoo", false), ("a\\Bb", "ab", true), ("(?i)ABC", "xaBcx", true), ("(?i:a)B", "AB", true),
        ("(?i:a)B", "Ab", false), ("(?i)[^a]", "A", false), ("a(?i)b", "aB", true), ("a(?i)b", "AB", false),
        ("(?i)É", "é", true), ("\\x41\\x{42}\\103", "ABC", true), ("\\Qa*\\E", "a*", true), ("\\Qa*", "aa", false),
        ("\\pL", "é", true), ("\\pL", "1", false), ("\\PL", "1", true), ("\\p{Lu}", "a", false),
        ("\\p{^Lu}", "a", true),
        ("[\\d\\pL]", "é", true), ("a|b|", "", true), ("^(a|b)*$", "abba", true), ("^(?:a|ab)c$", "abc", true),
        ("(a*)*", "b", true), ("(a|b*)*c", "abbac", true), ("x*", "", true), ("^*", "x", true), ("\\b+", "x", true),
        ("n[0-9]", "n1", true), ("\\_\\.", "_.", true), ("é+", "éé", true), ("^.$", "é", true),
        ("\\t\\n", "\t\n", true),
    ])
    func aPatternMatchesOrNot(_ pattern: String, _ text: String, _ expected: Bool) throws {
        #expect(try Pattern(pattern).matches(in: text) == expected)
        #expect(try (Pattern(pattern).firstMatch(in: text) != nil) == expected)
    }

    @Test(arguments: [
        ("a**", "invalid nested repetition operator: `**`"), ("*", "missing argument to repetition operator: `*`"),
        ("a{1001}", "invalid repeat count: `{1001}`"), ("(?P<n>a", "missing closing ): `(?P<n>a`"),
        ("(?P<1-n>a)", "invalid named capture: `(?P<1-n>`"), ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?z)", "invalid or unsupported Perl syntax: `(?z`"), ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"), ("(?<=a)", "invalid or unsupported Perl syntax: `(?<`"),
        ("a)", "unexpected ): `a)`"), ("[a", "missing closing ]: `[a`"), ("[]", "missing closing ]: `[]`"),
        ("[z-a]", "invalid character class range: `z-a`"), ("[a-\\d]", "invalid escape sequence: `\\d`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"), ("\\pX", "invalid character class range: `\\pX`"),
        ("\\p{Foo}", "invalid character class range: `\\p{Foo}`"), ("\\8", "invalid escape sequence: `\\8`"),
        ("\\1", "invalid escape sequence: `\\1`"), ("\\", "trailing backslash at end of expression: ``"),
        ("\\x{110000}", "invalid escape sequence: `\\x{110000`"), ("\\xg", "invalid escape sequence: `\\xg`"),
        ("\\C", "invalid escape sequence: `\\C`"), ("\\é", "invalid escape sequence: `\\é`"),
        ("[\\b]", "invalid escape sequence: `\\b`"), ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("(a{1000}){1000}", "invalid repeat count: `{1000}`"), ("a+?+", "invalid nested repetition operator: `+?+`"),
        ("a+??", "invalid nested repetition operator: `+??`"),
        ("a{2}?*", "invalid nested repetition operator: `{2}?*`"),
        ("(?i)*", "missing argument to repetition operator: `*`"),
        ("a|*", "missing argument to repetition operator: `*`"),
        ("(?-)", "invalid or unsupported Perl syntax: `(?-)`"),
        ("(?--i)", "invalid or unsupported Perl syntax: `(?--`"),
        ("((((a)", "missing closing ): `((((a)`"), ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
    ])
    func aBadPatternIsRefusedInGosWords(_ pattern: String, _ problem: String) {
        #expect { try Pattern(pattern) } throws: { "\($0)" == "error parsing regexp: \(problem)" }
    }

    @Test func anErrorSaysWhere() {
        #expect { try Pattern("ab[z-a]") } throws: { ($0 as? PatternError)?.offset == 3 }
    }

    @Test func largePatternsAreRefused() throws {
        #expect(throws: PatternError.self) { try Pattern(String(repeating: "a", count: 64 * 1024 + 1)) }
        #expect(throws: PatternError.self) { try Pattern(String(repeating: "a{1000}", count: 10)) }
        #expect(throws: PatternError.self) {
            try Pattern(String(repeating: "(?:", count: 201) + String(repeating: ")", count: 201))
        }
        #expect(throws: PatternError.self) { try Pattern(String(repeating: "(a)", count: 201)) }
        _ = try Pattern(String(repeating: "(?:", count: 200) + String(repeating: ")", count: 200))
        #expect(try Pattern("a{1000}").matches(in: String(repeating: "a", count: 1000)))
    }

    @Test(arguments: [
        ("(a+)(b*)", "xaabb", "aabb", ["aa", "bb"]), ("(a+?)(a*)", "aaa", "aaa", ["a", "aa"]),
        ("(a)|(b)", "b", "b", [nil, "b"]), ("a|ab", "ab", "a", []), ("(?U)a+", "aaa", "a", []),
        ("(?U)a+?", "aaa", "aaa", []),
        ("(?:(a)|b)*", "ab", "ab", ["a"]), ("b?", "ab", "", []), ("(é)(.)", "xé1", "é1", ["é", "1"]),
    ])
    func aMatchHasItsGroups(_ pattern: String, _ text: String, _ whole: String, _ groups: [String?]) throws {
        let match = try #require(try Pattern(pattern).firstMatch(in: text))
        #expect(String(text[match.range]) == whole)
        #expect(match.groups.map { $0.map { String(text[$0]) } } == groups)
    }

    @Test func groupsHaveNames() throws {
        let pattern = try Pattern("(?P<host>[^:]+)(:(?<port>\\d+))?")
        #expect(pattern.groupNames == ["host", nil, "port"])
        let match = try #require(pattern.firstMatch(in: "web:80"))
        #expect(match["host"].map { "web:80"[$0] } == "web")
        #expect(match["port"].map { "web:80"[$0] } == "80")
        #expect(match["none"] == nil)
    }

    /// Where a backtracking engine would take 2^40 steps.
    @Test(arguments: ["(a|a)*b", "(a*)*b", "(a+)+$b", "(a?){40}a{40}b", "(.*)(.*)(.*)(.*)x", "(a|aa|aaa)*b"])
    func noPatternTakesMoreStepsThanProgramTimesText(_ pattern: String) throws {
        let compiled = try Pattern(pattern)
        let text = String(repeating: "a", count: 400)
        #expect(!compiled.matches(in: text))
        #expect(compiled.steps(in: text) <= 2 * compiled.instructionCount * 401)
    }
}
