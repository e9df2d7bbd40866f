"""Scenarios: short files in TOML that a person can read and write.

    about = "One sentence."
    servers = 3            # 3 or 5; --servers says otherwise
    agents = 1
    seconds = 60           # how long things go wrong; --seconds says otherwise
    clients = 16
    pause = 0.02           # seconds that a client rests between requests, about
    disk = 200             # megabytes: each server has a small disk of its own; without it, the machine's
    watch_disk = true      # remember what is not synced: needed by power-cut
    slow_sync = true       # syncs may be made slow or fail: needed by slow-sync and fail-sync
    clock = true           # wall clocks may be set: needed by clock
    proxy = true           # a proxy between every two servers: needed by line
    races = 5              # so often the servers found a cluster, in any order and with kills, and forget it again
    preload = 200          # megabytes of state before clients come
    no_failures = true     # all that is done is planned work: no request may fail
    previous = true        # the cluster starts with the release before this version
    expected_log = ["…"]   # regular expressions: warnings and errors that this scenario brings about

    [shares]               # how many of the clients do what, if not the usual mix
    [config]               # laid over every server's configuration
    [floors]               # a run that stays below them proves nothing: operations (a second), elections, snapshots, faults

    [[fault]]              # see faults.py
    kind = "kill"
    target = "leader"
    every = [3, 6]
    for = [1, 3]
"""
import pathlib
import tomllib

import faults

KNOWN = {
    "about": str, "servers": int, "agents": int, "seconds": int, "clients": int, "pause": (int, float), "disk": int,
    "watch_disk": bool, "slow_sync": bool, "proxy": bool, "clock": bool, "preload": int, "races": int, "expected_log": list, "no_failures": bool,
    "previous": bool, "shares": dict, "config": dict, "floors": dict, "fault": list,
}
FLOORS = {"operations": 50, "elections": 0, "snapshots": 0, "faults": 1}


class Mistake(Exception):
    pass


class Scenario:
    def __init__(self, name, data):
        self.name = name
        for key, value in data.items():
            if key not in KNOWN:
                raise Mistake(f"{name}: unknown key {key}; there are: {', '.join(KNOWN)}")
            if not isinstance(value, KNOWN[key]):
                raise Mistake(f"{name}: {key} must be {KNOWN[key]}, not {value!r}")
        self.about = data.get("about", "")
        self.servers, self.agents = data.get("servers", 3), data.get("agents", 1)
        self.seconds, self.clients = data.get("seconds", 60), data.get("clients", 16)
        self.pause, self.disk = data.get("pause", 0.02), data.get("disk")
        self.watch_disk, self.slow_sync = data.get("watch_disk", False), data.get("slow_sync", False)
        self.proxy, self.clock = data.get("proxy", False), data.get("clock", False)
        self.preload, self.races = data.get("preload", 0), data.get("races", 0)
        self.expected_log, self.shares = data.get("expected_log", []), data.get("shares", {})
        self.no_failures, self.previous = data.get("no_failures", False), data.get("previous", False)
        self.config = data.get("config", {})
        self.floors = {**FLOORS, **data.get("floors", {})}
        self.faults = data.get("fault", [])
        for key in self.floors:
            if key not in FLOORS:
                raise Mistake(f"{name}: floors has no {key}; there are: {', '.join(FLOORS)}")
        for fault in self.faults:
            if fault.get("kind") not in faults.FAULTS:
                raise Mistake(f"{name}: unknown fault {fault.get('kind')!r}; there are: {', '.join(faults.FAULTS)}")


def load(folder, name):
    path = pathlib.Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    try:
        return Scenario(path.stem, tomllib.loads(path.read_text()))
    except OSError:
        known = ", ".join(sorted(found.stem for found in folder.glob("*.toml")))
        raise Mistake(f"no scenario {name}; there are: {known}") from None
    except tomllib.TOMLDecodeError as error:
        raise Mistake(f"{path}: {error}") from None


def all_of(folder):
    return [load(folder, path.stem) for path in sorted(folder.glob("*.toml"))]
