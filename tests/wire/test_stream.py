"""Does a stream reach the client byte for byte, each event when it comes, and no faster than it is read?"""

from __future__ import annotations

import pytest

from copilot_proxy.stream.relay import MAX_EVENT
from tests.wire.message import DONE, EVENTS_HEAD, answer, chunk, event
from tests.wire.pair import Wire


def test_head_goes_out_at_once(wire: Wire) -> None:
    """The client has the head of a stream before upstream has sent one event."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD)
    assert client.answer.status == 200
    assert client.answer.field(b"content-type") == b"text/event-stream"
    assert client.answer.field(b"cache-control") == b"no-cache"
    assert client.answer.field(b"x-accel-buffering") == b"no"
    assert client.answer.field(b"transfer-encoding") == b"chunked"
    assert client.answer.field(b"content-length") is None
    assert client.answer.body == b""


def test_stream_head_replaces_upstreams_own(wire: Wire) -> None:
    """Where upstream sends Cache-Control or X-Accel-Buffering itself, the client gets each once, and ours."""
    client, upstream = wire.chat()
    own = b"Cache-Control: max-age=60\r\nX-Accel-Buffering: yes\r\n\r\n"
    upstream.sends(EVENTS_HEAD.removesuffix(b"\r\n") + own)
    assert client.answer.field(b"cache-control") == b"no-cache"
    assert client.answer.field(b"x-accel-buffering") == b"no"


@pytest.mark.parametrize("content_type", ["text/event-stream; charset=utf-8", "Text/Event-Stream"])
def test_content_type_is_kept_as_upstream_writes_it(wire: Wire, content_type: str) -> None:
    """A stream is one whatever the case and the parameters of its content type, which stay."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD.replace(b"text/event-stream", content_type.encode()))
    assert client.answer.field(b"content-type") == content_type.encode()
    assert client.answer.field(b"cache-control") == b"no-cache"


def test_each_event_when_it_comes(wire: Wire) -> None:
    """Each event is with the client in the turn in which it came, without the clock moving."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD)
    sent = b""
    for word in ("I", " am", " a", " tiny", " model"):
        upstream.sends(chunk(event(word)))
        sent += event(word)
        assert client.answer.body == sent
    upstream.sends(chunk(DONE) + chunk(b""))
    assert client.answer.body == sent + DONE
    assert client.answer.whole
    assert not client.closed


def test_comments_pass(wire: Wire) -> None:
    """llama-server's pings, bare comments, are passed on when they come."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(b":\n\n"))
    assert client.answer.body == b":\n\n"


def test_unfinished_event_waits_for_its_rest(wire: Wire) -> None:
    """Of an event that came half the client gets nothing, until the rest has come."""
    client, upstream = wire.chat()
    whole = event("half")
    upstream.sends(EVENTS_HEAD + chunk(event("first") + whole[:9]))
    assert client.answer.body == event("first")
    upstream.sends(chunk(whole[9:-1]))
    assert client.answer.body == event("first")
    upstream.sends(chunk(whole[-1:]))
    assert client.answer.body == event("first") + whole


