import Cluster
import NIOCore
import Units

/// `/v1/snapshot` (Consul's API pages Snapshot, Operator): backups of the whole state, streamed in both directions.
enum SnapshotHandlers {
    static func save(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let archive: SnapshotArchive
        do throws(ClusterError) {
            archive = try await api.snapshot.save(stale: request.query.has("stale"))
        } catch {
            throw APIError(error)
        }
        var response = APIResponse(
            content: .gzip, mark: ReadMark(index: archive.index, knownLeader: true, lastContact: .zero))
        response.stream = archive.bytes
        return response
    }

    static func restore(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        do throws(ClusterError) {
            try await api.snapshot.restore(request.stream ?? BodyStream(whole: request.body))
        } catch {
            var refusal = APIError(error)
            // The rest of the archive was not read.
            refusal.closes = true
            throw refusal
        }
        return .empty
    }
}
