/// What a key may hold. The table below is the whole vocabulary of configuration files.
indirect enum ConfigurationShape: Sendable {
    case flag
    case count
    case text
    case duration
    /// A list of texts; one text stands for a list of one.
    case texts
    case textMap
    case block([String: ConfigurationShape])
    /// One JSON object, kept as it is.
    case document
    case documents
    /// Consul's key without effect here, and harmless to leave out: a warning.
    case ignored(String)
    /// Consul's key that we lack, and whose absence would open or lose something: an error, save for the values
    /// that turn it off (`false`, `-1`, `""`, `0`, empty).
    case lacking(String)
}

enum ConfigurationKeys {
    private static let noGossip = "there is no gossip; servers and agents speak over one mutually authenticated port"
    private static let ownTLS = "RPC is always mutual TLS under the cluster's own CA"
    private static let noHTTPS = "the HTTP API has no TLS of its own in this version"
    private static let enterprise = "it is an Enterprise feature"
    private static let noACL = "access control is not in this version; starting without it would leave everything open"
    private static let noMesh = "the service mesh is not in this version"
    private static let oneStore = "the log is always SQLite"
    private static let notYet = "not in this version"

    static let root: [String: ConfigurationShape] = own.merging(consulOnly) { first, _ in first }

    /// Keys with an effect.
    private static let own: [String: ConfigurationShape] = [
        "server": .flag, "bootstrap": .flag, "bootstrap_expect": .count,
        "data_dir": .text, "node_name": .text, "node_meta": .textMap,
        "datacenter": .text, "domain": .text,
        "bind_addr": .text, "client_addr": .text, "advertise_addr": .text,
        "addresses": .block([
            "http": .text, "dns": .text, "grpc": .text, "https": .lacking(noHTTPS), "grpc_tls": .lacking(noHTTPS),
        ]),
        "ports": .block([
            "http": .count, "dns": .count, "grpc": .count, "server": .count,
            "https": .lacking(noHTTPS), "grpc_tls": .lacking(noHTTPS),
            "serf_lan": .ignored(noGossip), "serf_wan": .ignored(noGossip),
            "sidecar_min_port": .ignored(noMesh), "sidecar_max_port": .ignored(noMesh),
            "expose_min_port": .ignored(noMesh), "expose_max_port": .ignored(noMesh),
        ]),
        "retry_join": .texts, "start_join": .texts, "retry_interval": .duration, "retry_max": .count,
        "join_token": .text, "join_token_file": .text,
        "log_level": .text, "log_json": .flag,
        "leave_on_terminate": .flag, "skip_leave_on_interrupt": .flag,
        "raft": .block([
            "heartbeat_interval": .duration, "election_timeout_min": .duration, "election_timeout_max": .duration,
            "snapshot_threshold": .count, "trailing_logs": .count,
        ]),
        "raft_snapshot_threshold": .count, "raft_trailing_logs": .count,
        "performance": .block([
            "raft_multiplier": .count, "event_loops": .count, "leave_drain_time": .duration,
            "rpc_hold_timeout": .duration,
            "grpc_keepalive_interval": .ignored(notYet), "grpc_keepalive_timeout": .ignored(notYet),
            "enable_xds_load_balancing": .ignored(noMesh),
        ]),
        "session_ttl_min": .duration, "default_query_time": .duration, "max_query_time": .duration,
        "dns_config": .block([
            "allow_stale": .flag, "max_stale": .duration, "node_ttl": .duration, "service_ttl": .textMap,
            "enable_truncate": .flag, "only_passing": .flag, "udp_answer_limit": .count, "a_record_limit": .count,
            "enable_additional_node_meta_txt": .flag, "disable_compression": .flag,
            "soa": .block(["refresh": .count, "retry": .count, "expire": .count, "min_ttl": .count]),
            "recursor_timeout": .ignored(notYet), "recursor_strategy": .ignored(notYet),
            "use_cache": .ignored(notYet), "cache_max_age": .ignored(notYet),
            "prefer_namespace": .ignored(enterprise),
        ]),
        "limits": .block([
            "http_max_conns_per_client": .count, "rpc_max_conns_per_client": .count,
            "rpc_handshake_timeout": .duration, "rpc_client_timeout": .duration,
            "kv_max_value_size": .count, "txn_max_req_len": .count,
            "https_handshake_timeout": .ignored(noHTTPS), "rpc_rate": .ignored(notYet),
            "rpc_max_burst": .ignored(notYet),
            "request_limits": .ignored(notYet),
        ]),
        "http_config": .block([
            "response_headers": .textMap, "block_endpoints": .texts, "allow_write_http_from": .texts,
            "use_cache": .ignored(notYet), "max_header_bytes": .ignored(notYet), "read_timeout": .ignored(notYet),
            "read_header_timeout": .ignored(notYet), "write_timeout": .ignored(notYet),
            "idle_timeout": .ignored(notYet),
        ]),
        "enable_script_checks": .flag, "enable_local_script_checks": .flag,
        "check_update_interval": .duration, "check_output_max_size": .count, "discard_check_output": .flag,
        "service": .document, "services": .documents, "check": .document, "checks": .documents,
    ]

