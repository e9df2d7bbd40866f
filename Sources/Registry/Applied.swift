import Protocol
import Units

/// What applying one entry brought about.
public struct Applied: Sendable {
    /// Goes back to whoever asked.
    public var result: LogResult
    /// Which waiters to wake. Empty when nothing changed.
    public var touched: [Touch]
    /// A restore took effect: every waiter is woken, and answers even though its index may have gone back.
    public var everythingTouched: Bool
    /// Nothing was applied: the request was seen before, and the result is the one kept from then, or says that it was
    /// forgotten.
    public var wasDuplicate: Bool

    public init(
        result: LogResult, touched: [Touch] = [], everythingTouched: Bool = false, wasDuplicate: Bool = false
    ) {
        self.result = result
        self.touched = touched
        self.everythingTouched = everythingTouched
        self.wasDuplicate = wasDuplicate
    }
}

/// What the commands of one entry share while they are applied.
struct ApplyContext {
    let index: UInt64
    /// The envelope's wall time, nanoseconds since 1970.
    let now: UInt64
    var touched: [Touch] = []
    var everythingTouched = false

    mutating func touch(_ table: Table, _ key: ByteKey, isPrefix: Bool = false) {
        self.touched.append(Touch(table: table, key: key, isPrefix: isPrefix))
    }
}

/// Why a command was not applied.
enum CommandFailure: Error {
    /// Becomes the result; nothing was changed.
    case refused(LogFailureKind, String)
    /// The server must stop.
    case stop(RegistryError)

    static func invalid(_ text: String) -> CommandFailure { .refused(.failureInvalid, text) }
}
