import DNSCodec
import Registry
import Units

extension ResponderWork {
    /// The domain itself: SOA, NS, and under `ns` the servers' addresses.
    mutating func answerApex(isNameServer: Bool) {
        let type = self.question.type
        let servers = self.order.shuffle(self.lookup(service: "consul")).prefix(3)
        if !isNameServer, [.soa, .ns, .any].contains(type) {
            if type != .ns { self.answers.append(self.startOfAuthority) }
            let names = self.nameServers(servers)
            if type == .soa { self.authority = names } else { self.answers += names }
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

    /// The servers as NS records, their addresses beside them.
    private mutating func nameServers(_ servers: ArraySlice<ServiceHealth>) -> [DNSRecord] {
        let timeToLive = self.settings.nodeTimeToLive
        var records: [DNSRecord] = []
        for server in servers {
            guard let name = self.name(of: server.node) else { continue }
            records.append(DNSRecord(name: self.domain, timeToLive: timeToLive, data: .ns(name)))
            let address = self.anyAddressRecord(server.node.address, name: name, timeToLive: timeToLive)
            self.addAdditional(address.map { [$0] } ?? [])
        }
        return records
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

    /// Nodes at an address, and services whose instances have it for their own.
    mutating func answerReverse(_ reverse: ReverseName) {
        switch reverse {
        case .malformed:
            self.isForeign = true
            self.concludeUnknown()
        case .network:
            self.isForeign = true
            self.concludeEmpty()
        case .address(let address):
            // The whole catalog is looked through, so what was found is kept, nothing too.
            let prepared = self.prepared(.names(address)) { $0.prepareNames(at: address) }
            guard prepared.isThere else {
                self.isForeign = true
                self.concludeUnknown()
                return
            }
            if self.question.type == .ptr || self.question.type == .any {
                self.answers += prepared.items.map {
                    DNSRecord(name: self.question.name, timeToLive: self.settings.nodeTimeToLive, data: $0.data)
                }
            }
            self.concludeEmpty()
        }
    }

    private func prepareNames(at address: IPAddress) -> PreparedAnswer {
        let nodes = self.lookup(nodesAt: address).compactMap { self.name(of: $0) }
        let services = self.lookup(servicesAt: address).compactMap { name in
            self.below(name, "service", self.settings.datacenter)
        }
        let names = nodes + services
        return PreparedAnswer(isThere: !names.isEmpty, items: names.map { PreparedAnswer.Item(data: .ptr($0)) })
    }
}
