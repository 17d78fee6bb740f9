"""The benchmark's arithmetic. What it measures is nowhere asserted."""

import math

import pytest

from bench import load, measure, sse, table
from bench.measure import Cell, Results, Spread

STAT = "%d (tricky) name (x) S %d 3224 2036 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 94288 3133440 386"


def cell(**changed: object) -> Cell:
    """A sound cell of the proxy."""
    times = {"cpu": 100.0, "streaming": 90.0, "p50": 0.5, "p99": 2.0, "first_byte": 3.0}
    sound: dict[str, object] = {"round": 1, "streams": 1, "way": "proxy", "resident": 50.0, **times}
    return Cell(**sound | changed)  # type: ignore[arg-type]


def two_rounds() -> Results:
    """Three ways; the second round is noisier for all of them."""
    return Results(
        [
            cell(cpu=120.0, p50=0.3),
            cell(way="direct", cpu=math.nan, p50=0.1),
            cell(way="aiohttp", cpu=100.0, p50=0.3),
            cell(round=2, cpu=330.0, p50=0.9),
            cell(round=2, way="direct", cpu=math.nan, p50=0.5),
            cell(round=2, way="aiohttp", cpu=300.0, p50=0.7),
        ]
    )


def stream(tokens: int, told: int | None = None) -> bytes:
    """An answer as the paced upstream writes it; `told` is what its timings say."""
    events = [sse.opening(), *map(sse.token, range(1, tokens + 1)), sse.ending(told or tokens), b""]
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(map(sse.chunk, events))


class TestPercentile:
    def test_is_a_value_that_the_share_does_not_exceed(self) -> None:
        """Nearest rank: no value is made up between two others."""
        values = [5.0, 1.0, 4.0, 2.0, 3.0]
        assert [measure.percentile(values, share) for share in (0, 0.5, 0.8, 0.81, 1)] == [1, 3, 4, 5, 5]

    def test_of_nothing_is_nan(self) -> None:
        assert math.isnan(measure.percentile([], 0.5))


class TestProc:
    def test_parent_stands_behind_a_name_with_parentheses(self) -> None:
        assert measure.parent(STAT % (3315, 42)) == 42

    def test_descendants_are_found_through_all_generations(self) -> None:
        assert sorted(measure.descendants(2, {2: 1, 3: 2, 4: 3, 5: 1, 6: 2})) == [2, 3, 4, 6]

    def test_resident_memory_is_the_peak(self) -> None:
        status = "Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\nThreads:\t1\n"
        assert measure.resident_megabytes(status) == pytest.approx(2.048)

    def test_resident_memory_without_a_peak_is_the_present_one(self) -> None:
        assert measure.resident_megabytes("VmRSS:\t    1000 kB\n") == pytest.approx(1.024)

    def test_interrupts_and_idleness_are_taken_by_nobody(self) -> None:
        assert measure.taken("cpu  100 10 50 800 20 3 7 10 40 5\ncpu0 1 2 3\n") == (170, 1000)


class TestResults:
    def test_delay_is_counted_over_the_direct_way_of_its_own_round(self) -> None:
        spread = two_rounds().spread("added ms p50", 1, "proxy")
        assert (spread.low, spread.high) == pytest.approx((0.2, 0.4))

    def test_ratio_is_taken_round_by_round(self) -> None:
        """A ratio of medians would be (225 / 200); each round's noise is in both and cancels."""
        spread = two_rounds().ratio("CPU us/token", 1, "proxy", "aiohttp")
        assert (spread.median, spread.low, spread.high) == pytest.approx((1.15, 1.1, 1.2))

    def test_ratio_to_a_way_that_was_not_run_is_nan(self) -> None:
        assert math.isnan(two_rounds().ratio("CPU us/token", 1, "proxy", "nginx").median)

    def test_problems_are_those_of_every_round(self) -> None:
        results = Results([cell(problems=["a"]), cell(round=2, problems=["b"]), cell(streams=2)])
        assert (results.problems(1, "proxy"), results.problems(2, "proxy")) == (["a", "b"], [])


