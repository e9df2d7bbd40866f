"""One HTTP request and its answer, byte for byte: no client library tidies what is sent or what comes back."""
import dataclasses
import gzip
import http.client
import socket
import time
import zlib


@dataclasses.dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name):
        """The value of a header whatever its letter-case, None without one; repeated ones are joined."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


class NoAnswer(Exception):
    """The server closed the connection, or said nothing in time."""


def encode(method, target, host, headers, body):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def send(address, method, target, headers=(), body=None, head_only=False, seconds=20):
    """Sends one request on a connection of its own. `head_only` leaves before the body, for answers without an end."""
    try:
        with socket.create_connection(address, timeout=seconds) as connection:
            deliver(connection, encode(method, target, f"{address[0]}:{address[1]}", headers, body))
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            content = b"" if head_only else response.read()
            answer = Answer(response.status, response.getheaders(), content)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error
    return decoded(answer)


def deliver(connection, message):
    """A server may answer, and close, before it has read all of a body that is too large."""
    try:
        connection.sendall(message)
    except (BrokenPipeError, ConnectionResetError):
        pass


def decoded(answer):
    if (answer.header("Content-Encoding") or "").lower() == "gzip":
        try:
            answer.body = gzip.decompress(answer.body)
        except (OSError, EOFError, zlib.error):
            answer.body = b"(broken gzip)"
    return answer


def wait_until(holds, seconds, pause=0.1):
    """Asks again and again; the last answer, true or not."""
    end = time.monotonic() + seconds
    while not (result := holds()) and time.monotonic() < end:
        time.sleep(pause)
    return result
