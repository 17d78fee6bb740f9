"""What do the clients make of a stream? Models of their parsers, in which a deviation does what it did there.

Each is written from what its source does, or from what it did when a scripted server sent the deviation: VS
Code's Copilot Chat (vscode-copilot-chat, src/platform/networking/node/stream.ts, 0.29 to 0.67), the Copilot
language server 1.539, the Copilot CLI 1.0.102, openai's Python helper, opencode and the Continue CLI.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

NO_CHOICES = "Response contained no choices."
NO_RESPONSE = "No response from language model"
TOO_LONG = "Response too long."
FILTERED = "Response got filtered."
BAD_CALL = "Invalid JSON for tool call"


class Reading(NamedTuple):
    """What the user and the agent loop get. `failure` is what the user is told in place of an answer."""

    text: str
    thoughts: str
    calls: list[tuple[str, Any]]
    failure: str | None
    ids: list[str]


class Call:
    def __init__(self, identity: str, name: str) -> None:
        self.id = identity
        self.name = name
        self.arguments = ""


def _events(stream: bytes) -> Iterator[Any]:
    """The JSON of each line, as VS Code cuts them; what is none is logged there, and skipped."""
    for line in stream.decode(errors="replace").split("\n")[:-1]:
        if not line or line.startswith(":"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        try:
            yield json.loads(data)
        except ValueError:
            continue


def _thought(delta: dict[str, Any], keys: tuple[str, ...]) -> str:
    return next((delta[key] for key in keys if delta.get(key)), "")


def _parsed(calls: list[Call]) -> tuple[list[tuple[str, Any]], str | None]:
    try:
        return [(call.name, json.loads(call.arguments or "{}")) for call in calls], None
    except ValueError:
        return [], BAD_CALL


class Chat:
    """The algorithm of VS Code's stream.ts, which the language server shares; versions differ a little."""

    thought_keys: tuple[str, ...] = (
        "cot_summary",
        "reasoning_text",
        "reasoning_content",
        "reasoning",
        "thinking",
    )
    thought_swallows_delta = False
    looks_up_ids = True
    successes = frozenset({"stop", "tool_calls", "function_call"})

    def __init__(self) -> None:
        self.text = self.thoughts = ""
        self.calls: list[Call] = []
        self.seen = self.finished = False
        self.outcome: str | None = NO_CHOICES  # of the last completion, which wins
        self.emitted: list[Call] = []

    def read(self, stream: bytes) -> Reading:
        for value in _events(stream):
            if not isinstance(value, dict):
                continue
            if value.get("choices") is None:
                self.error(value)
                continue
            for choice in value["choices"]:
                if choice.get("index", 0) == 0 and not self.finished:
                    self.seen = True
                    self.choice(choice)
        if self.seen and not self.finished:
            self.outcome = NO_CHOICES
        calls, broken = _parsed(self.emitted)
        failure = self.outcome or broken
        if failure is None and not self.text and not calls:
            failure = NO_RESPONSE
        return Reading(self.text, self.thoughts, calls, failure, [call.id for call in self.emitted])

    def error(self, value: dict[str, Any]) -> None:
        if value.get("error"):
            self.outcome = json.dumps(value["error"])

    def choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta") or {}
        thinking = choice.get("message") or delta
        self.thoughts += _thought(thinking, self.thought_keys)
        swallowed = self.thought_swallows_delta and any(
            key.startswith("cot_") or key in ("reasoning_text", "reasoning_opaque") for key in delta
        )
        if swallowed:
            return  # with its finish reason
        if delta.get("tool_calls") is not None:
            for item in delta["tool_calls"]:
                self.call(item)
        else:
            self.text += delta.get("content") or ""
        if choice.get("finish_reason"):
            self.finish(choice["finish_reason"])

    def call(self, item: dict[str, Any]) -> None:
        identity = item.get("id")
        call = self.calls[-1] if self.calls else None
        if identity and self.looks_up_ids:
            call = next((known for known in self.calls if known.id == identity), None)
        elif identity and call is not None and call.id != identity:
            call = None
        function = item.get("function") or {}
        if call is None:
            call = Call(identity or "", function.get("name") or "")
            self.calls.append(call)
        if isinstance(function.get("arguments"), str):
            call.arguments += function["arguments"]
        elif function.get("arguments") is not None:
            call.arguments += "[object Object]"

    def finish(self, reason: str) -> None:
        self.finished = True
        outcomes = {"length": TOO_LONG, "content_filter": FILTERED}
        self.outcome = None if reason in self.successes else outcomes.get(reason, NO_CHOICES)
        if reason in ("stop", "tool_calls"):
            self.emitted = self.calls


