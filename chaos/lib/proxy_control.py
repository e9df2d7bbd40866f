"""The runner's side of the proxy: one process for all pairs of servers."""
import json
import subprocess
import sys


class ProxyControl:
    def __init__(self, here, network, names, seed, log):
        self.process = subprocess.Popen(
            [sys.executable, str(here / "lib/proxy.py"), str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, text=True)
        for source in names:
            for target in names:
                if source != target:
                    answer = self._tell({"listen": source, "to": target, "address": network.addresses[target]}, True)
                    network.redirect(source, target, answer["port"])

    def set(self, source, target, faults):
        self._tell({"from": source, "to": target, "faults": faults})

    def _tell(self, command, answered=False):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline()) if answered else None

    def close(self):
        self.process.kill()
        self.process.wait()
