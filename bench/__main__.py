"""In which order is what measured, and what is said of it? ``python -m bench --help`` tells the options."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import fronts, load, measure, sse, table, ways

_LEAD = 0.4
"""Seconds for the load's process to start before its first stream does."""

_SETTLED = 0.2
"""Seconds after the last stream has started until all of them count as running."""

_EPILOG = """\
The columns, each the median over the rounds with (lowest..highest):
  CPU us/token   user and system time of the way's processes for each token, requests of 64 KiB included
  streaming      the same while all streams run, without the requests
  added ms       what a token takes from upstream's write to the client's read, over what it takes directly
  first byte ms  from connecting to the first byte of the answer
  resident MB    the most memory resident since the way was started, its children included

examples:
  scripts/bench                               all of it, about 4 minutes
  scripts/bench --quick                       one short round, for a first look; its figures are noisy
  scripts/bench --only proxy aiohttp --streams 100 --rounds 7
  scripts/bench --only proxy nginx+proxy haproxy+proxy caddy+proxy
                                              what a reverse proxy before it adds, as deploy/ configures it
  scripts/bench --json before.json            keeps every round's figures, to compare with after.json

exit status: 0, also where a target is not reached; 1 when a stream was broken or a way did not come up.
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; --quick changes the defaults of the others."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="What a token costs on its way through copilot-proxy, beside a direct connection, nginx"
        f" and a small aiohttp proxy: {sse.RATE} tokens a second for each stream, through all in turn.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--streams", type=int, nargs="+", default=[1, 32, 100], metavar="N", help="loads (default: 1 32 100)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="a stream's length (default: 5; quick: 2)")
    parser.add_argument("--rounds", type=int, metavar="R", help="runs of each (default: 3; quick: 1)")
    parser.add_argument(
        "--only", nargs="+", choices=list(ways.WAYS), metavar="WAY", help=f"some of: {', '.join(ways.WAYS)};"
        " direct is always run, as the others' delay is counted from it, and those with a + only when named"
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one short round, less than a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there too")
    options = parser.parse_args(arguments)
    options.seconds = options.seconds or (2 if options.quick else 5)
    options.rounds = options.rounds or (1 if options.quick else 3)
    if options.seconds < 2 or options.rounds < 1 or min(options.streams) < 1:
        parser.error("at least 2 seconds, 1 round and 1 stream")
    options.streams = sorted(set(options.streams))
    return options


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def chosen(only: Sequence[str] | None) -> list[str]:
    """The ways to run, the direct one always among them, and none whose program is not installed."""
    wanted = only or [name for name in ways.WAYS if name not in ways.BEHIND]
    names = [name for name in ways.WAYS if name in wanted or name == ways.DIRECT]
    for name in [name for name in names if name in ways.NEEDS]:
        program = ways.NEEDS[name]
        if fronts.find(program) is None:
            say(f"{program} is not installed: {name} is left out (Debian: apt-get install {program})")
            names.remove(name)
    return names


def run_cell(
    round_: int, streams: int, seconds: float, way: ways.Running, cores: ways.Cores, folder: Path
) -> measure.Cell:
    """One load through one way."""
    tokens = round(seconds * sse.RATE)
    start = time.monotonic() + _LEAD
    command = [sys.executable, "-m", "bench.load", "--port", str(way.port), "--streams", str(streams)]
    command += ["--tokens", str(tokens), "--start", str(start)]
    log = folder / "load.log"
    others = measure.Others()
    before = way.cpu()
    with ways.process(command, cores.ends, stdout=subprocess.PIPE, log=log) as child:
        window = (start + load.RAMP + _SETTLED, start + seconds)
        marks = []
        for moment in window:
            time.sleep(max(0, moment - time.monotonic()))
            marks.append((time.monotonic_ns(), way.cpu()))
        printed, _ = child.communicate()
    if child.returncode:
        raise ways.NotUp(f"the load ended with {child.returncode}:\n{log.read_text(errors='replace')}")
    used = way.cpu() - before
    outcome = load.Outcome(**json.loads(printed))
    wanted = streams * tokens
    if len(outcome.came) != wanted and not outcome.problems:
        outcome.problems.append(f"{len(outcome.came)} tokens came of {wanted}")
    (began, cpu_began), (ended, cpu_ended) = marks
    while_all_ran = sum(began < came <= ended for came in outcome.came)
    nan = float("nan")
    return measure.Cell(
        round=round_,
        streams=streams,
        way=way.name,
        cpu=used * 1e6 / len(outcome.came) if outcome.came else nan,
        streaming=(cpu_ended - cpu_began) * 1e6 / while_all_ran if while_all_ran else nan,
        p50=measure.percentile(outcome.delays, 0.50) / 1e6,
        p99=measure.percentile(outcome.delays, 0.99) / 1e6,
        first_byte=measure.percentile(outcome.first_bytes, 0.50) / 1e6,
        resident=way.resident(),
        others=others.share(),
        problems=outcome.problems,
    )


def run_round(
    round_: int, names: Sequence[str], options: argparse.Namespace, cores: ways.Cores
) -> list[measure.Cell]:
    """Every load, the small ones first (peak memory only grows), through each way in turn.

    The ways are fresh processes, warmed by a short load that is not counted; those that wait use nothing.
    Each round begins with another way, so that none is always the first.
    """
    turn = round_ % len(names)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        port = stack.enter_context(ways.upstream(cores, folder))
        started = [stack.enter_context(ways.running(name, port, cores)) for name in names]
        for way in started:
            run_cell(round_, 4, 1, way, cores, folder)
        cells = []
        for streams in options.streams:
            for way in started[turn:] + started[:turn]:
                cell = run_cell(round_, streams, options.seconds, way, cores, folder)
                cells.append(cell)
                say(
                    f"round {round_}/{options.rounds}  {streams:>3} streams  {way.name:<13}"
                    f"{table.number(cell.cpu):>6} us/token  p50 {table.number(cell.p50)} ms"
                    + "  BROKEN"
                    * bool(cell.problems)
                )
    return cells


def plain(cell: measure.Cell) -> dict[str, object]:
    """The cell for JSON, which knows no NaN."""
    return {key: None if value != value else value for key, value in asdict(cell).items()}


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    options = parse(arguments)
    names = chosen(options.only)
    cores = ways.Cores.of_this_machine()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what we started is ended then, too
    cells: list[measure.Cell] = []
    try:
        for round_ in range(1, options.rounds + 1):
            cells += run_round(round_, names, options, cores)
    except ways.NotUp as error:
        say(f"scripts/bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    cells.sort(key=lambda cell: (cell.round, cell.streams, names.index(cell.way)))
    results = measure.Results(cells)
    print(table.report(results))
    if options.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()}
        document = {"machine": machine, "seconds": options.seconds, "cells": [plain(cell) for cell in cells]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if any(cell.problems for cell in cells) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
