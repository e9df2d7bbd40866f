import Cluster
import NIOCore
import Protocol
import Units

// Between agents and servers: a whole request, a whole answer.
extension HTTPAPI {
    /// Names the agent that forwarded a request; a session that names no node belongs to that agent.
    static let originHeader = "X-Serai-Agent"

    /// Answers a request that an agent forwarded, by the same routes. Cancelling the task frees what it waits for.
    /// - Parameter origin: the agent's node name, as its certificate says; then routes that concern this process alone
    ///   are refused. Nil for requests made within this process: there the request's own header names the node.
    public func respond(to peer: PeerHTTPRequest, origin: String? = nil) async -> PeerHTTPResponse {
        switch self.request(peer, origin: origin) {
        case .failure(let error): return self.encode(error.response)
        case .success(let request):
            if let refusal = self.refuseTooLarge(request) { return self.encode(refusal) }
            var response = await self.respond(to: request)
            if !request.isFromAgent { response.isNotPlaced = false }
            return await self.encode(collecting: response)
        }
    }

    /// The same without a task, for quick requests: `reply` is called once, on `loop`. False: nothing has happened.
    public func respondOnLoop(
        to peer: PeerHTTPRequest, origin: String, _ loop: any EventLoop,
        _ reply: @escaping @Sendable (PeerHTTPResponse) -> Void
    ) -> Bool {
        guard case .success(let request) = self.request(peer, origin: origin), request.isQuick,
            self.refuseTooLarge(request) == nil
        else { return false }
        return self.respondOnLoop(to: request, loop) { reply(self.encode($0)) }
    }

    private func request(_ peer: PeerHTTPRequest, origin: String?) -> Result<APIRequest, APIError> {
        let target: RequestTarget
        do throws(RequestTarget.Malformed) {
            target = try RequestTarget(peer.target)
        } catch {
            return .failure(APIError(error == .path ? 400 : 500, ""))
        }
        var request = APIRequest(
            method: APIMethod(peer.method), target: peer.target, path: target.path, query: target.query, token: "",
            body: ByteBuffer(bytes: peer.body))
        request.readHeaders(peer.headers.lazy.map { (name: $0.name, value: $0.value) })
        let named = peer.headers.first { equalsIgnoringCase($0.name.utf8, Self.originHeader.utf8) }?.value
        request.origin = origin ?? named
        request.number = RequestNumber(peer)
        request.isFromAgent = origin != nil
        let patience = peer.headers.last { equalsIgnoringCase($0.name.utf8, ForwardedHeader.patience.utf8) }?.value
        request.patience = patience.flatMap { UInt32($0) }.map { .milliseconds(UInt64($0)) }
        if request.path.hasPrefix("/v1/snapshot") { request.stream = BodyStream(whole: request.body) }
        return .success(request)
    }

    /// The socket's reader keeps these bounds for requests that come directly.
    private func refuseTooLarge(_ request: APIRequest) -> APIResponse? {
        let size = request.body.readableBytes
        if request.path.hasPrefix("/v1/kv/"), size > self.settings.kvMaximumValue.rawValue {
            return .text(413, self.tooLarge(size, self.settings.kvMaximumValue.rawValue, "kv_max_value_size"))
        }
        if request.path.hasPrefix("/v1/txn"), size > self.transactionLimit {
            return .text(413, self.tooLarge(size, self.transactionLimit, "txn_max_req_len"))
        }
        return nil
    }

    private func encode(collecting response: APIResponse) async -> PeerHTTPResponse {
        let tooLarge = APIResponse.text(413, "the answer is too large for an agent to pass on: ask a server")
        guard let stream = response.stream else {
            let fits = response.body.readableBytes <= self.settings.maximumForwardedBody.rawValue
            return self.encode(fits ? response : tooLarge)
        }
        var response = response
        response.stream = nil
        do {
            while var piece = try await stream.next() {
                if response.body.readableBytes + piece.readableBytes > self.settings.maximumForwardedBody.rawValue {
                    return self.encode(tooLarge)
                }
                response.body.writeBuffer(&piece)
            }
        } catch {
            return self.encode(.text(500, "reading the answer failed: \(error)"))
        }
        return self.encode(response)
    }

    private func encode(_ response: APIResponse) -> PeerHTTPResponse {
        var peer = PeerHTTPResponse()
        peer.status = UInt32(response.status)
        peer.body = .init(response.body.readableBytesView)
        response.eachHeader(defaultPolicy: self.settings.defaultPolicy) { constant, name, value in
            var header = PeerHeader()
            header.name = constant?.description ?? name
            header.value = value
            peer.headers.append(header)
        }
        if response.isNotPlaced { peer.headers.append(.init(ForwardedHeader.notPlaced, "true")) }
        return peer
    }

