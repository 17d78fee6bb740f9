"""Is Ollama's own chat answered line by line, whatever happens on either side?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet import error

from tests.unit.stream_writer import call, text
from tests.unit.stream_writer import chunk as delta
from tests.wire.attended import JSON, loaded, refusal, still
from tests.wire.llama import LOADING, entry, server
from tests.wire.message import chunk as framed
from tests.wire.ollama import HI, LAST, SDK, asks, chats, ends, finish, knows, lines, said, streams
from tests.wire.pair import OpenWire, Wire

THINKING = "{{ '<think>' if enable_thinking }}"
THINK_VALUES = '"high", "medium", "low", "max", true, or false'
INVALID_FORMAT = r"""invalid format: "\"xml\""; expected "json" or a valid JSON Schema object"""
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def thinker(open_wire: OpenWire, **flags: Any) -> Wire:
    """A proxy in front of a model whose template knows of thinking."""
    wire = open_wire(models=None, **flags)
    knows(wire, server("tiny", chat_template=THINKING))
    return wire


# ---------------------------------------------------------------- what goes up, and what comes back


def test_what_llama_server_is_asked(wire: Wire) -> None:
    """It is OpenAI's chat as a stream, with Ollama's defaults where llama.cpp has others."""
    client, upstream = chats(wire, options={"temperature": 0.5, "num_ctx": 99, "unknown": 1}, stream=False)
    assert upstream.request.target == b"/v1/chat/completions"
    asked = upstream.request.json
    assert asked["messages"] == HI
    assert asked["stream"] is True
    expected = {"temperature": 0.5, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "n_predict": 327680}
    assert {key: asked[key] for key in expected} == expected
    assert not {"options", "num_ctx", "unknown", "keep_alive"} & asked.keys()
    client.leaves()


def test_a_line_for_each_delta(wire: Wire) -> None:
    """Each delta is at the client in the reactor turn in which it came, and the end is one line."""
    client, upstream = chats(wire)
    streams(upstream)
    assert client.answer.field(b"content-type") == b"application/x-ndjson"
    assert lines(client) == []
    for number, word in enumerate(("I", " am", " ☃"), start=1):
        upstream.sends(framed(text(word)))
        assert len(lines(client)) == number
        assert lines(client)[-1]["message"] == {"role": "assistant", "content": word}
    ends(upstream)
    *parts, last = lines(client)
    assert [line["done"] for line in parts] == [False] * 3
    assert last["done"] is True
    assert last["message"] == {"role": "assistant", "content": ""}
    assert last["done_reason"] == "stop"
    assert (last["prompt_eval_count"], last["eval_count"]) == (10, 3)
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (2_500_000, 1_500_000)
    assert client.answer.whole


def test_one_document(wire: Wire) -> None:
    """Without a stream the client gets no byte before the end, and then one document."""
    client, upstream = chats(wire, stream=False)
    streams(upstream, text("I"), text(" am"))
    assert client.received == b""
    ends(upstream)
    answer = client.answer
    assert answer.field(b"content-type") == b"application/json; charset=utf-8"
    assert answer.json["message"] == {"role": "assistant", "content": "I am"}
    assert (answer.json["done"], answer.json["done_reason"], answer.json["eval_count"]) == (True, "stop", 3)
    assert not answer.body.endswith(b"\n")


@pytest.mark.parametrize("stream", [True, False])
def test_tool_calls_come_whole(stream: bool, wire: Wire) -> None:
    """The pieces of a call are put together, with an object for arguments."""
    client, upstream = chats(wire, tools=[TOOL], stream=stream)
    streams(
        upstream,
        call(index=0, id="c1", type="function", function={"name": "add", "arguments": "{"}),
        call(index=0, function={"arguments": '"b":2,"a":1.0}'}),
    )
    ends(upstream, "tool_calls")
    found = lines(client) if stream else [client.answer.json]
    (message,) = (line["message"] for line in found if "tool_calls" in line["message"])
    assert message["tool_calls"] == [
        {"id": "c1", "function": {"index": 0, "name": "add", "arguments": {"b": 2, "a": 1.0}}}
    ]
    assert b'{"b":2,"a":1.0}' in client.answer.body
    assert found[-1]["done_reason"] == "stop"


def test_thoughts_are_put_back_before_the_call_that_they_led_to(open_wire: OpenWire) -> None:
    """A client of Ollama's sends no thoughts: the proxy remembers them by the id of the call."""
    wire = thinker(open_wire)
    client, upstream = chats(wire, tools=[TOOL])
    assert upstream.request.json["chat_template_kwargs"] == {"enable_thinking": True}
    streams(
        upstream,
        delta({"reasoning_content": "I must"}),
        delta({"reasoning_content": " add."}),
        call(index=0, id="c1", type="function", function={"name": "add", "arguments": "{}"}),
    )
    ends(upstream, "tool_calls")
    assert said(client, "thinking") == "I must add."
    (turn,) = (line["message"] for line in lines(client) if "tool_calls" in line["message"])
    result = {"role": "tool", "content": "3", "tool_call_id": "c1"}
    again, upstream = chats(wire, messages=[*HI, turn, result], tools=[TOOL])
    _, assistant, answered = upstream.request.json["messages"]
    assert assistant["reasoning_content"] == "I must add."
    assert (assistant["tool_calls"][0]["id"], answered["tool_call_id"]) == ("c1", "c1")
    again.leaves()


