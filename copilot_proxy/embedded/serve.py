"""What runs llama.cpp's HTTP server, out of the xllamacpp wheel, as a process of its own?

    python -m copilot_proxy.embedded.serve model.gguf --port 0 --alias my-model

Once the model is loaded, one line on stdout says `listening on http://127.0.0.1:PORT`; before that the port
answers 503 "Loading model". llama.cpp's log goes to stderr. A failed start ends with one line there that
begins `cannot serve`, and with exit status 1.

xllamacpp holds Python's global lock while a model loads, which may take minutes, so no Python code can run
then: no signal handler, no thread. Hence the kernel's default actions end the process until the server is up.
"""

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from .address import DEMO

MEAN, RANK = 1, 4  # llama.h, enum llama_pooling_type
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _names(text: str) -> list[str]:
    return text.split(",")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class Option(NamedTuple):
    """An option, named as llama-server names it, and the fields of xllamacpp's CommonParams that it sets.

    With a tuple of fields it takes a value for them; with a mapping it takes none and sets the values there.
    A default of None leaves to llama.cpp what a field holds.
    """

    flags: str
    fields: tuple[str, ...] | Mapping[str, object]
    help: str
    type: Callable[[str], object] = int
    default: object = None


OPTIONS = (
    Option("--port", ("port",), "TCP port on 127.0.0.1; 0 (default): any free one", default=0),
    Option("--alias", ("model_alias",), "names of the model, with commas between them", type=_names),
    Option("--api-key", ("api_keys",), "keys, with commas between them; a request needs one", type=_names),
    Option("-c --ctx-size", ("n_ctx",), "tokens (default 32768); 0: as in the model", default=32768),
    Option("-np --parallel", ("n_parallel",), "slots; -1 (default): 4 that share the context", default=-1),
    Option(
        "-t --threads",
        ("cpuparams.n_threads", "cpuparams_batch.n_threads"),
        "-1: as many as there are cores (default, but 1 for the demo model)",
    ),
    Option("--threads-http", ("n_threads_http",), "threads that answer requests"),
    Option("-n --predict", ("n_predict",), "most tokens of an answer; -1: no limit"),
    Option("--temp", ("sampling.temp",), "temperature where a request names none", type=float),
    Option("--seed", ("sampling.seed",), "seed where a request names none"),
    Option("--chat-template-file", ("chat_template",), "a Jinja file, not the model's template", type=_text),
    Option("--no-jinja", {"use_jinja": False}, "llama.cpp's own templates, without tools"),
    Option("--embeddings", {"embedding": True, "pooling_type": MEAN}, "serve embeddings, pooled by mean"),
    Option("--rerank", {"embedding": True, "pooling_type": RANK}, "serve reranking"),
    Option("--metrics", {"endpoint_metrics": True}, "serve /metrics"),
    Option("--props", {"endpoint_props": True}, "accept POST /props"),
    Option("--no-slots", {"endpoint_slots": False}, "do not serve /slots"),
    Option("--cors-origins", ("cors_origins",), "web sites that may ask (default: all)", type=str),
    Option("--cache-ram", ("cache_ram_mib",), "MiB of memory for prompts seen before"),
    Option("--sse-ping-interval", ("sse_ping_interval",), "seconds; -1: no pings"),
    Option("--timeout", ("timeout_read", "timeout_write"), "seconds for a read or a write"),
    Option("--sleep-idle-seconds", ("sleep_idle_seconds",), "idle seconds until the model is unloaded"),
    Option("--no-warmup", {"warmup": False, "fit_params": False}, "start at once, with the sizes as given"),
    Option("-v --verbosity", ("verbosity",), "of the log: 3 info (default), 4 trace, 5 debug"),
)

# The demo model is fastest with one thread, and its prompts are not worth the gigabytes of a real model's.
DEMO_DEFAULTS = {
    "model_alias": ["demo"],
    "cpuparams.n_threads": 1,
    "cpuparams_batch.n_threads": 1,
    "cache_ram_mib": 64,
    "warmup": False,
    "fit_params": False,
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Serve until SIGTERM, SIGINT or, with --die-with-parent, the end of stdin; open requests are cut."""
    options = vars(_parser().parse_args(arguments))
    model: str = options.pop("model")
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if options.pop("die_with_parent"):
        stop.remove(signal.SIGINT)  # Linux hands a signal to sigwait even where it is ignored
        _die_with_parent()
    try:
        server = _serve(model, options)
    except RuntimeError:  # of xllamacpp, and it never says why
        _fail(model, "llama.cpp could not start, as it says above")
    except (ImportError, OSError, OverflowError) as error:
        _fail(model, str(error))
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    print("listening on", server.listening_address, flush=True)
    signal.sigwait(stop)
    os._exit(0)  # the server's destructor would wait for open streams


def _fail(model: str, reason: str) -> NoReturn:
    time.sleep(0.1)  # llama.cpp logs from a thread of its own, in pieces: let it end its line
    print(f"cannot serve {model.removesuffix(':')}: {reason}", file=sys.stderr, flush=True)
    os._exit(1)


def _serve(model: str, options: Mapping[str, Any]) -> Any:
    """Start the server; it comes back loaded, and its threads need Python no more."""
    import xllamacpp

    fields: dict[str, Any] = {}
    if model == DEMO:
        from .tiny.writer import cached

        fields |= DEMO_DEFAULTS
        model = str(cached())
    for option in OPTIONS:
        fields |= _chosen(option, options[option.flags])
    params = xllamacpp.CommonParams()
    for name, value in fields.items():
        *holders, field = name.split(".")
        holder: Any = params
        for step in holders:
            holder = getattr(holder, step)
        setattr(holder, field, value)
    params.hostnames = ["127.0.0.1"]
    params.model.path = model
    return xllamacpp.Server(params)


def _chosen(option: Option, value: Any) -> Mapping[str, Any]:
    if isinstance(option.fields, Mapping):
        return option.fields if value else {}
    return {} if value is None else dict.fromkeys(option.fields, value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="copilot_proxy.embedded.serve",
        description="Serve a GGUF model on 127.0.0.1 with llama.cpp.",
        allow_abbrev=False,
    )
    parser.add_argument("model", help=f"a GGUF file; {DEMO} is the demo model, made on first use")
    parser.add_argument("--die-with-parent", action="store_true", help="end with stdin; ignore SIGINT")
    for option in OPTIONS:
        more: dict[str, Any] = {"action": "store_true"}
        if not isinstance(option.fields, Mapping):
            more = {"type": option.type, "default": option.default, "metavar": "VALUE"}
        parser.add_argument(*option.flags.split(), dest=option.flags, help=option.help, **more)
    return parser


def _die_with_parent() -> None:
    """End this process with its parent, which holds stdin open: on Linux even while a model loads.

    There the kernel sends SIGTERM when the thread that started this process ends. Elsewhere, and for a parent
    that ended before it was asked to, the end of stdin is read as soon as Python runs. A terminal's Ctrl-C
    reaches the parent as well, and it is for the parent to say when open requests are done.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_end_with_stdin, daemon=True).start()


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
