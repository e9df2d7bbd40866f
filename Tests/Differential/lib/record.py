"""The causes of differences, the lists that later runs must find again, and the page for readers.

`causes.txt` is written by hand, most wanted first:

    to build: Prepared queries
      why what it is for, and what is known about it
      match query/*;status
      everywhere

A plan, a title, and patterns for the request, class, place and Serai's side of the differences that it explains; the first
cause that fits has them. `everywhere` counts equal differences instead of listing each.

`differences/` has a file for each request set, a line for each difference: what was found when `run --record` ran last. The
page is made from the same, between its two marks, with like differences of a cause told together.
"""
import collections
import dataclasses
import fnmatch
import pathlib
import textwrap

from compare import CLASSES

PLANS = {
    "fault": "a fault of ours, to be put right",
    "to build": "not there yet",
    "newer": "Serai answers as later versions of Consul do",
    "by design": "stays as it is",
}
# Rows of a cause on the page; differences/ has all.
ROWS = 5
OPEN = ("fault", "to build")
BEGIN, END = "<!-- written by Tests/Differential/run --record: begin -->", "<!-- end -->"


@dataclasses.dataclass(frozen=True)
class Difference:
    request: str
    kind: str
    where: str
    consul: str
    serai: str

    @property
    def line(self):
        return " | ".join((self.request, self.kind, self.where, self.consul, self.serai))


@dataclasses.dataclass
class Cause:
    plan: str
    title: str
    why: str = ""
    everywhere: bool = False
    matches: list = dataclasses.field(default_factory=list)

    def explains(self, difference):
        return any(
            fnmatch.fnmatchcase(difference.request, request) and fnmatch.fnmatchcase(difference.kind, kind)
            and fnmatch.fnmatchcase(difference.where, where) and fnmatch.fnmatchcase(difference.serai, serai)
            for request, kind, where, serai in self.matches)


def read_causes(path: pathlib.Path):
    causes = []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        word, _, rest = line.strip().partition(" ")
        if not word or word == "#":
            continue
        if not line.startswith(" "):
            plan, _, title = line.partition(": ")
            causes.append(Cause(plan, title))
        elif word == "why":
            causes[-1].why = (causes[-1].why + " " + rest).strip()
        elif word == "match":
            request, kind, where, serai = [part.strip() for part in (rest + " ; ; ; ").split(";")[:4]]
            causes[-1].matches.append((request, kind or "*", where or "*", serai or "*"))
        elif word == "everywhere":
            causes[-1].everywhere = True
        if causes[-1].plan not in PLANS or word not in ("why", "match", "everywhere") and line.startswith(" "):
            raise ValueError(f"{path.name}:{number}: {line}")
    return causes


def sort_out(differences, causes):
    """The differences of each cause, and those without one."""
    explained, others = [[] for _ in causes], []
    # What is everywhere is not left to causes that take all of a request.
    order = sorted(range(len(causes)), key=lambda index: not causes[index].everywhere)
    for difference in differences:
        found = next((index for index in order if causes[index].explains(difference)), None)
        (others if found is None else explained[found]).append(difference)
    return list(zip(causes, explained)), others


def lists(sorted_out, sets):
    """The lines of each file in differences/."""
    files = {name: [] for name in (*sets, "everywhere")}
    for cause, differences in sorted_out:
        if cause.everywhere:
            files["everywhere"] += counted(differences)
        else:
            for difference in differences:
                files[difference.request.partition("/")[0]].append(difference.line)
    return {name: sorted(lines) for name, lines in files.items()}


def idle(sorted_out):
    """Causes that explain nothing any more."""
    return [cause.title for cause, differences in sorted_out if not differences]


def counted(differences):
    counts = collections.Counter(dataclasses.replace(difference, request="*").line for difference in differences)
    return [f"{count} requests{line[1:]}" for line, count in counts.items()]


def read_lists(folder: pathlib.Path, sets):
    files = {name: folder / f"{name}.txt" for name in (*sets, "everywhere")}
    return {name: path.read_text().splitlines() if path.is_file() else [] for name, path in files.items()}


def write_lists(folder: pathlib.Path, files):
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.txt"):
        path.unlink()
    for name, lines in files.items():
        if lines:
            (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


def page(values, sorted_out):
    """The page's lines between the marks."""
    lines = [*numbers_table(values), ""]
    for cause, differences in sorted_out:
        if differences:
            requests = len({difference.request for difference in differences})
            lines += [f"### {cause.title}", "", *wrapped(f"*{cause.plan}*, {requests} requests. {cause.why}"), ""]
            lines += ["| requests | class | where | Consul | Serai |", "| --- | --- | --- | --- | --- |"]
            lines += [*told_together(differences), ""]
    return lines


def told_together(differences):
    """A row for all differences of one class at one place with the same answer of ours; the most frequent come first."""
    groups = {}
    for difference in differences:
        place = "" if difference.kind == "extra key" else difference.where.rpartition(".")[2]
        key = (difference.kind, place, difference.serai)
        groups.setdefault(key, []).append(difference)
    rows = []
    for some in groups.values():
        first = some[0]
        names = first.request + (f" +{len(some) - 1}" if len(some) > 1 else "")
        varied = len({difference.consul for difference in some}) > 1
        cells = (names, first.kind, first.where, first.consul[:26] + " (…)" if varied else first.consul, first.serai)
        rows.append((len(some), "| " + " | ".join(cells) + " |"))
    rows.sort(key=lambda row: -row[0])
    more = [f"| … and {len(rows) - ROWS} rows more | | | | |"] if len(rows) > ROWS else []
    return [row for _, row in rows[:ROWS]] + more


def wrapped(text, width=120):
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def numbers(requests, sorted_out):
    """How many requests are answered differently, apart from what differs everywhere."""
    plans, kinds, open_kinds = (collections.defaultdict(set) for _ in range(3))
    for cause, differences in sorted_out:
        for difference in differences:
            if not cause.everywhere:
                plans[cause.plan].add(difference.request)
                kinds[difference.kind].add(difference.request)
                if cause.plan in OPEN:
                    open_kinds[difference.kind].add(difference.request)
    return {
        "requests": requests,
        "answered differently": len(set().union(*plans.values())),
        "… by a fault, or by what is not built": len(set().union(*(plans[plan] for plan in OPEN))),
        "… of these in status or JSON type": len(open_kinds["status"] | open_kinds["type"]),
        **{f"plan: {plan}": len(plans[plan]) for plan in PLANS},
        **{f"class: {kind}": len(kinds[kind]) for kind in CLASSES},
    }


def numbers_table(values):
    total = values["requests"]
    lines = ["| | requests | share |", "| --- | --- | --- |"]
    return lines + [f"| {name} | {count} | {100 * count / max(1, total):.1f} % |" for name, count in values.items()]


def with_lines(text, lines):
    """The page with other lines between its marks."""
    before, _, rest = text.partition(BEGIN)
    return "\n".join([before + BEGIN, *lines]) + "\n" + END + rest.partition(END)[2]
