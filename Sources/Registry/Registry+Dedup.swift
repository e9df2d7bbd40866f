import PersistentMap
import Protocol
import SwiftProtobuf
import Units

/// What is known of one requester (a process's life; its id is random and never used again).
///
/// A sequence number at or below the floor is answered "forgotten" and never applied: either its result was given up, or
/// its requester said that it waits for it no longer. Above the floor a number with a stored result is a retry, one
/// without has not been applied: requests may arrive in any order.
struct ClientWindow: Sendable, Equatable {
    var floor: UInt64 = 0
    /// Results stored, all of sequences above the floor.
    var kept: UInt64 = 0
    /// The envelope's wall time and the index of its latest request.
    var seenWall: UInt64 = 0
    var seenIndex: UInt64 = 0
}

struct ResultKey: Comparable, CanonicalRow {
    var client: UInt64
    var sequence: UInt64

    static func < (left: ResultKey, right: ResultKey) -> Bool {
        left.client != right.client ? left.client < right.client : left.sequence < right.sequence
    }

    func write<Sink: RowSink>(to sink: inout Sink) {
        sink.number(self.client)
        sink.number(self.sequence)
    }
}

/// A result in few bytes: nearly all are a yes or a no.
enum StoredResult: Sendable, Equatable {
    case plain(index: UInt64, ok: Bool)
    /// A `LogResult`, encoded with sorted maps.
    case encoded([UInt8])
    /// It was applied, but its answer was too large to keep.
    case tooLarge
}

struct RequestIdentity {
    let client: UInt64
    let sequence: UInt64
    /// Everything below is no longer waited for.
    let lowest: UInt64

    init(_ envelope: LogEnvelope) {
        self.client = envelope.client
        self.sequence = envelope.sequence
        self.lowest = min(envelope.lowestOutstanding, envelope.sequence)
    }

    /// Requests without a client or sequence number are applied as often as they are committed.
    var isDeduplicated: Bool { self.client != 0 && self.sequence != 0 }
}

enum Recollection {
    case unheard
    case known(LogResult)
    case forgotten
}

extension Registry {
    static let resultsPerClient: UInt64 = 4096
    /// A result whose encoding is longer is not kept; a retry of it is answered "forgotten".
    static let largestKeptResult = ByteCount.kibibytes(256)
    /// A requester unheard of for so long loses its results, not its floor.
    static let resultsOutlive = Nanoseconds.seconds(3600)
    /// And for so long, its floor: far beyond any request's deadline. Because a leader whose clock jumps could make
    /// this come true within a deadline, so many entries must have passed as well.
    static let floorOutlives = Nanoseconds.seconds(24 * 3600)
    static let floorOutlivesEntries: UInt64 = 1_000_000

    func recall(_ asked: RequestIdentity) -> Recollection {
        guard asked.isDeduplicated, let window = self.clients.get(asked.client) else { return .unheard }
        if asked.sequence <= window.floor { return .forgotten }
        let stored = self.results.get(ResultKey(client: asked.client, sequence: asked.sequence))
        switch stored {
        case nil: return .unheard
        case .plain(let index, let ok)?:
            var result = LogResult.ok(ok)
            result.index = index
            return .known(result)
        case .encoded(let bytes)?:
            guard let result = try? LogResult(serializedBytes: bytes) else { return .forgotten }
            return .known(result)
        case .tooLarge?: return .forgotten
        }
    }

    /// Keeps a fresh result, moves the floor to what the request says is waited for, and holds the window's bound.
    mutating func settle(
        _ asked: RequestIdentity, fresh: LogResult?, _ context: ApplyContext
    ) throws(RegistryError) {
        guard asked.isDeduplicated else { return }
        let known = self.clients.get(asked.client)
        guard fresh != nil || known != nil else { return }
        var window = known ?? ClientWindow()
        if let fresh {
            let stored = try Self.stored(fresh)
            self.results.set(ResultKey(client: asked.client, sequence: asked.sequence), stored)
            window.kept += 1
        }
        window.seenWall = context.now
        window.seenIndex = context.index
        if asked.lowest > 0, asked.lowest - 1 > window.floor {
            self.dropResults(of: asked.client, &window, below: asked.lowest, atMost: window.kept)
            window.floor = asked.lowest - 1
        }
        if window.kept > Self.resultsPerClient {
            self.dropResults(of: asked.client, &window, below: .max, atMost: window.kept - Self.resultsPerClient)
        }
        self.clients.set(asked.client, window)
    }

    private static func stored(_ result: LogResult) throws(RegistryError) -> StoredResult {
        if case .ok(let ok) = result.kind { return .plain(index: result.index, ok: ok) }
        var options = BinaryEncodingOptions()
        options.useDeterministicOrdering = true
        do {
            let bytes: [UInt8] = try result.serializedBytes(options: options)
            return bytes.count > Self.largestKeptResult.rawValue ? .tooLarge : .encoded(bytes)
        } catch {
            throw .badRow("the result of entry \(result.index) can't be encoded: \(error)")
        }
    }

    /// From the lowest sequence upwards; the floor rises to the highest that was dropped.
    private mutating func dropResults(
        of client: UInt64, _ window: inout ClientWindow, below: UInt64, atMost: UInt64
    ) {
        var left = atMost
        while left > 0, window.kept > 0,
            let oldest = self.results.rows.lowerBound(ResultKey(client: client, sequence: window.floor))?.key,
            oldest.client == client, oldest.sequence < below
        {
            self.results.remove(oldest)
            window.floor = oldest.sequence
            window.kept -= 1
            left -= 1
        }
    }

    /// One requester's turn of tidying; nothing is done to one that was heard of lately.
    mutating func tidyClient(_ client: UInt64, _ window: ClientWindow, _ context: ApplyContext) {
        let idle = distance(context.now, window.seenWall)
        if window.kept > 0 {
            guard idle > Self.resultsOutlive.rawValue else { return }
            var window = window
            self.dropResults(of: client, &window, below: .max, atMost: Self.resultsDroppedAtOnce)
            self.clients.set(client, window)
        } else if idle > Self.floorOutlives.rawValue, context.index - window.seenIndex > Self.floorOutlivesEntries {
            self.clients.remove(client)
        }
    }

    static let resultsDroppedAtOnce: UInt64 = 64
}

/// How far two wall times lie apart, whichever is later: a clock that went back makes nothing immortal.
func distance(_ left: UInt64, _ right: UInt64) -> UInt64 {
    left > right ? left - right : right - left
}
