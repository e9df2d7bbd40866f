import NIOCore

extension APIResponse {
    /// Status line and headers, ending in the empty line. Without a length the body is sent in chunks, or ends with the
    /// connection.
    func encodedHead(contentLength: Int?, isChunked: Bool = true, closes: Bool, policy: String) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(384)
        if self.status == 200 {
            buffer.writeStaticString("HTTP/1.1 200 OK\r\n")
        } else {
            buffer.writeString("HTTP/1.1 \(self.status) \(reasonPhrase(self.status))\r\n")
        }
        self.eachHeader(defaultPolicy: policy) { constant, name, value in
            if let constant { buffer.writeStaticString(constant) } else { buffer.writeString(name) }
            buffer.writeStaticString(": ")
            if constant == nil { buffer.writeFieldValue(value) } else { buffer.writeString(value) }
            buffer.writeStaticString("\r\n")
        }
        HTTPDate.shared.write(to: &buffer)
        if let contentLength {
            buffer.writeStaticString("Content-Length: ")
            buffer.writeDecimal(UInt64(contentLength))
            buffer.writeStaticString("\r\n")
        } else if isChunked {
            buffer.writeStaticString("Transfer-Encoding: chunked\r\n")
        }
        if closes { buffer.writeStaticString("Connection: close\r\n") }
        buffer.writeStaticString("\r\n")
        return buffer
    }
}

extension ByteBuffer {
    /// A value that may hold what a client sent: line breaks would make further headers of it.
    fileprivate mutating func writeFieldValue(_ value: String) {
        if value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) {
            self.writeString(value)
        } else {
            self.writeBytes(value.utf8.map { $0 < 0x20 || $0 == 0x7F ? 0x20 : $0 })
        }
    }
}

/// RFC 9110 §15, in Go's wording.
func reasonPhrase(_ status: Int) -> String {
    switch status {
    case 200: "OK"
    case 301: "Moved Permanently"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 409: "Conflict"
    case 413: "Request Entity Too Large"
    case 415: "Unsupported Media Type"
    case 429: "Too Many Requests"
    case 500: "Internal Server Error"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    default: "Status"
    }
}
