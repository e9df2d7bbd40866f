import FuzzDriver
import HTTPAPI
import NIOCore
import Units

/// The first line is a request's target, the rest its body. The target is refused or its query comes back from its
/// encoding; the body is refused or, written, is read the same again. Durations are read or refused.
private func check(_ input: [UInt8]) {
    let end = input.firstIndex(of: UInt8(ascii: "\n")) ?? input.endIndex
    let text = String(decoding: input[..<end], as: UTF8.self)
    if let target = try? RequestTarget(text) {
        let encoded = target.query.encoded
        invariant(Query(encoded)?.encoded == encoded, "\(text): \(encoded)")
        if let wait = target.query.first("wait"), let time = GoDuration.parse(wait) {
            invariant(GoDuration.parse(GoDuration.format(time)) != nil, "\(wait): \(time)")
        }
    }
    let body = Array(input[end...])
    do throws(JSONError) {
        let value = try JSONValue.parse(body)
        for isPretty in [false, true] {
            var writer = JSONWriter(pretty: isPretty)
            writer.value(value)
            let again = try JSONValue.parse(Array(writer.finish().readableBytesView))
            invariant(again == value, "\(value) became \(again)")
        }
    } catch {
        invariant(!error.text.isEmpty, "an error without a text")
    }
}

@main
struct Fuzzer {
    static func main() { FuzzDriver.run(check) }
}
