"""A network of its own for each node, and what can go wrong with it.

The whole run lives in a network, mount and process namespace made by `enter`: when it ends, however it ends, the kernel
takes every interface, rule and process of it away. Inside, each node has a network namespace with one address,
10.77.0.N, joined by a bridge; the runner itself is the clients' host, 10.77.0.254.
"""
import ctypes
import os
import subprocess
import sys
import threading

CLIENTS = "10.77.0.254"
AGENTS = 100        # the last byte of agents' addresses is above it
RPC = 8300
_libc = ctypes.CDLL(None, use_errno=True)
_NEWNET = 0x40000000


def enter():
    """Runs this program again inside namespaces of its own. An ordinary user gets them with a user namespace."""
    if os.environ.get("SERAI_CHAOS_INSIDE") == "1":
        return
    own = [] if os.getuid() == 0 else ["--map-root-user"]
    command = ["unshare", *own, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
               sys.executable, *sys.argv]
    try:
        os.execvpe("unshare", command, {**os.environ, "SERAI_CHAOS_INSIDE": "1"})
    except OSError as error:
        print(f"chaos/run: unshare can't be run ({error}); it comes with util-linux", file=sys.stderr)
        sys.exit(2)


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def is_server(address):
    return int(address.rsplit(".", 1)[1]) < AGENTS


class Network:
    """Addresses are given by name. Faults are rules, in force from `apply` to `heal`."""

    def __init__(self):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "name", "br0", "type", "bridge")
        run("ip", "addr", "add", CLIENTS + "/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        self.addresses = {}
        self.lock = threading.RLock()
        self.rules = {}      # node → [(owner, input rule)]
        self.changed = set()
        self.redirects = {}  # node → what leaves it by way of the proxy

    def add(self, name):
        kind, number = name.rsplit("-", 1)
        address = f"10.77.0.{int(number) + (0 if kind == 'server' else AGENTS)}"
        outside = f"v-{kind[0]}{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", "name", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", outside, "master", "br0", "up")
        for command in (f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up"):
            run("ip", "-n", name, *command.split())
        self.addresses[name] = address
        self.rules[name] = []
        return address

    def command(self, name, *command):
        """What runs a command in a node's network."""
        return ["ip", "netns", "exec", name, *command]

    def socket_of(self, name, make):
        """Calls `make` in a node's network, on this thread; the sockets that it makes stay there."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        other = os.open(f"/run/netns/{name}", os.O_RDONLY)
        try:
            if _libc.setns(other, _NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {name}")
            return make()
        finally:
            _libc.setns(own, _NEWNET)
            os.close(own)
            os.close(other)

    # --- faults: each belongs to an owner, who takes all of his away with `heal` ---

    def cut(self, owner, source, target, how="drop"):
        """Nothing from `source` reaches `target`; `how` is drop, or reset: a TCP sender is told so at once."""
        address = self.addresses[source]
        if how == "reset":
            self._rule(owner, target, f"ip saddr {address} meta l4proto tcp reject with tcp reset")
        self._rule(owner, target, f"ip saddr {address} drop")

    def cut_both(self, owner, one, other, how="drop"):
        self.cut(owner, one, other, how)
        self.cut(owner, other, one, how)

    def divide(self, owner, *groups, how="drop"):
        """Members of different groups don't hear each other; clients still reach all."""
        for position, group in enumerate(groups):
            for one in group:
                for other in (name for others in groups[position + 1:] for name in others):
                    self.cut_both(owner, one, other, how)

    def lose(self, owner, source, target, percent):
        self._rule(owner, target,
                   f"ip saddr {self.addresses[source]} numgen random mod 1000 < {round(percent * 10)} drop")

    def limit(self, owner, source, target, kilobytes):
        self._rule(owner, target, f"ip saddr {self.addresses[source]} limit rate over {kilobytes} kbytes/second "
                                  f"burst {kilobytes} kbytes drop")

    def apply(self):
        """Makes the rules that have changed those in force, a node at a time."""
        with self.lock:
            for name in sorted(self.changed):
                if name in self.addresses:
                    self._write(name)
            self.changed.clear()

    def heal(self, owner=None):
        """Takes the owner's faults away, or everyone's."""
        with self.lock:
            for name, rules in self.rules.items():
                left = [rule for rule in rules if owner is not None and rule[0] is not owner]
                if len(left) != len(rules):
                    self.rules[name] = left
                    self.changed.add(name)
        self.apply()

    def redirect(self, source, target, port):
        """What `source` opens to `target`'s RPC port goes to `port` on its own loopback; both ends see true addresses."""
        self.redirects.setdefault(source, []).append(
            f"ip daddr {self.addresses[target]} tcp dport {RPC} meta mark != 7 dnat to 127.0.0.1:{port}")
        self._write(source)

    def _rule(self, owner, name, text):
        with self.lock:
            self.rules[name].append((owner, text))
            self.changed.add(name)

    def clear(self):
        """Takes all nodes away, with what still runs in them."""
        for name in self.addresses:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            kind, number = name.rsplit("-", 1)
            subprocess.run(["ip", "link", "del", f"v-{kind[0]}{number}"], capture_output=True)
        self.addresses, self.rules, self.redirects = {}, {}, {}

    def _write(self, name):
        lines = ["flush ruleset", "table ip chaos {", "chain incoming {", "type filter hook input priority 0;"]
        lines += [text for _, text in self.rules[name]] + ["}"]
        if self.redirects.get(name):
            lines += ["chain leaving {", "type nat hook output priority -100;", *self.redirects[name], "}"]
        run(*self.command(name, "nft", "-f", "-"), text="\n".join(lines + ["}"]) + "\n")
