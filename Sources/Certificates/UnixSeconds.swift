#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Wall-clock time in whole seconds since 1970, as certificates and tokens carry it. It is compared with tolerance and
/// never orders events.
public struct UnixSeconds: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: Int64
    @inlinable public init(rawValue: Int64) { self.rawValue = rawValue }
    @inlinable public init(_ value: Int64) { self.rawValue = value }

    /// This machine's clock.
    public static func now() -> UnixSeconds {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UnixSeconds(Int64(time.tv_sec))
    }

    @inlinable public static func < (left: UnixSeconds, right: UnixSeconds) -> Bool { left.rawValue < right.rawValue }

    /// Later (or, with a negative number, earlier) by so many seconds; stops at the ends of the range.
    public func adding(seconds: Int64) -> UnixSeconds {
        let (sum, overflow) = self.rawValue.addingReportingOverflow(seconds)
        return UnixSeconds(overflow ? (seconds < 0 ? .min : .max) : sum)
    }

    public var description: String { "\(self.rawValue)" }

    public static let hour: Int64 = 3600
    public static let day: Int64 = 86_400
}
