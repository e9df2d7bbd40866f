"""What a run leaves: result.json, report.html, latency.svg, and a few lines on the terminal."""
import bisect
import html
import json
import os
import sys
import time

COLOURS = {"holds": "#2a7a3f", "violated": "#b3261e", "undecided": "#8a6d00"}


def read_times(folder):
    """[begun, took, outcome (1 done, 0 refused, -1 unknown, 2 nobody there), is a write], in nanoseconds, in order of
    beginning."""
    rows = []
    for path in folder.glob("times-*.jsonl"):
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                pass  # the last line of a process that was killed
        path.unlink()
    rows.sort()
    return rows


def longest_gap(times):
    """The longest time without an acknowledged write, in milliseconds."""
    ends = sorted(row[0] + row[1] for row in times if row[2] == 1 and row[3])
    return max((b - a for a, b in zip(ends, ends[1:])), default=0) / 1e6


def interruptions(times, marks):
    """What each kind of mark did to writing, in milliseconds: {kind: {"times", "median", "p99", "longest"}}.

    A mark is (kind, from, to). With `to` it is a span in which writing went on, and what counts is the longest time
    without an acknowledged write that touches it. Without, it is a moment at which writing ended, and what counts is
    the time from then until the first write that was begun later is acknowledged."""
    writes = [row for row in times if row[2] == 1 and row[3]]
    begun, ends = [row[0] for row in writes], sorted(row[0] + row[1] for row in writes)
    found = {}
    for kind, since, until in marks:
        if until is None:
            later = [row[0] + row[1] for row in writes[bisect.bisect_left(begun, since):]]
            took = (min(later) - since) / 1e6 if later else None
        else:
            first, last = max(0, bisect.bisect_left(ends, since) - 1), bisect.bisect_right(ends, until)
            near = ends[first:last + 1]
            took = max((b - a for a, b in zip(near, near[1:])), default=0) / 1e6
        if took is not None:
            found.setdefault(kind, []).append(took)
    return {kind: {"times": len(took), "median": round(percentile(sorted(took), 0.5)),
                   "p99": round(percentile(sorted(took), 0.99)), "longest": round(max(took)),
                   "each": [round(one) for one in took]} for kind, took in found.items()}


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0


def picture(run, times, width=1100, height=360):
    """Latency over time, logarithmic: for each slice of time the median and the 99th percentile; refused and unknown
    outcomes as ticks below; faults as bands with their names."""
    if not times:
        return "<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>"
    first, last = times[0][0], max(row[0] + row[1] for row in times)
    left, bottom, top = 60, height - 60, 20

    def x(at):
        return left + (width - left - 20) * (at - first) / max(1, last - first)

    def y(nanoseconds):
        # 0.1 ms to 100 s: six decades
        import math
        decades = math.log10(max(1e5, min(1e11, nanoseconds)) / 1e5)
        return bottom - (bottom - top) * decades / 6

    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
             "font-family='sans-serif' font-size='11'><rect width='100%' height='100%' fill='white'/>"]
    for position, window in enumerate(sorted(run.windows, key=lambda w: w["from"])):
        x0, x1 = x(max(first, window["from"])), x(min(last, window["to"]))
        parts.append(f"<rect x='{x0:.1f}' y='{top}' width='{max(1, x1 - x0):.1f}' height='{bottom - top}' fill='#b3261e' "
                     f"opacity='0.12'><title>{html.escape(window['what'])}</title></rect>")
        if len(run.windows) <= 40:
            parts.append(f"<text x='{x0 + 2:.1f}' y='{top + 10 + 11 * (position % 4)}' fill='#7a1a15'>"
                         f"{html.escape(window['what'][:26])}</text>")
    for exponent, label in enumerate(("0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s")):
        at = y(1e5 * 10 ** exponent)
        parts.append(f"<line x1='{left}' x2='{width - 20}' y1='{at:.1f}' y2='{at:.1f}' stroke='#ddd'/>"
                     f"<text x='{left - 6}' y='{at + 4:.1f}' text-anchor='end' fill='#555'>{label}</text>")
    slices = 220
    step = max(1, (last - first) / slices)
    cells = [[] for _ in range(slices + 1)]
    for row in times:
        cells[int((row[0] - first) / step)].append(row)
    for share, colour in ((0.5, "#1b5fa7"), (0.99, "#d07a00")):
        points = []
        for number, rows in enumerate(cells):
            took = sorted(row[1] for row in rows if row[2] == 1)
            if took:
                points.append(f"{x(first + (number + 0.5) * step):.1f},{y(percentile(took, share)):.1f}")
        parts.append(f"<polyline points='{' '.join(points)}' fill='none' stroke='{colour}' stroke-width='1.4'/>")
    for number, rows in enumerate(cells):
        for outcome, colour, offset in ((0, "#8a6d00", 12), (-1, "#b3261e", 24)):
            many = sum(row[2] == outcome for row in rows)
            if many:
                parts.append(f"<rect x='{x(first + number * step):.1f}' y='{bottom + offset - 8}' width='3' "
                             f"height='{min(10, 2 + many)}' fill='{colour}'><title>{many}</title></rect>")
    parts.append(f"<text x='{left}' y='{height - 8}' fill='#555'>blue: median, orange: 99th percentile of done requests; "
                 "below: refused (brown), outcome unknown (red); shaded: a fault in force</text></svg>")
    return "".join(parts)


