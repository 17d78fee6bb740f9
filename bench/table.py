"""The results as the text that a person reads: aligned tables, the targets, and what was broken."""

import math
from collections.abc import Iterator, Sequence

from bench.measure import FIGURES, TARGETS, Results, Spread

NOISY = 5
"""Percent of the machine that others may take; above that the figures are as much about them."""


def number(value: float) -> str:
    """Three digits that count, without an exponent; "-" for NaN."""
    if math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, 3)}f}"


def with_spread(spread: Spread) -> str:
    """The median, and where rounds differ the lowest and the highest of them."""
    if spread.low == spread.high or math.isnan(spread.median):
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.low)}..{number(spread.high)})"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces between; all but the first two flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def figures(results: Results) -> str:
    """A row for each load and way: the median over the rounds (lowest..highest)."""
    rows = [["streams", "way", *FIGURES]]
    for streams in results.loads:
        for way in results.ways:
            cells = [with_spread(results.spread(figure, streams, way)) for figure in FIGURES]
            problems = results.problems(streams, way)
            rows.append([str(streams), way + (f" BROKEN ({len(problems)})" if problems else ""), *cells])
    direct = ", ".join(
        " / ".join(number(results.direct(share, streams).median) for share in ("p50", "p99"))
        + f" at {streams}"
        for streams in results.loads
    )
    others = Spread.of([100 * cell.others for cell in results.cells])
    return "\n".join(
        [
            f"{align(rows)}\n",
            f"a token takes directly, ms p50 / p99: {direct}",
            f"others took {others.median:.0f} % of this machine ({others.low:.0f}..{others.high:.0f})"
            + ": too much, run it again on a quiet one" * (others.median > NOISY),
        ]
    )


_COMPARED = (
    ("proxy", "aiohttp"),
    ("proxy", "nginx"),
    ("nginx+proxy", "proxy"),
    ("haproxy+proxy", "proxy"),
    ("caddy+proxy", "proxy"),
)


def ratios(results: Results) -> str:
    """Figures as multiples of another way's: the proxy's of its peers', and of its own behind another."""
    rows = [["streams", "ratio", *FIGURES]]
    for streams in results.loads:
        for way, peer in _COMPARED:
            if way in results.ways and peer in results.ways:
                cells = [with_spread(results.ratio(figure, streams, way, peer)) for figure in FIGURES]
                rows.append([str(streams), f"{way} / {peer}", *cells])
    return align(rows)


def targets(results: Results) -> Iterator[str]:
    """A line for each target: reached when it is under every load measured."""
    for target in TARGETS:
        measured = {
            load: spread
            for load, spread in target.measured(results).items()
            if spread.median == spread.median
        }
        if not measured:
            yield f"not measured  {target.text}"
            continue
        mark = (
            "reached" if all(spread.median <= target.limit for spread in measured.values()) else "not reached"
        )
        by_load = ", ".join(f"{with_spread(spread)} at {load}" for load, spread in measured.items())
        yield f"{mark:<12}  {target.text}: {by_load}"


def report(results: Results) -> str:
    """Everything, in the order in which it is wanted."""
    parts = [figures(results), ratios(results), "\n".join(targets(results))]
    broken = [
        f"BROKEN: {streams} streams, {way}: {problem}"
        for streams in results.loads
        for way in results.ways
        for problem in sorted(set(results.problems(streams, way)))
    ]
    return "\n\n".join(parts + ["\n".join(broken)] * bool(broken))
