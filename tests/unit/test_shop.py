"""The simulated shop: the same bytes for the same seed, disorder within its bound, and each persona as it is meant."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from statistics import fmean
from typing import Any

import pytest

from profiles.event import InvalidRecord, decode_event, parse_time
from shop import Delivery, simulate
from shop.people import ZONES

START = 1_760_000_000_000  # 2025-10-09, a Thursday
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@cache
def five_minutes() -> tuple[Delivery, ...]:
    """History and five live minutes of 400 customers at 20 events a second."""
    return tuple(simulate(7, 400, START, until=START + 5 * MINUTE))


@cache
def clean_events() -> tuple[tuple[int, dict[str, Any]], ...]:
    """(event time, event) of all first, proper deliveries."""
    proper = [json.loads(d.value) for d in five_minutes() if d.label in (None, "straggler")]
    return tuple((parse_time(event["timestamp"]), event) for event in proper)


def name(event: dict[str, Any]) -> str:
    return str(event.get("event", event["type"]))


def test_the_seed_decides_every_byte() -> None:
    again = simulate(7, 400, START, until=START + 5 * MINUTE)
    assert list(again) == list(five_minutes())
    other = simulate(8, 400, START, until=START + 5 * MINUTE)
    assert [d.value for d in other] != [d.value for d in five_minutes()]


def test_the_live_part_continues_the_history() -> None:
    history = list(simulate(7, 400, START, until=START))
    assert history == list(five_minutes()[: len(history)])
    assert history[-1].at < START <= five_minutes()[len(history)].at


def test_deliveries_come_in_the_order_of_their_times() -> None:
    times = [d.at for d in five_minutes()]
    assert times == sorted(times)


def test_disorder_is_bounded_but_for_stragglers() -> None:
    delays: dict[str | None, list[int]] = defaultdict(list)
    for d in simulate(3, 400, START, until=START, disorder=2_000, stragglers=0.01):
        if d.label in (None, "straggler"):
            delays[d.label].append(d.at - parse_time(json.loads(d.value)["timestamp"]))
    assert min(delays[None]) > 0 and max(delays[None]) <= 2_000
    assert max(delays[None]) > 1_000  # the bound is used, so that a smaller one in the job would show
    assert min(delays["straggler"]) > 2_000 and max(delays["straggler"]) <= HOUR + 2_001


def test_events_do_arrive_out_of_order() -> None:
    times = [parse_time(json.loads(d.value)["timestamp"]) for d in five_minutes() if d.label is None]
    assert sum(one > two for one, two in pairwise(times)) > len(times) / 50


def test_shares_of_duplicates_and_dirt() -> None:
    labels = Counter(
        (d.label or "proper").split(":")[0]
        for d in simulate(5, 2000, START, until=START, duplicates=0.02, dirty=0.01, stragglers=0)
    )
    events = labels["proper"]
    assert events > 10_000
    assert 0.016 < labels["duplicate"] / events < 0.024
    assert 0.007 < labels["dirt"] / events < 0.013
    none = Counter(d.label for d in simulate(5, 400, START, until=START, duplicates=0, dirty=0, stragglers=0))
    assert set(none) == {None}


def test_a_duplicate_repeats_an_earlier_delivery_to_the_byte() -> None:
    seen: set[bytes] = set()
    repeated = 0
    for d in five_minutes():
        if d.label == "duplicate":
            assert d.value in seen
            repeated += 1
        elif d.label in (None, "straggler"):
            assert d.value not in seen or d.label == "straggler"
        seen.add(d.value)
    assert repeated


def test_message_ids_are_unique_among_proper_events() -> None:
    ids = Counter(event["messageId"] for _, event in clean_events())
    assert max(ids.values()) == 1


def test_every_proper_event_is_one_for_the_job_and_keyed_by_its_customer() -> None:
    for d in five_minutes():
        if d.label is None:
            assert d.key is not None
            event = decode_event(d.value, d.key.decode(), d.at, 0, 0)
            assert json.loads(d.value)["userId"].encode() == d.key
            assert event.event_time < d.at
            assert event.context["device"]["type"] in ("mobile", "desktop", "tablet")


def test_dirt_of_every_kind_comes_and_most_of_it_is_refused_by_the_job() -> None:
    kinds: dict[str, Delivery] = {}
    for d in simulate(5, 2000, START, until=START, dirty=0.05, oversize=True):
        if d.label and d.label.startswith("dirt: "):
            kinds[d.label.removeprefix("dirt: ")] = d
    assert len(kinds) == 13
    for kind, d in kinds.items():
        if kind == "far future":  # an event all right, but one for quarantine
            assert decode_event(d.value, "c", d.at, 0, 0).event_time > d.at + 365 * DAY
        elif kind == "deep":  # readers differ on how deep is too deep; none may fall over
            assert d.value.count(b"[") == 2000
        else:
            with pytest.raises(InvalidRecord):
                decode_event(d.value, "c", d.at, 0, 0)
    assert len(kinds["oversize"].value) > 900_000


def test_the_rate_of_the_live_part() -> None:
    for rate, seconds in ((20.0, 60), (2_000.0, 5)):
        until = START + seconds * 1000
        shop = simulate(
            11,
            1000,
            START,
            rate=rate,
            until=until,
            days=0,
            past=False,
            dirty=0,
            duplicates=0,
        )
        assert sum(d.at >= START for d in shop) == pytest.approx(rate * seconds, rel=0.15)


def test_live_goes_on_without_end() -> None:
    assert next(d for d in simulate(1, 50, START, days=0, past=False, rate=20) if d.at > START + 60 * MINUTE)


def test_limits_of_days_are_crossed_in_the_first_live_minutes() -> None:
    """Several customers a minute cross 30 minutes and 24 hours after a cart, and 7 days after a look, in silence."""
    by_customer: dict[str, list[tuple[int, str, dict[str, Any]]]] = defaultdict(list)
    for time, event in clean_events():
        by_customer[event["userId"]].append((time, name(event), event.get("properties", {})))
    crossings: Counter[tuple[str, int]] = Counter()
    for happened in by_customer.values():
        happened.sort(key=lambda item: item[0])
        last_time, last_name, properties = happened[-1]
        for what, wait in (
            ("Cart Updated", 30 * MINUTE),
            ("Cart Updated", DAY),
            ("Product Viewed", 7 * DAY),
        ):
            if last_name == what and 0 <= (crossing := last_time + wait - START) < 5 * MINUTE:
                assert what != "Cart Updated" or properties["item_count"] >= 3
                crossings[(f"{what} {wait}", crossing // (5 * MINUTE))] += 1
        orders = [time for time, what, _ in happened if what == "Order Completed"]
        for days in (30, 90):
            if len(orders) >= 2 and 0 <= (crossing := orders[-1] + days * DAY - START) < 5 * MINUTE:
                crossings[(f"order {days}", 0)] += 1
    assert len(crossings) == 5, crossings
    assert all(count >= 8 for count in crossings.values()), crossings


def test_personas_do_what_they_are_named_for() -> None:
    events = clean_events()
    per_customer: dict[str, Counter[str]] = defaultdict(Counter)
    views: dict[str, Counter[str]] = defaultdict(Counter)
    for _, event in events:
        per_customer[event["userId"]][name(event)] += 1
        if name(event) == "Product Viewed":
            views[event["userId"]][event["properties"]["product_id"]] += 1
    buyers = [c for c in per_customer.values() if c["Order Completed"] >= 3]
    abandoners = [c for c in per_customer.values() if c["Cart Updated"] >= 3 and not c["Order Completed"]]
    clickers = [c for c in per_customer.values() if c["Email Link Clicked"] >= 2]
    looking_again = [c for c in views.values() if max(c.values()) > 3]
    for group in (buyers, abandoners, clickers, looking_again):
        assert len(group) >= 10
    assert len({event["anonymousId"] for _, event in events}) > len(per_customer)  # several devices


def test_office_workers_come_by_phone_in_their_office_hours() -> None:
    offsets = {zone: int(hours * HOUR) for zone, hours, _, _ in ZONES}
    in_hours: dict[str, list[bool]] = defaultdict(list)
    devices: dict[str, set[str]] = defaultdict(set)
    for time, event in clean_events():
        context = event["context"]
        devices[event["userId"]].add(context["device"]["type"])
        if START - 8 * DAY <= time < START - HOUR and not name(event).startswith("Email"):
            local = datetime.fromtimestamp((time + offsets[context["timezone"]]) / 1000, UTC)
            in_hours[event["userId"]].append(local.weekday() < 5 and 9 <= local.hour < 17)
    shares: dict[bool, list[float]] = defaultdict(list)
    for who, inside in in_hours.items():
        if len(inside) >= 20:
            shares[devices[who] == {"mobile"}].append(sum(inside) / len(inside))
    assert len(shares[True]) >= 10
    assert fmean(shares[True]) > 0.6
    assert fmean(shares[False]) < 0.4


def test_lifetime_value_is_the_sum_of_orders_less_refunds() -> None:
    spent: Counter[str] = Counter()
    checked = 0
    for _, event in sorted(clean_events(), key=lambda item: item[0]):
        who = event["userId"]
        if name(event) == "Order Completed":
            spent[who] += round(event["properties"]["revenue"] * 100)
        elif name(event) == "Order Refunded":
            spent[who] -= round(event["properties"]["revenue"] * 100)
        elif name(event) == "identify" and spent[who] and round(event["traits"]["lifetime_value"] * 100) == spent[who]:
            checked += 1
    assert checked > 100


def test_new_customers_keep_coming() -> None:
    first: dict[str, int] = {}
    for time, event in clean_events():
        first[event["userId"]] = min(time, first.get(event["userId"], time))
    assert sum(time >= START for time in first.values()) >= 3
    assert sum(START - 7 * DAY < time < START for time in first.values()) >= 10


@pytest.mark.parametrize("arguments", [{"customers": 19}, {"rate": 0.0}, {"disorder": 1}])
def test_impossible_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least|above"):
        simulate(**{"seed": 1, "customers": 100, "start": START, **arguments})


def test_customers_who_turn_do_so_at_their_moment_and_not_before() -> None:
    """Of all carts about as many are ordered by those who mostly leave them as before by those who mostly order them."""
    turn = START - 10 * DAY
    usual = list(simulate(7, 200, START, days=20, until=START, past=False))
    turned = list(simulate(7, 200, START, days=20, until=START, past=False, turn=turn))
    calm = [d for d in usual if d.at < turn]
    assert turned[: len(calm)] == calm and len(calm) > 1000
    shares: dict[bool, dict[str, float]] = {}
    for after in (False, True):
        carts, orders = Counter[str](), Counter[str]()
        for d in turned:
            if d.label is None and (d.at >= turn) is after:
                event = json.loads(d.value)
                carts[event["userId"]] += name(event) == "Cart Updated"
                orders[event["userId"]] += name(event) == "Order Completed"
        shares[after] = {who: min(1.0, orders[who] / count) for who, count in carts.items() if count >= 6}
    both = shares[False].keys() & shares[True].keys()
    buyers = [who for who in both if shares[False][who] > 0.4]
    leavers = [who for who in both if shares[False][who] < 0.15]
    assert min(len(buyers), len(leavers)) >= 5
    assert fmean(shares[True][who] for who in buyers) < 0.25 < 0.4 < fmean(shares[True][who] for who in leavers)
