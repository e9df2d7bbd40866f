import Registry
import Units

// How rows look in answers (Consul's API pages Catalog, Health, KV, Session): Go's field names and order.
extension JSONWriter {
    mutating func kvEntry(_ entry: KVEntry) {
        self.kvEntry(
            key: entry.key.bytes, value: entry.value, flags: entry.flags, lockIndex: entry.lockIndex,
            session: entry.session, createIndex: entry.createIndex, modifyIndex: entry.modifyIndex)
    }

    mutating func kvEntry(
        key: [UInt8], value: some Collection<UInt8>, flags: UInt64, lockIndex: UInt64, session: String,
        createIndex: UInt64, modifyIndex: UInt64
    ) {
        self.object { writer in
            writer.key("LockIndex")
            writer.number(lockIndex)
            writer.key("Key")
            writer.string(bytes: key)
            writer.key("Flags")
            writer.number(flags)
            writer.key("Value")
            writer.base64(value)
            if !session.isEmpty {
                writer.key("Session")
                writer.string(session)
            }
            writer.indexes(createIndex, modifyIndex)
        }
    }

    mutating func indexes(_ create: UInt64, _ modify: UInt64) {
        self.key("CreateIndex")
        self.number(create)
        self.key("ModifyIndex")
        self.number(modify)
    }

    mutating func session(_ session: Session) {
        self.object { writer in
            writer.field("ID", session.id)
            writer.field("Name", session.name)
            writer.field("Node", session.node)
            writer.key("LockDelay")
            writer.number(session.lockDelay.rawValue)
            writer.field("Behavior", session.behavior == .delete ? "delete" : "release")
            writer.field("TTL", session.ttlText)
            writer.key("NodeChecks")
            writer.strings(session.nodeChecks)
            writer.key("ServiceChecks")
            if session.serviceChecks.isEmpty {
                writer.null()
            } else {
                writer.array(session.serviceChecks) { writer, id in
                    writer.object {
                        $0.field("ID", id)
                        $0.field("Namespace", "")
                    }
                }
            }
            writer.indexes(session.createIndex, session.modifyIndex)
        }
    }

    mutating func field(_ name: StaticString, _ text: String) {
        self.key(name)
        self.string(text)
    }

    /// Left out when empty (Go's `omitempty`).
    mutating func optionalField(_ name: StaticString, _ text: String) {
        if !text.isEmpty { self.field(name, text) }
    }

    mutating func strings(_ texts: [String]) {
        self.array(texts) { $0.string($1) }
    }

    /// `null` when empty, as Go writes a map that was never made.
    mutating func map(_ map: StringMap) {
        if map.isEmpty { self.null() } else { self.mapOrEmpty(map) }
    }

    mutating func mapOrEmpty(_ map: StringMap) {
        self.object { writer in
            for pair in map.pairs {
                writer.key(text: pair.key)
                writer.string(pair.value)
            }
        }
    }

    mutating func node(_ node: Node) {
        self.object { writer in
            writer.nodeFields(node, metaName: "Meta")
            writer.indexes(node.createIndex, node.modifyIndex)
        }
    }

    mutating func nodeFields(_ node: Node, metaName: StaticString) {
        self.field("ID", node.id)
        self.field("Node", node.name)
        self.field("Address", node.address)
        self.field("Datacenter", node.datacenter)
        self.key("TaggedAddresses")
        self.map(node.taggedAddresses)
        self.key(metaName)
        self.map(node.meta)
    }

    /// `null` when there are none, as Go writes a list that was never made.
    mutating func stringsOrNull(_ texts: [String]) {
        if texts.isEmpty { self.null() } else { self.strings(texts) }
    }

