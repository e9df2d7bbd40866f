"""A TCP proxy between every pair of servers: what a bad line does to bytes.

Run by the runner as a process of its own. Standard input holds one JSON object a line:

    {"listen": "server-1", "to": "server-2", "address": "10.77.0.2"}      answered by a line {"port": N}
    {"from": "server-1", "to": "server-2", "faults": {…}}                 replaces what is wrong in that direction

Faults of a direction: `delay` and `jitter` in milliseconds; `stall`: bytes wait, connections stay; `corrupt`: the share
of chunks, 0 to 1, in which one byte is changed; `cut`: the share of chunks after half of which the connection ends; and
`half_open` (once): the target's side of every connection ends without a word to the source's.
Order within a direction is kept whatever the jitter. At most 256 KiB wait in each direction of a connection.
"""
import asyncio
import json
import os
import random
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from network import Network, RPC  # noqa: E402

MARK = 36  # SO_MARK
CHUNK = 65536
MOST_WAITING = 4  # chunks


class Line:
    """One direction between two nodes."""

    def __init__(self):
        self.faults = {}
        self.changed = asyncio.Event()
        self.changed.set()

    def set(self, faults):
        self.faults = faults
        self.changed.set() if not faults.get("stall") else self.changed.clear()


class Proxy:
    def __init__(self, seed):
        self.lines, self.connections = {}, {}
        self.random = random.Random(seed)
        self.network = Network.__new__(Network)

    def line(self, source, target):
        return self.lines.setdefault((source, target), Line())

    async def listen(self, source, target, address):
        def make():
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(128)
            return listener

        listener = self.network.socket_of(source, make)

        async def accepted(reader, writer):
            task = asyncio.current_task()
            open_ones = self.connections.setdefault((source, target), set())
            open_ones.add(task)
            try:
                await self.join(source, target, address, reader, writer)
            except (OSError, asyncio.CancelledError):
                pass
            finally:
                open_ones.discard(task)
                writer.transport.abort()

        await asyncio.start_server(accepted, sock=listener, limit=CHUNK)
        return listener.getsockname()[1]

    async def join(self, source, target, address, reader, writer):
        def make():
            onward = socket.socket()
            onward.setsockopt(socket.SOL_SOCKET, MARK, 7)
            onward.setblocking(False)
            return onward

        onward = self.network.socket_of(source, make)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(onward, (address, RPC)), 10)
        except (OSError, asyncio.TimeoutError):
            onward.close()
            return
        far_reader, far_writer = await asyncio.open_connection(sock=onward, limit=CHUNK)
        writer.far = far_writer
        try:
            there = asyncio.create_task(self.pump(self.line(source, target), reader, far_writer))
            back = asyncio.create_task(self.pump(self.line(target, source), far_reader, writer))
            done, rest = await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            if any(task.result() == "silent" for task in done):
                # The far end is gone, and nobody told the near one: it goes on talking to nobody.
                far_writer.transport.abort()
                while await reader.read(CHUNK):
                    pass
            for task in rest:
                task.cancel()
        finally:
            far_writer.transport.abort()

    async def pump(self, line, reader, writer):
        loop = asyncio.get_running_loop()
        waiting = asyncio.Queue(MOST_WAITING)

        async def read():
            while True:
                data = await reader.read(CHUNK)
                faults = line.faults
                due = loop.time() + (faults.get("delay", 0) + self.random.random() * faults.get("jitter", 0)) / 1000
                await waiting.put((due, data))
                if not data:
                    return

        reading = asyncio.create_task(read())
        try:
            while True:
                due, data = await waiting.get()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                await line.changed.wait()
                faults = line.faults
                if faults.get("half_open"):
                    return "silent"
                if not data:
                    if reading.done():
                        reading.result()
                    writer.write_eof()
                    return "ended"
                if self.random.random() < faults.get("corrupt", 0):
                    data = bytearray(data)
                    data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
                if self.random.random() < faults.get("cut", 0):
                    writer.write(data[:len(data) // 2])
                    await writer.drain()
                    return "cut"
                writer.write(data)
                await writer.drain()
        finally:
            reading.cancel()


async def main():
    proxy = Proxy(int(sys.argv[1]))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        if "listen" in command:
            port = await proxy.listen(command["listen"], command["to"], command["address"])
            print(json.dumps({"port": port}), flush=True)
        else:
            proxy.line(command["from"], command["to"]).set(command["faults"])


if __name__ == "__main__":
    asyncio.run(main())
