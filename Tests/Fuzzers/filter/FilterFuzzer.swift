import Filter
import FuzzDriver
import Units

/// A row with a field of every kind.
private struct Row: Sendable {
    var name = "web"
    var port: Int64 = 80
    var share = 0.5
    var isOn = true
    var tags = ["v1", "", "é"]
    var meta = ["team": "x", "": "y"]
    var parts = [Part(name: "a", number: 1), Part(name: "b", number: -1)]
}

private struct Part: Sendable {
    var name: String
    var number: Int64
}

private let part = FilterSchema<Part>(["Name": .string { $0.name }, "Number": .integer { $0.number }])
private let row = FilterSchema<Row>([
    "Name": .string { $0.name },
    "Port": .integer { $0.port },
    "Share": .number { $0.share },
    "On": .boolean { $0.isOn },
    "Tags": .strings { $0.tags },
    "Meta": .map({ $0.meta[$1] }, isEmpty: { $0.meta.isEmpty }),
    "Parts": .objects({ $0.parts }, part),
    "First": .object({ $0.parts.first }, part),
    "Named": .objectMap(
        { row, name in row.parts.first { $0.name == name } }, isEmpty: { $0.parts.isEmpty }, part),
])

/// An expression is refused with a reason, or says the same of a row each time, and its denial the opposite.
private func check(_ input: [UInt8]) {
    let text = String(decoding: input, as: UTF8.self)
    do throws(FilterError) {
        let filter = try row.filter(try FilterExpression(text))
        let isAdmitted = filter.admits(Row())
        invariant(filter.admits(Row()) == isAdmitted, "\(text) says both")
        do throws(FilterError) {
            let denial = try row.filter(try FilterExpression("not (\(text))"))
            invariant(denial.admits(Row()) != isAdmitted, "\(text) and its denial say the same")
        } catch {
            // It may be a few bytes, or one level, too large now.
            guard case .tooLarge = error else {
                invariant(text.utf8.count > 8000 || "\(error)".contains("nest"), "the denial of \(text): \(error)")
                return
            }
        }
    } catch {
        invariant(!error.text.isEmpty, "an error without a word")
    }
}

@main
struct Fuzzer {
    static func main() { FuzzDriver.run(check) }
}
