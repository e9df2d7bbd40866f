// What stands in definitions: in snake_case, or as the API spells it, without regard to case.
extension ConfigurationKeys {
    static let definitions: [String: ConfigurationVocabulary] = [
        "<service>": .init(service, takesCamelCase: true), "<check>": .init(check, takesCamelCase: true),
        "<weights>": .init(weights, takesCamelCase: true), "<address>": .init(address, takesCamelCase: true),
        "<connect>": .init(connect, takesCamelCase: true), "<proxy>": .init(proxy, takesCamelCase: true),
        "<upstream>": .init(upstream, takesCamelCase: true), "<gateway>": .init(gateway, takesCamelCase: true),
        "<expose>": .init(expose, takesCamelCase: true), "<path>": .init(path, takesCamelCase: true),
        "<transparent>": .init(transparent, takesCamelCase: true), "<locality>": .init(locality, takesCamelCase: true),
        "<watch>": .init(watch), "<handler>": .init(handler),
    ]

    static let service: [ConfigurationKey] = [
        .live("name", .text, "must be set"),
        .live("id", .text, "the name by default; one on each agent"),
        .live("kind", .text, "`connect-proxy` and the like"),
        .live("tags", .texts, ""),
        .live("port", .count, ""),
        .live("address", .text, "the node's by default"),
        .live("socket_path", .text, "instead of a port"),
        .live("tagged_addresses", .map("<address>"), "`address` and `port` by name: `lan`, `wan`, …"),
        .live("meta", .textMap, "up to 64 pairs"),
        .live("enable_tag_override", .flag, ""),
        .live("weights", .block("<weights>"), "`passing` and `warning`, both 1 by default"),
        .live("check", .blocks("<check>"), "a check of the service"),
        .live("checks", .blocks("<check>"), "the same"),
        .live("token", .text, "used for this service's writes to the catalog"),
        .live("proxy", .block("<proxy>"), "kept and shown"),
        .live("connect", .block("<connect>"), "`native`, and `sidecar_service`: a service of its own"),
        .ignored("locality", notYet),
        .refused("ports", "several ports of one service are not in this version"),
        .refused("namespace", enterprise), .refused("partition", enterprise),
    ]

    static let check: [ConfigurationKey] = [
        .live("name", .text, ""),
        .live("id", .text, "the name by default; for a service's own check `service:ID`"),
        .live("check_id", .text, "the same"),
        .live("notes", .text, ""),
        .live("service_id", .text, "the service that it is a check of"),
        .live("status", .text, "`passing`, `warning` or `critical`, which is the default, until the first result"),
        .live("token", .text, "used for this check's writes to the catalog"),
        .live("ttl", .duration, "the application reports; without a report for so long it is critical"),
        .live("args", .texts, "a program to run: 0 is passing, 1 a warning, anything else critical"),
        .live("script_args", .texts, "the same as `args`"),
        .live("docker_container_id", .text, "runs `args` in this container"),
        .live("shell", .text, "for `docker_container_id`"),
        .live("http", .text, "a URL: 2xx is passing, 429 a warning"),
        .live("method", .text, "`GET` by default"),
        .live("header", .textsMap, "of the request"),
        .live("body", .text, "of the request"),
        .live("disable_redirects", .flag, ""),
        .live("tcp", .text, "`host:port` to connect to"),
        .live("tcp_use_tls", .flag, ""),
        .live("udp", .text, "`host:port` to send to"),
        .live("grpc", .text, "`host:port` or `host:port/service` of gRPC's health protocol"),
        .live("grpc_use_tls", .flag, ""),
        .live("h2ping", .text, "`host:port` for HTTP/2's ping"),
        .live("h2ping_use_tls", .flag, "true by default"),
        .live("alias_node", .text, "the node whose state this one repeats"),
        .live("alias_service", .text, "the service whose state this one repeats"),
        .live("os_service", .text, "a unit of systemd"),
        .live("tls_server_name", .text, ""),
        .live("tls_skip_verify", .flag, ""),
        .live("interval", .duration, "between probes; at least 1s"),
        .live("timeout", .duration, "of one probe"),
        .live("deregister_critical_service_after", .duration, "at least 1m"),
        .live("success_before_passing", .count, ""),
        .live("failures_before_warning", .count, ""),
        .live("failures_before_critical", .count, ""),
        .live("output_max_size", .count, "bytes of output that are kept"),
        .refused("script", "write the program and its arguments as a list in `args`"),
        .refused("namespace", enterprise), .refused("partition", enterprise),
    ]

