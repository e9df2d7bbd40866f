import Cluster
import Units

/// `/v1/internal/debug/…`: what the server that is asked keeps on disk. Serai's own; values are never shown.
enum DebugHandlers {
    private static let defaultCount = 20

    static func log(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let from = try self.number("from", request)
        let count = try self.number("count", request) ?? UInt64(self.defaultCount)
        let most = LogLook.entriesMax
        guard (1...UInt64(most)).contains(count) else { throw APIError(400, "Invalid count: 1 to \(most)") }
        let look: LogLook
        do throws(ClusterError) {
            look = try await api.debug.log(from: from.map { LogIndex($0) }, count: Int(count))
        } catch {
            throw APIError(error)
        }
        return .json(request, capacity: 512 + look.entries.count * 96) { writer in
            writer.object { self.write(look, &$0) }
        }
    }

    private static func number(_ name: String, _ request: APIRequest) throws(APIError) -> UInt64? {
        guard let text = request.query.first(name), !text.isEmpty else { return nil }
        guard let number = UInt64(text), !text.hasPrefix("+") else { throw APIError(400, "Invalid \(name)") }
        return number
    }

    private static func write(_ look: LogLook, _ writer: inout JSONWriter) {
        writer.field("node", look.node)
        writer.field("cluster", look.cluster)
        writer.key("format")
        writer.number(look.format)
        writer.key("term")
        writer.number(look.term.rawValue)
        if let vote = look.votedFor { writer.field("votedFor", vote.uuid) }
        let indexes: [(StaticString, LogIndex?)] = [
            ("firstIndex", look.firstIndex), ("lastIndex", look.lastIndex), ("commitIndex", look.commitIndex),
            ("appliedIndex", look.appliedIndex), ("promisedIndex", look.promisedIndex),
            ("quarantinedUntil", look.quarantinedUntil),
        ]
        for case (let name, let index?) in indexes {
            writer.key(name)
            writer.number(index.rawValue)
        }
        writer.key("findings")
        writer.array { _ in }
        writer.key("entries")
        writer.array(look.entries) { writer, entry in
            writer.object { writer in
                writer.key("index")
                writer.number(entry.index.rawValue)
                writer.key("term")
                writer.number(entry.term.rawValue)
                writer.key("bytes")
                writer.number(entry.bytes)
                writer.field("entry", entry.text)
            }
        }
    }

    static func snapshots(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let snapshots: [SnapshotLook]
        do throws(ClusterError) {
            snapshots = try await api.debug.snapshots()
        } catch {
            throw APIError(error)
        }
        return .json(request, capacity: 1024) { writer in
            writer.array(snapshots) { writer, snapshot in
                writer.object { self.write(snapshot, &$0) }
            }
        }
    }

    private static func write(_ snapshot: SnapshotLook, _ writer: inout JSONWriter) {
        writer.field("name", snapshot.name)
        if let index = snapshot.index {
            writer.key("index")
            writer.number(index.rawValue)
        }
        if let term = snapshot.term {
            writer.key("term")
            writer.number(term.rawValue)
        }
        if !snapshot.servers.isEmpty { writer.field("servers", snapshot.servers) }
        writer.key("bytes")
        writer.number(snapshot.bytes)
        writer.key("rows")
        writer.object { writer in
            for (table, rows) in snapshot.rows {
                writer.key(text: table)
                writer.number(rows)
            }
        }
        if let flaw = snapshot.flaw { writer.field("flaw", flaw) }
    }
}
