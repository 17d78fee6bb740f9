"""How do embeddings go from one API to the other?"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from copilot_proxy import errors
from copilot_proxy.dialects.ollama import embed

RAW = msgspec.Raw


@pytest.mark.parametrize(
    ("written", "inputs"),
    [
        ('"a"', [b'"a"']),
        ('["a", "\\u00e4"]', [b'"a"', b'"\\u00e4"']),
        ('["a", ""]', [b'"a"', b'""']),
        ('""', []),
        ("[]", []),
        ("null", []),
    ],
)
def test_inputs(written: str, inputs: list[bytes]) -> None:
    """One text or several, spelled as they were; an empty one alone is none."""
    asked = embed.read_embed(f'{{"model":"m","input":{written}}}'.encode())
    assert [bytes(text) for text in asked.inputs] == inputs


@pytest.mark.parametrize("written", ["7", "true", "{}", "[7]", '["a", ["b"]]', "[null]"])
def test_inputs_of_another_type(written: str) -> None:
    """Anything else is refused in Ollama's words."""
    with pytest.raises(errors.BadRequest, match=r"^invalid input type$"):
        embed.read_embed(f'{{"model":"m","input":{written}}}'.encode())


def test_defaults() -> None:
    """Texts are cut unless the request says otherwise, and null is as good as not there."""
    body = b'{"model":"m","input":"a","truncate":null,"options":null,"keep_alive":null,"dimensions":null}'
    asked = embed.read_embed(body)
    assert (asked.model, asked.truncate, asked.dimensions) == ("m", True, 0)
    assert not embed.read_embed(b'{"name":"m","input":"a","truncate":false}').truncate


@pytest.mark.parametrize("read", [embed.read_embed, embed.read_embeddings])
@pytest.mark.parametrize(
    ("member", "kind", "text"),
    [
        ('"options":7', errors.BadRequest, "options: an object is expected, this is a number"),
        ('"options":{"num_ctx":"x"}', errors.BadOption, 'option "num_ctx" must be of type integer'),
        ('"keep_alive":true', errors.BadRequest, "Unsupported type: 'bool'"),
        ('"keep_alive":"30"', errors.BadRequest, 'time: missing unit in duration "30"'),
    ],
)
def test_how_the_model_runs(
    read: Callable[[bytes], Any], member: str, kind: type[errors.ProxyError], text: str
) -> None:
    """What is ignored has to be right all the same, and is refused in the words of a chat."""
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        read(f'{{"model":"m",{member}}}'.encode())


@pytest.mark.parametrize("member", ['"dimensions":"x"', '"truncate":1'])
def test_wrong_members(member: str) -> None:
    """What a request is about has to be of its type."""
    with pytest.raises(errors.BadRequest, match=f"^{member.split(chr(34))[1]}: .* is expected"):
        embed.read_embed(f'{{"model":"m",{member}}}'.encode())


@pytest.mark.parametrize("keep_alive", ['"5m"', "300", "-1", "0.5"])
def test_keep_alive(keep_alive: str) -> None:
    """How long a model stays may be a number or a text."""
    embed.read_embed(f'{{"model":"m","keep_alive":{keep_alive}}}'.encode())


def test_the_older_request() -> None:
    """/api/embeddings has one text, and needs a model."""
    asked = embed.read_embeddings(b'{"model":"m","prompt":"a"}')
    assert [bytes(text) for text in asked.inputs] == [b'"a"']
    assert not asked.truncate
    assert embed.read_embeddings(b'{"model":"m"}').inputs == []
    with pytest.raises(errors.BadRequest, match=r"^model is required$"):
        embed.read_embeddings(b'{"prompt":"a"}')


def test_request() -> None:
    """llama-server gets each text as it was spelled, and tokens as a list."""
    body = embed.request("m", [RAW(b'"\\u00e4"'), RAW(b"[1,2]")])
    assert body == b'{"model":"m","input":["\\u00e4",[1,2]]}'


def answered(*rows: tuple[int, Any], **more: Any) -> bytes:
    data = [{"embedding": row, "index": index, "object": "embedding"} for index, row in rows]
    return json.dumps({"data": data, **more}).encode()


