import Protocol
import Units

// From the log's messages to rows and back. Maps are sorted here, once.

extension Session {
    init(_ message: LogSessionCreate, at index: UInt64) throws(CommandFailure) {
        let behavior: SessionBehavior
        switch message.behavior {
        case .sessionRelease: behavior = .release
        case .sessionDelete: behavior = .delete
        case .UNRECOGNIZED(let value): throw .stop(.unknownCommand("session behavior \(value)", LogIndex(index)))
        }
        self.init(
            id: message.id, name: message.name, node: message.node, nodeChecks: message.nodeChecks,
            serviceChecks: message.serviceChecks, lockDelay: Nanoseconds(message.lockDelayNs), behavior: behavior,
            ttl: Nanoseconds(message.ttlNs), ttlText: message.ttlText, createIndex: index, modifyIndex: index)
    }
}

extension StringMap {
    /// As messages carry it.
    public var dictionary: [String: String] {
        Dictionary(self.pairs.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
    }
}

extension Node {
    /// Indexes are left at 0.
    public init(_ message: LogNode) {
        self.init(
            id: message.id, name: message.name, address: message.address, datacenter: message.datacenter,
            taggedAddresses: StringMap(message.taggedAddresses), meta: StringMap(message.meta))
    }

    public var message: LogNode {
        var message = LogNode()
        message.id = self.id
        message.name = self.name
        message.address = self.address
        message.datacenter = self.datacenter
        message.taggedAddresses = self.taggedAddresses.dictionary
        message.meta = self.meta.dictionary
        return message
    }
}

extension ServiceInstance {
    /// Indexes are left at 0.
    public init(_ message: LogService, node: String) {
        self.init(
            node: node, id: message.id, name: message.name, kind: message.kind, tags: message.tags,
            address: message.address, port: message.port,
            taggedAddresses: message.taggedAddresses
                .map { TaggedServiceAddress(tag: $0.key, address: $0.value.address, port: $0.value.port) }
                .sorted { utf8Precedes($0.tag, $1.tag) },
            meta: StringMap(message.meta), weightPassing: message.weightPassing, weightWarning: message.weightWarning,
            enableTagOverride: message.enableTagOverride, socketPath: message.socketPath,
            proxyJSON: message.proxyJson.array, connectJSON: message.connectJson.array)
    }

    public var message: LogService {
        var message = LogService()
        message.id = self.id
        message.name = self.name
        message.kind = self.kind
        message.tags = self.tags
        message.address = self.address
        message.port = self.port
        for tagged in self.taggedAddresses {
            var address = LogServiceAddress()
            address.address = tagged.address
            address.port = tagged.port
            message.taggedAddresses[tagged.tag] = address
        }
        message.meta = self.meta.dictionary
        message.weightPassing = self.weightPassing
        message.weightWarning = self.weightWarning
        message.enableTagOverride = self.enableTagOverride
        message.socketPath = self.socketPath
        message.proxyJson.append(contentsOf: self.proxyJSON)
        message.connectJson.append(contentsOf: self.connectJSON)
        return message
    }
}

extension HealthCheck {
    /// Indexes are left at 0. A check without a status is critical, one without an id goes by its name.
    init(_ message: LogCheck, at index: UInt64) throws(CommandFailure) {
        var status = CheckStatus.critical
        if !message.status.isEmpty {
            guard let known = CheckStatus(rawValue: message.status) else {
                throw .invalid("Bad check status: \(quoted(message.status))")
            }
            status = known
        }
        self.init(
            node: message.node, id: message.id.isEmpty ? message.name : message.id, name: message.name, status: status,
            notes: message.notes, output: message.output, serviceID: message.serviceID,
            serviceName: message.serviceName, type: message.type, interval: message.interval,
            timeout: message.timeout, definitionJSON: message.definitionJson.array)
    }

    public var message: LogCheck {
        var message = LogCheck()
        message.node = self.node
        message.id = self.id
        message.name = self.name
        message.status = self.status.rawValue
        message.notes = self.notes
        message.output = self.output
        message.serviceID = self.serviceID
        message.serviceName = self.serviceName
        message.type = self.type
        message.interval = self.interval
        message.timeout = self.timeout
        message.definitionJson.append(contentsOf: self.definitionJSON)
        return message
    }
}

extension KVEntry {
    /// Writes answer without the value.
    func message(withValue: Bool) -> LogKVPair {
        var message = LogKVPair()
        message.key.append(contentsOf: self.key.bytes)
        if withValue { message.value.append(contentsOf: self.value) }
        message.flags = self.flags
        message.lockIndex = self.lockIndex
        message.session = self.session
        message.createIndex = self.createIndex
        message.modifyIndex = self.modifyIndex
        return message
    }
}

private func indexes(_ create: UInt64, _ modify: UInt64) -> LogIndexes {
    var indexes = LogIndexes()
    indexes.create = create
    indexes.modify = modify
    return indexes
}

extension LogTxnRow {
    init(_ entry: KVEntry, withValue: Bool) {
        self.init()
        self.kind = .kv(entry.message(withValue: withValue))
    }

    init(_ node: Node) {
        self.init()
        var row = LogNodeRow()
        row.node = node.message
        row.indexes = indexes(node.createIndex, node.modifyIndex)
        self.kind = .node(row)
    }

    init(_ service: ServiceInstance) {
        self.init()
        var row = LogServiceRow()
        row.node = service.node
        row.service = service.message
        row.indexes = indexes(service.createIndex, service.modifyIndex)
        self.kind = .service(row)
    }

    init(_ check: HealthCheck) {
        self.init()
        var row = LogCheckRow()
        row.check = check.message
        row.indexes = indexes(check.createIndex, check.modifyIndex)
        self.kind = .check(row)
    }
}
