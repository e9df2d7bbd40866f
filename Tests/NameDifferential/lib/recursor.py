"""A name server of our own that the two are told to ask: UDP and TCP, a few names below example.com."""
import socket
import socketserver
import struct
import threading

import wire


def record(name, kind, ttl, data):
    return wire.encode_name(name) + struct.pack(">HHIH", wire.TYPES[kind], 1, ttl, len(data)) + data


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def table(name, kind):
    """Code and records for a question."""
    chain = record(name, "CNAME", 60, wire.encode_name("b.example.com"))
    match name, kind:
        case "a.example.com", "A" | "ANY": return 0, [record(name, "A", 300, address("198.51.100.1"))]
        case "a.example.com", "AAAA": return 0, [record(name, "AAAA", 300, address("2001:db8::51"))]
        case "host.example.com", _: return 0, [chain, record("b.example.com", "A", 30, address("198.51.100.2"))]
        case "big.example.com", _:
            return 0, [record(name, "A", 300, address(f"198.51.100.{number}")) for number in range(1, 61)]
        case "empty.example.com", _: return 0, []
        case "broken.example.com", _: return 2, []
        case "refused.example.com", _: return 5, []
        case "silent.example.com", _: return None, []
    if name.endswith("in-addr.arpa"):
        return 0, [record(name, "PTR", 300, wire.encode_name("reverse.example.com"))]
    return 3, []


def answer(packet, limit):
    reader = wire.Reader(packet)
    ident, flags, *_ = reader.take(">HHHHHH")
    start = reader.at
    name = reader.name().lower().rstrip(".")
    kind, _ = reader.take(">HH")
    code, records = table(name, wire.NAMES.get(kind, ""))
    if code is None:
        return None
    body = b"".join(records)
    cut = len(packet) + len(body) > limit
    if cut:
        records, body = [], b""
    head = struct.pack(">HHHHHH", ident, 0x8080 | flags & 0x0100 | (0x0200 if cut else 0) | code, 1, len(records), 0, 0)
    return head + packet[start:reader.at] + body


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        packet, client = self.request
        if reply := answer(packet, 4096 if packet[11] else 512):
            client.sendto(reply, self.client_address)


class Stream(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            packet = wire.frame(self.request)
            if reply := answer(packet, 65_535):
                self.request.sendall(struct.pack(">H", len(reply)) + reply)
        except (wire.NoAnswer, OSError):
            pass


class Recursor:
    def __init__(self, host, port):
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.servers = [socketserver.ThreadingUDPServer((host, port), Datagram), socketserver.ThreadingTCPServer((host, port), Stream)]
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()
