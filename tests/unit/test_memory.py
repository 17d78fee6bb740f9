"""Is reasoning kept for the calls that are still asked for, and no more of it than there is room for?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from copilot_proxy.memory import Memory


def test_each_call_of_an_answer_has_its_reasoning() -> None:
    """The calls of one answer share what was thought before them; any other id is not known."""
    memory = Memory()
    memory.remember(["a", "b"], "I need both.")
    assert [memory.recall(identity) for identity in ("a", "b", "c")] == ["I need both.", "I need both.", None]


def test_the_longest_unused_is_forgotten_first() -> None:
    """A call that a client still asks for outlives newer ones."""
    memory = Memory(calls=2)
    memory.remember(["a"], "first")
    memory.remember(["b"], "second")
    assert memory.recall("a") == "first"
    memory.remember(["c"], "third")
    assert [memory.recall(identity) for identity in ("a", "b", "c")] == ["first", None, "third"]


def test_an_id_that_comes_again_has_the_newer_reasoning() -> None:
    """A server may count its calls from 0 in each answer."""
    memory = Memory(characters=10)
    memory.remember(["a"], "12345678")
    memory.remember(["a"], "8765")
    memory.remember(["b"], "123456")
    assert [memory.recall("a"), memory.recall("b")] == ["8765", "123456"]


@given(st.lists(st.tuples(st.lists(st.sampled_from("abcdef"), max_size=3), st.text(max_size=30))))
def test_bounds(answers: list[tuple[list[str], str]]) -> None:
    """There are never more calls or characters than allowed, and the newest call that fits is known."""
    memory = Memory(calls=3, characters=40)
    for ids, reasoning in answers:
        memory.remember(ids, reasoning)
        kept = [text for identity in "abcdef" if (text := memory.recall(identity)) is not None]
        assert len(kept) <= 3
        assert sum(map(len, kept)) <= 40
        if ids and len(reasoning) <= 13:
            assert memory.recall(ids[-1]) == reasoning
