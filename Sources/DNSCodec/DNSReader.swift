/// Reads a message byte by byte, never past its end, and follows compression pointers only backwards.
struct DNSReader {
    let bytes: [UInt8]
    var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    struct Header {
        var message: DNSMessage
        var questions: Int
        var answers: Int
        var authority: Int
        var additional: Int
    }

    // MARK: - integers and bytes

    mutating func byte() throws(DNSCodecError) -> UInt8 {
        guard self.position < self.bytes.count else { throw .unexpectedEnd(offset: self.position) }
        defer { self.position += 1 }
        return self.bytes[self.position]
    }

    mutating func uint16() throws(DNSCodecError) -> UInt16 {
        let upper = try self.byte()
        let lower = try self.byte()
        return UInt16(upper) << 8 | UInt16(lower)
    }

    mutating func uint32() throws(DNSCodecError) -> UInt32 {
        let upper = try self.uint16()
        let lower = try self.uint16()
        return UInt32(upper) << 16 | UInt32(lower)
    }

    mutating func take(_ count: Int) throws(DNSCodecError) -> [UInt8] {
        guard count <= self.bytes.count - self.position else { throw .unexpectedEnd(offset: self.position) }
        defer { self.position += count }
        return Array(self.bytes[self.position..<self.position + count])
    }

    // MARK: - names

    /// A name at the present position. Each pointer must aim before the piece that it was met in, so the positions
    /// fall strictly and the walk ends; the 255-byte limit bounds what it gathers.
    mutating func name() throws(DNSCodecError) -> DNSName {
        var wire: [UInt8] = []
        var cursor = self.position
        var pieceStart = cursor
        var end: Int?
        while true {
            guard cursor < self.bytes.count else { throw .unexpectedEnd(offset: cursor) }
            let length = self.bytes[cursor]
            switch length & 0xC0 {
            case 0x00:
                if length == 0 {
                    self.position = end ?? cursor + 1
                    return DNSName(uncheckedWire: wire)
                }
                let first = cursor + 1
                let last = first + Int(length)
                guard last <= self.bytes.count else { throw .unexpectedEnd(offset: cursor) }
                try DNSName.append(self.bytes[first..<last], to: &wire)
                cursor = last
            case 0xC0:
                guard cursor + 1 < self.bytes.count else { throw .unexpectedEnd(offset: cursor) }
                let target = Int(length & 0x3F) << 8 | Int(self.bytes[cursor + 1])
                guard target < pieceStart else { throw .badPointer(offset: cursor) }
                if end == nil { end = cursor + 2 }
                cursor = target
                pieceStart = target
            default:
                throw .badLabelType(offset: cursor)
            }
        }
    }

    // MARK: - message

    mutating func header() throws(DNSCodecError) -> Header {
        let id = try self.uint16()
        let flags = try self.uint16()
        let message = DNSMessage(
            id: id, isResponse: flags & 0x8000 != 0, opcode: UInt8(flags >> 11 & 0xF),
            authoritative: flags & 0x0400 != 0,
            truncated: flags & 0x0200 != 0, recursionDesired: flags & 0x0100 != 0,
            recursionAvailable: flags & 0x0080 != 0,
            authenticData: flags & 0x0020 != 0, checkingDisabled: flags & 0x0010 != 0,
            responseCode: DNSResponseCode(rawValue: flags & 0xF))
        let questions = Int(try self.uint16())
        let answers = Int(try self.uint16())
        let authority = Int(try self.uint16())
        let additional = Int(try self.uint16())
        return Header(
            message: message, questions: questions, answers: answers, authority: authority, additional: additional)
    }

    mutating func message() throws(DNSCodecError) -> DNSMessage {
        let header = try self.header()
        var message = header.message
        // The counts are not trusted with memory: a record takes at least eleven bytes, so the loop ends with the data.
        for _ in 0..<header.questions {
            let name = try self.name()
            let type = DNSRecordType(rawValue: try self.uint16())
            let `class` = DNSClass(rawValue: try self.uint16())
            message.questions.append(DNSQuestion(name: name, type: type, class: `class`))
        }
        for _ in 0..<header.answers { message.answers.append(try self.plainRecord()) }
        for _ in 0..<header.authority { message.authority.append(try self.plainRecord()) }
        for _ in 0..<header.additional { try self.additionalRecord(into: &message) }
        if self.position != self.bytes.count { throw .trailingBytes(offset: self.position) }
        return message
    }

