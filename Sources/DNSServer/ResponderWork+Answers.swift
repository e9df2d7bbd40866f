import DNSCodec
import Registry
import Units

extension ResponderWork {
    /// The domain itself: SOA, NS, and under `ns` the servers' addresses.
    mutating func answerApex(isNameServer: Bool) {
        let type = self.question.type
        if type == .soa || type == .any { self.answers.append(self.startOfAuthority) }
        let servers = self.order.shuffle(self.lookup(service: "consul")).prefix(3)
        if type == .ns || type == .any {
            for server in servers {
                guard let name = self.name(of: server.node) else { continue }
                self.answers.append(DNSRecord(name: self.domain, data: .ns(name)))
                let address = self.anyAddressRecord(
                    server.node.address, name: name, timeToLive: self.settings.nodeTimeToLive)
                self.addAdditional(address.map { [$0] } ?? [])
            }
        }
        if isNameServer {
            for server in servers where IPAddress(server.node.address) != nil {
                let record = self.addressRecord(
                    server.node.address, name: self.question.name, timeToLive: self.settings.nodeTimeToLive)
                if let record, !self.answers.contains(record) { self.answers.append(record) }
            }
        }
        self.concludeEmpty()
    }

    mutating func answerNode(_ name: String) {
        guard let node = self.lookup(node: name) else {
            self.concludeUnknown()
            return
        }
        let owner = self.question.name
        let address = self.addressRecord(node.address, name: owner, timeToLive: self.settings.nodeTimeToLive)
        if let address { self.answers.append(address) }
        let meta = self.metaRecords(node, name: owner)
        if self.question.type == .txt || self.question.type == .any {
            // Beside a CNAME there is no other record (RFC 1034 §3.6.2).
            if case .cname? = address?.data { return }
            self.answers += meta
        } else if self.asksAddresses, self.settings.nodeMetaInAdditional {
            self.addAdditional(meta)
        }
        self.concludeEmpty()
    }

    mutating func answerAddress(_ address: IPAddress) {
        switch (address, self.question.type) {
        case (.v4(let bytes), .a), (.v4(let bytes), .any):
            self.answers = [
                DNSRecord(name: self.question.name, timeToLive: self.settings.nodeTimeToLive, data: .a(bytes))
            ]
        case (.v6(let bytes), .aaaa), (.v6(let bytes), .any):
            self.answers = [
                DNSRecord(name: self.question.name, timeToLive: self.settings.nodeTimeToLive, data: .aaaa(bytes))
            ]
        default: break
        }
        self.concludeEmpty()
    }

    mutating func answerReverse(_ reverse: ReverseName) {
        switch reverse {
        case .malformed: self.concludeUnknown()
        case .network: self.concludeEmpty()
        case .address(let address):
            let nodes = self.lookup(nodesAt: address)
            if nodes.isEmpty {
                self.concludeUnknown()
                return
            }
            if self.question.type == .ptr || self.question.type == .any {
                for node in nodes {
                    guard let name = self.name(of: node) else { continue }
                    self.answers.append(
                        DNSRecord(
                            name: self.question.name, timeToLive: self.settings.nodeTimeToLive, data: .ptr(name)))
                }
            }
            self.concludeEmpty()
        }
    }

    // MARK: - services

    mutating func answerService(_ name: String, tag: String?) {
        let wanted = tag?.lowercased()
        let instances = self.lookup(service: name).filter { instance in
            if instance.status == .critical { return false }
            if self.settings.onlyPassing && instance.status != .passing { return false }
            guard let wanted else { return true }
            return instance.service.tags.contains { $0.lowercased() == wanted }
        }
        if instances.isEmpty {
            self.concludeUnknown()
            return
        }
        let shuffled = self.order.shuffle(instances)
        let timeToLive = self.settings.timeToLive(ofService: name)
        if self.question.type == .srv {
            self.answerLocations(shuffled, timeToLive: timeToLive)
        } else if self.asksAddresses {
            self.answerAddresses(shuffled, timeToLive: timeToLive)
        }
        self.concludeEmpty()
    }

    /// One A or AAAA per address. An instance whose address is a host name becomes a CNAME, and since that stands alone,
    /// only when no other instance has an address of its own to give.
    private mutating func answerAddresses(_ instances: [ServiceHealth], timeToLive: UInt32) {
        var limit = Int.max
        if self.settings.addressRecordLimit > 0 { limit = self.settings.addressRecordLimit }
        if self.isPlainUDP { limit = min(limit, self.settings.udpAnswerLimit) }
        var alias: DNSRecord?
        var seen: Set<String> = []
        for instance in instances {
            let address = instance.service.address.isEmpty ? instance.node.address : instance.service.address
            guard seen.insert(address).inserted,
                let record = self.addressRecord(address, name: self.question.name, timeToLive: timeToLive)
            else { continue }
            if case .cname = record.data {
                alias = alias ?? record
            } else if self.answers.count < limit {
                self.answers.append(record)
                if self.settings.nodeMetaInAdditional {
                    self.addAdditional(self.metaRecords(instance.node, name: self.question.name))
                }
            }
        }
        if self.answers.isEmpty, let alias { self.answers = [alias] }
    }

    /// One SRV per target and port (RFC 2782), with the targets' addresses beside them.
    private mutating func answerLocations(_ instances: [ServiceHealth], timeToLive: UInt32) {
        let limit = self.isPlainUDP ? self.settings.udpAnswerLimit : Int.max
        var seen: Set<DNSRecordData> = []
        for instance in instances where self.answers.count < limit {
            guard let (target, addresses) = self.target(of: instance, timeToLive: timeToLive) else { continue }
            let weight = instance.status == .warning ? instance.service.weightWarning : instance.service.weightPassing
            let location = DNSServiceLocation(
                priority: 1, weight: UInt16(clamping: weight), port: UInt16(clamping: instance.service.port),
                target: target)
            // The same place under two weights is still one place.
            let place = DNSServiceLocation(priority: 1, weight: 0, port: location.port, target: target)
            guard seen.insert(.srv(place)).inserted else { continue }
            self.answers.append(DNSRecord(name: self.question.name, timeToLive: timeToLive, data: .srv(location)))
            self.addAdditional(addresses)
        }
    }

    /// Where an instance is found: its node's name, its own address as a name, or its host name.
    private func target(of instance: ServiceHealth, timeToLive: UInt32) -> (DNSName, [DNSRecord])? {
        let own = instance.service.address
        let datacenter = self.datacenter(of: instance.node)
        if own.isEmpty, let name = self.name(of: instance.node) {
            let address = self.anyAddressRecord(instance.node.address, name: name, timeToLive: timeToLive)
            let meta = self.settings.nodeMetaInAdditional ? self.metaRecords(instance.node, name: name) : []
            return (name, (address.map { [$0] } ?? []) + meta)
        }
        let text = own.isEmpty ? instance.node.address : own
        if let address = IPAddress(text) {
            guard let name = self.name(of: address, datacenter: datacenter),
                let record = self.anyAddressRecord(text, name: name, timeToLive: timeToLive)
            else { return nil }
            return (name, [record])
        }
        guard let name = try? DNSName(text), !name.isRoot else { return nil }
        return (name, [])
    }
}