    /// A service inside a node's or a health answer.
    /// - Parameter noTagsAreNull: otherwise they are an empty list.
    mutating func service(_ service: ServiceInstance, noTagsAreNull: Bool = false) {
        self.object { writer in
            writer.optionalField("Kind", service.kind)
            writer.field("ID", service.id)
            writer.field("Service", service.name)
            writer.key("Tags")
            if noTagsAreNull { writer.stringsOrNull(service.tags) } else { writer.strings(service.tags) }
            writer.field("Address", service.address)
            if !service.taggedAddresses.isEmpty {
                writer.key("TaggedAddresses")
                writer.taggedAddresses(service.taggedAddresses)
            }
            writer.key("Meta")
            writer.map(service.meta)
            writer.key("Port")
            writer.number(UInt64(service.port))
            writer.optionalField("SocketPath", service.socketPath)
            writer.key("Weights")
            writer.weights(service.weightPassing, service.weightWarning)
            writer.key("EnableTagOverride")
            writer.bool(service.enableTagOverride)
            writer.key("Proxy")
            writer.proxy(service.proxyJSON)
            writer.key("Connect")
            writer.raw(json: service.connectJSON.isEmpty ? Array("{}".utf8) : service.connectJSON)
            writer.indexes(service.createIndex, service.modifyIndex)
        }
    }

    mutating func weights(_ passing: UInt32, _ warning: UInt32) {
        self.object { writer in
            writer.key("Passing")
            writer.number(UInt64(passing))
            writer.key("Warning")
            writer.number(UInt64(warning))
        }
    }

    mutating func proxy(_ json: [UInt8]) {
        self.raw(json: json.isEmpty ? emptyProxy : json)
    }

    mutating func taggedAddresses(_ addresses: [TaggedServiceAddress]) {
        self.object { writer in
            for address in addresses {
                writer.key(text: address.tag)
                writer.object {
                    $0.field("Address", address.address)
                    $0.key("Port")
                    $0.number(UInt64(address.port))
                }
            }
        }
    }

    /// An instance in `/v1/catalog/service/:name`: flat.
    mutating func catalogInstance(_ instance: CatalogInstance) {
        let service = instance.service
        self.object { writer in
            writer.nodeFields(instance.node, metaName: "NodeMeta")
            writer.field("ServiceKind", service.kind)
            writer.field("ServiceID", service.id)
            writer.field("ServiceName", service.name)
            writer.key("ServiceTags")
            writer.strings(service.tags)
            writer.field("ServiceAddress", service.address)
            if !service.taggedAddresses.isEmpty {
                writer.key("ServiceTaggedAddresses")
                writer.taggedAddresses(service.taggedAddresses)
            }
            writer.key("ServiceWeights")
            writer.weights(service.weightPassing, service.weightWarning)
            writer.key("ServiceMeta")
            writer.mapOrEmpty(service.meta)
            writer.key("ServicePort")
            writer.number(UInt64(service.port))
            writer.optionalField("ServiceSocketPath", service.socketPath)
            writer.key("ServiceEnableTagOverride")
            writer.bool(service.enableTagOverride)
            writer.key("ServiceProxy")
            writer.proxy(service.proxyJSON)
            writer.key("ServiceConnect")
            writer.raw(json: service.connectJSON.isEmpty ? Array("{}".utf8) : service.connectJSON)
            writer.indexes(service.createIndex, service.modifyIndex)
        }
    }

    mutating func check(_ check: HealthCheck, noTagsAreNull: Bool = false) {
        self.object { writer in
            writer.field("Node", check.node)
            writer.field("CheckID", check.id)
            writer.field("Name", check.name)
            writer.field("Status", check.status.rawValue)
            writer.field("Notes", check.notes)
            writer.field("Output", check.output)
            writer.field("ServiceID", check.serviceID)
            writer.field("ServiceName", check.serviceName)
            writer.key("ServiceTags")
            if noTagsAreNull { writer.stringsOrNull(check.serviceTags) } else { writer.strings(check.serviceTags) }
            writer.field("Type", check.type)
            writer.field("Interval", check.interval)
            writer.field("Timeout", check.timeout)
            writer.key("ExposedPort")
            writer.number(0)
            writer.key("Definition")
            writer.raw(json: check.definitionJSON.isEmpty ? Array("{}".utf8) : check.definitionJSON)
            writer.indexes(check.createIndex, check.modifyIndex)
        }
    }

    mutating func checks(_ checks: [HealthCheck]) {
        self.array(checks) { $0.check($1) }
    }
}

private let emptyProxy = Array(#"{"Mode":"","MeshGateway":{},"Expose":{}}"#.utf8)