class TestTable:
    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.0, "0"), (0.07349, "0.073"), (1.234, "1.23"), (96.14, "96.1"), (1234.5, "1234"), (math.nan, "-")],
    )
    def test_number_has_three_digits_that_count(self, value: float, text: str) -> None:
        assert table.number(value) == text

    def test_spread_is_shown_where_rounds_differ(self) -> None:
        assert table.with_spread(Spread(2.0, 1.0, 3.0)) == "2.00 (1.00..3.00)"
        assert table.with_spread(Spread(2.0, 2.0, 2.0)) == "2.00"

    def test_columns_are_aligned(self) -> None:
        assert table.align([["a", "way", "CPU"], ["100", "b", "1"]]) == "a    way  CPU\n100  b      1"

    def test_target_is_reached_only_under_every_load(self) -> None:
        rounds = [
            cell(streams=streams, way=way, cpu=cpu)
            for streams, way, cpu in [
                *((1, "proxy", 100.0), (1, "direct", math.nan), (1, "aiohttp", 100.0)),
                *((32, "proxy", 130.0), (32, "direct", math.nan), (32, "aiohttp", 100.0)),
            ]
        ]
        first, *_ = table.targets(Results(rounds))
        assert first == "not reached   CPU for a token at most 1.2 x aiohttp's: 1.00 at 1, 1.30 at 32"

    def test_target_that_was_not_measured_says_so(self) -> None:
        *_, memory = table.targets(two_rounds())
        assert memory.startswith("not measured")

    def test_broken_streams_mark_their_row_and_are_named(self) -> None:
        results = Results([cell(problems=["ended without [DONE]"]), cell(way="direct")])
        report = table.report(results)
        assert "proxy BROKEN (1)" in report
        assert "BROKEN: 1 streams, proxy: ended without [DONE]" in report


class TestLoad:
    def test_streams_that_never_started_are_problems(self) -> None:
        """A machine that stood still must not look like one that carried nothing and lost nothing."""
        late = load.Load(port=1, asking=b"")
        late.run(3, start=0.0, until=0.0)
        assert late.outcome(5).problems == ["did not start in time"] * 3


class TestStream:
    def test_events_are_as_large_as_those_of_llama_server(self) -> None:
        assert 220 <= len(sse.token(1_000_000_000_000)) <= 250

    @pytest.mark.parametrize("size", [1, 7, 100, 100_000])
    def test_tokens_are_read_from_pieces_of_any_size(self, size: int) -> None:
        """A token has come when its last byte has."""
        data = stream(3)
        pieces = [(at + size, data[at : at + size]) for at in range(0, len(data), size)]
        read = list(sse.read(pieces, 3))
        assert [sent for sent, _ in read] == [1, 2, 3]
        assert all(data[:came].count(b"\n\n\r\n") > sent for sent, came in read)

    @pytest.mark.parametrize(
        ("data", "complaint"),
        [
            (stream(2), "2 tokens came, 2 were sent, 3 were asked for"),
            (stream(3, told=4), "3 tokens came, 4 were sent, 3 were asked for"),
            (stream(3).replace(sse.DONE, b""), "cut before the last chunk"),
            (stream(3)[:-5], "cut before the last chunk"),
            (stream(3).replace(b"200 OK", b"502 Bad Gateway"), "answered HTTP/1.1 502 Bad Gateway"),
            (stream(3).replace(b'" 2"', b'" 1"'), "tokens came twice or out of order"),
            (b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(map(sse.token, (1, 2, 3))), "ended without [DONE]"),
            (b"HTTP/1.1 200 OK\r\n\r\n" + sse.ending(1) + sse.token(1), "something came after [DONE]"),
            (b"", "no head of an answer in 0 bytes"),
        ],
    )
    def test_every_fault_of_a_stream_is_named(self, data: bytes, complaint: str) -> None:
        with pytest.raises(sse.BrokenStream) as raised:
            list(sse.read([(1, data)], 3))
        assert str(raised.value) == complaint
