"""What could the log say of one stream? Sentences that quote nothing of it, each once."""

from __future__ import annotations

from collections import Counter


class Notes:
    """Collects sentences, and counts those that come again."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def add(self, sentence: str) -> None:
        self._times[sentence] += 1

    def sentences(self) -> tuple[str, ...]:
        """In the order in which each came first."""
        return tuple(text if times == 1 else f"{text} ({times} times)" for text, times in self._times.items())
