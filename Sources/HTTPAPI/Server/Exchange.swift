import NIOCore
import NIOHTTP1

extension HTTPAPI {
    /// One exchange as a connection makes it, for those who have no socket: a quick request is answered on the loop, any
    /// other in a task. Bodies that are streams are not taken here.
    /// - Parameter reply: gets the answer's bytes, once.
    /// - Returns: the task, if there is one; cancelling it is how the client goes away.
    package func exchange(
        _ head: HTTPRequestHead, body: ByteBuffer, on loop: any EventLoop,
        reply: @escaping @Sendable (ByteBuffer) -> Void
    ) -> Task<Void, Never>? {
        let write: @Sendable (APIResponse) -> Void = { response in
            var bytes = response.encodedHead(
                contentLength: response.body.readableBytes, closes: response.closes, policy: self.settings.defaultPolicy
            )
            bytes.writeImmutableBuffer(response.body)
            reply(bytes)
        }
        if case .collect(let limit) = self.bodyRule(for: head), body.readableBytes > limit {
            write(self.refuseTooLarge(head, size: body.readableBytes))
            return nil
        }
        if self.respondOnLoop(to: head, body: body, loop, write) { return nil }
        return Task(executorPreference: self.surroundings.executor) {
            write(await self.respond(to: head, body: body, stream: nil, connection: nil))
        }
    }
}
