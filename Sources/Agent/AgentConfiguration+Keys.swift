/// The whole vocabulary of configuration files: one row for each key that Consul 1.22 knows and for each of our own. The
/// table in `docs/configuration.md` is made from it.
enum ConfigurationKeys {
    static let all: [ConfigurationKey] =
        identity + addresses + tls + joining + logging + raft + limits + dns + http + checks + registrations
        + consulOnly

    private static let identity: [ConfigurationKey] = [
        .used("server", .flag, "takes part in consensus; otherwise it is a client agent"),
        .used("bootstrap", .flag, "the same as `bootstrap_expect = 1`"),
        .used("bootstrap_expect", .count, "how many servers found the cluster together"),
        .used("data_dir", .text, "folder that holds everything this node must not forget; must be set"),
        .used("node_name", .text, "the host's name by default"),
        .live("node_meta", .textMap, "up to 64 pairs"),
        .used("datacenter", .text, "`dc1` by default"),
        .used("leave_on_terminate", .flag, "on SIGTERM: leave, not only stop; agents do by default, servers don't"),
        .used("skip_leave_on_interrupt", .flag, "on SIGINT: only stop; servers do by default, agents leave"),
    ]

    private static let addresses: [ConfigurationKey] = [
        .used(
            "bind_addr", .text, "IP address that server RPC listens on, `0.0.0.0` by default; a template may stand here"
        ),
        .used(
            "client_addr", .text, "addresses that HTTP and DNS listen on, with spaces between; `127.0.0.1`; templates"),
        .used(
            "advertise_addr", .text,
            "where others reach this node; the bind address or the only private one; a template"),
        .used("addresses.http", .text, "instead of `client_addr`; `unix:///path` is a socket in the file system"),
        .used("addresses.dns", .text, "instead of `client_addr`"),
        .used("addresses.grpc", .text, "instead of `client_addr`; nothing listens there in this version"),
        .used("addresses.https", .text, "instead of `client_addr`"),
        .refused("addresses.grpc_tls", noGRPCTLS),
        .used("ports.http", .count, "8500; -1 turns it off"),
        .used("ports.dns", .count, "8600; -1 turns it off"),
        .used(
            "ports.grpc", .count, "off by default; shown in `/v1/agent/self`, and nothing listens there in this version"
        ),
        .used("ports.server", .count, "8300"),
        .used("ports.https", .count, "off by default; wants `tls.https`"),
        .refused("ports.grpc_tls", noGRPCTLS),
        .ignored("ports.serf_lan", noGossip), .ignored("ports.serf_wan", noGossip),
        .ignored("ports.sidecar_min_port", "sidecars get ports from 21000 to 21255"),
        .ignored("ports.sidecar_max_port", "sidecars get ports from 21000 to 21255"),
        .ignored("ports.expose_min_port", noMesh), .ignored("ports.expose_max_port", noMesh),
    ]

    private static let tls: [ConfigurationKey] =
        ["tls.https.", "tls.defaults.", ""].flatMap { place -> [ConfigurationKey] in
            let about = place == "tls.https." ? "" : "for HTTPS, where `tls.https` says nothing"
            func words(_ text: String) -> String { about.isEmpty ? text : about }
            return [
                .live("\(place)cert_file", .text, words("PEM: the certificate, then those that lead to its root")),
                .live("\(place)key_file", .text, words("PEM: its key")),
                .live("\(place)ca_file", .text, words("PEM: whose clients `verify_incoming` lets in")),
                .live("\(place)ca_path", .text, words("folder of such files")),
                .live("\(place)verify_incoming", .flag, words("clients must show a certificate")),
                .live("\(place)tls_min_version", .text, words("`TLSv1_2`, which also older ones mean, or `TLSv1_3`")),
            ]
        } + [
            .live("verify_incoming_https", .flag, "the same as `tls.https.verify_incoming`"),
            .used("unix_sockets.user", .text, "owner of HTTP's sockets in the file system: a name or a number"),
            .used("unix_sockets.group", .text, "their group: a name or a number"),
            .used("unix_sockets.mode", .text, "their mode in octal digits, such as `0660`"),
        ]

    private static let joining: [ConfigurationKey] = [
        .used("retry_join", .texts, "servers to look for: `host`, `host:port`, `[v6]:port`; templates"),
        .used("start_join", .texts, "the same as `retry_join`"),
        .used("join_token", .text, "lets this node enter the cluster; our own key"),
        .used("join_token_file", .text, "file that holds the token; our own key"),
        .ignored("retry_interval", "servers are looked for until one answers, with pauses that grow"),
        .ignored("retry_max", "servers are looked for until one answers"),
    ]

    private static let logging: [ConfigurationKey] = [
        .live("log_level", .text, "`trace`, `debug`, `info`, `warn` or `error`; `info` by default"),
        .used("log_json", .flag, "one JSON object a line"),
    ]

