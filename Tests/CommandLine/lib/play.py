"""Commands played by a program against a server, and how what two of them said differs.

commands.txt has scenarios, each begun by `[name]` and played from an empty state:

    put        kv put a/b hello
    - again    kv put a/b hello          only prepares: nothing is compared
    env        CONSUL_TOKEN=x kv get a   variables first
    stdin      kv put a/b - <<< text     the rest of the line is standard input

{dir} is a folder with the files of FILES, {address} the server's, {session} a session that is made for the scenario,
{modify:KEY} a key's ModifyIndex.
"""
import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import tempfile

import exchange
import record

FILES = {
    "web.json": '{"service": {"name": "web", "port": 80, "tags": ["a"], "meta": {"a_b": "c"}}}',
    "web.hcl": 'service {\n  name = "web"\n  port = 80\n  enable_tag_override = true\n}\n',
    "two.json": '{"services": [{"name": "one", "port": 1}, {"name": "two", "id": "t2", "port": 2}]}',
    "bad.json": '{"service": ',
    "value": "from a file",
}
SECONDS = 40


class Malformed(Exception):
    """commands.txt can't be read."""


@dataclasses.dataclass
class Command:
    name: str
    line: str
    compared: bool
    stdin: str


@dataclasses.dataclass
class Scenario:
    name: str
    commands: list


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str


def read(path, only):
    scenarios = []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("["):
            scenarios.append(Scenario(text.strip("[]"), []))
            continue
        compared = not text.startswith("- ")
        text, _, stdin = text.removeprefix("- ").partition(" <<< ")
        name, _, rest = text.partition(" ")
        if not rest or not scenarios:
            raise Malformed(f"{path.name}:{number}: {line}")
        scenarios[-1].commands.append(Command(name, rest.strip(), compared, stdin))
    wanted = only.split(",") if only else [scenario.name for scenario in scenarios]
    unknown = set(wanted) - {scenario.name for scenario in scenarios}
    if unknown:
        raise Malformed(f"no scenario {', '.join(sorted(unknown))}")
    return [scenario for scenario in scenarios if scenario.name in wanted]


def run(scenario, program, address, folder):
    """What the program said to each command."""
    empty(address)
    place = tempfile.mkdtemp(prefix="commands-", dir=folder)
    for name, text in FILES.items():
        with open(os.path.join(place, name), "w") as file:
            file.write(text)
    known = {"dir": place, "address": f"{address[0]}:{address[1]}"}
    return [one(command, program, address, known) for command in scenario.commands]


def one(command, program, address, known):
    words = [fill(word, address, known) for word in shlex.split(command.line)]
    environment = {
        "PATH": os.environ["PATH"], "HOME": known["dir"], "SHELL": "/bin/sh", "CONSUL_HTTP_ADDR": known["address"]}
    while words and re.match(r"[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    done = subprocess.Popen(
        [program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=known["dir"],
        env=environment, start_new_session=True)
    try:
        out, err = done.communicate(command.stdin.encode(), SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(done.pid, signal.SIGKILL)
        out, err = done.communicate()
        err += b"\n(did not end)"
    return Outcome(
        done.returncode, *(text.decode("utf-8", "replace").replace(known["dir"], "DIR") for text in (out, err)))


def fill(word, address, known):
    if "{session}" in word and "session" not in known:
        answer = exchange.send(address, "PUT", "/v1/session/create", body=b"{}")
        known["session"] = json.loads(answer.body)["ID"]
    for name, value in known.items():
        word = word.replace("{" + name + "}", value)

    def modify_index(match):
        return str(json.loads(exchange.send(address, "GET", f"/v1/kv/{match[1]}").body)[0]["ModifyIndex"])
    return re.sub(r"\{modify:([^}]+)\}", modify_index, word)


def empty(address):
    """No key, session, service or maintenance of an earlier scenario."""
    exchange.send(address, "DELETE", "/v1/kv/?recurse")
    for session in json.loads(exchange.send(address, "GET", "/v1/session/list").body or b"[]"):
        exchange.send(address, "PUT", f"/v1/session/destroy/{session['ID']}")
    for service in json.loads(exchange.send(address, "GET", "/v1/agent/services").body):
        exchange.send(address, "PUT", f"/v1/agent/service/deregister/{service}")
    exchange.send(address, "PUT", "/v1/agent/maintenance?enable=false")


ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
HASH = re.compile(r"\b[0-9]+:[0-9a-f]{32}\b")
INDEX = re.compile(r"(index |\t\w+ = |Index +|Index\": |pid |\.tmp|ID {11})[0-9-]+")


def normal(text, across):
    """Without what differs between any two runs; `across`, between any two servers."""
    text = INDEX.sub(r"\1N", HASH.sub("HASH", ID.sub("UUID", text)))
    if across:
        text = re.sub(r"127\.0\.5\.[0-9]", "HOST", text)
        text = re.sub(r"\b[0-9a-f]{8}\b", "SHORT", text)
        text = re.sub(r"[0-9]+", "N", text)
        text = re.sub(r" +", " ", text)
    return text


def differences(name, left, right, across):
    found = []
    if left.code != right.code:
        found.append(record.Difference(name, "exit", "", str(left.code), f"{right.code} {first(right.err)}"))
    for kind, one_text, other in (("stdout", left.out, right.out), ("stderr", left.err, right.err)):
        if normal(one_text, across) != normal(other, across):
            found.append(record.Difference(name, kind, "", first(one_text), first(other)))
    return found


def first(text):
    """The first line that says something, cut."""
    lines = [line for line in text.split("\n") if line.strip()]
    return lines[0][:240] if lines else "nothing"
