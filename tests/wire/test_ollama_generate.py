"""Does each kind of generate take its own way to llama-server, and bring back the context?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.stream_writer import chunk as delta
from tests.unit.stream_writer import sse, text
from tests.wire.attended import JSON, refusal
from tests.wire.llama import INFILLS, server
from tests.wire.message import EVENTS_HEAD
from tests.wire.message import chunk as framed
from tests.wire.ollama import LAST, TIMINGS, asks, ends, knows, lines, streams
from tests.wire.pair import OpenWire, Wire
from tests.wire.peers import Client, UpstreamConnection

THINKING = "{{ '<think>' if enable_thinking }}"


def generates(wire: Wire, **members: Any) -> tuple[Client, UpstreamConnection]:
    """A client whose prompt llama-server has got."""
    client = asks(wire, "/api/generate", **{"prompt": "hi", **members})
    return client, wire.asked[-1]


def completes(upstream: UpstreamConnection, *pieces: str, reason: str = "eos") -> None:
    """llama-server's own stream of a completion, whole."""
    upstream.answered += 1
    upstream.sends(EVENTS_HEAD)
    for number, piece in enumerate(pieces):
        upstream.sends(framed(sse({"index": 0, "content": piece, "tokens": [number], "stop": False})))
    last = {"index": 0, "content": "", "tokens": [], "stop": True, "stop_type": reason, "timings": TIMINGS}
    upstream.sends(framed(sse(last)) + LAST)


def counts(wire: Wire, rendered: str = "<user>hi", tokens: tuple[int, ...] = (7, 8, 9)) -> list[Any]:
    """llama-server answers the two questions about the context; the documents that it was sent."""
    asked = []
    for target, told in ((b"/apply-template", {"prompt": rendered}), (b"/tokenize", {"tokens": [*tokens]})):
        if wire.asked and wire.asked[0].request.target == target:
            asked.append(wire.asked[0].request.json)
            wire.asked[0].tells(told)
    return asked


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_is_a_chat(stream: bool, wire: Wire) -> None:
    """A prompt with a system message is a chat; at its end the context is made of both sides' tokens."""
    client, upstream = generates(wire, system="Be brief.", stream=stream)
    assert upstream.request.target == b"/v1/chat/completions"
    chat = upstream.request.json
    assert [message["role"] for message in chat["messages"]] == ["system", "user"]
    streams(upstream, text("I"), text(" am"))
    ends(upstream)
    assert not stream or [line["response"] for line in lines(client)] == ["I", " am"]
    rendered, tokenized = counts(wire)
    assert rendered["messages"] == chat["messages"]
    assert tokenized["content"] == "<user>hiI am"
    last = lines(client)[-1] if stream else client.answer.json
    assert (last["done"], last["done_reason"], last["context"]) == (True, "stop", [7, 8, 9])
    assert last["response"] == ("" if stream else "I am")
    assert last["prompt_eval_count"] == 10


def test_no_context_where_llama_server_does_not_tell_the_tokens(wire: Wire) -> None:
    """The answer is whole without it."""
    client, upstream = generates(wire)
    streams(upstream, text("I"))
    ends(upstream)
    wire.asked[0].answers(500, refusal("no", 500), JSON)
    assert lines(client)[-1]["done"] is True
    assert "context" not in lines(client)[-1]


def test_a_raw_prompt(wire: Wire) -> None:
    """A raw prompt is a completion of its very text, and has no context."""
    client, upstream = generates(wire, prompt="The quick", raw=True, options={"num_predict": 2})
    assert upstream.request.target == b"/completion"
    assert upstream.request.json["prompt"] == "The quick"
    completes(upstream, " brown", " fox", reason="limit")
    *parts, last = lines(client)
    assert [line["response"] for line in parts] == [" brown", " fox"]
    assert last["done_reason"] == "length"
    assert "context" not in last
    assert wire.asked == []


@pytest.mark.parametrize(("told", "marker"), [({}, "<__media__>"), ({"media_marker": "<m1>"}, "<m1>")])
def test_an_image_in_a_raw_prompt(told: dict[str, str], marker: str, open_wire: OpenWire) -> None:
    """It stands where llama-server's own marker does, and where it names none, where llama.cpp's does."""
    wire = open_wire(models=None)
    knows(wire, server("tiny", **told))
    client, upstream = generates(wire, raw=True, images=["aGk="])
    expected = {"prompt_string": f"{marker}hi", "multimodal_data": ["aGk="]}
    assert upstream.request.json["prompt"] == expected
    client.leaves()


