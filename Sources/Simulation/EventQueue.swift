/// What is due in the world, earliest first; equal times in the order they were asked for.
struct EventQueue {
    struct Item {
        var time: UInt64
        var sequence: UInt64
        var event: Event
    }

    /// A node's events carry the epoch they were made in: a crash starts a new one, and the old ones mean nothing.
    enum Event {
        case tick(slot: Int, epoch: Int)
        case wake(slot: Int, epoch: Int)
        case diskDone(slot: Int, epoch: Int, ticket: Int)
        case later(slot: Int, epoch: Int, work: Int)
        case restart(slot: Int, epoch: Int)
        case deliver(parcel: Int)
        case request(attempt: Int)
        case response(attempt: Int)
        case clientWake(client: Int)
        case clientTimeout(attempt: Int)
        case holderWake(Int)
        case holderRequest(attempt: Int)
        case holderResponse(attempt: Int)
        case holderTimeout(attempt: Int)
        case holderRenewal(Int, session: String)
        case queryWake(Int)
        case queryArrives(Int)
        case queryAnswered(Int)
        case queryTimeout(Int)
        case queryDue(Int)
        case callLost(slot: Int, server: Int, number: UInt64)
        case fault
        case carousel(rounds: Int, since: UInt64)
        case partitionEnds(Int)
        case clog(from: Int, to: Int, on: Bool)
        case diskRecovers(slot: Int, epoch: Int)
        case administrate
        case retire(slot: Int)
        case resume(slot: Int)
        case bulk
    }

    private var heap: [Item] = []
    private var issued: UInt64 = 0

    var isEmpty: Bool { self.heap.isEmpty }

    mutating func push(_ event: Event, at time: UInt64) {
        self.issued += 1
        let item = Item(time: time, sequence: self.issued, event: event)
        self.heap.append(item)
        var child = self.heap.count - 1
        self.heap.withUnsafeMutableBufferPointer { heap in
            while child > 0 {
                let parent = (child - 1) / 2
                if !Self.isEarlier(item, heap[parent]) { break }
                heap[child] = heap[parent]
                child = parent
            }
            heap[child] = item
        }
    }

    mutating func pop() -> Item? {
        guard let first = self.heap.first, let last = self.heap.popLast() else { return nil }
        let count = self.heap.count
        if count == 0 { return first }
        self.heap.withUnsafeMutableBufferPointer { heap in
            var parent = 0
            while true {
                var child = 2 * parent + 1
                if child >= count { break }
                if child + 1 < count, Self.isEarlier(heap[child + 1], heap[child]) { child += 1 }
                if !Self.isEarlier(heap[child], last) { break }
                heap[parent] = heap[child]
                parent = child
            }
            heap[parent] = last
        }
        return first
    }

    private static func isEarlier(_ left: Item, _ right: Item) -> Bool {
        left.time == right.time ? left.sequence < right.sequence : left.time < right.time
    }
}
