"""What differs between two answers to the same request, once all that must differ is put aside.

Ids and indexes differ between any two servers, but which of them are equal, and which index is greater, may not. So they are
paired: the first time that two of them stand at the same place they become a pair, and from then on, in that request set,
one must come with the other. What a server wrote while it started, in whatever order, counts as one index. Times, versions
and certificates are compared by kind alone.
"""
import bisect
import json
import re

from exchange import NoAnswer

CLASSES = ["status", "type", "missing key", "extra key", "value", "header", "text"]
# Headers that clients look at. The rest is framing, or the date.
HEADERS = re.compile(
    r"(?i)^(x-.*|content-type|content-encoding|content-security-policy|vary|allow|location|age|cache-control|retry-after"
    r"|www-authenticate)$")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
FINGERPRINT = re.compile(r"([0-9a-f]{2}:){19}[0-9a-f]{2}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
INDEX_KEYS = {"CreateIndex", "ModifyIndex"}
VARYING = {
    "Version", "Revision", "BuildDate", "SHA", "HumanVersion", "build", "version", "consul-version", "StableSince",
    "LastIndex", "LastTerm", "LastContact", "Index", "CreatedAt", "UpdatedAt", "NotBefore", "NotAfter", "ValidAfter",
    "ValidBefore", "Hash", "RootCert", "CertPEM", "PrivateKeyPEM", "SerialNumber", "SigningKeyID", "TrustDomain",
    "Timestamp", "ContentHash", "LTime", "Vec", "Error", "Adjustment", "Height", "ActiveRootID", "raft_version",
}
WIDTH = 36


class Pairs:
    """Ids or indexes of the two servers that have stood at the same place."""

    def __init__(self, started=(0, 0)):
        self.there, self.back = {}, {}
        self.order = []
        self.started = started

    def fit(self, left, right):
        if left not in self.there and right not in self.back:
            self.there[left], self.back[right] = right, left
            return True
        return self.there.get(left) == right

    def relation(self, left, right):
        """Why two indexes don't fit, without the numbers."""
        words = [
            "from the start" if value <= started else "seen before" if value in seen else "new"
            for value, seen, started in ((left, self.there, self.started[0]), (right, self.back, self.started[1]))]
        if words == ["new", "new"]:
            return "new", "new, in another order"
        return words[0], words[1] + (", but another" if words[0] == words[1] else "")

    def fit_indexes(self, left, right):
        """Also refuses a pair that would turn the order of two indexes round."""
        at_start = [value <= started for value, started in zip((left, right), self.started)]
        if any(at_start):
            return all(at_start)
        known = left in self.there or right in self.back
        if known:
            return self.fit(left, right)
        place = bisect.bisect(self.order, (left, right))
        below, above = self.order[place - 1:place], self.order[place:place + 1]
        if (below and below[0][1] > right) or (above and above[0][1] < right):
            return False
        self.order.insert(place, (left, right))
        return self.fit(left, right)


class Comparison:
    """Differences between two answers, as (class, where, left, right)."""

    def __init__(self, request, ids, indexes, addresses):
        self.request, self.ids, self.indexes, self.addresses = request, ids, indexes, addresses
        self.found = {}

    def answers(self, left, right):
        if isinstance(left, NoAnswer) or isinstance(right, NoAnswer):
            if type(left) is not type(right):
                self.add("status", "", shown(left), shown(right))
        elif left.status != right.status:
            self.add("status", "", shown(left), shown(right))
        else:
            self.headers(left, right)
            if not self.request.flags & {"nobody", "headonly"}:
                self.bodies(left, right)
        return [(kind, clip(where), *map(clip, values)) for (kind, where), values in self.found.items()]

    def add(self, kind, where, left, right):
        """One of each kind at each place: a list's second element seldom differs in another way than its first."""
        self.found.setdefault((kind, where), (left, right))

    def add_key(self, kind, where, name):
        """Keys that one object has and the other has not are told together."""
        names = self.found.setdefault((kind, where), ([], []))[kind == "extra key"]
        if name not in names:
            names.append(name)

    # Headers

    def headers(self, left, right):
        names = {key.lower(): key for answer in (right, left) for key, _ in answer.headers if HEADERS.match(key)}
        for lower, name in sorted(names.items()):
            one, other = left.header(name), right.header(name)
            if one is None or other is None:
                self.add("header", name, *("absent" if value is None else stable(value) for value in (one, other)))
            elif not self.same_header(lower, one, other):
                self.add("header", name, *self.told_header(lower, one, other))
            elif spelling(left, lower) != spelling(right, lower):
                self.add("header", name, f"spelt {spelling(left, lower)}", f"spelt {spelling(right, lower)}")

    def told_header(self, name, left, right):
        if name == "x-consul-index" and "0" not in (left, right):
            return self.indexes.relation(int(left), int(right))
        return stable(left), stable(right)

    def same_header(self, name, left, right):
        if name == "x-consul-index":
            # What is waited for comes in any order.
            if "shape" in self.request.flags or self.request.until or self.request.gone:
                return (left == "0") == (right == "0")
            return left != "0" != right and self.indexes.fit_indexes(int(left), int(right))
        if name in ("x-consul-lastcontact", "age"):
            return left.isdigit() == right.isdigit()
        if name == "x-consul-contenthash":
            return self.ids.fit(left, right)
        return self.plain(left, 0) == self.plain(right, 1)

    # Bodies

    def bodies(self, left, right):
        one, other = parsed(left.body), parsed(right.body)
        if one is None and other is None:
            self.texts(self.plain(left.text, 0), self.plain(right.text, 1))
        elif one is None or other is None:
            self.add("type", "body", left.text or "empty", right.text or "empty")
        else:
            self.values("", one[0], other[0])
            if layout(left.text) != layout(right.text):
                self.add("text", "layout", layout(left.text), layout(right.text))

    def texts(self, left, right):
        if left != right:
            start = 0
            if min(len(left), len(right)) > WIDTH:
                while left[:start + 1] == right[:start + 1]:
                    start += 1
                start = max(0, start - 12)
            self.add("text", "body", left[start:] or "empty", right[start:] or "empty")

    def plain(self, text, side):
        """Text without what must differ."""
        text = text.replace(self.addresses[side], "<self>")
        text = TIME.sub("<time>", UUID.sub("<id>", text))
        return re.sub(r"\bindex \d+( != \d+)?", "index <n>", text)

    def values(self, path, left, right):
        key = path.rpartition(".")[2]
        if kind(left) != kind(right):
            self.add("type", path or "body", brief(left), brief(right))
        elif isinstance(left, dict):
            self.objects(path, left, right)
        elif isinstance(left, list):
            if key not in VARYING:
                self.lists(path, left, right)
        elif "shape" not in self.request.flags and not self.same_leaf(key, left, right):
            both = brief(left), brief(right)
            if key in INDEX_KEYS and 0 not in (left, right):
                both = self.indexes.relation(left, right)
            self.add("value", path or "body", *both)

    def objects(self, path, left, right):
        for name in sorted(left.keys() | right.keys()):
            if name not in right:
                self.add_key("missing key", path or "body", name)
            elif name not in left:
                self.add_key("extra key", path or "body", name)
            else:
                self.values(f"{path}.{name}", left[name], right[name])

    def lists(self, path, left, right):
        if len(left) != len(right):
            if "shape" not in self.request.flags:
                self.add("value", path or "body", f"{len(left)} entries", f"{len(right)} entries")
                return
        if "unordered" in self.request.flags:
            left = sorted(left, key=lambda value: self.plain(json.dumps(value, sort_keys=True), 0))
            right = sorted(right, key=lambda value: self.plain(json.dumps(value, sort_keys=True), 1))
        for one, other in zip(left, right):
            self.values(f"{path}[]", one, other)

    def same_leaf(self, key, left, right):
        if key in VARYING:
            return True
        if key in INDEX_KEYS:
            return (left == 0) == (right == 0) and self.indexes.fit_indexes(left, right)
        if isinstance(left, str):
            if any(form.fullmatch(left) and form.fullmatch(right) for form in (UUID, FINGERPRINT)):
                return self.ids.fit(left, right)
            return self.plain(left, 0) == self.plain(right, 1)
        return left == right


def parsed(body):
    """A one-element tuple with the JSON value, None when it is none."""
    try:
        return (json.loads(body),)
    except ValueError:
        return None


def kind(value):
    if value is None:
        return "null"
    return {bool: "bool", int: "number", float: "number", str: "string", list: "list", dict: "object"}[type(value)]


def layout(text):
    spread = "indented" if re.search(r"\n +", text) else "compact"
    return spread + (", newline at the end" if text.endswith("\n") else "")


def spelling(answer, lower):
    return next(key for key, _ in answer.headers if key.lower() == lower)


def brief(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def stable(value):
    """A header's value, without a number that differs from run to run."""
    return "a number" if value.isdigit() and value != "0" else value


def shown(answer):
    """Status and the gist of the body: of JSON the shape, whose order and values don't matter here, of text the first line."""
    if isinstance(answer, NoAnswer):
        return "no answer"
    value = parsed(answer.body)
    gist = answer.text.partition("\n")[0]
    if value and isinstance(value[0], dict):
        gist = "{" + ", ".join(sorted(value[0])) + "}"
    elif value and isinstance(value[0], list):
        gist = "[…]" if value[0] else "[]"
    return f"{answer.status} {gist}".strip()


def clip(value):
    """One line that fits into a cell of a table."""
    count = f" ({len(value)})" if isinstance(value, list) and len(value) > 1 else ""
    text = ", ".join(value) if isinstance(value, list) else value
    text = FINGERPRINT.sub("<fingerprint>", TIME.sub("<time>", UUID.sub("<id>", text)))
    text = re.sub(r"\s+", " ", text).strip().replace("|", "/")
    text = text.replace("<", "‹").replace(">", "›")
    return text if len(text) <= WIDTH else text[:WIDTH - 1 - len(count)] + "…" + count
