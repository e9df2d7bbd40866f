import HCL

/// The flags of `agent`, each writing one key of the same vocabulary that files use.
public enum AgentFlags {
    enum Kind: Sendable {
        /// `-server`, `-server=false`.
        case flag
        case text
        case count
        /// May be repeated; appends.
        case list
        /// `k:v` or `k=v`; may be repeated.
        case pair
        /// Names a file or a folder to read, in order.
        case configFile
        case configDirectory
        /// `hcl` or `json`, for files whose names don't say.
        case configFormat
        /// HCL itself.
        case fragment
    }

    struct Flag: Sendable {
        var name: String
        var kind: Kind
        var key: String
        var help: String
        init(_ name: String, _ kind: Kind, _ key: String, _ help: String) {
            self.name = name
            self.kind = kind
            self.key = key
            self.help = help
        }
    }

    static let all: [Flag] = [
        Flag("advertise", .text, "advertise_addr", "address that others reach this node at"),
        Flag("advertise-wan", .text, "advertise_addr_wan", "accepted without effect"),
        Flag("allow-write-http-from", .list, "http_config.allow_write_http_from", "not offered"),
        Flag("alt-domain", .text, "alt_domain", "a second domain that DNS answers for"),
        Flag("auto-reload-config", .flag, "auto_reload_config", "not offered: reload with SIGHUP"),
        Flag("bind", .text, "bind_addr", "address that server RPC listens on"),
        Flag("bootstrap", .flag, "bootstrap", "the same as -bootstrap-expect 1"),
        Flag("bootstrap-expect", .count, "bootstrap_expect", "number of servers that found the cluster together"),
        Flag("check_output_max_size", .count, "check_output_max_size", "bytes of a check's output that are kept"),
        Flag("client", .text, "client_addr", "addresses that HTTP and DNS listen on, separated by spaces"),
        Flag("config-dir", .configDirectory, "", "folder whose .hcl and .json files are read in order; repeatable"),
        Flag("config-file", .configFile, "", "HCL or JSON file, or folder of such, to read; repeatable"),
        Flag("config-format", .configFormat, "", "hcl or json: how all files are read, whatever their names"),
        Flag("data-dir", .text, "data_dir", "folder that holds everything this node must not forget"),
        Flag("datacenter", .text, "datacenter", "name of the datacenter, dc1 by default"),
        Flag("default-query-time", .text, "default_query_time", "how long a blocking query waits without ?wait"),
        Flag("dev", .flag, "", "one open server on loopback that keeps nothing"),
        Flag("disable-host-node-id", .flag, "disable_host_node_id", "accepted without effect"),
        Flag("disable-keyring-file", .flag, "disable_keyring_file", "accepted without effect"),
        Flag("dns-port", .count, "ports.dns", "DNS port, 8600 by default; -1 turns it off"),
        Flag("domain", .text, "domain", "domain that DNS answers for, consul by default"),
        Flag("enable-local-script-checks", .flag, "enable_local_script_checks", "script checks in configuration files"),
        Flag("enable-script-checks", .flag, "enable_script_checks", "script checks, also those that the API registers"),
        Flag("encrypt", .text, "encrypt", "accepted without effect"),
        Flag("grpc-port", .count, "ports.grpc", "gRPC port; off by default"),
        Flag("grpc-tls-port", .count, "ports.grpc_tls", "not offered"),
        Flag("hcl", .fragment, "", "a piece of HCL, read after the files; repeatable"),
        Flag("http-port", .count, "ports.http", "HTTP port, 8500 by default; -1 turns it off"),
        Flag("https-port", .count, "ports.https", "HTTPS port; off by default"),
        Flag("join", .list, "retry_join", "the same as -retry-join"),
        Flag("join-token", .text, "join_token", "token that lets this node enter the cluster (others can see flags)"),
        Flag("join-token-file", .text, "join_token_file", "file that holds the token"),
        Flag("log-file", .text, "log_file", "not offered: it logs to standard output"),
        Flag("log-json", .flag, "log_json", "log as JSON"),
        Flag("log-level", .text, "log_level", "trace, debug, info, warn or error"),
        Flag("log-rotate-bytes", .count, "log_rotate_bytes", "accepted without effect"),
        Flag("log-rotate-duration", .text, "log_rotate_duration", "accepted without effect"),
        Flag("log-rotate-max-files", .count, "log_rotate_max_files", "accepted without effect"),
        Flag("max-query-time", .text, "max_query_time", "how long a blocking query may ask to wait"),
        Flag("node", .text, "node_name", "this node's name, the host's by default"),
        Flag("node-id", .text, "node_id", "not offered: an id is made with the data directory"),
        Flag("node-meta", .pair, "node_meta", "key:value of the node; repeatable"),
        Flag("pid-file", .text, "pid_file", "not offered"),
        Flag("primary-gateway", .list, "primary_gateways", "not offered"),
        Flag("protocol", .count, "protocol", "accepted without effect"),
        Flag("raft-protocol", .count, "raft_protocol", "accepted without effect"),
        Flag("recursor", .list, "recursors", "server that is asked about names of others; repeatable"),
        Flag("rejoin", .flag, "rejoin_after_leave", "accepted without effect"),
        Flag("retry-interval", .text, "retry_interval", "accepted without effect"),
        Flag("retry-interval-wan", .text, "retry_interval_wan", "accepted without effect"),
        Flag("retry-join", .list, "retry_join", "address of a server to join; repeatable"),
        Flag("retry-join-wan", .list, "retry_join_wan", "not offered"),
        Flag("retry-max", .count, "retry_max", "accepted without effect"),
        Flag("retry-max-wan", .count, "retry_max_wan", "accepted without effect"),
        Flag("segment", .text, "segment", "not offered"),
        Flag("serf-lan-allowed-cidrs", .list, "serf_lan_allowed_cidrs", "accepted without effect"),
        Flag("serf-lan-bind", .text, "serf_lan", "accepted without effect"),
        Flag("serf-lan-port", .count, "ports.serf_lan", "accepted without effect"),
        Flag("serf-wan-allowed-cidrs", .list, "serf_wan_allowed_cidrs", "accepted without effect"),
        Flag("serf-wan-bind", .text, "serf_wan", "accepted without effect"),
        Flag("serf-wan-port", .count, "ports.serf_wan", "accepted without effect"),
        Flag("server", .flag, "server", "be a server"),
        Flag("server-port", .count, "ports.server", "server RPC port, 8300 by default"),
        Flag("syslog", .flag, "enable_syslog", "not offered"),
        Flag("ui", .flag, "ui", "accepted without effect"),
        Flag("ui-content-path", .text, "ui_content_path", "accepted without effect"),
        Flag("ui-dir", .text, "ui_dir", "accepted without effect"),
    ]

