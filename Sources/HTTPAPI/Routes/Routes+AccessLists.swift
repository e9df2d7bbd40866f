extension RouteTable {
    /// Access lists are off: these routes say so, to whoever uses the right method (Consul's API pages ACL).
    static let accessLists: [Route] = {
        let whole: [StaticString] = ["/v1/acl/policy/*", "/v1/acl/role/*", "/v1/acl/binding-rule/*"]
        let more: [StaticString] = ["/v1/acl/auth-method/*", "/v1/acl/token/*"]
        let read: [StaticString] = [
            "/v1/acl/replication", "/v1/acl/policies", "/v1/acl/policy/name/*", "/v1/acl/roles", "/v1/acl/role/name/*",
            "/v1/acl/binding-rules", "/v1/acl/auth-methods", "/v1/acl/tokens", "/v1/acl/token/self",
            "/v1/acl/templated-policies", "/v1/acl/templated-policy/name/*",
            // What Consul itself has given up, and older clients still ask.
            "/v1/acl/list", "/v1/acl/info/*", "/v1/acl/rules/translate/*",
        ]
        let written: [StaticString] = [
            "/v1/acl/bootstrap", "/v1/acl/policy", "/v1/acl/role", "/v1/acl/binding-rule", "/v1/acl/auth-method",
            "/v1/acl/token", "/v1/agent/token/*", "/v1/acl/create", "/v1/acl/update", "/v1/acl/destroy/*",
            "/v1/acl/clone/*",
        ]
        let posted: [StaticString] = [
            "/v1/acl/login", "/v1/acl/logout", "/v1/acl/templated-policy/preview/*", "/v1/internal/acl/authorize",
            "/v1/acl/rules/translate",
        ]
        let off: Route.Handler = StatusHandlers.accessListsDisabled
        var routes = (whole + more + read).map { Route.get($0, of: .status, off) }
        routes += (whole + more + written).map { Route.put($0, of: .status, off) }
        routes += (whole + more).map { Route.delete($0, of: .status, off) }
        return routes + posted.map { Route.post($0, of: .status, off) }
    }()
}
