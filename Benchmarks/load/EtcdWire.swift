import NIOCore

/// etcd's gRPC spoken by hand: HTTP/2 (RFC 9113) with one stream after another, headers as HPACK literals (RFC 7541),
/// messages as protobuf. Nothing of a gRPC library's cost is charged to etcd.
struct EtcdWire: Wire {
    let workload: Workload
    private let headers: [UInt8]
    private var asked: Ask = .put(0)
    private var stream: UInt32 = 0xFFFF_FFFF
    private var message: [UInt8] = []
    /// Payload bytes since the last window update.
    private var unreported = 0

    private static let windowBytes = 1 << 30

    init(workload: Workload, address: Address) {
        self.workload = workload
        let path = workload.operation == .put ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range"
        self.headers = Self.headers(path: path, authority: address.text)
        self.putHeaders = Self.headers(path: "/etcdserverpb.KV/Put", authority: address.text)
    }

    private let putHeaders: [UInt8]

    /// A header block that uses no dynamic table, so that it is the same for every request.
    private static func headers(path: String, authority: String) -> [UInt8] {
        func text(_ value: String) -> [UInt8] { [UInt8(value.utf8.count)] + Array(value.utf8) }
        var block: [UInt8] = [0x83, 0x86]  // :method POST, :scheme http
        block += [0x04] + text(path)
        block += [0x01] + text(authority)
        block += [0x0F, 0x10] + text("application/grpc")  // content-type is 31 in the static table
        block += [0x00] + text("te") + text("trailers")
        return block
    }

    private enum Frame {
        static let data: UInt8 = 0
        static let headers: UInt8 = 1
        static let reset: UInt8 = 3
        static let settings: UInt8 = 4
        static let ping: UInt8 = 6
        static let goAway: UInt8 = 7
        static let windowUpdate: UInt8 = 8
        static let endStream: UInt8 = 1
        static let endHeaders: UInt8 = 4
        static let acknowledged: UInt8 = 1
    }

    private static func writeFrame(
        _ type: UInt8, flags: UInt8, stream: UInt32, _ payload: some Collection<UInt8>, to buffer: inout ByteBuffer
    ) {
        buffer.writeInteger(UInt8(payload.count >> 16))
        buffer.writeInteger(UInt16(payload.count & 0xFFFF))
        buffer.writeInteger(type)
        buffer.writeInteger(flags)
        buffer.writeInteger(stream)
        buffer.writeBytes(payload)
    }

    mutating func greeting() -> ByteBuffer? {
        self.stream = 0xFFFF_FFFF
        self.message.removeAll(keepingCapacity: true)
        self.unreported = 0
        var buffer = ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        // SETTINGS_HEADER_TABLE_SIZE 0: nothing has to be remembered to skip headers. INITIAL_WINDOW_SIZE 1 MiB.
        Self.writeFrame(
            Frame.settings, flags: 0, stream: 0, [0, 1, 0, 0, 0, 0, 0, 4, 0, 16, 0, 0] as [UInt8], to: &buffer)
        Self.writeFrame(
            Frame.windowUpdate, flags: 0, stream: 0, Self.bigEndian(UInt32(Self.windowBytes)), to: &buffer)
        return buffer
    }

