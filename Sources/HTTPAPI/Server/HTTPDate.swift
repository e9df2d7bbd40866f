import NIOCore
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The `Date` header, formatted once a second (RFC 9110 §5.6.7).
final class HTTPDate: Sendable {
    static let shared = HTTPDate()

    private struct Cached {
        var second = -1
        var line = ByteBuffer()
    }

    private let cached = Mutex(Cached())

    func write(to buffer: inout ByteBuffer) {
        let second = time(nil)
        let line = self.cached.withLock { cached in
            if cached.second != second {
                cached.second = second
                cached.line = ByteBuffer(string: "Date: \(HTTPDate.format(second: second))\r\n")
            }
            return cached.line
        }
        buffer.writeImmutableBuffer(line)
    }

    /// `Tue, 24 Nov 2026 07:08:10 GMT`, for seconds since 1970.
    static func format(second: Int) -> String {
        let (year, month, day, weekday) = self.civil(day: second / 86400)
        let inDay = second % 86400
        let names = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let clock = "\(two(inDay / 3600)):\(two(inDay / 60 % 60)):\(two(inDay % 60))"
        return "\(names[weekday]), \(two(day)) \(months[month - 1]) \(year) \(clock) GMT"
    }

    /// `2026-11-24 07:08:10 +0000 UTC`, as Go prints a time.
    static func goText(second: Int) -> String {
        let (year, month, day, _) = self.civil(day: second / 86400)
        let inDay = second % 86400
        let clock = "\(two(inDay / 3600)):\(two(inDay / 60 % 60)):\(two(inDay % 60))"
        return "\(year)-\(two(month))-\(two(day)) \(clock) +0000 UTC"
    }

    /// `2026-11-24T07:08:10Z`.
    static func rfc3339(second: Int) -> String {
        let (year, month, day, _) = self.civil(day: second / 86400)
        let inDay = second % 86400
        return "\(year)-\(two(month))-\(two(day))T\(two(inDay / 3600)):\(two(inDay / 60 % 60)):\(two(inDay % 60))Z"
    }

    static var now: Int { time(nil) }

    /// The Gregorian date of a day counted from 1970-01-01, by 400-year eras that start in March.
    private static func civil(day: Int) -> (year: Int, month: Int, day: Int, weekday: Int) {
        let shifted = day + 719_468
        let era = shifted / 146_097
        let inEra = shifted - era * 146_097
        let yearOfEra = (inEra - inEra / 1460 + inEra / 36524 - inEra / 146_096) / 365
        let inYear = inEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * inYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, inYear - (153 * marchMonth + 2) / 5 + 1, (day + 4) % 7)
    }
}

private func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
