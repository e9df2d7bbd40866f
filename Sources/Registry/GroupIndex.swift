import PersistentMap
import Units

/// Which rows belong to a group (a service's instances, the checks in a state), in order of the group and the row's key.
/// A key costs two references: its bytes are those of the table's own key and of a neighbour's group.
struct GroupIndex: Sendable {
    private struct Key: Comparable, Sendable {
        var group: ByteKey
        var row: ByteKey

        static func < (left: Key, right: Key) -> Bool {
            left.group == right.group ? left.row < right.row : left.group < right.group
        }
    }

    private var rows = PersistentMap<Key, Nothing>()

    /// - Parameter row: best the very key under which the row stands in its table.
    mutating func insert(_ row: ByteKey, into group: ByteKey) {
        let neighbour = self.rows.lowerBound(Key(group: group, row: ByteKey([])))?.key.group
        self.rows.set(Key(group: neighbour == group ? neighbour ?? group : group, row: row), Nothing())
    }

    mutating func remove(_ row: ByteKey, from group: ByteKey) {
        self.rows.remove(Key(group: group, row: row))
    }

    func contains(_ group: ByteKey) -> Bool {
        self.rows.lowerBound(Key(group: group, row: ByteKey([])))?.key.group == group
    }

    /// The keys of a group's rows, in order.
    func forEach(in group: ByteKey, _ body: (ByteKey) -> Void) {
        self.rows.forEach(from: Key(group: group, row: ByteKey([]))) { key, _ in
            guard key.group == group else { return false }
            body(key.row)
            return true
        }
    }

    /// The keys of all rows, group after group.
    func forEach(_ body: (ByteKey) -> Void) {
        self.rows.forEach { key, _ in body(key.row) }
    }
}
