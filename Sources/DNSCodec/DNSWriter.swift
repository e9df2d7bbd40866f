/// Writes a message with name compression (RFC 1035 §4.1.4). Since a pointer only looks back, every prefix of the
/// records is a whole message: what does not fit is simply not appended.
struct DNSWriter {
    private var bytes: [UInt8] = []
    /// Where a (folded) run of labels stands in `bytes`; only offsets that a pointer's fourteen bits can name.
    private var offsets: [ArraySlice<UInt8>: Int] = [:]

    /// False: every name is written out.
    private var compresses = true

    static func write(_ message: DNSMessage, limit: Int, compressing: Bool) throws(DNSCodecError) -> [UInt8] {
        var writer = DNSWriter()
        writer.compresses = compressing
        let extensionBytes = try message.extension.map { (value) throws(DNSCodecError) in
            try DNSWriter.optRecord(value, responseCode: message.responseCode)
        }
        let room = limit - (extensionBytes?.count ?? 0)
        writer.bytes = Array(repeating: 0, count: 12)
        var cut = false
        var counts: [Int] = []
        counts.append(
            try writer.section(message.questions, room: room, cut: &cut) { (writer, question) throws(DNSCodecError) in
                writer.question(question)
            })
        let records = { (writer: inout DNSWriter, record: DNSRecord) throws(DNSCodecError) in try writer.record(record)
        }
        counts.append(try writer.section(message.answers, room: room, cut: &cut, write: records))
        counts.append(try writer.section(message.authority, room: room, cut: &cut, write: records))
        let truncated = message.truncated || cut
        counts.append(try writer.section(message.additional, room: room, cut: &cut, write: records))
        if let extensionBytes {
            writer.bytes.append(contentsOf: extensionBytes)
            counts[3] += 1
        }
        writer.header(message, truncated: truncated, counts: counts)
        return writer.bytes
    }

    /// Appends elements up to the first that has no room; after a cut, none. Returns how many stand there.
    private mutating func section<Element>(
        _ elements: [Element], room: Int, cut: inout Bool,
        write: (inout DNSWriter, Element) throws(DNSCodecError) -> Void
    ) throws(DNSCodecError) -> Int {
        var count = 0
        for element in elements {
            // The header counts to 65,535, as does the OPT record's place among the additional ones.
            if cut || count == 65_534 {
                cut = true
                break
            }
            let mark = self.bytes.count
            try write(&self, element)
            if self.bytes.count > room {
                self.bytes.removeSubrange(mark...)
                // Offsets at or after the mark dangle now, but nothing is written after a cut.
                cut = true
                break
            }
            count += 1
        }
        return count
    }

    private mutating func header(_ message: DNSMessage, truncated: Bool, counts: [Int]) {
        var flags: UInt16 = 0
        if message.isResponse { flags |= 0x8000 }
        flags |= UInt16(message.opcode & 0xF) << 11
        if message.authoritative { flags |= 0x0400 }
        if truncated { flags |= 0x0200 }
        if message.recursionDesired { flags |= 0x0100 }
        if message.recursionAvailable { flags |= 0x0080 }
        if message.authenticData { flags |= 0x0020 }
        if message.checkingDisabled { flags |= 0x0010 }
        flags |= message.responseCode.rawValue & 0xF
        var position = 0
        for value in [message.id, flags] + counts.map({ UInt16($0) }) {
            self.bytes[position] = UInt8(value >> 8)
            self.bytes[position + 1] = UInt8(value & 0xFF)
            position += 2
        }
    }

    private mutating func question(_ question: DNSQuestion) {
        self.name(question.name, compressed: true)
        self.uint16(question.type.rawValue)
        self.uint16(question.class.rawValue)
    }