    private struct Fields {
        var name: DNSName
        var type: DNSRecordType
        var classBits: UInt16
        var timeToLive: UInt32
        var length: Int
    }

    private mutating func fields() throws(DNSCodecError) -> Fields {
        let name = try self.name()
        let type = DNSRecordType(rawValue: try self.uint16())
        let classBits = try self.uint16()
        let timeToLive = try self.uint32()
        let length = Int(try self.uint16())
        guard length <= self.bytes.count - self.position else { throw .unexpectedEnd(offset: self.position) }
        return Fields(name: name, type: type, classBits: classBits, timeToLive: timeToLive, length: length)
    }

    private mutating func plainRecord() throws(DNSCodecError) -> DNSRecord {
        let fields = try self.fields()
        if fields.type == .opt { throw .badOPT }
        return try self.record(fields)
    }

    private mutating func additionalRecord(into message: inout DNSMessage) throws(DNSCodecError) {
        let fields = try self.fields()
        guard fields.type == .opt else {
            message.additional.append(try self.record(fields))
            return
        }
        if message.extension != nil || !fields.name.isRoot { throw .badOPT }
        let upper = UInt16(fields.timeToLive >> 24) << 4
        message.responseCode = DNSResponseCode(rawValue: upper | message.responseCode.rawValue)
        message.extension = DNSExtension(
            payloadSize: fields.classBits, version: UInt8(truncatingIfNeeded: fields.timeToLive >> 16),
            dnssecOK: fields.timeToLive & 0x8000 != 0, options: try self.options(length: fields.length))
    }

    private mutating func options(length: Int) throws(DNSCodecError) -> [DNSExtension.Option] {
        let start = self.position
        let end = start + length
        var options: [DNSExtension.Option] = []
        while self.position < end {
            let code = try self.uint16()
            let size = Int(try self.uint16())
            guard self.position + size <= end else { throw .badRecordData(type: .opt, offset: start) }
            options.append(DNSExtension.Option(code: code, data: try self.take(size)))
        }
        guard self.position == end else { throw .badRecordData(type: .opt, offset: start) }
        return options
    }

    private mutating func record(_ fields: Fields) throws(DNSCodecError) -> DNSRecord {
        let start = self.position
        let end = start + fields.length
        let data = try self.data(of: fields.type, start: start, end: end)
        // A name inside the data may have run past its length.
        guard self.position == end else { throw .badRecordData(type: fields.type, offset: start) }
        return DNSRecord(
            name: fields.name, class: DNSClass(rawValue: fields.classBits), timeToLive: fields.timeToLive, data: data)
    }

    private mutating func data(of type: DNSRecordType, start: Int, end: Int) throws(DNSCodecError) -> DNSRecordData {
        switch type {
        case .a:
            guard end - start == 4 else { throw .badRecordData(type: type, offset: start) }
            return .a(try self.take(4))
        case .aaaa:
            guard end - start == 16 else { throw .badRecordData(type: type, offset: start) }
            return .aaaa(try self.take(16))
        case .cname: return .cname(try self.name())
        case .ns: return .ns(try self.name())
        case .ptr: return .ptr(try self.name())
        case .soa: return .soa(try self.startOfAuthority())
        case .txt: return .txt(try self.strings(start: start, end: end))
        case .srv:
            let priority = try self.uint16()
            let weight = try self.uint16()
            let port = try self.uint16()
            return .srv(DNSServiceLocation(priority: priority, weight: weight, port: port, target: try self.name()))
        default: return .other(type, try self.take(end - start))
        }
    }

    private mutating func startOfAuthority() throws(DNSCodecError) -> DNSStartOfAuthority {
        let primary = try self.name()
        let mailbox = try self.name()
        let serial = try self.uint32()
        let refresh = try self.uint32()
        let retry = try self.uint32()
        let expire = try self.uint32()
        let minimum = try self.uint32()
        return DNSStartOfAuthority(
            primary: primary, mailbox: mailbox, serial: serial, refresh: refresh, retry: retry, expire: expire,
            minimum: minimum)
    }

    private mutating func strings(start: Int, end: Int) throws(DNSCodecError) -> [[UInt8]] {
        var strings: [[UInt8]] = []
        while self.position < end {
            let length = Int(try self.byte())
            guard self.position + length <= end else { throw .badRecordData(type: .txt, offset: start) }
            strings.append(try self.take(length))
        }
        guard !strings.isEmpty else { throw .badRecordData(type: .txt, offset: start) }
        return strings
    }
}
