import Certificates
import Logging
import NIOCore
import Protocol
import Raft
import Registry
import Replica
import Synchronization
import Transport
import Units

// What other nodes ask of this server. Who may ask what: servers everything; an agent its own lease, its own
// certificate, its own node's registrations, and whole HTTP and DNS requests, which carry a token of their own.

/// The listener's way into the server.
struct ServerDoor: PeerHandler {
    let server: Server

    func received(raft messages: [Message], from peer: NodeIdentity) {
        if self.server.loop.isRunning {
            _ = self.server.loop.ask(.messages(messages))
        } else {
            self.server.life.withLock { $0.founding }?.heardRaft()
        }
    }

    func propose(
        _ envelope: LogEnvelope, from peer: NodeIdentity, reply: @escaping @Sendable (PeerResponse) -> Void
    ) -> Bool {
        self.server.propose(envelope, from: peer, reply: reply)
    }

    func answer(
        _ request: PeerHTTPRequest, from peer: NodeIdentity, on loop: any EventLoop,
        reply: @escaping @Sendable (PeerResponse) -> Void
    ) -> Bool {
        guard let answer = self.server.faces.withLock({ $0.httpOnLoop }) else { return false }
        return answer(request, peer.name, loop) { http in
            var response = PeerResponse()
            response.http = http
            reply(response)
        }
    }

    func handle(_ request: PeerRequest, from peer: NodeIdentity) async -> PeerResponse {
        await self.server.handle(request, from: peer)
    }

    func sign(_ request: PeerSignCertificate) async -> PeerResponse { self.server.sign(request, for: nil) }

    func peerUp(_ peer: RemotePeer) { self.server.introduce(peer) }
}

extension Server {
    func introduce(_ peer: RemotePeer) {
        guard peer.identity.role == .server, !peer.rpcAddress.isEmpty else { return }
        self.addresses.withLock { $0[peer.identity.nodeID] = peer.rpcAddress }
    }

    /// A forwarded write; runs on an event loop. False: it takes longer, and comes again to `handle`.
    func propose(
        _ envelope: LogEnvelope, from peer: NodeIdentity, reply: @escaping @Sendable (PeerResponse) -> Void
    ) -> Bool {
        var envelope = envelope
        if peer.role == .agent {
            // A server that leads answers at once; another has to forward.
            guard self.isLeader else { return false }
            guard Self.concernsOwnNode(envelope.command, of: peer) else {
                reply(Self.onlyOwnNode)
                return true
            }
            Self.sign(&envelope, as: peer)
        }
        self.router.answer(envelope, reply: reply)
        return true
    }

    /// What an agent says of itself does not count; its numbering does, so that a retry is applied once.
    private static func sign(_ envelope: inout LogEnvelope, as peer: NodeIdentity) {
        envelope.identity = peer.name
        envelope.originNode = peer.nodeID.rawValue
        envelope.decidedInTerm = 0
    }

    private static var onlyOwnNode: PeerResponse {
        .failure(403, "an agent may write only its own node's registrations", notProposed: true)
    }

    /// Under its own name and id alone: a registration with another node's id would take that node's name away.
    package static func concernsOwnNode(_ command: LogCommand, of peer: NodeIdentity) -> Bool {
        switch command.kind {
        case .register(let register):
            register.node.name == peer.name && (register.node.id.isEmpty || register.node.id == peer.nodeID.uuid)
                && register.checks.allSatisfy { $0.node.isEmpty || $0.node == peer.name }
        case .deregister(let deregister): deregister.node == peer.name
        case .batch(let batch): batch.commands.allSatisfy { Self.concernsOwnNode($0, of: peer) }
        case .kvPut, .kvDelete, .txn, .sessionCreate, .sessionDestroy, .stateHash, .restoreBegin, .restoreChunk,
            .restoreCommit, .setFeatureLevel, .revokeNode, nil:
            false
        }
    }

