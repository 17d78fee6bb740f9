"""Is each complaint of llama-server's recognized, cured once, and its cure remembered?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from copilot_proxy.repairs import REPAIRS, Repair, Repairs

SLIM, BOUNDS, SYSTEM, USERS, DESCRIPTION, ARGUMENTS = REPAIRS

NO_PARSER = "Unable to generate parser for this template. Automatic parser generation failed: "
JINJA = NO_PARSER + (
    "\n------------\nWhile executing CallExpression at line 3, column 28 in source:\n...oop.first %}\u21b5"
    "        {{- raise_exception('...\n                                           ^\nError: Jinja Exception: "
)
PATTERN = {"type": "string", "pattern": "^(a$", "maxLength": 9}


def body(*roles: str, **function: Any) -> bytes:
    tools = [
        {
            "type": "function",
            "function": {"name": "f", "parameters": {"properties": {"x": PATTERN}}, **function},
        }
    ]
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}
    calls = {"assistant": {"tool_calls": [call]}}
    messages = [{"role": role, "content": role, **calls.get(role, {})} for role in roles]
    return json.dumps({"messages": messages, "tools": tools}, separators=(",", ":")).encode()


BAD = body("system", "user", "user", "system", "assistant")


def error(message: str, status: int = 400) -> bytes:
    """An error as llama-server b11549 writes it."""
    return json.dumps({"error": {"code": status, "message": message}}, ensure_ascii=False).encode()


# the words as they were seen: the first four on b11549, the others in issues of ggml-org/llama.cpp
COMPLAINTS: list[tuple[int, str, Repair]] = [
    (400, JINJA + "System message must be at the beginning.", SYSTEM),
    (
        400,
        NO_PARSER + "JSON schema conversion failed:\nInvalid pattern ^(a$: unbalanced parentheses",
        SLIM,
    ),
    (
        500,
        "Failed to parse tools: [json.exception.type_error.302] type must be string, but is null; tools = [",
        DESCRIPTION,
    ),
    (
        500,
        "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse error at "
        "line 1, column 1: attempting to parse an empty input",
        ARGUMENTS,
    ),
    (400, "Failed to initialize samplers: failed to parse grammar", SLIM),
    (400, "JSON schema conversion failed:\nPattern must start with '^' and end with '$'", SLIM),
    (500, JINJA + "System message must be at the beginning.", SYSTEM),
    (
        500,
        JINJA
        + "After the optional system message, conversation roles must alternate user and assistant roles "
        "except for tool calls and results.",
        USERS,
    ),
    (500, JINJA + "Conversation roles must alternate user/assistant/user/assistant/...", USERS),
    (500, "[json.exception.out_of_range.403] key 'description' not found", DESCRIPTION),
]


@pytest.mark.parametrize(("status", "message", "repair"), COMPLAINTS)
def test_complaints(status: int, message: str, repair: Repair) -> None:
    """B3, B6: each complaint leads to its cure, which is named by the words that led there."""
    cured = Repairs().cure(status, error(message, status), BAD, ())
    assert cured is not None
    assert cured.repair is repair
    assert cured.body == repair.cure(BAD)
    assert cured.complaint in message


@pytest.mark.parametrize(
    "message",
    [
        "request (81633 tokens) exceeds the available context size (32768 tokens), try increasing it",
        "Failed to parse tools: Missing tool type: {}; tools = [ must be string, but is null ]",
        "Failed to parse tools: [json.exception.out_of_range.403] key 'name' not found; tools = []",
        "The model produced output that does not match the expected peg-native format",
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "Invalid API Key",
        "",
    ],
)
def test_other_complaints(message: str) -> None:
    """What no cure is known for is left to the client."""
    assert Repairs().cure(400, error(message), BAD, ()) is None


@pytest.mark.parametrize("status", [200, 401, 404, 413, 503])
def test_other_statuses(status: int) -> None:
    """Only a 400 and a 500 complain of the request; older builds wrote 500 where newer write 400."""
    assert Repairs().cure(status, error("failed to parse grammar"), BAD, ()) is None


def test_each_cure_once() -> None:
    """B6: a complaint that stays is met with the next of its cures, and none is tried twice."""
    repairs = Repairs()
    complaint = error("Failed to initialize samplers: failed to parse grammar")
    first = repairs.cure(400, complaint, BAD, ())
    assert first is not None
    assert first.repair is SLIM
    second = repairs.cure(400, complaint, first.body, [SLIM])
    assert second is not None
    assert second.repair is BOUNDS
    assert repairs.cure(400, complaint, second.body, [SLIM, BOUNDS]) is None
    assert repairs.cure(400, complaint, BAD, [SLIM, BOUNDS]) is None


def test_a_cure_that_changes_nothing_is_none() -> None:
    """B3: where there is nothing to cure, the request is not sent again."""
    complaint = error("System message must be at the beginning")
    assert Repairs().cure(400, complaint, body("system", "user"), ()) is None


def test_what_helped_is_remembered_for_the_model() -> None:
    """B3, B6: what helped is done at once for that model and no other, in the order of the table."""
    repairs = Repairs()
    assert repairs.apply_known("m", BAD) == (BAD, ())
    repairs.worked("m", [USERS])
    repairs.worked("m", [SYSTEM, SLIM])
    cured, sentences = repairs.apply_known("m", BAD)
    assert sentences == (SLIM.done, SYSTEM.done, USERS.done)
    assert [message["role"] for message in json.loads(cured)["messages"]] == ["system", "user", "assistant"]
    assert b"pattern" not in cured
    assert repairs.apply_known("m", cured) == (cured, ())
    assert repairs.apply_known("other", BAD) == (BAD, ())
    good = body("system", "user").replace(b'"pattern":"^(a$",', b"")
    assert repairs.apply_known("m", good) == (good, ())


def test_nothing_that_helped_is_nothing_to_remember() -> None:
    """An answer without any cure leaves no trace."""
    repairs = Repairs()
    repairs.worked("m", [])
    assert repairs.apply_known("m", BAD) == (BAD, ())


def test_memory_is_bounded() -> None:
    """Clients that invent names of models make no memory grow: the eldest of 64 is forgotten."""
    repairs = Repairs()
    for number in range(64):
        repairs.worked(str(number), [SYSTEM])
    repairs.worked("0", [SLIM])
    repairs.worked("64", [SYSTEM])
    known = [bool(repairs.apply_known(str(number), BAD)[1]) for number in range(65)]
    assert known == [True, False, *[True] * 63]


def test_each_row_says_what_it_does() -> None:
    """The log's sentences differ, so that a reader sees which cure it was."""
    assert len({repair.done for repair in REPAIRS}) == len(REPAIRS)