    private static func bigEndian(_ value: UInt32) -> [UInt8] {
        [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
    }

    mutating func request(_ ask: Ask, into buffer: inout ByteBuffer) {
        self.asked = ask
        // Client streams are odd: 1, 3, 5, …
        self.stream = self.stream &+ 2
        self.message.removeAll(keepingCapacity: true)
        let headers: [UInt8]
        var body = ByteBuffer()
        switch ask {
        case .put(let number):
            headers = self.putHeaders
            self.writeField(1, keyNumber: number, to: &body)
            Self.writeTag(2, wire: 2, to: &body)
            Self.writeVarint(self.workload.valueBytes, to: &body)
            body.writeBytes(self.workload.value(number))
        case .get(let number):
            headers = self.headers
            self.writeField(1, keyNumber: number, to: &body)
            if self.workload.operation == .getStale {
                Self.writeTag(7, wire: 0, to: &body)  // serializable
                Self.writeVarint(1, to: &body)
            }
        }
        Self.writeFrame(Frame.headers, flags: Frame.endHeaders, stream: self.stream, headers, to: &buffer)
        var framed: [UInt8] = [0]  // not compressed
        framed += Self.bigEndian(UInt32(body.readableBytes))
        framed += body.readableBytesView
        Self.writeFrame(Frame.data, flags: Frame.endStream, stream: self.stream, framed, to: &buffer)
    }

    private func writeField(_ field: Int, keyNumber: Int, to buffer: inout ByteBuffer) {
        Self.writeTag(field, wire: 2, to: &buffer)
        Self.writeVarint(self.workload.keyLength, to: &buffer)
        self.workload.writeKey(keyNumber, to: &buffer)
    }

    private static func writeTag(_ field: Int, wire: Int, to buffer: inout ByteBuffer) {
        writeVarint(field << 3 | wire, to: &buffer)
    }

    private static func writeVarint(_ value: Int, to buffer: inout ByteBuffer) {
        var rest = UInt64(value)
        while rest >= 0x80 {
            buffer.writeInteger(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        buffer.writeInteger(UInt8(rest))
    }

    mutating func read(_ input: inout ByteBuffer, output: inout ByteBuffer) throws(WireError) -> WireEvent {
        while true {
            guard let high = input.getInteger(at: input.readerIndex, as: UInt8.self),
                let low = input.getInteger(at: input.readerIndex + 1, as: UInt16.self)
            else { return .needsMore }
            let length = Int(high) << 16 | Int(low)
            guard input.readableBytes >= 9 + length else { return .needsMore }
            input.moveReaderIndex(forwardBy: 3)
            guard let type: UInt8 = input.readInteger(), let flags: UInt8 = input.readInteger(),
                let stream: UInt32 = input.readInteger(), let payload = input.readBytes(length: length)
            else { throw WireError(text: "truncated frame") }
            if let event = try self.take(type, flags, stream, payload, &output) { return event }
        }
    }

    private mutating func take(
        _ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8], _ output: inout ByteBuffer
    ) throws(WireError) -> WireEvent? {
        switch type {
        case Frame.data:
            self.unreported += payload.count
            if self.unreported > 1 << 20 {
                Self.writeFrame(
                    Frame.windowUpdate, flags: 0, stream: 0, Self.bigEndian(UInt32(self.unreported)), to: &output)
                self.unreported = 0
            }
            if stream == self.stream { self.message += payload }
        case Frame.settings where flags & Frame.acknowledged == 0:
            Self.writeFrame(Frame.settings, flags: Frame.acknowledged, stream: 0, [] as [UInt8], to: &output)
        case Frame.ping where flags & Frame.acknowledged == 0:
            Self.writeFrame(Frame.ping, flags: Frame.acknowledged, stream: 0, payload, to: &output)
        case Frame.goAway:
            throw WireError(text: "the server said GOAWAY")
        case Frame.reset where stream == self.stream:
            return .answer("the server reset the stream")
        default:
            break
        }
        let ends = (type == Frame.headers || type == Frame.data) && flags & Frame.endStream != 0
        return ends && stream == self.stream ? .answer(self.complaint()) : nil
    }

    /// A call that fails has trailers and no message.
    private func complaint() -> String? {
        guard self.message.count > 5, self.message[0] == 0 else { return "the call failed: no message came back" }
        guard self.workload.verify else { return nil }
        let body = Array(self.message[5...])
        switch self.asked {
        case .put:
            // The header (field 1), with the revision that the put made.
            return body.first == 0x0A ? nil : "put answered without a header"
        case .get(let number):
            return body.contains(self.workload.value(number)) ? nil : "get answered another value"
        }
    }
}
