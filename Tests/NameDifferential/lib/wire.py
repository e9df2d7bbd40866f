"""A DNS message as bytes and as values (RFC 1035, RFC 6891), and one question asked over UDP or TCP."""
import dataclasses
import ipaddress
import socket
import struct

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41,
         "AXFR": 252, "ANY": 255}
NAMES = {number: name for name, number in TYPES.items()}
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS"}
FLAGS = {"aa": 0x0400, "tc": 0x0200, "rd": 0x0100, "ra": 0x0080, "ad": 0x0020, "cd": 0x0010}
CLASSES = {"IN": 1, "CH": 3, "ANY": 255}
CLIENT_SUBNET = 8


class NoAnswer(Exception):
    """Nothing came in time, the connection was closed, or what came is no DNS message."""


@dataclasses.dataclass(frozen=True)
class Record:
    name: str
    kind: str
    ttl: int
    data: str

    def __str__(self):
        return f"{self.name} {self.ttl} {self.kind} {self.data}"


@dataclasses.dataclass
class Message:
    code: str
    flags: str
    opcode: int
    question: list
    answer: list
    authority: list
    additional: list
    extension: str
    extension_size: str
    size: int


def encode_name(name):
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode("latin-1") for label in labels) + b"\0"


def query(number, question):
    flags = FLAGS["rd"] * question.recursion | question.opcode << 11
    additional = b""
    if question.edns is not None:
        options = b""
        if question.subnet:
            network = ipaddress.ip_network(question.subnet)
            address = network.network_address.packed[:(network.prefixlen + 7) // 8]
            options = struct.pack(">HHHBB", CLIENT_SUBNET, 4 + len(address), 1, network.prefixlen, 0) + address
        additional = b"\0" + struct.pack(">HHBBHH", TYPES["OPT"], question.edns, 0, question.version, 0, len(options)) + options
    head = struct.pack(">HHHHHH", number, flags, 1, 0, 0, 1 if additional else 0)
    kind = TYPES.get(question.kind) or int(question.kind.removeprefix("TYPE"))
    return head + encode_name(question.name) + struct.pack(">HH", kind, CLASSES[question.klass]) + additional


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def name(self):
        labels, at, end = [], self.at, None
        for _ in range(200):
            length = self.data[at]
            if length == 0:
                self.at = end or at + 1
                return ".".join(labels) + "."
            if length & 0xC0 == 0xC0:
                end = end or at + 2
                at = (length & 0x3F) << 8 | self.data[at + 1]
            else:
                labels.append("".join(chr(b) if 0x21 <= b < 0x7F else f"\\{b:03}" for b in self.data[at + 1:at + 1 + length]))
                at += 1 + length
        raise NoAnswer("a name that does not end")

    def record(self):
        name = self.name()
        kind, klass, ttl, length = self.take(">HHIH")
        start, word = self.at, NAMES.get(kind, f"TYPE{kind}")
        data = self.rdata(word, length)
        self.at = start + length
        return Record(name, word, ttl, data), klass

    def rdata(self, kind, length):
        end = self.at + length
        raw = self.data[self.at:end]
        if kind in ("A", "AAAA"):
            return str(ipaddress.ip_address(raw))
        if kind in ("NS", "CNAME", "PTR"):
            return self.name()
        if kind == "SRV":
            return "{} {} {} ".format(*self.take(">HHH")) + self.name()
        if kind == "SOA":
            return f"{self.name()} {self.name()} " + "{} {} {} {} {}".format(*self.take(">IIIII"))
        if kind == "TXT":
            pieces = []
            while self.at < end:
                count = self.take(">B")[0]
                pieces.append(self.data[self.at:self.at + count].decode("latin-1"))
                self.at += count
            return "|".join(pieces)
        return raw.hex()


def extension(raw_class, ttl, options):
    version, code = ttl >> 16 & 0xFF, ttl >> 24
    return f"version {version} flags {ttl & 0xFFFF:#x} options {options or '-'}", str(raw_class), code


def decode(data, number):
    try:
        reader = Reader(data)
        ident, flags, *counts = reader.take(">HHHHHH")
        if ident != number or not flags & 0x8000:
            raise NoAnswer("not the answer to this question")
        questions = []
        for _ in range(counts[0]):
            name = reader.name()
            kind, klass = reader.take(">HH")
            questions.append(f"{name} {NAMES.get(kind, kind)} {klass}")
        sections, edns, payload, upper = [], "none", "-", 0
        for count in counts[1:]:
            records = []
            for _ in range(count):
                record, klass = reader.record()
                if record.kind == "OPT":
                    edns, payload, upper = extension(klass, record.ttl, record.data)
                else:
                    records.append(record)
            sections.append(records)
        if reader.at != len(data):
            raise NoAnswer(f"{len(data) - reader.at} bytes behind the last record")
    except (struct.error, IndexError, ValueError) as error:
        raise NoAnswer(f"no DNS message: {error}") from error
    set_flags = " ".join(flag for flag, bit in FLAGS.items() if flags & bit)
    code = flags & 0xF | upper << 4
    return Message(CODES.get(code, str(code)), set_flags, flags >> 11 & 0xF, questions, *sections, edns, payload, len(data))


def ask(address, question, number=4660, seconds=3):
    packet = query(number, question)
    try:
        if question.tcp:
            with socket.create_connection(address, timeout=seconds) as connection:
                connection.sendall(struct.pack(">H", len(packet)) + packet)
                if question.half_closed:
                    connection.shutdown(socket.SHUT_WR)
                return decode(frame(connection), number)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(seconds)
            client.connect(address)
            client.send(packet)
            return decode(client.recv(65_535), number)
    except OSError as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error


def frame(connection):
    def exactly(count):
        data = b""
        while len(data) < count:
            piece = connection.recv(count - len(data))
            if not piece:
                raise NoAnswer("the connection was closed")
            data += piece
        return data
    return exactly(struct.unpack(">H", exactly(2))[0])
