import Raft
import Units

/// An entry's payload as the log's `kind` and `data` columns.
enum EntryCoding {
    static let noop: UInt8 = 0
    static let command: UInt8 = 1
    static let configuration: UInt8 = 2

    static func kind(of payload: Payload) -> UInt8 {
        switch payload {
        case .noop: Self.noop
        case .command: Self.command
        case .configuration: Self.configuration
        }
    }

    static func data(of payload: Payload) -> [UInt8] {
        switch payload {
        case .noop: []
        case .command(let bytes): bytes
        case .configuration(let configuration): Self.encode(configuration)
        }
    }

    /// nil when the kind is unknown or the bytes are no configuration.
    static func payload(kind: UInt8, data: [UInt8]) -> Payload? {
        switch kind {
        case Self.noop: data.isEmpty ? .noop : nil
        case Self.command: .command(data)
        case Self.configuration: Self.decodeConfiguration(data).map { .configuration($0) }
        default: nil
        }
    }

    static func encode(_ configuration: Configuration) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(UInt8(configuration.isJoint ? 1 : 0))
        for members in [configuration.voters, configuration.outgoing ?? [], configuration.learners] {
            writer.put(UInt32(members.count))
            for member in members {
                writer.put(member.id.rawValue)
                writer.put(member.name)
                writer.put(member.address)
            }
        }
        return writer.bytes
    }

    static func decodeConfiguration(_ bytes: [UInt8]) -> Configuration? {
        var reader = ByteReader(bytes)
        guard let joint = reader.take(UInt8.self), joint <= 1 else { return nil }
        var lists: [[Member]] = []
        for _ in 0..<3 {
            guard let count = reader.take(UInt32.self) else { return nil }
            var members: [Member] = []
            for _ in 0..<count {
                guard let id = reader.take(UInt64.self), let name = reader.takeText(), let address = reader.takeText()
                else { return nil }
                members.append(Member(id: NodeID(id), name: name, address: address))
            }
            lists.append(members)
        }
        guard reader.isAtEnd, joint == 1 || lists[1].isEmpty else { return nil }
        return Configuration(voters: lists[0], outgoing: joint == 1 ? lists[1] : nil, learners: lists[2])
    }

    static func encode(_ meta: SnapshotMeta) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(meta.index.rawValue)
        writer.put(meta.term.rawValue)
        writer.put(sized: Self.encode(meta.configuration))
        writer.put(meta.configurationIndex.rawValue)
        writer.put(meta.totalBytes)
        writer.put(sized: meta.sha256)
        writer.put(sized: meta.chain)
        return writer.bytes
    }

    static func decodeMeta(_ bytes: [UInt8]) -> SnapshotMeta? {
        var reader = ByteReader(bytes)
        guard let index = reader.take(UInt64.self), let term = reader.take(UInt64.self),
            let configuration = reader.takeSized().flatMap(Self.decodeConfiguration),
            let configurationIndex = reader.take(UInt64.self), let totalBytes = reader.take(UInt64.self),
            let sha256 = reader.takeSized(), sha256.count == 32,
            let chain = reader.takeSized(), chain.count == Chain.byteCount, reader.isAtEnd
        else { return nil }
        return SnapshotMeta(
            index: LogIndex(index), term: Term(term), configuration: configuration,
            configurationIndex: LogIndex(configurationIndex), totalBytes: totalBytes, sha256: sha256, chain: chain)
    }
}
