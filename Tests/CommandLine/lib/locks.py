"""Locks that both programs take: each must respect the other's, and hold what it promises when one is lost."""
import json
import os
import signal
import subprocess
import time

import exchange

SECONDS = 30


def all(consul, serai, address):
    """What went wrong, a sentence each."""
    wrong = []
    for holder in (consul, serai):
        for other in (consul, serai):
            for places in (1, 2):
                wrong += turned_away(holder, other, places, address)
    wrong += fences(serai, address)
    wrong += lost(serai, address)
    wrong += failing(serai, address)
    left = sessions(address)
    if left:
        wrong.append(f"sessions are left: {left}")
    return wrong


def start(program, address, *words):
    return subprocess.Popen(
        [program, "lock", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "CONSUL_HTTP_ADDR": f"{address[0]}:{address[1]}", "SHELL": "/bin/sh"})


def ended(process):
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += "(did not end)"
    return process.returncode, out, err


def rows(address, prefix):
    answer = exchange.send(address, "GET", f"/v1/kv/{prefix}?recurse")
    return json.loads(answer.body) if answer.status == 200 else []


def sessions(address):
    return [row["ID"] for row in json.loads(exchange.send(address, "GET", "/v1/session/list").body)]


def held(address, prefix):
    """How many sessions hold a key below the prefix."""
    return sum(1 for row in rows(address, prefix) if row.get("Session"))


def turned_away(holder, other, places, address):
    """While all places are held another waits in vain; afterwards it gets one, and nothing stays behind."""
    prefix = f"both-{places}"
    names = f"{os.path.basename(holder)} holds {places}, {os.path.basename(other)} wants one"
    holders = [start(holder, address, f"-n={places}", prefix, "sleep 60") for _ in range(places)]
    try:
        if not exchange.wait_until(lambda: held(address, prefix) == places, SECONDS):
            return [f"{names}: it is not held: {ended(holders[0])[2]}"]
        code, out, err = ended(start(other, address, f"-n={places}", "-timeout=1s", prefix, "echo in"))
        if code != 1 or "in" in out.split():
            return [f"{names}: exit {code}, {out!r}, {err!r} while it is held"]
        for process in holders:
            process.send_signal(signal.SIGTERM)
        codes = [ended(process)[0] for process in holders]
        if codes != [0] * places:
            return [f"{names}: told to end, the holders exit with {codes}"]
        code, out, err = ended(start(other, address, f"-n={places}", prefix, "echo in"))
        if code != 0 or out != "in\n":
            return [f"{names}: exit {code}, {out!r}, {err!r} when it is free"]
    finally:
        for process in holders:
            process.kill()
        for session in sessions(address):
            exchange.send(address, "PUT", f"/v1/session/destroy/{session}")
    left = [row["Key"] for row in rows(address, prefix)]
    return [f"{names}: {left} is left"] if left else []


def fences(serai, address):
    """Each holder's fence is greater, though the key was deleted in between; of a semaphore's holders, too."""
    wrong = []
    for places in ("1", "2"):
        numbers = []
        for _ in range(3):
            code, out, err = ended(start(serai, address, f"-n={places}", "fenced", "echo $SERAI_LOCK_FENCE"))
            if code != 0 or not out.strip().isdigit():
                return [f"a fence with -n={places}: exit {code}, {out!r}, {err!r}"]
            numbers.append(int(out))
        if numbers != sorted(set(numbers)):
            wrong.append(f"fences with -n={places} do not grow: {numbers}")
    return wrong


def lost(serai, address):
    """A lock that is lost ends the command and what it started, within the grace period, and is told by the exit code."""
    wrong = []
    for places in ("1", "2"):
        process = start(serai, address, f"-n={places}", f"lost-{places}", "trap '' TERM; sleep 61.25 & echo $$; sleep 61.25")
        if not exchange.wait_until(lambda: held(address, f"lost-{places}") == 1, SECONDS):
            wrong.append(f"-n={places}: it is not held: {ended(process)[2]}")
            continue
        group = process.stdout.readline().strip()
        begun = time.monotonic()
        for session in sessions(address):
            exchange.send(address, "PUT", f"/v1/session/destroy/{session}")
        code, _, err = ended(process)
        if code != 1 or "lost" not in err:
            wrong.append(f"-n={places}: a lost lock ends with {code}, {err!r}")
        if not 4 < time.monotonic() - begun < 12:
            wrong.append(f"-n={places}: a stubborn command had {time.monotonic() - begun:.1f} s")
        alive = subprocess.run(
            ["pgrep", "-g", group, "-r", "R,S,D,T"], capture_output=True, text=True).stdout.split()
        if alive:
            wrong.append(f"-n={places}: processes outlive their lock: {alive}")
            os.killpg(int(group), signal.SIGKILL)
    return wrong


def failing(serai, address):
    """A command that fails is told by the exit code, if that is asked for."""
    process = start(serai, address, "-child-exit-code", "failing", "sleep 1; exit 3")
    code, _, err = ended(process)
    return [] if code == 2 else [f"a failing command with -child-exit-code ends with {code}, {err!r}"]
