import Cluster

/// `Idempotency-Key: ID/SEQUENCE[/LOWEST]` on a write: the client's own number for it. However often the request is
/// sent, and to whichever address, it is applied once, and each time answered as the first time.
///
/// ID is drawn at random for the client's life, 8 to 64 letters, digits, `-` and `_`; SEQUENCE counts its writes from 1;
/// LOWEST is the lowest whose answer it may still ask for again. Results are kept for the last 4,096 writes of an ID,
/// for an hour after its last; a number that is older is refused, never applied anew. One number belongs to one request.
enum IdempotencyKey {
    static func number(_ text: String) throws(APIError) -> RequestNumber {
        let bare =
            text.hasPrefix("\"") && text.hasSuffix("\"") && text.utf8.count >= 2
            ? text.dropFirst().dropLast() : text[...]
        let parts = bare.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2 || parts.count == 3, (8...64).contains(parts[0].utf8.count),
            parts[0].utf8.allSatisfy(self.isOfID), let sequence = UInt64(parts[1]), sequence > 0,
            let lowest = parts.count == 3 ? UInt64(parts[2]) : 1, lowest > 0, lowest <= sequence
        else {
            throw APIError(
                400,
                "Idempotency-Key: must be ID/SEQUENCE or ID/SEQUENCE/LOWEST: 8 to 64 letters, digits, - and _, and "
                    + "numbers from 1 on, the last not above the second")
        }
        return RequestNumber(client: self.client(parts[0].utf8), sequence: sequence, lowestOutstanding: lowest)
    }

    /// FNV-1a, 64 bits; never 0, which means "not numbered".
    private static func client(_ id: Substring.UTF8View) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in id { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return max(1, hash)
    }

    private static func isOfID(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

extension APIRequest {
    /// Takes the number that the client gave this write. Routes whose writes are several commands, or none, have no use
    /// for one.
    mutating func takeIdempotencyKey() throws(APIError) {
        guard !self.idempotencyKey.isEmpty, self.method != .get, self.method != .head else { return }
        let number = try IdempotencyKey.number(self.idempotencyKey)
        let isOneWrite = ["/v1/kv/", "/v1/txn", "/v1/session/", "/v1/catalog/"].contains {
            self.path.starts(with: $0.utf8)
        }
        guard isOneWrite else {
            throw APIError(400, "Idempotency-Key: only /v1/kv, /v1/txn, /v1/session and /v1/catalog take one")
        }
        self.number = number
    }
}
