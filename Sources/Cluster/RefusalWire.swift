import Protocol
import Raft
import Transport
import Units

/// How the outcome of a forwarded write travels: a result, or a reason that tells the requester whether to try again.
enum RefusalWire {
    // Codes in `Response.error_code`, below HTTP's.
    private static let notLeader: UInt32 = 1
    private static let overloaded: UInt32 = 2
    private static let diskFull: UInt32 = 3
    private static let timedOut: UInt32 = 4
    private static let invalid: UInt32 = 5
    private static let other: UInt32 = 6

    static func response(to outcome: ProposeOutcome) -> PeerResponse {
        switch outcome {
        case .applied(let result):
            var response = PeerResponse()
            response.result = result
            return response
        case .refused(let reason, let mayApply): return Self.response(to: reason, mayApply: mayApply)
        }
    }

    static func response(to reason: RefusalReason, mayApply: Bool) -> PeerResponse {
        let code: UInt32
        var text = "\(reason)"
        switch reason {
        case .notLeader, .lostLeadership: code = Self.notLeader
        case .overloaded: code = Self.overloaded
        case .diskFull: code = Self.diskFull
        case .timedOut: code = Self.timedOut
        case .invalid(let why):
            code = Self.invalid
            text = why
        case .quarantined, .membershipChangeInProgress, .termNotCommitted: code = Self.other
        }
        return .failure(code, text, notProposed: !mayApply)
    }

    /// What went wrong with a write that this server tried to place for an agent.
    static func response(to error: ClusterError) -> PeerResponse {
        switch error {
        case .noLeader, .noServers, .shuttingDown, .notAServer: Self.response(to: .notLeader(nil), mayApply: false)
        case .outcomeUnknown: Self.response(to: .timedOut, mayApply: true)
        case .overloaded: Self.response(to: .overloaded, mayApply: false)
        case .diskFull: Self.response(to: .diskFull, mayApply: false)
        case .refused(_, let text): Self.response(to: .invalid(text), mayApply: false)
        }
    }

    static func outcome(of response: PeerResponse) -> ProposeOutcome {
        if response.error.isEmpty {
            if case .result(let result) = response.kind { return .applied(result) }
            return .refused(.lostLeadership, mayApply: true)
        }
        return .refused(Self.reason(of: response), mayApply: !response.notProposed)
    }

    static func reason(of response: PeerResponse) -> RefusalReason {
        switch response.errorCode {
        case Self.notLeader: .notLeader(nil)
        case Self.overloaded, 429: .overloaded
        case Self.diskFull: .diskFull
        case Self.timedOut: .timedOut
        case Self.invalid, 400..<429: .invalid(response.error)
        default: .lostLeadership
        }
    }
}
