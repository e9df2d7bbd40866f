import Certificates
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Protocol
import Raft
import Testing
import Transport
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// SplitMix64: the same numbers for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { self.state = seed }
    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Threads are few: all tests share the process's event loops.
var group: any EventLoopGroup { MultiThreadedEventLoopGroup.singleton }

let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Deadlines that a busy machine does not reach; tests of a deadline set their own.
let patient: TransportSettings = {
    var settings = TransportSettings()
    settings.connectTimeout = .seconds(60)
    settings.handshakeTimeout = .seconds(60)
    settings.joinTimeout = .seconds(60)
    settings.idleTimeout = .seconds(120)
    return settings
}()

/// Tests with sockets run one after another: each then has the event loops for itself.
struct OneAtATime: SuiteTrait, TestTrait, TestScoping {
    private static let gate = Gate()
    let isRecursive = true

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        await Self.gate.enter()
        do {
            try await function()
        } catch {
            await Self.gate.leave()
            throw error
        }
        await Self.gate.leave()
    }

    private actor Gate {
        private var isTaken = false
        private var waiting: [CheckedContinuation<Void, Never>] = []

        func enter() async {
            if self.isTaken {
                await withCheckedContinuation { self.waiting.append($0) }
            } else {
                self.isTaken = true
            }
        }

        func leave() {
            if self.waiting.isEmpty {
                self.isTaken = false
            } else {
                self.waiting.removeFirst().resume()
            }
        }
    }
}

extension Trait where Self == OneAtATime {
    static var oneAtATime: Self { OneAtATime() }
}

