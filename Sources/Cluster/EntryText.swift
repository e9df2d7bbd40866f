import Protocol
import Raft
import SwiftProtobuf

/// An entry in a few words, for operators. Values stay out: they may be secrets.
package enum EntryText {
    package static func of(_ payload: Payload) -> String {
        switch payload {
        case .noop: "no-op"
        case .configuration(let configuration): "configuration: " + self.of(configuration)
        case .command(let bytes): self.command(bytes)
        }
    }

    package static func of(_ configuration: Configuration) -> String {
        func names(_ members: [Member]) -> String { members.map(\.name).joined(separator: ", ") }
        var text = "voters \(names(configuration.voters))"
        if let outgoing = configuration.outgoing { text += "; outgoing \(names(outgoing))" }
        if !configuration.learners.isEmpty { text += "; learners \(names(configuration.learners))" }
        return text
    }

    private static func command(_ bytes: [UInt8]) -> String {
        guard let envelope = try? LogEnvelope(serializedBytes: bytes) else { return "command that can't be read" }
        guard let kind = envelope.command.kind else { return "command of a newer version" }
        // The case's name says enough, whatever cases there are.
        let name = Mirror(reflecting: kind).children.first?.label ?? "command"
        switch kind {
        case .kvPut(let put): return "\(name) \(String(decoding: put.key, as: UTF8.self))"
        case .kvDelete(let delete): return "\(name) \(String(decoding: delete.key, as: UTF8.self))"
        case .register(let register):
            return "\(name) \(register.node.name)" + (register.hasService ? " \(register.service.id)" : "")
        case .deregister(let deregister):
            return "\(name) \(deregister.node) \(deregister.serviceID)\(deregister.checkID)"
        case .batch(let batch): return "\(name) of \(batch.commands.count)"
        default: return name
        }
    }
}
