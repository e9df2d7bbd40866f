import Units

/// The fields of a JSON object, read as Go's decoder reads them into a struct: names compare without case, the last
/// occurrence counts, `null` leaves the default, unknown fields are ignored. Errors name the field.
struct JSONFields {
    private let fields: [JSONValue.Field]
    /// Also accept `snake_case` spellings, as the bodies of service and check definitions do.
    private let snake: Bool

    init(_ fields: [JSONValue.Field], snake: Bool = false) {
        self.fields = fields
        self.snake = snake
    }

    /// `type`: what the error calls the thing that was wanted instead of another kind of value.
    init(_ value: JSONValue, type: String, snake: Bool = false) throws(JSONError) {
        switch value {
        case .object(let fields): self.init(fields, snake: snake)
        case .null: self.init([], snake: snake)
        case .bool, .number, .string, .array:
            throw JSONError("json: cannot unmarshal \(value.kind) into Go value of type \(type)")
        }
    }

    /// Transactions take no field that they do not know.
    func refuseOthers(than names: [String]) throws(JSONError) {
        for field in self.fields where !names.contains(where: { self.matches(field.name, $0) }) {
            throw JSONError("json: unknown field \"\(field.name)\"")
        }
    }

    /// Everyone is in the namespace and the partition `default`; others are for Consul's enterprise edition.
    /// - Parameter why: whether the error says so, or names the field alone; Consul's routes differ.
    func refuseEnterpriseFields(tellingWhy why: Bool = false) throws(JSONError) {
        for (name, what) in [("Namespace", "Namespaces"), ("Partition", "Partitions")] {
            guard let value = self[name], value != .string(""), value != .string("default") else { continue }
            throw JSONError(
                "json: unknown field \"\(name)\"" + (why ? " - \(what) are a Consul Enterprise feature" : ""))
        }
    }

    /// Nil when absent or `null`.
    subscript(name: String) -> JSONValue? {
        for field in self.fields.reversed() where self.matches(field.name, name) {
            return field.value.isNull ? nil : field.value
        }
        return nil
    }

    /// The value of the first of these names that is there.
    subscript(first names: String...) -> JSONValue? {
        for name in names {
            if let value = self[name] { return value }
        }
        return nil
    }

    /// True also when the field is there as `null`.
    func has(_ name: String) -> Bool {
        self.fields.contains { self.matches($0.name, name) }
    }

    private func matches(_ written: String, _ wanted: String) -> Bool {
        var left = written.utf8.makeIterator()
        var right = wanted.utf8.makeIterator()
        while true {
            var a = left.next()
            if self.snake { while a == UInt8(ascii: "_") { a = left.next() } }
            let b = right.next()
            guard let a, let b else { return a == nil && b == nil }
            if lowered(a) != lowered(b) { return false }
        }
    }

    func string(_ name: String) throws(JSONError) -> String {
        guard let value = self[name] else { return "" }
        guard case .string(let text) = value else { throw self.mismatch(value, name, "string") }
        return text
    }

    func bool(_ name: String, default missing: Bool = false) throws(JSONError) -> Bool {
        guard let value = self[name] else { return missing }
        guard case .bool(let flag) = value else { throw self.mismatch(value, name, "bool") }
        return flag
    }

    func uint64(_ name: String) throws(JSONError) -> UInt64 {
        guard let value = self[name] else { return 0 }
        guard case .number(let text) = value else { throw self.mismatch(value, name, "uint64") }
        guard let number = UInt64(text) else {
            throw JSONError("json: cannot unmarshal number \(text) into Go struct field .\(name) of type uint64")
        }
        return number
    }

    /// A port, a weight, a count: 0 … 2^31-1.
    func count(_ name: String, default missing: UInt32 = 0) throws(JSONError) -> UInt32 {
        guard let value = self[name] else { return missing }
        guard case .number(let text) = value else { throw self.mismatch(value, name, "int") }
        guard let number = Int32(text), number >= 0 else {
            throw JSONError("json: cannot unmarshal number \(text) into Go struct field .\(name) of type int")
        }
        return UInt32(number)
    }

    func strings(_ name: String) throws(JSONError) -> [String] {
        guard let value = self[name] else { return [] }
        guard case .array(let elements) = value else { throw self.mismatch(value, name, "[]string") }
        var texts: [String] = []
        texts.reserveCapacity(elements.count)
        for element in elements {
            switch element {
            case .string(let text): texts.append(text)
            case .null: texts.append("")
            case .bool, .number, .array, .object: throw self.mismatch(element, name, "string")
            }
        }
        return texts
    }

    func stringMap(_ name: String) throws(JSONError) -> [String: String] {
        guard let value = self[name] else { return [:] }
        guard case .object(let fields) = value else { throw self.mismatch(value, name, "map[string]string") }
        var map: [String: String] = [:]
        for field in fields {
            switch field.value {
            case .string(let text): map[field.name] = text
            case .null: map[field.name] = ""
            case .bool, .number, .array, .object: throw self.mismatch(field.value, name, "string")
            }
        }
        return map
    }

    func object(_ name: String, type: String) throws(JSONError) -> JSONFields? {
        guard let value = self[name] else { return nil }
        guard case .object(let fields) = value else { throw self.mismatch(value, name, type) }
        return JSONFields(fields, snake: self.snake)
    }

    /// Nil when absent or `null`.
    func objects(_ name: String, type: String) throws(JSONError) -> [JSONFields]? {
        guard let value = self[name] else { return nil }
        guard case .array(let elements) = value else { throw self.mismatch(value, name, "[]\(type)") }
        var objects: [JSONFields] = []
        for element in elements {
            switch element {
            case .object(let fields): objects.append(JSONFields(fields, snake: self.snake))
            case .null: objects.append(JSONFields([], snake: self.snake))
            case .bool, .number, .string, .array: throw self.mismatch(element, name, type)
            }
        }
        return objects
    }

    /// The fields of a map, in the order written.
    func entries(_ name: String, type: String) throws(JSONError) -> [JSONValue.Field] {
        guard let value = self[name] else { return [] }
        guard case .object(let fields) = value else { throw self.mismatch(value, name, type) }
        return fields
    }

    /// A Go duration as text, or nanoseconds as a number; nil when absent. "" is zero.
    func duration(_ name: String) throws(JSONError) -> Nanoseconds? {
        guard let value = self[name] else { return nil }
        switch value {
        case .string(let text):
            if text.isEmpty { return .zero }
            guard let duration = GoDuration.parse(text) else { throw JSONError("time: invalid duration \"\(text)\"") }
            return duration
        case .number(let text):
            guard let number = Double(text), number >= 0, number < 9.2e18 else {
                throw JSONError(
                    "json: cannot unmarshal number \(text) into Go struct field .\(name) of type time.Duration")
            }
            return Nanoseconds(UInt64(text) ?? UInt64(number))
        case .null, .bool, .array, .object:
            throw self.mismatch(value, name, "time.Duration")
        }
    }

    func mismatch(_ value: JSONValue, _ name: String, _ type: String) -> JSONError {
        JSONError("json: cannot unmarshal \(value.kind) into Go struct field .\(name) of type \(type)")
    }
}

@inline(__always)
func lowered(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
}

/// Compares ASCII text without case.
func equalsIgnoringCase(_ left: some Sequence<UInt8>, _ right: some Sequence<UInt8>) -> Bool {
    left.elementsEqual(right) { lowered($0) == lowered($1) }
}
