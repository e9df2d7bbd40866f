import HTTPAPI
import NIOCore
import Testing

@Suite struct JSONTests {
    private func written(_ value: JSONValue, pretty: Bool = false) -> String {
        var writer = JSONWriter(pretty: pretty)
        writer.value(value)
        let buffer = writer.finish()
        return String(decoding: buffer.readableBytesView, as: UTF8.self)
    }

    private func error(_ text: String) -> String {
        do throws(JSONError) {
            let value = try JSONValue.parse(text)
            return "parsed \(value)"
        } catch {
            return error.text
        }
    }

    @Test func valuesKeepOrderNumbersAndRepetitions() throws {
        let text = #"{"b":[1,-2.5e+3,18446744073709551615],"a":{"x":null},"b":true,"":false}"#
        let value = try JSONValue.parse(" \n\t" + text + " trailing")
        #expect(self.written(value) == text)
    }

    @Test(
        arguments: [
            (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (#""\u00e9\uD83D\uDE00""#, "é😀"),
            (#""\ud83d""#, "\u{FFFD}"),
            (#""\ud83d\u0041""#, "\u{FFFD}A"),
            (#""\ude00x""#, "\u{FFFD}x"),
            (#""é😀""#, "é😀"),
            (#""""#, ""),
        ])
    func stringsAreUnescaped(_ written: String, _ expected: String) throws {
        #expect(try JSONValue.parse(written) == .string(expected))
    }

    @Test(
        arguments: [
            ("", "EOF"), ("  ", "EOF"), ("{", "unexpected EOF"), ("[1,", "unexpected EOF"), ("\"abc", "unexpected EOF"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{bad", "invalid character 'b' looking for beginning of object key string"),
            (#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            (#"{"a" 1}"#, "invalid character '1' after object key"),
            (#"{"a":1 2}"#, "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("trux", "invalid character 'x' in literal true (expecting 'e')"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            (#""\x""#, "invalid character 'x' in string escape code"),
            (#""\u12g4""#, "invalid character 'g' in \\u hexadecimal character escape"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("'", "invalid character '\\'' looking for beginning of value"),
            ("\u{1}", "invalid character '\\x01' looking for beginning of value"),
        ])
    func errorsReadLikeGos(_ text: String, _ expected: String) {
        #expect(self.error(text) == expected)
    }

    @Test func deepNestingIsRefusedNotFollowed() {
        #expect(self.error(String(repeating: "[", count: 100_000)) == "exceeded max depth")
        #expect(self.error(String(repeating: #"{"a":"#, count: 100_000)) == "exceeded max depth")
        let allowed = String(repeating: "[", count: 128) + String(repeating: "]", count: 128)
        #expect(self.error(allowed).hasPrefix("parsed"))
    }

    @Test func textIsEscapedAsGoDoes() {
        let text = "<a href=\"x\">&\\\n\r\t\u{8}\u{1}\u{2028}\u{2029}é😀"
        #expect(
            self.written(.string(text))
                == #""\u003ca href=\"x\"\u003e\u0026\\\n\r\t\u0008\u0001\u2028\u2029é😀""#)
    }

    @Test func bytesThatAreNotUTF8BecomeTheReplacementCharacter() {
        let broken: [UInt8] = [
            0x61, 0xFF, 0xC3, 0x28, 0xE2, 0x82, 0xED, 0xA0, 0x80, 0xF0, 0x9F, 0x98, 0x80, 0xC0, 0x80,
        ]
        var writer = JSONWriter()
        writer.string(bytes: broken)
        let buffer = writer.finish()
        #expect(
            String(decoding: buffer.readableBytesView, as: UTF8.self)
                == #""a\ufffd\ufffd(\ufffd\ufffd\ufffd\ufffd\ufffd😀\ufffd\ufffd""#)
    }

    @Test func prettyKeepsEmptyPairsTogether() {
        let value = JSONValue.object([
            .init(name: "a", value: .array([])), .init(name: "b", value: .object([])),
            .init(name: "c", value: .array([.number("1"), .object([.init(name: "d", value: .null)])])),
        ])
        #expect(
            self.written(value, pretty: true)
                == """
                {
                    "a": [],
                    "b": {},
                    "c": [
                        1,
                        {
                            "d": null
                        }
                    ]
                }

                """)
    }

    @Test func base64IsStandardWithPadding() {
        for (bytes, text) in [
            ([0x66], "Zg=="), ([0x66, 0x6F], "Zm8="), ([0x66, 0x6F, 0x6F], "Zm9v"), ([0xFB, 0xFF], "+/8="),
        ] as [([UInt8], String)] {
            var writer = JSONWriter()
            writer.base64(bytes)
            let buffer = writer.finish()
            #expect(String(decoding: buffer.readableBytesView, as: UTF8.self) == "\"\(text)\"")
        }
    }

    private func random(_ dice: inout Dice, depth: Int) -> JSONValue {
        switch Int.random(in: 0...(depth > 4 ? 3 : 5), using: &dice) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &dice))
        case 2: return .number(["0", "-1", "12.5", "1e9", "18446744073709551615"].randomElement(using: &dice) ?? "0")
        case 3:
            let alphabet = ["a", "\"", "\\", "\n", "<", "é", "😀", "\u{2028}", "\u{0}", " "]
            let count = Int.random(in: 0...8, using: &dice)
            return .string((0..<count).map { _ in alphabet.randomElement(using: &dice) ?? "" }.joined())
        case 4:
            return .array((0..<Int.random(in: 0...4, using: &dice)).map { _ in self.random(&dice, depth: depth + 1) })
        default:
            return .object(
                (0..<Int.random(in: 0...4, using: &dice)).map { position in
                    .init(name: "k\(position)<", value: self.random(&dice, depth: depth + 1))
                })
        }
    }

    @Test func whatIsWrittenIsReadBackTheSame() throws {
        var dice = Dice(seed: 3)
        for _ in 0..<2000 {
            let value = self.random(&dice, depth: 0)
            #expect(try JSONValue.parse(self.written(value)) == value)
            #expect(try JSONValue.parse(self.written(value, pretty: true)) == value)
        }
    }

    @Test func damagedDocumentsNeverTrap() {
        var dice = Dice(seed: 5)
        var parsed = 0
        var refused = 0
        for _ in 0..<6000 {
            var bytes = Array(self.written(self.random(&dice, depth: 0)).utf8)
            for _ in 0..<Int.random(in: 1...3, using: &dice) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &dice)
                switch Int.random(in: 0...2, using: &dice) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &dice)
                case 1: bytes.remove(at: place)
                default: bytes.removeSubrange(place...)
                }
            }
            do throws(JSONError) {
                _ = try JSONValue.parse(bytes)
                parsed += 1
            } catch {
                #expect(!error.text.isEmpty)
                refused += 1
            }
        }
        // Both must have happened often, or the damage is not what it says.
        #expect(parsed > 100)
        #expect(refused > 1000)
    }
}
