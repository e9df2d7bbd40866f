// What a request is refused for before its handler looks at it, in the community edition of Consul.
extension APIRequest {
    /// Consul's agents keep the answers of these routes.
    var isCacheable: Bool { self.path.hasPrefix("/v1/catalog/service") || self.path.hasPrefix("/v1/health/service/") }

    /// Answers come from this server's own state, so that no age is too old; but what can't be read is refused.
    func checkCacheControl() throws(APIError) {
        if self.cacheControl.isEmpty { return }
        for directive in self.cacheControl.split(separator: ",") {
            let directive = directive.trimmingSpaces.lowercased()
            for name in ["max-age=", "stale-if-error="] where directive.hasPrefix(name) {
                if Int64(directive.dropFirst(name.count)) == nil {
                    throw APIError(400, "Invalid Cache-Control header.")
                }
            }
        }
    }
}

/// Whether every character is a letter, a mark, a number, a sign or a space (Go's `unicode.IsPrint`). Bytes that are not
/// UTF-8 count as U+FFFD, which is a sign.
func isPrintable(_ path: [UInt8]) -> Bool {
    if path.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) { return true }
    return String(decoding: path, as: UTF8.self).unicodeScalars.allSatisfy { scalar in
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        case .spaceSeparator: scalar == " "
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
            .spacingMark, .enclosingMark, .decimalNumber, .letterNumber, .otherNumber, .connectorPunctuation,
            .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation, .finalPunctuation,
            .otherPunctuation, .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol:
            true
        @unknown default: false
        }
    }
}
