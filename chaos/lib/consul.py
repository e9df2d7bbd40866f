"""The same for Consul, to see side by side what it does: `chaos/run kill --consul /usr/bin/consul`."""
import json

import nodes


class ConsulNode(nodes.Node):
    def configure(self, expect, extra=None):
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = {
            "node_name": self.name, "datacenter": "dc1", "data_dir": str(self.data), "bind_addr": self.address,
            "client_addr": self.address, "server": self.is_server, "retry_interval": "1s", "disable_update_check": True,
            "retry_join": [f"10.77.0.{number}" for number in range(1, self.cluster.count + 1)],
            # As the documentation asks for production; the default is five times as slow to elect.
            "performance": {"raft_multiplier": 1}, "leave_on_terminate": False, "limits": {"http_max_conns_per_client": 4096},
        }
        if self.is_server and expect:
            configuration["bootstrap_expect"] = expect
        (self.folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n")

    def remembered_vote(self):
        return None


class ConsulCluster(nodes.Cluster):
    node = ConsulNode
    elections = "cluster leadership acquired"
    #: Its answers are judged, its own affairs are not: what it logs, keeps on disk and hashes.
    is_ours = False

    def found(self):
        pass
