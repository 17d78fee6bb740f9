"""How do Copilot's clients beside VS Code do the same: the language server of other editors, and the CLI?"""

import re
from typing import Any

from tests.real.generations import (
    Generation,
    Messages,
    Model,
    Said,
    VSCode029,
    VSCode036,
    VSCode037,
    VSCode042,
    VSCode067,
    shown_model,
)
from tests.real.processes import Server
from tests.unit.copilot_parser import CopilotCLI, LanguageServer


class JetBrains(Generation):
    """The Copilot language server: every answer has to be a 2xx."""

    name = "language server 1.539"
    agent = "GithubCopilot/1.539.0"
    parser = LanguageServer

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def discover(self, server: Server) -> list[Model]:
        version = re.split(r"[+-]", self.get(server, "/api/version")["version"].removeprefix("v"))[0]
        assert [int(part) for part in version.split(".")] >= [0, 6, 4]
        models = []
        for tag in self.get(server, "/api/tags")["models"]:
            if tag["digest"] not in self.known:
                self.known[tag["digest"]] = self.show(server, tag["model"])
            show = self.known[tag["digest"]]
            if "completion" in show["capabilities"]:
                models.append(shown_model(tag["model"], show, 32768))
        return models

    def body(self, model: str, messages: Messages, tools: list[Any]) -> dict[str, Any]:
        sampled = {"temperature": 0, "top_p": 1, "n": 1, "stream": True}
        return {"messages": messages, "model": model, **sampled, "tools": tools, "tool_choice": "auto"}

    def shown(self, status: int, body: str) -> str:
        return body if status == 503 else f"unhandled status from server: {status} {body}"

    def turn(self, said: Said) -> dict[str, Any]:
        thought = {"reasoning_opaque": said.thought_id, "reasoning_text": said.reading.thoughts}
        return {**super().turn(said), **(thought if said.thought_id else {})}


class CLI(Generation):
    """The Copilot CLI: it asks for no list, and takes the model that its user has named."""

    name = "Copilot CLI 1.0.102"
    agent = "OpenAI/JS 5.20.1"
    parser = CopilotCLI

    def discover(self, server: Server) -> list[Model]:
        return [Model("tiny", "tiny", True, 128_000)]

    def headers(self, follows_up: bool) -> dict[str, str]:
        return {
            "Accept": "application/json",
            "User-Agent": self.agent,
            "X-Stainless-Lang": "js",
            "Authorization": "Bearer ",
            "X-Initiator": "agent" if follows_up else "user",
            "Accept-Encoding": "zstd, gzip, deflate, br",
        }

    def body(self, model: str, messages: Messages, tools: list[Any]) -> dict[str, Any]:
        asked = {"model": model, "messages": messages, **({"tools": tools} if tools else {})}
        return {**asked, "stream": True, "stream_options": {"include_usage": True}}

    def shown(self, status: int, body: str) -> str:
        return f"{status} {body}"

    def turn(self, said: Said) -> dict[str, Any]:
        turn = {**super().turn(said), "content": said.reading.text or None, "refusal": None}
        return {**turn, **({"reasoning_content": said.reading.thoughts} if said.reading.thoughts else {})}


GENERATIONS: tuple[type[Generation], ...] = (
    VSCode029,
    VSCode036,
    VSCode037,
    VSCode042,
    VSCode067,
    JetBrains,
    CLI,
)
