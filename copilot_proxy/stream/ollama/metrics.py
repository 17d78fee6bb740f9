"""What did an answer cost? Ollama's six numbers, from llama-server's `timings` or from what was measured.

Sources: llama-server's `timings` and how Ollama reads them (ollama, llm/llama_server.go, fb30760); its tests
want every number of the last line above zero, and its own type leaves a zero out (api/types.go).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypedDict

from .chunk import Timings, Usage

_NS_PER_MS: Final = 1_000_000
_NS_PER_S: Final = 1_000_000_000
_MOST: Final = 2**53
"""Above it a client's numbers are not exact, and no count or time of ours comes near."""


class Numbers(TypedDict):
    """Counts of tokens, and durations in nanoseconds; 0 where nothing is known."""

    total_duration: int
    load_duration: int
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int


def _bounded(number: float) -> int:
    return round(min(max(number, 0), _MOST))


class Metrics:
    """The numbers of one answer; `seconds` is a clock that never goes back."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._first: float | None = None
        self._finished: float | None = None
        self._pieces = 0
        self._timings: Timings | None = None
        self._usage: Usage | None = None

    def came(self) -> None:
        """A piece of the answer is here; llama-server sends one for each token."""
        self._pieces += 1
        if self._first is None:
            self._first = self._seconds()

    def told(self, timings: Timings | None, usage: Usage | None) -> None:
        """What upstream says itself; the last word counts."""
        self._timings = timings or self._timings
        self._usage = usage or self._usage

    def finished(self) -> None:
        """The model has said its last."""
        self._finished = self._seconds()

    def numbers(self, started: float, loaded: float) -> Numbers:
        """The six numbers, as far as they are known now, of a request that came and got its model then."""
        now = self._seconds()
        first = now if self._first is None else self._first
        finished = now if self._finished is None else self._finished
        told = self._timings or Timings()
        prompt, spent = told.cache_n + told.prompt_n, told.prompt_ms * _NS_PER_MS
        if prompt <= 0:
            prompt = 0 if self._usage is None else self._usage.prompt_tokens
            spent = (first - loaded) * _NS_PER_S
        answer, took = told.predicted_n, told.predicted_ms * _NS_PER_MS
        if answer <= 0:
            answer = self._pieces if self._usage is None else self._usage.completion_tokens
            took = (finished - first) * _NS_PER_S
        return {
            "total_duration": max(1, _bounded((now - started) * _NS_PER_S)),
            "load_duration": max(1, _bounded((loaded - started) * _NS_PER_S)),
            "prompt_eval_count": _bounded(prompt),
            "prompt_eval_duration": max(1, _bounded(spent)) if prompt > 0 else 0,
            "eval_count": _bounded(answer),
            "eval_duration": max(1, _bounded(took)) if answer > 0 else 0,
        }
