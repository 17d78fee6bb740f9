"""A server on a real socket that looks like llama-server, and breaks each chat in the way that it is told.

It runs in threads of the test's own process, so that a test can say when its silence ends.
"""

import json
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from tests.real.processes import DEADLINE
from tests.unit.stream_writer import DONE, FIRST, STOP, text
from tests.wire.llama import LOADING, server
from tests.wire.message import EVENTS_HEAD, answer, chunk, first

BYTE_EVERY = 0.002  # seconds, for an answer that drips


class Step(Enum):
    """What the server does besides sending bytes."""

    SILENT = "say nothing until the test lets go"
    DRIPS = "send what follows byte by byte"
    RESET = "reset the connection instead of closing it"


Fault = tuple[bytes | Step, ...]

WORDS = text("I") + text(" am")
GOOD: Fault = (EVENTS_HEAD, chunk(FIRST), chunk(WORDS), chunk(STOP), chunk(DONE), chunk(b""))


def error_answer(status: int, document: Any) -> bytes:
    return answer(
        status, json.dumps(document).encode(), "Content-Type: application/json", "Connection: close"
    )


class Faulty(socketserver.ThreadingTCPServer):
    """The server. `fault` is what it does to each chat, `loading` says that it has no model yet."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.fault: Fault = GOOD
        self.loading = False
        self.go = threading.Event()
        """Set by the test: what is silent goes on."""
        self.chats = 0
        """How many chats have come."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def breaks(self, *fault: bytes | Step) -> None:
        """Answer chats like this from now on."""
        self.fault = fault
        self.loading = False
        self.go.clear()
        self.chats = 0


class Connection(socketserver.BaseRequestHandler):
    """One connection with one request, after which it is closed."""

    server: Faulty
    request: socket.socket

    def handle(self) -> None:
        received = b""
        message = None
        while message is None or not message.whole:
            piece = self.request.recv(65536)
            if not piece:
                return
            received += piece
            message, _ = first(received)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._answers(message.method, message.target.decode())
        except (BrokenPipeError, ConnectionResetError):
            pass  # the proxy has given up

    def _answers(self, method: bytes, target: str) -> None:
        documents = {**server("tiny"), "/health": {"status": "ok"}}
        is_chat = method == b"POST" and target.endswith("/chat/completions")
        self.server.chats += is_chat
        if self.server.loading and (is_chat or target == "/health"):
            self.request.sendall(error_answer(503, LOADING))
        elif is_chat:
            self._fails(self.server.fault)
        elif target in documents:
            self.request.sendall(error_answer(200, documents[target]))
        else:
            self.request.sendall(error_answer(404, {"error": {"code": 404, "message": "File Not Found"}}))

    def _fails(self, fault: Fault) -> None:
        drips = False
        for step in fault:
            if step is Step.SILENT:
                assert self.server.go.wait(DEADLINE)
            elif step is Step.DRIPS:
                drips = True
            elif step is Step.RESET:
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.request.close()
            elif drips:
                for byte in step:
                    self.request.sendall(bytes([byte]))
                    time.sleep(BYTE_EVERY)
            else:
                self.request.sendall(step)


@contextmanager
def faulty() -> Iterator[Faulty]:
    """The server, up until the block ends."""
    with Faulty() as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield listening
        finally:
            listening.go.set()
            listening.shutdown()
            thread.join()
