"""Request sets: the text format of requests/*.txt, and how a set is played against one server.

    # a remark
    put-a   PUT /v1/kv/a?cas=${index} = the body, to the end of the line
      take index = [0].ModifyIndex

The first word is the request's name, unique in its file; `-` names what is only sent, to prepare or to clean up, and not
compared. `${name}` stands for a value taken from an earlier answer of the
same server, `${fill:N}` for N letters. Indented lines belong to the request above:

    head NAME: VALUE        a header to send
    body TEXT               more of the body; lines are joined without a break
    times N TEXT            the body is a JSON list of N times TEXT
    send NAME               the body is the one kept under NAME
    take NAME = PATH        remembers a part of the JSON answer (`.ID`, `[0].Key`) or `header NAME`
    keep NAME               remembers the whole body
    until TEXT, gone TEXT   asks again, for a few seconds, until the answer holds TEXT, or no longer
    unordered               the order of lists in the answer does not count
    shape                   keys and types are compared, values are not
    nobody                  the body is not compared
    headonly                the answer's body never ends and is not read
    impatient               an answer that does not come within two seconds is none
"""
import dataclasses
import json
import pathlib
import re

import exchange

FIRST = re.compile(r"^(-|[a-z0-9][\w.-]*)\s+([A-Z]+)\s+(\S+)(?:\s+= ?(.*))?$")
FLAGS = {"unordered", "shape", "nobody", "headonly", "impatient"}
PATIENCE = 10


@dataclasses.dataclass
class Request:
    name: str
    method: str
    target: str
    body: str | None
    headers: list = dataclasses.field(default_factory=list)
    takes: list = dataclasses.field(default_factory=list)
    keep: str | None = None
    send: str | None = None
    until: list = dataclasses.field(default_factory=list)
    gone: list = dataclasses.field(default_factory=list)
    flags: set = dataclasses.field(default_factory=set)

    @property
    def compared(self):
        return not self.name.endswith("/-")


class Malformed(Exception):
    pass


def read(path: pathlib.Path):
    """The requests of one file, in order."""
    requests = []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        try:
            if not line.strip() or line.startswith("#"):
                continue
            elif line[0] == " ":
                amend(requests[-1], line.strip())
            else:
                requests.append(first(path.stem, line))
        except (Malformed, IndexError, ValueError) as error:
            raise Malformed(f"{path.name}:{number}: {error or 'not a request'}: {line}") from error
    names = [request.name for request in requests]
    twice = {name for name in names if names.count(name) > 1 and not name.endswith("/-")}
    if twice:
        raise Malformed(f"{path.name}: named twice: {', '.join(sorted(twice))}")
    return requests


def first(area, line):
    match = FIRST.match(line.rstrip())
    if not match:
        raise Malformed("not a request")
    return Request(f"{area}/{match[1]}", match[2], match[3], match[4])


def amend(request, line):
    word, _, rest = line.partition(" ")
    if word in FLAGS and not rest:
        request.flags.add(word)
    elif word == "head":
        name, _, value = rest.partition(": ")
        request.headers.append((name, value))
    elif word == "body":
        request.body = (request.body or "") + rest
    elif word == "times":
        count, _, text = rest.partition(" ")
        request.body = "[" + ",".join([text] * int(count)) + "]"
    elif word == "take":
        name, _, path = rest.partition(" = ")
        request.takes.append((name, path))
    elif word in ("until", "gone"):
        getattr(request, word).append(rest)
    elif word in ("keep", "send"):
        setattr(request, word, rest)
    else:
        raise Malformed(f"unknown word {word}")


def play(requests, address):
    """Sends a set to one server; an answer, or NoAnswer, for each request."""
    known, answers = {}, []
    for request in requests:
        try:
            answer = ask(request, address, known)
            remember(request, answer, known)
        except exchange.NoAnswer as failure:
            answer = failure
        answers.append(answer)
    return answers


def ask(request, address, known):
    method, target = request.method, fill(request.target, known)
    headers = [(name, fill(value, known)) for name, value in request.headers]
    body = None if request.body is None else fill(request.body, known).encode()
    if request.send:
        body = known.get(request.send, b"")
    elif body is None and method in ("PUT", "POST"):
        body = b""

    def once():
        seconds = 2 if "impatient" in request.flags else 20
        return exchange.send(address, method, target, headers, body, "headonly" in request.flags, seconds)

    if not (request.until or request.gone):
        return once()
    last = []

    def settled():
        last[:] = [once()]
        unserved = last[0].status in (404, 405) and "recognized" in last[0].text
        return unserved or holds(request, last[0], known)
    exchange.wait_until(settled, PATIENCE)
    return last[0]


def holds(request, answer, known):
    here = all(fill(text, known) in answer.text for text in request.until)
    return here and not any(fill(text, known) in answer.text for text in request.gone)


def fill(text, known):
    def value(match):
        kind, _, count = match[1].partition(":")
        return "a" * int(count) if kind == "fill" else str(known.get(match[1], "unknown"))
    return re.sub(r"\$\{([\w:-]+)\}", value, text)


def remember(request, answer, known):
    if request.keep:
        known[request.keep] = answer.body
    for name, path in request.takes:
        known[name] = part(answer, path)


def part(answer, path):
    """A part of an answer, `unknown` where there is none: what needs it then differs, and so does this answer."""
    if path.startswith("header "):
        return answer.header(path[7:]) or "unknown"
    try:
        value = json.loads(answer.body)
        for step in re.findall(r"\.([\w-]+)|\[(\d+)\]", path):
            value = value[step[0]] if step[0] else value[int(step[1])]
        return value
    except (ValueError, KeyError, IndexError, TypeError):
        return "unknown"
