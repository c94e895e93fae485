"""Rules that change while the job runs: what is new counts as if it had been there from the start, for silent customers too."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from cli.main import main
from profiles.event import parse_time
from rules.rule_set import load_directory, next_version
from tests.fixtures.expected import Expected
from tests.fixtures.jobs import BenchMaker, JobBench, check_accounts, event, write_rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""

MINUTE = 60_000
CUSTOMERS = 40
SILENT = 8
"""So many customers are heard of in the first phase alone."""

# In force from the start, and it stays: another segment shares what it counts.
VIEWER = "when: {event: Product Viewed, within: 1h, count: {gte: 2}}\n"
# In force from the start, and then it goes.
BROWSER = "when: {event: Page Scrolled}\n"
# New: each needs the past in its own way.
OFTEN = "when: {event: Product Viewed, count: {gte: 3}}\n"
SPENDER = "when: {aggregate: {fn: sum, of: properties.revenue, event: Order Completed, gte: 100}}\n"
CART = (
    "when:\n  sequence:\n    steps:\n      - {event: Cart Updated}\n      - {not: Order Completed, for: 5m}\n"
    "exit: {on: Order Completed, after: 6h}\n"
)


def phase(number: int) -> Iterator[tuple[bytes, bytes]]:
    """Half an hour of every customer's life: two views, a cart, of every third an order, and something else."""
    for customer in range(SILENT if number else 0, CUSTOMERS):
        life = [(0, "Product Viewed"), (5, "Product Viewed"), (10, "Cart Updated"), (25, "Page Scrolled")]
        if (customer + number) % 3 == 0:
            life.insert(3, (20, "Order Completed"))
        for at, name in life:
            time = START + (number * 30 + at) * MINUTE + customer
            properties = {"revenue": 50} if name == "Order Completed" else {}
            yield f"c{customer}".encode(), event(f"{customer}/{number}/{at}", name, time, properties=properties)


class Traffic:
    """Plays one phase after the other until it is told to stop, so that something always comes in."""

    def __init__(self, bench: JobBench, first: int, last: int) -> None:
        self.bench, self.phases, self.played = bench, range(first, last), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def _play(self) -> None:
        for number in self.phases:
            records = list(phase(number))
            for begin in range(0, len(records), 8):
                self.bench.produce(records[begin : begin + 8])
            self.played += 1
            if self._stop.is_set():
                return

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def apply(bench: JobBench, *words: str, **files: str) -> int:
    """`segue rules apply` from a folder with these files; what it answers."""
    folder = bench.folder / "rules"
    for old in folder.glob("*.yaml"):
        old.unlink()
    write_rules(folder, **files)
    return main(["rules", "apply", str(folder), "--settings", str(bench.settings_file), *words])


def changes(bench: JobBench) -> dict[tuple[str, str], list[tuple[str, int, str]]]:
    """What was told of each customer and segment, in order: kind, `effective_at`, kind of cause."""
    found = defaultdict(list)
    for one in bench.read("segment_changes"):
        data: dict[str, Any] = one.json()["data"]
        kind = one.json()["type"].removeprefix("segment.")
        found[data["customer"], data["segment"]].append(
            (kind, parse_time(data["effective_at"]), data["cause"]["kind"], data["sequence"])
        )
    ordered = {key: sorted(told, key=lambda one: one[3]) for key, told in found.items()}
    return {key: [one[:3] for one in told] for key, told in ordered.items()}


def check_new(bench: JobBench, expected: Expected, names: set[str]) -> None:
    """New segments: one word on where the customer stands as they become live, then all that comes of having had them always."""
    always = defaultdict(list)
    for one in expected.transitions:
        always[one.customer, one.segment].append((one.kind, one.effective_at))
    told = changes(bench)
    corrected = 0
    for key in always.keys() | {key for key in told if key[1] in names}:
        if key[1] not in names:
            continue
        mine, theirs = told.get(key, []), always[key]
        corrective = bool(mine) and mine[0][2] == "rule change"
        corrected += corrective
        after = [one[:2] for one in mine[corrective:]]
        cut = len(theirs) - len(after)
        assert theirs[cut:] == after, f"{key}: told {mine}, always {theirs}"
        stood = theirs[cut - 1][0] if cut else "exited"
        assert stood == ("entered" if corrective else "exited"), f"{key}: told {mine}, always {theirs}"
        if corrective:
            assert mine[0][0] == "entered", f"{key}: told {mine}"
    assert corrected > CUSTOMERS, "the past let customers in"


