import NIOCore
import Protocol
import Units

/// The calls of one connection that have no answer yet, written or not. A value: the connection guards it with its lock
/// and completes what comes out of here after it has let go of the lock.
struct CallTable: Sendable {
    typealias Completion = @Sendable (Result<PeerResponse, TransportError>) -> Void

    struct Call: Sendable {
        /// The encoded request; nil once it is written.
        var request: [UInt8]?
        let deadline: NIODeadline
        let completion: Completion

        var isSent: Bool { self.request == nil }
    }

    private var calls: [UInt64: Call] = [:]
    /// Numbers of calls to write, in order; those that ended meanwhile are skipped.
    private var unsent: CircularBuffer<UInt64> = []
    private var unsentBytes = 0
    private var cancels: CircularBuffer<UInt64> = []
    private var lastNumber: UInt64 = 0

    var count: Int { self.calls.count }
    var hasSomethingToWrite: Bool { !self.unsent.isEmpty || !self.cancels.isEmpty }

    /// Throws `.overloaded` when there are too many; otherwise the call's number.
    mutating func add(
        _ request: [UInt8], deadline: NIODeadline, settings: TransportSettings, completion: @escaping Completion
    ) throws(TransportError) -> UInt64 {
        guard self.calls.count < settings.callsMax else {
            throw .overloaded("\(self.calls.count) calls wait for an answer")
        }
        guard self.unsentBytes + request.count <= settings.callQueueBytes.rawValue else {
            throw .overloaded("\(self.unsentBytes) bytes of calls wait to be sent")
        }
        self.lastNumber += 1
        self.calls[self.lastNumber] = Call(request: request, deadline: deadline, completion: completion)
        self.unsent.append(self.lastNumber)
        self.unsentBytes += request.count
        return self.lastNumber
    }

    /// The next request to write; from now on it counts as sent.
    mutating func nextToSend() -> (number: UInt64, request: [UInt8])? {
        while let number = self.unsent.popFirst() {
            guard var call = self.calls[number], let request = call.request else { continue }
            call.request = nil
            self.calls[number] = call
            self.unsentBytes -= request.count
            return (number, request)
        }
        return nil
    }

    mutating func nextCancel() -> UInt64? { self.cancels.popFirst() }

    /// An answer came; nil when nobody waits for it any more.
    mutating func answered(_ number: UInt64) -> Completion? { self.remove(number)?.completion }

    /// Takes a call out because its caller gave up; the other side is told when it may have heard of it.
    mutating func abandon(_ number: UInt64) -> Call? {
        guard let call = self.remove(number) else { return nil }
        if call.isSent {
            self.cancels.append(number)
        } else if self.unsent.count > 2 * self.calls.count + 64 {
            // While nothing can be written, numbers of calls that ended must not pile up.
            self.unsent.removeAll { self.calls[$0] == nil }
        }
        return call
    }

    /// Takes out every call whose deadline has passed; also the earliest deadline of the others.
    mutating func expire(at now: NIODeadline) -> (expired: [Call], next: NIODeadline?) {
        var expired: [UInt64] = []
        var next: NIODeadline?
        for (number, call) in self.calls {
            if call.deadline <= now {
                expired.append(number)
            } else {
                next = min(next ?? call.deadline, call.deadline)
            }
        }
        return (expired.sorted().compactMap { self.abandon($0) }, next)
    }

    /// The connection is gone: everything ends.
    mutating func removeAll() -> [Call] {
        let all = self.calls.sorted { $0.key < $1.key }.map(\.value)
        self.calls.removeAll()
        self.unsent.removeAll()
        self.unsentBytes = 0
        self.cancels.removeAll()
        return all
    }

    private mutating func remove(_ number: UInt64) -> Call? {
        guard let call = self.calls.removeValue(forKey: number) else { return nil }
        if let request = call.request { self.unsentBytes -= request.count }
        return call
    }
}