    private static let raft: [ConfigurationKey] = [
        .used("raft.heartbeat_interval", .duration, "100ms times the multiplier; our own key"),
        .used("raft.election_timeout_min", .duration, "1s times the multiplier; our own key"),
        .used("raft.election_timeout_max", .duration, "2s times the multiplier; our own key"),
        .used("raft.snapshot_threshold", .count, "65536: entries applied until the next snapshot; our own key"),
        .used("raft.trailing_logs", .count, "10240: entries kept behind a snapshot; our own key"),
        .used("raft_snapshot_threshold", .count, "the same as `raft.snapshot_threshold`"),
        .used("raft_trailing_logs", .count, "the same as `raft.trailing_logs`"),
        .used("performance.raft_multiplier", .count, "1 to 10: stretches the timings that `raft` doesn't name"),
        .used("performance.event_loops", .count, "threads that serve connections; one processor is left; our own key"),
        .used("performance.leave_drain_time", .duration, "5s: how long a stopping agent waits for requests under way"),
        .ignored("performance.rpc_hold_timeout", "a request waits 7 s for a leader"),
        .ignored("performance.grpc_keepalive_interval", notYet), .ignored("performance.grpc_keepalive_timeout", notYet),
        .ignored("performance.enable_xds_load_balancing", noMesh),
    ]

    private static let limits: [ConfigurationKey] = [
        .used("session_ttl_min", .duration, "10s: the least TTL that a session may ask for"),
        .used("default_query_time", .duration, "300s: how long a blocking query waits without `?wait`"),
        .used("max_query_time", .duration, "600s: how long it may ask to wait"),
        .used("limits.rpc_handshake_timeout", .duration, "5s"),
        .used("limits.kv_max_value_size", .count, "524288 bytes; up to 14 MiB"),
        .used("limits.txn_max_req_len", .count, "524288 bytes; up to 14 MiB"),
        .ignored("limits.http_max_conns_per_client", "connections are limited as a whole, to 16384"),
        .ignored("limits.rpc_max_conns_per_client", "a node has one connection to each server"),
        .ignored("limits.rpc_client_timeout", "waits end with the request's own time"),
        .ignored("limits.https_handshake_timeout", "a client has 5 s"), .ignored("limits.rpc_rate", notYet),
        .ignored("limits.rpc_max_burst", notYet), .ignored("limits.request_limits", notYet),
    ]

    private static let dns: [ConfigurationKey] = [
        .used("domain", .text, "`consul` by default"),
        .used("alt_domain", .text, "a second domain that is answered for"),
        .live("dns_config.node_ttl", .duration, "0s"),
        .live("dns_config.service_ttl", .textMap, "by service; `*` and `prefix*` match many, the longest wins"),
        .live("dns_config.only_passing", .flag, "leaves out what has a warning, too"),
        .live("dns_config.udp_answer_limit", .count, "3"),
        .live("dns_config.a_record_limit", .count, "0 is no limit"),
        .live("dns_config.enable_additional_node_meta_txt", .flag, "true by default"),
        .live("dns_config.soa.refresh", .count, "3600 seconds"),
        .live("dns_config.soa.retry", .count, "600 seconds"),
        .live("dns_config.soa.expire", .count, "86400 seconds"),
        .live("dns_config.soa.min_ttl", .count, "0 seconds"),
        .live("dns_config.enable_truncate", .flag, "sets the bit also where a limit left instances out"),
        .live("dns_config.disable_compression", .flag, "writes names out"),
        .used(
            "dns_config.allow_stale", .flag,
            "true: any server answers from what it has; false asks for the leader's word"),
        .used(
            "dns_config.max_stale", .duration,
            "87600h: a server without a leader for longer asks for one before it answers"),
        .used(
            "recursors", .texts,
            "IP addresses of servers that are asked about other names; without any they are refused"),
        .used("dns_config.recursor_timeout", .duration, "2s for each of them"),
        .used("dns_config.recursor_strategy", .text, "`sequential` or `random`"),
        .ignored("dns_config.use_cache", "names are answered from the state at hand"),
        .ignored("dns_config.cache_max_age", "names are answered from the state at hand"),
        .ignored("dns_config.prefer_namespace", enterprise),
    ]

    private static let http: [ConfigurationKey] = [
        .used("disable_http_unprintable_char_filter", .flag, "takes paths with characters that can't be printed"),
        .ignored("http_config.response_headers", notYet),
        .used("http_config.block_endpoints", .texts, "paths that begin with one of these are answered 403"),
        .refused(
            "http_config.allow_write_http_from", "not in this version; left out, it would open what it is to close"),
        .ignored("http_config.use_cache", notYet), .ignored("http_config.max_header_bytes", notYet),
        .ignored("http_config.read_timeout", notYet), .ignored("http_config.read_header_timeout", notYet),
        .ignored("http_config.write_timeout", notYet), .ignored("http_config.idle_timeout", notYet),
    ]

    private static let checks: [ConfigurationKey] = [
        .used("enable_script_checks", .flag, "script checks, also those that the API registers"),
        .used("enable_local_script_checks", .flag, "script checks in configuration files alone"),
        .used("check_update_interval", .duration, "5m: an output that changes alone is synced no more often"),
        .used("check_output_max_size", .count, "4096 bytes of a check's output are kept"),
        .ignored("discard_check_output", "outputs are kept, up to `check_output_max_size`"),
    ]

    private static let registrations: [ConfigurationKey] = [
        .live(
            "service", .blocks("<service>"),
            "a service of this machine; see [Services and checks](#services-and-checks)"),
        .live("services", .blocks("<service>"), "the same"),
        .live("check", .blocks("<check>"), "a check of this machine, or with `service_id` of a service"),
        .live("checks", .blocks("<check>"), "the same"),
        .live("watches", .blocks("<watch>"), "handlers of changes; see [Watches](#watches)"),
    ]
}
