"""What clients do to the cluster, and what they saw: every operation goes into a history.

A client is a thread with one connection to one node, and one kind of work. Clients run in processes of their own, so that
they don't wait for each other or for the runner. A workload is a class below; `WORKLOADS` names all of them: a new one is
added there, with the judge's model of it.
"""
import base64
import http.client
import json
import multiprocessing
import os
import random
import select
import socket
import struct
import threading
import time

import network

EPOCH = 10          # seconds after which keys are left for new ones: short histories are judged quickly
SESSION_TTL = 10    # seconds: the least that there is
NODE = "chaos-clients"  # what sessions belong to: a node that nothing is done to
LAMENTS = 2000      # requests without an answer that a process of clients describes
TIMEOUT = 12        # seconds that a client waits for an answer
NOT_DONE = (b"No cluster leader", b"rate limit", b"Too Many")


class Answer:
    """status 0: nobody was there to ask. status None: nobody knows what happened."""

    def __init__(self, status, body=b"", headers=None):
        self.status, self.body, self.headers = status, body, headers or {}

    @property
    def certainly_not_done(self):
        return self.status in (0, 400, 404, 413, 429) or (
            self.status in (500, 503) and any(text in self.body for text in NOT_DONE))

    @property
    def rows(self):
        return json.loads(self.body)

    @property
    def index(self):
        return int(self.headers.get("X-Consul-Index") or 0)


class Client(threading.Thread):
    def __init__(self, number, addresses, seed, book, pause):
        super().__init__(daemon=True)
        self.number, self.addresses, self.book, self.pause = number, addresses, book, pause
        self.address = addresses[number % len(addresses)]
        self.random = random.Random(f"{seed}-{number}")
        self.connection = None
        self.connections = 0
        self.used = time.monotonic()
        self.serial = 0

    def run(self):
        self.begun = time.monotonic()
        while not self.is_over:
            self.step()
            if self.pause:
                time.sleep(self.random.uniform(0.5, 1.5) * self.pause)
        self.finish()

    @property
    def is_over(self):
        return self.book.stop.is_set()

    def finish(self):
        """Called once, after the last step."""

    @property
    def epoch(self):
        # All clients change together: the clock is the machine's.
        return int(time.monotonic() / EPOCH)

    def unique(self):
        self.serial += 1
        return f"{self.number}-{self.serial}"

    def request(self, method, target, body=None, timeout=TIMEOUT, headers=None):
        begun = time.monotonic_ns()
        answer = self._request(method, target, body, timeout, headers or {})
        self.book.count(begun, answer, method)
        return answer

    def was_left(self):
        """The server has closed the connection since it was last used, which every HTTP client looks for before it asks."""
        return self.connection is not None and any(select.select([self.connection.sock], [], [], 0))

    def _request(self, method, target, body, timeout, headers):
        if self.was_left():
            self.drop()
        try:
            if self.connection is None:
                connection = http.client.HTTPConnection(self.address, 8500, timeout=timeout)
                connection.connect()
                self.connection = connection
                self.connections += 1
        except OSError:
            time.sleep(0.05)
            return Answer(0)
        asked = time.monotonic()
        try:
            if self.connection.timeout != timeout:
                self.connection.timeout = timeout
                self.connection.sock.settimeout(timeout)
            self.connection.request(method, target, body, headers)
            answer = self.connection.getresponse()
            body = answer.read()
            if answer.will_close:
                self.drop()
            return Answer(answer.status, body, answer.headers)
        except (OSError, http.client.HTTPException) as error:
            self.book.lament(self, f"{method} {target}", error, time.monotonic() - asked, asked - self.used)
            self.drop()
            time.sleep(0.05)
            return Answer(None)
        finally:
            self.used = time.monotonic()

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def operation(self, key, kind, **fields):
        return {"client": self.number, "key": key, "kind": kind, "call": time.monotonic_ns(), **fields}

    def written(self, record, answer):
        """Notes a write as done, as not known, or not at all when it was certainly not done. True: done, and yes."""
        if answer.status == 200:
            record |= {"returned": time.monotonic_ns(), "ok": answer.body.strip() == b"true"}
        elif answer.certainly_not_done:
            return None
        self.book.note(record)
        return record.get("ok")

    def fill(self, record, answer):
        """Completes a `get` with what was found; returns the row."""
        row = answer.rows[0] if answer.status == 200 else None
        record["returned"] = time.monotonic_ns()
        if row:
            record |= {"result": base64.b64decode(row["Value"] or "").decode(), "resultIndex": row["ModifyIndex"]}
        return row