def test_what_follows_the_last_event_is_sent_at_the_end(wire: Wire) -> None:
    """A whole stream whose last event has no blank line loses none of its bytes."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(event("word") + b"data: [DONE]") + chunk(b""))
    assert client.answer.body == event("word") + b"data: [DONE]"
    assert client.answer.whole


def test_event_larger_than_the_limit_passes_in_pieces(wire: Wire) -> None:
    """An event over one MiB is passed on before its end has come, and still byte for byte."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD)
    piece = b"x" * (MAX_EVENT // 2)
    for data in (b"data: ", piece, piece, b"y"):
        upstream.sends(chunk(data))
    assert len(client.answer.body) == MAX_EVENT + len(b"data: ")
    upstream.sends(chunk(b"\n\n" + event("next")))
    upstream.sends(chunk(b""))
    assert client.answer.body == b"data: " + piece + piece + b"y\n\n" + event("next")
    assert client.answer.whole


def test_slow_reader_pauses_upstream(wire: Wire) -> None:
    """Upstream is not read while the client does not read, and goes on where it was when it does."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(event("first")))
    client.stalls()
    assert upstream.transport.producerState == "paused"
    upstream.sends(chunk(event("second")))
    assert client.answer.body == event("first")
    client.reads()
    assert upstream.transport.producerState == "producing"
    assert client.answer.body == event("first") + event("second")
    upstream.sends(chunk(DONE) + chunk(b""))
    assert client.answer.whole


def test_slow_reader_pauses_upstream_of_a_whole_answer(wire: Wire) -> None:
    """A large answer that is no stream is held back for a slow reader in the same way."""
    client, upstream = wire.chat()
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n1234")
    client.stalls()
    upstream.sends(b"5678")
    assert upstream.transport.producerState == "paused"
    assert client.answer.body == b"1234"
    client.reads()
    assert client.answer.body == b"12345678"
    assert client.answer.whole


def test_answer_that_is_no_stream_keeps_its_length(wire: Wire) -> None:
    """A completion that is not streamed passes with its length and bytes, and none of a stream's head."""
    client = wire.client()
    client.chats(stream=False)
    body = b'{ "choices": [ ] }'
    wire.asked[0].answers(200, body, "Content-Type: application/json; charset=utf-8")
    assert client.answer.status == 200
    assert client.answer.body == body
    assert client.answer.field(b"content-length") == b"18"
    assert client.answer.field(b"transfer-encoding") is None
    assert client.answer.field(b"cache-control") is None
    assert client.answer.field(b"x-accel-buffering") is None


@pytest.mark.parametrize("status", [400, 401, 404, 500, 501, 503])
def test_upstreams_own_error_passes(wire: Wire, status: int) -> None:
    """Upstream's error to a streamed request reaches the client with its status and its body."""
    client, upstream = wire.chat()
    body = b'{"error":{"code":%d,"message":"the model said no","type":"invalid_request_error"}}' % status
    upstream.answers(status, body, "Content-Type: application/json", "Connection: close", phrase="Nope")
    assert client.answer.start == b"HTTP/1.1 %d Nope" % status
    assert client.answer.body == body
    assert client.answer.whole
    assert not client.closed, "upstream's Connection: close is not the client's"


def test_body_framed_by_upstreams_end(wire: Wire) -> None:
    """An answer that ends with upstream's connection is whole, and the client is told so by chunks."""
    client, upstream = wire.chat()
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of")
    upstream.sends(b" it")
    upstream.leaves()
    assert client.answer.body == b"all of it"
    assert client.answer.whole
    assert client.answer.field(b"transfer-encoding") == b"chunked"


def test_stream_framed_by_upstreams_end(wire: Wire) -> None:
    """A stream that ends with upstream's connection is whole where its last event says so."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD.replace(b"Transfer-Encoding: chunked\r\n", b"") + event("word") + DONE)
    upstream.leaves()
    assert client.answer.body == event("word") + DONE
    assert client.answer.whole


def test_http_1_0_client(wire: Wire) -> None:
    """A client of HTTP/1.0 gets the stream unchunked, and its end is the connection's."""
    client = wire.client()
    client.asks("POST", "/v1/chat/completions", body=b'{"stream":true}', version="1.0")
    (upstream,) = wire.asked
    upstream.sends(EVENTS_HEAD + chunk(event("word")))
    assert client.answer.field(b"transfer-encoding") is None
    assert client.answer.body == event("word")
    upstream.sends(chunk(DONE) + chunk(b""))
    assert client.answer.body == event("word") + DONE
    assert client.closed
    assert not client.transport.aborted


def test_whole_answer_in_one_segment(wire: Wire) -> None:
    """Head, events and end in one segment are the same to the client as one after the other."""
    client, upstream = wire.chat()
    upstream.sends(EVENTS_HEAD + chunk(event("a")) + chunk(event("b") + DONE) + chunk(b""))
    assert client.answer.body == event("a") + event("b") + DONE
    assert client.answer.whole


def test_two_streams_do_not_mix(wire: Wire) -> None:
    """Streams at the same time go on connections of their own, and each client gets its own."""
    one, upstream_of_one = wire.chat()
    two, upstream_of_two = wire.chat()
    assert upstream_of_one is not upstream_of_two
    upstream_of_two.sends(EVENTS_HEAD + chunk(event("two")))
    upstream_of_one.sends(EVENTS_HEAD + chunk(event("one")))
    assert one.answer.body == event("one")
    assert two.answer.body == event("two")


def test_stream_is_asked_for_unzipped(wire: Wire) -> None:
    """Upstream is never asked to zip a stream, whatever the client accepts: it would come in lumps."""
    client = wire.client()
    client.chats("Accept-Encoding: gzip, deflate, br, zstd")
    assert wire.asked[0].request.field(b"accept-encoding") == b"identity"


def test_stream_on_ollamas_path(wire: Wire) -> None:
    """What is asked on /api/chat without anything of Ollama's streams like /v1/chat/completions."""
    client = wire.client()
    client.posts("/api/chat", {"model": "tiny", "messages": [], "stream": True})
    (upstream,) = wire.asked
    assert upstream.request.target == b"/v1/chat/completions"
    upstream.sends(EVENTS_HEAD + chunk(event("word") + DONE) + chunk(b""))
    assert client.answer.body == event("word") + DONE


def test_interim_answer_is_skipped(wire: Wire) -> None:
    """Upstream's 100 Continue before its answer is not taken for the answer."""
    client, upstream = wire.chat()
    upstream.sends(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200, b"{}"))
    assert client.answer.status == 200
    assert client.answer.body == b"{}"


def test_written_in_the_turn_in_which_it_comes(wire: Wire) -> None:
    """A transport that can write by itself is told to with each event, before the reactor's next turn."""
    client, upstream = wire.chat()
    written: list[bytes] = []
    client.transport.doWrite = lambda: written.append(client.answer.body)
    upstream.sends(EVENTS_HEAD + chunk(event("a")))
    upstream.sends(chunk(event("b")))
    assert written == [event("a"), event("a") + event("b")]
