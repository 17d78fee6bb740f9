"""How many tokens do the last bytes of an answer tell?"""

from __future__ import annotations

import pytest

from copilot_proxy.stream.usage import Tokens, tokens

USAGE = b'"usage":{"completion_tokens":34,"prompt_tokens":12,"total_tokens":46}'
TIMINGS = b'"timings":{"cache_n":236,"prompt_n":1,"prompt_ms":30.9,"predicted_n":35,"predicted_ms":661.0}'
OLLAMAS = b'{"done":true,"prompt_eval_count":12,"prompt_eval_duration":5,"eval_count":34}\n'


@pytest.mark.parametrize(
    ("tail", "told"),
    [
        (b"", None),
        (b"data: [DONE]\n\n", None),
        (b'data: {"choices":[],' + USAGE + b"}\n\ndata: [DONE]\n\n", Tokens(12, 34)),
        (b'{ "usage" : { "prompt_tokens" : 12, "completion_tokens":\n34 } }', Tokens(12, 34)),
        (b"{" + TIMINGS + b"}", Tokens(237, 35)),
        (b'{"timings":{"prompt_n":1,"predicted_n":35}}', Tokens(1, 35)),
        (OLLAMAS, Tokens(12, 34)),
        (b'{"arguments":{"prompt_tokens":1,"completion_tokens":2}}\n' + OLLAMAS, Tokens(12, 34)),
        (b'{"arguments":{"prompt_eval_count":1,"eval_count":2},' + OLLAMAS[1:], Tokens(12, 34)),
        (b"{" + USAGE + b"," + TIMINGS + b"}", Tokens(12, 34)),
        (b"{" + USAGE + b"}{" + USAGE.replace(b"34", b"35") + b"}", Tokens(12, 35)),
        (b'{"usage":{"prompt_tokens":12}}', None),
        (b'{"usage":null}', None),
        (b'{"delta":{"content":"\\"prompt_tokens\\":1,\\"completion_tokens\\":2"}}', None),
    ],
)
def test_tokens(tail: bytes, told: Tokens | None) -> None:
    """`usage` counts before `timings`, the last before earlier ones, and what the model writes never."""
    assert tokens(tail) == told
