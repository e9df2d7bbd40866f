import Foundation

/// The variables that stand for flags: Consul's `CONSUL_…`, and `SERAI_…` of the same name, which goes before it.
package struct CommandEnvironment: Sendable {
    private let variables: [String: String]

    package init(_ variables: [String: String]) { self.variables = variables }

    static var process: CommandEnvironment { CommandEnvironment(ProcessInfo.processInfo.environment) }

    /// The value of `SERAI_name` or else of `CONSUL_name`; nil for neither, or an empty one.
    package subscript(name: String) -> String? {
        for prefix in ["SERAI_", "CONSUL_"] {
            if let value = self.variables[prefix + name], !value.isEmpty { return value }
        }
        return nil
    }

    /// A flag's value goes before a variable's, as long as it says anything.
    package func value(_ given: String?, or name: String) -> String? {
        if let given, !given.isEmpty { return given }
        return self[name]
    }

    /// Go's spellings of a truth value (`strconv.ParseBool`); nil for none.
    package func truth(_ name: String) throws -> Bool? {
        guard let text = self[name] else { return nil }
        if let value = Arguments.truth(text) { return value }
        throw CommandFailure("Error connecting to agent: \(name) must be true or false, not \(text)")
    }
}
