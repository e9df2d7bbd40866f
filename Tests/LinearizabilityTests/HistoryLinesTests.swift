import Linearizability
import Testing

@Suite struct HistoryLinesTests {
    private var sample: [HistoryRecord] {
        var write = HistoryRecord(client: 3, key: "a\"\\/\n\u{1}é🚲", kind: .cas, call: 10, returned: 12)
        write.value = "x"
        write.index = 7
        write.ok = true
        write.resultIndex = 9
        write.position = 9
        var read = HistoryRecord(client: 0, key: "", kind: .read, call: 0, returned: .max)
        read.elements = [1, 2, .max]
        var acquire = HistoryRecord(client: 1, key: "l", kind: .acquire, call: 4)
        acquire.session = "s"
        var get = HistoryRecord(client: 1, key: "k", kind: .get, call: 4, returned: 8)
        get.result = "v"
        return [write, read, acquire, get]
    }

    @Test func historiesSurviveWritingAndReading() throws {
        let text = HistoryLines.encode(self.sample)
        #expect(try HistoryLines.decode(text) == self.sample)
        #expect(try HistoryLines.decode("\n" + text + "  \r\n") == self.sample)
    }

    @Test func aLineHasItsFieldsInAFixedOrder() {
        #expect(
            HistoryLines.encode(self.sample[3])
                == #"{"client":1,"key":"k","kind":"get","call":4,"returned":8,"result":"v"}"#)
    }

    @Test func escapesAreUnderstood() throws {
        let line = #"{"client":1,"key":"\u00e9\ud83d\ude80\/\b\f","kind":"get","call":4}"#
        #expect(try HistoryLines.decode(line)[0].key == "é🚀/\u{8}\u{c}")
    }

    @Test(arguments: [
        "", "{", "[]", "{}", #"{"client":1}"#, #"{"client":-1,"key":"","kind":"get","call":1}"#,
        #"{"client":1,"key":"","kind":"got","call":1}"#, #"{"client":1,"key":"","kind":"get","call":1,"cal":2}"#,
        #"{"client":1,"key":"","kind":"get","call":99999999999999999999}"#,
        #"{"client":18446744073709551615,"key":"","kind":"get","call":1}"#,
        #"{"client":1,"key":"\ud83d","kind":"get","call":1}"#, #"{"client":1,"key":"\ud83dx","kind":"get","call":1}"#,
        #"{"client":1,"key":"\ude80","kind":"get","call":1}"#, #"{"client":1,"key":"\x","kind":"get","call":1}"#,
        #"{"client":1,"key":"\u12","kind":"get","call":1}"#, #"{"client":1,"key":"a"#,
        #"{"client":1,"key":"","kind":"get","call":1} x"#, #"{"client":1,"key":"","kind":"get","call":1,}"#,
        #"{"client":1,"client":1,"key":"","kind":"get","call":1}"#, #"{"client":1,"key":3,"kind":"get","call":1}"#,
        #"{"client":1,"key":"","kind":"get","call":1,"ok":truth}"#,
        #"{"client":1,"key":"","kind":"read","call":1,"elements":[1,]}"#,
    ])
    func aMalformedLineIsRefusedWithItsNumber(_ line: String) throws {
        let text = "\n" + line
        if line.isEmpty {
            #expect(try HistoryLines.decode(text).isEmpty)
            return
        }
        do {
            _ = try HistoryLines.decode(text)
            Issue.record("accepted")
        } catch {
            guard case .badLine(let number, _) = error else { return }
            #expect(number == 2)
        }
    }

    @Test func bytesThatAreNotTextAreRefused() {
        var bytes = Array(#"{"client":1,"key":"a","kind":"get","call":1}"#.utf8)
        bytes[19] = 0xFF
        // Decoding repairs such bytes, so that they can't match a key that was really used.
        let text = String(decoding: bytes, as: UTF8.self)
        #expect((try? HistoryLines.decode(text)[0].key) == "\u{FFFD}")
    }

    @Test func recordsBecomeOperationsOfTheModelThatKnowsTheirKind() {
        let cas = self.sample[0].register
        #expect(cas?.input == .cas(index: 7, value: "x"))
        #expect(cas?.output == .done(true, index: 9))
        #expect(cas?.isRead == false)
        #expect(self.sample[0].lock == nil && self.sample[0].appendSet == nil)
        #expect(self.sample[1].appendSet?.output == .elements([1, 2, .max]))
        #expect(self.sample[2].lock?.input == .acquire(session: "s"))
        #expect(self.sample[2].lock?.output == nil)
        #expect(self.sample[3].register?.output == .value("v"))
        #expect(self.sample[3].register?.isRead == true)
    }

    @Test func aRecordedHistoryIsCheckedEndToEnd() throws {
        let text = """
            {"client":1,"key":"k","kind":"put","call":1,"returned":2,"value":"a","ok":true}
            {"client":2,"key":"k","kind":"get","call":3,"returned":4}
            """
        let operations = try HistoryLines.decode(text).compactMap(\.register)
        guard case .violation = LinearizabilityChecker(model: KVRegister()).check(operations) else {
            Issue.record("a lost put passed")
            return
        }
    }
}
