/// Where something stands in its document. Both count from 1; a column is one Unicode scalar.
public struct HCLPosition: Sendable, Hashable, CustomStringConvertible {
    public var line: Int
    public var column: Int

    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    public static let start = HCLPosition(line: 1, column: 1)

    public var description: String { "\(self.line):\(self.column)" }
}

/// A value and where it begins.
public struct HCLValue: Sendable, Equatable {
    public enum Content: Sendable, Equatable {
        /// JSON's alone.
        case null
        case bool(Bool)
        case integer(Int64)
        /// Finite.
        case number(Double)
        case text(String)
        case list([HCLValue])
        /// In the order written, each name once.
        case object([HCLField])
    }

    public var content: Content
    public var position: HCLPosition

    public init(_ content: Content, at position: HCLPosition = .start) {
        self.content = content
        self.position = position
    }

    /// The fields of an object; nil for any other value.
    public var fields: [HCLField]? {
        if case .object(let fields) = self.content { fields } else { nil }
    }

    /// The value of an object's field, by its exact name.
    public subscript(name: String) -> HCLValue? {
        self.fields?.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
    }

    /// What people call this kind of value.
    public var kind: String {
        switch self.content {
        case .null: "null"
        case .bool: "true or false"
        case .integer: "a whole number"
        case .number: "a number"
        case .text: "text"
        case .list: "a list"
        case .object: "an object"
        }
    }

    /// Equality of what the values say, wherever they stand.
    public func says(_ other: HCLValue) -> Bool {
        switch (self.content, other.content) {
        case (.list(let left), .list(let right)):
            left.count == right.count && zip(left, right).allSatisfy { $0.says($1) }
        case (.object(let left), .object(let right)):
            left.count == right.count
                && zip(left, right).allSatisfy { $0.name.utf8.elementsEqual($1.name.utf8) && $0.value.says($1.value) }
        case (.text(let left), .text(let right)):
            left.utf8.elementsEqual(right.utf8)
        default:
            self.content == other.content
        }
    }
}

/// A name in an object, with its value.
public struct HCLField: Sendable, Equatable {
    public var name: String
    public var position: HCLPosition
    public var value: HCLValue

    public init(_ name: String, _ value: HCLValue, at position: HCLPosition = .start) {
        self.name = name
        self.position = position
        self.value = value
    }
}

/// An object under construction. Of two values of one name the later stays; two objects become a list of both, which is
/// how HCL writes lists of blocks.
struct FieldList {
    private(set) var fields: [HCLField] = []
    /// By the name's bytes: Swift takes two spellings of one letter for the same text.
    private var places: [[UInt8]: Int] = [:]
    /// Lists that came of repeated objects, which take further ones.
    private var grown: Set<Int> = []

    mutating func add(_ field: HCLField, joiningObjects: Bool) {
        let key = Array(field.name.utf8)
        guard let place = self.places[key] else {
            self.places[key] = self.fields.count
            self.fields.append(field)
            return
        }
        if joiningObjects, field.value.fields != nil, self.join(field.value, at: place) { return }
        self.grown.remove(place)
        self.fields[place] = field
    }

    private mutating func join(_ value: HCLValue, at place: Int) -> Bool {
        switch self.fields[place].value.content {
        case .object:
            let first = self.fields[place].value
            self.fields[place].value = HCLValue(.list([first, value]), at: first.position)
            self.grown.insert(place)
            return true
        case .list(var items) where self.grown.contains(place):
            // The only other reference is let go of first, so that appending copies nothing.
            self.fields[place].value.content = .null
            items.append(value)
            self.fields[place].value.content = .list(items)
            return true
        case .null, .bool, .integer, .number, .text, .list:
            return false
        }
    }
}
