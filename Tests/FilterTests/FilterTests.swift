import Filter
import Testing

private struct Row: Sendable {
    var name = "n1"
    var port: Int64 = 80
    var isOn = false
    var tags = ["v1", "a"]
    var meta = ["k": "v", "A-b": "x"]
    var checks = ["passing", "critical"]
    var part: [String]?

    static let schema = FilterSchema<Row>([
        "Node": .string(\.name), "Port": .integer(\.port), "On": .boolean(\.isOn), "Tags": .strings(\.tags),
        "Meta": .map({ $0.meta[$1] }, isEmpty: \.meta.isEmpty),
        "Checks": .objects(\.checks, FilterSchema<String>(["Status": .string { $0 }])),
        "Part": .object(\.part, FilterSchema<[String]>(["Names": .strings { $0 }, "First": .string { $0[0] }])),
    ])

    func answer(_ text: String) throws(FilterError) -> Bool {
        try Self.schema.filter(FilterExpression(text)).admits(self)
    }
}

@Suite struct FilterTests {
    @Test(arguments: [
        ("Node == n1", true), ("Node==`n1`", true), ("Node != n1", false), (#"Node=="\x6e1""#, true),
        ("n in Node", true), ("Node contains n", true), ("Node not contains n", false), ("x not in Node", true),
        (#"Node matches "n[0-9]""#, true), (#"Node not matches "^1""#, true), ("Port == 80", true),
        (#"Port == "0x50""#, true), ("Port != -1", true), ("On == F", true), ("v1 in Tags", true),
        ("Tags contains v", false), ("Tags is empty", false), ("Tags is not empty", true), ("Meta.k == v", true),
        (#"Meta["A-b"] == x"#, true), (#""/Meta/A-b" == x"#, true), ("k in Meta", true), ("z in Meta", false),
        ("Meta.z == v", false), ("Meta.z != v", true), ("Meta.z matches v", true), ("v in Meta.z", false),
        ("Checks.Status == critical", true), ("Checks.Status == warning", false),
        ("not Checks.Status == critical", false),
        ("Checks.Status != passing", true), ("Checks is empty", false), ("Part.First == x", false),
        ("Part.Names is empty", true), ("not not Node == n1", true),
        ("Node == n1 or Node == x and Node == y", true), ("(Node == n1 or Node == x) and Node == y", false),
        ("not Node == n1 or Node == n1", true), (" (Node == n1)\n", true),
    ])
    func anExpressionAdmitsARowOrNot(_ text: String, _ expected: Bool) throws {
        #expect(try Row().answer(text) == expected)
    }

    /// Asked of Consul 1.8.7.
    @Test(arguments: [
        (
            "((", #"1:3 (2): no match found, expected: "(", "-", "0", "\"", "`", "not", [ \t\r\n], [1-9] or [a-zA-Z]"#
        ),
        ("Node", #"1:5 (4): no match found, expected: "!=", ".", "==", "[", [ \t\r\n] or [a-zA-Z0-9_]"#),
        ("Node == ", #"1:9 (8): no match found, expected: "-", "0", "\"", "`", [ \t\r\n], [1-9] or [a-zA-Z]"#),
        (#"Node == "n1"#, #"1:12 (11): rule "string": Unterminated string literal"#),
        ("(Node == n1", #"1:12 (11): rule "grouping": Unmatched parentheses"#),
        ("Node == 01", #"1:10 (9): rule "number": Invalid number literal"#),
        ("Meta[x] == 1", #"1:6 (5): rule "index": Invalid index"#),
        (#"Meta["x" == 1"#, #"1:10 (9): rule "index": Unclosed index expression"#),
        (#"Node=="\q""#, #"1:7 (6): rule "string": invalid syntax"#),
        (#"x in "a""#, #"1:6 (5): rule "match": Invalid selector"#),
        ("Node == n1 AND Node == n1", #"1:12 (11): no match found, expected: "and", "or", [ \t\r\n] or EOF"#),
        ("Nonsense==1", #"Selector "Nonsense" is not valid"#), ("Node.Foo == 1", #"Selector "Node.Foo" is not valid"#),
        ("Node is empty", #"Invalid match operator "Is Empty" for selector "Node""#),
        ("Meta == 1", #"Invalid match operator "Equal" for selector "Meta""#),
        (
            "Port == x",
            #"Failed to coerce value "x" for selector "Port": strconv.ParseInt: parsing "x": invalid syntax"#
        ),
        (
            #"Node matches "(""#,
            #"Failed to compile regular expression "(": error parsing regexp: missing closing ): `(`"#
        ),
    ])
    func aBadExpressionIsRefusedInConsulsWords(_ text: String, _ problem: String) {
        #expect { try Row().answer(text) } throws: { ($0 as? FilterError)?.text == problem }
    }

    @Test func anExpressionHasBounds() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "(", count: depth) + "Node == n1" + String(repeating: ")", count: depth)
        }
        #expect(try Row().answer(nested(100)))
        for text in [nested(101), "Node == " + String(repeating: "a", count: 8192)] {
            #expect { try Row().answer(text) } throws: {
                if case .tooLarge? = $0 as? FilterError { true } else { false }
            }
        }
        let patterns = Array(repeating: "Node matches n", count: 33).joined(separator: " or ")
        #expect(throws: FilterError.self) { try Row().answer(patterns) }
    }
}
