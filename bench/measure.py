"""What do the processes' clocks and the clients' notes come to? Arithmetic, and the reading of /proc."""

import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
_CPUCLOCK_SCHED = 2


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed; NaN for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def parent(stat: str) -> int:
    """The parent's id in the text of /proc/PID/stat; the name before it may hold spaces and parentheses."""
    return int(stat.rpartition(")")[2].split()[1])


def descendants(pid: int, parents: Mapping[int, int]) -> list[int]:
    """`pid`, its children, and theirs, where `parents` maps each process to its parent."""
    found = [pid]
    for member in found:
        found += [child for child, its_parent in parents.items() if its_parent == member]
    return found


def family(pid: int) -> list[int]:
    """`pid` and all below it that live now."""
    parents = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = parent((entry / "stat").read_text())
            except OSError:  # ended while we looked
                continue
    return descendants(pid, parents)


def cpu_seconds(pid: int) -> float:
    """utime + stime of the process and its threads.

    From its CPU clock (clock_getcpuclockid(3)), which counts ns; /proc/PID/stat tells the same in ticks of
    10 ms, and one stream uses about three of these in a run.
    """
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def resident_megabytes(status: str) -> float:
    """VmHWM, the peak, in the text of /proc/PID/status, or VmRSS where a kernel tells no peak."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int((fields.get("VmHWM") or fields["VmRSS"]).split()[0]) * 1024 / 1e6


def peak_resident(pid: int) -> float:
    """The most memory that the process has had resident, in MB."""
    return resident_megabytes((_PROC / str(pid) / "status").read_text())


def taken(stat: str) -> tuple[int, int]:
    """Of the text of /proc/stat, in ticks: what processes and the hypervisor took, and all that passed.

    Interrupts are left out, since no process is charged for them; the guest columns are in user and nice.
    """
    columns = [int(text) for text in stat.partition("\n")[0].split()[1:9]]
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = columns
    return user + nice + system + steal, sum(columns)


class Others:
    """What share of the machine others take while we measure, from the moment on in which this is made."""

    def __init__(self) -> None:
        self._before = self._now()

    def share(self) -> float:
        """0 to 1; the hypervisor's steal counts as others'."""
        (taken_before, all_before, ours_before), (taken_now, all_now, ours_now) = self._before, self._now()
        ours = (ours_now - ours_before) * os.sysconf("SC_CLK_TCK")
        return max(0.0, (taken_now - taken_before - ours) / max(1, all_now - all_before))

    def _now(self) -> tuple[int, int, float]:
        ended = os.times()
        ours = ended.children_user + ended.children_system + sum(map(cpu_seconds, family(os.getpid())))
        return *taken((_PROC / "stat").read_text()), ours


@dataclass(frozen=True)
class Cell:
    """One way under one load in one round; NaN where nothing came."""

    round: int
    streams: int
    way: str
    cpu: float
    """µs a token over the whole run, the requests included."""
    streaming: float
    """µs a token while all streams run."""
    p50: float
    """ms from upstream's write to the client's read; so is p99."""
    p99: float
    first_byte: float
    """ms from connecting to the first byte of the answer, median."""
    resident: float
    """MB at the end of the run, the peak since the way started."""
    others: float = 0.0
    """The share of the machine (0 to 1) that other processes and the hypervisor took meanwhile."""
    problems: list[str] = field(default_factory=list)
    """What was wrong with streams; empty for a sound run."""


@dataclass(frozen=True)
class Spread:
    """The median over the rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """NaN throughout where `values` is empty."""
        if not values:
            return cls(math.nan, math.nan, math.nan)
        return cls(statistics.median(values), min(values), max(values))


FIGURES: dict[str, Callable[[Cell, Cell], float]] = {
    "CPU us/token": lambda cell, direct: cell.cpu,
    "streaming": lambda cell, direct: cell.streaming,
    "added ms p50": lambda cell, direct: cell.p50 - direct.p50,
    "added ms p99": lambda cell, direct: cell.p99 - direct.p99,
    "first byte ms": lambda cell, direct: cell.first_byte,
    "resident MB": lambda cell, direct: cell.resident,
}
"""Each figure of the report: of a cell, and of the direct way's cell of the same load and round."""


class Results:
    """All cells of a run, and what is asked of them."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = list(cells)
        self._at = {(cell.round, cell.streams, cell.way): cell for cell in cells}
        self.loads = sorted({cell.streams for cell in cells})
        self.ways = list(dict.fromkeys(cell.way for cell in cells))

    def _values(self, figure: str, streams: int, way: str) -> dict[int, float]:
        """The figure of each round that has it."""
        return {
            cell.round: FIGURES[figure](cell, self._at[cell.round, streams, "direct"])
            for cell in self.cells
            if (cell.streams, cell.way) == (streams, way)
        }

    def spread(self, figure: str, streams: int, way: str) -> Spread:
        """The figure over the rounds."""
        return Spread.of(list(self._values(figure, streams, way).values()))

    def direct(self, share: str, streams: int) -> Spread:
        """The delay of the direct way itself, "p50" or "p99", in ms."""
        cells = (cell for cell in self.cells if (cell.streams, cell.way) == (streams, "direct"))
        return Spread.of([getattr(cell, share) for cell in cells])

    def ratio(self, figure: str, streams: int, way: str, peer: str) -> Spread:
        """`way`'s figure as a multiple of `peer`'s, round by round, since they share a round's noise."""
        peers = self._values(figure, streams, peer)
        ours = self._values(figure, streams, way)
        return Spread.of([value / peers[n] for n, value in ours.items() if peers.get(n)])

    def problems(self, streams: int, way: str) -> list[str]:
        """What was wrong with streams of this row, in any round."""
        return [problem for c in self.cells if (c.streams, c.way) == (streams, way) for problem in c.problems]


@dataclass(frozen=True)
class Target:
    """What the project promises of a figure of the proxy: at most `limit` (its unit, or times `peer`'s)."""

    text: str
    figure: str
    limit: float
    peer: str | None = None
    only_load: int | None = None

    def measured(self, results: Results) -> dict[int, Spread]:
        """For each load that the target speaks of and that was run, what counts against the limit."""
        return {
            streams: results.ratio(self.figure, streams, "proxy", self.peer)
            if self.peer
            else results.spread(self.figure, streams, "proxy")
            for streams in results.loads
            if self.only_load in (None, streams)
        }


TARGETS = (
    Target("CPU for a token at most 1.2 x aiohttp's", "CPU us/token", 1.2, peer="aiohttp"),
    Target("added delay p50 at most aiohttp's", "added ms p50", 1.0, peer="aiohttp"),
    Target("100 streams under 80 MB resident", "resident MB", 80, only_load=100),
)
