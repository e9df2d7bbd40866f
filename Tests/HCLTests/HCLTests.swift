import HCL
import Testing

private func json(_ text: String, _ syntax: HCLDocument.Syntax = .hcl) -> String {
    do {
        return try HCLDocument.parse(Array(text.utf8), syntax: syntax, file: "f").json
    } catch {
        return "\(error)"
    }
}

@Suite struct HCLTests {
    @Test(
        "A document of HCL says the same as this JSON",
        arguments: [
            ("", "{}"),
            ("a = 1", #"{"a":1}"#),
            ("a = 1\nb = true\nc = false", #"{"a":1,"b":true,"c":false}"#),
            ("a = 1 b = 2, c = 3", #"{"a":1,"b":2,"c":3}"#),
            ("\u{FEFF}a = 1", #"{"a":1}"#),
            ("a=1\r\nb=2\r\n", #"{"a":1,"b":2}"#),
            (#""quoted key" = 1"#, #"{"quoted key":1}"#),
            ("a.b-c_9 = 1", #"{"a.b-c_9":1}"#),
            ("ключ = 1", #"{"ключ":1}"#),
            // comments
            ("# one\n// two\n/* three\n * four */ a = 1 # five", #"{"a":1}"#),
            ("a = /* between */ 1", #"{"a":1}"#),
            ("a = [1, # one\n 2 // two\n]", #"{"a":[1,2]}"#),
            // numbers
            ("a = [0, -7, 0x1F, -0x10, 017]", #"{"a":[0,-7,31,-16,15]}"#),
            ("a = [1.5, -0.25, 1e3, 2.5E-2, 1E+2]", #"{"a":[1.5,-0.25,1000.0,0.025,100.0]}"#),
            ("a = 9223372036854775807", #"{"a":9223372036854775807}"#),
            // text
            (#"a = "x\ty\n\"z\" \\ é \u00e9 \U0001F600 \x41 \101""#, #"{"a":"x\u0009y\u000a\"z\" \\ é é 😀 A A"}"#),
            (#"a = "${ foo("bar") } b""#, #"{"a":"${ foo(\"bar\") } b"}"#),
            (#"a = "{{ GetInterfaceIP \"eth0\" }}""#, #"{"a":"{{ GetInterfaceIP \"eth0\" }}"}"#),
            // heredocs
            ("a = <<EOF\none\n  two\nEOF\nb = 1", #"{"a":"one\u000a  two\u000a","b":1}"#),
            ("a = <<EOF\nEOF\n", #"{"a":""}"#),
            ("a = <<EOF\n EOF\nEOF", #"{"a":" EOF\u000a"}"#),
            ("a = <<-EOF\n    one\n      two\n    EOF\n", #"{"a":"one\u000a  two\u000a"}"#),
            ("a = <<-EOF\n  one\n    two\n    EOF\n", #"{"a":"  one\u000a    two\u000a"}"#),
            ("a = <<EOF\r\none\r\nEOF\r\n", #"{"a":"one\u000d\u000a"}"#),
            // lists and objects
            ("a = []", #"{"a":[]}"#),
            ("a = [\"x\", true, [1], {b = 2},]", #"{"a":["x",true,[1],{"b":2}]}"#),
            ("a { b = 1 }", #"{"a":{"b":1}}"#),
            ("a = { b = 1, c = { d = 2 } }", #"{"a":{"b":1,"c":{"d":2}}}"#),
            ("a = { b = 1\n c = 2 }", #"{"a":{"b":1,"c":2}}"#),
            // blocks
            ("a { x = 1 }\na { x = 2 }\na { x = 3 }", #"{"a":[{"x":1},{"x":2},{"x":3}]}"#),
            (#"a "one" { x = 1 }"#, #"{"a":{"one":{"x":1}}}"#),
            (#"a "one" two { x = 1 }"#, #"{"a":{"one":{"two":{"x":1}}}}"#),
            (#"a "one" {} a "two" {}"#, #"{"a":[{"one":{}},{"two":{}}]}"#),
            // repetitions: the later value counts
            ("a = 1\na = 2", #"{"a":2}"#),
            ("a = [1]\na = [2]", #"{"a":[2]}"#),
            ("a = [{x = 1}]\na { x = 2 }", #"{"a":{"x":2}}"#),
            ("é = 1\ne\u{301} = 2", "{\"é\":1,\"e\u{301}\":2}"),
            // JSON in the guise of HCL
            (#" {"a": {"b": [1, null]}} "#, #"{"a":{"b":[1,null]}}"#),
        ])
    func hclSays(text: String, expected: String) {
        let found = json(text)
        #expect(found.utf8.elementsEqual(expected.utf8), "\(found)")
    }

    @Test(
        "JSON is read with its escapes and numbers",
        arguments: [
            ("{}", "{}"), (" {\"a\" : [ 1 , -2.5e3 , \"x\" ] }\n", #"{"a":[1,-2500.0,"x"]}"#),
            (
                #"{"a": "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83d"}"#,
                #"{"a":"\"\\/\u0008\u000c\u000a\u000d\u0009é😀"# + "\u{FFFD}\"}"
            ),
            (#"{"a": 1, "b": 2, "a": 3}"#, #"{"a":3,"b":2}"#),
            (#"{"a": {"x": 1}, "a": {"y": 2}}"#, #"{"a":{"y":2}}"#),
            (#"{"a": 18446744073709551615}"#, #"{"a":1.8446744073709552e+19}"#),
            (#"{"a": [null, true, false]}"#, #"{"a":[null,true,false]}"#),
        ])
    func jsonSays(text: String, expected: String) {
        #expect(json(text, .json) == expected)
    }

    @Test func everyNodeKnowsItsLineAndColumn() throws {
        let text = "a = 1\n  é \"ü\" {\n\tb = [\n true ]\n}\n"
        let value = try HCLDocument.parse(Array(text.utf8), syntax: .hcl, file: "f")
        let fields = try #require(value.fields)
        #expect(fields.map(\.position) == [.init(line: 1, column: 1), .init(line: 2, column: 3)])
        #expect(fields[0].value.position == .init(line: 1, column: 5))
        let label = try #require(fields[1].value.fields?.first)
        #expect(label.position == .init(line: 2, column: 5) && label.value.position == .init(line: 2, column: 9))
        let inner = try #require(label.value.fields?.first)
        #expect(inner.position == .init(line: 3, column: 2) && inner.value.position == .init(line: 3, column: 6))
        guard case .list(let items) = inner.value.content else { throw Missing() }
        #expect(items.map(\.position) == [.init(line: 4, column: 2)])
    }

    struct Missing: Error {}

    @Test(
        "What was read of HCL, written as JSON and read again says the same",
        arguments: [
            "service { name = \"web\" port = 80 check { http = \"http://x/\" interval = \"10s\" } }\nservice { name = \"b\" }",
            "a = <<EOF\n\"quotes\" and \\ and \t\nEOF\nb = [1.0, 0.1, 1e300, 5e-324, -0.0]",
        ])
    func whatIsReadCanBeWritten(text: String) throws {
        let value = try HCLDocument.parse(Array(text.utf8), syntax: .hcl, file: "f")
        let again = try HCLDocument.parse(Array(value.json.utf8), syntax: .json, file: "f")
        #expect(again.says(value), "\(value.json)")
    }
}

@Suite struct HCLErrorTests {
    @Test(
        "A wrong document is refused with its place, what is wrong and what was expected",
        arguments: [
            ("a", "f:1:2: the end of the file after the key a, expected '=' and a value, or '{'"),
            ("a 1", "f:1:3: '1' after the key a, expected '=' and a value, or '{'"),
            ("a: 1", "f:1:2: ':' after the key a, expected '=' and a value, or '{'"),
            ("a =", "f:1:4: the end of the file, expected a value"),
            (
                "log_level = debug",
                "f:1:13: 'debug' is no value, expected a number, true, false, a list, an object or text in double quotes"
            ),
            ("a = \n}", "f:2:1: '}', expected a value"),
            ("}", "f:1:1: '}' without a '{', expected a key"),
            ("= 1", "f:1:1: '=', expected a key"),
            ("a {\n  b = 1\n", "f:3:1: the object that begins at 1:3 does not end, expected '}'"),
            ("a = [1, 2", "f:1:10: the list that begins at 1:5 does not end, expected ']'"),
            ("a = [1 2]", "f:1:8: '2' after an element of a list, expected ',' or ']'"),
            ("a = [,]", "f:1:6: ',', expected a value"),
            ("a \"b\" = 1", "f:1:7: '=' after a label, expected '{'"),
            ("a = \"x\nb = 1", "f:1:7: the text that begins at 1:5 does not end on its line, expected '\"'"),
            ("a = \"x", "f:1:7: the text that begins at 1:5 does not end, expected '\"'"),
            ("a = \"\\q\"", "f:1:6: \\ before 'q', expected one of \\\\ \\\" \\n \\t \\r \\uXXXX"),
            ("a = \"\\ud800\"", "f:1:6: d800 is no Unicode character, expected one up to 10ffff, no surrogate"),
            ("a = \"\\u00g0\"", "f:1:6: 'g0' in an escape, expected 4 hexadecimal digits"),
            ("a = \"${x\"", "f:1:10: the ${ at 1:6 does not end, expected '}'"),
            ("a = 10s", "f:1:5: '10s' is no number, expected a number, or text in double quotes (\"10s\")"),
            ("a = 09", "f:1:5: '09' is no number, expected a number that fits"),
            ("a = 9223372036854775808", "f:1:5: '9223372036854775808' is no number, expected a number that fits"),
            ("a = 1e999", "f:1:5: '1e999' is no number, expected a number that fits"),
            ("a = -", "f:1:5: '-' is no number, expected a number that fits"),
            ("a = <EOF", "f:1:5: '<', expected a value"),
            ("a = << EOF", "f:1:7: character U+0020 after <<, expected a word such as EOF"),
            ("a = <<EOF x\nEOF", "f:1:10: character U+0020 after the heredoc's word, expected the end of the line"),
            ("a = <<EOF\nx\n EOF", "f:3:5: the heredoc that begins at 1:5 does not end, expected a line EOF"),
            ("/* x", "f:1:5: the comment that begins at 1:1 does not end, expected '*/'"),
            ("a = / 1", "f:1:5: '/', expected a value"),
        ])
    func hclIsRefused(text: String, expected: String) {
        #expect(json(text) == expected)
    }

    @Test(
        "Wrong JSON likewise",
        arguments: [
            ("", "f:1:1: the end of the file, expected a value"),
            ("[]", "f:1:1: the outermost value is a list, expected an object"),
            (
                "{\"a\": tru}",
                "f:1:7: 'tru' is no JSON value, expected true, false, null, a number or text in double quotes"
            ),
            ("{\"a\" 1}", "f:1:6: '1' after a key, expected ':'"),
            ("{\"a\": 1\n\"b\": 2}", "f:2:1: '\"', expected ',' or '}'"),
            ("{\"a\": 1,}", "f:1:9: '}', expected a key in double quotes"),
            ("{\"a\": [1,]}", "f:1:10: ']', expected a value"),
            ("{\"a\": [1", "f:1:9: the list that begins at 1:7 does not end, expected ',' or ']'"),
            ("{\"a\": 1", "f:1:8: the object that begins at 1:1 does not end, expected ',' or '}'"),
            ("{} x", "f:1:4: 'x' after the document, expected nothing more"),
            ("{\"a\": 01}", "f:1:7: '01' is no JSON number, expected a number that fits"),
            ("{\"a\": 1.}", "f:1:7: '1.' is no JSON number, expected a number that fits"),
            ("{\"a\": \"x\ny\"}", "f:1:9: the end of the line within text, expected an escape such as \\n"),
            ("{\"a\": \"\\x41\"}", "f:1:8: \\ before 'x41', expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"),
            ("// x\n{}", "f:1:1: '/', expected a value"),
        ])
    func jsonIsRefused(text: String, expected: String) {
        #expect(json(text, .json) == expected)
    }

    @Test func aDocumentBeyondItsBoundsIsRefused() {
        var limits = HCLDocument.Limits()
        limits.bytes = 5
        #expect(throws: HCLError(file: "f", position: .start, problem: "the file has 6 bytes", expected: "at most 5")) {
            try HCLDocument.parse(Array("a = 12".utf8), syntax: .hcl, file: "f", limits: limits)
        }
        let many = 100_000
        let texts = [
            "a = " + String(repeating: "[", count: many), String(repeating: "a {", count: many),
            "a = " + String(repeating: "{ b = ", count: many), "a " + String(repeating: "b ", count: many) + "{}",
            "{\"a\": " + String(repeating: "[", count: many), String(repeating: "{\"a\":", count: many),
        ]
        for text in texts { #expect(json(text).contains("more than 64 objects and lists"), "\(text.prefix(10))") }
        let deep = "a = " + String(repeating: "[", count: 63) + String(repeating: "]", count: 63)
        #expect(json(deep).hasPrefix("{"))
    }

    @Test func bytesThatAreNoUTF8AreRefusedWithTheirPlace() {
        for syntax in HCLDocument.Syntax.allCases {
            #expect(
                throws: HCLError(
                    file: "f", position: .init(line: 2, column: 3), problem: "the file is not UTF-8 from here on",
                    expected: "UTF-8 text")
            ) {
                try HCLDocument.parse(Array("é\n ü".utf8) + [0xFF, 0x20], syntax: syntax, file: "f")
            }
        }
    }
}