    private mutating func record(_ record: DNSRecord) throws(DNSCodecError) {
        self.name(record.name, compressed: true)
        self.uint16(record.data.type.rawValue)
        self.uint16(record.class.rawValue)
        self.uint32(record.timeToLive)
        let lengthAt = self.bytes.count
        self.uint16(0)
        try self.data(record.data)
        let length = self.bytes.count - lengthAt - 2
        guard length <= 65_535 else { throw .valueTooLarge(field: "\(record.data.type) data") }
        self.bytes[lengthAt] = UInt8(length >> 8)
        self.bytes[lengthAt + 1] = UInt8(length & 0xFF)
    }

    private mutating func data(_ data: DNSRecordData) throws(DNSCodecError) {
        switch data {
        case .a(let address):
            guard address.count == 4 else { throw .valueTooLarge(field: "A address") }
            self.bytes.append(contentsOf: address)
        case .aaaa(let address):
            guard address.count == 16 else { throw .valueTooLarge(field: "AAAA address") }
            self.bytes.append(contentsOf: address)
        case .cname(let name), .ns(let name), .ptr(let name):
            self.name(name, compressed: true)
        case .soa(let value):
            self.name(value.primary, compressed: true)
            self.name(value.mailbox, compressed: true)
            for number in [value.serial, value.refresh, value.retry, value.expire, value.minimum] {
                self.uint32(number)
            }
        case .txt(let strings):
            guard !strings.isEmpty else { throw .valueTooLarge(field: "TXT without a string") }
            for string in strings {
                guard let length = UInt8(exactly: string.count) else { throw .valueTooLarge(field: "TXT string") }
                self.bytes.append(length)
                self.bytes.append(contentsOf: string)
            }
        case .srv(let value):
            self.uint16(value.priority)
            self.uint16(value.weight)
            self.uint16(value.port)
            // RFC 2782: the target is not compressed.
            self.name(value.target, compressed: false)
        case .other(let type, let bytes):
            // The OPT record has a place of its own in a message.
            guard type != .opt else { throw .badOPT }
            self.bytes.append(contentsOf: bytes)
        }
    }

    private static func optRecord(
        _ value: DNSExtension, responseCode: DNSResponseCode
    ) throws(DNSCodecError) -> [UInt8] {
        var writer = DNSWriter()
        writer.bytes.append(0)
        writer.uint16(DNSRecordType.opt.rawValue)
        writer.uint16(value.payloadSize)
        writer.bytes.append(UInt8(truncatingIfNeeded: responseCode.rawValue >> 4))
        writer.bytes.append(value.version)
        writer.uint16(value.dnssecOK ? 0x8000 : 0)
        let length = value.options.reduce(0) { $0 + 4 + $1.data.count }
        // The options must leave room for a message of the smallest size; more is refused rather than cut.
        guard length <= 256 else { throw .valueTooLarge(field: "OPT options") }
        writer.uint16(UInt16(length))
        for option in value.options {
            writer.uint16(option.code)
            writer.uint16(UInt16(option.data.count))
            writer.bytes.append(contentsOf: option.data)
        }
        return writer.bytes
    }

    /// Writes the labels up to the longest ending that stands in the message already, then a pointer to that.
    private mutating func name(_ name: DNSName, compressed: Bool) {
        guard self.compresses else {
            self.bytes.append(contentsOf: name.wire)
            self.bytes.append(0)
            return
        }
        let folded = name.wire.map(DNSName.fold)
        var position = 0
        while position < folded.count {
            let suffix = folded[position...]
            if let offset = self.offsets[suffix] {
                if compressed {
                    self.uint16(0xC000 | UInt16(offset))
                    return
                }
            } else if self.bytes.count < 0x4000 {
                self.offsets[suffix] = self.bytes.count
            }
            let length = Int(folded[position])
            self.bytes.append(contentsOf: name.wire[position...position + length])
            position += 1 + length
        }
        self.bytes.append(0)
    }

    private mutating func uint16(_ value: UInt16) {
        self.bytes.append(UInt8(value >> 8))
        self.bytes.append(UInt8(value & 0xFF))
    }

    private mutating func uint32(_ value: UInt32) {
        self.uint16(UInt16(value >> 16))
        self.uint16(UInt16(value & 0xFFFF))
    }
}