    private func passedOn(_ request: APIRequest, body: ByteBuffer) -> PeerHTTPRequest {
        var peer = PeerHTTPRequest()
        peer.method = request.method.name
        peer.target = request.target
        peer.body = .init(body.readableBytesView)
        peer.headers = [.init(Self.originHeader, self.cluster.identity.nodeName)]
        if !request.token.isEmpty { peer.headers.append(.init("X-Consul-Token", request.token)) }
        if let number = request.number {
            peer.client = number.client
            peer.sequence = number.sequence
            peer.lowestOutstanding = number.lowestOutstanding
        }
        if request.acceptsText { peer.headers.append(.init("Accept", "text/plain")) }
        return peer
    }

    /// `forward` for the hot way; `reply` is called on `loop`.
    func forward(_ request: APIRequest, _ loop: any EventLoop, _ reply: @escaping Route.LoopReply) {
        let peer = self.passedOn(request, body: request.body)
        self.cluster.forward(peer, timeout: self.forwardMargin) { result in
            loop.run { reply(result.map { self.decode($0) }.mapError { APIError($0) }) }
        }
    }

    /// An agent passes on what only the cluster can answer.
    func forward(_ request: APIRequest) async throws(APIError) -> APIResponse {
        var body = request.body
        if let stream = request.stream { body = try await self.collect(stream) }
        let peer = self.passedOn(request, body: body)
        let timeout = try self.forwardTimeout(request)
        let result = await self.send(peer, timeout: timeout, waitsLong: request.query.has("index"), request.connection)
        switch result {
        case .success(let answer): return self.decode(answer)
        case .failure(let error): throw APIError(error)
        }
    }

    private func collect(_ stream: BodyStream) async throws(APIError) -> ByteBuffer {
        var body = ByteBuffer()
        do {
            while var piece = try await stream.next() {
                if body.readableBytes + piece.readableBytes > self.settings.maximumForwardedBody.rawValue {
                    var error = APIError(413, "the body is too large for an agent to pass on: send it to a server")
                    error.closes = true
                    throw error
                }
                body.writeBuffer(&piece)
            }
        } catch let error as APIError {
            throw error
        } catch {
            throw .clientGone
        }
        return body
    }

    /// What a server may need to answer a request that waits for nothing, and the way there and back.
    package var forwardMargin: Nanoseconds { self.settings.writeTimeout + .seconds(5) }

    /// The server's own wait with its jitter, and time for the way.
    private func forwardTimeout(_ request: APIRequest) throws(APIError) -> Nanoseconds {
        let margin = self.forwardMargin
        guard !request.query.isEmpty, request.query.has("index") else { return margin }
        let wait = try ReadOptions(request.query, self.settings).wait
        return wait + Nanoseconds(wait.rawValue / 16) + margin
    }

    private func send(
        _ peer: PeerHTTPRequest, timeout: Nanoseconds, waitsLong: Bool, _ connection: ConnectionSignal?
    ) async -> Result<PeerHTTPResponse, ClusterError> {
        let cluster = self.cluster
        let send: @Sendable () async -> Result<PeerHTTPResponse, ClusterError> = {
            do throws(ClusterError) {
                return .success(try await cluster.forward(peer, timeout: timeout))
            } catch {
                return .failure(error)
            }
        }
        guard waitsLong, let connection else { return await send() }
        return await connection.run(send)
    }

    private func decode(_ answer: PeerHTTPResponse) -> APIResponse {
        var response = APIResponse(status: Int(answer.status), body: ByteBuffer(bytes: answer.body))
        for header in answer.headers {
            // These two go with every answer.
            if ["X-Consul-Default-Acl-Policy", "Vary"].contains(header.name) { continue }
            if header.name == ForwardedHeader.notPlaced {
                response.isNotPlaced = true
            } else {
                response.headers.append((header.name, header.value))
            }
        }
        return response
    }
}

extension BodyStream {
    /// A body that is in memory already.
    init(whole buffer: ByteBuffer) {
        let once = OneBuffer(buffer)
        self.init { await once.take() }
    }

    private actor OneBuffer {
        private var buffer: ByteBuffer?
        init(_ buffer: ByteBuffer) { self.buffer = buffer }
        func take() -> ByteBuffer? {
            defer { self.buffer = nil }
            return self.buffer
        }
    }
}

extension PeerHeader {
    fileprivate init(_ name: String, _ value: String) {
        self.init()
        self.name = name
        self.value = value
    }
}
