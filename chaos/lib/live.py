"""What a run shows while it goes on: one line that is drawn anew on a terminal, one line for each phase in a pipe."""
import os
import shutil
import sys
import threading
import time


class View(threading.Thread):
    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_, self.done = run, threading.Event()
        self.is_terminal = sys.stdout.isatty()
        self.has_colour = self.is_terminal and "NO_COLOR" not in os.environ

    def run(self):
        run, last, then, shown = self.run_, 0, time.monotonic(), None
        leader, asked = None, 0
        while not self.done.wait(0.5 if self.is_terminal else 0.2):
            if not self.is_terminal:
                if run.phase != shown:
                    shown = run.phase
                    print(f"{run.scenario.name} ({run.count} servers, seed {run.seed}): {shown}", flush=True)
                continue
            now = time.monotonic()
            count = run.crowd.counts()[0] if run.crowd else 0
            rate, last, then = (count - last) / (now - then), count, now
            if now - asked > 2 and hasattr(run, "cluster") and run.phase in ("works", "breaks", "heals", "works again"):
                leader, asked = run.cluster.leader(), now
            self.draw(run, rate, leader)
        if self.is_terminal:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()

    def draw(self, run, rate, leader):
        share = min(1, (time.monotonic() - run.broken_from) / run.seconds) if hasattr(run, "broken_from") else 0
        with run.lock:
            faults = [what for _, what in run.open_windows.values()]
        bar = "█" * round(share * 16) + "·" * (16 - round(share * 16))
        fault = "; ".join(faults)
        text = f"{run.scenario.name} {bar} {run.phase}  {rate:5.0f} ops/s  leader {leader.name if leader else 'none':9}"
        room = shutil.get_terminal_size().columns - len(text) - 3
        fault = fault[:max(0, room)]
        if self.has_colour and fault:
            fault = f"\033[31m{fault}\033[0m"
        sys.stdout.write(f"\r\033[K{text}  {fault}")
        sys.stdout.flush()

    def stop(self):
        self.done.set()
        self.join(3)
