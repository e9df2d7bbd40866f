import PersistentMap
import Units

/// Names with a deadline each, the earliest first. Setting a name again moves its deadline.
struct DeadlineQueue: Sendable {
    private struct Slot: Comparable, Hashable, Sendable {
        var deadline: Instant
        var name: ByteKey
        static func < (left: Slot, right: Slot) -> Bool {
            left.deadline == right.deadline ? left.name < right.name : left.deadline < right.deadline
        }
    }

    private var slots = PersistentMap<Slot, Bool>()
    private var deadlines = PersistentMap<ByteKey, Instant>()

    var isEmpty: Bool { self.slots.isEmpty }
    var earliest: Instant? { self.slots.first?.key.deadline }

    func deadline(of name: String) -> Instant? { self.deadlines[ByteKey(name)] }

    mutating func set(_ name: String, deadline: Instant) {
        let key = ByteKey(name)
        if let old = self.deadlines[key] { self.slots[Slot(deadline: old, name: key)] = nil }
        self.deadlines[key] = deadline
        self.slots[Slot(deadline: deadline, name: key)] = true
    }

    mutating func remove(_ name: String) {
        let key = ByteKey(name)
        guard let old = self.deadlines[key] else { return }
        self.deadlines[key] = nil
        self.slots[Slot(deadline: old, name: key)] = nil
    }

    /// Takes out the earliest name whose deadline has passed.
    mutating func popExpired(at now: Instant) -> String? {
        guard let slot = self.slots.first?.key, slot.deadline <= now else { return nil }
        self.slots[slot] = nil
        self.deadlines[slot.name] = nil
        return String(decoding: slot.name.bytes, as: UTF8.self)
    }

    mutating func removeAll() { self = DeadlineQueue() }
}
