/// What a request wants to touch.
public struct AccessRequest: Sendable, Equatable {
    public enum Resource: Sendable, Equatable {
        case key, session, service, node, agent, `operator`
        /// Open to everyone: the leader's address, the datacenters.
        case status
    }

    /// The secret that came with the request; "" for none.
    public var token: String
    public var resource: Resource
    /// The key, service, node or session that the path names; "" when the route names none.
    public var name: [UInt8]
    public var isWrite: Bool

    public init(token: String, resource: Resource, name: [UInt8], isWrite: Bool) {
        self.token = token
        self.resource = resource
        self.name = name
        self.isWrite = isWrite
    }
}

/// Denied; the text goes to the client with status 403.
public struct AccessDenied: Error, Sendable, Equatable {
    public var text: String
    public init(text: String = "Permission denied") { self.text = text }
}

/// Decides who may do what, from what this process knows: it waits for nobody. Every request passes it once, before its
/// handler runs.
public protocol Authorizer: Sendable {
    /// Returns who is asking, as the audit trail and the log show it; "" is anonymous.
    func authorize(_ request: AccessRequest) throws(AccessDenied) -> String
}

/// Access lists are off: everyone may do everything.
public struct AllowAll: Authorizer {
    public init() {}
    public func authorize(_ request: AccessRequest) throws(AccessDenied) -> String { "" }
}
