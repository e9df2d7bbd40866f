import Raft
import Units

/// The wires between servers: one lossy, slow link in each direction.
final class Network {
    /// A message under way, or from level 1 on the frame that carries it.
    struct Parcel {
        enum Content {
            case message(Message)
            case call(Call)
        }

        var from: Int
        var to: Int
        var content: Content
        /// The bytes on the wire, where nodes speak bytes.
        var frame: [UInt8] = []
        var arrival: UInt64 = 0

        /// As one word, for the trace.
        var code: UInt64 {
            switch self.content {
            case .message(let message): MessageDigest.code(message)
            case .call(let call): call.code
            }
        }

        var isCall: Bool { if case .call = self.content { true } else { false } }
    }

    /// Level 2: a call between servers, or the answer to it.
    struct Call {
        var caller: Int
        /// The calling process, and its number for the call.
        var server: Int
        var number: UInt64
        var isAnswer: Bool

        var code: UInt64 { (self.isAnswer ? 18 : 17) << 48 | UInt64(self.server) << 24 | self.number & 0xFF_FFFF }
    }

    private unowned let world: World
    private var random: SimulationRandom
    private let slots: Int
    private var parcels: [Parcel?] = []
    private var free: [Int] = []
    private var lastArrival: [UInt64]
    private var clogged: [Bool]
    /// How many partitions cut each link.
    private var cuts: [Int]
    private var partitions: [[Int]] = []

    init(world: World, slots: Int) {
        self.world = world
        self.slots = slots
        self.random = SimulationRandom(seed: world.seed, concern: "network")
        self.lastArrival = Array(repeating: 0, count: slots * slots)
        self.clogged = Array(repeating: false, count: slots * slots)
        self.cuts = Array(repeating: 0, count: slots * slots)
    }

    func send(_ parcel: Parcel) {
        let link = parcel.from * self.slots + parcel.to
        let options = self.world.options
        self.world.tally.messages += 1
        if parcel.isCall { return self.sendCall(parcel, link: link) }
        let isLost = self.random.chance(self.world.isHealed ? 0 : options.dropChance)
        if self.cuts[link] > 0 || self.clogged[link] || isLost {
            self.world.tally.dropped += 1
            self.world.record(.dropped, slot: parcel.from, peer: parcel.to, parcel.code)
            return
        }
        if self.random.chance(self.world.isHealed ? 0 : options.corruptChance) {
            self.world.tally.corrupted += 1
            self.world.record(.corrupted, slot: parcel.from, peer: parcel.to, parcel.code)
            // Without bytes there is nothing to flip: the frame's checksum has done its work.
            if parcel.frame.isEmpty { return }
            var damaged = parcel
            damaged.frame[self.random.below(damaged.frame.count)] ^= UInt8(1 << self.random.below(8))
            self.dispatch(damaged, link: link)
            return
        }
        self.dispatch(parcel, link: link)
        if self.random.chance(self.world.isHealed ? 0 : options.duplicateChance) {
            self.world.record(.duplicated, slot: parcel.from, peer: parcel.to, parcel.code)
            self.dispatch(parcel, link: link)
        }
    }

    /// What TCP loses it sends again, a little later each time; what a cut link swallows is lost with the connection.
    private func sendCall(_ parcel: Parcel, link: Int) {
        if self.cuts[link] > 0 || self.clogged[link] {
            self.world.tally.dropped += 1
            self.world.record(.dropped, slot: parcel.from, peer: parcel.to, parcel.code)
            return self.world.lost(parcel)
        }
        var again: UInt64 = 0
        while !self.world.isHealed, again < 5, self.random.chance(self.world.options.dropChance) { again += 1 }
        self.dispatch(parcel, link: link, after: again * 200 * SwarmOptions.millisecond)
    }

    private func dispatch(_ parcel: Parcel, link: Int, after wait: UInt64 = 0) {
        let options = self.world.options
        var delay = wait
        if self.world.isHealed {
            delay += 100_000 + self.random.exponential(mean: 400_000)
        } else {
            delay += 20_000 + self.random.exponential(mean: options.delay)
            if self.random.chance(options.tailChance) { delay += self.random.exponential(mean: options.tailDelay) }
        }
        var arrival = self.world.now + delay
        if options.isOrdered { arrival = max(arrival, self.lastArrival[link] + 1) }
        self.lastArrival[link] = arrival
        self.post(parcel, at: arrival)
    }

