import FuzzDriver
import HCL
import Units

/// A configuration document is refused with a place inside it, or what was read of it, written as JSON, is read the same
/// again. The first byte chooses the syntax.
private func check(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let bytes = Array(input.dropFirst())
    let syntax: HCLDocument.Syntax = first & 1 == 0 ? .hcl : .json
    do throws(HCLError) {
        let value = try HCLDocument.parse(bytes, syntax: syntax, file: "f")
        check(value)
    } catch {
        let lines = bytes.count { $0 == UInt8(ascii: "\n") } + 1
        invariant((1...lines).contains(error.position.line), "\(error) in a document of \(lines) lines")
        invariant((1...(bytes.count + 1)).contains(error.position.column), "\(error)")
        invariant(!error.problem.isEmpty, "an error without a word")
    }
}

private func check(_ value: HCLValue) {
    do throws(HCLError) {
        let again = try HCLDocument.parse(Array(value.json.utf8), syntax: .json, file: "f")
        invariant(again.says(value), "\(value.json) became \(again.json)")
    } catch {
        invariant(false, "\(value.json): \(error)")
    }
}

@main
struct Fuzzer {
    static func main() { FuzzDriver.run(check) }
}
