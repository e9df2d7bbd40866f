/// Why bytes are not a DNS message, or a value can't become one. Offsets count bytes from the start of the message.
public enum DNSCodecError: Error, Sendable, Equatable {
    /// The message ends inside the field that starts at `offset`.
    case unexpectedEnd(offset: Int)
    /// A name of more than 255 bytes on the wire (RFC 1035 §3.1).
    case nameTooLong
    /// A label of more than 63 bytes (RFC 1035 §3.1).
    case labelTooLong
    /// Two dots in a row, or one at the start of a name that is not the root.
    case emptyLabel
    /// A backslash with neither a character nor three digits up to 255 after it.
    case badEscape
    /// A compression pointer that does not point before the name it stands in.
    case badPointer(offset: Int)
    /// A label whose two upper bits are 01 or 10.
    case badLabelType(offset: Int)
    /// The record's data does not have the form that its type demands.
    case badRecordData(type: DNSRecordType, offset: Int)
    /// More than one OPT record, an OPT outside the additional section, or one whose owner is not the root
    /// (RFC 6891 §6.1.1).
    case badOPT
    /// Bytes follow the last record that the header announces.
    case trailingBytes(offset: Int)
    /// A message of more than 65,535 bytes.
    case messageTooLarge
    /// A field's value has no room on the wire: a string over 255 bytes, record data over 65,535, a bad address.
    case valueTooLarge(field: String)
}
