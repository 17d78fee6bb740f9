"""The tiny model: the same bytes each time, and never half a file."""

import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from gguf import GGUFReader
from hypothesis import given
from hypothesis import strategies as st

from copilot_proxy.embedded.tiny import behaviour, model, template, vocabulary, weights, writer

WORDS = vocabulary.build()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "llama-copilot-proxy"


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    """The same seed gives the same bytes, and another seed gives others of the same length."""
    first, again, other = (tmp_path / name for name in ("first.gguf", "again.gguf", "other.gguf"))
    writer.write(first, seed=1)
    writer.write(again, seed=1)
    writer.write(other, seed=2)
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    assert first.stat().st_size == other.stat().st_size < 2_000_000


def test_file_says_what_it_is(tmp_path: Path) -> None:
    """The file declares its context length and its chat template, and that <|im_end|> ends a turn."""
    path = tmp_path / "tiny.gguf"
    writer.write(path, context_length=4096)
    file = GGUFReader(path)
    fields = {name: field.contents() for name, field in file.fields.items()}
    assert fields["general.architecture"] == "llama"
    assert fields["llama.context_length"] == 4096
    assert fields["llama.block_count"] == 1
    assert fields["tokenizer.chat_template"] == template.CHAT_TEMPLATE
    tokens = cast(list[str], fields["tokenizer.ggml.tokens"])
    assert len(tokens) == 1339
    assert tokens[cast(int, fields["tokenizer.ggml.eos_token_id"])] == "<|im_end|>"
    assert {tensor.name: tuple(tensor.shape) for tensor in file.tensors}["output.weight"] == (128, 1339)


def test_embeddings_have_rms_one() -> None:
    """Every embedding has a root mean square of 1, so the first normalization changes nothing."""
    embedding = weights.build(WORDS, seed=3).embedding
    np.testing.assert_allclose((embedding**2).mean(axis=1), 1.0)


def test_bigrams_do_not_interfere() -> None:
    """The tokens after which something is made likely are orthogonal in the random dimensions."""
    embedding = weights.build(WORDS, seed=1).embedding
    sources = embedding[[WORDS.id(text) for text in behaviour.bigram_sources()], weights.RANDOM :]
    products = sources @ sources.T
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0, atol=1e-9)


def test_sentences_have_no_word_twice() -> None:
    """No word occurs in two places of the sentences: a bigram chain could not tell them apart."""
    words = [word for chain in vocabulary.chains() for word in chain[:-1]]
    assert len(words) == len(set(words))


@given(st.text())
def test_every_text_has_tokens(text: str) -> None:
    """Any text at all can be written in tokens of one byte each."""
    assert WORDS.ids.keys() >= set(vocabulary.encoded(text))


def test_merges_make_tokens() -> None:
    """Each merge joins two tokens into a third."""
    for merge in WORDS.merges:
        left, right = merge.split(" ")
        assert {left, right, left + right} <= WORDS.ids.keys()


def test_cache_is_made_once(cache: Path) -> None:
    """The first call makes the file in the cache folder, and the second leaves it as it is."""
    made = writer.cached()
    before = made.stat()
    assert made.parent == cache
    assert writer.cached() == made
    assert made.stat().st_mtime_ns == before.st_mtime_ns
    assert made.stat().st_ino == before.st_ino


def test_cache_is_safe_for_two_starts_at_once(cache: Path) -> None:
    """Several calls at one moment give one whole file, and leave nothing beside it."""
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: writer.cached(), range(4)))
    (made,) = paths
    assert os.listdir(cache) == [made.name]
    assert len(GGUFReader(made).tensors) == 12


def test_failed_write_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half way leaves neither the file nor its beginning."""

    def full(path: Path, **arguments: object) -> None:
        path.write_bytes(b"GGUF")
        raise OSError("No space left on device")

    monkeypatch.setattr(model, "save", full)
    with pytest.raises(OSError, match="No space"):
        writer.cached()
    assert os.listdir(cache) == []


def test_changed_generator_makes_a_new_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's name depends on the sources that make it."""
    name = writer.cached().name
    changed = shutil.copytree(writer.SOURCES, cache.parent / "changed")
    monkeypatch.setattr(writer, "SOURCES", changed)
    assert writer.cached().name == name
    with (changed / "weights.py").open("a") as source:
        source.write("# changed")
    assert writer.cached().name != name


@pytest.mark.parametrize("value", ["", "relative/folder", None])
def test_cache_without_a_usable_variable(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where XDG_CACHE_HOME is unset, empty or relative, the cache is in ~/.cache."""
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    asked: list[Path] = []
    monkeypatch.setattr(writer, "write", asked.append)
    assert asked == [writer.cached()]
    assert asked[0].parent == Path("/home/someone/.cache/llama-copilot-proxy")


def test_markers_have_flags_of_their_own() -> None:
    """No two markers share a dimension, and none takes one that has another use."""

    def distinct(values: Iterable[int]) -> set[int]:
        listed = list(values)
        assert len(listed) == len(set(listed))
        return set(listed)

    flags = distinct(marker.flag for marker in behaviour.MARKERS.values())
    counts = distinct(weights.COUNTS + signal for signal in behaviour.Signal)
    features = distinct(weights.FEATURES + signal for signal in behaviour.Signal)
    distinct([weights.CONSTANT, weights.MAY_CALL, *flags, *counts, *features])
    assert max(features) < weights.RANDOM
