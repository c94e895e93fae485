"""The job under `kill -9`, again and again while records come: each transition is committed once, no record lost or counted twice."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.flink import Flink, TaskManager
from cli.submit import newest_savepoint
from rules.rule_set import load_directory
from tests.fixtures.expected import Expected, check_told
from tests.fixtures.jobs import JobBench, Told, check_accounts, event, write_rules
from tests.fixtures.services import FRESH, Kafka

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

START = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""

CUSTOMERS = 400
EVENTS = 24_000
STEP = 2_000
"""Milliseconds of the customers' time between two events."""

DISORDER = 20_000
CHUNK = 600

RULES = {
    "viewer": "when: {event: Product Viewed, within: 30m, count: {gte: 3}}\n",
    "spender": "when:\n  aggregate: {of: properties.revenue, fn: sum, event: Order Completed, within: 2h, gte: 100}\n",
    "cart": (
        "when:\n  sequence:\n    steps:\n      - {event: Cart Updated}\n      - {not: Order Completed, for: 10m}\n"
        "exit: {on: Order Completed, after: 1h}\n"
    ),
    "same-product": "when: {event: Product Viewed, per: properties.product_id, within: 1h, count: {gte: 2}}\n",
}


def traffic() -> Iterator[tuple[bytes, bytes]]:
    """Half a day of a busy shop, seeded; out of order within the bound, and some of it twice."""
    dice = random.Random(17)
    names = ("Product Viewed", "Product Viewed", "Product Viewed", "Cart Updated", "Order Completed")
    for number in range(EVENTS):
        customer, name = f"c{dice.randrange(CUSTOMERS)}", dice.choice(names)
        properties = {"product_id": f"p{dice.randrange(5)}", "revenue": dice.randrange(1, 8000) / 100}
        at = START + number * STEP - dice.randrange(DISORDER)
        record = customer.encode(), event(f"m{number}", name, at, properties=properties)
        yield record
        if not number % 50:
            yield record


class Sender:
    """Sends the traffic chunk by chunk from a thread of its own, no faster than the test lets it."""

    def __init__(self, bench: JobBench) -> None:
        self.bench = bench
        self.records = list(traffic())
        self.sent = 0
        self.failure: BaseException | None = None
        self.allowed = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._run, name="traffic")
        self.thread.start()

    def _run(self) -> None:
        try:
            while self.sent < len(self.records):
                self.allowed.acquire()
                chunk = self.records[self.sent : self.sent + CHUNK]
                self.bench.produce(chunk)
                self.sent += len(chunk)
        except BaseException as failure:
            self.failure = failure
            raise

    def let(self, share: float) -> None:
        """Let so much of all the traffic go out, while the test goes on."""
        for _ in range(int(len(self.records) * share / CHUNK) + 1):
            self.allowed.release()

    def finish(self) -> int:
        """Send the rest and wait for it; how many records were sent."""
        self.let(1)
        self.thread.join(timeout=120)
        assert not self.thread.is_alive() and self.failure is None, f"the traffic was not sent: {self.failure}"
        return self.sent


@pytest.fixture
def bench(kafka: Kafka, jars: Path, tmp_path: Path, topic: str) -> Iterator[JobBench]:
    """A job of two tasks, with its state on disk, on a cluster of its own, as parts of that are killed."""
    job = {"clock": "replay", "disorder": f"{DISORDER}ms", "idle_after": "10m", "parallelism": 2}
    with Flink(tmp_path / "flink", jars=jars, settings=FRESH, task_managers=2) as flink:
        made = JobBench(kafka, flink, tmp_path, topic, {"job": job, "checkpoints": {"backend": "rocksdb"}})
        yield made
        made.close()


def workers(manager: TaskManager) -> list[int]:
    """The Python workers of a TaskManager that live, by the command that each was started with."""
    found = []
    for pid in manager.process.members():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if b"flink_jobs.worker" in command:
            found.append(pid)
    return found


def wait_going_on(bench: JobBench, restarts: int) -> None:
    """Wait until the job has begun anew, runs, and has completed a checkpoint since."""
    bench.wait(lambda: bench.restarts() >= restarts, f"the job has begun anew {restarts} times")
    bench.wait(
        lambda: bench.rest.runs(bench.job) and all(map(workers, bench.flink.task_managers)), "the job runs again"
    )
    before = bench.checkpoints()
    bench.wait(lambda: bench.checkpoints() > before + 1, "checkpoints are completed again")


def test_whatever_is_killed_each_transition_is_committed_once(bench: JobBench) -> None:
    folder = write_rules(bench.folder / "rules", **RULES)
    bench.submit(rules=folder)
    sender = Sender(bench)
    try:
        sender.let(0.25)
        bench.wait_received(2 * CHUNK)
        bench.wait(lambda: bench.checkpoints() >= 2, "two checkpoints are completed")

        # The worker, in the midst of its work.
        sender.let(0.2)
        (worker,) = workers(bench.flink.task_managers[0])
        os.kill(worker, signal.SIGKILL)
        wait_going_on(bench, restarts=1)
        assert not Path(f"/proc/{worker}").exists()

        # A TaskManager: its worker ends by itself, as nobody speaks to it any more.
        sender.let(0.2)
        (orphan,) = workers(bench.flink.task_managers[0])
        bench.flink.kill_task_manager()
        bench.wait(lambda: not Path(f"/proc/{orphan}").exists(), "the killed TaskManager's worker has ended")
        bench.flink.start_task_manager()
        wait_going_on(bench, restarts=2)

        # The JobManager, which knows nothing of the job when it comes back: it goes on from the newest retained checkpoint.
        sender.let(0.2)
        bench.flink.kill_job_manager()
        bench.flink.start()
        bench.submit(rules=folder, from_savepoint=str(newest_savepoint(bench.settings)))
        sent = sender.finish()
    finally:
        sender.let(1)
        sender.thread.join(timeout=120)

    told, expected = play_out(bench, sent)
    check_told(told, expected.told)


def play_out(bench: JobBench, sent: int) -> tuple[list[Told], Expected]:
    """Let all time pass and stop the job: what it has told, and what it should have. All but the transitions is compared here."""
    end = START + EVENTS * STEP + 3 * 3_600_000
    sent += bench.let_time_pass(end + DISORDER + 1)
    totals = bench.wait_received(sent)
    check_accounts(totals, sent)
    bench.wait_watermark(end)
    bench.stop()

    expected = Expected(load_directory(bench.folder / "rules"))
    expected.arrive(bench.read("events"))
    expected.let_time_pass(end)
    told = bench.told()
    assert len(told) > 5_000 and {one.segment for one in told} == set(RULES)
    assert bench.members() == expected.members
    for outcome in ("applied", "duplicate"):
        assert totals[outcome] == expected.outcomes[outcome], outcome
    return told, expected


def test_at_least_once_may_repeat_what_it_has_told_under_the_same_ids(bench: JobBench) -> None:
    bench.configure(job={"delivery": "at_least_once"})
    bench.submit(rules=write_rules(bench.folder / "rules", **RULES))
    sender = Sender(bench)
    try:
        sender.let(0.25)
        bench.wait_received(2 * CHUNK)
        (worker,) = workers(bench.flink.task_managers[0])
        os.kill(worker, signal.SIGKILL)
        wait_going_on(bench, restarts=1)
        sent = sender.finish()
    finally:
        sender.let(1)
        sender.thread.join(timeout=120)
    told, expected = play_out(bench, sent)
    # Whoever drops repeated ids has each transition once.
    check_told(list({one.id: one for one in told}.values()), expected.told)
    assert set(told) == set(expected.told)