def test_an_infill(open_wire: OpenWire) -> None:
    """A suffix makes it an infill, where the model can; elsewhere Ollama's words say that it cannot."""
    wire = open_wire()
    client = asks(wire, "/api/generate", prompt="a", suffix="b")
    assert client.answer.json == {"error": "registry.ollama.ai/library/tiny:latest does not support insert"}
    wire = open_wire(models=None)
    knows(wire, {**server("tiny"), **INFILLS})
    client = asks(wire, "/api/generate", prompt="def f(", suffix="return 1")
    (upstream,) = wire.asked
    assert upstream.request.target == b"/infill"
    asked = upstream.request.json
    assert (asked["input_prefix"], asked["input_suffix"]) == ("def f(", "return 1")
    completes(upstream, "x):")
    assert counts(wire)[0]["content"] == "def f(x):"
    assert lines(client)[-1]["context"] == [7, 8, 9]


def test_an_earlier_context(open_wire: OpenWire) -> None:
    """The tokens of an earlier answer go before the prompt; thoughts are told by their tags."""
    wire = open_wire(models=None)
    knows(wire, server("tiny", chat_template=THINKING))
    client = asks(wire, "/api/generate", prompt="hi", context=[1, 2])
    assert wire.asked[0].request.target == b"/apply-template"
    wire.asked[0].tells({"prompt": "<user>hi<think>\n"})
    (upstream,) = wire.asked
    assert upstream.request.target == b"/completion"
    assert upstream.request.json["prompt"] == [1, 2, "<user>hi<think>\n"]
    completes(upstream, "Hm", ".</th", "ink>", "I")
    assert [(line["response"], line.get("thinking", "")) for line in lines(client)] == [
        ("", "Hm"),
        ("", "."),
        ("I", ""),
    ]
    counts(wire)
    assert lines(client)[-1]["context"] == [1, 2, 7, 8, 9]


def test_thinking(open_wire: OpenWire) -> None:
    """A generate's thoughts are a member of their own."""
    wire = open_wire(models=None)
    knows(wire, server("tiny", chat_template=THINKING))
    client = asks(wire, "/api/generate", prompt="hi", think="low")
    (upstream,) = wire.asked
    kwargs = {"enable_thinking": True, "reasoning_effort": "low"}
    assert upstream.request.json["chat_template_kwargs"] == kwargs
    streams(upstream, delta({"reasoning_content": "Hm."}), text("I"))
    ends(upstream)
    counts(wire)
    assert [(line["response"], line.get("thinking", "")) for line in lines(client)][:2] == [
        ("", "Hm."),
        ("I", ""),
    ]


def test_load_and_unload(wire: Wire) -> None:
    """Without a prompt nothing is generated; an unload comes before all other checks."""
    for members, reason in (({}, "load"), ({"keep_alive": 0, "raw": True, "system": "x"}, "unload")):
        client = asks(wire, "/api/generate", **members)
        assert client.answer.json["done_reason"] == reason
        assert client.answer.json["response"] == ""


@pytest.mark.parametrize(
    ("members", "status", "message"),
    [
        ({"model": "absent"}, 404, "model 'absent' not found"),
        ({"model": ""}, 404, "model '' not found"),
        ({"raw": True, "system": "x"}, 400, "raw mode does not support template, system, or context"),
        ({"think": True}, 400, '"tiny" does not support thinking'),
        ({"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ],
)
def test_what_is_wrong_with_a_request(members: dict[str, Any], status: int, message: str, wire: Wire) -> None:
    """It is refused in Ollama's words, and llama-server has no work with it."""
    client = asks(wire, "/api/generate", **{"prompt": "hi", **members})
    wire.serves(server("tiny"))
    assert (client.answer.status, client.answer.json) == (status, {"error": message})


def test_the_client_leaves_before_the_context(wire: Wire) -> None:
    """Nothing is asked of llama-server for a client that has left."""
    client, upstream = generates(wire)
    streams(upstream, text("I"))
    ends(upstream)
    (asked,) = wire.asked
    client.leaves()
    assert asked.closed
    assert wire.asked == []
