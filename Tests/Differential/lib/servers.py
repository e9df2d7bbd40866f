"""One Consul server and one Serai server, alone and empty, each on a loopback address of its own, the same ports."""
import contextlib
import json
import pathlib
import signal
import socket
import subprocess

import exchange

NODE, DATACENTER = "n1", "dc1"
HOSTS = ("127.0.2.1", "127.0.2.2")
STARTUP_SECONDS = 60
# In tenths of a second.
QUIET_ROUNDS = 30
ATTEMPTS = 6


class CannotRun(Exception):
    """Not a difference: the comparison could not be made."""


def consul_configuration(host, port, folder):
    return {
        "server": True, "bootstrap_expect": 1, "node_name": NODE, "datacenter": DATACENTER, "data_dir": str(folder / "data"),
        "bind_addr": host, "client_addr": host, "disable_update_check": True, "connect": {"enabled": True},
        "performance": {"raft_multiplier": 1}, "telemetry": {"prometheus_retention_time": "60s"},
        "ports": {"http": port, "server": port + 1, "serf_lan": port + 2, "serf_wan": port + 3, "dns": -1},
    }


def serai_configuration(host, port, folder):
    return {
        "server": True, "bootstrap_expect": 1, "node_name": NODE, "datacenter": DATACENTER, "data_dir": str(folder / "data"),
        "bind_addr": host, "client_addr": host, "ports": {"http": port, "server": port + 1, "dns": -1},
    }


@contextlib.contextmanager
def running(binary, configuration, host, port, folder):
    """The address of a server that leads, which is stopped in the end whatever happens."""
    for attempt in range(ATTEMPTS):
        process, log = start(binary, configuration, host, port, folder / str(attempt))
        try:
            if not exchange.wait_until(lambda: process.poll() is not None or leads((host, port)), STARTUP_SECONDS) \
                    or process.poll() is not None:
                raise CannotRun(f"{binary} does not lead; the end of its log:\n{tail(log)}")
            if attempt < ATTEMPTS - 1 and not settled((host, port)):
                continue
            yield (host, port)
            if process.poll() is not None:
                raise CannotRun(f"{binary} stopped by itself; the end of its log:\n{tail(log)}")
            return
        finally:
            stop(process)


def start(binary, configuration, host, port, folder):
    folder.mkdir(parents=True)
    for used in (port, port + 1):
        must_be_free(host, used)
    path = folder / "agent.json"
    path.write_text(json.dumps(configuration(host, port, folder)))
    with open(folder / "log", "wb") as log:
        try:
            return subprocess.Popen(
                [binary, "agent", "-config-file", str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=folder), folder / "log"
        except OSError as error:
            raise CannotRun(f"{binary}: {error.strerror}") from error


def leads(address):
    """It leads, and has written itself into its catalog."""
    try:
        if exchange.send(address, "GET", "/v1/status/leader", seconds=2).text in ('""', ""):
            return False
        services = exchange.send(address, "GET", "/v1/catalog/services", seconds=2)
        node = exchange.send(address, "GET", f"/v1/catalog/node/{NODE}", seconds=2)
        checks = exchange.send(address, "GET", f"/v1/health/node/{NODE}", seconds=2)
        return '"consul"' in services.text and "lan_ipv4" in node.text and "serfHealth" in checks.text
    except exchange.NoAnswer:
        return False


def settled(address):
    """Waits until the catalog has not moved for a while: what a server and the agent in it write about themselves comes in
    pieces. Serai's two writers may overwrite each other's version of the node, now and again for ever; a start on which the
    agent came last is of no use here."""
    seen = []

    def quiet():
        seen.append(exchange.send(address, "GET", "/v1/catalog/nodes").header("X-Consul-Index"))
        return len(set(seen[-QUIET_ROUNDS:])) == 1 and len(seen) >= QUIET_ROUNDS
    if not exchange.wait_until(quiet, STARTUP_SECONDS):
        return False
    node = exchange.send(address, "GET", f"/v1/catalog/node/{NODE}").text
    return '"version":"1.8.7"' in node or "consul-version" in node


def last_index(address):
    """The index of a write made now: all that the server wrote by itself while it started is older."""
    exchange.send(address, "PUT", "/v1/kv/started", body=b"x")
    row = json.loads(exchange.send(address, "GET", "/v1/kv/started").body)[0]
    exchange.send(address, "DELETE", "/v1/kv/started")
    return row["ModifyIndex"]


def must_be_free(host, port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotRun(f"{host}:{port}: {error.strerror}; --port moves both servers") from error


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(path: pathlib.Path, count=20):
    return "\n".join(path.read_text(errors="replace").split("\n")[-count:])
