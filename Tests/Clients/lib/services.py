"""A cluster with an agent, and web servers beside the agent that are registered there with checks."""
import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

LOCAL, WORK = os.environ["LOCAL"], os.environ["TEST_DIR"]
DIR = WORK + "/cluster"
BASE = int(os.environ.get("BASEPORT", "8500"))
AGENT = "127.0.0.11"


def local(*words):
    subprocess.run([LOCAL, *words, "--dir", DIR], check=True, stdout=subprocess.DEVNULL)


def call(method, path, body=None):
    """The answer's JSON; the test ends when it is no 200."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://{AGENT}:{BASE}{path}", data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            content = answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}")
    return json.loads(content) if content.strip() else None


def get(url, timeout=5):
    """(status, text), status 0 when there was no answer."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError:
        return 0, ""


def wait(what, seconds, look):
    """Returns what `look` found and after how long; the test ends when it found nothing in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        found = look()
        if found:
            return found, time.monotonic() - begun
        time.sleep(0.1)
    sys.exit(f"{what}: not within {seconds} s")


class Web:
    """One instance of a service. It says its name, and `/health` says 200 until it is made ill."""

    def __init__(self, service, number, port, tags=("http",)):
        self.name, self.service, self.port, self.tags = f"{service}-{number}", service, port, list(tags)
        self.healthy = True
        # Each at an address of its own, as on machines of their own: HAProxy wants it so.
        self.address = f"127.0.1.{number}"
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                status = 200 if web.healthy or not self.path.startswith("/health") else 503
                body = web.metrics() if self.path.startswith("/metrics") else web.name.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer((self.address, port), Handler)
        # Clients that go away are no concern.
        self.server.handle_error = lambda *words: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def metrics(self):
        return f'up_since{{instance_name="{self.name}"}} 1\n'.encode()

    def register(self):
        call("PUT", "/v1/agent/service/register", {
            "ID": self.name, "Name": self.service, "Address": self.address, "Port": self.port, "Tags": self.tags,
            "Meta": {"number": self.name.rsplit("-", 1)[1]},
            "Check": {"HTTP": f"http://{self.address}:{self.port}/health", "Interval": "1s", "Timeout": "1s"},
        })

    def deregister(self):
        call("PUT", f"/v1/agent/service/deregister/{self.name}")


def passing(service):
    return sorted(entry["Service"]["ID"] for entry in call("GET", f"/v1/health/service/{service}?passing"))


class Program:
    """A program of somebody else's, with its output in a file."""

    def __init__(self, *words):
        self.log = f"{WORK}/{os.path.basename(words[0])}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def check(self):
        if self.process.poll() is not None:
            with open(self.log, errors="replace") as log:
                sys.exit(f"{self.log} ended with {self.process.returncode}:\n{log.read()[-3000:]}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