def write(run, findings, trouble):
    times = read_times(run.folder)
    run.find_failures(times)
    shortfalls = run.shortfalls(times) if run.crowd and not trouble else []
    operations, acknowledged, unknown, again = run.crowd.counts() if run.crowd else (0, 0, 0, 0)
    broken = [f for f in findings if f["outcome"] == "violated"]
    undecided = [f for f in findings if f["outcome"] == "undecided"]
    status = 1 if broken or run.complaints else 2 if trouble or shortfalls or undecided or not findings else 0
    result = {
        "scenario": run.scenario.name, "servers": run.count, "seed": run.seed, "seconds": run.seconds,
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), "verdict": ("passed", "FAILED", "INVALID")[status],
        "operations": operations, "acknowledged writes": acknowledged, "unknown outcomes": unknown, "writes sent again": again,
        "longest time without an acknowledged write, ms": round(longest_gap(times), 1),
        "writing interrupted, ms": interruptions(times, run.marks),
        "facts": dict(sorted(run.facts.items())), "said": [text for _, text in run.said], "findings": findings, "complaints": run.complaints,
        "proves too little": shortfalls, "trouble": trouble,
    }
    (run.folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    drawing = picture(run, times)
    (run.folder / "latency.svg").write_text(drawing)
    (run.folder / "report.html").write_text(page(run, result, drawing))
    show(run, result)
    return status


def page(run, result, drawing):
    rows = "".join(
        f"<tr><td style='color:{COLOURS[f['outcome']]}'>{f['outcome']}</td><td>{html.escape(f['promise'])}</td>"
        f"<td class=n>{f['examined']}</td><td>{html.escape(f.get('detail') or '')}</td></tr>" for f in result["findings"])
    start = min((w["from"] for w in run.windows), default=0)
    done = "".join(
        f"<tr><td class=n>{(w['from'] - start) / 1e9:.1f}</td><td class=n>{(w['to'] - w['from']) / 1e9:.1f}</td>"
        f"<td>{html.escape(w['what'])}</td></tr>" for w in run.windows)
    faults = "".join(f"<li>{html.escape(text)}</li>" for text in
                     run.complaints + result["proves too little"] + ([result["trouble"]] if result["trouble"] else []))
    facts = "".join(f"<tr><td>{html.escape(k)}</td><td class=n>{v}</td></tr>" for k, v in result["facts"].items())
    interrupted = "".join(
        f"<tr><td>{html.escape(kind)}</td>" + "".join(f"<td class=n>{one[key]}</td>" for key in (
            "times", "median", "p99", "longest")) + "</tr>" for kind, one in result["writing interrupted, ms"].items())
    return f"""<!doctype html><meta charset=utf-8><title>{run.scenario.name}: {result['verdict']}</title>
<style>body{{font:15px/1.5 sans-serif;max-width:1150px;margin:2em auto;padding:0 1em;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}}
.n{{text-align:right;font-variant-numeric:tabular-nums}}</style>
<h1>{run.scenario.name}: {result['verdict']}</h1><p>{html.escape(run.scenario.about)} {run.count} servers, seed {run.seed},
{run.seconds} s of faults, {result['date']}.</p>
<p>{result['operations']:,} requests, {result['acknowledged writes']:,} acknowledged writes,
{result['unknown outcomes']:,} unknown outcomes; longest time without an acknowledged write
{result['longest time without an acknowledged write, ms']:,} ms.</p>
{f'<ul style="color:#b3261e">{faults}</ul>' if faults else ''}
{drawing}
<h2>Promises</h2><table><tr><th></th><th>promise</th><th class=n>looked at</th><th></th></tr>{rows}</table>
<h2>How long nobody could write</h2><table><tr><th></th><th class=n>times</th><th class=n>median, ms</th>
<th class=n>99 of 100, ms</th><th class=n>longest, ms</th></tr>{interrupted}</table>
<h2>What was done to the cluster</h2><table><tr><th class=n>after, s</th><th class=n>for, s</th><th></th></tr>{done}</table>
<h2>Counted</h2><table>{facts}</table>
"""


def show(run, result):
    has_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    colour = {"passed": "32", "FAILED": "31", "INVALID": "33"}[result["verdict"]]
    verdict = f"\033[{colour}m{result['verdict']}\033[0m" if has_colour else result["verdict"]
    print(f"{verdict}  {run.scenario.name}, {run.count} servers, seed {run.seed}: {result['operations']} requests, "
          f"{result['acknowledged writes']} acknowledged writes, {result['unknown outcomes']} unknown, longest gap "
          f"{result['longest time without an acknowledged write, ms']:.0f} ms")
    for name, count in result["facts"].items():
        print(f"    {name}: {count}")
    for kind, one in result["writing interrupted, ms"].items():
        print(f"    no writes after {kind}: median {one['median']}, p99 {one['p99']}, longest {one['longest']} ms, {one['times']} times")
    for finding in result["findings"]:
        print(f"    {finding['outcome']:<10} {finding['promise']} ({finding['examined']})"
              + (f"\n               {finding['detail']}" if finding.get("detail") else ""))
    for text in result["complaints"]:
        print(f"    broken     {text}")
    for text in result["proves too little"] + ([result["trouble"]] if result["trouble"] else []):
        print(f"    invalid    {text}")
    print(f"    report     {run.folder}/report.html", flush=True)
