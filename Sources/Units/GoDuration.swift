/// Durations as Go writes and reads them (`time.Duration.String`, `time.ParseDuration`): Consul's API and
/// configuration speak this and nothing else.
public enum GoDuration {
    /// Reads `300ms`, `1.5h`, `2h45m`, `+10s`, `0`; nil when it is malformed, negative or above 2^63-1 ns. A bare number
    /// other than 0 has no unit and is malformed, as in Go.
    public static func parse(_ text: String) -> Nanoseconds? {
        var bytes = Array(text.utf8)[...]
        if bytes.first == UInt8(ascii: "+") { bytes = bytes.dropFirst() }
        if bytes.elementsEqual([UInt8(ascii: "0")]) { return .zero }
        if bytes.isEmpty { return nil }
        var total: UInt64 = 0
        while !bytes.isEmpty {
            guard let part = self.takePart(&bytes) else { return nil }
            let (sum, overflow) = total.addingReportingOverflow(part)
            if overflow || sum > UInt64(Int64.max) { return nil }
            total = sum
        }
        return Nanoseconds(total)
    }

    /// One number with its unit, taken from the front.
    private static func takePart(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
        var whole: UInt64 = 0
        var digits = 0
        while let digit = self.digit(bytes.first) {
            let (product, tooLarge) = whole.multipliedReportingOverflow(by: 10)
            let (sum, overflow) = product.addingReportingOverflow(digit)
            if tooLarge || overflow { return nil }
            whole = sum
            digits += 1
            bytes = bytes.dropFirst()
        }
        var fraction: UInt64 = 0
        var scale: UInt64 = 1
        if bytes.first == UInt8(ascii: ".") {
            bytes = bytes.dropFirst()
            while let digit = self.digit(bytes.first) {
                // Beyond 15 digits nothing below a nanosecond of an hour is left to say.
                if scale < 1_000_000_000_000_000 {
                    fraction = fraction * 10 + digit
                    scale *= 10
                }
                digits += 1
                bytes = bytes.dropFirst()
            }
        }
        guard digits > 0, let unit = self.takeUnit(&bytes) else { return nil }
        let (product, overflow) = whole.multipliedReportingOverflow(by: unit)
        if overflow { return nil }
        let below = (UInt64((Double(fraction) * (Double(unit) / Double(scale)))))
        let (sum, tooLarge) = product.addingReportingOverflow(below)
        return tooLarge ? nil : sum
    }

    private static func digit(_ byte: UInt8?) -> UInt64? {
        guard let byte, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
        return UInt64(byte - UInt8(ascii: "0"))
    }

    private static func takeUnit(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
        let name = bytes.prefix { self.digit($0) == nil && $0 != UInt8(ascii: ".") }
        bytes = bytes.dropFirst(name.count)
        switch String(decoding: name, as: UTF8.self) {
        case "ns": return 1
        case "us", "µs", "μs": return 1000
        case "ms": return 1_000_000
        case "s": return 1_000_000_000
        case "m": return 60_000_000_000
        case "h": return 3_600_000_000_000
        default: return nil
        }
    }

    /// `72h3m0.5s`, `15s`, `1.5ms`, `0s`.
    public static func format(_ duration: Nanoseconds) -> String {
        let value = duration.rawValue
        switch value {
        case 0: return "0s"
        case ..<1000: return "\(value)ns"
        case ..<1_000_000: return self.decimal(value, unit: 1000) + "µs"
        case ..<1_000_000_000: return self.decimal(value, unit: 1_000_000) + "ms"
        default: break
        }
        let seconds = self.decimal(value % 60_000_000_000, unit: 1_000_000_000) + "s"
        let minutes = value / 60_000_000_000
        if minutes == 0 { return seconds }
        if minutes < 60 { return "\(minutes)m\(seconds)" }
        return "\(minutes / 60)h\(minutes % 60)m\(seconds)"
    }

    /// `value / unit` with as many decimals as it needs.
    private static func decimal(_ value: UInt64, unit: UInt64) -> String {
        var rest = value % unit
        var text = "\(value / unit)"
        if rest == 0 { return text }
        text += "."
        var place = unit
        while rest > 0 {
            place /= 10
            text += "\(rest / place)"
            rest %= place
        }
        return text
    }
}