class Registers(Client):
    """Single keys, read and written by all: linearizable on every address."""
    share = 5

    def __init__(self, *words):
        super().__init__(*words)
        self.indexes, self.numbered = {}, 0
        self.identity = f"chaos-{self.random.getrandbits(64):016x}"

    def step(self):
        key = f"register/{self.epoch}/{self.random.randrange(6)}"
        dice = self.random.random()
        if dice < 0.45:
            record = self.operation(key, "get")
            answer = self.request("GET", "/v1/kv/" + key + self.random.choice(("", "?consistent")))
            if answer.status in (200, 404):
                row = self.fill(record, answer)
                if row:
                    self.indexes[key] = row["ModifyIndex"]
                self.book.note(record)
        elif dice < 0.7:
            value = self.unique()
            self.write(self.operation(key, "put", value=value), "PUT", "/v1/kv/" + key, value)
        elif dice < 0.95:
            value, index = self.unique(), self.indexes.get(key, 0)
            self.write(
                self.operation(key, "cas", value=value, index=index), "PUT", f"/v1/kv/{key}?cas={index}", value)
        elif dice < 0.98 or not self.indexes.get(key):
            self.write(self.operation(key, "delete"), "DELETE", "/v1/kv/" + key)
        else:
            index = self.indexes[key]
            self.write(self.operation(key, "deleteCAS", index=index), "DELETE", f"/v1/kv/{key}?cas={index}")

    def write(self, record, method, target, value=None):
        """Half of them are numbered: when nobody knows what became of one, it is sent again, and elsewhere, until
        somebody does. It is one write, and its answer the first one's, however often it was sent."""
        if self.random.random() < 0.5 or not self.book.numbers:
            return self.written(record, self.request(method, target, value))
        self.numbered += 1
        headers = {"Idempotency-Key": f"{self.identity}/{self.numbered}/{self.numbered}"}
        home, answer = self.address, self.request(method, target, value, headers=headers)
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end and (answer.status is None or answer.status >= 500):
            self.drop()
            self.address = self.random.choice(self.addresses)
            time.sleep(0.1)
            self.book.totals[3] += 1
            retried = self.request(method, target, value, headers=headers)
            # What was certainly not done this time may have been done before.
            if retried.status == 200 or not retried.certainly_not_done:
                answer = retried
        if self.address != home:
            self.drop()
            self.address = home
        return self.written(record, answer)


class Appends(Client):
    """Keys of their own, written once: every acknowledged one is there at the end, on every server."""
    share = 3

    def step(self):
        key = f"append/{self.number}/{self.serial}"
        value = self.unique()
        record = self.operation(key, "append")
        answer = self.request("PUT", "/v1/kv/" + key, value)
        if answer.certainly_not_done:
            self.book.note(record | {"returned": time.monotonic_ns(), "ok": False})
        else:
            self.written(record, answer)


class Transactions(Client):
    """Two keys that are only ever written together: who reads them together finds them equal."""
    share = 2

    def step(self):
        key = f"pair/{self.epoch}/{self.random.randrange(4)}"
        left, right = key + "/left", key + "/right"
        if self.random.random() < 0.5:
            record = self.operation(key, "pairRead")
            # Consul learnt the first of these late; the other fails where there is nothing.
            verb = "get-or-empty" if self.book.is_ours else "get"
            answer = self.transaction([{"KV": {"Verb": verb, "Key": k}} for k in (left, right)])
            if answer.status != 200:
                return
            rows = [result["KV"] for result in answer.rows["Results"]]
            record["returned"] = time.monotonic_ns()
            record["names"] = [base64.b64decode(row.get("Value") or "").decode() for row in rows]
            if rows[0].get("ModifyIndex"):
                record["resultIndex"] = rows[0]["ModifyIndex"]
            self.book.note(record)
            return
        value = self.unique()
        encoded = base64.b64encode(value.encode()).decode()
        if self.random.random() < 0.2:
            # The second half can't be done: nothing of the first may ever be seen, and nobody notes that it was written.
            self.transaction([{"KV": {"Verb": "set", "Key": left, "Value": encoded}},
                              {"KV": {"Verb": "cas", "Key": right, "Value": encoded, "Index": 1}}])
        else:
            record = self.operation(key, "put", value=value)
            answer = self.transaction([{"KV": {"Verb": "set", "Key": k, "Value": encoded}} for k in (left, right)])
            if answer.status == 200:
                record |= {"returned": time.monotonic_ns(), "ok": True}
            elif answer.certainly_not_done:
                return
            self.book.note(record)

    def transaction(self, operations):
        return self.request("PUT", "/v1/txn", json.dumps(operations))


