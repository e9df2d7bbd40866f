import Units

/// Majorities, as pure functions of a configuration. A joint configuration needs a majority of both halves
/// (dissertation §4.3).
public enum Quorum {
    public enum VoteResult: Sendable, Equatable { case won, lost, pending }

    /// The largest value that a majority of `voters` has reached: the lower median of the values, sorted.
    /// `nil` for no voters. Values of 5 voters 7 5 9 1 8 → sorted 1 5 7 8 9 → three of five have reached 7.
    public static func reached<Value: Comparable>(by voters: [Member], _ value: (NodeID) -> Value) -> Value? {
        if voters.isEmpty { return nil }
        var values = voters.map { value($0.id) }
        values.sort()
        return values[(values.count - 1) / 2]
    }

    /// As above, for both halves of a joint configuration.
    public static func reached<Value: Comparable>(
        in configuration: Configuration, _ value: (NodeID) -> Value
    ) -> Value? {
        guard let incoming = Self.reached(by: configuration.voters, value) else { return nil }
        guard let outgoing = configuration.outgoing, let other = Self.reached(by: outgoing, value) else {
            return incoming
        }
        return min(incoming, other)
    }

    /// `vote`: true granted, false refused, nil not answered.
    public static func result(in configuration: Configuration, _ vote: (NodeID) -> Bool?) -> VoteResult {
        let incoming = Self.result(of: configuration.voters, vote)
        guard let outgoing = configuration.outgoing else { return incoming }
        let other = Self.result(of: outgoing, vote)
        if incoming == .lost || other == .lost { return .lost }
        return incoming == .won && other == .won ? .won : .pending
    }

    private static func result(of voters: [Member], _ vote: (NodeID) -> Bool?) -> VoteResult {
        if voters.isEmpty { return .lost }
        var granted = 0
        var refused = 0
        for voter in voters {
            switch vote(voter.id) {
            case true?: granted += 1
            case false?: refused += 1
            case nil: break
            }
        }
        let majority = voters.count / 2 + 1
        if granted >= majority { return .won }
        return voters.count - refused < majority ? .lost : .pending
    }
}
