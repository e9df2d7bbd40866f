#!/usr/bin/env python3
"""Writes the first inputs of each fuzzer into FOLDER/{rpc,http,dns,hcl,filter}: small, valid, and of every kind, so that the fuzzer
starts behind the first checks. usage: seeds.py FOLDER"""
import pathlib, struct, sys

folder = pathlib.Path(sys.argv[1])


def write(target, inputs):
    (folder / target).mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(inputs):
        (folder / target / f"seed-{number}").write_bytes(data)


# --- HTTP: a target, a line's end, a body ---
write("http", [target.encode() + b"\n" + body.encode() for target, body in [
    ("/v1/kv/a%2Fb?raw&index=7&wait=10s", ""), ("/v1/kv//x?cas=0&flags=42", "value"),
    ("http://host/v1/health/service/web?passing&tag=v1&tag=v2&near=_agent", "null"),
    ("/v1/catalog/register", '{"Node": "n1", "Address": "10.0.0.1", "Service": {"Port": 80, "Tags": ["a", "b"], "Meta": {}}}'),
    ("/v1/session/create?dc=dc1", '{"TTL": "15s", "LockDelay": 1.5e9, "Checks": [], "Behavior": "delete"}'),
    ("/v1/txn", '[{"KV": {"Verb": "cas", "Key": "\\u00e9\\ud83d\\ude00", "Value": "aGk=", "Index": 18446744073709551615}}]'),
    ("/v1/agent/check/register?wait=1h2m3.5s", ' {"a": [true, false, null, -0, 0.1, 1E+9, "\\"\\\\\\/\\b\\f\\n\\r\\t"]} '),
    ("?a=b+c&d=%20", "[[[[[[[[]]]]]]]]"),
]])


# --- DNS ---
def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def question(text, kind, flags=0x0100, more=b"", counts=(1, 0, 0, 0)):
    return struct.pack(">6H", 0x1234, flags, *counts) + name(text) + struct.pack(">2H", kind, 1) + more


extension = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 4) + struct.pack(">HH", 10, 0)
record = lambda kind, data: b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
answers = [record(1, b"\x0a\0\0\1"), record(28, bytes(16)), record(5, name("a.consul")), record(16, b"\3abc\1d"),
           record(33, struct.pack(">3H", 1, 1, 80) + b"\1n\xc0\x10"), record(12, b"\xc0\x0c"), record(700, b"??"),
           record(6, name("ns.consul") + name("root.consul") + struct.pack(">5I", 1, 2, 3, 4, 5))]
subnet = b"\0" + struct.pack(">HHIH", 41, 512, 0, 11) + struct.pack(">HHHBB", 8, 7, 1, 24, 0) + b"\x0a\0\0"
# What a recursor says: an alias, then what it stands for, its name by a pointer into the alias.
chain = [record(5, b"\1b\xc0\x11"), b"\xc0\x2e" + struct.pack(">HHIH", 1, 1, 30, 4) + b"\xc6\x33\x64\1"]
write("dns", [
    question("web.service.consul", 1), question("_web._tcp.service.dc1.consul", 33),
    question("1.0.0.127.in-addr.arpa", 12, more=extension, counts=(1, 0, 0, 1)), question("", 255),
    question("web.consul", 33, 0x8580, b"".join(answers), (1, len(answers), 0, 0)),
    question("web.consul", 1, 0x8403, answers[-1] + extension, (1, 0, 1, 1)),
    question("WEB.service.Consul", 1, more=subnet, counts=(1, 0, 0, 1)),
    question("20010db8000000000000000000000001.addr.dc1.consul", 28, 0x0000),
    question("host.example.com", 1, 0x8180, b"".join(chain), (1, 2, 0, 0)),
    question("big.example.com", 1, 0x8380, extension, (1, 0, 0, 1)),
])


