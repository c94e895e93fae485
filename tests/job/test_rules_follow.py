"""The rules of a running job: it follows new ones without a restart, refuses bad ones whole, and takes all it knows along when it moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cli.errors import UserError
from cli.published import apply_rules
from flink_jobs.topics import newest_rules
from rules.rule_set import RuleSet, load_directory
from tests.fixtures.expected import Expected, check_told
from tests.fixtures.jobs import BenchMaker, JobBench, check_accounts, event, write_rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""

MINUTE = 60_000
CUSTOMERS = 40

VIEWER = "when: {event: Product Viewed, within: 1h, count: {gte: 2}}\n"
KEENER_VIEWER = "when: {event: Product Viewed, within: 1h, count: {gte: 4}}\n"
BUYER = "when: {event: Order Completed, within: 2h}\n"
CART = (
    "when:\n  sequence:\n    steps:\n      - {event: Cart Updated}\n      - {not: Order Completed, for: 5m}\n"
    "exit: {on: Order Completed, after: 1h}\n"
)


def phase(number: int) -> Iterator[tuple[bytes, bytes]]:
    """Half an hour of every customer's life: two views, a cart, of every third an order, and something else."""
    for customer in range(CUSTOMERS):
        life = [(0, "Product Viewed"), (5, "Product Viewed"), (10, "Cart Updated"), (25, "Page Scrolled")]
        if (customer + number) % 3 == 0:
            life.insert(3, (20, "Order Completed"))
        for at, name in life:
            time = START + (number * 30 + at) * MINUTE + customer
            yield f"c{customer}".encode(), event(f"{customer}/{number}/{at}", name, time)


def apply(bench: JobBench, **files: str) -> RuleSet:
    """Publish rules as `segue rules apply` does."""
    folder = bench.folder / "rules"
    for old in folder.glob("*.yaml"):
        old.unlink()
    applied = apply_rules(bench.settings, load_directory(write_rules(folder, **files)), author="a tester")
    assert applied.published
    return applied.rules


def statuses(bench: JobBench) -> list[dict[str, Any]]:
    """What the job has said about rule sets as they came."""
    return [word for one in bench.read("rule_status") if is_first_word(word := one.json())]


def is_first_word(status: dict[str, Any]) -> bool:
    """Whether a word says that a rule set has come, not that all customers have been gone through since."""
    return status["stage"] != "reconciled"


def wait_status(bench: JobBench, count: int) -> dict[str, Any]:
    """Wait until the job has said so much about rule sets; the last of it."""
    reader = bench.reader("rule_status")

    def words() -> list[dict[str, Any]]:
        return [word for one in reader.records if is_first_word(word := one.json())]

    def are_there() -> bool:
        reader.poll()
        return len(words()) >= count

    bench.wait(are_there, f"there are {count} words on rule sets")
    return words()[count - 1]


def test_without_rules_no_job_is_submitted(job_bench: BenchMaker) -> None:
    bench = job_bench()
    with pytest.raises(UserError, match="could not be submitted") as refused:
        bench.submit()
    assert "holds no rule set" in refused.value.hint
    assert "segue rules apply" in refused.value.hint
    assert bench.rest.live_jobs(bench.name) == []


def test_a_running_job_follows_the_rules_and_moves_with_all_it_knows(job_bench: BenchMaker) -> None:
    # The clock of the stream stays behind every customer's own: what rules change takes effect at a customer's newest event.
    bench = job_bench(slots=2, job={"clock": "replay", "disorder": "10h", "idle_after": "10m"})
    first = apply(bench, viewer=VIEWER, cart=CART)
    job = bench.submit()
    assert wait_status(bench, 1)["running"] == 1
    expected = Expected(first)
    seen = 0

    def play(number: int, running: bool = True) -> None:
        """One phase, and what must come of it under the rules of now."""
        nonlocal seen
        bench.produce(phase(number))
        records = bench.read("events")
        expected.arrive([one for one in records if one.value and f"/{number}/".encode() in one.value])
        seen = len(records)
        if running:
            check_accounts(bench.wait_received(seen), seen)

    play(0)

    # Other rules: one is new, one means something else, one is gone.
    second = apply(bench, viewer=KEENER_VIEWER, buyer=BUYER)
    status = wait_status(bench, 2)
    assert (status["version"], status["accepted"], status["running"]) == (2, True, 2)
    expected.rules = second
    play(1)

    # What is no rule set, one that cannot be read, and one whose rule is wrong, past every check of the command.
    wrong = json.loads(second.to_payload())
    wrong |= {
        "version": 3,
        "files": {**wrong["files"], "buyer.yaml": "segment: buyer\nwhen: {evnt: Order Completed}\n"},
    }
    bench.produce([(b"x", b"\xff rules"), (b"3", json.dumps(wrong).encode()), (b"4", b'{"version": 4}')], "rules")
    wait_status(bench, 5)
    for status, version, reason in zip(statuses(bench)[2:], (None, 3, 4), ("not JSON", "evnt", "format"), strict=True):
        assert (status["version"], status["accepted"], status["running"]) == (version, False, 2)
        assert reason in status["detail"], status
    assert newest_rules(bench.settings) == second
    play(2)
    totals = bench.totals()
    assert (totals["rules_accepted"], totals["rules_refused"]) == (2, 3)
    assert [one.id for one in bench.rest.live_jobs(bench.name)] == [job]
    assert bench.restarts() == 0

    # Off the cluster, and onto it again with two tasks, in the midst of the customers' lives.
    savepoint = bench.stop()
    check_told(bench.told(), expected.told)
    play(3, running=False)
    bench.configure(job={"parallelism": 2})
    bench.submit(from_savepoint=savepoint)
    check_accounts(bench.wait_received(seen), seen)
    # It runs under the rules that it had.
    assert len(statuses(bench)) == 5
    play(4)

    # And back to one.
    savepoint = bench.stop()
    check_told(bench.told(), expected.told)
    bench.configure(job={"parallelism": 1})
    bench.submit(from_savepoint=savepoint)
    end = START + 200 * MINUTE
    seen += bench.let_time_pass(end + 600 * MINUTE + 1)
    expected.let_time_pass(end)
    check_accounts(bench.wait_received(seen), seen)
    bench.wait_watermark(end)
    assert bench.restarts() == 0
    bench.stop()
    check_all(bench, expected)


def check_all(bench: JobBench, expected: Expected) -> None:
    """Every transition once, numbered without a gap, and the memberships that they lead to."""
    told = bench.told()
    check_told(told, expected.told)
    for customer in range(CUSTOMERS):
        own = [one.sequence for one in told if one.customer == f"c{customer}"]
        assert own == list(range(1, len(own) + 1)), f"c{customer}: {own}"
    kinds = {(one.segment, one.kind, one.version) for one in told}
    # Under both rule sets; the one who was in when the rule went is out by the rules that have none.
    assert {
        ("viewer", "entered", 1),
        ("viewer", "entered", 2),
        ("viewer", "exited", 2),
        ("buyer", "entered", 2),
    } <= kinds
    assert {("cart", "entered", 1), ("cart", "exited", 1), ("cart", "exited", 2)} <= kinds
    assert ("cart", "entered", 2) not in kinds
    assert bench.members() == expected.members
