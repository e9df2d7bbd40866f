"""One run of one scenario: brings a cluster up, breaks it, heals it, looks at what is left, and judges."""
import collections
import concurrent.futures
import json
import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import types

import clients
import consul
import faults
import live
import nodes
import report
from proxy_control import ProxyControl

SETTLED = 60       # seconds that a healed cluster has to agree again
JUDGING = 300      # seconds that the judge may take
QUIET = 20         # seconds of work after that, without any fault
STEADY_GROWTH = 1.10
ROOM = 96 * 1024   # KiB that queues and caches may take under load: they are bounded
KEPT = 1024        # bytes that a write may leave behind: its key, its result for a retry
ENDING = 2 * clients.SESSION_TTL + 5    # seconds within which a session that nobody renews is gone


class Invalid(Exception):
    """The run can't be made, or proves nothing."""


class Run:
    def __init__(self, scenario, options, net, here):
        self.scenario, self.options, self.network, self.here = scenario, options, net, here
        self.seed = options.seed
        self.random = random.Random(f"{scenario.name}-{self.seed}")
        self.count = options.servers or scenario.servers
        self.seconds = options.seconds or scenario.seconds
        name = f"{'consul-' if options.consul else ''}{scenario.name}-{self.count}-{self.seed}"
        self.folder = pathlib.Path(options.report).resolve() / name
        if self.folder.exists():
            shutil.rmtree(self.folder)
        (self.folder / "nodes").mkdir(parents=True)
        self.copies = self.folder / "copies"
        self.copies.mkdir()
        self.removed = set()
        #: Inodes of snapshots that were changed on purpose: one that nobody has needed since may still be bad.
        self.damaged = set()
        self.membership = types.SimpleNamespace(name="membership")
        self.claims, self.windows, self.open_windows, self.restores = {}, [], {}, []
        self.complaints, self.said = [], []
        #: When writing was interrupted on purpose: see report.interruptions.
        self.marks = []
        self.facts = collections.Counter()
        self.phase, self.began = "starts", time.monotonic()
        self.lock = threading.Lock()
        self.proxy = None
        self.crowd = None

    def say(self, text):
        with self.lock:
            self.said.append((time.monotonic(), text))

    def complain(self, text):
        """A promise that was not kept, other than those that the judge finds."""
        with self.lock:
            self.complaints.append(text)

    def mark(self, kind, since, until=None):
        with self.lock:
            self.marks.append((kind, since, until))

    # --- the cluster ---

    def build(self):
        shims = self.folder / "shims"
        shims.mkdir()
        for source in sorted((self.here / "shims").glob("*.c")):
            done = subprocess.run(
                ["cc", "-shared", "-fPIC", "-O2", "-o", str(shims / (source.stem + ".so")), str(source), "-ldl", "-lpthread"],
                capture_output=True, text=True)
            if done.returncode:
                raise Invalid(f"{source.name} can't be compiled: {done.stderr}")
        kind, binary = (consul.ConsulCluster, self.options.consul) if self.options.consul else (
            nodes.Cluster, self.options.previous if self.scenario.previous else self.options.binary)
        self.cluster = kind(self.folder / "nodes", self.network, binary, shims, self.count)
        for number in range(1, self.count + 1):
            self.prepare(self.cluster.add(f"server-{number}"))
        for number in range(1, self.scenario.agents + 1):
            self.prepare(self.cluster.add(f"agent-{number}"))
        if self.scenario.proxy:
            self.proxy = ProxyControl(self.here, self.network, [node.name for node in self.cluster.servers], self.seed,
                                      open(self.folder / "proxy.log", "w"))
        for _ in range(self.scenario.races):
            self.race()
        for node in self.cluster.nodes.values():
            node.start()
        self.cluster.wait_for_leader()
        self.wait_for_voters()
        self.register_clients()
        self.fill(self.scenario.preload)

    def register_clients(self):
        """A node for the clients' sessions, whose end would be theirs."""
        body = json.dumps({"Node": clients.NODE, "Address": "127.0.0.1"})
        status, _, answer = self.cluster.servers[0].ask("/v1/catalog/register", "PUT", body, timeout=15)
        if status != 200:
            raise Invalid(f"a node can't be registered: {status} {answer[:200]}")

    def race(self):
        """The servers start in any order, with pauses; one is killed while they find each other, and perhaps loses all.
        One cluster comes of it, never two, and what it is told every server knows. Then all is forgotten."""
        servers = self.random.sample(self.cluster.servers, self.count)
        unlucky = self.random.choice(servers)
        for node in servers:
            node.start()
            time.sleep(self.random.uniform(0, 0.9))
            if node is unlucky:
                node.kill()
                if self.random.random() < 0.5:
                    node.wipe()
                time.sleep(self.random.uniform(0, 0.9))
        unlucky.start()
        self.cluster.wait_for_leader()
        self.wait_for_voters()
        end, leaders = time.monotonic() + SETTLED, {None}
        while time.monotonic() < end and (len(leaders) > 1 or not all(leaders)):
            leaders = {node.read("/v1/status/leader") for node in servers}
            time.sleep(0.05)
        if len(leaders) != 1 or not all(leaders):
            self.complain(f"servers that started together follow {leaders}")
        status, _, body = servers[0].ask("/v1/kv/race", "PUT", str(self.seed), timeout=15)
        for node in servers:
            if self.answer(node, "/v1/kv/race?raw") != self.seed:
                self.complain(f"{node.name} does not know what {servers[0].name} was told ({status} {body})")
        self.facts["clusters founded"] += 1
        for node in servers:
            node.kill()
            node.wipe()

    def fill(self, megabytes):
        for number in range(2 * megabytes):
            value = self.random.randbytes(256 * 1024).hex()
            status, _, body = self.cluster.servers[0].ask(f"/v1/kv/fill/{number}", "PUT", value, timeout=30)
            if status != 200:
                raise Invalid(f"the state can't be filled: {status} {body[:200]}")

    def prepare(self, node, expect=True):
        scenario = self.scenario
        node.configure(self.count if expect else None, scenario.config if node.is_server else None)
        if scenario.clock:
            node.let_clock_be_set()
        if node.is_server and scenario.disk:
            node.disk_of_own(scenario.disk)
        if node.is_server and scenario.slow_sync:
            node.let_syncs_be_slow()
        if node.is_server and scenario.watch_disk:
            node.watch_disk()

    def members(self):
        return [node for node in self.cluster.servers if node.name not in self.removed]

    def grow(self):
        """A server more, that joins."""
        name = next(name for name in (f"server-{n}" for n in range(1, 10))
                    if name in self.removed or name not in self.cluster.nodes)
        if name in self.removed:
            node = self.cluster.nodes[name]
            node.wipe()
            self.removed.discard(name)
        else:
            node = self.cluster.add(name)
            self.prepare(node, expect=False)
        self.count += 1
        node.start()
        return node

    def shrink(self, node):
        self.command("operator", "raft", "remove-peer", f"-address={node.address}:{nodes.RPC}")
        self.removed.add(node.name)
        self.count -= 1
        self.note_end(node)

    def note_end(self, node):
        """Stops a node as an operator would, and notes how long that took."""
        began = time.monotonic()
        complaint = node.stop()
        if complaint and self.cluster.is_ours:
            self.complain(complaint)
        self.facts["slowest stop, ms"] = max(self.facts["slowest stop, ms"], round(1000 * (time.monotonic() - began)))

    def command(self, *words, seconds=60):
        """A command of the binary, at whichever server answers, tried until it succeeds."""
        end = time.monotonic() + seconds
        while True:
            node = self.random.choice([node for node in self.members() if node.is_running] or self.members())
            try:
                done = subprocess.run(
                    [str(self.options.binary), *words[:2 if words[0] != "operator" else 3],
                     f"-http-addr={node.address}:{nodes.HTTP}", *words[2 if words[0] != "operator" else 3:]],
                    capture_output=True, text=True, timeout=30)
                if done.returncode == 0:
                    return done.stdout
                complaint = done.stderr.strip()
            except subprocess.TimeoutExpired:
                complaint = "no answer within 30 s"
            if time.monotonic() > end:
                raise TimeoutError(f"{' '.join(words)}: {complaint}")
            time.sleep(0.3)

    def wait_for_health(self, seconds=SETTLED):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if all(node.ask("/v1/operator/autopilot/health")[0] == 200 for node in self.members()):
                    return
            except (OSError, nodes.http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise TimeoutError(f"the servers were not healthy within {seconds} s")

    def wait_until_repaired(self, node, began, seconds=SETTLED):
        """A server that found its files changed runs, votes, and has what the leader has."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            health = node.read("/v1/operator/autopilot/health") if node.is_running else None
            own = [s for s in (health or {}).get("Servers", []) if s["Name"] == node.name]
            if own and own[0]["Healthy"] and own[0]["Voter"]:
                took = round(1000 * (time.monotonic() - began))
                self.facts["slowest repair, ms"] = max(self.facts["slowest repair, ms"], took)
                return
            if not node.is_running:
                self.complain(f"{node.name} ended instead of healing: {self.last_words(node)}")
                return
            time.sleep(0.1)
        self.complain(f"{node.name} was not repaired within {seconds} s")

    def wait_until_taken_in(self, node, seconds=SETTLED):
        """Until who came back is a voter itself, and not only whom it replaces, that nobody has missed yet."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            own = ((node.read("/v1/agent/self", timeout=2) or {}).get("Config") or {}).get("NodeID")
            leader = self.cluster.leader()
            found = leader.read("/v1/operator/raft/configuration") if leader else None
            if any(server["ID"] == own and server["Voter"] for server in (found or {}).get("Servers", [])):
                return
            time.sleep(0.1)
        raise TimeoutError(f"{node.name} came back empty and was not taken in within {seconds} s")

    def wait_for_voters(self, seconds=SETTLED):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            leader = self.cluster.leader()
            found = leader.read("/v1/operator/raft/configuration") if leader else None
            if found and sum(server["Voter"] for server in found["Servers"]) == len(found["Servers"]) == (
                    self.count):
                return
            time.sleep(0.2)
        raise TimeoutError(f"not {self.count} voters within {seconds} s")

    # --- faults ---

    def is_whole(self):
        leader = self.cluster.leader()
        health = leader.read("/v1/operator/autopilot/health") if leader else None
        servers = (health or {}).get("Servers", [])
        return len(servers) == self.count and all(server["Healthy"] and server["Voter"] for server in servers)

    def claim(self, fault, struck):
        """False when another fault of the domain has one of the nodes in its hands."""
        with self.lock:
            wanted = {(fault.domain, node.name) for node in struck}
            if any(wanted & held for held in self.claims.values()):
                return False
            self.claims[fault] = wanted
            return True

    def release(self, fault):
        with self.lock:
            self.claims.pop(fault, None)

    def compare_vote(self, node, voted):
        """A server that is back has not forgotten whom it voted for, as long as its term lasts (dissertation §3.8)."""
        def look():
            end = time.monotonic() + 5
            while time.monotonic() < end:
                told = node.present_vote()
                if not told:
                    time.sleep(0.05)
                    continue
                term, now = told
                if term > voted[0]:
                    return
                self.facts["votes that were remembered"] += now == voted[1]
                if now != voted[1]:
                    said = f"says {now} now" if now else "has forgotten it"
                    self.complain(f"{node.name} voted for {voted[1]} in term {voted[0]}, and {said} in term {term}")
                return
        threading.Thread(target=look, daemon=True).start()

    def open_window(self, fault, began):
        with self.lock:
            self.open_windows[fault] = (began, fault.describe())

    def close_window(self, fault):
        with self.lock:
            began, what = self.open_windows.pop(fault)
            self.windows.append({"what": what, "from": began, "to": time.monotonic_ns()})
            self.facts["faults: " + what.split()[0]] += 1

    def span(self, wish):
        low, high = wish if isinstance(wish, list | tuple) else (wish, wish)
        return self.random.uniform(low, high)

    def strike(self, options, end):
        """One [[fault]] until `end`."""
        kind = faults.FAULTS[options["kind"]]
        self.rest(self.span(options.get("after", 1)), end)
        times = options.get("times", 1 << 30)
        while time.monotonic() < end and times > 0:
            fault, began = kind(self, options), time.monotonic_ns()
            if not fault.start():
                time.sleep(0.2)
                continue
            times -= 1
            self.open_window(fault, began)
            if fault.strikes_the_leader and not isinstance(fault, faults.Replace):
                self.mark(fault.label, fault.in_force)
            self.rest(self.span(options.get("for", kind.lasting)), end)
            fault.stop()
            self.close_window(fault)
            self.rest(self.span(options.get("every", [3, 6])), end)

    def rest(self, seconds, end):
        time.sleep(max(0, min(seconds, end - time.monotonic())))

    def break_things(self):
        end = time.monotonic() + self.seconds
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            waiting = [pool.submit(self.strike, options, end) for options in self.scenario.faults]
            time.sleep(max(0, end - time.monotonic()))
            for one in waiting:
                one.result()

    def heal(self):
        self.network.heal()
        for node in self.cluster.nodes.values():
            if node.is_running and node.stopped:
                node.resume()
            elif not node.is_running and node.name not in self.removed:
                if node.starts:
                    self.complain(f"{node.name} had ended by itself: {self.last_words(node)}")
                node.start()
        self.cluster.wait_for_leader()
        self.wait_for_voters()

    def last_words(self, node):
        lines = (node.folder / "log").read_text(errors="replace").splitlines()
        return lines[-1][:300] if lines else "nothing in its log"

    def troubles(self):
        """The last error that each server logged, if any."""
        said = []
        for node in self.members():
            lines = (node.folder / "log").read_text(errors="replace").splitlines()
            errors = [line.strip() for line in lines if "[ERROR]" in line or line.startswith("==> Error")]
            said.append(f"{node.name}: {errors[-1][:200] if errors else 'no error'}")
        return "; ".join(said)

    # --- what is left ---

    def survey(self):
        """Records of what each server holds, for the judge; and whether all hold the same."""
        records, states, hashes = [], {}, {}
        for node in self.members():
            # A linearizable read first: from then on this server's own state has all that was acknowledged.
            keys = self.answer(node, "/v1/kv/append/?keys") or []
            now = time.monotonic_ns()
            records.append({"client": 0, "key": "append/", "kind": "survey", "call": now, "returned": now,
                            "view": node.name, "names": keys})
            for row in self.answer(node, "/v1/kv/counter/?recurse") or []:
                value = clients.base64.b64decode(row["Value"]).decode()
                records.append({"client": 0, "key": row["Key"], "kind": "total", "call": now, "returned": now,
                                "view": node.name, "result": value})
            hashes[node.name] = (((node.read("/v1/agent/self") or {}).get("Stats") or {}).get("raft") or {}).get("state_hash")
            states[node.name] = (self.answer(node, "/v1/kv/?recurse&stale"), self.answer(node, "/v1/session/list?stale"))
        different = [name for name in states if states[name] != next(iter(states.values()))]
        if different:
            self.complain(f"the servers hold different states: {', '.join(different)} not as {next(iter(states))}")
        by_index = {}
        for name, text in hashes.items():
            index, _, digits = (text or "").partition(":")
            if by_index.setdefault(index, digits) != digits:
                self.complain(f"the servers' state hashes differ at {index}: {hashes}")
        return records

    def answer(self, node, path):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                status, _, body = node.ask(path, timeout=15)
                if status == 200:
                    return json.loads(body)
                if status == 404:
                    return None
            except (OSError, ValueError, nodes.http.client.HTTPException):
                pass
            time.sleep(0.2)
        raise TimeoutError(f"{node.name} does not answer {path}")

    def expect_no_sessions(self, deadline):
        """Nobody renews a session any more: all end, and let go of their locks."""
        if not self.cluster.is_ours:
            return
        left = None
        while time.monotonic() < deadline + 1 and (left or left is None):
            left = self.answer(self.members()[0], "/v1/session/list") or []
            time.sleep(0.5 if left else 0)
        if left:
            self.complain(f"{len(left)} sessions live that nobody has renewed for {ENDING} s: {left[0]['ID']} for one")
        held = [row["Key"] for row in self.answer(self.members()[0], "/v1/kv/lock/?recurse") or [] if row.get("Session")]
        if held and not left:
            self.complain(f"{len(held)} locks are held by sessions that have ended: {held[0]} for one")

    def resources(self):
        return {node.name: (node.starts, node.resources()) for node in self.cluster.nodes.values()}

    def compare_resources(self, before, rested):
        """Nothing is left open after the faults, and what rests in memory does not grow with the work that goes on: by
        what clients write meanwhile and no more."""
        written = self.crowd.counts()[1]
        for node in self.cluster.nodes.values():
            now, (starts, then), (_, calm) = node.resources(), before.get(node.name, (0, None)), rested[node.name]
            # A snapshot that is being made or taken in may hold the state twice.
            room = 8 * 1024 + 2 * 1024 * self.scenario.preload
            if now and calm and now["memory"] > calm["memory"] * STEADY_GROWTH + room:
                self.complain(f"{node.name}: memory grew from {calm['memory']} to {now['memory']} KiB in {QUIET / 2:.0f} s")
            if not now or not then or node.starts != starts:
                continue  # a process that was started anew has nothing to compare with
            for what in ("descriptors", "threads"):
                if now[what] > then[what] * STEADY_GROWTH + 4:
                    self.complain(f"{node.name}: {what} grew from {then[what]} to {now[what]}")
            growth = now["memory"] - then["memory"]
            self.facts["most memory that a process gained, KiB"] = max(
                self.facts["most memory that a process gained, KiB"], growth)
            if growth > then["memory"] * (STEADY_GROWTH - 1) + ROOM + room + KEPT * written / 1024:
                self.complain(f"{node.name}: memory grew from {then['memory']} to {now['memory']} KiB in {written} writes")

    def check_databases(self):
        for node in self.cluster.nodes.values():
            for path in sorted(node.data.rglob("*")):
                if not path.is_file() or path.is_symlink() or self.may_be_bad(path):
                    continue
                with open(path, "rb") as file:
                    if file.read(16) != b"SQLite format 3\0":
                        continue
                database = sqlite3.connect(path)
                try:
                    verdict = [row[0] for row in database.execute("PRAGMA integrity_check")]
                except sqlite3.DatabaseError as error:
                    verdict = [str(error)]
                finally:
                    database.close()
                if verdict != ["ok"]:
                    self.complain(f"{node.name}: {path.name}: {verdict[0].splitlines()[0]}")

    def may_be_bad(self, path):
        """What was damaged on purpose; and what has come of a snapshot so far, which is held against its hash as a whole
        before it is used."""
        return ".damaged" in path.name or path.suffix == ".part" or path.stat().st_ino in self.damaged

    ALARMING = re.compile(r"\[(ERROR|CRITICAL)\]|Fatal error|invariant|Illegal instruction|Segmentation", re.I)

    def scan_logs(self):
        expected = [re.compile(text) for text in self.scenario.expected_log]
        for node in self.cluster.nodes.values():
            with open(node.folder / "log", errors="replace") as log:
                found = [line.strip() for line in log
                         if self.ALARMING.search(line) and not any(one.search(line) for one in expected)]
            if found and self.cluster.is_ours:
                self.complain(f"{node.name}'s log: {found[0][:300]}" + (f" (and {len(found) - 1} more)" if found[1:] else ""))
            with open(node.folder / "log", errors="replace") as log:
                text = log.read()
            self.facts["elections"] += text.count(self.cluster.elections)
            self.facts["snapshots"] += text.count(": snapshot written: ")

    # --- the whole ---

    def perform(self):
        self.build()
        addresses = [node.address for node in self.cluster.nodes.values()]
        self.crowd = clients.Crowd(
            self.folder, addresses, self.options.clients or self.scenario.clients, self.seed, self.scenario.shares,
            self.scenario.pause, self.cluster.is_ours, self.cluster.is_ours and not self.scenario.previous)
        self.crowd.start()
        self.phase = "works"
        time.sleep(5)
        before = self.resources()
        self.phase, self.broken_from = "breaks", time.monotonic()
        self.break_things()
        self.phase = "heals"
        self.heal()
        self.phase = "works again"
        self.crowd.healed.set()
        healed = time.monotonic()
        time.sleep(QUIET / 2)
        rested = self.resources()
        time.sleep(QUIET / 2)
        self.compare_resources(before, rested)
        if not self.crowd.end():
            self.complain("clients were still waiting for an answer a minute after the end")
        self.phase = "looks"
        self.expect_no_sessions(healed + ENDING)
        records = self.survey()
        for node in self.cluster.agents + self.cluster.servers:  # agents leave, and that is for servers to note
            self.note_end(node)
        if self.cluster.is_ours:
            self.check_databases()
        self.scan_logs()
        self.phase = "judges"
        self.write_history(records)
        return self.judge()

    def write_history(self, records):
        lines = [json.dumps(record) for record in records]
        lines += [json.dumps({"client": 0, "key": "backup", "kind": "restore", "call": saved, "returned": restored})
                  for saved, restored in self.restores]
        lines += [json.dumps({"client": 0, "key": window["what"], "kind": "fault", "call": window["from"],
                              "returned": window["to"]}) for window in self.windows]
        for path in sorted(self.folder.glob("history-*.jsonl")):
            lines += path.read_text().splitlines()
            path.unlink()
        unanswered = sorted(self.folder.glob("unanswered-*.txt"))
        (self.folder / "unanswered.txt").write_text("".join(path.read_text() for path in unanswered))
        for path in unanswered:
            path.unlink()
        lines.sort(key=lambda line: json.loads(line)["call"])
        (self.folder / "history.jsonl").write_text("\n".join(lines) + "\n")
        (self.folder / "faults.json").write_text(json.dumps(self.windows, indent=1) + "\n")

    def judge(self):
        try:
            done = subprocess.run(
                [self.options.judge, "--format", "json", str(self.folder / "history.jsonl")], capture_output=True, text=True,
                timeout=JUDGING)
        except subprocess.TimeoutExpired:
            raise Invalid(f"the judge needed more than {JUDGING} s") from None
        if done.returncode not in (0, 1, 2) or not done.stdout:
            raise Invalid(f"the judge said: {done.stderr}")
        return json.loads(done.stdout)

    def find_failures(self, times):
        """In a scenario of planned work alone no request fails, but where nobody listens for the moment."""
        for outcome, what in ((-1, "had no answer"), (0, "were refused")):
            failed = [row for row in times if row[2] == outcome]
            self.facts[f"requests that {what}"] = len(failed)
            if failed and self.scenario.no_failures:
                at = (failed[0][0] - times[0][0]) / 1e9
                self.complain(f"{len(failed)} requests {what}, the first {at:.1f} s after the beginning")

    def shortfalls(self, times):
        """Why this run proves too little, if it does."""
        operations, _, _, _ = self.crowd.counts()
        floors = self.scenario.floors
        duration = self.seconds + 5 + QUIET
        struck = sum(count for name, count in self.facts.items() if name.startswith("faults: "))
        found = []
        for what, have, need in (
                ("operations", operations, floors["operations"] * duration), ("faults", struck, floors["faults"]),
                ("elections", self.facts["elections"], floors["elections"]),
                ("snapshots", self.facts["snapshots"], floors["snapshots"])):
            if have < need:
                found.append(f"{have} {what}, at least {need:.0f} are needed")
        calm = [row for row in times if not any(
            w["from"] <= row[0] + row[1] and row[0] <= w["to"] + 5e9 for w in self.windows)]
        lost = sum(row[2] == -1 for row in calm)
        if calm and lost > 0.05 * len(calm):
            found.append(f"{lost} of {len(calm)} outcomes outside fault windows are unknown: more than 5 %")
        return found


def perform(scenario, options, net, here):
    run = Run(scenario, options, net, here)
    view = live.View(run)
    view.start()
    findings, trouble = [], None
    try:
        findings = run.perform()
    except TimeoutError as error:
        if run.phase in ("starts", "works"):
            trouble = str(error)
        else:
            run.complain(f"while it {run.phase}: {error}; {run.troubles()}")
    except (Invalid, RuntimeError, OSError) as error:
        trouble = f"{type(error).__name__}: {error}"
    finally:
        if run.crowd:
            run.crowd.stop.set()
        for node in getattr(run, "cluster", nodes).nodes.values() if hasattr(run, "cluster") else ():
            node.kill()
            if scenario.disk and node.is_server:
                subprocess.run(["umount", str(node.data)], capture_output=True)
        if run.proxy:
            run.proxy.close()
        net.clear()
        view.stop()
    return report.write(run, findings, trouble)


__all__ = ["perform", "sys"]
