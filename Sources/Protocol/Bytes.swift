import SwiftProtobuf

extension SwiftProtobufContiguousBytes {
    /// The bytes of a field, copied at once. An array made of the collection goes through its iterator first.
    package var array: [UInt8] { self.withUnsafeBytes { Array($0) } }
}
