"""How many tokens an answer cost, read from its last bytes.

`usage` stands in an answer's last chunk (OpenAI API, stream_options.include_usage), or at the end of a whole
answer; llama-server adds `timings` to the last chunk even without it. The last line of an answer for
a client of Ollama's counts as Ollama does.
"""

from __future__ import annotations

import re

from attrs import frozen


@frozen
class Tokens:
    """The counts that upstream told: of the prompt, and of what was generated."""

    prompt: int
    completion: int


# each row: the keys whose numbers count the prompt and the completion, and one more that adds to the prompt
# (`cache_n`: the part of it that llama.cpp had in its cache already). Ollama's come first: before them stand
# the arguments of tool calls, which are objects there, and may have any key.
_SOURCES = (
    (b"prompt_eval_count", b"eval_count", None),
    (b"prompt_tokens", b"completion_tokens", None),
    (b"prompt_n", b"predicted_n", b"cache_n"),
)


def _last(tail: bytes, key: bytes | None) -> int | None:
    if key is None:
        return 0
    found = re.findall(rb'"%s"\s*:\s*(\d+)' % key, tail)
    return int(found[-1]) if found else None


def tokens(tail: bytes) -> Tokens | None:
    """The counts in the last bytes of an answer, or None where upstream did not tell them."""
    for prompt_key, completion_key, more_key in _SOURCES:
        prompt, completion, more = (_last(tail, key) for key in (prompt_key, completion_key, more_key))
        if prompt is not None and completion is not None:
            return Tokens(prompt + (more or 0), completion)
    return None