    private func post(_ parcel: Parcel, at arrival: UInt64) {
        var parcel = parcel
        parcel.arrival = arrival
        let place: Int
        if let reused = self.free.popLast() {
            place = reused
            self.parcels[place] = parcel
        } else {
            place = self.parcels.count
            self.parcels.append(parcel)
        }
        self.world.schedule(.deliver(parcel: place), at: arrival)
    }

    /// Takes a parcel off the wire; nil when a partition came down on it meanwhile.
    func take(_ place: Int) -> Parcel? {
        guard let parcel = self.parcels[place] else { return nil }
        self.parcels[place] = nil
        self.free.append(place)
        let isCut = self.cuts[parcel.from * self.slots + parcel.to] > 0
        if isCut, parcel.isCall { self.world.lost(parcel) }
        return isCut ? nil : parcel
    }

    /// Undoes a `take` that comes too early. Places are reused only after a `take`, so this one is still free.
    func putBack(_ parcel: Parcel, place: Int) {
        self.parcels[place] = parcel
        self.free.removeAll { $0 == place }
    }

    // MARK: - Cuts

    /// - Returns: the partition's number, to end it by.
    func cut(_ links: [(from: Int, to: Int)]) -> Int {
        let cut = links.map { $0.from * self.slots + $0.to }
        for link in cut { self.cuts[link] += 1 }
        self.partitions.append(cut)
        return self.partitions.count - 1
    }

    func endPartition(_ number: Int) {
        for link in self.partitions[number] { self.cuts[link] -= 1 }
        self.partitions[number] = []
    }

    func clog(from: Int, to: Int, _ on: Bool) { self.clogged[from * self.slots + to] = on }

    func heal() {
        for number in self.partitions.indices { self.endPartition(number) }
        for link in self.clogged.indices { self.clogged[link] = false }
        if self.world.options.isOrdered { self.hurry() }
    }

    /// Where order is kept, a message that is long under way holds back all that follow: on a healed network it arrives
    /// now, and what waited behind it after it.
    private func hurry() {
        let now = self.world.now
        for link in self.lastArrival.indices { self.lastArrival[link] = min(self.lastArrival[link], now) }
        // Old places stay taken: their events are still to come, and find nothing.
        let places = self.parcels.indices.filter { self.parcels[$0] != nil }
        let late = places.compactMap { self.parcels[$0] }.sorted { $0.arrival < $1.arrival }
        for place in places { self.parcels[place] = nil }
        for parcel in late {
            let link = parcel.from * self.slots + parcel.to
            let arrival = max(now + 100_000, self.lastArrival[link] + 1)
            self.lastArrival[link] = arrival
            self.post(parcel, at: arrival)
        }
    }
}

/// A message as one word, for the trace.
enum MessageDigest {
    static func code(_ message: Message) -> UInt64 {
        let (kind, detail): (UInt64, UInt64) =
            switch message.body {
            case .voteRequest(let index, _, let pre, let transfer): (pre ? 1 : transfer ? 3 : 2, index.rawValue)
            case .voteResponse(let granted, let pre): (pre ? 4 : 5, granted ? 1 : 0)
            case .append(let append):
                (
                    append.entries.isEmpty ? 6 : 7,
                    append.previousIndex.rawValue << 8 | UInt64(append.entries.count & 0xFF)
                )
            case .appendResponse(let response):
                response.rejected ? (9, response.hintIndex.rawValue) : (8, response.matchIndex.rawValue)
            case .snapshotChunk(let chunk): (10, chunk.offset)
            case .snapshotResponse(let response): (response.installed ? 12 : 11, response.nextOffset)
            case .timeoutNow: (13, 0)
            case .readIndexRequest(let context, _): (14, context & 0xFFFF)
            case .readIndexResponse(_, let index, let refused): (refused ? 16 : 15, index.rawValue)
            }
        return kind << 48 | (detail & 0xFFFF_FFFF_FFFF)
    }

    static func name(_ message: Message) -> StaticString {
        switch message.body {
        case .voteRequest(_, _, let pre, let transfer): pre ? "preVote?" : transfer ? "transferVote?" : "vote?"
        case .voteResponse(let granted, let pre):
            pre ? (granted ? "preVote yes" : "preVote no") : (granted ? "vote yes" : "vote no")
        case .append(let append): append.entries.isEmpty ? "heartbeat" : "append"
        case .appendResponse(let response): response.rejected ? "append rejected" : "append ok"
        case .snapshotChunk: "snapshot chunk"
        case .snapshotResponse(let response): response.installed ? "snapshot installed" : "snapshot next"
        case .timeoutNow: "timeoutNow"
        case .readIndexRequest: "readIndex?"
        case .readIndexResponse(_, _, let refused): refused ? "readIndex refused" : "readIndex"
        }
    }
}
