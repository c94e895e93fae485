"""Time without events: a live job notices that nobody comes, a replay waits for what does."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.fixtures.jobs import BenchMaker, JobBench, Told, event, write_rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WAIT = 1_000
AHEAD = 3_000
"""Visits lie so far in the future: however slowly they are sent, the clock is not there yet. The skew allows it."""

RULES = {
    # Leaves by silence.
    "recent": "when: {event: Product Viewed, within: 1s}\n",
    # Enters by silence, and leaves by more of it.
    "cart": (
        "when:\n  sequence:\n    steps:\n      - {event: Cart Updated}\n      - {not: Order Completed, for: 1s}\nexit: {after: 1s}\n"
    ),
    # Enters by silence for good.
    "gone": "when:\n  all:\n    - {event: Product Viewed}\n    - {absent: Product Viewed, within: 1s}\n",
}
PARTITIONS = 3


def now() -> int:
    """The wall clock in epoch milliseconds."""
    return int(time.time() * 1000)


def make(job_bench: BenchMaker, clock: str) -> JobBench:
    bench = job_bench(job={"clock": clock, "disorder": "1s", "idle_after": "500ms"}, kafka={"partitions": PARTITIONS})
    write_rules(bench.folder / "rules", **RULES)
    return bench


def visit(bench: JobBench, customer: str) -> int:
    """A customer looks at something and fills a cart; when."""
    at = now() + AHEAD
    names = ("Product Viewed", "Cart Updated")
    bench.produce([(customer.encode(), event(f"{customer}/{name}", name, at)) for name in names])
    return at


def story_of(customer: str, at: int) -> list[Told]:
    """All that a visit and the silence after it lead to, but for ids and numbers."""
    moments = [
        ("recent", "entered", at),
        ("cart", "entered", at + WAIT),
        ("gone", "entered", at + WAIT),
        ("recent", "exited", at + WAIT),
        ("cart", "exited", at + 2 * WAIT),
    ]
    return [
        Told("", customer, segment, kind, when, number, 1)
        for number, (segment, kind, when) in enumerate(moments, start=1)
    ]


def teller(bench: JobBench) -> Callable[[str], list[Told]]:
    """What has been told of a customer so far, in order, without ids."""
    reader = bench.reader("segment_changes")

    def told(customer: str) -> list[Told]:
        found = [Told.read(one.value) for one in reader.poll() if one.value is not None]
        own = sorted((one for one in found if one.customer == customer), key=lambda one: one.sequence)
        return [Told("", *[getattr(one, name) for name in Told.__dataclass_fields__ if name != "id"]) for one in own]

    return told


def test_live_silence_is_noticed_without_an_event(job_bench: BenchMaker) -> None:
    bench = make(job_bench, "live")
    bench.submit(bench.folder / "rules")
    told = teller(bench)

    # Nobody else comes: the whole topic falls silent, and did not speak before.
    at = visit(bench, "alone")
    bench.wait(lambda: len(told("alone")) >= 5, "the silence of the only customer is noticed")
    assert told("alone") == story_of("alone", at)

    # Others go on, in a partition of their own: one who is silent is noticed among them, and so is a silent partition.
    at = visit(bench, "silent")
    talk = 0

    def noticed() -> bool:
        nonlocal talk
        talk += 1
        bench.produce([(b"talker", event(f"talk-{talk}", "Page Seen", now()), talk % 2)])
        return len(told("silent")) >= 5

    bench.wait(noticed, "the silence of one among others is noticed")
    assert told("silent") == story_of("silent", at)

    # Time passes while the job is off, and nobody ever comes again: what has become due is told of all the same.
    at = visit(bench, "last")
    bench.wait(lambda: told("last"), "the last visit is seen")
    savepoint = bench.stop()
    bench.wait(lambda: now() > at + 2 * WAIT, "time passes while the job is off")
    bench.submit(bench.folder / "rules", from_savepoint=savepoint)
    bench.wait(lambda: len(told("last")) >= 5, "the silence after a restart is noticed")
    assert told("last") == story_of("last", at)
    assert bench.restarts() == 0


def test_in_a_replay_nothing_happens_without_data(job_bench: BenchMaker) -> None:
    bench = make(job_bench, "replay")
    bench.submit(bench.folder / "rules")
    told = teller(bench)
    at = visit(bench, "alone")
    bench.wait(lambda: told("alone"), "the visit is seen")
    assert told("alone") == story_of("alone", at)[:1]
    # Longer than any window, and than partitions need to count as idle; checkpoints commit all that is said meanwhile.
    bench.wait(lambda: now() > at + 2 * WAIT + 2_000, "time passes without data")
    before = bench.checkpoints()
    bench.wait(lambda: bench.checkpoints() > before + 1, "two checkpoints are complete")
    assert told("alone") == story_of("alone", at)[:1]
    # Data moves time, by as much as it says.
    bench.let_time_pass(at + WAIT + 1_000)
    bench.wait_watermark(at + WAIT - 1)
    before = bench.checkpoints()
    bench.wait(lambda: bench.checkpoints() > before + 1, "two checkpoints are complete")
    assert told("alone") == story_of("alone", at)[:1], "a millisecond early"
    bench.let_time_pass(at + 2 * WAIT + 1_001)
    bench.wait(lambda: len(told("alone")) >= 5, "what has become due is told of")
    assert told("alone") == story_of("alone", at)
    assert bench.restarts() == 0
