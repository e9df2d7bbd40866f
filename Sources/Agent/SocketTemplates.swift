import Foundation
import Pattern

/// Addresses written as `{{ … }}`, in the language of hashicorp/go-sockaddr that Consul's configuration takes: a source of
/// interfaces and filters behind it, `{{ GetPrivateInterfaces | include "name" "^eth" | attr "address" }}`.
struct SocketTemplates {
    struct Failure: Error {
        var text: String
    }

    var interfaces: [AgentConfiguration.Machine.Interface]

    static func isTemplate(_ text: String) -> Bool { text.contains("{{") }

    /// The text with every template replaced by what it yields.
    func expanded(_ text: String) throws(Failure) -> String {
        var result = ""
        var rest = text[...]
        while let open = rest.range(of: "{{") {
            result += rest[..<open.lowerBound]
            guard let close = rest[open.upperBound...].range(of: "}}") else {
                throw Failure(text: "{{ without }} in \(text)")
            }
            result += try self.evaluated(rest[open.upperBound..<close.lowerBound])
            rest = rest[close.upperBound...]
        }
        return result + rest
    }

    private enum Value {
        case interfaces([AgentConfiguration.Machine.Interface])
        case text(String)
    }

    private func evaluated(_ pipeline: Substring) throws(Failure) -> String {
        var calls = try Self.calls(pipeline)
        if calls.isEmpty { throw Failure(text: "an empty template") }
        let first = calls.removeFirst()
        var value = try self.source(first.name, first.arguments)
        for call in calls {
            guard case .interfaces(let list) = value else { throw Failure(text: "\(call.name) after text") }
            value = try self.filtered(list, call.name, call.arguments)
        }
        guard case .text(let text) = value else {
            throw Failure(text: "interfaces are no address; add | attr \"address\"")
        }
        return text
    }

    // MARK: reading

    private static func calls(_ pipeline: Substring) throws(Failure) -> [(name: String, arguments: [String])] {
        var calls: [(name: String, arguments: [String])] = []
        var words: [String] = []
        var rest = pipeline
        func finish() throws(Failure) {
            guard let name = words.first else { throw Failure(text: "nothing before or after a | in {{\(pipeline)}}") }
            calls.append((name, Array(words.dropFirst())))
            words = []
        }
        while let character = rest.first {
            if character.isWhitespace {
                rest.removeFirst()
            } else if character == "|" {
                rest.removeFirst()
                try finish()
            } else if character == "\"" || character == "`" {
                rest.removeFirst()
                guard let end = rest.firstIndex(of: character) else {
                    throw Failure(text: "text without an end in {{\(pipeline)}}")
                }
                words.append(String(rest[..<end]))
                rest = rest[rest.index(after: end)...]
            } else {
                let word = rest.prefix { !$0.isWhitespace && $0 != "|" && $0 != "\"" }
                words.append(String(word))
                rest = rest[word.endIndex...]
            }
        }
        if words.isEmpty, calls.isEmpty { return [] }
        try finish()
        return calls
    }

    // MARK: sources

    private func source(_ name: String, _ arguments: [String]) throws(Failure) -> Value {
        let usable = self.interfaces.filter { $0.isUp && $0.isForwardable }
        let inOrder = Self.sorted(usable, by: "default,type,size")
        switch name {
        case "GetAllInterfaces": return .interfaces(self.interfaces)
        case "GetDefaultInterfaces": return .interfaces(inOrder.filter(\.isDefault))
        case "GetPrivateInterfaces": return .interfaces(inOrder.filter(\.isPrivate))
        case "GetPublicInterfaces": return .interfaces(inOrder.filter { !$0.isPrivate })
        case "GetPrivateIP": return .text(inOrder.first(where: \.isPrivate)?.address ?? "")
        case "GetPrivateIPs": return .text(Self.joined(inOrder.filter(\.isPrivate)))
        case "GetPublicIP": return .text(inOrder.first { !$0.isPrivate }?.address ?? "")
        case "GetPublicIPs": return .text(Self.joined(inOrder.filter { !$0.isPrivate }))
        case "GetInterfaceIP", "GetInterfaceIPs":
            guard let wanted = arguments.first else { throw Failure(text: "\(name) needs an interface's name") }
            let found = Self.sorted(self.interfaces.filter { $0.name == wanted && $0.isForwardable }, by: "type,size")
            return .text(name == "GetInterfaceIP" ? found.first?.address ?? "" : Self.joined(found))
        default:
            throw Failure(text: "\(name) is no source of addresses here")
        }
    }

    private static func joined(_ interfaces: [AgentConfiguration.Machine.Interface]) -> String {
        interfaces.map(\.address).joined(separator: " ")
    }

    // MARK: filters