class Counters(Client):
    """Counted up by compare-and-set: at the end they stand at the number of successes, or that and the unknown ones."""
    share = 1

    def step(self):
        key = f"counter/{self.random.randrange(3)}"
        answer = self.request("GET", "/v1/kv/" + key)
        if answer.status not in (200, 404):
            return
        row = answer.rows[0] if answer.status == 200 else None
        value, index = (int(base64.b64decode(row["Value"])), row["ModifyIndex"]) if row else (0, 0)
        record = self.operation(key, "count")
        self.written(record, self.request("PUT", f"/v1/kv/{key}?cas={index}", str(value + 1)))


class Locks(Client):
    """A lock with its fencing token: never two holders, and LockIndex rises with each.

    A session ends by itself when it is not renewed for its TTL, and not earlier. What is noted of its end is an interval:
    since it was last known to live, until it was found dead; for the locks that it may still have held then. When the
    cluster is healed these clients leave their sessions to themselves, and the run sees that all end.
    """
    share = 2

    def __init__(self, *words):
        super().__init__(*words)
        self.session = None

    @property
    def is_over(self):
        return self.book.stop.is_set() or self.book.healed.is_set()

    def step(self):
        if self.session is None and not self.begin():
            return
        key = f"lock/{self.epoch}/{self.random.randrange(2)}"
        acquired, known = self.acquire(key, self.random.uniform(0, 0.05))
        if self.session is None:
            return
        if acquired and self.random.random() < 0.1:
            return self.end_holding(key)
        if acquired or not known:
            self.release(key)
        else:
            self.held.discard(key)
        if self.random.random() < 0.05:
            self.end()
        else:
            self.renew_in_time()

    def acquire(self, key, pause):
        """Whether it got the lock, and whether that is known. Holds it for `pause` seconds, and writes behind its fence."""
        record = self.operation(key, "acquire", session=self.session)
        self.held.add(key)
        answer = self.request("PUT", f"/v1/kv/{key}?acquire={self.session}", self.unique())
        if answer.status == 500 and b"invalid session" in answer.body:
            self.book.note(record | {"returned": time.monotonic_ns(), "ok": False})
            self.lost()
            return False, True
        acquired = answer.status == 200 and answer.body.strip() == b"true"
        if answer.status == 200:
            self.alive = record["call"]
            record |= {"returned": time.monotonic_ns(), "ok": acquired}
        holder, token = self.inspect(key)
        if acquired and holder == self.session:
            record["resultIndex"] = token
            self.book.note(record)
            self.hold(pause)
            if self.session:
                self.write_fenced(key, token)
                self.inspect(key)
        elif not answer.certainly_not_done:
            self.book.note(record)
        return acquired, answer.status == 200

    def hold(self, seconds):
        end = time.monotonic() + seconds
        while self.session and not self.is_over and time.monotonic() < end:
            time.sleep(max(0, min(0.5, end - time.monotonic())))
            self.renew_in_time()

    def end_holding(self, key):
        """A holder's end frees its lock."""
        self.end()
        self.inspect(key)

    def renew_in_time(self):
        if time.monotonic_ns() - self.renewed > 3e9:
            self.renew()

    def begin(self):
        called = time.monotonic_ns()
        answer = self.request(
            "PUT", "/v1/session/create",
            json.dumps({"TTL": f"{SESSION_TTL}s", "LockDelay": "0s", "Behavior": "release", "Node": NODE, "NodeChecks": []}))
        if answer.status != 200:
            return False
        self.session, self.held, self.alive = answer.rows["ID"], set(), called
        self.renewed = called
        return True

    def release(self, key):
        record = self.operation(key, "release", session=self.session)
        answer = self.request("PUT", f"/v1/kv/{key}?release={self.session}")
        # Of one that was held and can't be released the session has ended: it is noted when that is found.
        if self.written(record, answer):
            self.held.discard(key)

    def renew(self):
        called = time.monotonic_ns()
        answer = self.request("PUT", f"/v1/session/renew/{self.session}")
        if answer.status == 404:
            self.lost()
        elif answer.status == 200:
            self.renewed = self.alive = called

    def lost(self):
        """Found to be gone, though nobody ended it."""
        self.book.note({"client": self.number, "key": self.session, "kind": "sessionLost", "call": self.renewed,
                        "returned": time.monotonic_ns(), "index": SESSION_TTL * 1_000_000_000})
        self.dead()

    def end(self):
        answer = self.request("PUT", f"/v1/session/destroy/{self.session}")
        self.dead(certainly=answer.status == 200)

    def dead(self, certainly=True):
        ended = {"returned": time.monotonic_ns(), "ok": True} if certainly else {}
        for key in self.held:
            self.book.note(self.operation(key, "invalidate", session=self.session) | {"call": self.alive} | ended)
        self.session = None

    def finish(self):
        if self.session:
            self.dead(certainly=False)

    def inspect(self, key):
        """Who holds the lock, and under which token."""
        record = self.operation(key, "inspect")
        answer = self.request("GET", f"/v1/kv/{key}")
        if answer.status != 200:
            return None, None
        row = answer.rows[0]
        record |= {"returned": time.monotonic_ns(), "resultIndex": row["LockIndex"]}
        if row.get("Session"):
            record["result"] = row["Session"]
        self.book.note(record)
        return row.get("Session"), row["LockIndex"]

    def write_fenced(self, key, token):
        """A write that goes through only while the session still holds the lock."""
        record = self.operation(key, "fencedWrite", session=self.session, index=token)
        value = base64.b64encode(self.unique().encode()).decode()
        answer = self.request("PUT", "/v1/txn", json.dumps([
            {"KV": {"Verb": "check-session", "Key": key, "Session": self.session}},
            {"KV": {"Verb": "set", "Key": "guarded/" + key, "Value": value}}]))
        if answer.status in (200, 409):
            self.book.note(record | {"returned": time.monotonic_ns(), "ok": answer.status == 200})


