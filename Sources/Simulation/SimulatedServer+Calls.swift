import Cluster
import Protocol
import Raft
import Storage
import SwiftProtobuf
import Transport
import Units

/// Calls of one server that wait for their answers.
struct OpenCalls {
    typealias Completion = @Sendable (Result<PeerResponse, TransportError>) -> Void
    private var open: [UInt64: (completion: Completion, timer: Int)] = [:]
    private var last: UInt64 = 0

    mutating func add(_ completion: @escaping Completion) -> UInt64 {
        self.last += 1
        self.open[self.last] = (completion, 0)
        return self.last
    }

    mutating func setTimer(_ timer: Int, of number: UInt64) { self.open[number]?.timer = timer }

    mutating func take(_ number: UInt64) -> (completion: Completion, timer: Int)? {
        self.open.removeValue(forKey: number)
    }

    mutating func failAll() {
        let open = self.open.sorted { $0.key < $1.key }.map(\.value)
        self.open = [:]
        for call in open { call.completion(.failure(.connectionLost(reason: "the process ended", sent: true))) }
    }
}

/// A connection from one server to another, as those who call over it see it.
struct SimulatedLine: CallConnection {
    var server: SimulatedServer
    var to: NodeID

    func call(
        _ request: PeerRequest, timeout: Duration,
        completion: @escaping @Sendable (Result<PeerResponse, TransportError>) -> Void
    ) -> UInt64? {
        let time = timeout.components
        let nanoseconds = UInt64(time.seconds) * SwarmOptions.second + UInt64(time.attoseconds / 1_000_000_000)
        return self.server.send(request, to: self.to, timeout: Nanoseconds(nanoseconds), completion)
    }

    func cancel(_ number: UInt64) { self.server.finish(call: number, .failure(.cancelled(sent: true))) }
}

// Calls between servers: they go the ways of the world's network as frames, like messages of the replica, but over
// something like TCP: none comes twice or damaged, and one that is lost breaks the connection, which its caller notices.
extension SimulatedServer {
    /// How long a silent connection passes for a sound one.
    static let silence = 2 * SwarmOptions.second

    func forward(
        _ request: PeerRequest, to leader: Member, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<PeerResponse, TransportError>) -> Void
    ) {
        self.forwarded.call(
            request, to: leader.id, over: SimulatedLine(server: self, to: leader.id), timeout: timeout,
            isStillLeader: { self.leader?.member.id == leader.id }, completion: completion)
    }

    func call(_ request: PeerRequest, of member: Member, timeout: Nanoseconds) async -> PeerResponse? {
        let line = SimulatedLine(server: self, to: member.id)
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<PeerResponse, TransportError>, Never>) in
            _ = line.call(request, timeout: .nanoseconds(Int64(clamping: timeout.rawValue))) {
                continuation.resume(returning: $0)
            }
        }
        guard case .success(let response) = result, response.error.isEmpty else { return nil }
        return response
    }

    func send(
        _ request: PeerRequest, to id: NodeID, timeout: Nanoseconds, _ completion: @escaping OpenCalls.Completion
    ) -> UInt64? {
        guard !self.isOver, let slot = self.world.slot(of: id), self.world.nodes[slot].isUp,
            let frame = Self.frame(request)
        else {
            completion(.failure(.unreachable(address: "\(id)", reason: "nobody listens there")))
            return nil
        }
        let number = self.calls.add(completion)
        let timer = self.time.later(timeout) {
            self.finish(call: number, .failure(.timedOut(sent: true)))
        }
        self.calls.setTimer(timer, of: number)
        self.post(
            Network.Call(caller: self.node.slot, server: self.number, number: number, isAnswer: false), to: slot, frame)
        return number
    }

    private func post(_ call: Network.Call, to slot: Int, _ frame: [UInt8]) {
        self.world.record(.sent, slot: self.node.slot, peer: slot, call.code, note: call.isAnswer ? "answer" : "call")
        self.world.network.send(
            Network.Parcel(from: self.node.slot, to: slot, content: .call(call), frame: frame))
    }

    func finish(call number: UInt64, _ result: Result<PeerResponse, TransportError>) {
        guard let call = self.calls.take(number) else { return }
        self.time.cancel(call.timer)
        call.completion(result)
    }

    /// A call, or the answer to one, has come in.
    func receive(_ call: Network.Call, _ frame: [UInt8], from slot: Int) {
        if call.isAnswer {
            guard call.server == self.number else { return }
            guard let response: PeerResponse = Self.message(frame) else {
                return self.world.invariants.fail("I19", "s\(slot)'s answer to a call can't be read")
            }
            return self.finish(call: call.number, .success(response))
        }
        guard let request: PeerRequest = Self.message(frame) else {
            return self.world.invariants.fail("I19", "s\(slot)'s call can't be read")
        }
        var back = call
        back.isAnswer = true
        let reply: @Sendable (PeerResponse) -> Void = { [unowned self, back] response in
            guard !self.isOver, let frame = Self.frame(response) else { return }
            self.post(back, to: slot, frame)
        }
        switch request.kind {
        case .propose(let propose): self.router.answer(propose.envelope, reply: reply)
        case .sessionRenew(let renew):
            Task(executorPreference: self.time.tasks) { reply(await self.router.answerRenewal(of: renew.id)) }
        default: self.world.invariants.fail("I19", "s\(slot) asks what no server asks: \(request)")
        }
    }

    private static func frame(_ message: some SwiftProtobuf.Message) -> [UInt8]? {
        guard let bytes: [UInt8] = try? message.serializedBytes() else { return nil }
        return bytes
    }

    private static func message<Message: SwiftProtobuf.Message>(_ frame: [UInt8]) -> Message? {
        try? Message(serializedBytes: frame)
    }
}
