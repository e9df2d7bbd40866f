"""The processes of a cluster, each in a network of its own: started, stopped, asked, broken."""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import tempfile
import threading
import time

import powercut
from network import run

HTTP, RPC = 8500, 8300


def ask(address, path, method="GET", body=None, timeout=5):
    """(status, headers, body); OSError or HTTPException when there is no answer."""
    connection = http.client.HTTPConnection(address, HTTP, timeout=timeout)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def _replace(path, text):
    """Whoever reads the file finds the old text or the new, never half of one."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    os.replace(draft, path)


class Node:
    def __init__(self, cluster, name):
        self.cluster, self.name, self.is_server = cluster, name, name.startswith("server")
        self.folder = cluster.folder / name
        self.address = cluster.network.add(name)
        self.process = None
        self.stopped = False
        self.preload, self.environment, self.prefix = [], {}, []
        self.binary = cluster.binary
        self.starts, self.started = 0, 0
        #: Two faults may have to do with one disk: it is filled while its power is cut.
        self.disk_lock = threading.RLock()

    @property
    def data(self):
        return self.folder / "data"

    def configure(self, expect, extra=None):
        """Writes config.json; `expect` servers found the cluster, or it is joined when that is None."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(self.cluster.keys / ("server.token" if self.is_server else "agent.token"), self.folder / "join.token")
        os.chmod(self.folder / "join.token", 0o600)
        configuration = {
            "node_name": self.name, "datacenter": "dc1", "data_dir": str(self.data), "bind_addr": self.address,
            "client_addr": self.address, "ports": {"http": HTTP, "server": RPC},
            "retry_join": [f"10.77.0.{number}:{RPC}" for number in range(1, 6)], "retry_interval": "1s",
            "join_token_file": str(self.folder / "join.token"), "limits": {"http_max_conns_per_client": 4096},
        }
        if self.is_server:
            configuration |= {"server": True}
            if expect:
                configuration["bootstrap_expect"] = expect
        for key, value in (extra or {}).items():
            old = configuration.get(key)
            configuration[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        (self.folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n")

    # --- life ---

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        if self.is_running:
            return
        environment = {**os.environ, **self.environment}
        if self.preload:
            environment["LD_PRELOAD"] = ":".join(map(str, self.preload))
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.cluster.network.command(
                    self.name, *self.prefix, str(self.binary), "agent", "-config-file", str(self.folder / "config.json")),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
        self.starts += 1
        self.started = time.monotonic()
        self.stopped = False

    def signal(self, number):
        if self.is_running:
            self.process.send_signal(number)

    def remembered_vote(self):
        """Term and candidate's id that its disk tells, while the process is down; None when there is nothing to tell."""
        try:
            # Opened to be read alone, with the write-ahead log as it lies there: nothing is changed for the next start.
            with tempfile.TemporaryDirectory() as folder:
                for name in ("raft.db", "raft.db-wal"):
                    if (self.data / "raft" / name).exists():
                        shutil.copy(self.data / "raft" / name, folder)
                database = sqlite3.connect(folder + "/raft.db")
                try:
                    term, vote = database.execute("SELECT term, vote FROM hard WHERE id = 1").fetchone()
                finally:
                    database.close()
            return (term, f"{vote & 0xFFFF_FFFF_FFFF_FFFF:016x}") if vote else None
        except (OSError, sqlite3.Error, TypeError):
            return None

    def present_vote(self):
        """(term, candidate's id or None for nobody) that the process tells; None when it tells nothing."""
        status = ((self.read("/v1/agent/self", timeout=2) or {}).get("Stats") or {}).get("raft") or {}
        found = re.fullmatch(r"(nobody|[0-9a-f-]{36}) in term (\d+)", status.get("voted_for", ""))
        if not found:
            return None
        return int(found[2]), None if found[1] == "nobody" else found[1].replace("-", "")[:16]

    def kill(self):
        """As by the kernel: at once, with nothing said. Returns when the process is gone."""
        self.signal(signal.SIGKILL)
        self.wait(10)

    def stop(self, seconds=20):
        """SIGTERM, as an operator would; returns what was wrong with the end, or None."""
        if not self.is_running:
            return None
        self.signal(signal.SIGTERM)
        if not self.wait(seconds):
            self.kill()
            return f"{self.name} did not stop within {seconds} s of SIGTERM"
        if self.process.returncode == -signal.SIGTERM and time.monotonic() - self.started < 2:
            return None  # it had not begun to listen for signals
        if self.process.returncode != 0:
            return f"{self.name} ended with status {self.process.returncode} after SIGTERM"
        return None

    def wait(self, seconds):
        if self.process is None:
            return True
        try:
            self.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def pause(self):
        self.stopped = True
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.stopped = False
        self.signal(signal.SIGCONT)

    def cut_power(self, seed):
        """What was there before may need more room than what is there now: a full disk is filled again afterwards."""
        self.kill()
        with self.disk_lock:
            was_full = self.is_full
            if was_full:
                self.free_disk()
            done = powercut.cut(self.data, self.journal, seed)
            if was_full:
                self.fill_disk()
        return done

    # --- disks ---

    FILLERS = {"filler": "1M", "filler-2": "4k", "filler-3": "512"}

    @property
    def is_full(self):
        return (self.data / "filler").exists()

    def fill_disk(self):
        with self.disk_lock:
            for name, size in self.FILLERS.items():
                subprocess.run(["dd", "if=/dev/zero", f"of={self.data / name}", f"bs={size}"], capture_output=True)

    def free_disk(self):
        with self.disk_lock:
            for name in self.FILLERS:
                (self.data / name).unlink(missing_ok=True)

    @property
    def journal(self):
        return self.folder / "powercut.journal"

    def watch_disk(self):
        """From the next start on, what is not synced is remembered."""
        self.preload.append(self.cluster.shims / "powercut.so")
        self.environment |= {"POWERCUT_DIR": str(self.data), "POWERCUT_JOURNAL": str(self.journal)}

    def let_syncs_be_slow(self):
        self.delay_syncs(0)
        self.preload.append(self.cluster.shims / "sync.so")
        self.environment |= {"SYNC_CONTROL": str(self.folder / "sync-delay"), "SYNC_FATAL": "/raft/raft.db"}

    def delay_syncs(self, milliseconds):
        """A number, or "fail"."""
        _replace(self.folder / "sync-delay", str(milliseconds))

    def let_syncs_fail(self):
        (self.folder / "sync-delay.failed").unlink(missing_ok=True)
        self.delay_syncs("fail")

    @property
    def failed_sync(self):
        """When the first sync of the log failed since `let_syncs_fail`, by the monotonic clock in nanoseconds; None: none yet."""
        try:
            return int((self.folder / "sync-delay.failed").read_text())
        except (OSError, ValueError):
            return None

    # --- clocks ---

    def let_clock_be_set(self):
        self.set_clock(0)
        self.preload.append(self.cluster.shims / "clock.so")
        self.environment["CLOCK_CONTROL"] = str(self.folder / "clock")

    def set_clock(self, seconds):
        """The wall clock goes `seconds` before the true one; the monotonic clock is left alone."""
        path = self.folder / "clock"
        # Written in place: the program has it mapped.
        with open(path, "r+b" if path.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def wipe(self):
        for path in self.data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def disk_of_own(self, megabytes):
        """A small ext4 of its own under the data directory, before the first start."""
        image = self.folder / "disk"
        run("truncate", "-s", f"{megabytes}M", str(image))
        run("mkfs.ext4", "-q", "-F", str(image))
        try:
            run("mount", "-o", "loop", str(image), str(self.data))
        except RuntimeError:
            # An ordinary user has no loop devices: memory fills up as well.
            run("mount", "-t", "tmpfs", "-o", f"size={megabytes}M,mode=700", "tmpfs", str(self.data))
        shutil.rmtree(self.data / "lost+found", ignore_errors=True)

    # --- what it says ---

    def ask(self, path, method="GET", body=None, timeout=5):
        return ask(self.address, path, method, body, timeout)

    def read(self, path, timeout=5):
        """The answer's JSON; None when there is none."""
        try:
            status, _, body = self.ask(path, timeout=timeout)
            return json.loads(body) if status == 200 else None
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def resources(self):
        """Open descriptors, threads and resident kibibytes of the process; None when it is not there."""
        pid = self.pid
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            return {
                "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
                "threads": int(status.split("Threads:")[1].split()[0]),
                "memory": int(status.split("VmRSS:")[1].split()[0]),
            }
        except (OSError, IndexError):
            return None

    @property
    def pid(self):
        """`ip netns exec` becomes the program: its pid is the program's."""
        return self.process.pid if self.process else None


class Cluster:
    node = Node
    #: What a server logs when it begins to lead.
    elections = ": leads: term="
    is_ours = True

    def __init__(self, folder, network, binary, shims, count):
        self.folder, self.network, self.binary, self.shims = pathlib.Path(folder), network, binary, shims
        self.keys, self.count = self.folder / "keys", count
        self.nodes = {}
        self.found()

    def found(self):
        """Makes what every node needs before the first starts."""
        run(str(self.binary), "cluster", "init", "-out", str(self.keys))

    def add(self, name):
        self.nodes[name] = self.node(self, name)
        return self.nodes[name]

    @property
    def servers(self):
        return [node for node in self.nodes.values() if node.is_server]

    @property
    def agents(self):
        return [node for node in self.nodes.values() if not node.is_server]

    def leader(self, among=None):
        """The server that says of itself that it leads; the most of those that answer agree, or None."""
        votes = {}
        for node in among or self.servers:
            if node.is_running:
                said = node.read("/v1/status/leader", timeout=1)
                if said:
                    votes[said.split(":")[0]] = votes.get(said.split(":")[0], 0) + 1
        if not votes:
            return None
        address = max(votes, key=votes.get)
        return next((node for node in self.servers if node.address == address), None)

    def wait_for_leader(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            leader = self.leader()
            if leader and leader.is_running:
                return leader
            time.sleep(0.1)
        raise TimeoutError(f"no leader within {seconds} s")
