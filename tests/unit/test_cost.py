"""What `segue rules check` says of costs: bounds that no customer's state ever passes, and who shares what."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.main import main
from profiles.values import KEY_LENGTH
from rules import reference
from rules.compiler import compile_plan
from rules.cost import at_most, bound, costs, membership, most_numbers, total
from rules.definition import Segment
from rules.parse import parse_rule
from rules.plan import Plan
from rules.slots import Numbers
from tests.properties.strategies import event

RULES = {
    key: entry.example
    for key, entry in reference.CONDITIONS.items()
    if key not in ("segment", "score", "cluster", "during")
}
RULES["per"] = "{event: A, per: 'properties.products[].product_id', within: 7d, count: {gte: 9}}"
RULES["distinct"] = "aggregate: {fn: distinct, of: 'properties.products[].product_id', event: A, gte: 50}"
RULES["trend"] = "aggregate: {fn: trend, of: properties.revenue, event: A, within: 7d, against: 28d, lt: 0.5}"
RULES["short sum"] = "aggregate: {fn: sum, of: properties.revenue, event: A, within: 0.199s, gte: 5}"
RULES["short trend"] = (
    "aggregate: {fn: trend, of: properties.revenue, event: A, within: 0.199s, against: 0.199s, lt: 0.5}"
)
RULES["journey per"] = (
    "sequence: {per: 'properties.products[].product_id', within: 90d, steps: [{event: A}, {event: B}]}"
)
RULES["returns"] = "{event: any, after_silence: 1h, within: 60d, count: {gte: 3}}"


def plan_of(condition: str) -> Plan:
    lines = "".join(f"  {line}\n" for line in condition.splitlines())
    return compile_plan([parse_rule(f"segment: x\nwhen:\n{lines}", "x.yaml").segment])


def largest(key: int, plan: Plan, pauses: tuple[int, ...] = (0, 1_000, 4_000_000, 40_000_000)) -> int:
    """The most bytes that a slot takes in a long history of events that it counts, each so long after the one before."""
    chosen, slots, most, clock = random.Random(7), dict[int, Any](), 0, 1_700_000_000_000
    roles = {id(role): role for one in (*plan.by_event.values(), plan.other) for role in one.roles}
    adds = [role[1] for role in roles.values()]
    for number in range(1000):
        clock += chosen.choice(pauses)
        time = clock - chosen.choice((0, 0, 1, 22 * max(pauses) // 10))
        ids = [f"{chosen.randrange(400)}" + "\U0001f600" * KEY_LENGTH for _ in range(40)]
        properties = {
            "products": [{"product_id": one} for one in ids],
            "product_id": ids[0],
            "revenue": 8e12 * chosen.random(),
        }
        context = {"device": {"type": "\U0001f600" * 300}, "campaign": {"name": "\U0001f600" * 300}}
        name = chosen.choice((*plan.by_event, "other"))
        one = event(name, time, number, properties=properties, context=context)
        for add in adds:
            add(slots, time, one, clock)
        most = max(most, len(msgspec.msgpack.encode({key: slots[key]})) if key in slots else 0)
    return most


@pytest.mark.parametrize(
    "pauses", [(0, 1_000, 4_000_000, 40_000_000), (0, 0, 0, 1), (0,)], ids=["mixed", "dense", "at once"]
)
@pytest.mark.parametrize("name", RULES)
def test_no_state_grows_beyond_its_bound(name: str, pauses: tuple[int, ...]) -> None:
    plan = plan_of(RULES[name])
    for key, slot in plan.slots.items():
        most = largest(key, plan, pauses)
        assert 0 < most <= bound(slot), type(slot).__name__


@pytest.mark.parametrize("name", ["event", "per", "distinct", "context", "aggregate", "short sum"])
def test_a_bound_is_not_much_larger_than_what_can_be_reached(name: str) -> None:
    plan = plan_of(RULES[name])
    for key, slot in plan.slots.items():
        most = max(largest(key, plan, pauses) for pauses in ((0, 1_000, 4_000_000), (0, 0, 0, 1)))
        assert bound(slot) <= 2.6 * most + 20, type(slot).__name__


@pytest.mark.parametrize("name", ["short sum", "short trend", "aggregate", "trend"])
def test_a_window_has_no_more_numbers_than_is_said(name: str) -> None:
    """A window of 199 ms has 199 panes, as none is below a millisecond, and beside them those that are not merged yet."""
    ((key, slot),) = plan_of(RULES[name]).slots.items()
    assert isinstance(slot, Numbers)
    state, most = dict[int, Any](), 0
    for at in range(8 * slot.most):
        time = 1_700_000_000_000 + at // 4 * slot.pane
        slot.trim(slot.insert(state, time, 1), time)
        most = max(most, len(state[key][0]))
    assert most <= most_numbers(slot)
    assert (most > slot.most) is name.startswith("short")


def segments(**conditions: str) -> list[Segment]:
    return [
        parse_rule(f"segment: {name}\nwhen:\n  {text}\n", f"{name}.yaml").segment for name, text in conditions.items()
    ]


def test_what_is_shared_is_counted_once_and_says_with_whom() -> None:
    three = segments(a="event: A\n  within: 7d", b="absent: A\n  within: 30d", c="event: B\n  within: 1d")
    plan = compile_plan(three)
    found = costs(plan, three)
    one, other, apart = found.segments
    assert one.slots == other.slots != apart.slots
    assert [found.shares_with(each) for each in found.segments] == [["b"], ["a"], []]
    (key,) = one.slots
    kept = found.slots[key]
    assert (kept.counts, kept.segments, kept.exact, kept.beyond) == ("A within 7d", ("a", "b"), None, "")
    assert found.bytes == one.bytes + other.bytes + apart.bytes - kept.bytes == total(plan)
    assert found.typical == one.typical + other.typical + apart.typical - kept.typical
    assert [at_most(plan, each) for each in plan.segments] == [each.bytes for each in found.segments]


def test_what_keeps_a_membership_longer_makes_it_larger() -> None:
    rest = ("", "exit: {on: B}\n", "stability: {cooldown: 1h}\n")
    plans = [compile_plan([parse_rule(f"segment: x\nwhen: {{event: A}}\n{more}", "x.yaml").segment]) for more in rest]
    plain, latched, governed = (membership(plan.segments[0]) for plan in plans)
    assert plain < latched < governed


@pytest.mark.parametrize(
    ("name", "beyond"),
    [
        ("event", ""),
        ("distinct", ""),
        ("per", "64 values seen last"),
        ("trend", "328 numbers, then panes of 6h43m12s"),
        ("journey per", "64 newest events"),
        ("short sum", "228 numbers, then panes of 0.001s"),
    ],
)
def test_it_says_up_to_where_it_is_exact(name: str, beyond: str) -> None:
    text = "".join(f"  {line}\n" for line in RULES[name].splitlines())
    segment = parse_rule(f"segment: x\nwhen:\n{text}", "x.yaml").segment
    (kept,) = costs(compile_plan([segment]), [segment]).slots.values()
    assert kept.beyond == beyond


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(45):
        (tmp_path / f"few-{number}.yaml").write_text(
            f"segment: few-{number}\nwhen: {{event: A, within: {number + 1}d}}\n"
        )
    rule = "aggregate: {fn: sum, of: properties.revenue, event: A, within: 7d, gte: 5}"
    (tmp_path / "x.yaml").write_text(f"segment: x\nwhen:\n  {rule}\nexit: {{after: 3d}}\n")
    return tmp_path


def test_check_shows_the_costliest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if line.startswith("x "))
    assert re.fullmatch(r"x +6,\d{3} +\d{3}  window exit, exit +up to 228 numbers, then panes of 1h40m48s +-", row), row
    (few,) = (line for line in lines if line.startswith("few-44 "))
    assert few.endswith("few-0, few-1 +42")
    assert any(line.startswith("... 6 that cost less (--cost)") for line in lines)
    assert any(line.startswith("together, shared once") for line in lines)
    assert lines[-1] == "46 segments checked, 0 warnings"


def test_check_shows_all_or_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", "--cost", str(folder)]) == 0
    assert sum(line.startswith(("few-", "x ")) for line in capsys.readouterr().out.splitlines()) == 46
    assert main(["rules", "check", "--no-cost", str(folder)]) == 0
    assert capsys.readouterr().out == "46 segments checked, 0 warnings\n"


def test_check_says_it_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", "--json", str(folder)]) == 0
    found = json.loads(capsys.readouterr().out)
    one = found["cost"][-1]
    (slot,) = (slot for slot in found["slots"] if slot["slot"] in one["slots"])
    assert (one["segment"], one["waits"], slot["exact"], slot["pane"]) == (
        "x",
        {"window exit": 1, "exit": 1},
        228,
        "1h40m48s",
    )
    assert one["typical"] < one["bytes"] < found["bytes"] < sum(each["bytes"] for each in found["cost"])
    assert main(["rules", "check", "--json", "--no-cost", str(folder)]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"valid", "segments", "warnings"}