/// Waits until `condition` holds, for at most half a minute: generous, since nothing but a failure takes that long.
func eventually(
    _ what: Comment, _ location: SourceLocation = #_sourceLocation, _ condition: @Sendable () async -> Bool
) async throws {
    for _ in 0..<6000 {
        if await condition() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record(what, sourceLocation: location)
    throw TimedOut()
}

struct TimedOut: Error {}

/// A cluster's secrets, and certificates for its nodes.
struct TestCluster: Sendable {
    let secret: ClusterSecret
    let authority: CertificateAuthority

    init(now: UnixSeconds = .now()) throws {
        self.secret = ClusterSecret.generate(now: now)
        self.authority = try CertificateAuthority(self.secret)
    }

    func identity(_ role: NodeRole, _ name: String, _ id: UInt64) throws -> NodeIdentity {
        try NodeIdentity(clusterID: self.secret.clusterID, role: role, name: name, nodeID: NodeID(id))
    }

    func credentials(
        _ role: NodeRole, _ name: String, _ id: UInt64, now: UnixSeconds = .now()
    ) throws -> NodeCredentials {
        try self.authority.issue(self.identity(role, name, id), key: .generate(), now: now)
    }
}

/// A handler that remembers what came and answers as it is told.
final class Recorder: PeerHandler {
    struct Seen: Sendable {
        var raft: [Raft.Message] = []
        var bursts = 0
        var proposals = 0
        var requests = 0
        var signings = 0
        var cancelled = 0
        var up: [RemotePeer] = []
        var down: [RemotePeer] = []
    }

    typealias Answer = @Sendable (PeerRequest, NodeIdentity) async -> PeerResponse

    private let box = NIOLockedValueBox(Seen())
    private let answer: Answer
    private let proposals: (@Sendable (LogEnvelope, @escaping @Sendable (PeerResponse) -> Void) -> Bool)?
    private let authority: CertificateAuthority?

    init(
        authority: CertificateAuthority? = nil,
        proposals: (@Sendable (LogEnvelope, @escaping @Sendable (PeerResponse) -> Void) -> Bool)? = nil,
        answer: @escaping Answer = { request, _ in Recorder.echo(request) }
    ) {
        self.authority = authority
        self.proposals = proposals
        self.answer = answer
    }

    var seen: Seen { self.box.withLockedValue { $0 } }

    /// The body of an HTTP request comes back.
    static func echo(_ request: PeerRequest) -> PeerResponse {
        var response = PeerResponse()
        response.http.status = 200
        response.http.body = request.http.body
        return response
    }

    func received(raft messages: [Raft.Message], from peer: NodeIdentity) {
        self.box.withLockedValue { seen in
            seen.raft += messages
            seen.bursts += 1
        }
    }

    func propose(
        _ envelope: LogEnvelope, from peer: NodeIdentity, reply: @escaping @Sendable (PeerResponse) -> Void
    ) -> Bool {
        guard let proposals = self.proposals else { return false }
        self.box.withLockedValue { $0.proposals += 1 }
        return proposals(envelope, reply)
    }

    func handle(_ request: PeerRequest, from peer: NodeIdentity) async -> PeerResponse {
        self.box.withLockedValue { $0.requests += 1 }
        let response = await self.answer(request, peer)
        if Task.isCancelled { self.box.withLockedValue { $0.cancelled += 1 } }
        return response
    }

    func sign(_ request: PeerSignCertificate) async -> PeerResponse {
        self.box.withLockedValue { $0.signings += 1 }
        guard let authority = self.authority else { return .failure(403, "not here") }
        do {
            var response = PeerResponse()
            var answer = try authority.answer(request, from: nil)
            answer.serverAddresses = ["10.0.0.1:8300"]
            response.certificate = answer
            return response
        } catch {
            return .failure(403, "\(error)")
        }
    }

    func peerUp(_ peer: RemotePeer) { self.box.withLockedValue { $0.up.append(peer) } }
    func peerDown(_ peer: RemotePeer) { self.box.withLockedValue { $0.down.append(peer) } }
}

/// Never answers before it is cancelled.
@Sendable func waitForCancellation(_ request: PeerRequest, _ peer: NodeIdentity) async -> PeerResponse {
    try? await Task.sleep(for: .seconds(600))
    return .failure(499, "cancelled")
}

/// A listener and everything around it.
struct TestServer: Sendable {
    let cluster: TestCluster
    let security: TransportSecurity
    let handler: Recorder
    let listener: PeerListener

    var address: String { "127.0.0.1:\(self.listener.port)" }

    init(
        _ cluster: TestCluster, handler: Recorder = Recorder(), settings: TransportSettings = patient,
        id: UInt64 = 1, credentials: NodeCredentials? = nil, now: @escaping @Sendable () -> UnixSeconds = { .now() },
        refusal: @escaping @Sendable (NodeIdentity) -> String? = { _ in nil }
    ) async throws {
        self.cluster = cluster
        self.security = try TransportSecurity(
            credentials ?? cluster.credentials(.server, "server-\(id)", id), now: now, refusal: refusal)
        self.handler = handler
        self.listener = try await PeerListener.start(
            address: "127.0.0.1", port: 0, security: self.security,
            local: LocalPeer(featureLevel: 3, rpcAddress: "127.0.0.1:8300", datacenter: "dc1"), handler: handler,
            group: group, settings: settings, logger: silent)
    }

    func stop() async { await self.listener.shutdown() }
}

/// A pool that remembers its events.
final class TestClient: Sendable {
    let pool: PeerPool
    let security: TransportSecurity
    private let log = NIOLockedValueBox<[PeerEvent]>([])

    init(
        _ credentials: NodeCredentials, settings: TransportSettings = patient,
        now: @escaping @Sendable () -> UnixSeconds = { .now() },
        refusal: @escaping @Sendable (NodeIdentity) -> String? = { _ in nil }
    ) throws {
        let log = self.log
        self.security = try TransportSecurity(credentials, now: now, refusal: refusal)
        self.pool = try PeerPool(
            security: self.security, local: LocalPeer(featureLevel: 2), group: group, settings: settings, logger: silent
        ) { event in log.withLockedValue { $0.append(event) } }
    }

    convenience init(
        server id: UInt64 = 2, _ cluster: TestCluster, settings: TransportSettings = patient
    ) throws {
        try self.init(cluster.credentials(.server, "server-\(id)", id), settings: settings)
    }

    var events: [PeerEvent] { self.log.withLockedValue { $0 } }

    /// Reasons of all failures so far.
    var failures: [String] {
        self.events.compactMap { event in
            guard case .down(_, _, let reason) = event else { return nil }
            return reason
        }
    }
}

func httpRequest(_ body: [UInt8] = []) -> PeerRequest {
    var request = PeerRequest()
    request.http.method = "GET"
    request.http.body = Data(body)
    return request
}

func proposal(_ sequence: UInt64) -> PeerRequest {
    var request = PeerRequest()
    request.propose.envelope.sequence = sequence
    return request
}

/// The error of a call, for comparisons.
func callFailure(
    _ connection: PeerConnection, _ request: PeerRequest = httpRequest(), timeout: Duration = .seconds(30)
) async -> TransportError? {
    do throws(TransportError) {
        _ = try await connection.call(request, timeout: timeout)
        return nil
    } catch {
        return error
    }
}

func heartbeat(from: UInt64, to: UInt64, sequence: UInt64 = 0) -> Raft.Message {
    Raft.Message(
        from: NodeID(from), to: NodeID(to), term: Term(1),
        body: .append(
            Raft.Message.Append(
                previousIndex: .zero, previousTerm: .zero, entries: [], commit: .zero, readPosition: 0,
                sequence: sequence)))
}