    func handle(_ request: PeerRequest, from peer: NodeIdentity) async -> PeerResponse {
        switch request.kind {
        case .propose(let propose): await self.proposeForAgent(propose.envelope, from: peer)
        case .http(let http): await self.answer(http, within: request.timeoutMs, from: peer)
        case .dns(let dns): await self.answer(dns)
        case .leaseKeep(let keep): self.keepLease(keep, from: peer)
        case .status: await self.answerStatus()
        case .signCertificate(let request): self.sign(request, for: peer)
        case .nodeCatalog(let request): await self.answer(request)
        case .view(let request): await self.answer(request)
        case .sessionRenew, .leaseReport, .joinCluster, .raftAdmin, .probe, .prepare:
            peer.role == .server
                ? await self.handleFromServer(request, peer) : .failure(403, "only a server may ask this")
        case nil: .failure(400, Self.unknownRequest)
        }
    }

    private static let unknownRequest = "unknown request: the other side may be newer than this version"

    private func handleFromServer(_ request: PeerRequest, _ peer: NodeIdentity) async -> PeerResponse {
        switch request.kind {
        case .probe(let probe):
            if let founding = self.life.withLock({ $0.founding }) { return founding.answer(probe) }
            return self.answerProbe()
        case .prepare(let prepare): return await self.answer(prepare, from: peer)
        case .sessionRenew, .leaseReport, .joinCluster, .raftAdmin:
            guard self.loop.isRunning else { return RefusalWire.response(to: .notLeader(nil), mayApply: false) }
        case .propose, .http, .dns, .leaseKeep, .status, .signCertificate, .nodeCatalog, .view, nil: break
        }
        switch request.kind {
        case .sessionRenew(let renew): return await self.router.answerRenewal(of: renew.id)
        case .leaseReport(let report):
            _ = self.loop.ask(.input(.leasesHeld(names: report.names)))
            return Self.acknowledged
        case .joinCluster(let join): return await self.admit(join.member.member, from: peer)
        case .raftAdmin(let admin): return await self.administer(admin)
        case .propose, .http, .dns, .leaseKeep, .status, .signCertificate, .nodeCatalog, .view, .probe, .prepare, nil:
            return .failure(400, Self.unknownRequest)
        }
    }

    private func answer(
        _ http: PeerHTTPRequest, within milliseconds: UInt32, from peer: NodeIdentity
    ) async -> PeerResponse {
        guard let answer = self.faces.withLock({ $0.http }) else { return .failure(503, "this server is starting") }
        var http = http
        if milliseconds > 0 {
            var patience = PeerHeader()
            patience.name = ForwardedHeader.patience
            patience.value = String(milliseconds)
            http.headers.append(patience)
        }
        var response = PeerResponse()
        response.http = await answer(http, peer.name)
        return response
    }

    private func answer(_ dns: PeerDNSRequest) async -> PeerResponse {
        guard let answer = self.faces.withLock({ $0.dns }) else { return .failure(503, "this server is starting") }
        var response = PeerResponse()
        response.dns.packet = .init(await answer([UInt8](dns.packet), dns.tcp))
        return response
    }

    /// The agent takes what it reads here for what became of its writes, which may have gone through another server.
    private func answer(_ request: PeerNodeCatalogRequest) async -> PeerResponse {
        let registry: Registry
        do throws(ClusterError) {
            registry = try await self.view(.default, timeout: .seconds(5)).registry
        } catch {
            return .failure(503, "this server has no leader")
        }
        var response = PeerResponse()
        response.nodeCatalog = PeerNodeCatalog()
        if let catalog = registry.nodeServices(request.node).value {
            response.nodeCatalog.found = true
            response.nodeCatalog.node = catalog.node.message
            response.nodeCatalog.services = catalog.services.map(\.message)
            response.nodeCatalog.checks = registry.checks(onNode: request.node).value.map(\.message)
        }
        return response
    }

    private func answer(_ prepare: PeerPrepare, from peer: NodeIdentity) async -> PeerResponse {
        guard prepare.founder == peer.nodeID.rawValue else { return .failure(403, "a founder asks for itself only") }
        if let founding = self.life.withLock({ $0.founding }) { return await founding.answer(prepare) }
        // A running server's log is not empty: its word is given away already.
        var response = PeerResponse()
        response.prepare.promised = false
        return response
    }