def test_no_thoughts_where_none_are_wanted(open_wire: OpenWire) -> None:
    """With think:false the template is told, and a model that thinks all the same is not heard."""
    wire = thinker(open_wire)
    client, upstream = chats(wire, think=False)
    assert upstream.request.json["chat_template_kwargs"] == {"enable_thinking": False}
    streams(upstream, delta({"reasoning_content": "Hm."}), text("Yes."))
    ends(upstream)
    assert (said(client, "thinking"), said(client)) == ("", "Yes.")


# ---------------------------------------------------------------- loading, silence


def test_load_and_unload(wire: Wire) -> None:
    """Without messages nothing is generated, and the answer is one document, also for a stream."""
    for keep_alive, reason in ((None, "load"), (0, "unload"), ("0s", "unload"), ("5m", "load")):
        client = asks(wire, "/api/chat", messages=[], keep_alive=keep_alive)
        assert wire.asked == []
        assert client.answer.json["done_reason"] == reason
        assert client.answer.json["message"] == {"role": "assistant", "content": ""}


def test_waits_for_the_model(fresh: Wire) -> None:
    """Before llama-server has loaded, nothing is known of the model: the client waits with heartbeats."""
    client = asks(fresh, "/api/chat", messages=HI)
    (looked,) = fresh.asked
    assert looked.request.target == b"/v1/models"
    looked.tells(LOADING, 503)
    still(fresh, 20)
    assert [line["done"] for line in lines(client)] == [False] * 2
    loaded(fresh)
    fresh.serves(server("tiny"))


def test_heartbeats(wire: Wire) -> None:
    """A silent llama-server is bridged by lines that say nothing, the first with the head after 3 s."""
    client, upstream = chats(wire)
    wire.passes(2.9)
    assert client.received == b""
    wire.passes(31)
    assert len(lines(client)) == 3
    assert {json.dumps(line["message"]) for line in lines(client)} == {'{"role": "assistant", "content": ""}'}
    streams(upstream, text("late"))
    ends(upstream)
    assert said(client) == "late"
    assert lines(client)[-1]["done"] is True


# ---------------------------------------------------------------- what goes wrong


def test_the_client_leaves(wire: Wire) -> None:
    """Whether it wanted a stream or not, upstream is closed at once, and so the slot is free."""
    for stream in (True, False):
        for begun in (True, False):
            client, upstream = chats(wire, stream=stream)
            if begun:
                streams(upstream, text("I"))
            client.leaves()
            assert upstream.closed


