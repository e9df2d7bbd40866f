import Raft
import Units

/// Runs seeds. A run has a safety phase under faults, a heal, and a phase in which the cluster must get well.
public enum Simulation {
    /// Fewer successes than these in a run, and it says nothing.
    public static let writesFloor = 20
    public static let readsFloor = 5

    /// - Parameters:
    ///   - canary: break a state machine on purpose, to see it reported.
    ///   - traceCapacity: how many of the last events a failing run reports.
    ///   - echo: gets every event as text, for one run that is looked at closely.
    public static func run(
        seed: UInt64, level: Int, options: SwarmOptions? = nil, canary: Bool = false, traceCapacity: Int = 400,
        echo: ((String) -> Void)? = nil
    ) -> RunReport {
        let options = options ?? SwarmOptions.drawn(from: seed, level: level)
        let world = World(
            seed: seed, level: level, options: options, canary: canary, traceCapacity: traceCapacity, echo: echo)
        let outcome = Self.play(world)
        world.end()
        world.tally.virtualNanoseconds = world.now
        world.tally.locks = world.oracle.sessions.acquisitions
        world.tally.expirations = world.oracle.sessions.expirations
        world.tally.committed = Int(world.invariants.committed)
        return RunReport(
            seed: seed, level: level, outcome: outcome, options: options, tally: world.tally,
            traceHash: world.trace.digest.value,
            trace: outcome == .pass ? [] : world.trace.tail.map(\.description))
    }

    /// Whether this seed carries the canary in a run over many seeds.
    public static func isCanary(_ seed: UInt64) -> Bool { seed % 50 == 0 }

    private static func play(_ world: World) -> Outcome {
        world.begin()
        world.run(to: world.options.safetyPhase)
        if let finding = world.invariants.finding { return .safety(finding) }
        world.heal()
        if let outcome = Self.recover(world) { return outcome }
        world.clients.checkHistory()
        if let finding = world.invariants.finding { return .safety(finding) }
        return Self.floors(world)
    }

    /// I20 and I21: after the heal, a leader, then work done, then all alike, then calm.
    private static func recover(_ world: World) -> Outcome? {
        func stuck(_ invariant: String, _ text: String) -> Outcome {
            if let finding = world.invariants.finding { return .safety(finding) }
            return .liveness(Finding(invariant, text, time: world.now))
        }
        let timeout = world.options.raft.electionTimeoutMax.rawValue
        // Clocks may run slow, and a server that was down comes back within half a second.
        let slack = SwarmOptions.second + 10 * timeout * 5 / 4
        if !world.run(to: world.now + slack, until: { world.leader != nil }) {
            return stuck("I20", "no leader within ten election timeouts of the heal")
        }
        let healthy = world.now
        let worked = world.run(to: healthy + 30 * SwarmOptions.second) {
            let done = world.clients.succeeded(since: healthy)
            return done.writes >= 10 && done.reads >= 10
        }
        if !worked {
            let done = world.clients.succeeded(since: healthy)
            return stuck("I20", "\(done.writes) writes and \(done.reads) reads in 30 s after the heal, not 10 each")
        }
        world.clients.stop()
        world.holders.stop()
        world.queries.stop()
        if !world.run(to: world.now + 60 * SwarmOptions.second, until: { Self.isSettled(world) }) {
            return stuck("I20", "not alike within 60 s: \(Self.describe(world))")
        }
        let changes = world.invariants.leaderChanges
        world.run(to: world.now + 20 * SwarmOptions.second)
        if let finding = world.invariants.finding { return .safety(finding) }
        if world.invariants.leaderChanges != changes {
            return stuck("I21", "\(world.invariants.leaderChanges - changes) elections in a healthy cluster")
        }
        return Self.checkSessions(world)
    }

    /// I15: nobody has renewed anything for twenty seconds. And what each server says of its state is so.
    ///
    /// A server that was removed may never learn of it: by its own log it is a member, and what ends later it does not
    /// hear. So who is one is the leader's to say.
    private static func checkSessions(_ world: World) -> Outcome? {
        let members = world.leader.map { world.nodes[$0].configuration }
        for node in world.nodes {
            guard let node = node as? ReplicaNode, node.isUp else { continue }
            if let count = node.server?.waitingCount, count > 0 {
                world.invariants.fail("I26", "s\(node.slot) keeps \(count) watches for clients that are gone")
            }
            if members?.contains(node.id) ?? true { world.holders.checkNoneOutlivedIts(ttlOn: node) }
            if let registry = node.replica?.registry, registry.recomputedHashes() != registry.hashes {
                world.invariants.fail("I5", "s\(node.slot)'s hashes are not those of its rows")
            }
        }
        return world.invariants.finding.map { .safety($0) }
    }

    /// Every member of the leader's configuration is up, sound, and has applied everything.
    private static func isSettled(_ world: World) -> Bool {
        guard world.clients.isIdle, world.holders.isIdle, world.queries.isIdle, world.administrator.lost.isEmpty,
            let leader = world.leader
        else { return false }
        let configuration = world.nodes[leader].configuration
        if configuration.isJoint { return false }
        return configuration.allMembers.allSatisfy { member in
            guard let slot = world.slot(of: member.id) else { return false }
            return world.nodes[slot].isUp && world.invariants.subjects[slot].quarantine == nil
                && world.nodes[slot].appliedIndex == world.invariants.committed
        }
    }

    private static func describe(_ world: World) -> String {
        let nodes = world.nodes.map { node in
            let status = node.status
            let quarantine = world.invariants.subjects[node.slot].quarantine.map { " quarantined until \($0)" } ?? ""
            return "s\(node.slot) \(node.isUp ? "\(status.role)" : "down") term \(status.term) last \(status.last)"
                + " commit \(status.commit) applied \(node.appliedIndex)\(quarantine)"
        }
        let voters = world.leader.map { world.nodes[$0].configuration.allMembers.map { "\($0.id.rawValue)" } } ?? []
        return nodes.joined(separator: ", ") + "; members \(voters.joined(separator: " ")); "
            + "committed \(world.invariants.committed), disks to replace \(world.administrator.lost.count), "
            + (world.clients.isIdle ? "clients idle" : "clients busy")
    }

    private static func floors(_ world: World) -> Outcome {
        let tally = world.tally
        if tally.writes < Self.writesFloor { return .vacuous("\(tally.writes) writes") }
        if tally.reads < Self.readsFloor { return .vacuous("\(tally.reads) reads") }
        if tally.elections < 1 { return .vacuous("no election") }
        return .pass
    }
}