def check_members(bench: JobBench, expected: Expected) -> None:
    assert bench.members() == expected.members


def check_explained(bench: JobBench, capsys: pytest.CaptureFixture[str]) -> None:
    """The job and a replay of the events both say that one is in the cart segment, and since when."""
    found = []
    for words in ([], ["--at", str(START + 60 * MINUTE)]):
        assert main(["explain", "c1", "cart", "--json", "--settings", str(bench.settings_file), *words]) == 0
        told = json.loads(capsys.readouterr().out)
        (segment,) = told["segments"]
        found.append((told["customer"], told["rules"], segment["segment"], segment["in"]))
    assert found == [("c1", 2, "cart", True)] * 2


def run_out(bench: JobBench, expected: Expected, names: set[str]) -> None:
    """Let time pass until nothing is due any more, and hold all that was told to rules that were there from the start."""
    end = START + 600 * MINUTE
    bench.let_time_pass(end + 600 * MINUTE + 1)
    records = bench.read("events")
    expected.arrive(records)
    expected.let_time_pass(end)
    check_accounts(bench.wait_received(len(records)), len(records))
    bench.wait_watermark(end)
    assert bench.restarts() == 0
    bench.stop()
    check_new(bench, expected, names)
    check_members(bench, expected)


def from_the_start(bench: JobBench) -> Expected:
    """What comes of the rules that are in the folder now if they were there always."""
    return Expected(next_version(None, load_directory(bench.folder / "rules")))


def begin(job_bench: BenchMaker, **job: Any) -> JobBench:
    """A job that runs under the first rules, and has seen the first phases."""
    bench = job_bench(slots=2, job={"clock": "replay", "disorder": "10h", "idle_after": "10m", **job})
    assert apply(bench, viewer=VIEWER, browser=BROWSER) == 0
    bench.submit()
    bench.produce([*phase(0), *phase(1)])
    return bench


def test_new_rules_count_the_past_while_events_keep_coming(
    job_bench: BenchMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = begin(job_bench, parallelism=2)
    with Traffic(bench, 2, 10) as traffic:
        assert apply(bench, viewer=VIEWER, often=OFTEN, spender=SPENDER, cart=CART) == 0
    out = capsys.readouterr().out
    assert "version 2 is live" in out
    assert traffic.played > 0
    # Who has been silent since long before is in what is new, and out of what is gone, without another event.
    told = changes(bench)
    for customer in range(SILENT):
        if customer % 3:  # the others have ordered, and are out again
            assert told[f"c{customer}", "cart"][0][::2] == ("entered", "rule change")
        assert told[f"c{customer}", "browser"][-1][::2] == ("exited", "rule change")
    run_out(bench, from_the_start(bench), {"often", "spender", "cart"})


def test_a_change_is_taken_up_later_by_a_job_that_was_moved(
    job_bench: BenchMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = begin(job_bench)
    assert apply(bench, "--detach", viewer=VIEWER, often=OFTEN, spender=SPENDER, cart=CART) == 0
    assert "stays warming" in capsys.readouterr().out
    reader = bench.reader("rule_status")
    bench.wait(lambda: any(one.json()["stage"] == "warming" for one in reader.poll()), "the job keeps what comes")
    bench.produce([*phase(2), *phase(3)])
    assert not any(segment in ("often", "spender", "cart") for _, segment in changes(bench))
    savepoint = bench.stop()
    bench.submit(from_savepoint=savepoint)
    bench.produce(phase(4))
    assert main(["rules", "apply", "--resume", "--settings", str(bench.settings_file)]) == 0
    assert "version 2 is live" in capsys.readouterr().out
    bench.produce(phase(5))
    run_out(bench, from_the_start(bench), {"often", "spender", "cart"})


def test_who_is_stopped_by_hand_can_go_on(
    job_bench: BenchMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = begin(job_bench)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cli.backfill.Backfill.hand_over", interrupted)
        code = apply(bench, viewer=VIEWER, often=OFTEN, spender=SPENDER, cart=CART)
    assert code == 130
    assert "stays warming" in capsys.readouterr().err
    with contextlib.chdir(bench.folder):
        assert main(["rules", "apply", "rules", "--settings", str(bench.settings_file)]) == 0
    out = capsys.readouterr().out
    assert "nothing changed: version 2 means the same" in out
    assert "version 2 is live" in out
    check_explained(bench, capsys)
    bench.produce(phase(2))
    run_out(bench, from_the_start(bench), {"often", "spender", "cart"})
