"""When did each token reach its client?

``python -m bench.load --port P --streams N --tokens T --start S`` opens N streams within RAMP seconds from
S (on CLOCK_MONOTONIC) and prints one JSON object (`Outcome`). While it runs it does nothing but note the
time and keep the bytes; they are read when all streams have ended.
"""

import argparse
import gc
import json
import select
import socket
import time
from dataclasses import asdict, dataclass, field

from bench import sse

RAMP = 1.0
"""Seconds over which the streams start; so many people do not press Enter at once."""

PATIENCE = 10.0
"""Seconds over the nominal length after which a stream is cut and counts as broken."""

_LAST_CHUNK = b"\r\n0\r\n\r\n"
_PROMPT_BYTES = 64 * 1024
_CODE = 'def area(width: float, height: float) -> float:\n\t"""The area, in m²."""\n\treturn width * height\n'


@dataclass
class Outcome:
    """What the clients saw; times in ns on CLOCK_MONOTONIC, delays and first bytes in ns."""

    came: list[int] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    first_bytes: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def request(tokens: int, port: int) -> bytes:
    """A chat request as an editor sends it, whose messages hold 64 KiB of code."""
    code = (_CODE * (_PROMPT_BYTES // len(_CODE) + 1))[:_PROMPT_BYTES]
    body = json.dumps(
        {
            "model": "bench",
            "messages": [
                {"role": "system", "content": "You are a programming assistant."},
                {"role": "user", "content": code},
            ],
            "temperature": 0.1,
            "max_tokens": tokens,
            "stream": True,
        },
        separators=(",", ":"),
    ).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (port, len(body))
    ) + body


class Client:
    """One stream: asks once connected, and keeps each piece with its time until the answer ends."""

    def __init__(self, port: int, asking: bytes) -> None:
        self.began = time.monotonic_ns()
        self.pieces: list[sse.Piece] = []
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.sock.setblocking(False)
        self._unsent = asking
        self._tail = b""

    def write(self) -> bool:
        """As much of the request as the socket takes; false when all of it is out."""
        try:
            self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        return bool(self._unsent)

    def read(self) -> bool:
        """What has come; false when the answer has ended."""
        data = self.sock.recv(1 << 16)
        self.pieces.append((time.monotonic_ns(), data))
        self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
        return bool(data) and self._tail != _LAST_CHUNK


class Load:
    """All the clients of one run, on one epoll."""

    def __init__(self, port: int, asking: bytes) -> None:
        self._port = port
        self._asking = asking
        self._epoll = select.epoll()
        self._open: dict[int, Client] = {}
        self.clients: list[Client] = []
        self.problems: list[str] = []

    def run(self, streams: int, start: float, until: float) -> None:
        """Starts `streams` streams, the first at `start`; returns when all have ended, or at `until`."""
        starts = [start + RAMP * n / streams for n in range(streams)]
        while (starts or self._open) and (now := time.monotonic()) < until:
            if starts and starts[0] <= now:
                del starts[0]
                self._connect()
            for fd, events in self._epoll.poll(max(0, min(starts[0] if starts else until, until) - now)):
                self._ready(fd, events)
        self.problems += ["did not end in time"] * len(self._open) + ["did not start in time"] * len(starts)

    def _connect(self) -> None:
        try:
            client = Client(self._port, self._asking)
        except OSError as error:
            self.problems.append(f"no connection: {error}")
            return
        self.clients.append(client)
        self._open[client.sock.fileno()] = client
        self._epoll.register(client.sock, select.EPOLLIN | select.EPOLLOUT)

    def _ready(self, fd: int, events: int) -> None:
        client = self._open[fd]
        try:
            if events & select.EPOLLOUT and not client.write():
                self._epoll.modify(fd, select.EPOLLIN)
            ended = bool(events & ~select.EPOLLOUT) and not client.read()
        except OSError as error:
            self.problems.append(f"connection lost: {error}")
            ended = True
        if ended:
            del self._open[fd]
            client.sock.close()

    def outcome(self, tokens: int) -> Outcome:
        """What the clients saw; a stream without its `tokens` tokens or without [DONE] is a problem."""
        outcome = Outcome(problems=self.problems)
        for client in self.clients:
            if client.pieces:
                outcome.first_bytes.append(client.pieces[0][0] - client.began)
            try:
                for sent, came in sse.read(client.pieces, tokens):
                    outcome.came.append(came)
                    outcome.delays.append(came - sent)
            except sse.BrokenStream as error:
                outcome.problems.append(str(error))
        return outcome


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="for each stream")
    parser.add_argument("--start", type=float, required=True, help="CLOCK_MONOTONIC, seconds")
    options = parser.parse_args()
    gc.disable()  # a collection would be seen as delay
    load = Load(options.port, request(options.tokens, options.port))
    load.run(options.streams, options.start, options.start + RAMP + options.tokens / sse.RATE + PATIENCE)
    print(json.dumps(asdict(load.outcome(options.tokens))))


if __name__ == "__main__":
    main()
