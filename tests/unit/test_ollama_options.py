"""Do Ollama's options reach llama-server as Ollama itself would send them?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from copilot_proxy.dialects.ollama.options import OPTIONS, to_llama
from copilot_proxy.errors import BadOption

CONTEXT = 4096

# What Ollama 0.33 sends where a client says nothing (DefaultOptions in api/types.go)
DEFAULTS = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_last_n": 64,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "seed": -1,
    "n_keep": 4,
    "n_predict": 10 * CONTEXT,
}


def sent(options: Any, context_length: int | None = CONTEXT) -> dict[str, Any]:
    text = options if isinstance(options, str) else json.dumps(options, separators=(",", ":"))
    return to_llama(Raw(text), context_length=context_length)


@pytest.mark.parametrize("options", [None, Raw(b"null"), Raw(b"{}"), Raw(b'{"top_k":null,"stop":null}')])
def test_defaults(options: Raw | None) -> None:
    """Where nothing is said, every default of Ollama's is sent, always in the same order."""
    fields = to_llama(options, context_length=CONTEXT)
    assert fields == DEFAULTS
    assert list(fields) == list(DEFAULTS)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("temperature", "0.7", "temperature", 0.7),
        ("temperature", "0", "temperature", 0.0),
        ("temperature", "2", "temperature", 2.0),
        ("top_k", "20", "top_k", 20),
        ("top_k", "20.9", "top_k", 20),
        ("top_k", "-1.9", "top_k", -1),
        ("top_k", "2e1", "top_k", 20),
        ("top_p", "1", "top_p", 1.0),
        ("min_p", "0.05", "min_p", 0.05),
        ("typical_p", "0.5", "typical_p", 0.5),
        ("repeat_penalty", "1.1", "repeat_penalty", 1.1),
        ("presence_penalty", "-2", "presence_penalty", -2.0),
        ("frequency_penalty", "1.5", "frequency_penalty", 1.5),
        ("seed", "42", "seed", 42),
        ("seed", "4294967295", "seed", 4294967295),
        ("num_keep", "24", "n_keep", 24),
        ("num_keep", "-1", "n_keep", -1),
        ("stop", '["</s>","\\n"]', "stop", ["</s>", "\n"]),
        ("stop", '"</s>"', "stop", ["</s>"]),
        ("mirostat", "2", "mirostat", 2),
        ("mirostat_tau", "5", "mirostat_tau", 5.0),
        ("mirostat_eta", "0.1", "mirostat_eta", 0.1),
    ],
)
def test_values(name: str, value: str, field: str, expected: Any) -> None:
    """Each option has its field; an integer does for a number, and a fraction is cut off an integer."""
    fields = sent(f'{{"{name}":{value}}}')
    assert fields == {**DEFAULTS, field: expected}
    assert type(fields[field]) is type(expected)


@pytest.mark.parametrize(
    ("asked", "context_length", "expected"),
    [
        (-1, 4096, 40960),
        (-2, 4096, 40960),
        (0, 4096, 0),
        (1, 4096, 1),
        (40960, 4096, 40960),
        (40961, 4096, 40960),
        (-1, None, -1),
        (-2, None, -1),
        (-2, 0, -1),
        (100, None, 100),
        (2**40, None, 2**31 - 1),
    ],
)
def test_length_of_an_answer(asked: int, context_length: int | None, expected: int) -> None:
    """An open or enormous length is bounded to ten contexts; b11549 answers 400 to what is below -1."""
    assert sent({"num_predict": asked}, context_length)["n_predict"] == expected


@pytest.mark.parametrize(
    ("asked", "context_length", "expected"),
    [
        (0, 4096, 0),
        (64, 4096, 64),
        (-1, 4096, 4096),
        (2**40, 4096, 4096),
        (-1, None, 262144),
        (-1, 0, 262144),
    ],
)
def test_tokens_to_look_back(asked: int, context_length: int | None, expected: int) -> None:
    """-1 is the context for Ollama; b11549 answers 400 to it, and has memory for all that it is told."""
    assert sent({"repeat_last_n": asked}, context_length)["repeat_last_n"] == expected


