"""What `segue rules check --cost` says is a bound: no customer's state ever becomes larger, however hard one tries."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.main import main
from profiles.values import KEY_LENGTH
from rules import reference
from rules.cost import bound, costs, total
from rules.parse import parse_rule
from rules.plan import Plan, compile_plan
from tests.properties.strategies import event

RULES = {
    key: entry.example
    for key, entry in reference.CONDITIONS.items()
    if key not in ("segment", "score", "cluster", "during")
}
RULES["per"] = "{event: A, per: 'properties.products[].product_id', within: 7d, count: {gte: 9}}"
RULES["distinct"] = "aggregate: {fn: distinct, of: 'properties.products[].product_id', event: A, gte: 50}"
RULES["trend"] = "aggregate: {fn: trend, of: properties.revenue, event: A, within: 7d, against: 28d, lt: 0.5}"
RULES["returns"] = "{event: any, after_silence: 1h, within: 60d, count: {gte: 3}}"


def plan_of(condition: str) -> Plan:
    lines = "".join(f"  {line}\n" for line in condition.splitlines())
    return compile_plan([parse_rule(f"segment: x\nwhen:\n{lines}", "x.yaml").segment])


def largest(key: int, plan: Plan) -> int:
    """The most bytes that a slot takes in a long history of events that it counts."""
    chosen, slots, most, clock = random.Random(7), dict[int, Any](), 0, 1_700_000_000_000
    roles = {id(role): role for one in (*plan.by_event.values(), plan.other) for role in one.roles}
    adds = [role[1] for role in roles.values()]
    for number in range(1500):
        clock += chosen.choice((0, 1_000, 4_000_000, 40_000_000))
        time = clock - chosen.choice((0, 0, 1, 90_000_000))
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


@pytest.mark.parametrize("name", RULES)
def test_no_state_grows_beyond_its_bound(name: str) -> None:
    plan = plan_of(RULES[name])
    for key, slot in plan.slots.items():
        most = largest(key, plan)
        assert 0 < most <= bound(slot), type(slot).__name__
    assert total(plan) == costs(plan)[0].bytes


def test_what_is_shared_is_counted_once() -> None:
    texts = ("event: A\n  within: 7d", "absent: A\n  within: 30d")
    plan = compile_plan(
        [parse_rule(f"segment: {n}\nwhen:\n  {t}\n", f"{n}.yaml").segment for n, t in zip("ab", texts, strict=True)]
    )
    one, other = costs(plan)
    assert (one.segment, one.slots, one.shared, one.exact) == ("a", 1, 1, None)
    assert total(plan) == one.bytes == other.bytes


def test_check_shows_the_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text(
        "segment: x\nwhen:\n  aggregate: {fn: sum, of: properties.revenue, event: A, within: 7d, gte: 5}\n"
    )
    assert main(["rules", "check", "--cost", str(tmp_path)]) == 0
    assert "exact up to 228 numbers of a window" in capsys.readouterr().out
    assert main(["rules", "check", "--cost", "--json", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cost"][0]["exact"] == 228
    assert found["bytes"] == found["cost"][0]["bytes"]
