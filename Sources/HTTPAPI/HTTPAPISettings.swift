import NIOCore
import Units

/// Bounds and defaults of the HTTP API; checked when it is made.
public struct HTTPAPISettings: Sendable {
    /// `?wait` when absent.
    public var defaultWait = Nanoseconds.seconds(300)
    /// Longer waits are cut to this.
    public var maximumWait = Nanoseconds.seconds(600)
    /// Bytes of one KV value.
    public var kvMaximumValue = ByteCount(524_288)
    /// Bytes of a transaction's body.
    public var txnMaximumBody = ByteCount(524_288)
    public var txnMaximumOperations = 128
    /// Bytes of any other body but a snapshot's.
    public var maximumBody = ByteCount.mebibytes(2)
    /// Bytes of a body or answer that an agent forwards; below the transport's frame of 16 MiB.
    public var maximumForwardedBody = ByteCount.mebibytes(15)
    public var sessionTTLMinimum = Nanoseconds.seconds(10)
    public var sessionTTLMaximum = Nanoseconds.seconds(86_400)
    /// Until an unanswered write is reported as of unknown outcome; longer than the 7 s that a leader is waited for.
    public var writeTimeout = Nanoseconds.seconds(15)
    /// For a state that keeps the read's promise.
    public var readTimeout = Nanoseconds.seconds(10)
    /// Open connections; further ones wait in the listener's queue.
    public var maximumConnections = 16_384
    /// Requests that wait for a change at one time, forwarded ones included; further ones are answered 429.
    public var maximumWaiting = 65_536
    /// Bytes of list bodies that are kept for as long as the lists are the same; 0: none.
    public var keptAnswers = ByteCount.mebibytes(32)
    /// Paths with characters that can't be printed are answered 400, whatever the route
    /// (`disable_http_unprintable_char_filter` turns that off).
    public var refusesUnprintablePaths = true
    /// Paths that begin with one of these are answered 403 (`http_config.block_endpoints`); not those that agents forward.
    public var blockedPaths: [String] = []
    /// What `X-Consul-Default-Acl-Policy` says: `allow` or `deny`.
    public var defaultPolicy = "allow"

    package var connectionLimits = ConnectionLimits()

    public init() {}

    public enum Invalid: Error, Sendable, Equatable {
        /// The setting's name, and what it must be.
        case setting(String, String)
    }

    /// Throws what is wrong with the settings, by name.
    public func validate() throws(Invalid) {
        if self.defaultWait > self.maximumWait { throw .setting("defaultWait", "at most maximumWait") }
        if self.kvMaximumValue < ByteCount(1) { throw .setting("kvMaximumValue", "at least 1 byte") }
        if self.txnMaximumOperations < 1 { throw .setting("txnMaximumOperations", "at least 1") }
        if self.maximumBody < ByteCount(1024) { throw .setting("maximumBody", "at least 1024 bytes") }
        if self.maximumConnections < 1 { throw .setting("maximumConnections", "at least 1") }
        if self.maximumWaiting < 1 { throw .setting("maximumWaiting", "at least 1") }
        if self.sessionTTLMaximum < self.sessionTTLMinimum {
            throw .setting("sessionTTLMaximum", "at least sessionTTLMinimum")
        }
        if self.defaultPolicy != "allow" && self.defaultPolicy != "deny" {
            throw .setting("defaultPolicy", "allow or deny")
        }
    }
}
