/// A record type by its number (RFC 1035 §3.2.2 and its followers); in questions also `any`.
public struct DNSRecordType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let a = DNSRecordType(rawValue: 1)
    public static let ns = DNSRecordType(rawValue: 2)
    public static let cname = DNSRecordType(rawValue: 5)
    public static let soa = DNSRecordType(rawValue: 6)
    public static let ptr = DNSRecordType(rawValue: 12)
    public static let txt = DNSRecordType(rawValue: 16)
    public static let aaaa = DNSRecordType(rawValue: 28)
    public static let srv = DNSRecordType(rawValue: 33)
    public static let opt = DNSRecordType(rawValue: 41)
    public static let axfr = DNSRecordType(rawValue: 252)
    public static let any = DNSRecordType(rawValue: 255)

    public var description: String {
        switch self {
        case .a: "A"
        case .ns: "NS"
        case .cname: "CNAME"
        case .soa: "SOA"
        case .ptr: "PTR"
        case .txt: "TXT"
        case .aaaa: "AAAA"
        case .srv: "SRV"
        case .opt: "OPT"
        case .axfr: "AXFR"
        case .any: "ANY"
        default: "TYPE\(self.rawValue)"
        }
    }
}

/// A class by its number: nearly always `internet`.
public struct DNSClass: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let internet = DNSClass(rawValue: 1)
    public static let any = DNSClass(rawValue: 255)
}

/// A response code of twelve bits; the upper eight travel in the OPT record and are lost without one.
public struct DNSResponseCode: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue & 0xFFF }
    public static let noError = DNSResponseCode(rawValue: 0)
    public static let formatError = DNSResponseCode(rawValue: 1)
    public static let serverFailure = DNSResponseCode(rawValue: 2)
    public static let nameError = DNSResponseCode(rawValue: 3)
    public static let notImplemented = DNSResponseCode(rawValue: 4)
    public static let refused = DNSResponseCode(rawValue: 5)
    public static let badVersion = DNSResponseCode(rawValue: 16)
}

public struct DNSQuestion: Hashable, Sendable {
    public var name: DNSName
    public var type: DNSRecordType
    public var `class`: DNSClass

    public init(name: DNSName, type: DNSRecordType, class: DNSClass = .internet) {
        self.name = name
        self.type = type
        self.class = `class`
    }
}

/// Start of authority (RFC 1035 §3.3.13). Times are in seconds.
public struct DNSStartOfAuthority: Hashable, Sendable {
    public var primary: DNSName
    /// The zone keeper's mailbox, `@` written as a dot.
    public var mailbox: DNSName
    public var serial: UInt32
    public var refresh: UInt32
    public var retry: UInt32
    public var expire: UInt32
    /// How long a "no such name" may be kept (RFC 2308 §4).
    public var minimum: UInt32

    public init(
        primary: DNSName, mailbox: DNSName, serial: UInt32, refresh: UInt32, retry: UInt32, expire: UInt32,
        minimum: UInt32
    ) {
        self.primary = primary
        self.mailbox = mailbox
        self.serial = serial
        self.refresh = refresh
        self.retry = retry
        self.expire = expire
        self.minimum = minimum
    }
}

/// RFC 2782.
public struct DNSServiceLocation: Hashable, Sendable {
    public var priority: UInt16
    public var weight: UInt16
    public var port: UInt16
    public var target: DNSName

    public init(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName) {
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target
    }
}

public enum DNSRecordData: Hashable, Sendable {
    /// Four bytes.
    case a([UInt8])
    /// Sixteen bytes.
    case aaaa([UInt8])
    case cname(DNSName)
    case ns(DNSName)
    case soa(DNSStartOfAuthority)
    case ptr(DNSName)
    /// At least one string, each of at most 255 bytes.
    case txt([[UInt8]])
    case srv(DNSServiceLocation)
    /// Any other type, its data as it came. Names in it are not decompressed (RFC 3597 §4).
    case other(DNSRecordType, [UInt8])

    public var type: DNSRecordType {
        switch self {
        case .a: .a
        case .aaaa: .aaaa
        case .cname: .cname
        case .ns: .ns
        case .soa: .soa
        case .ptr: .ptr
        case .txt: .txt
        case .srv: .srv
        case .other(let type, _): type
        }
    }
}

