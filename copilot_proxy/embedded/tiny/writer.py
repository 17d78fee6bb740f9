"""Where is the tiny model's file, and who makes it?

A file is never seen half written: it grows under a temporary name beside its place and is moved there whole.
So any number of processes may ask at one moment: each may write its own copy, and all copies are the same.
"""

import hashlib
import os
from pathlib import Path
from uuid import uuid4

CONTEXT_LENGTH = 131072  # tokens, as the file declares
SOURCES = Path(__file__).parent


def write(path: Path, *, seed: int = 1, context_length: int = CONTEXT_LENGTH) -> None:
    """Put the model at `path`, whole or not at all; the same arguments give the same bytes.

    Raises OSError where the folder cannot be made or written, ImportError without numpy and gguf.
    """
    # numpy and gguf cost 0.2 s and 20 MB, which a caller that finds its file never pays
    from . import model

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        model.save(temporary, seed=seed, context_length=context_length)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def cached() -> Path:
    """Give the path of the demo model in the user's cache folder, where it is made if it is missing.

    The name holds a digest of this package's sources: a changed generator makes a new file.
    Raises what `write` raises.
    """
    path = _folder() / f"tiny-{_digest()}.gguf"
    if not path.exists():
        write(path)
    return path


def _folder() -> Path:
    """Follow the XDG base directory specification: a relative or empty XDG_CACHE_HOME counts as unset."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(named) if os.path.isabs(named) else Path("~/.cache").expanduser()
    return base / "llama-copilot-proxy"


def _digest() -> str:
    sources = hashlib.sha256()
    for source in sorted(SOURCES.glob("*.py")):
        sources.update(source.read_bytes())
    return sources.hexdigest()[:12]
