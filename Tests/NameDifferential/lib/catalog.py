"""What both servers are filled with, over HTTP."""
import json

import exchange

LONG = "x" * 300


def node(name, address, meta=None):
    return {"Node": name, "Address": address, "NodeMeta": meta or {}}


def service(name, on, port, address="", tags=(), status=None, ident=None, weights=None, node_address="192.0.2.1"):
    ident = ident or f"{name}-{on}"
    row = {"Node": on, "Address": node_address, "SkipNodeUpdate": True, "Service": {
        "ID": ident, "Service": name, "Port": port, "Address": address, "Tags": list(tags)}}
    if weights:
        row["Service"]["Weights"] = {"Passing": weights[0], "Warning": weights[1]}
    if status:
        row["Check"] = {"CheckID": f"check:{ident}", "Name": "c", "Status": status, "ServiceID": ident}
    return row


def rows():
    yield node("plain", "10.1.0.1")
    yield node("meta", "10.1.0.2", {"rack": "7", "rfc1035-note": "v=spf1 -all", "rfc1035-": "empty", "rfc1035": "none",
                                    "quo\"te": "a=b", "void": ""})
    yield node("long", "10.1.0.3", {"long": LONG})
    yield node("six", "2001:db8::6", {"family": "six"})
    yield node("named", "host.example.com", {"k": "v"})
    yield node("alias", "web.service.consul")
    yield node("tonode", "plain.node.consul")
    yield node("Mixed-Case", "10.1.0.9")
    yield node("do.tt.ed", "10.1.0.10")
    yield node("under_score", "10.1.0.11")
    yield node("down", "10.1.0.12")
    yield {"Node": "down", "Address": "10.1.0.12", "SkipNodeUpdate": True,
           "Check": {"CheckID": "serfHealth", "Name": "s", "Status": "critical"}}
    yield node("shared1", "10.1.0.20")
    yield node("shared2", "10.1.0.20")
    # One instance on each kind of node, and one of each kind of address.
    yield service("web", "plain", 80, tags=["v1", "Blue"], status="passing", weights=(10, 3))
    yield service("web", "meta", 81, tags=["v2"], status="warning", weights=(10, 3))
    yield service("web", "six", 82, tags=["v2"])
    yield service("web", "down", 83, tags=["v1"])
    yield service("web", "Mixed-Case", 84, tags=["v3"], status="critical")
    yield service("own", "plain", 5432, address="10.9.0.1", tags=["primary"])
    yield service("own", "meta", 5432, address="2001:db8::9")
    yield service("own", "under_score", 5433, address="10.9.0.2", tags=["rel.1.2"])
    yield service("ext", "plain", 443, address="a.example.com")
    yield service("blend", "plain", 443, address="a.example.com")
    yield service("blend", "meta", 444, address="10.9.0.3")
    yield service("onname", "named", 8080)
    yield service("inner", "plain", 8081, address="web.service.consul")
    yield service("innernode", "plain", 8082, address="plain.node.consul")
    yield service("twins", "plain", 1, ident="t1")
    yield service("twins", "plain", 2, ident="t2")
    yield service("twins", "plain", 2, ident="t3")
    yield service("same", "plain", 7, address="10.9.0.7", ident="s1")
    yield service("same", "meta", 7, address="10.9.0.7", ident="s2")
    yield service("same", "meta", 8, address="10.9.0.7", ident="s3")
    yield service("alldown", "plain", 9, status="critical")
    yield service("warned", "plain", 10, status="warning")
    yield service("MixedName", "plain", 11)
    yield service("under_line", "plain", 12)
    yield service("dot", "do.tt.ed", 13)
    yield service("noport", "plain", 0)
    yield service("ttl-one", "plain", 14)
    yield service("ttl-two", "plain", 14)
    yield service("zeroweight", "plain", 15, weights=(0, 0))
    yield service("bigweight", "plain", 15, weights=(65535, 1))
    for number in range(12):
        yield node(f"m{number}", f"10.2.0.{number + 1}")
        yield service("many", f"m{number}", 9000 + number)
    for number in range(120):
        yield node(f"crowd-{number}", f"10.3.0.{number + 1}")
        yield service("crowd", f"crowd-{number}", 9000)
    for number in range(6):
        yield service("sixes", "six", 9000 + number, address=f"2001:db8:1::{number + 1}", ident=f"sixes-{number}")


def fill(address):
    for row in rows():
        body = json.dumps(row).encode()
        answer = exchange.send(address, "PUT", "/v1/catalog/register", body=body)
        if answer.status != 200:
            raise exchange.NoAnswer(f"{answer.status} {answer.text} to {row}")
