"""Takes the place of the conftest.py of py-consul's own tests, which starts Consul in containers: each test gets an agent of
ours of its own. Tests that want access lists are skipped, for there are none."""
import collections
import json
import os
import socket
import subprocess
import time
import urllib.request

import pytest

ConsulInstance = collections.namedtuple("ConsulInstance", ["container", "port", "version"])


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def consul_instance(tmp_path):
    http, dns, server = free_ports(3)
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({
        "ports": {"http": http, "dns": dns, "server": server, "grpc": -1}, "enable_script_checks": True,
    }))
    with open(tmp_path / "log", "wb") as log:
        agent = subprocess.Popen(
            [os.environ["SERAI"], "agent", "-dev", "-config-file", str(settings)], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 20
        while True:
            assert agent.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end, "the agent has no leader after 20 s"
            try:
                url = f"http://127.0.0.1:{http}/v1"
                with urllib.request.urlopen(url + "/status/leader", timeout=2) as answer:
                    leader = json.load(answer)
                with urllib.request.urlopen(url + "/catalog/nodes", timeout=2) as answer:
                    if leader and json.load(answer):
                        break
            except OSError:
                pass
            time.sleep(0.05)
        with urllib.request.urlopen(url + "/agent/self", timeout=2) as answer:
            version = json.load(answer)["Config"]["Version"]
        yield ConsulInstance(None, http, version)
    finally:
        agent.kill()
        agent.wait()


@pytest.fixture
def acl_consul_instance():
    pytest.skip("there are no access lists")


@pytest.fixture
def consul_port(consul_instance):
    return consul_instance.port, consul_instance.version
