import Units

/// Table keys made of several names: each part is closed by two zero bytes, and a zero byte within a part is written as
/// 00 FF, so that the order of the keys is the order of the parts and no name can run into the next.
struct CompositeKey {
    private var bytes: [UInt8] = []

    /// ASCII capitals count as small letters; other scripts are left as they are.
    mutating func folded(_ part: String) {
        for byte in part.utf8 { self.append(foldedASCII(byte)) }
        self.close()
    }

    mutating func exact(_ part: String) {
        for byte in part.utf8 { self.append(byte) }
        self.close()
    }

    /// Nothing may follow it.
    mutating func rest(_ key: ByteKey) {
        self.bytes.append(contentsOf: key.bytes)
    }

    var key: ByteKey { ByteKey(self.bytes) }
    var count: Int { self.bytes.count }

    private mutating func append(_ byte: UInt8) {
        self.bytes.append(byte)
        if byte == 0 { self.bytes.append(0xFF) }
    }

    private mutating func close() {
        self.bytes.append(0)
        self.bytes.append(0)
    }
}

@inline(__always)
func foldedASCII(_ byte: UInt8) -> UInt8 {
    byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
}

/// A name in ASCII small letters: how nodes and services are found.
func foldedKey(_ name: String) -> ByteKey {
    ByteKey(name.utf8.map(foldedASCII))
}

func sameFolded(_ left: String, _ right: String) -> Bool {
    left.utf8.elementsEqual(right.utf8) { foldedASCII($0) == foldedASCII($1) }
}

/// What stands on a node: a service, a check, a session.
func onNodeKey(_ node: String, _ id: String) -> ByteKey {
    var key = CompositeKey()
    key.folded(node)
    key.folded(id)
    return key.key
}

/// The prefix of everything on a node.
func onNodePrefix(_ node: String) -> ByteKey {
    var key = CompositeKey()
    key.folded(node)
    return key.key
}

func sessionOnNodeKey(_ node: String, session: String) -> ByteKey {
    var key = CompositeKey()
    key.folded(node)
    key.exact(session)
    return key.key
}

func sessionByCheckKey(_ node: String, check: String, session: String) -> ByteKey {
    var key = CompositeKey()
    key.folded(node)
    key.folded(check)
    key.exact(session)
    return key.key
}

func heldKey(_ session: String, _ key: ByteKey) -> ByteKey {
    var composite = CompositeKey()
    composite.exact(session)
    composite.rest(key)
    return composite.key
}

/// The prefix of a session's keys.
func heldPrefix(_ session: String) -> ByteKey {
    var composite = CompositeKey()
    composite.exact(session)
    return composite.key
}

/// The watch key of the services of one node.
func servicesOnNodeWatchKey(_ node: String) -> ByteKey {
    ByteKey([0] + node.utf8.map(foldedASCII))
}

/// What an index table keeps where only the key counts.
struct Nothing: Sendable {}