@pytest.mark.parametrize("how", [error.ConnectionDone(), error.ConnectionLost()])
def test_upstream_breaks_off(wire: Wire, how: Exception) -> None:
    """A stream ends with one line that is an error; a document becomes a 502."""
    client, upstream = chats(wire)
    streams(upstream, text("I"))
    upstream.leaves(how)
    *_, last = lines(client)
    assert list(last) == ["error"]
    assert "broke off" in last["error"]
    assert not any(line.get("done") for line in lines(client))
    assert client.answer.whole
    client, upstream = chats(wire, stream=False)
    streams(upstream, text("I"))
    upstream.leaves(how)
    assert client.answer.status == 502
    assert "broke off" in client.answer.json["error"]


def test_upstream_ends_without_a_finish(wire: Wire) -> None:
    """A body that ends in the regular way, and says nothing of an end of the answer, is no answer."""
    for stream in (True, False):
        client, upstream = chats(wire, stream=stream)
        streams(upstream, text("I"))
        upstream.answered += 1
        upstream.sends(LAST)
        told = lines(client)[-1] if stream else client.answer.json
        assert "without saying that it is finished" in told["error"]


def test_refusals(wire: Wire) -> None:
    """llama-server's words and status are the client's; once the head has left they are a line."""
    for stream in (True, False):
        client, upstream = chats(wire, stream=stream)
        upstream.answers(500, refusal("no slot", 500), JSON, "Connection: close")
        assert (client.answer.status, client.answer.json) == (500, {"error": "no slot"})
    client, upstream = chats(wire)
    wire.passes(4)
    upstream.answers(500, refusal("no slot", 500), JSON, "Connection: close")
    assert client.answer.status == 200
    assert lines(client)[-1] == {"error": "no slot"}


def too_long(tokens: int) -> bytes:
    message = f"request ({tokens} tokens) exceeds the available context size (1000 tokens)"
    kind = {"type": "exceed_context_size_error", "n_prompt_tokens": tokens, "n_ctx": 1000}
    return json.dumps({"error": {"code": 400, "message": message, **kind}}).encode()


def test_the_oldest_messages_go_where_all_are_too_long(wire: Wire) -> None:
    """As Ollama does it: what is over the context is dropped from the front, but never the system's."""
    old = [{"role": "user", "content": f"{number} " + "x" * 100} for number in range(20)]
    system = {"role": "system", "content": "Be brief."}
    client, upstream = chats(wire, messages=[system, *old])
    upstream.answers(400, too_long(2000), JSON, "Connection: close")
    (upstream,) = wire.asked
    first, *kept = upstream.request.json["messages"]
    assert first == system
    assert kept == old[-len(kept) :]
    assert 7 <= len(kept) <= 10
    upstream.answers(400, too_long(1100), JSON, "Connection: close")
    (upstream,) = wire.asked
    assert len(upstream.request.json["messages"]) < 1 + len(kept)
    streams(upstream, text("ok"))
    ends(upstream)
    assert said(client) == "ok"


def test_nothing_is_dropped_where_it_may_not(wire: Wire) -> None:
    """With truncate:false, and where one message alone is too long, the refusal is the answer."""
    for members in ({"truncate": False, "messages": HI * 9}, {}):
        client, upstream = chats(wire, **members)
        upstream.answers(400, too_long(2000), JSON, "Connection: close")
        assert client.answer.status == 400
        assert "exceeds the available context size" in client.answer.json["error"]


