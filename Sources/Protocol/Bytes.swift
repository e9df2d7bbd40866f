#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

extension Data {
    /// The bytes, copied at once. An array made of the collection goes through Data's iterator first.
    package var array: [UInt8] { self.withUnsafeBytes { Array($0) } }
}