    /// Keys that Consul knows and we don't use.
    private static let consulOnly: [String: ConfigurationShape] = [
        "acl": .block([
            "enabled": .lacking(noACL), "default_policy": .ignored(noACL), "down_policy": .ignored(noACL),
            "policy_ttl": .ignored(noACL), "token_ttl": .ignored(noACL), "role_ttl": .ignored(noACL),
            "enable_token_persistence": .ignored(noACL), "enable_key_list_policy": .ignored(noACL),
            "enable_token_replication": .ignored(noACL), "tokens": .ignored(noACL),
        ]),
        "default_intention_policy": .lacking(noMesh),
        "connect": .ignored(noMesh), "config_entries": .ignored(noMesh), "peering": .ignored(notYet),
        "xds": .ignored(noMesh), "enable_central_service_config": .ignored(noMesh),
        "tls": .lacking(ownTLS), "ca_file": .lacking(ownTLS), "ca_path": .lacking(ownTLS),
        "cert_file": .lacking(ownTLS), "key_file": .lacking(ownTLS),
        "verify_incoming": .ignored(ownTLS), "verify_incoming_rpc": .ignored(ownTLS),
        "verify_incoming_https": .lacking(noHTTPS), "verify_outgoing": .ignored(ownTLS),
        "verify_server_hostname": .ignored(ownTLS), "tls_min_version": .ignored(ownTLS),
        "tls_cipher_suites": .ignored(ownTLS), "auto_encrypt": .ignored(ownTLS), "auto_config": .lacking(ownTLS),
        "encrypt": .ignored(noGossip), "encrypt_verify_incoming": .ignored(noGossip),
        "encrypt_verify_outgoing": .ignored(noGossip), "disable_keyring_file": .ignored(noGossip),
        "serf_lan": .ignored(noGossip), "serf_wan": .ignored(noGossip),
        "serf_lan_allowed_cidrs": .ignored(noGossip), "serf_wan_allowed_cidrs": .ignored(noGossip),
        "gossip_lan": .ignored(noGossip), "gossip_wan": .ignored(noGossip),
        "reconnect_timeout": .ignored(noGossip), "reconnect_timeout_wan": .ignored(noGossip),
        "advertise_reconnect_timeout": .ignored(noGossip), "rejoin_after_leave": .ignored(noGossip),
        "advertise_addr_wan": .ignored(noGossip), "retry_join_wan": .lacking("datacenters are not federated"),
        "start_join_wan": .lacking("datacenters are not federated"), "retry_interval_wan": .ignored(noGossip),
        "retry_max_wan": .ignored(noGossip), "translate_wan_addrs": .ignored(noGossip),
        "primary_datacenter": .ignored("datacenters are not federated"),
        "primary_gateways": .lacking("datacenters are not federated"),
        "autopilot": .ignored(notYet), "server_rejoin_age_max": .ignored(notYet), "read_replica": .lacking(enterprise),
        "ui": .ignored(notYet), "ui_config": .ignored(notYet), "ui_dir": .ignored(notYet),
        "ui_content_path": .ignored(notYet), "telemetry": .ignored(notYet), "watches": .lacking(notYet),
        "recursors": .ignored(notYet), "alt_domain": .lacking(notYet),
        "log_file": .lacking("it logs to standard error"),
        "log_rotate_bytes": .ignored("it logs to standard error"),
        "log_rotate_duration": .ignored("it logs to standard error"),
        "log_rotate_max_files": .ignored("it logs to standard error"),
        "enable_syslog": .lacking("it logs to standard error"),
        "syslog_facility": .ignored("it logs to standard error"),
        "pid_file": .lacking(notYet), "unix_sockets": .lacking(notYet),
        "disable_host_node_id": .ignored("ids are random"),
        "enable_agent_tls_for_checks": .lacking(notYet), "discovery_max_stale": .ignored(notYet),
        "disable_coordinates": .ignored("there are no coordinates"),
        "disable_remote_exec": .ignored("there is no exec"),
        "disable_update_check": .ignored("nothing is ever looked up outside"),
        "disable_anonymous_signature": .ignored("nothing is ever looked up outside"),
        "disable_http_unprintable_char_filter": .ignored("keys are kept as bytes"),
        "disable_kv_key_validation": .ignored("keys are kept as bytes"),
        "use_streaming_backend": .ignored(notYet), "rpc": .ignored(notYet), "enable_debug": .ignored(notYet),
        "auto_reload_config": .lacking(notYet), "raft_protocol": .ignored("there is one protocol"),
        "protocol": .ignored("there is one protocol"), "raft_snapshot_interval": .ignored("snapshots go by entries"),
        "raft_logstore": .ignored(oneStore), "raft_boltdb": .ignored(oneStore),
        "node_id": .lacking("an id belongs to one data directory and is made with it"),
        "segment": .lacking(enterprise), "segments": .lacking(enterprise), "partition": .lacking(enterprise),
        "audit": .lacking(enterprise), "reporting": .ignored(enterprise), "license_path": .ignored(enterprise),
        "experiments": .ignored(notYet), "cloud": .lacking(notYet), "cache": .ignored(notYet),
    ]

    /// The known name nearest to `name` by edit distance; nil when none is near.
    static func nearest(to name: String, among names: some Sequence<String>) -> String? {
        let allowed = max(1, name.utf8.count / 3)
        var best: (distance: Int, name: String)?
        for candidate in names {
            let distance = editDistance(Array(name.utf8), Array(candidate.utf8))
            guard distance <= allowed else { continue }
            // The smaller name wins a tie: dictionaries have no order.
            if let found = best, (found.distance, found.name) < (distance, candidate) { continue }
            best = (distance, candidate)
        }
        return best?.name
    }

    private static func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var previous = Array(0...right.count)
        for (row, byte) in left.enumerated() {
            var current = [row + 1]
            for (column, other) in right.enumerated() {
                let substitution = previous[column] + (byte == other ? 0 : 1)
                current.append(min(substitution, previous[column + 1] + 1, current[column] + 1))
            }
            previous = current
        }
        return previous[right.count]
    }
}