def test_embedded() -> None:
    """Embeddings come in the order of the texts, and are not respelled."""
    body = (
        b'{"data":[{"index":1,"embedding":[2.50]},{"index":0,"embedding":[1e0]}],"usage":{"prompt_tokens":5}}'
    )
    found = embed.embedded(body, 2)
    assert [bytes(row) for row in found.rows] == [b"[1e0]", b"[2.50]"]
    assert found.tokens == 5
    assert embed.embedded(answered((0, [1])), 1).tokens == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"data":[]}',
        answered((0, [1]), (0, [2])),
        answered((1, [1]), (2, [1])),
        answered((0, "AA")),
    ],
)
def test_no_embeddings(body: bytes) -> None:
    """What is no answer to the texts is an error."""
    with pytest.raises(errors.BrokenAnswer):
        embed.embedded(body, 2)


@pytest.mark.parametrize("dimensions", [0, -1, 4, 5])
def test_as_long_as_it_is(dimensions: int) -> None:
    """An embedding with no more numbers than wanted stays as it was spelled."""
    raw = RAW(b"[1.0,0.50,2e0,3]")
    assert embed.shortened(raw, dimensions) is raw


def test_shortened() -> None:
    """A shorter embedding has the length 1 again."""
    numbers = json.loads(bytes(embed.shortened(RAW(b"[3,4,12]"), 2)))
    assert numbers == [0.6, 0.8]
    assert math.hypot(*json.loads(bytes(embed.shortened(RAW(b"[0.1,0.2,0.3,0.4]"), 3)))) == pytest.approx(1)
    assert json.loads(bytes(embed.shortened(RAW(b"[0,0,1]"), 2))) == [0, 0]


TOO_LARGE = (
    "input (4000 tokens) is too large to process. increase the physical batch size (current batch size: 512)"
)


@pytest.mark.parametrize(
    ("error", "most"),
    [
        ({"message": TOO_LARGE}, 512),
        ({"message": "x", "type": "exceed_context_size_error", "n_ctx": 2048}, 2047),
        ({"message": "x", "type": "exceed_context_size_error"}, None),
        ({"message": "x", "n_ctx": 2048}, None),
        ("x", None),
    ],
)
def test_most_tokens(error: Any, most: int | None) -> None:
    """Either limit of llama-server's is read off its complaint."""
    assert embed.most_tokens(json.dumps({"error": error}).encode()) == most


def test_complaint() -> None:
    """What an error says is read where it is one."""
    assert embed.complaint(b'{"error":{"message":"no"}}') == "no"
    assert embed.complaint(b"<html>") == ""


def test_may_exceed() -> None:
    """A text of few bytes needs no counting."""
    assert not embed.may_exceed(RAW(b'"abc"'), 100)
    assert embed.may_exceed(RAW(b'"' + b"a" * 100 + b'"'), 100)


def test_tokens() -> None:
    """Tokens are asked for with the marks around the text."""
    assert embed.to_tokenize("m", RAW(b'"a"')) == b'{"model":"m","content":"a","add_special":true}'
    assert embed.tokens(b'{"tokens":[1,2]}') == [1, 2]
    with pytest.raises(errors.BrokenAnswer):
        embed.tokens(b"{}")


@pytest.mark.parametrize(
    ("text", "marks", "limit", "cut"),
    [
        ([1, 2, 3], [], 3, [1, 2, 3]),
        ([1, 2, 3], [], 2, [1, 2]),
        ([101, 1, 2, 3, 102], [101, 102], 4, [101, 1, 2, 102]),
        ([101, 1, 2, 3], [101], 3, [101, 1, 2]),
        ([1, 2, 3, 102], [102], 2, [1, 102]),
        ([101, 1, 2, 102], [101, 102], 1, [102]),
    ],
)
def test_cut(text: list[int], marks: list[int], limit: int, cut: list[int]) -> None:
    """The marks before a text and behind it stay, where there is room."""
    assert embed.cut(text, marks, limit) == cut
