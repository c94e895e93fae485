"""Measuring the population of a history, and what the command writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import main
from profiles import Event
from rules.measure import fifths, measure
from rules.population import FILE, read_population
from rules.rule_set import load_directory

DAY = 86_400_000
NOW = 1_772_442_000_000
RULE = """segment: uses
when:
  rfm:
    event: Order Completed
    of: properties.revenue
    within: 30d
    recency_score: {gte: 2}
    frequency_score: {gte: 2}
    monetary_score: {gte: 4}
"""


def order(customer: int, at: int, revenue: float) -> Event:
    return Event(
        id=f"{customer}-{at}",
        name="Order Completed",
        event_time=at,
        customer=f"c{customer}",
        received_at=at,
        properties={"revenue": revenue},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "uses.yaml").write_text(RULE)
    return tmp_path


def test_each_bound_is_what_so_many_fifths_do_not_exceed() -> None:
    values = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
    for part, bound in enumerate(fifths(values), 1):
        assert sum(value <= bound for value in values) * 5 >= part * len(values)
        assert sum(value < bound for value in values) * 5 < part * len(values)


def test_customers_are_measured_at_the_end_of_the_history(folder: Path) -> None:
    # c9 bought exactly 30 days before the end, so not in the window; c1 twice.
    events = [order(9, NOW - 29 * DAY, 10_000), *(order(one, NOW + one * 1000, one * 10) for one in range(1, 6))]
    events += [order(1, NOW + DAY, 0.5)]
    found = measure(load_directory(folder), [(one, one.event_time - 1) for one in events])
    of = "of Order Completed within 30d"
    end = NOW + DAY
    assert found.customers == 6
    assert found.measured_at == end
    assert found.bounds == {
        f"monetary (properties.revenue) {of}": (10.5, 20.0, 30.0, 40.0),
        f"frequency {of}": (1, 1, 1, 1),
        f"recency {of}": (0, DAY - 5000, DAY - 4000, DAY - 3000),
    }


def test_the_command_writes_what_the_rules_then_compare_with(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        json.dumps(
            {
                "messageId": f"m{one}",
                "type": "track",
                "event": "Order Completed",
                "userId": f"c{one}",
                "timestamp": NOW + one,
                "properties": {"revenue": one},
            }
        )
        for one in range(1, 11)
    ]
    history = folder / "events.jsonl"
    history.write_text("\n".join(lines))
    before = load_directory(folder)
    assert main(["rules", "measure", str(folder), "--history", str(history)]) == 0
    assert "10 customers, 3 measures" in capsys.readouterr().out
    rules = load_directory(folder)
    assert rules.population == read_population((folder / FILE).read_text(), FILE)
    assert rules.population.bounds["monetary (properties.revenue) of Order Completed within 30d"] == (2, 4, 6, 8)
    assert rules.digests != before.digests


def test_rules_that_compare_nobody_need_no_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plain.yaml").write_text("segment: plain\nwhen: {event: A, within: 1d}\n")
    assert main(["rules", "measure", str(tmp_path), "--history", str(tmp_path / "none.jsonl")]) != 0
    assert "no rule compares customers with each other" in capsys.readouterr().err
