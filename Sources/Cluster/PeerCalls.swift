import Protocol
import Raft
import Transport
import Units

extension PeerPool {
    /// A call over the connection to `address`, made when there is none.
    func call(
        _ request: PeerRequest, to address: String, timeout: Nanoseconds
    ) async throws(TransportError) -> PeerResponse {
        try await self.connection(to: address).call(
            request, timeout: .nanoseconds(Int64(clamping: timeout.rawValue)))
    }

    /// As `call`, with an answer that says that the request failed turned into nil, and every error too.
    func ask(_ request: PeerRequest, of address: String, timeout: Nanoseconds) async -> PeerResponse? {
        guard let response = try? await self.call(request, to: address, timeout: timeout), response.error.isEmpty else {
            return nil
        }
        return response
    }
}