@pytest.mark.parametrize(("asked", "expected"), [(-2, -1), (-(10**30), -1), (10**30, 2**31 - 1)])
def test_tokens_to_keep(asked: int, expected: int) -> None:
    """What b11549 answers 400 to becomes the nearest count that it takes."""
    assert sent({"num_keep": asked})["n_keep"] == expected


@pytest.mark.parametrize(("asked", "expected"), [("1e300", 2**63 - 1), ("-1e300", -(2**63))])
def test_integers_have_64_bits(asked: str, expected: int) -> None:
    """An integer beyond Go's becomes the largest or the smallest one."""
    assert sent(f'{{"seed":{asked}}}')["seed"] == expected


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ('{"temperature":"0.5"}', 'option "temperature" must be of type float32'),
        ('{"temperature":true}', 'option "temperature" must be of type float32'),
        ('{"temperature":1e999}', 'option "temperature" must be of type float32'),
        ('{"top_p":[]}', 'option "top_p" must be of type float32'),
        ('{"top_k":"40"}', 'option "top_k" must be of type integer'),
        ('{"seed":false}', 'option "seed" must be of type integer'),
        ('{"num_predict":{}}', 'option "num_predict" must be of type integer'),
        ('{"stop":5}', 'option "stop" must be of type array'),
        ('{"stop":{}}', 'option "stop" must be of type array'),
        ('{"stop":["a",1]}', 'option "stop" must be of an array of strings'),
        ('{"stop":[null]}', 'option "stop" must be of an array of strings'),
        ('{"num_ctx":"8192"}', 'option "num_ctx" must be of type integer'),
        ('{"main_gpu":"0"}', 'option "main_gpu" must be of type integer'),
        ('{"use_mmap":1}', 'option "use_mmap" must be of type boolean'),
    ],
)
def test_wrong_types(options: str, complaint: str) -> None:
    """Another type is refused with the status and the words of Ollama (FromMap in api/types.go)."""
    with pytest.raises(BadOption) as caught:
        sent(options)
    assert caught.value.message == complaint
    assert caught.value.status == 500


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_type_is_checked(option: Any) -> None:
    """Each option of Ollama's refuses an object, and each that it has dropped ignores one."""
    options: dict[str, Any] = {option.name: {}}
    if option.checked:
        with pytest.raises(BadOption):
            sent(options)
    else:
        assert sent(options) == DEFAULTS


@pytest.mark.parametrize(
    "options",
    [
        {"num_ctx": 8192, "num_batch": 1, "num_gpu": 99, "main_gpu": 0, "num_thread": 8, "use_mmap": False},
        {"draft_num_predict": 4},
        {
            "tfs_z": 1,
            "penalize_newline": True,
            "low_vram": "yes",
            "num_gqa": [],
            "Temperature": 2,
            "n_keep": 9,
        },
        {"mirostat": "1", "mirostat_tau": None, "mirostat_eta": [0.1]},
        {"stop": []},
    ],
)
def test_ignored(options: dict[str, Any]) -> None:
    """What belongs to loading, what nobody knows, and what says nothing changes nothing."""
    assert sent(options) == DEFAULTS


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def outcome(options: dict[str, Any], context_length: int | None) -> dict[str, Any] | str:
    try:
        return sent(options, context_length)
    except BadOption as refusal:
        return refusal.message


@given(
    st.dictionaries(st.sampled_from([option.name for option in OPTIONS]), ANYTHING),
    st.none() | st.integers(1, 10**6),
)
def test_anything(options: dict[str, Any], context_length: int | None) -> None:
    """Whatever a client writes is refused in Ollama's words or is within what llama-server takes."""
    fields = outcome(options, context_length)
    assert fields == outcome(options, context_length)
    if isinstance(fields, str):
        assert fields.startswith('option "')
        return
    assert -1 <= fields["n_predict"] < 2**31
    assert -1 <= fields["n_keep"] < 2**31
    assert 0 <= fields["repeat_last_n"] < 2**31
    assert all(isinstance(word, str) for word in fields.get("stop", ()))
    json.dumps(fields, allow_nan=False)