# --- configuration: which syntax, then a document ---
write("hcl", [document.encode() for document in [
    "\0# one\nservice \"web\" {\n  port = 80 // two\n  check = { ttl = \"10s\", args = [\"a\", 1.5e3, true,] }\n}\n/* three */",
    "\0a = <<-EOF\n    one\n  two\n  EOF\nb = <<EOF\nx\nEOF\nc = [0x1F, -017, 1E-2, 9223372036854775807]\n",
    "\0a { b = 1 }\na { b = 2 }\na { b = 3 }\n\"k\\u00e9\\n\\x41\\101\" = \"${ f(\"x\") } {{ GetPrivateIP }}\"",
    '\1{"a": [1, -2.5e3, null, true], "b": {"c": "\\ud83d\\ude00\\"\\n"}, "b": {}}', "\0 {\"a\": 1}", "\0a = {{{{",
]])


# --- RPC: where to cut, then frames ---
def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def fields(**values):
    """A protobuf message: `_3=…` is field 3; numbers, bytes or text, lists are repeated."""
    out = b""
    for key, value in values.items():
        number = int(key[1:])
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                out += varint(number << 3) + varint(item)
            else:
                item = item.encode() if isinstance(item, str) else item
                out += varint(number << 3 | 2) + varint(len(item)) + item
    return out


def frame(body):
    return struct.pack(">I", len(body)) + body


def raft(**kind):
    return frame(fields(_3=fields(_1=1, _2=2, _3=5, **kind)))


member = lambda number: fields(_1=number, _2=f"s{number}", _3=f"10.0.0.{number}:8300")
configuration = fields(_1=[member(1), member(2)], _2=[member(1)], _3=[member(3)], _4=1)
meta = fields(_1=9, _2=3, _3=fields(_1=[member(1)]), _4=4096, _5=bytes(32), _6=bytes(16), _7=4)
entries = [fields(_1=5, _2=7, _3=0), fields(_1=5, _2=8, _3=1, _4=b"command"), fields(_1=5, _2=9, _3=2, _4=configuration)]
request = lambda **kind: frame(fields(_1=9, _4=fields(_1=1000, **kind)))
write("rpc", [bytes([cut]) + data for cut, data in enumerate([
    frame(fields(_2=fields(_1=1, _2=1, _3="6ba7b810-9dad-41d1-80b4-00c04fd430c8", _4=7, _5="s1", _6="server", _7="10.0.0.1:8300"))),
    frame(b"") + raft(_4=fields(_1=6, _2=4, _3=1)) + raft(_5=fields(_1=1)), raft(_6=fields(_1=6, _2=4, _3=6, _4=entries, _5=3, _6=2)),
    raft(_7=fields(_1=1, _2=6, _3=5, _4=4, _5=3, _6=2, _7=1)), raft(_8=fields(_1=meta, _2=0, _3=b"rows", _4=17, _5=1)),
    raft(_9=fields(_1=9, _2=4)) + raft(_10=b"") + raft(_11=fields(_1=8)) + raft(_12=fields(_1=8, _2=9)),
    request(_3=fields(_1=fields(_1=1, _2=2))), request(_4=fields(_1="GET", _2="/v1/kv/a", _3=fields(_1="A", _2="b"))),
    request(_9=fields(_1=1, _2="s1", _3="10.0.0.1:8300", _4=3)), request(_10=fields(_1=1, _2=3, _3=configuration)),
    frame(fields(_1=9, _5=fields(_1="no", _2=500))) + frame(fields(_1=9, _6=b"")),
])])


# --- filter expressions ---
write("filter", [expression.encode() for expression in [
    'Name == web and Port != 8080', 'v1 in Tags or "é" not in Tags', 'Meta.team == `x` and not (Meta is empty)',
    'Parts.Number == -1 and Parts is not empty', 'Name matches "^w.*[a-c]{1,3}$" or Name not matches `(?i)WEB|\\d+`',
    'First.Name contains "a"', 'Named.b.Number == 1', 'Share == 5e-1 and On == true', '((((Name == "w\\x41\\u00e9"))))',
    '"/Meta/team" == x', 'Tags contains v1 and Meta contains team', 'Port == 99999999999999999999', 'Nope == 1', 'Name ==',
]])
