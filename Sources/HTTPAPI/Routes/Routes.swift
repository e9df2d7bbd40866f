import Registry

extension RouteTable {
    static let consul = RouteTable(
        cluster: [
            .get("/v1/kv/*", of: .key, KVHandlers.get).onLoop(KVHandlers.get).viewed(ViewTopic.keys),
            .put("/v1/kv/*", of: .key, KVHandlers.put).onLoop(KVHandlers.put),
            .delete("/v1/kv/*", of: .key, KVHandlers.delete).onLoop(KVHandlers.delete),
            .put("/v1/txn", of: .key, TxnHandlers.run),

            .put("/v1/session/create", of: .session, SessionHandlers.create),
            .put("/v1/session/destroy/*", of: .session, SessionHandlers.destroy),
            .put("/v1/session/renew/*", of: .session, SessionHandlers.renew),
            .get("/v1/session/info/*", of: .session, SessionHandlers.info),
            .get("/v1/session/node/*", of: .session, SessionHandlers.onNode),
            .get("/v1/session/list", of: .session, SessionHandlers.list),

            .get("/v1/status/leader", of: .status, StatusHandlers.leader),
            .get("/v1/status/peers", of: .status, StatusHandlers.peers),

            .put("/v1/catalog/register", of: .node, CatalogHandlers.register),
            .put("/v1/catalog/deregister", of: .node, CatalogHandlers.deregister),
            .get("/v1/catalog/nodes", of: .node, CatalogHandlers.nodes).viewed { _ in .nodes },
            .get("/v1/catalog/services", of: .service, CatalogHandlers.services).viewed { _ in .services },
            .get("/v1/catalog/service/*", of: .service, CatalogHandlers.service).viewed(ViewTopic.service),
            .get("/v1/catalog/node/*", of: .node, CatalogHandlers.node).viewed(ViewTopic.node),
            .get("/v1/catalog/node-services/*", of: .node, CatalogHandlers.nodeServices).viewed(ViewTopic.node),

            .get("/v1/health/service/*", of: .service, HealthHandlers.service).viewed(ViewTopic.service),
            .get("/v1/health/node/*", of: .node, HealthHandlers.node).viewed(ViewTopic.node),
            .get("/v1/health/checks/*", of: .service, HealthHandlers.checks).viewed(ViewTopic.service),
            .get("/v1/health/state/*", of: .node, HealthHandlers.state).viewed(ViewTopic.checks),

            .get("/v1/operator/raft/configuration", of: .operator, OperatorHandlers.raftConfiguration),
            .delete("/v1/operator/raft/peer", of: .operator, OperatorHandlers.removePeer),
            .post("/v1/operator/raft/transfer-leader", of: .operator, OperatorHandlers.transferLeader),
            .put("/v1/operator/raft/transfer-leader", of: .operator, OperatorHandlers.transferLeader),
            .get("/v1/operator/autopilot/health", of: .operator, OperatorHandlers.autopilotHealth),
            .get("/v1/operator/autopilot/configuration", of: .operator, AutopilotHandlers.configuration),
            .put("/v1/operator/autopilot/configuration", of: .operator, AutopilotHandlers.configure),
            .get("/v1/operator/keyring", of: .operator, AutopilotHandlers.keyring),
            .post("/v1/operator/keyring", of: .operator, AutopilotHandlers.keyring),
            .put("/v1/operator/keyring", of: .operator, AutopilotHandlers.keyring),
            .delete("/v1/operator/keyring", of: .operator, AutopilotHandlers.keyring),
            .get("/v1/operator/usage", of: .operator, AutopilotHandlers.usage),

            .get("/v1/internal/ui/nodes", of: .node, UIHandlers.nodes),
            .get("/v1/internal/ui/node/*", of: .node, UIHandlers.node),
            .get("/v1/internal/ui/services", of: .service, UIHandlers.services),
            .get("/v1/internal/ui/gateway-services-nodes/*", of: .service, UIHandlers.gatewayServices),

            .get("/v1/snapshot", of: .operator, SnapshotHandlers.save),
            .put("/v1/snapshot", of: .operator, SnapshotHandlers.restore),
        ],
        local: [
            .get("/", of: .status, StatusHandlers.root),
            .get("/v1/catalog/datacenters", of: .status, CatalogHandlers.datacenters),

            .get("/v1/agent/self", of: .agent, AgentHandlers.description),
            .get("/v1/agent/version", of: .agent, AgentHandlers.version),
            .get("/v1/agent/members", of: .agent, AgentHandlers.members).openToAgents,
            .get("/v1/agent/metrics", of: .agent, MetricsHandlers.metrics),
            .get("/v1/agent/metrics/stream", of: .agent, MetricsHandlers.stream),
            .get("/v1/agent/monitor", of: .agent, ProcessHandlers.monitor),
            .get("/v1/agent/host", of: .operator, ProcessHandlers.host),
            .put("/v1/agent/join/*", of: .agent, AgentHandlers.join),
            .put("/v1/agent/leave", of: .agent, AgentHandlers.leave),
            .put("/v1/agent/force-leave/*", of: .agent, AgentHandlers.forceLeave).openToAgents,
            .put("/v1/agent/reload", of: .agent, AgentHandlers.reload),
            .put("/v1/agent/maintenance", of: .agent, AgentHandlers.nodeMaintenance),

            .get("/v1/agent/services", of: .agent, AgentServiceHandlers.list),
            .get("/v1/agent/service/*", of: .service, AgentServiceHandlers.one),
            .put("/v1/agent/service/register", of: .service, AgentServiceHandlers.register),
            .put("/v1/agent/service/deregister/*", of: .service, AgentServiceHandlers.deregister),
            .put("/v1/agent/service/maintenance/*", of: .service, AgentServiceHandlers.maintenance),
            .get("/v1/agent/health/service/id/*", of: .service, AgentServiceHandlers.healthByID),
            .get("/v1/agent/health/service/name/*", of: .service, AgentServiceHandlers.healthByName),

            .get("/v1/internal/debug/log", of: .operator, DebugHandlers.log),
            .get("/v1/internal/debug/snapshot", of: .operator, DebugHandlers.snapshots),

            .get("/v1/agent/checks", of: .agent, AgentCheckHandlers.list),
            .put("/v1/agent/check/register", of: .agent, AgentCheckHandlers.register),
            .put("/v1/agent/check/deregister/*", of: .agent, AgentCheckHandlers.deregister),
            .put("/v1/agent/check/pass/*", of: .agent, AgentCheckHandlers.pass),
            .put("/v1/agent/check/warn/*", of: .agent, AgentCheckHandlers.warn),
            .put("/v1/agent/check/fail/*", of: .agent, AgentCheckHandlers.fail),
            .put("/v1/agent/check/update/*", of: .agent, AgentCheckHandlers.update),
        ] + accessLists)
}
