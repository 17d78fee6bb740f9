"""How does each generation of VS Code's Copilot find a model, ask it, and go on after its answer?

Written from the sources of each: requests in the order, with the headers, keys and bodies of the
client; what it reads of a listing is read here as strictly, so that what would break it raises.
"""

import json
import math
import re
from typing import Any, NamedTuple

from tests.real.client import Answer, ask
from tests.real.processes import Server
from tests.unit.copilot_parser import ByIndex, Chat, Chat029, Chat042, Reading

Messages = list[dict[str, Any]]


class Model(NamedTuple):
    """What a client has found: what it sends as `model`, what it shows, and how much it sends at most."""

    id: str
    name: str
    tools: bool
    max_input: int


class Said(NamedTuple):
    """One answer as the client has read it. `failure` is what its user is told in place of an answer."""

    reading: Reading
    thought_id: str | None
    failure: str | None
    body: bytes


class Chat036(Chat042):
    """VS Code up to 1.108: an id that is not the last call's opens a new call."""

    looks_up_ids = False


def _at_least(version: str, *wanted: int) -> bool:
    """VS Code's comparison: each part by parseInt, what is none is 0."""
    digits = [re.match(r"\d+", part) for part in version.split(".")]
    parts = [int(found[0]) if found else 0 for found in digits]
    return (*parts, 0, 0)[:3] >= wanted


class Generation:
    """A client. `base` is the URL's path as its user has configured it."""

    name: str
    agent: str
    parser: type[Chat] | type[ByIndex]
    base = ""
    path = "/v1/chat/completions"

    def get(self, server: Server, path: str) -> Any:
        """Like VS Code, without a look at the status."""
        return ask(server, "GET", self.base + path, headers=self.discovery_headers()).json

    def show(self, server: Server, model: str) -> Any:
        return ask(server, "POST", self.base + "/api/show", {"model": model}, self.discovery_headers()).json

    def discovery_headers(self) -> dict[str, str]:
        return {"User-Agent": self.agent, "X-VSCode-User-Agent-Library-Version": "electron-fetch"}

    def discover(self, server: Server) -> list[Model]:
        raise NotImplementedError

    def headers(self, follows_up: bool) -> dict[str, str]:
        return {
            "User-Agent": self.agent,
            "Authorization": "Bearer ",
            "X-Request-Id": "0b0c9c2e-3d7e-4c5e-8f43-0d6ad4b0a1c5",
            "OpenAI-Intent": "conversation-other",
            "X-GitHub-Api-Version": "2025-05-01",
            "X-Interaction-Id": "7f7d1a0e",
            "X-Initiator": "agent" if follows_up else "user",
            "X-Interaction-Type": "conversation-agent",
            "Accept-Encoding": "gzip, deflate",
        }

    def body(self, model: str, messages: Messages, tools: list[Any]) -> dict[str, Any]:
        sampled = {"temperature": 0.1, "top_p": 1, "stream": True}
        asked = {"messages": messages, "model": model, **sampled, **({"tools": tools} if tools else {})}
        return {**asked, "n": 1, "stream_options": {"include_usage": True}}

    def chat(self, server: Server, model: str, messages: Messages, tools: list[Any]) -> Said:
        headers = self.headers(messages[-1]["role"] == "tool")
        body = self.body(model, messages, tools)
        return self.read(ask(server, "POST", self.base + self.path, body, headers))

    def read(self, answer: Answer) -> Said:
        if answer.status != 200:
            nothing = Reading("", "", [], None, [])
            return Said(nothing, None, self.shown(answer.status, answer.body.decode()), answer.body)
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        reading = self.parser().read(answer.body)
        found = re.search(rb'"cot_id":"([^"]+)"', answer.body)
        return Said(reading, found[1].decode() if found else None, reading.failure, answer.body)

    def shown(self, status: int, body: str) -> str:
        """chatMLFetcher.ts: of a 5xx the body is lost, and some statuses mean something else."""
        if status == 503:
            return "Rate limit exceeded"
        if status in (401, 403):
            return "the GitHub token is reset"
        return f"Server error: {status}" if status >= 500 else f"Request Failed: {status} {body}"

    def turn(self, said: Said) -> dict[str, Any]:
        """The assistant's message in the next request of the same turn."""
        return {"role": "assistant", "content": said.reading.text, "tool_calls": self.calls(said)}

    def calls(self, said: Said) -> list[dict[str, Any]]:
        return [
            {"id": identity, "function": {"name": name, "arguments": json.dumps(given)}, "type": "function"}
            for identity, (name, given) in zip(said.reading.ids, said.reading.calls, strict=True)
        ]


def shown_model(model: str, show: Any, default: float) -> Model:
    """What VS Code's built-in provider reads of a show; without `default` a lack of model_info breaks it."""
    info = show["model_info"] if math.isnan(default) else show.get("model_info", {})
    architecture = info["general.architecture"]
    context = info.get(f"{architecture}.context_length", 4096 if math.isnan(default) else int(default))
    output = context // 2 if context < 4096 else 4096
    name = info.get("general.basename") or model
    return Model(model, name, "tools" in show["capabilities"], context - output)


class VSCode029(Generation):
    name = "VS Code 1.102, Chat 0.29"
    agent = "GitHubCopilotChat/0.29.1"
    parser: type[Chat] = Chat029
    base = "/"  # the slash of a configured URL is not stripped

    def discover(self, server: Server) -> list[Model]:
        picked = [tag["model"] for tag in self.get(server, "/api/tags")["models"] if tag["name"]]
        return [shown_model(model, self.show(server, model), math.nan) for model in picked]


class VSCode036(VSCode029):
    name = "VS Code 1.108, Chat 0.36"
    agent = "GitHubCopilotChat/0.36.2"
    parser = Chat036
    base = ""

    def discover(self, server: Server) -> list[Model]:
        version = self.get(server, "/api/version")["version"]
        assert _at_least(version, 0, 6, 4), f"Ollama server version {version} is not supported"
        return super().discover(server)


class VSCode037(Generation):
    name = "VS Code 1.109, Chat 0.37"
    agent = "GitHubCopilotChat/0.37.1"
    parser = Chat042
    path = "/chat/completions"

    def discover(self, server: Server) -> list[Model]:
        """microsoft/vscode#293770: positions for ids, and everything else out of the entries of tags."""
        assert _at_least(self.get(server, "/api/version")["version"], 0, 6, 4)
        tags = self.get(server, "/api/tags")["models"]
        for tag in tags:
            self.show(server, tag["model"])
        return [
            Model(str(position), tag["name"], tag["toolCalling"], tag["maxInputTokens"])
            for position, tag in enumerate(tags)
            if tag["maxOutputTokens"] and isinstance(tag["vision"], bool)
        ]


class VSCode042(Generation):
    name = "VS Code 1.114, Chat 0.42"
    agent = "GitHubCopilotChat/0.42.0"
    parser: type[Chat] = Chat042

    def discover(self, server: Server) -> list[Model]:
        assert _at_least(self.get(server, "/api/version")["version"], 0, 6, 4)
        tags = self.get(server, "/api/tags")["models"]
        return [shown_model(tag["model"], self.show(server, tag["model"]), 32768) for tag in tags]

    def turn(self, said: Said) -> dict[str, Any]:
        thought = {"cot_id": said.thought_id, "cot_summary": said.reading.thoughts}
        return {**super().turn(said), **(thought if said.thought_id and said.reading.thoughts else {})}


class VSCode067(VSCode042):
    name = "VS Code 1.139, Chat 0.67"
    agent = "GitHubCopilotChat/0.67.0"
    parser = Chat
