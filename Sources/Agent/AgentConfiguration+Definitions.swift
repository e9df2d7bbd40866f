import HTTPAPI
import LocalAgent
import Units

// Services, checks and watches of the files, read by the same decoder as the API's.
extension AgentConfiguration {
    mutating func takeDefinitions(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        var places: [ByteKey: String] = [:]
        for definition in reader.services {
            let service = try self.service(definition)
            let id = ByteKey(service.effectiveID)
            if let first = places.updateValue(definition.place, forKey: id) {
                self.warnings.append(
                    "\(definition.place): service \(service.effectiveID) stands at \(first), too; this one counts")
                self.serviceDefinitions.removeAll { ByteKey($0.effectiveID) == id }
            }
            self.serviceDefinitions.append(service)
        }
        places = [:]
        for definition in reader.checks {
            let check = try self.check(definition)
            let id = ByteKey(check.effectiveID)
            if let first = places.updateValue(definition.place, forKey: id) {
                self.warnings.append(
                    "\(definition.place): check \(check.effectiveID) stands at \(first), too; this one counts")
                self.checkDefinitions.removeAll { ByteKey($0.effectiveID) == id }
            }
            self.checkDefinitions.append(check)
        }
        for definition in reader.watches {
            self.watches.append(try WatchDefinition(definition.value, place: definition.place))
        }
    }

    private func service(
        _ definition: ConfigurationReader.Definition
    ) throws(AgentConfigurationError) -> ServiceDefinition {
        let service = try Self.decoded(definition, "service") { json throws(JSONError) in
            try DefinitionDecoder.service(json)
        }
        let key = service.name.isEmpty ? "service" : "service \(service.name)"
        if let why = service.validate() { throw .invalid(key: key, why: why, place: definition.place) }
        for check in service.checks + service.sidecar.flatMap(\.checks) { try self.vet(check, key, definition.place) }
        return service
    }

    private func check(
        _ definition: ConfigurationReader.Definition
    ) throws(AgentConfigurationError) -> CheckDefinition {
        let check = try Self.decoded(definition, "check") { json throws(JSONError) in
            try DefinitionDecoder.check(json)
        }
        if check.effectiveID.isEmpty {
            throw .invalid(key: "check", why: "Missing check name", place: definition.place)
        }
        let key = "check \(check.effectiveID)"
        if let why = check.validate() {
            throw .invalid(key: key, why: "Invalid check: \(why)", place: definition.place)
        }
        if !check.hasValidStatus {
            throw .invalid(
                key: key, why: "status must be passing, warning or critical, not \(check.status)",
                place: definition.place)
        }
        try self.vet(check, key, definition.place)
        return check
    }

    /// Scripts run as this process's user, so somebody must have said that they may.
    private func vet(_ check: CheckDefinition, _ key: String, _ place: String) throws(AgentConfigurationError) {
        if check.args.isEmpty || self.checks.enableLocalScripts || self.checks.enableScripts { return }
        throw .invalid(
            key: key,
            why: "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
                + "'enable_local_script_checks' to true", place: place)
    }

    private static func decoded<Value>(
        _ definition: ConfigurationReader.Definition, _ key: String,
        _ read: (JSONValue) throws(JSONError) -> Value
    ) throws(AgentConfigurationError) -> Value {
        do throws(JSONError) {
            return try read(try JSONValue.parse(definition.value.json))
        } catch {
            throw .invalid(key: key, why: error.text, place: definition.place)
        }
    }
}
