"""How does a llama-server behave that does nothing but keep time?

``python -m bench.upstream`` prints the port that it listens on. Each POST is answered at once with a head,
then with `max_tokens` events at sse.RATE a second. It shares a small machine with what is measured, so it
is a loop of its own over epoll: 65 µs of CPU a token, most of it the kernel's; asyncio's transports and
timers took 90 µs.
"""

import gc
import heapq
import itertools
import math
import re
import select
import socket
import time

from bench import sse

_INTERVAL = 1_000_000_000 // sse.RATE
_GOLDEN = (math.sqrt(5) - 1) / 2
_CONTENT_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")
_MAX_TOKENS = re.compile(rb'"max_tokens": ?(\d+)')
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nKeep-Alive: timeout=5, max=100\r\nX-Accel-Buffering: no\r\n"
    b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_JSON_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%b"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_MODELS = (
    b'{"object":"list","data":[{"id":"bench","object":"model","created":1767225600,"owned_by":"llamacpp",'
    b'"meta":{"n_ctx":131072,"n_ctx_train":131072,"n_params":420992,"size":1683968,"ftype":"all F32"}}]}'
)
_PROPS = (
    b'{"default_generation_settings":{"params":{},"n_ctx":131072},"total_slots":100,"model_alias":"bench",'
    b'"model_path":"bench.gguf","modalities":{"vision":false,"audio":false},"chat_template":"",'
    b'"chat_template_caps":{"supports_tools":true},"build_info":"b11549-bench","is_sleeping":false}'
)
_DOCUMENTS = {b"/health": b'{"status":"ok"}', b"/v1/models": _MODELS, b"/models": _MODELS, b"/props": _PROPS}


class Connection:
    """One client; `open` until either side is done with it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.open = True
        self._received = b""
        self._tokens = 0
        self._left = 0

    def receive(self) -> bytes | None:
        """The request, when all of it is here."""
        try:
            data = self.sock.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self.close()
            return None
        self._received += data
        head_end = self._received.find(b"\r\n\r\n") + 4
        if head_end < 4:
            return None
        length = _CONTENT_LENGTH.search(self._received, 0, head_end)
        end = head_end + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return None
        request, self._received = self._received[:end], self._received[end:]
        return request

    def begin(self, tokens: int) -> None:
        """The head and the first event of a stream."""
        self._tokens = self._left = tokens
        self.send(_STREAM_HEAD + sse.chunk(sse.opening()))

    def tick(self) -> bool:
        """One token, and after the last one the ending; false when the stream is over."""
        self.send(sse.chunk(sse.token(time.monotonic_ns())))
        self._left -= 1
        if self.open and not self._left:
            self.send(sse.chunk(sse.ending(self._tokens)) + sse.chunk(b""))
        return self.open and self._left > 0

    def send(self, data: bytes) -> None:
        """`data`, or the end: a reader that is behind by a whole socket buffer, or gone, is cut off."""
        try:
            whole = self.sock.send(data) == len(data)
        except OSError:
            whole = False
        if not whole:
            self.close()

    def close(self) -> None:
        """The end of the connection; may be called twice."""
        self.open = False
        self.sock.close()


class Upstream:
    """The listener, its connections, and the tokens that are due."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._due: list[tuple[int, int, Connection]] = []
        self._streams = itertools.count(1)

    def run(self) -> None:
        """Serves until it is killed.

        Waits in select because it counts microseconds; epoll_wait counts milliseconds, so that 100 streams
        would tick in bunches of five.
        """
        while True:
            now = time.monotonic_ns()
            while self._due and self._due[0][0] <= now:
                at, stream, connection = self._due[0]
                if connection.open and connection.tick():
                    heapq.heapreplace(self._due, (at + _INTERVAL, stream, connection))
                else:
                    heapq.heappop(self._due)
                now = time.monotonic_ns()
            wait = (self._due[0][0] - now) / 1e9 if self._due else None
            if select.select([self._epoll], [], [], wait)[0]:
                for fd, _ in self._epoll.poll(0):
                    self._ready(fd)

    def _ready(self, fd: int) -> None:
        """A new connection, or bytes from an old one."""
        if fd == self._listener.fileno():
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[sock.fileno()] = Connection(sock)
            self._epoll.register(sock, select.EPOLLIN)
            return
        connection = self._connections[fd]
        request = connection.receive()
        if not connection.open:
            del self._connections[fd]
        elif request is not None:
            self._answer(connection, request)

    def _answer(self, connection: Connection, request: bytes) -> None:
        """A document for a GET; for a POST a stream, on a phase of its own.

        The phases are the golden ratio's multiples: even within the interval for any number of streams.
        """
        method, path, _ = request.split(b" ", 2)
        if method != b"POST":
            document = _DOCUMENTS.get(path.partition(b"?")[0])
            connection.send(_NOT_FOUND if document is None else _JSON_HEAD % (len(document), document))
            return
        asked = _MAX_TOKENS.search(request)
        connection.begin(int(asked[1]) if asked else sse.RATE)
        stream = next(self._streams)
        now = time.monotonic_ns()
        phase = int(stream * _GOLDEN % 1 * _INTERVAL)
        heapq.heappush(self._due, (now + (phase - now) % _INTERVAL, stream, connection))


if __name__ == "__main__":
    gc.disable()  # nothing here makes cycles, and a collection would be seen as delay
    upstream = Upstream()
    print(upstream.port, flush=True)
    upstream.run()