class Holders(Locks):
    """Locks that are held for seconds: they stand in snapshots, and outlive leaders. Half of them end with their session."""
    share = 1

    def step(self):
        if self.session is None and not self.begin():
            return
        key = f"lock/{self.epoch}/long-{self.random.randrange(2)}"
        acquired, known = self.acquire(key, self.random.uniform(1, 5))
        if self.session is None:
            return
        if acquired and self.random.random() < 0.5:
            self.end_holding(key)
        elif acquired or not known:
            self.release(key)
        else:
            self.held.discard(key)
            time.sleep(0.2)
            self.renew_in_time()


class StaleReads(Client):
    """What one server shows over one connection never steps back, stale as it may be. (An agent asks another server when
    its own is gone: what it shows may be older then.)"""
    share = 2

    def __init__(self, number, addresses, *words):
        super().__init__(number, [one for one in addresses if network.is_server(one)], *words)

    def step(self):
        key = f"register/{self.epoch}/{self.random.randrange(6)}"
        record = self.operation(key, "staleGet")
        answer = self.request("GET", f"/v1/kv/{key}?stale")
        if answer.status in (200, 404):
            self.fill(record, answer)
            self.book.note(record | {"view": f"{self.address}/{self.number}/{self.connections}"})


class Watchers(Client):
    """Blocking queries on one key: each change is seen, and seen soon."""
    share = 1

    def __init__(self, *words):
        super().__init__(*words)
        self.key, self.index, self.form = None, 0, ""

    def step(self):
        key = f"register/{self.epoch}/{self.number % 6}"
        if key != self.key:
            self.key, self.index, self.form = key, 0, self.random.choice(("", "&recurse"))
        record = self.operation(key, "watch", index=self.index, view=self.address)
        # A prefix that is one key alone is woken as the key is. The answer is due after the wait and a sixteenth of it.
        target = f"/v1/kv/{key}?index={self.index}&wait=4s" + self.form
        if self.index and self.random.random() < 0.1:
            return self.leave(target)
        answer = self.request("GET", target, timeout=TIMEOUT + 5)
        if answer.status not in (200, 404):
            self.index = 0
            return
        self.fill(record, answer)
        self.book.note(record | {"seenIndex": answer.index})
        self.index = answer.index if answer.index >= self.index else 0

    def leave(self, target):
        """Asks and goes away without an answer: nothing of it may stay behind."""
        try:
            connection = http.client.HTTPConnection(self.address, 8500, timeout=1)
            connection.request("GET", target)
            time.sleep(self.random.uniform(0, 0.2))
            connection.close()
        except OSError:
            time.sleep(0.05)


