extension ConfigurationKeys {
    static let noGossip = "there is no gossip; servers and agents speak over one mutually authenticated port"
    static let ownTLS = "RPC is always mutual TLS under the cluster's own CA"
    static let noGRPCTLS = "gRPC has no TLS of its own in this version"
    static let enterprise = "it is an Enterprise feature"
    static let noACL = "access control is not in this version; starting without it would leave everything open"
    static let noMesh = "the service mesh is not in this version"
    static let noFederation = "datacenters are not federated"
    static let noLogFile = "it logs to standard output"
    static let oneStore = "the log is always SQLite"
    static let notForUsers = "it is not for users, in Consul either"
    static let notYet = "not in this version"

    /// Keys that Consul knows and we don't use.
    static let consulOnly: [ConfigurationKey] =
        access + mesh + tlsElsewhere + gossip + federation + output + node + consensus

    private static let access: [ConfigurationKey] = [
        .refused("acl.enabled", noACL),
        .ignored("acl.default_policy", noACL), .ignored("acl.down_policy", noACL), .ignored("acl.policy_ttl", noACL),
        .ignored("acl.token_ttl", noACL), .ignored("acl.role_ttl", noACL),
        .ignored("acl.enable_token_persistence", noACL), .ignored("acl.enable_key_list_policy", noACL),
        .ignored("acl.enable_token_replication", noACL), .ignored("acl.msp_disable_bootstrap", noACL),
        .ignored(
            "acl.tokens",
            """
            agent agent_master agent_recovery config_file_service_registration default dns initial_management \
            managed_service_provider master replication
            """, noACL),
        .refused("acl_datacenter", noACL), .refused("acl_default_policy", noACL), .refused("acl_down_policy", noACL),
        .refused("acl_master_token", noACL), .refused("acl_agent_master_token", noACL),
        .ignored("acl_agent_token", noACL), .ignored("acl_token", noACL), .ignored("acl_replication_token", noACL),
        .ignored("acl_ttl", noACL), .ignored("acl_enable_key_list_policy", noACL),
        .ignored("enable_acl_replication", noACL),
        .refused("default_intention_policy", noMesh),
        .refused("audit", "enabled sink rpc_enabled", enterprise),
    ]

    private static let mesh: [ConfigurationKey] = [
        .ignored(
            "connect",
            """
            enabled ca_provider ca_config enable_mesh_gateway_wan_federation enable_serverless_plugin \
            test_ca_leaf_root_change_spread
            """, noMesh),
        .ignored("config_entries", "bootstrap", noMesh), .ignored("xds", "update_max_per_second", noMesh),
        .ignored("peering", "enabled test_allow_peer_registrations", noFederation),
        .ignored("enable_central_service_config", noMesh),
    ]

    private static let tlsElsewhere: [ConfigurationKey] = [
        .ignored("tls.internal_rpc", tlsNames, ownTLS), .ignored("tls.grpc", tlsNames, noMesh),
        .ignored("tls.defaults.verify_outgoing", ownTLS), .ignored("tls.defaults.verify_server_hostname", ownTLS),
        .ignored("tls.defaults.tls_cipher_suites", ownSuites), .ignored("tls.https.tls_cipher_suites", ownSuites),
        .ignored("tls.https.verify_outgoing", ownTLS),
        .ignored("verify_incoming_rpc", ownTLS), .ignored("verify_outgoing", ownTLS),
        .ignored("verify_server_hostname", ownTLS), .ignored("server_name", ownTLS),
        .ignored("tls_cipher_suites", ownSuites), .ignored("tls_prefer_server_cipher_suites", ownSuites),
        .ignored("auto_encrypt", "tls allow_tls dns_san ip_san", ownTLS),
        .refused(
            "auto_config", "enabled intro_token intro_token_file server_addresses dns_sans ip_sans authorization",
            ownTLS),
        .refused("enable_agent_tls_for_checks", notYet),
    ]
    private static let tlsNames = """
        ca_file ca_path cert_file key_file verify_incoming verify_outgoing verify_server_hostname tls_cipher_suites \
        tls_min_version use_auto_cert
        """
    private static let ownSuites = "the suites are TLS 1.3's and those of TLS 1.2 that have no known weakness"

    private static let gossip: [ConfigurationKey] = [
        .ignored("encrypt", noGossip), .ignored("encrypt_verify_incoming", noGossip),
        .ignored("encrypt_verify_outgoing", noGossip), .ignored("disable_keyring_file", noGossip),
        .ignored("serf_lan", noGossip), .ignored("serf_wan", noGossip),
        .ignored("serf_lan_allowed_cidrs", noGossip), .ignored("serf_wan_allowed_cidrs", noGossip),
        .ignored(
            "gossip_lan", "gossip_nodes gossip_interval probe_interval probe_timeout suspicion_mult retransmit_mult",
            noGossip),
        .ignored(
            "gossip_wan", "gossip_nodes gossip_interval probe_interval probe_timeout suspicion_mult retransmit_mult",
            noGossip),
        .ignored("reconnect_timeout", noGossip), .ignored("reconnect_timeout_wan", noGossip),
        .ignored("advertise_reconnect_timeout", noGossip), .ignored("rejoin_after_leave", noGossip),
        .ignored("disable_coordinates", "there are no coordinates"),
        .ignored("disable_remote_exec", "there is no exec"),
    ]

