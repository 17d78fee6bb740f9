"""The addresses `demo:` and `llama:`: what they become, and what is said where they cannot be served."""

import importlib.util
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_proxy.embedded import address, serve

PRIVATE = ["--cors-origins", "http://127.0.0.1"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "some model.gguf"
    path.write_bytes(b"GGUF")
    return path


def test_demo() -> None:
    """`demo:` is the demo model, closed to other web sites, and everything else as serve has it."""
    assert address.parse("demo:") == ["demo:", *PRIVATE]


def test_model(model: Path) -> None:
    """`llama:` names a file, which may have a blank in its path."""
    assert address.parse(f"llama:{model}") == [str(model), *PRIVATE]


def test_relative_path_becomes_absolute(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is read where the proxy was started, wherever the daemon goes later."""
    monkeypatch.chdir(model.parent)
    assert address.parse(f"llama:{model.name}")[0] == str(model)


def test_home(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """~ is the user's home, as a shell leaves it alone behind a colon."""
    monkeypatch.setenv("HOME", str(model.parent))
    assert address.parse(f"llama:~/{model.name}")[0] == str(model)


def test_settings(model: Path) -> None:
    """Each key of the query becomes an option of serve, with the value as it is written."""
    arguments = address.parse(f"llama:{model}?ctx=8192&parallel=2&threads=8&alias=-x%20y")
    assert arguments[3:] == ["--ctx-size=8192", "--parallel=2", "--threads=8", "--alias=-x y"]


@pytest.mark.parametrize("kind", ["demo:", "llama:"])
def test_serve_takes_what_it_gives(kind: str, model: Path) -> None:
    """What the parser gives is what serve's own parser accepts."""
    text = f"{kind}{model if kind == 'llama:' else ''}?ctx=0&parallel=1&threads=1&alias=-a,b"
    options = vars(serve._parser().parse_args(address.parse(text)))
    assert options["-c --ctx-size"] == 0
    assert options["--alias"] == ["-a", "b"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("http://127.0.0.1:1", "not an embedded upstream"),
        ("llama", "not an embedded upstream"),
        ("demo:model.gguf", "write llama:model.gguf"),
        ("llama:", "needs the path of a model"),
        ("llama:/nowhere/at/all.gguf", "there is no model file /nowhere/at/all.gguf"),
        ("llama:/", "there is no model file /"),
        ("demo:?contxt=1", "contxt: an embedded upstream knows ctx, parallel, threads, alias"),
        ("demo:?ctx=many", "ctx=many: needs a whole number from 0 on"),
        ("demo:?ctx=-1", "ctx=-1: needs a whole number from 0 on"),
        ("demo:?ctx=1.5", "needs a whole number"),
        ("demo:?ctx=\u0663", "needs a whole number"),
        ("demo:?ctx", "ctx=: needs a whole number"),
        ("demo:?parallel=0", "parallel=0: needs a whole number from 1 on"),
        ("demo:?threads=0", "threads=0: needs a whole number from 1 on"),
        ("demo:?alias=", "alias= needs a value"),
    ],
)
def test_complaints(text: str, complaint: str) -> None:
    """An address that cannot be served is refused in one line that says what is wrong."""
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as refused:
        address.parse(text)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("demo:", "xllamacpp"), ("demo:", "numpy"), ("demo:", "gguf"), ("llama:", "xllamacpp")],
)
def test_missing_wheel(kind: str, missing: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages that it needs the address says how to install them."""
    monkeypatch.setattr(address, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(ValueError, match=r"pip install 'llama-copilot-proxy\[embedded\]'"):
        address.parse(kind if kind == "demo:" else f"{kind}{model}")


def test_model_needs_no_numpy(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of the user's needs xllamacpp, and not what makes the demo model."""
    monkeypatch.setattr(
        address, "find_spec", lambda name: importlib.util.find_spec(name) if name == "xllamacpp" else None
    )
    assert address.parse(f"llama:{model}")[0] == str(model)


@given(st.text())
def test_nothing_but_value_error(text: str) -> None:
    """Whatever is written, the answer is a list of arguments or a ValueError."""
    for kind in ("demo:", "demo:?", "llama:", "llama:/?", ""):
        with suppress(ValueError):
            assert address.parse(kind + text)
