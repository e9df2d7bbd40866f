"""The questions, one a line: `TYPE NAME [word …]`.

    tcp            over TCP; `halfclosed`: the client ends its side before it reads
    edns=SIZE      with an OPT record; `version=N` its version, `subnet=NET` a client subnet in it
    norec          without the RD flag
    class=CH, opcode=N
    some           which records stand in the answer is chance: their number and kind are compared

{host}, {hexhost} and {reverse} stand for the server's own address.
"""
import dataclasses
import ipaddress


class Malformed(Exception):
    pass


@dataclasses.dataclass
class Question:
    line: str
    kind: str
    name: str
    tcp: bool = False
    half_closed: bool = False
    edns: int | None = None
    version: int = 0
    subnet: str = ""
    recursion: bool = True
    klass: str = "IN"
    opcode: int = 0
    some: bool = False

    def at(self, host):
        address = ipaddress.ip_address(host)
        name = self.name.replace("{hexhost}", address.packed.hex()).replace("{reverse}", address.reverse_pointer)
        return dataclasses.replace(self, name=name)


def read(path):
    questions = []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2:
            raise Malformed(f"{path.name}:{number}: a type and a name are wanted")
        question = Question(" ".join(words), words[0], words[1])
        for word in words[2:]:
            take(question, word, f"{path.name}:{number}")
        if any(other.line == question.line for other in questions):
            raise Malformed(f"{path.name}:{number}: {question.line} stands there twice")
        questions.append(question)
    return questions


def take(question, word, where):
    key, _, value = word.partition("=")
    match key:
        case "tcp": question.tcp = True
        case "halfclosed": question.tcp = question.half_closed = True
        case "edns": question.edns = int(value)
        case "version": question.version = int(value)
        case "subnet": question.subnet = value
        case "norec": question.recursion = False
        case "class": question.klass = value
        case "opcode": question.opcode = int(value)
        case "some": question.some = True
        case _: raise Malformed(f"{where}: {word} is no word for a question")