@pytest.mark.parametrize(
    ("members", "status", "message"),
    [
        ({"model": "absent"}, 404, "model 'absent' not found"),
        ({"model": ""}, 400, "model is required"),
        ({"think": True}, 400, '"tiny" does not support thinking'),
        ({"think": "hard"}, 400, f'invalid think value: "hard" (must be {THINK_VALUES})'),
        ({"format": "xml"}, 500, INVALID_FORMAT),
        ({"options": {"top_k": "x"}}, 500, 'option "top_k" must be of type integer'),
        ({"keep_alive": "30"}, 400, 'time: missing unit in duration "30"'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_request(members: dict[str, Any], status: int, message: str, wire: Wire) -> None:
    """It is refused in Ollama's words, and llama-server has no work with it."""
    client = asks(wire, "/api/chat", **{"messages": HI, **members})
    wire.serves(server("tiny"))
    assert (client.answer.status, client.answer.json) == (status, {"error": message})


def test_a_model_that_a_router_has_not_loaded(open_wire: OpenWire) -> None:
    """Nobody knows yet whether it thinks: the request goes to the router, which loads the model for it."""
    wire = open_wire(models=None)
    knows(wire, {"/v1/models": {"data": [entry("tiny", status={"value": "unloaded"}, meta=None)]}})
    client, upstream = chats(wire, think=True)
    asked = upstream.request.json
    assert (asked["model"], asked["chat_template_kwargs"]) == ("tiny", {"enable_thinking": True})
    client.leaves()


def test_a_model_without_tools(open_wire: OpenWire) -> None:
    """Where the template knows no tools, a chat with some is refused, and one with an empty list is not."""
    wire = open_wire(models=None)
    knows(wire, server("tiny", chat_template_caps={"supports_tools": False}))
    client = asks(wire, "/api/chat", messages=HI, tools=[TOOL])
    assert client.answer.json == {"error": "registry.ollama.ai/library/tiny:latest does not support tools"}
    client, upstream = chats(wire, tools=[])
    assert "tools" not in upstream.request.json
    client.leaves()


def test_a_model_that_has_learnt(wire: Wire) -> None:
    """A llama-server that was started anew is asked again before it is said that its model cannot think."""
    wire.passes(3)
    client = asks(wire, "/api/chat", messages=HI, think=True)
    for target, told in server("tiny", chat_template=THINKING).items():
        (upstream,) = wire.asked
        assert upstream.request.target.decode() == target
        upstream.tells(told)
    while wire.asked[0].request.target != b"/v1/chat/completions":
        wire.asked[0].tells({}, 404)
    streams(wire.asked[0], text("Yes."))
    ends(wire.asked[0])
    assert said(client) == "Yes."


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_no_body(body: bytes, wire: Wire) -> None:
    """An empty body is named as such."""
    client = wire.client()
    client.asks("POST", "/api/chat", SDK, body=body)
    assert (client.answer.status, client.answer.json) == (400, {"error": "missing request body"})


def test_the_log(wire: Wire) -> None:
    """The access line has the model and the tokens, streamed or not."""
    for stream in (True, False):
        _, upstream = chats(wire, stream=stream)
        streams(upstream, text("I"))
        ends(upstream)
    found = [line for line in wire.lines if "POST /api/chat 200 model=tiny" in line]
    assert len(found) == 2
    assert all("tokens=10+3" in line for line in found)


def test_by_hand(open_wire: OpenWire) -> None:
    """With --api-dialect ollama a request that could be either is Ollama's, and has a stream by default."""
    wire = open_wire(api_dialect="ollama")
    client = wire.client()
    client.posts("/api/chat", {"model": "tiny", "messages": HI})
    streams(wire.asked[-1], text("I"))
    ends(wire.asked[-1])
    assert said(client) == "I"
    assert finish().endswith(b"[DONE]\n\n")


def test_started_anew_with_another_model(open_wire: OpenWire) -> None:
    """What the model could not do when it was seen last is looked up once more before it is refused."""
    wire = open_wire(models=None)
    knows(wire, server("tiny"))
    wire.passes(3)
    asks(wire, "/api/chat", messages=HI, think=True)
    seen = wire.serves(server("tiny", chat_template=THINKING))
    assert seen[0] == "/v1/models"
    assert seen[-1] == "/v1/chat/completions"
