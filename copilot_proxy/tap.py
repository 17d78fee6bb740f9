"""The command line of the plugin, and the service that it starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from textwrap import dedent
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.python import usage

from . import __version__, activation, settings


def leave(status: int, message: str) -> NoReturn:
    """End the process with one line and no traceback; raises SystemExit."""
    print(message, file=sys.stderr if status else sys.stdout)
    raise SystemExit(status)


def _help(option: settings.Option) -> str:
    default = f"; default {option.default}" if option.default else ""
    return f"{option.help} [{option.environment}{'=1' if option.flag else ''}{default}]"


_ABOUT = dedent(
    """\
    Stands between coding assistants that speak Ollama's API (VS Code Copilot, the Copilot CLI, Ollama's
    SDKs) and llama.cpp's llama-server. Start llama-server first:

        llama-server --jinja --port 11433 -c 65536 -m MODEL.gguf

    then the proxy, on Ollama's port 11434, where clients look for it:

        twist copilot-proxy

    With no llama-server and no model at hand, this runs a real llama.cpp with a tiny demo model:

        twist copilot-proxy --upstream demo:

    On another port than Ollama's, or open to the network for those who have a key of the file's:

        LISTEN_PORT=11500 twist copilot-proxy
        twist copilot-proxy --port tcp:11434 --api-key-file keys.txt

    Each option is also an environment variable, named in brackets; the option wins."""
)


class Options(usage.Options):
    """The options of `settings.OPTIONS`; a wrong one ends the process with one line and status 64."""

    synopsis = "[options]"
    longdesc = ""
    optFlags = [[o.name, o.short, _help(o)] for o in settings.OPTIONS if o.flag]
    optParameters = [
        [o.name, o.short, None, _help(o)] for o in settings.OPTIONS if not o.flag and not o.repeated
    ]
    chosen: settings.Settings

    def getSynopsis(self) -> str:
        return "Usage: twist [--log-format=text] copilot-proxy [options]"

    def getUsage(self, width: int | None = None) -> str:
        # twisted would fill `longdesc` to one paragraph, commands and all
        return f"{super().getUsage(width).rstrip()}\n\n{_ABOUT}\n"

    def opt_h(self) -> None:
        """The same as --help."""
        self.opt_help()

    def opt_version(self) -> NoReturn:
        """Print copilot-proxy's version and exit."""
        leave(0, f"copilot-proxy {__version__}")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            super().parseOptions(options)
        except usage.UsageError as e:
            leave(settings.EX_USAGE, f"copilot-proxy: {e} (--help tells the options)")

    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError(f"{words[0]!r} is no option")

    def postOptions(self) -> None:
        flags: dict[str, Any] = {o.name: None if o.flag else self.get(o.name) for o in settings.OPTIONS}
        flags |= {o.name: "1" for o in settings.OPTIONS if o.flag and self[o.name]}
        try:
            self.chosen = settings.read(flags, os.environ)
        except settings.WrongSetting as e:
            raise usage.UsageError(str(e)) from None


def _gathering(option: settings.Option) -> Callable[[Options, str], None]:
    """What twisted calls each time the option is given; its docstring is the help."""

    def gather(self: Options, value: str) -> None:
        self.setdefault(option.name, []).append(value)

    gather.__doc__ = _help(option)
    return gather


for _option in settings.OPTIONS:
    if _option.repeated:
        setattr(Options, f"opt_{_option.name.replace('-', '_')}", _gathering(_option))


def makeService(options: Options) -> IService:
    """The service that `twist copilot-proxy` runs. Raises SystemExit where the endpoint cannot be read."""
    from twisted.internet import reactor

    from .service import compose

    chosen = options.chosen
    try:
        endpoint = activation.endpoint(reactor, chosen.port)
    except ValueError as e:
        leave(settings.EX_USAGE, f"copilot-proxy: --port: {e}")
    return compose(reactor, endpoint, chosen)
