"""Are the six numbers those of llama-server, or of a clock where it tells none?"""

from typing import Any

import pytest

from tests.unit.ollama_writer import SIX, Clock, completion, lines, recorded, stopped, written
from tests.unit.stream_writer import DONE, STOP, chunk, text

SECOND = 1_000_000_000
TIMINGS = {"cache_n": 3, "prompt_n": 10, "prompt_ms": 0.586, "predicted_n": 6, "predicted_ms": 1.397}


def numbers(*events: bytes, **more: Any) -> list[int]:
    """The six numbers of the last line, 0 where there is none."""
    last = written(*events, by=lines(**more))[-1]
    return [last.get(key, 0) for key in SIX]


def test_recorded_numbers() -> None:
    """What of the prompt came out of the cache counts too; milliseconds become nanoseconds."""
    assert numbers(*recorded("logprobs")) == [1, 1, 14, 581_000, 4, 11_161_000]
    assert numbers(*recorded("infill")) == [1, 1, 16, 704_000, 3, 575_000]


def test_timings_win() -> None:
    """llama-server's own timings are better than its counts, and the last ones count."""
    early = chunk({"content": "I"}, timings={**TIMINGS, "predicted_n": 1})
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    late = chunk({}, "stop", timings=TIMINGS, usage=usage)
    assert numbers(early, late, DONE)[2:] == [13, 586_000, 6, 1_397_000]


def test_total_and_load() -> None:
    """From the request to the last line, and to when the model was there; the load may be known late."""
    clock = Clock()
    by = lines(seconds=clock)
    by.loaded = 102.5
    clock.time = 107.25
    last = written(text("I"), STOP, by=by)[-1]
    assert last["total_duration"] == 7 * SECOND + SECOND // 4
    assert last["load_duration"] == 2 * SECOND + SECOND // 2


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}, (7, 9)),
        ({"prompt_tokens": "7", "completion_tokens": 9.0}, (7, 9)),
        ({"prompt_tokens": 7}, (0, 2)),
        (None, (0, 2)),
    ],
)
def test_measured(usage: object, counts: tuple[int, int]) -> None:
    """Without timings the clock tells how long it took, and without counts the pieces are counted."""
    clock = Clock()
    by = lines(seconds=clock)
    by.loaded = 101.0
    clock.time = 103.0
    out = by.feed(text("I"))
    clock.time = 104.5
    out += by.feed(text(" am") + chunk({}, "stop", usage=usage))
    clock.time = 110.0
    last = written(by=by)[-1]
    prompt, answer = counts
    assert out
    assert last.get("prompt_eval_count", 0) == prompt
    assert last.get("prompt_eval_duration", 0) == (2 * SECOND if prompt else 0)
    assert (last["eval_count"], last["eval_duration"]) == (answer, SECOND * 3 // 2)


def test_nothing_said() -> None:
    """An answer without a token has no number for it; the others are there."""
    assert numbers(STOP) == [1, 1, 0, 0, 0, 0]
    assert numbers(stopped()) == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("timings", "found"),
    [
        ({"prompt_n": 1, "prompt_ms": 0, "predicted_n": 1, "predicted_ms": 0}, [1, 1, 1, 1]),
        ({"prompt_n": 1e3, "prompt_ms": 1, "predicted_n": 2, "predicted_ms": 1}, [1000, 10**6, 2, 10**6]),
        ({"cache_n": None, "prompt_n": 2, "prompt_ms": 1, "predicted_n": "x"}, [2, 10**6, 1, 1]),
        ({"prompt_n": -1, "prompt_ms": -1, "predicted_n": -1, "predicted_ms": 1}, [0, 0, 1, 1]),
        (
            {"prompt_n": 10**30, "prompt_ms": 1e300, "predicted_n": 1, "predicted_ms": 1},
            [2**53, 2**53, 1, 10**6],
        ),
        ({"prompt_n": True}, [0, 0, 1, 1]),
        ("x", [0, 0, 1, 1]),
        ({}, [0, 0, 1, 1]),
    ],
)
def test_odd_timings(timings: object, found: list[int]) -> None:
    """Every number that leaves is one that a client can hold, and none is zero where tokens came."""
    assert numbers(text("I"), chunk({}, "stop", timings=timings))[2:] == found


def test_no_timings_of_a_completion() -> None:
    """A /completion without timings is measured like any other."""
    assert numbers(completion("I"), completion(" am"), stopped())[4] == 2