    /// The flags with their explanations, a line each.
    public static var help: String {
        let width = (all.map(\.name.count).max() ?? 0) + 3
        return all.map { flag in
            "  -" + flag.name + String(repeating: " ", count: width - flag.name.count) + flag.help
        }.joined(separator: "\n")
    }

    struct Parsed: Sendable, Equatable {
        var development = false
        /// Files and folders in the order given.
        var sources: [Source] = []
        /// Nil: by the files' names.
        var format: HCLDocument.Syntax?
        var values: ConfigurationValue = .object([:])
        enum Source: Sendable, Equatable {
            case file(String)
            case directory(String)
            case fragment(String)
        }
    }

    /// Reads `-flag value`, `--flag=value`, `-flag` for booleans; anything that is no flag is an error.
    static func parse(_ arguments: [String]) throws(AgentConfigurationError) -> Parsed {
        var parsed = Parsed()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("-"), argument != "-", argument != "--" else {
                throw .badFlag(flag: argument, why: "unexpected argument; the agent takes flags alone")
            }
            let body = argument.drop { $0 == "-" }
            let parts = body.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            guard let flag = all.first(where: { $0.name == name }) else {
                throw .unknownFlag(flag: name, nearest: ConfigurationKeys.nearest(to: name, among: all.map(\.name)))
            }
            var text = parts.count == 2 ? String(parts[1]) : nil
            if text == nil, flag.kind != .flag {
                text = rest.popFirst()
                if text == nil { throw .badFlag(flag: name, why: "flag needs an argument") }
            }
            try parsed.take(flag, text)
        }
        return parsed
    }
}

extension AgentFlags.Parsed {
    fileprivate mutating func take(_ flag: AgentFlags.Flag, _ text: String?) throws(AgentConfigurationError) {
        let value = text ?? ""
        switch flag.kind {
        case .flag:
            guard let truth = text.map(Self.truth) ?? .some(true) else {
                throw .badFlag(flag: flag.name, why: "must be true or false, not \(value)")
            }
            if flag.name == "dev" { self.development = truth } else { self.set(flag.key, .bool(truth)) }
        case .text:
            self.set(flag.key, .text(value))
        case .count:
            guard let number = Int64(value) else {
                throw .badFlag(flag: flag.name, why: "must be a whole number, not \(value)")
            }
            self.set(flag.key, .integer(number))
        case .list:
            self.set(flag.key, .list([.text(value)]))
        case .pair:
            let parts = value.split(maxSplits: 1, omittingEmptySubsequences: false) { $0 == ":" || $0 == "=" }
            guard parts.count == 2, !parts[0].isEmpty else {
                throw .badFlag(flag: flag.name, why: "must be key:value, not \(value)")
            }
            self.set(flag.key, .object([String(parts[0]): .text(String(parts[1]))]))
        case .configFile:
            self.sources.append(.file(value))
        case .configDirectory:
            self.sources.append(.directory(value))
        case .configFormat:
            guard let format = AgentConfiguration.Format(rawValue: value) else {
                throw .badFlag(flag: flag.name, why: "must be hcl or json, not \(value)")
            }
            self.format = format.syntax
        case .fragment:
            self.sources.append(.fragment(value))
        }
    }

    private mutating func set(_ key: String, _ value: ConfigurationValue) {
        self.values = self.values.merged(with: .nested(key, value))
    }

    private static func truth(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "true", "1", "t": true
        case "false", "0", "f": false
        default: nil
        }
    }
}
