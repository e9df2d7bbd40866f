import Cluster
import LocalAgent
import Protocol

/// A refused request: status and the text that clients of Consul know.
struct APIError: Error, Sendable, Equatable {
    var status: Int
    var text: String
    /// Seconds for `Retry-After`.
    var retryAfter: Int?
    /// `Connection: close`: the request's body was left unread.
    var closes = false
    /// Nothing was put into the log for this request.
    var isNotPlaced = false
    /// False: refused before a route was looked for.
    var isRouted = true
    /// A refused read of the catalog, of sessions: as if there were no leader.
    var isMarked = false

    init(_ status: Int, _ text: String, retryAfter: Int? = nil) {
        self.status = status
        self.text = text
        self.retryAfter = retryAfter
    }

    /// The same, with the headers that Consul's reads have even when they are refused.
    var marked: APIError {
        var error = self
        error.isMarked = true
        return error
    }

    var response: APIResponse {
        var response = APIResponse.text(self.status, self.text)
        if let retryAfter = self.retryAfter { response.headers.append(("Retry-After", String(retryAfter))) }
        response.closes = self.closes
        response.isNotPlaced = self.isNotPlaced
        response.isRouted = self.isRouted
        if self.isMarked { response.mark = ReadMark(index: 1, knownLeader: false, lastContact: .zero) }
        return response
    }
}

// The one place that turns what the rooms below say into status and text (Consul's HTTP API).
extension APIError {
    init(_ error: ClusterError) {
        switch error {
        case .noLeader: self.init(500, "No cluster leader")
        case .noServers: self.init(500, "No known Consul servers")
        case .outcomeUnknown(let text): self.init(500, "outcome unknown: \(text)")
        case .overloaded(leaderOnly: false):
            self.init(429, "rate limit exceeded, try again later or against a different server", retryAfter: 1)
        case .overloaded(leaderOnly: true):
            self.init(
                503, "rate limit exceeded for operation that can only be performed by the leader, try again later",
                retryAfter: 1)
        case .diskFull: self.init(500, "no space left on the servers' disks: the write was not accepted")
        case .refused(let status, let text): self.init(status, text)
        case .notAServer: self.init(500, "not a server: ask a server for this")
        case .shuttingDown: self.init(503, "shutting down", retryAfter: 1)
        }
        switch error {
        case .noLeader, .noServers, .overloaded, .diskFull: self.isNotPlaced = true
        case .outcomeUnknown, .refused, .notAServer, .shuttingDown: break
        }
    }

    init(_ failure: LogFailure) {
        switch failure.kind {
        case .failureInvalid, .failureNotFound, .failureUnspecified, .UNRECOGNIZED: self.init(500, failure.text)
        case .failureStaleTerm: self.init(500, "leadership changed while the request was on its way: \(failure.text)")
        case .failureResultForgotten:
            self.init(500, "outcome unknown: the result of this retried request is no longer kept")
        }
    }

    init(_ error: LocalAgentError) {
        switch error {
        case .invalid(let text): self.init(400, text)
        case .unknownService(let id):
            self.init(404, "Unknown service ID \"\(id)\". Ensure that the service ID is passed, not the service name.")
        case .unknownCheck(let id):
            self.init(404, "Unknown check ID \"\(id)\". Ensure that the check ID is passed, not the check name.")
        case .notTTL(let id): self.init(500, "CheckID \"\(id)\" does not have associated TTL")
        case .serviceOfCheckMissing(let id): self.init(404, "ServiceID \"\(id)\" does not exist")
        case .unknownMember(let name): self.init(500, "agent: No node found with name '\(name)'")
        case .overloaded(let text): self.init(429, text, retryAfter: 1)
        case .failed(let text): self.init(500, text)
        }
    }

    static let missingKey = APIError(400, "Missing key name")
    static let unprintable = {
        var error = APIError(400, "")
        error.isRouted = false
        return error
    }()
    static let clientGone = APIError(499, "client closed the connection")
}