    private static let weights: [ConfigurationKey] = [.live("passing", .count, ""), .live("warning", .count, "")]
    private static let address: [ConfigurationKey] = [.live("address", .text, ""), .live("port", .count, "")]
    private static let locality: [ConfigurationKey] = [.live("region", .text, ""), .live("zone", .text, "")]
    private static let gateway: [ConfigurationKey] = [.live("mode", .text, "")]

    private static let connect: [ConfigurationKey] = [
        .live("native", .flag, ""), .live("sidecar_service", .block("<service>"), ""),
    ]

    private static let proxy: [ConfigurationKey] = [
        .live("destination_service_name", .text, ""), .live("destination_service_id", .text, ""),
        .live("local_service_address", .text, ""), .live("local_service_port", .count, ""),
        .live("local_service_socket_path", .text, ""), .live("mode", .text, ""),
        .live("transparent_proxy", .block("<transparent>"), ""), .live("config", .any, ""),
        .live("upstreams", .blocks("<upstream>"), ""), .live("mesh_gateway", .block("<gateway>"), ""),
        .live("expose", .block("<expose>"), ""), .live("envoy_extensions", .any, ""), .live("access_logs", .any, ""),
    ]

    private static let transparent: [ConfigurationKey] = [
        .live("outbound_listener_port", .count, ""), .live("dialed_directly", .flag, ""),
    ]

    private static let upstream: [ConfigurationKey] = [
        .live("destination_type", .text, ""), .live("destination_name", .text, ""),
        .live("destination_namespace", .text, ""), .live("destination_partition", .text, ""),
        .live("destination_peer", .text, ""), .live("datacenter", .text, ""),
        .live("local_bind_address", .text, ""), .live("local_bind_port", .count, ""),
        .live("local_bind_socket_path", .text, ""), .live("local_bind_socket_mode", .text, ""),
        .live("config", .any, ""), .live("mesh_gateway", .block("<gateway>"), ""),
    ]

    private static let expose: [ConfigurationKey] = [
        .live("checks", .flag, ""), .live("paths", .blocks("<path>"), ""), .live("port", .count, ""),
    ]

    private static let path: [ConfigurationKey] = [
        .live("listener_port", .count, ""), .live("path", .text, ""), .live("local_path_port", .count, ""),
        .live("protocol", .text, ""),
    ]

    static let watch: [ConfigurationKey] = [
        .live("type", .text, "`key`, `keyprefix`, `services`, `nodes`, `service` or `checks`; must be set"),
        .live("key", .text, "of type `key`"),
        .live("prefix", .text, "of type `keyprefix`"),
        .live("service", .text, "of types `service` and `checks`"),
        .live("tag", .texts, "of type `service`: instances with all of these"),
        .live("passingonly", .flag, "of type `service`"),
        .live("state", .text, "of type `checks`, `any` by default"),
        .live("name", .text, "of type `event`"),
        .live("filter", .text, "a filter expression, as the HTTP API takes it"),
        .live("stale", .flag, "any server may answer"),
        .live("token", .text, "of the requests"),
        .live("handler_type", .text, "`script`, the default, or `http`"),
        .live("args", .texts, "the program that is run; gets JSON on standard input and `CONSUL_INDEX`"),
        .live("handler", .text, "a line for `/bin/sh -c`; better write `args`"),
        .live("http_handler_config", .block("<handler>"), "`path`, `method`, `timeout`, `header`, `tls_skip_verify`"),
        .refused("datacenter", noFederation),
    ]

    private static let handler: [ConfigurationKey] = [
        .live("path", .text, ""), .live("method", .text, ""), .live("timeout", .duration, ""),
        .live("header", .textsMap, ""), .live("tls_skip_verify", .flag, ""),
    ]
}