class Services(Client):
    """Instances of services, registered and taken away by all: each is a register that holds the instance's address, and
    linearizable on every address."""
    share = 2

    def service(self):
        return f"service-{self.epoch}-{self.random.randrange(4)}"

    def fill(self, record, answer):
        rows = answer.rows if answer.status == 200 else []
        record["returned"] = time.monotonic_ns()
        if rows:
            row = rows[0].get("Service") or rows[0]
            record |= {"result": row.get("ServiceAddress") or row["Address"], "resultIndex": row["ModifyIndex"]}
        return rows[0] if rows else None

    def unique(self):
        """An address of its own."""
        self.serial += 1
        number = (self.number << 17 | self.serial) & 0xFFFFFF
        return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"

    def step(self):
        name = self.service()
        dice = self.random.random()
        if dice < 0.5:
            record = self.operation(name, "get")
            form = self.random.choice(("health/service", "catalog/service"))
            answer = self.request("GET", f"/v1/{form}/{name}" + self.random.choice(("", "?consistent")))
            if answer.status == 200:
                self.fill(record, answer)
                self.book.note(record)
        elif dice < 0.9:
            value = self.unique()
            self.written(
                self.operation(name, "put", value=value),
                self.request("PUT", "/v1/catalog/register", json.dumps({
                    "Node": NODE, "Address": "127.0.0.1", "SkipNodeUpdate": True,
                    "Service": {"ID": name, "Service": name, "Address": value, "Port": 80}})))
        else:
            self.written(
                self.operation(name, "delete"),
                self.request("PUT", "/v1/catalog/deregister", json.dumps({"Node": NODE, "ServiceID": name})))


class ServiceWatchers(Services):
    """Blocking queries on a service: each change is seen, and seen soon. An agent is asked for what it has itself."""
    share = 1

    def __init__(self, *words):
        super().__init__(*words)
        self.name_watched, self.index = None, 0

    def step(self):
        name = f"service-{self.epoch}-{self.number % 4}"
        if name != self.name_watched:
            self.name_watched, self.index = name, 0
        record = self.operation(name, "watch", index=self.index, view=self.address)
        form = "" if network.is_server(self.address) else "&stale"
        answer = self.request("GET", f"/v1/health/service/{name}?index={self.index}&wait=4s{form}", timeout=TIMEOUT + 5)
        if answer.status != 200:
            self.index = 0
            return
        self.fill(record, answer)
        self.book.note(record | {"seenIndex": answer.index})
        self.index = answer.index if answer.index >= self.index else 0