    private func filtered(
        _ list: [AgentConfiguration.Machine.Interface], _ name: String, _ arguments: [String]
    ) throws(Failure) -> Value {
        func argument(_ place: Int) throws(Failure) -> String {
            guard place < arguments.count else { throw Failure(text: "\(name) needs \(place + 1) arguments") }
            return arguments[place]
        }
        func number() throws(Failure) -> Int {
            guard let number = Int(try argument(0)) else { throw Failure(text: "\(name) needs a number") }
            return number
        }
        switch name {
        case "include", "exclude":
            let matches = try Self.test(argument(0).lowercased(), argument(1))
            return .interfaces(list.filter { matches($0) == (name == "include") })
        case "sort":
            return .interfaces(Self.sorted(list, by: try argument(0)))
        case "limit":
            return .interfaces(Array(list.prefix(max(0, try number()))))
        case "offset":
            let skipped = try number()
            guard skipped.magnitude <= list.count else {
                throw Failure(text: "offset \(skipped) is beyond the \(list.count) interfaces that are left")
            }
            return .interfaces(skipped < 0 ? list.suffix(-skipped) : Array(list.dropFirst(skipped)))
        case "unique":
            let attribute = try argument(0)
            var seen: Set<String> = []
            var kept: [AgentConfiguration.Machine.Interface] = []
            for interface in list where seen.insert(try Self.attribute(attribute, of: interface)).inserted {
                kept.append(interface)
            }
            return .interfaces(kept)
        case "attr":
            guard let first = list.first else { return .text("") }
            return .text(try Self.attribute(argument(0), of: first))
        case "join":
            let attribute = try argument(0)
            var texts: [String] = []
            for interface in list { texts.append(try Self.attribute(attribute, of: interface)) }
            return .text(texts.joined(separator: try argument(1)))
        default:
            throw Failure(text: "\(name) is no filter here")
        }
    }

    private static func attribute(
        _ name: String, of interface: AgentConfiguration.Machine.Interface
    ) throws(Failure) -> String {
        switch name.lowercased() {
        case "address": interface.address
        case "name": interface.name
        case "type": interface.isSix ? "IPv6" : "IPv4"
        default: throw Failure(text: "\(name) is no attribute here; address, name and type are")
        }
    }

    private static func test(
        _ selector: String, _ wanted: String
    ) throws(Failure) -> (AgentConfiguration.Machine.Interface) -> Bool {
        switch selector {
        case "name", "address":
            let pattern: Pattern
            do throws(PatternError) {
                pattern = try Pattern(wanted)
            } catch {
                throw Failure(text: "\(wanted) is no regular expression: \(error)")
            }
            return { pattern.matches(in: selector == "name" ? $0.name : $0.address) }
        case "type":
            return { wanted.lowercased() == ($0.isSix ? "ipv6" : "ipv4") || wanted.lowercased() == "ip" }
        case "flag", "flags":
            let flags = wanted.lowercased().split(separator: "|")
            return { interface in
                flags.allSatisfy {
                    $0 == "forwardable" ? interface.isForwardable : interface.flags.contains(String($0))
                }
            }
        case "network":
            guard let network = Network(wanted) else {
                throw Failure(text: "\(wanted) is no network; write 10.0.0.0/8")
            }
            return { network.contains($0.address) }
        case "rfc":
            guard let networks = Network.ofRFC[wanted] else { throw Failure(text: "RFC \(wanted) is not known here") }
            return { interface in networks.contains { $0.contains(interface.address) } }
        default:
            throw Failure(
                text: "\(selector) can't be selected by here; name, address, type, flags, network and rfc can")
        }
    }

    /// By several attributes, the first counts most; `-` before one turns it round.
    private static func sorted(
        _ list: [AgentConfiguration.Machine.Interface], by attributes: String
    ) -> [AgentConfiguration.Machine.Interface] {
        let keys = attributes.split(separator: ",").reversed()
        return keys.reduce(list) { list, key in
            let isDown = key.hasPrefix("-")
            let name = key.drop { $0 == "+" || $0 == "-" || $0 == " " }
            let order: (AgentConfiguration.Machine.Interface) -> (Int, String) = { interface in
                switch name {
                case "default": (interface.isDefault ? 0 : 1, "")
                case "private": (interface.isPrivate ? 0 : 1, "")
                case "type": (interface.isSix ? 1 : 0, "")
                // The larger network first, as there.
                case "size": (interface.prefix, "")
                case "address": (0, interface.address)
                default: (0, interface.name)
                }
            }
            // The order of the list decides between equals.
            return list.enumerated().sorted { left, right in
                let (a, b) = (order(left.element), order(right.element))
                if a == b { return left.offset < right.offset }
                return isDown ? a > b : a < b
            }.map(\.element)
        }
    }
}
