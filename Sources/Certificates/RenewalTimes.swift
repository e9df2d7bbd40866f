import Units

/// When a node asks for a new certificate, and when it says that it has not got one. A value; the caller has the clock.
public struct RenewalTimes: Sendable {
    private var lastAttempt: UnixSeconds?
    private var lastWarning: UnixSeconds?

    /// Between two attempts.
    public static let attemptInterval: Int64 = 60
    /// Between two warnings, and on the last day.
    private static let warningInterval: Int64 = UnixSeconds.day
    private static let lastDayInterval: Int64 = UnixSeconds.hour

    public init() {}

    /// True from half of the certificate's life on, once a minute.
    public mutating func attemptIsDue(_ credentials: NodeCredentials, now: UnixSeconds) -> Bool {
        guard now >= credentials.renewAt else {
            self.lastAttempt = nil
            return false
        }
        if let lastAttempt, now >= lastAttempt, now < lastAttempt.adding(seconds: Self.attemptInterval) { return false }
        self.lastAttempt = now
        return true
    }

    /// What to tell the operator when a quarter of the certificate's life is left, or none: by then a renewal has failed
    /// for weeks. Once a day, on the last day once an hour.
    public mutating func warning(_ credentials: NodeCredentials, now: UnixSeconds) -> String? {
        let left = credentials.expiry.rawValue - now.rawValue
        guard left <= (credentials.expiry.rawValue - credentials.notBefore.rawValue) / 4 else {
            self.lastWarning = nil
            return nil
        }
        let interval = left > UnixSeconds.day ? Self.warningInterval : Self.lastDayInterval
        if let lastWarning, now >= lastWarning, now < lastWarning.adding(seconds: interval) { return nil }
        self.lastWarning = now
        if left <= 0 {
            return
                "this node's certificate has expired: other nodes turn it away until it is started anew with a join token"
        }
        let time = left > UnixSeconds.day ? "\(left / UnixSeconds.day) days" : "\(left / UnixSeconds.hour + 1) hours"
        return "this node's certificate expires in \(time) and has not been renewed"
    }
}
