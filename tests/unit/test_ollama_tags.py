"""Are thoughts between tags told from the text, wherever the stream is cut?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_proxy.stream.ollama.line import Shape
from copilot_proxy.stream.ollama.tags import Tags
from tests.unit.ollama_writer import completion, content, lines, stopped, thinking, written

CASES = [
    ("I am.", False, "", "I am."),
    (" I am.", False, "", " I am."),
    ("  ", False, "", "  "),
    ("", False, "", ""),
    ("<think>Hm.</think>I am.", False, "Hm.", "I am."),
    ("\n<think>\nHm.\n\nSo. \n</think>\n\n I am. ", False, "Hm.\n\nSo.", "I am. "),
    ("<think></think>I am.", False, "", "I am."),
    ("<think>\n\n</think>\n\nI am.", False, "", "I am."),
    ("<think>Hm.", False, "Hm.", ""),
    ("<think>Hm. </thi", False, "Hm. </thi", ""),
    ("<think>Hm. ", False, "Hm.", ""),
    ("<thi", False, "", "<thi"),
    (" <thinking>", False, "", " <thinking>"),
    ("a <think>b</think>", False, "", "a <think>b</think>"),
    ("<think>a < b </ b </thin> c</think>d", False, "a < b </ b </thin> c", "d"),
    ("<think>a</think>b</think>c", False, "a", "b</think>c"),
    ("\nHm.\n</think>\nI am.", True, "Hm.", "I am."),
    ("Hm.", True, "Hm.", ""),
    ("</think>I am.", True, "", "I am."),
    ("", True, "", ""),
]


def split(pieces: list[str], opened: bool) -> tuple[str, str]:
    tags = Tags(opened=opened)
    found = [*map(tags.split, pieces), tags.rest()]
    return "".join(one.thinking for one in found), "".join(one.content for one in found)


@pytest.mark.parametrize(("text", "opened", "thought", "said"), CASES)
def test_split(text: str, opened: bool, thought: str, said: str) -> None:
    """In one piece, letter by letter, and cut anywhere once."""
    cuts = [[text[:at], text[at:]] for at in range(len(text) + 1)]
    for pieces in ([text], list(text), *cuts):
        assert split(pieces, opened) == (thought, said), pieces


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<", "</th", "ink>", " ", "\n", "a", "b c"]), max_size=12
    ),
    st.booleans(),
    st.data(),
)
def test_cuts_change_nothing(parts: list[str], opened: bool, data: st.DataObject) -> None:
    """However a text is cut, both parts are the same."""
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(pieces, opened) == split([text], opened)


def test_thoughts_stream() -> None:
    """A thought leaves when it comes; only a tag that may be beginning waits, with the blanks before it."""
    tags = Tags(opened=False)
    assert [tags.split(piece).thinking for piece in ("<think>", "\n", "Hm", ". ", "So", " <", "b")] == [
        "", "", "Hm", ".", " So", "", " <b",
    ]  # fmt: skip


def test_completion_with_tags() -> None:
    """The thoughts of a /completion are thinking, and what was held at its end is not lost."""
    pieces = ["<think>", "Hm", ".", "</thi", "nk>", "\n\n", "I am", "."]
    by = lines(Shape.GENERATE, splits_tags=True)
    found = written(*map(completion, pieces), stopped(), by=by)
    assert (thinking(found), content(found), by.text) == ("Hm.", "I am.", "I am.")
    found = written(
        completion("Hm. </th"), stopped(), by=lines(Shape.GENERATE, splits_tags=True, opened=True)
    )
    assert (thinking(found), content(found)) == ("Hm. </th", "")
    found = written(completion("<think>"), stopped())
    assert content(found) == "<think>"
