"""What goes wrong, and how it is put right again. A fault is a class with `begin` and `end`; `FAULTS` names all of them.

A scenario's [[fault]] names one by `kind`; what else it may say is in each class's description. Common to all:

    target   leader (default for most), follower, any, all, majority, minority, agent, random subset, or a node's name
    every    seconds from one end to the next beginning: a number or [least, most]
    for      seconds that it lasts: a number or [least, most]
    after    seconds before the first
    times    how often at most

A node is struck by one fault at a time in each of three domains: its process, its network, its disk.
"""
import os
import shutil
import signal
import subprocess
import threading
import time


class Fault:
    target, lasting, domain = "leader", (1, 4), "process"

    def __init__(self, run, options):
        self.run, self.options, self.cluster, self.random = run, options, run.cluster, run.random
        self.network = run.network
        self.struck = []
        #: Since when it can be felt, by the monotonic clock in nanoseconds.
        self.in_force = None

    def choose(self):
        """The nodes it strikes this time; none when the wish can't be granted now."""
        wish = self.options.get("target", self.target)
        servers = self.run.members()
        if wish in self.cluster.nodes:
            return [self.cluster.nodes[wish]]
        if wish == "agent":
            return [self.random.choice(self.cluster.agents)] if self.cluster.agents else []
        if wish == "all":
            return servers
        if wish == "any":
            return [self.random.choice(servers)]
        if wish == "majority":
            return self.random.sample(servers, len(servers) // 2 + 1)
        if wish == "random subset":
            return self.random.sample(servers, self.random.randint(1, len(servers)))
        leader = self.cluster.leader()
        if wish == "leader":
            return [leader] if leader else []
        followers = [node for node in servers if node is not leader]
        if wish == "follower":
            return [self.random.choice(followers)]
        if wish == "minority":
            return self.random.sample(followers, (len(servers) - 1) // 2)
        raise ValueError(f"target: unknown {wish!r}")

    def start(self):
        struck = self.choose()
        if not struck or not self.run.claim(self, self.claimed(struck)):
            return False
        self.struck = struck
        self.begin()
        self.in_force = self.in_force or time.monotonic_ns()
        return True

    @property
    def label(self):
        """What it is, without whom it struck."""
        return self.describe().removesuffix(self.names).rstrip() + " of the leader"

    @property
    def strikes_the_leader(self):
        return self.options.get("target", self.target) == "leader"

    def claimed(self, struck):
        """Which of them no other fault of the domain may touch meanwhile."""
        return struck

    def stop(self):
        try:
            self.end()
        finally:
            self.run.release(self)

    @property
    def names(self):
        return ", ".join(node.name for node in self.struck)

    def describe(self):
        return f"{self.options['kind']} {self.names}"

    def begin(self):
        raise NotImplementedError

    def end(self):
        raise NotImplementedError

    def pairs(self):
        """Every ordered pair of a struck server and another, both ways."""
        for node in self.struck:
            for other in self.run.members():
                if other is not node:
                    yield node.name, other.name
                    yield other.name, node.name


# --- processes ---

class Kill(Fault):
    """SIGKILL; started again at the end."""

    def begin(self):
        for node in self.struck:
            node.signal(signal.SIGKILL)
        self.in_force = time.monotonic_ns()
        for node in self.struck:
            node.wait(10)

    #: Their disks say what they promised: it is compared with what they say when they are back.
    keeps_disk = True

    def end(self):
        for node in self.struck:
            voted = node.remembered_vote() if node.is_server and self.keeps_disk else None
            node.start()
            if voted:
                self.run.compare_vote(node, voted)


class PowerCut(Kill):
    """SIGKILL, and what was not synced is lost, torn or kept at random. All struck nodes fail at one moment."""

    def begin(self):
        super().begin()
        for node in self.struck:
            done = node.cut_power(self.random.getrandbits(32))
            self.run.say(f"power cut {node.name}: {done['unsynced']} changes unsynced, "
                         f"{sum(done['files'].values())} sectors and {len(done['names undone'])} names lost")
            self.run.facts["changes unsynced at power cuts"] += done["unsynced"]
            self.run.facts["sectors changed by power cuts"] += sum(done["files"].values())
            self.run.facts["names undone by power cuts"] += len(done["names undone"])


class Stop(Kill):
    """SIGTERM, as an operator would: the leader hands over first."""

    def begin(self):
        for node in self.struck:
            self.run.note_end(node)


class Pause(Fault):
    """SIGSTOP: the process is there and says nothing."""
    lasting = (0.1, 5)

    def begin(self):
        for node in self.struck:
            node.pause()

    def end(self):
        for node in self.struck:
            node.resume()


class Starve(Fault):
    """The process gets `percent` of the time that it would have, in slices of 50 ms."""

    def begin(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.slice, daemon=True)
        self.thread.start()

    def slice(self):
        runs = 0.05 * self.options.get("percent", 10) / 100
        while not self.over.is_set():
            for node in self.struck:
                node.pause()
            self.over.wait(0.05 - runs)
            for node in self.struck:
                node.resume()
            time.sleep(runs)

    def end(self):
        self.over.set()
        self.thread.join()


class Clock(Fault):
    """The wall clock of the target jumps by `offset` seconds; with `strobe` it jumps to and fro five times a second."""

    def begin(self):
        self.over = threading.Event()
        self.offset = self.random.choice((1, -1)) * self.options.get("offset", 3600)
        self.thread = threading.Thread(target=self.strobe if self.options.get("strobe") else self.jump, daemon=True)
        self.thread.start()

    def jump(self):
        for node in self.struck:
            node.set_clock(self.offset)

    def strobe(self):
        while not self.over.wait(0.2):
            for node in self.struck:
                node.set_clock(self.random.choice((0, self.offset, -self.offset)))

    def end(self):
        self.over.set()
        self.thread.join()
        for node in self.struck:
            node.set_clock(0)


# --- the network between servers; clients reach all of them ---

class NetworkFault(Fault):
    domain, target = "network", "any"

    def end(self):
        self.network.heal(self)


class Partition(NetworkFault):
    """`shape`, one or a list to choose from: isolate (the target from all others), halves, ring (each hears a majority, no
    two the same), bridge (one hears both halves), one-way (the target's words are lost; with `inbound`, what is said to
    it). `how`: drop or reset; by default one of them at random."""

    def begin(self):
        shape = self.options.get("shape", "isolate")
        self.shape = self.random.choice(shape) if isinstance(shape, list) else shape
        self.how = self.options.get("how") or self.random.choice(("drop", "reset"))
        servers = [node.name for node in self.run.members()]
        self.random.shuffle(servers)
        {"isolate": self.isolate, "halves": self.halves, "bridge": self.bridge, "ring": self.ring,
         "one-way": self.one_way}[self.shape](servers)
        self.network.apply()

    def isolate(self, servers):
        own = [node.name for node in self.struck]
        self.network.divide(self, *[[name] for name in own], [n for n in servers if n not in own], how=self.how)

    def halves(self, servers):
        half = len(servers) // 2
        self.network.divide(self, servers[:half], servers[half:], how=self.how)

    def bridge(self, servers):
        half = len(servers) // 2
        self.network.divide(self, servers[1:half + 1], servers[half + 1:], how=self.how)

    def ring(self, servers):
        """In a ring of n each hears the (n−1)/2 nearest, half to each side; three in a ring are a chain."""
        count = len(servers)
        for position in range(count):
            for step in range(1, count // 2 + 1):
                if step > max(1, (count - 1) // 4) or count == 3 and position == 0:
                    self.network.cut_both(self, servers[position], servers[(position + step) % count], self.how)

    def one_way(self, servers):
        own = [node.name for node in self.struck]
        for one in own:
            for other in (name for name in servers if name not in own):
                self.network.cut(self, *((other, one) if self.options.get("inbound") else (one, other)), how=self.how)

    def describe(self):
        return f"partition {self.shape} ({self.how}) {self.names}"


class Loss(NetworkFault):
    """`percent` of all packets between the target and other servers are lost, both ways."""

    def begin(self):
        for pair in self.pairs():
            self.network.lose(self, *pair, self.options.get("percent", 20))
        self.network.apply()


class RateLimit(NetworkFault):
    """At most `kilobytes` a second pass between the target and each other server each way; what is more is lost."""

    def begin(self):
        for pair in self.pairs():
            self.network.limit(self, *pair, self.options.get("kilobytes", 100))
        self.network.apply()


class Line(NetworkFault):
    """What a bad line does to bytes, through the proxy, between the target and every other server, both ways.
    `faults`: see proxy.py; a list of several to choose from."""

    def begin(self):
        wish = self.options["faults"]
        self.faults = self.random.choice(wish) if isinstance(wish, list) else wish
        for pair in self.pairs():
            self.run.proxy.set(*pair, self.faults)

    def end(self):
        for pair in self.pairs():
            self.run.proxy.set(*pair, {})

    def describe(self):
        return "line " + ", ".join(f"{key} {value}" for key, value in self.faults.items()) + f" {self.names}"


# --- disks ---

class DiskFull(Fault):
    """The disk of the target fills up; freed again at the end. The process has to stay."""
    domain = "disk"

    def begin(self):
        for node in self.struck:
            node.fill_disk()

    def end(self):
        for node in self.struck:
            node.free_disk()


class SlowSync(Fault):
    """Each sync takes `milliseconds` longer: a number or [least, most]."""
    domain = "disk"

    def begin(self):
        self.delay = round(self.run.span(self.options.get("milliseconds", [50, 5000])))
        for node in self.struck:
            node.delay_syncs(self.delay)

    def end(self):
        for node in self.struck:
            node.delay_syncs(0)

    def describe(self):
        return f"slow-sync {self.delay} ms {self.names}"

    @property
    def label(self):
        least = max(least for least in (0, 500, 1000, 2000, 4000) if least <= self.delay)
        return f"syncs that take {least} ms or more, on the leader"


class FailSync(Kill):
    """Syncs fail: after the first of the log that does, the process must end by itself within a second. It is started again
    at the end. A server that has nothing to write into its log meanwhile goes on."""
    LIFE = 1.0

    def begin(self):
        for node in self.struck:
            node.let_syncs_fail()
        end = time.monotonic() + 5
        waiting = list(self.struck)
        while waiting and time.monotonic() < end:
            waiting = [node for node in waiting if not self.has_ended(node)]
            time.sleep(0.01)
        for node in self.struck:
            node.delay_syncs(0)
        for node in waiting:
            if node.failed_sync and not node.wait(self.LIFE):
                self.run.complain(f"{node.name} went on for a second after a failed sync")
                node.kill()

    def has_ended(self, node):
        failed, is_over = node.failed_sync, not node.is_running
        took = time.monotonic() - (failed or time.monotonic_ns()) / 1e9
        if failed and is_over:
            self.run.facts["syncs that failed"] += 1
            self.run.facts["longest life after a failed sync, ms"] = max(
                self.run.facts["longest life after a failed sync, ms"], round(1000 * took))
            if took > self.LIFE + 0.1:
                self.run.complain(f"{node.name} ended {took:.1f} s after a failed sync, not within {self.LIFE:.0f}")
        return is_over


class Healing(Kill):
    """What a server finds on its disk is not what it left there: it has to heal from the leader once it runs again."""
    keeps_disk = False
    target = "follower"

    def start(self):
        """Only while every server is there: what two of three have lost is lost."""
        return self.run.is_whole() and super().start()

    def end(self):
        began = time.monotonic()
        super().end()
        for node in self.struck:
            self.run.wait_until_repaired(node, began)


class Damage(Healing):
    """Killed, its files changed, started again. `how`: flip (one bit) or truncate; `file`: log, wal, snapshot, promise."""
    FILES = {"log": "raft/raft.db", "wal": "raft/raft.db-wal", "snapshot": "raft/snapshots/*.db", "promise": "raft/promise"}

    def begin(self):
        super().begin()
        for node in self.struck:
            wish = self.options.get("file", list(self.FILES))
            kind = self.random.choice(wish) if isinstance(wish, list) else wish
            files = [path for path in sorted(node.data.glob(self.FILES[kind])) if path.stat().st_size]
            if files:
                self.change(node, self.random.choice(files))

    def change(self, node, path):
        how = self.options.get("how", ["flip", "truncate"])
        how = self.random.choice(how) if isinstance(how, list) else how
        size = path.stat().st_size
        at = self.random.randrange(size)
        with open(path, "r+b") as file:
            if how == "truncate":
                file.truncate(at)
            else:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << self.random.randrange(8)]))
        if path.parent.name == "snapshots":
            self.run.damaged.add(path.stat().st_ino)
        self.run.say(f"damage: {node.name} {path.name}: {how} at {at} of {size}")
        self.run.facts[f"damage: {how} {path.name.split('-')[0]}"] += 1


class RollBack(Healing):
    """The data directory is what it was some faults ago: an old copy was put back."""

    def begin(self):
        super().begin()
        for node in self.struck:
            copy = self.run.copies / node.name
            if copy.exists():
                shutil.rmtree(node.data)
                shutil.move(copy, node.data)
                self.run.facts["directories rolled back"] += 1
            else:
                shutil.copytree(node.data, copy)


class Swap(Kill):
    """Two servers find each other's data directory: they must refuse it, and say why. Swapped back at the end."""
    keeps_disk = False
    target = "majority"

    def begin(self):
        super().begin()
        self.swap()
        for node in self.struck[:2]:
            node.start()
        for node in self.struck[:2]:
            if node.wait(10):
                words = self.run.last_words(node)
                self.run.say(f"swap: {node.name} said: {words}")
                if "the data directory belongs to" not in words:
                    self.run.complain(f"{node.name} refused another server's data and did not say why: {words}")
            else:
                self.run.complain(f"{node.name} runs on another server's data")

    def swap(self):
        one, other = (node.data for node in self.struck[:2])
        aside = one.with_name("aside")
        os.rename(one, aside)
        os.rename(other, one)
        os.rename(aside, other)

    def end(self):
        for node in self.struck:
            node.kill()
        self.swap()
        super().end()


class MajorityDamage(Kill):
    """The logs of the leader and of as many others as make a majority are damaged: what they promised is gone, so they
    must not found a quorum with it. No write may be acknowledged until the true files are back, at the end. (While the
    leader lives, it heals however many others: it holds all that was committed.)"""
    keeps_disk = False

    def choose(self):
        leader, servers = self.cluster.leader(), self.run.members()
        others = [node for node in servers if node is not leader]
        return [leader, *self.random.sample(others, len(servers) // 2)] if leader else []

    def begin(self):
        super().begin()
        self.kept = {}
        for node in self.struck:
            self.kept[node.name] = self.run.copies / f"{node.name}-true"
            shutil.copytree(node.data, self.kept[node.name])
            path = node.data / "raft/raft.db"
            size = path.stat().st_size
            with open(path, "r+b") as file:
                for _ in range(64):
                    at = self.random.randrange(size)
                    file.seek(at)
                    byte = file.read(1)[0]
                    file.seek(at)
                    file.write(bytes([byte ^ 1 << self.random.randrange(8)]))
            (node.data / "raft/raft.db-wal").unlink(missing_ok=True)
            node.start()
        time.sleep(4)
        self.before = self.run.crowd.counts()[1]

    def end(self):
        if self.run.crowd.counts()[1] > self.before:
            self.run.complain("writes were acknowledged while a majority's logs were damaged")
        for node in self.struck:
            self.run.say(f"majority-damage: {node.name} says: {self.run.last_words(node)}")
            node.kill()
            shutil.rmtree(node.data)
            shutil.move(self.kept[node.name], node.data)
        super().end()


# --- the cluster's life ---

class Membership(Kill):
    """One at a time, and only while every server is there: two of three that forgot all are more than can be borne."""
    keeps_disk = False

    def start(self):
        if not self.run.is_whole():
            return False
        return super().start()

    def claimed(self, struck):
        return [self.run.membership, *struck]


class Replace(Membership):
    """A server dies with all it had, and comes back empty under its name. `kill_leader`: and the leader is killed while
    it is taken in."""
    target = "follower"

    def begin(self):
        super().begin()
        for node in self.struck:
            node.wipe()
            node.start()
        if self.options.get("kill_leader"):
            time.sleep(self.random.uniform(0, 1.5))
            leader = self.cluster.leader()
            if leader and leader not in self.struck:
                leader.kill()
                time.sleep(self.random.uniform(0.2, 2))
                leader.start()

    def end(self):
        for node in self.struck:
            self.run.wait_until_taken_in(node)
        self.run.wait_for_voters()


class Grow(Membership):
    """Two servers more, then they are removed again. `kill_leader`: the leader is killed half-way, both times."""
    target = "all"

    def claimed(self, struck):
        return [self.run.membership]

    def begin(self):
        self.struck = [self.run.grow() for _ in range(2)]
        self.disturb()
        self.run.wait_for_voters()

    def disturb(self):
        if self.options.get("kill_leader"):
            time.sleep(self.random.uniform(0, 1.5))
            leader = self.cluster.leader()
            if leader and leader not in self.struck:
                leader.kill()
                time.sleep(self.random.uniform(0.2, 2))
                leader.start()

    def end(self):
        for node in self.struck:
            self.run.shrink(node)
            self.disturb()
        self.run.wait_for_voters()


class Restore(Fault):
    """A backup is taken at the beginning and restored at the end, while clients work. What was acknowledged between is
    gone by intent, and the judge is told so."""
    target, lasting = "all", (3, 6)

    def claimed(self, struck):
        return []

    def begin(self):
        self.file = self.run.folder / f"backup-{time.monotonic_ns()}.snap"
        self.saved_at = time.monotonic_ns()
        self.run.command("snapshot", "save", str(self.file))

    def end(self):
        began = time.monotonic_ns()
        self.run.command("snapshot", "restore", str(self.file))
        self.run.restores.append((self.saved_at, time.monotonic_ns()))
        self.run.facts["slowest restore, ms"] = max(
            self.run.facts["slowest restore, ms"], round((time.monotonic_ns() - began) / 1e6))
        self.file.unlink()


class Transfer(Fault):
    """Leadership is handed to another server, as planned work does."""
    target, lasting = "any", (0, 0)

    def begin(self):
        began = time.monotonic_ns()
        self.run.command("operator", "raft", "transfer-leader")
        self.run.mark("a transfer", began, time.monotonic_ns())

    def end(self):
        pass


class RollingRestart(Fault):
    """Each server in turn gets SIGTERM, is waited for, and starts again; who leads comes last, and whoever leads then once
    more."""
    target, lasting = "all", (0, 0)

    def begin(self):
        self.restart_all(None)

    def restart_all(self, binary):
        """`binary`: what the servers run from then on; as before when None."""
        leader = self.cluster.wait_for_leader()
        order = [node for node in self.run.members() if node is not leader] + [leader, None]
        for node in order:
            node = node or self.cluster.wait_for_leader()
            began = time.monotonic_ns()
            self.run.note_end(node)
            node.binary = binary or node.binary
            node.start()
            self.run.wait_for_health()
            self.run.mark("a server's restart", began, time.monotonic_ns())
            self.run.facts["servers restarted"] += 1

    def end(self):
        pass


class RollingUpgrade(RollingRestart):
    """A rolling restart from the release before this version to this version, then back, and so on; agents come last."""

    def begin(self):
        options = self.run.options
        is_new = self.cluster.servers[0].binary == options.binary
        binary = options.previous if is_new else options.binary
        self.restart_all(binary)
        for node in self.cluster.agents:
            self.run.note_end(node)
            node.binary = binary
            node.start()
        self.run.facts["downgrades" if is_new else "upgrades"] += 1


FAULTS = {
    "kill": Kill, "power-cut": PowerCut, "stop": Stop, "pause": Pause, "starve": Starve, "clock": Clock,
    "partition": Partition, "loss": Loss, "rate-limit": RateLimit, "line": Line,
    "disk-full": DiskFull, "slow-sync": SlowSync, "fail-sync": FailSync, "damage": Damage, "roll-back": RollBack,
    "swap": Swap, "majority-damage": MajorityDamage,
    "replace": Replace, "grow": Grow, "restore": Restore, "transfer": Transfer, "rolling-restart": RollingRestart,
    "rolling-upgrade": RollingUpgrade,
}
