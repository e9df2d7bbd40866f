import Certificates
import Crypto
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A token's bytes as a forger would handle them: an implementation of the format beside the room's own.
enum TokenBytes {
    /// Body and MAC, without the checksum.
    static func sealed(of text: String) throws -> [UInt8] {
        let encoded = try #require(text.split(separator: ".").last)
        var base64 = encoded.replacing("-", with: "+").replacing("_", with: "/")
        while !base64.count.isMultiple(of: 4) { base64 += "=" }
        let data = try #require(Data(base64Encoded: String(base64)))
        return Array(data.dropLast(4))
    }

    /// A token with a checksum that fits.
    static func text(_ role: NodeRole, _ sealed: [UInt8]) -> String {
        let prefix = "serai-\(role)-1."
        let checksum = SHA256.hash(data: Array(prefix.utf8) + sealed).prefix(4)
        let base64 = Data(sealed + checksum).base64EncodedString()
        let encoded = base64.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        return prefix + encoded
    }
}