class Names(Services):
    """DNS over TCP: what one server's connection says of a service never steps back."""
    share = 1

    def __init__(self, number, addresses, *words):
        super().__init__(number, [one for one in addresses if network.is_server(one)], *words)
        self.socket = None

    def step(self):
        name = self.service()
        record = self.operation(name, "staleGet")
        try:
            if self.socket is None:
                self.connections += 1
                self.socket = socket.create_connection((self.address, 8600), timeout=2)
                self.socket.settimeout(5)
            code, addresses = self.ask(f"{name}.service.consul")
        except (OSError, EOFError):
            if self.socket:
                self.socket.close()
            self.socket = None
            time.sleep(0.05)
            return
        if code in (0, 3):  # found, or no such name
            record["returned"] = time.monotonic_ns()
            if addresses:
                record["result"] = addresses[0]
            self.book.note(record | {"view": f"{self.address}/names/{self.number}/{self.connections}"})

    def ask(self, name):
        """The response code, and the addresses of the answer section."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        query = struct.pack(">6H", self.random.getrandbits(16), 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
        self.socket.sendall(struct.pack(">H", len(query)) + query)
        answer = self.receive(struct.unpack(">H", self.receive(2))[0])
        if answer[:2] != query[:2]:
            raise EOFError("an answer to another question")
        count, position, addresses = struct.unpack_from(">H", answer, 6)[0], len(query), []
        for _ in range(count):
            # An owner is a pointer to the question's name.
            kind, _, _, size = struct.unpack_from(">HHIH", answer, position + 2)
            if kind == 1:
                addresses.append(".".join(str(byte) for byte in answer[position + 12:position + 16]))
            position += 12 + size
        return answer[3] & 15, addresses

    def receive(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise EOFError("the connection was closed")
            data += piece
        return data


WORKLOADS = {
    "registers": Registers, "appends": Appends, "transactions": Transactions, "counters": Counters, "locks": Locks,
    "holders": Holders, "stale": StaleReads, "watches": Watchers, "services": Services,
    "service-watches": ServiceWatchers, "names": Names,
}


class Book:
    """What the clients of one process saw, written as it happens."""

    def __init__(self, folder, number, stop, healed, totals, is_ours, numbers):
        self.stop, self.healed, self.totals = stop, healed, totals
        self.is_ours, self.numbers = is_ours, numbers
        self.lock = threading.Lock()
        self.history = open(folder / f"history-{number}.jsonl", "w", buffering=1 << 16)
        self.times = open(folder / f"times-{number}.jsonl", "w", buffering=1 << 16)
        self.unanswered, self.laments = open(folder / f"unanswered-{number}.txt", "w", buffering=1), 0

    def note(self, record):
        with self.lock:
            self.history.write(json.dumps(record) + "\n")

    def count(self, begun, answer, method):
        """One request: when it began, how long it took, and whether it was done (1), refused (0), nobody knows (-1), or
        nobody was there to ask (2)."""
        outcome = {200: 1, 404: 1, 409: 1, None: -1, 0: 2}.get(answer.status, 0)
        with self.lock:
            self.times.write(f"[{begun},{time.monotonic_ns() - begun},{outcome},{int(method == 'PUT')}]\n")
            self.totals[0] += 1
            self.totals[1] += outcome == 1 and method == "PUT"
            self.totals[2] += outcome == -1

    def lament(self, client, request, error, waited, unused):
        """A request without an answer, for whoever looks for the reason."""
        with self.lock:
            self.laments += 1
            if self.laments <= LAMENTS:
                print(f"{time.monotonic_ns()} client {client.number} at {client.address}: {request}: {error!r} after "
                      f"{waited * 1000:.0f} ms, on a connection that was unused for {unused * 1000:.0f} ms",
                      file=self.unanswered)

    def close(self):
        for file in (self.history, self.times, self.unanswered):
            file.close()


def work(folder, number, clients, addresses, seed, pause, stop, healed, totals, is_ours, numbers):
    """A process of clients: [(number, workload)]."""
    book = Book(folder, number, stop, healed, totals, is_ours, numbers)
    threads = [WORKLOADS[name](n, addresses, seed, book, pause) for n, name in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    book.close()


class Crowd:
    """All clients, in a few processes. `is_ours`: the servers are Serai. `numbers`: they know `Idempotency-Key`."""

    def __init__(self, folder, addresses, count, seed, shares, pause, is_ours=True, numbers=True, processes=2):
        context = multiprocessing.get_context("fork")
        self.stop, self.healed = context.Event(), context.Event()
        deck = [name for name in WORKLOADS for _ in range(shares.get(name, WORKLOADS[name].share))]
        draw = random.Random(seed)
        draw.shuffle(deck)
        # Each kind of work that has a share is there at least once, on any address: there may be more clients than asked for.
        kinds = list(dict.fromkeys(deck))
        names = kinds + deck
        clients = [(n, names[n % len(names)]) for n in range(max(count, len(kinds)))]
        self.totals = [context.Array("q", 4, lock=False) for _ in range(processes)]
        self.workers = [
            context.Process(
                target=work, args=(folder, n, clients[n::processes], addresses, seed, pause, self.stop, self.healed,
                                       self.totals[n], is_ours, numbers), daemon=True)
            for n in range(processes)]
        self.folder = folder

    def start(self):
        for worker in self.workers:
            worker.start()

    def counts(self):
        """Requests, acknowledged writes, unknown outcomes and writes sent again so far."""
        return [sum(totals[n] for totals in self.totals) for n in range(4)]

    def end(self, seconds=60):
        """Lets every client finish what it has under way; True when all did."""
        self.stop.set()
        deadline = time.monotonic() + seconds
        for worker in self.workers:
            worker.join(max(0, deadline - time.monotonic()))
        late = [worker for worker in self.workers if worker.is_alive()]
        for worker in late:
            worker.kill()
        return not late