    private static let federation: [ConfigurationKey] = [
        .ignored("advertise_addr_ipv4", notYet), .ignored("advertise_addr_ipv6", notYet),
        .ignored("advertise_addr_wan", noFederation), .ignored("advertise_addr_wan_ipv4", noFederation),
        .ignored("advertise_addr_wan_ipv6", noFederation), .ignored("tagged_addresses", notYet),
        .refused("retry_join_wan", noFederation), .refused("start_join_wan", noFederation),
        .ignored("retry_interval_wan", noFederation), .ignored("retry_max_wan", noFederation),
        .ignored("translate_wan_addrs", noFederation), .ignored("primary_datacenter", noFederation),
        .refused("primary_gateways", noFederation), .ignored("primary_gateways_interval", noFederation),
    ]

    private static let output: [ConfigurationKey] = [
        .ignored("ui", notYet), .ignored("ui_dir", notYet), .ignored("ui_content_path", notYet),
        .ignored(
            "ui_config",
            """
            enabled dir content_path metrics_provider metrics_provider_files metrics_provider_options_json \
            metrics_proxy dashboard_url_templates
            """, notYet),
        .ignored(
            "telemetry",
            """
            circonus_api_app circonus_api_token circonus_api_url circonus_broker_id circonus_broker_select_tag \
            circonus_check_display_name circonus_check_force_metric_activation circonus_check_id \
            circonus_check_instance_id circonus_check_search_tag circonus_check_tags circonus_submission_interval \
            circonus_submission_url disable_hostname disable_per_tenancy_usage_metrics dogstatsd_addr dogstatsd_tags \
            enable_host_metrics filter_default metrics_prefix prefix_filter prometheus_retention_time \
            retry_failed_connection statsd_address statsite_address certificate_expiry
            """, "figures are read at `/v1/agent/metrics`"),
        .refused("log_file", noLogFile), .ignored("log_rotate_bytes", noLogFile),
        .ignored("log_rotate_duration", noLogFile), .ignored("log_rotate_max_files", noLogFile),
        .refused("enable_syslog", noLogFile), .ignored("syslog_facility", noLogFile),
        .refused("pid_file", notYet),
        .ignored("enable_debug", notYet),
    ]

    private static let node: [ConfigurationKey] = [
        .refused("node_id", "an id belongs to one data directory and is made with it"),
        .ignored("disable_host_node_id", "ids are random"),
        .ignored("locality", "region zone", notYet),
        .ignored("disable_update_check", "nothing is ever looked up outside"),
        .ignored("disable_anonymous_signature", "nothing is ever looked up outside"),
        .ignored("disable_kv_key_validation", "keys are kept as bytes"),
        .ignored("discovery_max_stale", notYet), .ignored("use_streaming_backend", "agents always hold a stream"),
        .ignored("rpc", "enable_streaming", "agents always hold a stream"),
        .ignored("cache", "entry_fetch_max_burst entry_fetch_rate", "there is no cache to fill"),
        .refused("auto_reload_config", "reload with SIGHUP or `serai reload`"),
        .ignored("snapshot_agent", enterprise), .ignored("experiments", notYet),
        .refused("cloud", "resource_id client_id client_secret hostname auth_url scada_address node_id", notYet),
        .refused("segment", enterprise), .refused("segments", enterprise), .refused("partition", enterprise),
        .ignored("reporting", "license", enterprise), .ignored("license_path", enterprise),
        .refused("read_replica", enterprise), .refused("non_voting_server", enterprise),
    ]

    private static let consensus: [ConfigurationKey] = [
        .ignored(
            "autopilot",
            """
            cleanup_dead_servers last_contact_threshold max_trailing_logs min_quorum server_stabilization_time \
            disable_upgrade_migration redundancy_zone_tag upgrade_version_tag
            """, "servers are added as learners and vote once they have caught up; none is removed by itself"),
        .ignored("server_rejoin_age_max", notYet),
        .ignored("raft_protocol", "there is one protocol"), .ignored("protocol", "there is one protocol"),
        .ignored("raft_snapshot_interval", "snapshots go by entries"),
        .ignored("raft_logstore", "backend disable_log_cache verification boltdb wal", oneStore),
        .ignored("raft_boltdb", "NoFreelistSync", oneStore),
        .ignored("ae_interval", notForUsers), .ignored("check_deregister_interval_min", notForUsers),
        .ignored("check_reap_interval", notForUsers), .ignored("consul", "coordinate raft server", notForUsers),
        .ignored("sync_coordinate_interval_min", notForUsers), .ignored("sync_coordinate_rate_target", notForUsers),
        .ignored("segment_limit", notForUsers), .ignored("segment_name_limit", notForUsers),
        .ignored("acl_disabled_ttl", notForUsers), .ignored("revision", notForUsers), .ignored("version", notForUsers),
        .ignored("version_prerelease", notForUsers), .ignored("version_metadata", notForUsers),
        .ignored("build_date", notForUsers), .ignored("license_poll_base_time", notForUsers),
        .ignored("license_poll_max_time", notForUsers), .ignored("license_update_base_time", notForUsers),
        .ignored("license_update_max_time", notForUsers),
    ]
}
