import DNSCodec
import Registry
import Units

extension ResponderWork {
    mutating func answerService(_ name: String, tag: String?) {
        let isLocation = self.question.type == .srv
        let wanted = tag?.lowercased()
        let (service, tag) = (ByteKey(name.utf8.map(Self.folded)), wanted.map { ByteKey($0) })
        let prepared = self.prepared(
            isLocation ? .locations(service: service, tag: tag) : .addresses(service: service, tag: tag)
        ) { $0.prepare(name, tag: wanted, isLocation: isLocation) }
        guard prepared.isThere else {
            self.concludeUnknown()
            return
        }
        let timeToLive = self.settings.timeToLive(ofService: name)
        if isLocation {
            self.answerLocations(prepared.items, timeToLive: timeToLive)
        } else if self.asksAddresses {
            self.answerAddresses(prepared.items, timeToLive: timeToLive)
        }
        self.concludeEmpty()
    }

    /// More than a message of 64 KiB holds; to add to more would take ever longer and say nothing.
    private static let maximumAdditional = 4096

    private static func folded(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }

    /// One A or AAAA per address. An instance whose address is a host name becomes a CNAME, and since that stands alone,
    /// only when no other instance has an address of its own to give.
    private mutating func answerAddresses(_ items: [PreparedAnswer.Item], timeToLive: UInt32) {
        let wanted = items.filter { item in
            switch item.data {
            case .a: self.question.type != .aaaa
            case .aaaa: self.question.type != .a
            case .cname, .ns, .soa, .ptr, .txt, .srv, .other: false
            }
        }
        var limit = Int.max
        if self.settings.addressRecordLimit > 0 { limit = self.settings.addressRecordLimit }
        self.take(wanted, limit: limit, timeToLive: timeToLive)
        let targets = items.compactMap { if case .cname(let target) = $0.data { target } else { nil } }
        if targets.count == items.count {
            let aliases = items.filter { $0.data != .cname(self.question.name) }
            self.take(aliases, limit: 1, timeToLive: timeToLive)
        }
    }

    /// One SRV per target and port (RFC 2782), with the targets' addresses beside them.
    private mutating func answerLocations(_ items: [PreparedAnswer.Item], timeToLive: UInt32) {
        for item in self.take(items, limit: .max, timeToLive: timeToLive) {
            // An address for each location, also when several are at one, as Consul has it: HAProxy gives each address to
            // one location and leaves the others without.
            self.additional += item.additional
            if let host = item.host, self.additional.count < Self.maximumAdditional { self.addHost(host) }
        }
    }

    /// Appends so many of the items as there may be, in an order of this answer's own.
    @discardableResult private mutating func take(
        _ items: [PreparedAnswer.Item], limit: Int, timeToLive: UInt32
    ) -> ArraySlice<PreparedAnswer.Item> {
        var taken = self.order.shuffle(items).prefix(limit)
        if self.isPlainUDP, taken.count > self.settings.udpAnswerLimit {
            taken = taken.prefix(self.settings.udpAnswerLimit)
            self.wasLimited = true
        }
        self.answers += taken.map {
            DNSRecord(name: self.question.name, timeToLive: timeToLive, data: $0.data)
        }
        return taken
    }

    // MARK: - what is kept

    /// From the cache, or made now.
    func prepared(_ kind: AnswerCache.Key.Kind, make: (ResponderWork) -> PreparedAnswer) -> PreparedAnswer {
        guard let cache = self.cache else { return make(self) }
        return cache.answer(AnswerCache.Key(kind: kind, domain: self.domain), in: self.registry) { make(self) }
    }

    /// - Parameter tag: in lower case; nil: no filter.
    private func prepare(_ name: String, tag: String?, isLocation: Bool) -> PreparedAnswer {
        let instances = self.lookup(service: name).filter { instance in
            if instance.status == .critical { return false }
            if self.settings.onlyPassing && instance.status != .passing { return false }
            guard let tag else { return true }
            return instance.service.tags.contains { $0.lowercased().utf8.elementsEqual(tag.utf8) }
        }
        var prepared = PreparedAnswer(isThere: !instances.isEmpty)
        let timeToLive = self.settings.timeToLive(ofService: name)
        var seen: Set<DNSRecordData> = []
        for instance in instances {
            let made = isLocation ? self.location(of: instance, timeToLive: timeToLive) : self.address(of: instance)
            if let (identity, item) = made, seen.insert(identity).inserted { prepared.items.append(item) }
        }
        return prepared
    }

    private func address(of instance: ServiceHealth) -> (DNSRecordData, PreparedAnswer.Item)? {
        let text = instance.service.address.isEmpty ? instance.node.address : instance.service.address
        let data: DNSRecordData
        switch IPAddress(text) {
        case .v4(let bytes)?: data = .a(bytes)
        case .v6(let bytes)?: data = .aaaa(bytes)
        case nil:
            guard let target = try? DNSName(text), !target.isRoot else { return nil }
            data = .cname(target)
        }
        return (data, PreparedAnswer.Item(data: data))
    }

    /// Where an instance is found: its node's name, its own address as a name, or its host name. The node's metadata goes
    /// along under the node's name.
    private func location(
        of instance: ServiceHealth, timeToLive: UInt32
    ) -> (DNSRecordData, PreparedAnswer.Item)? {
        let own = instance.service.address
        let nodeName = self.name(of: instance.node)
        let text = own.isEmpty ? instance.node.address : own
        let target: DNSName
        var host: DNSName?
        var additional: [DNSRecord] = []
        if let address = IPAddress(text) {
            let byAddress = self.name(of: address, datacenter: self.datacenter(of: instance.node))
            guard let name = own.isEmpty ? nodeName ?? byAddress : byAddress else { return nil }
            target = name
            additional = self.anyAddressRecord(text, name: name, timeToLive: timeToLive).map { [$0] } ?? []
        } else {
            guard let name = try? DNSName(text), !name.isRoot else { return nil }
            target = name
            host = name
        }
        if self.settings.nodeMetaInAdditional, let nodeName {
            additional += self.metaRecords(instance.node, name: nodeName)
        }
        let port = UInt16(clamping: instance.service.port)
        let data = DNSRecordData.srv(
            DNSServiceLocation(priority: 1, weight: self.weight(of: instance), port: port, target: target))
        // The same place under two weights is still one place.
        let identity = DNSRecordData.srv(DNSServiceLocation(priority: 1, weight: 0, port: port, target: target))
        return (identity, PreparedAnswer.Item(data: data, additional: additional, host: host))
    }

    /// A weight of 0 was left out at the registration: it counts as 1.
    private func weight(of instance: ServiceHealth) -> UInt16 {
        let weight = instance.status == .warning ? instance.service.weightWarning : instance.service.weightPassing
        return UInt16(clamping: max(weight, 1))
    }
}
