"""What differs between two answers to one question, as `field: ours instead of theirs`."""
import collections
import ipaddress
import re
import time

import wire


def differences(question, left, right, hosts):
    """Left is Consul's."""
    if isinstance(left, wire.NoAnswer) or isinstance(right, wire.NoAnswer):
        mine, other = str_or_answer(right), str_or_answer(left)
        return [] if mine == other else [("no answer", other, mine)]
    found = []
    for field in ("code", "flags", "opcode", "extension", "extension size"):
        note(found, field, getattr(left, field.replace(" ", "_")), getattr(right, field.replace(" ", "_")))
    note(found, "question", *[[tidy(text, host) for text in answer.question] for answer, host in zip((left, right), hosts)])
    for section in ("answer", "authority", "additional"):
        records = [[tidy(str(record), host) for record in getattr(answer, section)]
                   for answer, host in zip((left, right), hosts)]
        if question.some:
            records = [kinds(getattr(answer, section)) for answer in (left, right)]
        note(found, section, *[sorted(values) for values in records])
        order = [runs(getattr(answer, section)) for answer in (left, right)]
        if records[0] == records[1]:
            note(found, f"{section} order", *order)
    limit = 65_535 if question.tcp else max(512, question.edns or 0)
    # Consul itself goes beyond it by a byte.
    if right.size > limit and left.size <= limit:
        found.append(("size", f"at most {limit}", str(right.size)))
    return found


def note(found, field, left, right):
    if left != right:
        found.append((field, text(left), text(right)))


def text(value):
    if isinstance(value, list):
        return "; ".join(value) if value else "-"
    return value if value != "" else "-"


def str_or_answer(answer):
    return "nothing" if isinstance(answer, wire.NoAnswer) else answer.code


def runs(records):
    """The kinds in the order in which they stand; instances are shuffled, so those of one kind count once."""
    found = []
    for record in records:
        if not found or found[-1] != record.kind:
            found.append(record.kind)
    return found


def kinds(records):
    counted = collections.Counter((record.kind, record.ttl) for record in records)
    return [f"{count} {kind} ttl {ttl}" for (kind, ttl), count in counted.items()]


def tidy(record, host):
    """A server's own address and the present time are the same everywhere."""
    address = ipaddress.ip_address(host)
    for own, word in ((host, "HOST"), (address.packed.hex(), "HEXHOST"), (address.reverse_pointer, "REVERSE")):
        record = re.sub(rf"(?<![0-9a-f.]){re.escape(own)}(?![0-9a-f])", word, record)
    return re.sub(r"\b\d{10}\b", lambda number: "NOW" if abs(int(number[0]) - time.time()) < 120 else number[0], record)
