import Testing
import Units

@Suite struct ByteKeyTests {
    @Test func ordersBytewiseAndNotByCharacters() {
        let keys = [ByteKey("b"), ByteKey([0xC3, 0xA9]), ByteKey("a"), ByteKey([0x65, 0xCC, 0x81]), ByteKey("")]
        #expect(
            keys.sorted() == [
                ByteKey(""), ByteKey("a"), ByteKey("b"), ByteKey([0x65, 0xCC, 0x81]), ByteKey([0xC3, 0xA9]),
            ])
    }

    @Test func composedAndDecomposedFormsAreTwoKeys() {
        #expect(ByteKey("\u{E9}") != ByteKey("e\u{301}"))
    }

    @Test func theEndOfAPrefixIsTheFirstKeyBehindIt() {
        #expect(ByteKey("ab").endOfPrefix == ByteKey("ac"))
        #expect(ByteKey([0x61, 0xFF]).endOfPrefix == ByteKey([0x62]))
        #expect(ByteKey([0xFF, 0xFF]).endOfPrefix == nil)
        #expect(ByteKey("").endOfPrefix == nil)
    }

    @Test func aNodesUUIDHoldsItsIdAndComesBack() {
        let id = NodeID(random: 0x1234_5678_9ABC_DEF0)
        #expect(id.uuid.utf8.count == 36)
        #expect(NodeID(uuid: id.uuid) == id)
        #expect(NodeID(uuid: "00000000-0000-0000-0000-000000000000") == nil)
        #expect(NodeID(uuid: "short") == nil)
    }
}
