"""How does each failure look to each kind of client?"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from copilot_proxy import errors
from copilot_proxy.errors import Dialect, ProxyError

VS_CODE = b"GitHubCopilotChat/0.67.0"


def kinds(kind: type[ProxyError] = ProxyError) -> Iterator[type[ProxyError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from kinds(child)


@pytest.mark.parametrize("kind", list(kinds()))
def test_both_shapes(kind: type[ProxyError]) -> None:
    """Every failure has OpenAI's three members, or Ollama's one text, with its own status."""
    error = kind("what to do")
    openai = errors.answer(error, Dialect.OPENAI)
    assert openai.status == kind.status
    assert openai.content_type == b"application/json"
    assert json.loads(openai.body) == {
        "error": {"message": "what to do", "type": kind.type, "code": kind.code}
    }
    assert json.loads(errors.answer(error, Dialect.OLLAMA).body) == {"error": "what to do"}


def test_codes_are_unique() -> None:
    """A code names one kind of failure."""
    codes = [kind.code for kind in kinds()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", list(kinds()))
def test_vs_code_can_show_every_failure(kind: type[ProxyError]) -> None:
    """VS Code gets each failure with a status whose text it shows."""
    shown = errors.answer(kind("x"), Dialect.OPENAI, VS_CODE).status
    assert shown in (400, 404, 413, 415)


@pytest.mark.parametrize("status", [200, 204, 301, 400, 404, 405, 413])
def test_statuses_that_vs_code_reads_right(status: int) -> None:
    """A status that means to VS Code what it says stays."""
    assert errors.status_for(status, VS_CODE) == status


@pytest.mark.parametrize("status", [401, 402, 403, 422, 424, 429, 466, 499, 500, 502, 503, 504, 599])
def test_statuses_that_vs_code_misreads(status: int) -> None:
    """A status that VS Code takes for something else becomes 400 for it, and for nobody else."""
    assert errors.status_for(status, VS_CODE) == 400
    assert errors.status_for(status, b"OpenAI/JS 5.20.1") == status
    assert errors.status_for(status, b"") == status


@pytest.mark.parametrize("status", [200, 201, 202, 203])
def test_successes(status: int) -> None:
    """D3: VS Code takes 200 alone for a success, and others get the success that it was."""
    assert errors.status_for(status, b"GitHubCopilotChat/0.67.0") == 200
    assert errors.status_for(status, b"curl/8") == status


def test_event() -> None:
    """As an event, the failure is one data line with its blank line, whatever the text holds."""
    event = errors.event(ProxyError('two\nlines and a "quote"'))
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    assert json.loads(event.removeprefix(b"data: "))["error"]["message"] == 'two\nlines and a "quote"'


def test_what_is_logged() -> None:
    """The log gets the message itself, unless something else was given for it."""
    assert ProxyError("seen").logged == "seen"
    assert ProxyError("seen", logged="logged").logged == "logged"
    assert str(ProxyError("seen", logged="logged")) == "seen"
