import Units

// The canonical form of each row: what is hashed, and what a row stream carries. A changed form needs a new stream
// version and a new feature level, since servers compare hashes.

extension KVEntry: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) {
        sink.bytes(self.key.bytes)
        sink.bytes(self.value)
        sink.number(self.flags)
        sink.number(self.lockIndex)
        sink.text(self.session)
        sink.number(self.createIndex)
        sink.number(self.modifyIndex)
    }

    init(_ reader: inout RowReader) throws(RegistryError) {
        self.init(
            key: ByteKey(try reader.bytes()), value: try reader.bytes(), flags: try reader.number(),
            lockIndex: try reader.number(), session: try reader.text(), createIndex: try reader.number(),
            modifyIndex: try reader.number())
    }
}

extension Tombstone: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) {
        sink.number(self.index)
        sink.number(self.wallTime)
    }
}

extension LockDelay: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) { sink.number(self.until) }
}

extension RevokedNode: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) { sink.text(self.name) }
}

extension ClientWindow: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) {
        sink.number(self.floor)
        sink.number(self.kept)
        sink.number(self.seenWall)
        sink.number(self.seenIndex)
    }
}

extension StoredResult: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) {
        switch self {
        case .plain(let index, let ok):
            sink.number(ok ? 1 : 0)
            sink.number(index)
        case .encoded(let bytes):
            sink.number(2)
            sink.bytes(bytes)
        case .tooLarge:
            sink.number(3)
        }
    }

    init(_ reader: inout RowReader) throws(RegistryError) {
        switch try reader.number() {
        case 0: self = .plain(index: try reader.number(), ok: false)
        case 1: self = .plain(index: try reader.number(), ok: true)
        case 2: self = .encoded(try reader.bytes())
        case 3: self = .tooLarge
        case let kind: throw .badRow("a stored result of kind \(kind)")
        }
    }
}

extension Session: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) {
        sink.text(self.id)
        sink.text(self.name)
        sink.text(self.node)
        sink.texts(self.nodeChecks)
        sink.texts(self.serviceChecks)
        sink.number(self.lockDelay.rawValue)
        sink.number(UInt64(self.behavior.rawValue))
        sink.number(self.ttl.rawValue)
        sink.text(self.ttlText)
        sink.number(self.createIndex)
        sink.number(self.modifyIndex)
    }

    init(_ reader: inout RowReader) throws(RegistryError) {
        let id = try reader.text()
        let name = try reader.text()
        let node = try reader.text()
        let nodeChecks = try reader.texts()
        let serviceChecks = try reader.texts()
        let lockDelay = Nanoseconds(try reader.number())
        let behavior = try reader.number()
        guard behavior <= 1 else { throw .badRow("session behavior \(behavior)") }
        self.init(
            id: id, name: name, node: node, nodeChecks: nodeChecks, serviceChecks: serviceChecks, lockDelay: lockDelay,
            behavior: behavior == 0 ? .release : .delete, ttl: Nanoseconds(try reader.number()),
            ttlText: try reader.text(), createIndex: try reader.number(), modifyIndex: try reader.number())
    }
}

extension Node: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) {
        sink.text(self.id)
        sink.text(self.name)
        sink.text(self.address)
        sink.text(self.datacenter)
        sink.map(self.taggedAddresses)
        sink.map(self.meta)
        sink.number(self.createIndex)
        sink.number(self.modifyIndex)
    }

    init(_ reader: inout RowReader) throws(RegistryError) {
        self.init(
            id: try reader.text(), name: try reader.text(), address: try reader.text(), datacenter: try reader.text(),
            taggedAddresses: try reader.map(), meta: try reader.map(), createIndex: try reader.number(),
            modifyIndex: try reader.number())
    }
}

extension ServiceInstance: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) {
        sink.text(self.node)
        sink.text(self.id)
        sink.text(self.name)
        sink.text(self.kind)
        sink.texts(self.tags)
        sink.text(self.address)
        sink.number(UInt64(self.port))
        sink.number(UInt64(self.taggedAddresses.count))
        for tagged in self.taggedAddresses {
            sink.text(tagged.tag)
            sink.text(tagged.address)
            sink.number(UInt64(tagged.port))
        }
        sink.map(self.meta)
        sink.number(UInt64(self.weightPassing))
        sink.number(UInt64(self.weightWarning))
        sink.number(self.enableTagOverride ? 1 : 0)
        sink.text(self.socketPath)
        sink.bytes(self.proxyJSON)
        sink.bytes(self.connectJSON)
        sink.number(self.createIndex)
        sink.number(self.modifyIndex)
    }

    init(_ reader: inout RowReader) throws(RegistryError) {
        self.init(node: try reader.text(), id: try reader.text(), name: try reader.text())
        self.kind = try reader.text()
        self.tags = try reader.texts()
        self.address = try reader.text()
        self.port = try reader.number32()
        for _ in 0..<(try reader.count()) {
            self.taggedAddresses.append(
                TaggedServiceAddress(
                    tag: try reader.text(), address: try reader.text(), port: try reader.number32()))
        }
        self.meta = try reader.map()
        self.weightPassing = try reader.number32()
        self.weightWarning = try reader.number32()
        self.enableTagOverride = try reader.number() != 0
        self.socketPath = try reader.text()
        self.proxyJSON = try reader.bytes()
        self.connectJSON = try reader.bytes()
        self.createIndex = try reader.number()
        self.modifyIndex = try reader.number()
    }
}

extension HealthCheck: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) {
        sink.text(self.node)
        sink.text(self.id)
        sink.text(self.name)
        sink.text(self.status.rawValue)
        sink.text(self.notes)
        sink.text(self.output)
        sink.text(self.serviceID)
        sink.text(self.serviceName)
        sink.texts(self.serviceTags)
        sink.text(self.type)
        sink.text(self.interval)
        sink.text(self.timeout)
        sink.bytes(self.definitionJSON)
        sink.number(self.createIndex)
        sink.number(self.modifyIndex)
    }

    init(_ reader: inout RowReader) throws(RegistryError) {
        self.init(node: try reader.text(), id: try reader.text(), name: try reader.text())
        let status = try reader.text()
        guard let known = CheckStatus(rawValue: status) else { throw .badRow("check status \(quoted(status))") }
        self.status = known
        self.notes = try reader.text()
        self.output = try reader.text()
        self.serviceID = try reader.text()
        self.serviceName = try reader.text()
        self.serviceTags = try reader.texts()
        self.type = try reader.text()
        self.interval = try reader.text()
        self.timeout = try reader.text()
        self.definitionJSON = try reader.bytes()
        self.createIndex = try reader.number()
        self.modifyIndex = try reader.number()
    }
}