class Chat029(Chat):
    """VS Code 1.102: thoughts are kept from the user, and a delta with any key of theirs is nothing else."""

    thought_keys = ("cot_summary", "reasoning_text", "thinking")
    thought_swallows_delta = True
    looks_up_ids = False


class Chat042(Chat):
    """VS Code up to about 1.121: `reasoning_content` is not known."""

    thought_keys = ("cot_summary", "reasoning_text", "thinking")


class LanguageServer(Chat):
    """An error inside the stream is only logged, and an item without `function` is a TypeError."""

    thought_keys = ("cot_summary", "reasoning_text", "thinking")

    def error(self, value: dict[str, Any]) -> None:
        pass

    def call(self, item: dict[str, Any]) -> None:
        item["function"].get("name")
        super().call(item)

    def finish(self, reason: str) -> None:
        super().finish(reason)
        if reason not in ("stop", "tool_calls", "length", "content_filter"):
            self.outcome = "No finish reason received."


class ByIndex:
    """What openai's helpers and those that learned from them do: calls are put together by their index."""

    thought_key = "reasoning_content"
    needs_choice_index = False
    needs_call_index = True
    needs_id = False
    needs_type = False
    needs_finish = False
    refuses: tuple[str, ...] = ()  # finish reasons that do not go with calls
    concatenates = False

    def read(self, stream: bytes) -> Reading:
        text = thoughts = role = ""
        calls: dict[int, dict[str, Any]] = {}
        finish = None
        for value in _events(stream):
            if value.get("error"):
                message = value["error"]["message"]
                return Reading(text, thoughts, [], message, [])
            if self.needs_id:
                assert isinstance(value["id"], str)
            for choice in value["choices"]:
                if self.needs_choice_index:
                    assert type(choice["index"]) is int
                delta = choice["delta"]
                role += delta.get("role") or ""
                text += delta.get("content") or ""
                thoughts += delta.get(self.thought_key) or ""
                for item in delta.get("tool_calls") or []:
                    self.add(calls, item)
                finish = choice.get("finish_reason") or finish
        if self.concatenates and role not in ("", "assistant"):
            return Reading(text, thoughts, [], f"role {role}", [])
        if self.needs_finish and finish is None:
            return Reading(text, thoughts, [], "no finish reason", [])
        if calls and finish in self.refuses:
            return Reading(text, thoughts, [], f"calls with {finish}", [])
        read, broken = self.judged(list(calls.values()))
        return Reading(text, thoughts, read, broken, [call["id"] for call in calls.values()])

    def add(self, calls: dict[int, dict[str, Any]], item: dict[str, Any]) -> None:
        index = item["index"] if self.needs_call_index else item.get("index", 0)
        call = calls.setdefault(index, {"id": "", "type": "", "name": "", "arguments": ""})
        function = item.get("function") or {}
        for key, value in (("id", item.get("id")), ("name", function.get("name"))):
            call[key] = call[key] + (value or "") if self.concatenates else call[key] or value or ""
        call["type"] = call["type"] or item.get("type") or ""
        call["arguments"] += function.get("arguments") or ""

    def judged(self, calls: list[dict[str, Any]]) -> tuple[list[tuple[str, Any]], str | None]:
        for call in calls:
            if self.needs_id and not call["id"]:
                return [], "a call without an id"
            if self.needs_type and call["type"] != "function":
                return [], "a call without a type"
        read = []
        for call in calls:
            one = Call(call["id"], call["name"])
            one.arguments = call["arguments"]
            read.append(one)
        return _parsed(read)


class CopilotCLI(ByIndex):
    thought_key = "reasoning_text"
    needs_call_index = False
    needs_id = True
    needs_type = True


class OpenAIPython(ByIndex):
    needs_choice_index = True
    needs_finish = True
    refuses = ("stop", "length")
    concatenates = True


class OpenCode(ByIndex):
    needs_finish = True
    needs_id = True


class ContinueCLI(ByIndex):
    needs_id = True


VS_CODE: tuple[type[Chat], ...] = (Chat029, Chat042, Chat)
CLIENTS: tuple[Callable[[], Chat | ByIndex], ...] = (
    *VS_CODE,
    LanguageServer,
    CopilotCLI,
    OpenAIPython,
    OpenCode,
    ContinueCLI,
)