    /// `peer` is nil for an agent that has no certificate yet.
    func sign(_ request: PeerSignCertificate, for peer: NodeIdentity?) -> PeerResponse {
        if self.loop.published.withLock({ $0.registry.isRevoked(NodeID(request.nodeID)) }) {
            return .failure(403, "node \(NodeID(request.nodeID)) was removed from the cluster")
        }
        do throws(CertificatesError) {
            var response = PeerResponse()
            response.certificate = try self.authority.answer(request, from: peer)
            response.certificate.serverAddresses = self.serverAddresses
            return response
        } catch {
            self.logger.warning("no certificate given", metadata: ["name": "\(request.name)", "reason": "\(error)"])
            return .failure(403, "\(error)")
        }
    }

    var serverAddresses: [String] {
        let addresses = self.loop.published.withLock { $0.configuration.allMembers.map(\.address) }
        return addresses.isEmpty ? [self.settings.address] : addresses
    }

    static var acknowledged: PeerResponse {
        var response = PeerResponse()
        response.ack = PeerAck()
        return response
    }

    /// An agent's own registrations, forwarded to the leader wherever it is. The agent's numbering stays, so that a
    /// retry through another server is applied once.
    private func proposeForAgent(_ envelope: LogEnvelope, from peer: NodeIdentity) async -> PeerResponse {
        var envelope = envelope
        if peer.role == .agent {
            guard Self.concernsOwnNode(envelope.command, of: peer) else { return Self.onlyOwnNode }
            Self.sign(&envelope, as: peer)
        }
        do throws(ClusterError) {
            var response = PeerResponse()
            response.result = try await self.router.replicate(envelope, timeout: .seconds(10))
            return response
        } catch {
            return RefusalWire.response(to: error)
        }
    }

    private func keepLease(_ keep: PeerLeaseKeep, from peer: NodeIdentity) -> PeerResponse {
        guard keep.node == peer.name else { return .failure(403, "a node keeps its own lease only") }
        let now = SystemClock.now()
        // While the name still belongs to an earlier incarnation of the node, its lease runs out.
        let owner = self.loop.published.withLock { $0.registry.node(named: keep.node).value?.id } ?? ""
        let isDismissed = self.agents.withLock { agents in
            if agents.isDismissing {
                agents.lastSeen[keep.node] = nil
            } else if owner.isEmpty || owner == peer.nodeID.uuid {
                agents.lastSeen[keep.node] = now
            }
            return agents.isDismissing
        }
        if isDismissed { return .failure(503, "this server stops") }
        return self.loop.published.withLock { published in
            // An agent leaves a server that has had no leader for 3 s.
            let isRunning = self.loop.isRunning && published.halted == nil
            if isRunning, published.isLeader || now.since(published.lastLeaderContact) < .seconds(3) {
                return Self.acknowledged
            }
            return .failure(503, "this server has no leader")
        }
    }

    private func admit(_ member: Member, from peer: NodeIdentity) async -> PeerResponse {
        guard member.id == peer.nodeID, member.name == peer.name else {
            return .failure(403, "a server asks for itself only")
        }
        if let reason = await self.administerHere(.join(member), timeout: .seconds(10)) {
            return RefusalWire.response(to: reason, mayApply: true)
        }
        return Self.acknowledged
    }

    func answerProbe() -> PeerResponse {
        var response = PeerResponse()
        response.probe.nodeID = self.nodeID.rawValue
        response.probe.name = self.identity.nodeName
        response.probe.address = self.settings.address
        response.probe.expect = UInt32(clamping: self.settings.expect)
        self.loop.published.withLock { published in
            response.probe.hasConfiguration_p = !published.configuration.isEmpty
            response.probe.configuration = PeerConfiguration(published.configuration)
            let leader = published.isLeader ? self.nodeID : published.leader
            response.probe.leader = leader?.rawValue ?? 0
            response.probe.leaderAddress = leader.flatMap { published.configuration.member($0)?.address } ?? ""
        }
        return response
    }

    private func answerStatus() async -> PeerResponse {
        var response = PeerResponse()
        response.status.leaderAddress = await self.leaderAddress()
        response.status.peers = await self.peerAddresses()
        return response
    }
}
