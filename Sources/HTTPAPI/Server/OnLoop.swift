import Cluster
import NIOCore
import NIOHTTP1
import Protocol
import Units

// The hot way: a quick request is read, answered and written on its connection's event loop, without a task.
extension HTTPAPI {
    /// `reply` is called once, on `loop`. False: nothing has happened, the request takes the ordinary way.
    func respondOnLoop(
        to head: HTTPRequestHead, body: ByteBuffer, _ loop: any EventLoop,
        _ reply: @escaping @Sendable (APIResponse) -> Void
    ) -> Bool {
        var uri = head.uri
        let isKey = uri.withUTF8 { $0.count >= 7 && $0[4] == UInt8(ascii: "k") && $0[5] == UInt8(ascii: "v") }
        guard isKey, case .success(let request) = self.request(head, body: body, stream: nil, connection: nil) else {
            return false
        }
        if !request.acceptsGzip { return self.respondOnLoop(to: request, loop, reply) }
        return self.respondOnLoop(to: request, loop) { response in
            if response.body.readableBytes <= APIResponse.compressedOnLoopMax { return reply(response.compressed) }
            Task(executorPreference: self.surroundings.executor ?? globalConcurrentExecutor) {
                let compressed = response.compressed
                loop.execute { reply(compressed) }
            }
        }
    }

    func respondOnLoop(
        to request: APIRequest, _ loop: any EventLoop, _ reply: @escaping @Sendable (APIResponse) -> Void
    ) -> Bool {
        guard request.isQuick else { return false }
        let finish: Route.LoopReply = { [noted = request.withoutBody] result in
            let response: APIResponse
            switch result {
            case .success(let answer): response = answer
            case .failure(let error): response = error.response
            }
            self.note(noted, response)
            reply(response)
        }
        do throws(APIError) {
            switch try self.way(of: request) {
            case .answer(let answer): finish(.success(answer))
            case .forward(let request): self.forward(request, loop, finish)
            case .look: return false
            case .handle(let request, let route):
                guard let handler = route.onLoop else { return false }
                try handler(self, request, loop, finish)
            }
        } catch {
            finish(.failure(error))
        }
        return true
    }

    /// `propose` for the hot way; `reply` is called on `loop`.
    func propose(
        _ command: LogCommand, _ request: APIRequest, _ loop: any EventLoop,
        _ reply: @escaping @Sendable (Result<LogResult, APIError>) -> Void
    ) {
        self.cluster.propose(
            command, identity: request.identity, timeout: self.settings.writeTimeout, number: request.number
        ) { result in
            loop.run {
                switch result {
                case .success(let result):
                    if case .failure(let failure)? = result.kind { return reply(.failure(APIError(failure))) }
                    reply(.success(result))
                case .failure(let error): reply(.failure(APIError(error)))
                }
            }
        }
    }
}

extension APIRequest {
    /// For what is kept until the answer comes: a body is a part of the socket's buffer, which is used again only when
    /// nobody holds it.
    var withoutBody: APIRequest {
        var request = self
        request.body = ByteBuffer()
        return request
    }
}

extension EventLoop {
    /// At once when this is the loop's thread already.
    func run(_ body: @escaping @Sendable () -> Void) {
        if self.inEventLoop { body() } else { self.execute(body) }
    }
}