public struct DNSRecord: Hashable, Sendable {
    public var name: DNSName
    public var `class`: DNSClass
    /// Seconds.
    public var timeToLive: UInt32
    public var data: DNSRecordData

    public init(name: DNSName, class: DNSClass = .internet, timeToLive: UInt32 = 0, data: DNSRecordData) {
        self.name = name
        self.class = `class`
        self.timeToLive = timeToLive
        self.data = data
    }
}

/// What the OPT record says (RFC 6891 §6). The response code's upper bits are in `DNSMessage.responseCode`.
public struct DNSExtension: Hashable, Sendable {
    public struct Option: Hashable, Sendable {
        public var code: UInt16
        public var data: [UInt8]

        public init(code: UInt16, data: [UInt8]) {
            self.code = code
            self.data = data
        }
    }

    /// The largest UDP payload that the sender can take, in bytes. Values below 512 mean 512 (RFC 6891 §6.2.3).
    public var payloadSize: UInt16
    public var version: UInt8
    public var dnssecOK: Bool
    public var options: [Option]

    public init(payloadSize: UInt16, version: UInt8 = 0, dnssecOK: Bool = false, options: [Option] = []) {
        self.payloadSize = payloadSize
        self.version = version
        self.dnssecOK = dnssecOK
        self.options = options
    }

    /// Client subnet (RFC 7871).
    public static let clientSubnet: UInt16 = 8
}

/// A whole message (RFC 1035 §4). The OPT record is not among `additional` but in `extension`.
public struct DNSMessage: Hashable, Sendable {
    public var id: UInt16
    public var isResponse: Bool
    /// Four bits; 0 is a standard query.
    public var opcode: UInt8
    public var authoritative: Bool
    public var truncated: Bool
    public var recursionDesired: Bool
    public var recursionAvailable: Bool
    public var authenticData: Bool
    public var checkingDisabled: Bool
    public var responseCode: DNSResponseCode
    public var questions: [DNSQuestion]
    public var answers: [DNSRecord]
    public var authority: [DNSRecord]
    public var additional: [DNSRecord]
    public var `extension`: DNSExtension?

    public init(
        id: UInt16 = 0, isResponse: Bool = false, opcode: UInt8 = 0, authoritative: Bool = false,
        truncated: Bool = false,
        recursionDesired: Bool = false, recursionAvailable: Bool = false, authenticData: Bool = false,
        checkingDisabled: Bool = false, responseCode: DNSResponseCode = .noError, questions: [DNSQuestion] = [],
        answers: [DNSRecord] = [], authority: [DNSRecord] = [], additional: [DNSRecord] = [],
        extension: DNSExtension? = nil
    ) {
        self.id = id
        self.isResponse = isResponse
        self.opcode = opcode & 0xF
        self.authoritative = authoritative
        self.truncated = truncated
        self.recursionDesired = recursionDesired
        self.recursionAvailable = recursionAvailable
        self.authenticData = authenticData
        self.checkingDisabled = checkingDisabled
        self.responseCode = responseCode
        self.questions = questions
        self.answers = answers
        self.authority = authority
        self.additional = additional
        self.extension = `extension`
    }

    /// The header alone: enough to answer a message whose rest is broken. Nil below twelve bytes.
    public static func header(of bytes: [UInt8]) -> DNSMessage? {
        var reader = DNSReader(bytes)
        return try? reader.header().message
    }

    /// Reads one message that fills `bytes` exactly.
    public init(decoding bytes: [UInt8]) throws(DNSCodecError) {
        if bytes.count > 65_535 { throw .messageTooLarge }
        var reader = DNSReader(bytes)
        self = try reader.message()
    }

    /// Writes the message in at most `limit` bytes (a limit is lifted to 512 and lowered to 65,535).
    ///
    /// The one rule when it does not fit: records are kept in their order on the wire (answers, authority,
    /// additional) up to the first that has no room, so additional records go first, the last before the others; then
    /// authority; then answers from the end. The OPT record always stays. TC is set when an answer or an authority
    /// record was left out, and not for additional ones alone (RFC 2181 §9).
    ///
    /// - Parameter compressing: false writes every name out, for clients that can't read pointers.
    public func encoded(limit: Int = 65_535, compressing: Bool = true) throws(DNSCodecError) -> [UInt8] {
        try DNSWriter.write(self, limit: max(512, min(limit, 65_535)), compressing: compressing)
    }
}
