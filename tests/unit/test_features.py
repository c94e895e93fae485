"""Features: how they are written, what is refused and where, what they say on each side of a boundary, what they share with rules."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from online_models.definition import Feature
from online_models.features import KINDS, Column, FeatureSet, read_feature
from online_models.features.activity import Age, Count, FadingPoints, Recency, Velocity, Visit
from online_models.features.calendar import Clock
from online_models.features.categories import TOP_TIMES, NewestWord, OneTrait, TopWord
from online_models.features.numeric import Amount, Distinct, NewestNumber
from online_models.features.shares import Share
from profiles.document import load
from profiles.event import Event
from profiles.profile import Profile
from rules.compiler import compile_plan
from rules.condition_reader import ConditionReader
from rules.definition import ANY_EVENT, EventRef, Operator, Test
from rules.parse import parse_rule
from tests.properties.delivery import Customer, Rules

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MONDAY = 1_772_409_600_000
"""2026-03-02T00:00:00Z."""

ORDER, VIEW = EventRef("Order Completed"), EventRef("Product Viewed")


def read(text: str) -> tuple[Feature | None, list[str]]:
    """One line of `features`, and what is wrong with it."""
    reader = ConditionReader()
    found = read_feature(reader, load(text, "m.yaml"))
    return found, [str(error) for error in reader.errors]


def parameters(text: str) -> Any:
    found, errors = read(text)
    assert found is not None and errors == []
    return found.parameters


class Shopper:
    """A customer of whom these features are kept."""

    def __init__(self, *lines: str, zone: str | None = None, segments: tuple[str, ...] = ()) -> None:
        found = [read(line)[0] for line in lines]
        assert None not in found
        self.features = FeatureSet([one for one in found if one is not None], zone)
        rules = [parse_rule(f"segment: x{n}\nwhen: {when}\n", f"x{n}.yaml").segment for n, when in enumerate(segments)]
        self.plan = compile_plan(rules, watches=[self.features])
        self.customer = Customer(Rules(1, self.plan))
        self.number = 0

    def does(self, name: str, at: int, traits: dict[str, Any] | None = None, context: Any = None, **fields: Any) -> int:
        self.number += 1
        event = Event(f"e{self.number}", name, at, "c", fields, traits, context or {}, at)
        return self.customer.apply(event, 0).watched

    def row(self, clock: int) -> list[Any]:
        assert self.customer.profile is not None
        return self.features.read(self.customer.profile, clock)


# --- how they are written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("recency", Recency(ORDER)),
        ("{recency: {event: Email Opened, log: true}}", Recency(EventRef("Email Opened"), True)),
        ("age", Age(None)),
        ("{age: {event: Order Completed}}", Age(ORDER)),
        ("frequency", Count(ORDER, 90 * DAY, 100)),
        ("{count: {within: ever, most: 1000}}", Count(VIEW, None, 1000)),
        ("session_depth", Visit("depth", EventRef(ANY_EVENT), 30 * MINUTE, "last")),
        ("{session_length: {which: current, gap: 1h}}", Visit("length", EventRef(ANY_EVENT), HOUR, "current")),
        ("{engagement: {points: {A: 1.5}, half_life: 1d}}", FadingPoints(((EventRef("A"), 1.5),), DAY)),
        ("velocity", Velocity(EventRef(ANY_EVENT), 7 * DAY, 28 * DAY)),
        ("{velocity: {within: 60d}}", Velocity(EventRef(ANY_EVENT), 60 * DAY, 60 * DAY)),
        ("monetary", Amount("sum", "properties.revenue", ORDER, 90 * DAY)),
        (
            "{mean: {path: 'properties.products[].price', within: ever}}",
            Amount("mean", "properties.products[].price", ORDER, None),
        ),
        ("distinct", Distinct("properties.product_id", VIEW, 30 * DAY, 32)),
        ("cart_items", NewestNumber("properties.item_count", EventRef("Cart Updated"), 7 * DAY, (ORDER,), 0.0)),
        ("{number: {path: context.age}}", NewestNumber("context.age", EventRef(ANY_EVENT), None)),
        (
            "click_through",
            Share(
                (EventRef("Email Link Clicked"),),
                (EventRef("Email Link Clicked"), EventRef("Email Delivered")),
                90 * DAY,
                apart=True,
            ),
        ),
        (
            "{affinity: {to: {event: Product Viewed, where: {properties.category: shoes}}, least: 5}}",
            Share(
                (EventRef("Product Viewed", (Test("properties.category", Operator.EQ, "shoes"),)),), (VIEW,), 30 * DAY, 5
            ),
        ),
        ("{category: {path: context.device.type, encode: hash}}", NewestWord("context.device.type", EventRef("any"), None, "hash")),
        ("top", TopWord("properties.category", VIEW, 30 * DAY)),
        ("{trait: {name: country, encode: target}}", OneTrait("country", False, "target")),
        ("{trait: {name: points, type: number}}", OneTrait("points", True)),
        ("hour", Clock("hour")),
        ("{weekday: {encode: onehot}}", Clock("weekday", "onehot")),
    ],
)  # fmt: skip
def test_what_is_written_is_what_is_meant(written: str, expected: Any) -> None:
    assert parameters(written) == expected


def test_a_feature_has_its_name_and_knows_where_it_stands() -> None:
    found, _ = read("\n  {count: {as: views}}")
    assert found is not None
    assert (found.name, found.kind, found.line, found.column) == ("views", "count", 2, 4)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("recancy", "m.yaml:1:1: there is no feature 'recancy' (did you mean 'recency'?)"),
        ("{recancy: {}}", "m.yaml:1:2: there is no feature 'recancy' (did you mean 'recency'?)"),
        ("total", "m.yaml:1:1: there is no feature 'total' (write `sum`)"),
        ("7", "m.yaml:1:1: a feature must be text, not a number"),
        ("[recency]", "m.yaml:1:1: a feature is a name or a mapping of one name, not a list"),
        ("{recency: {}, age: {}}", "m.yaml:1:1: a feature is a name or a mapping of one name, not of 2"),
        ("{recency: 7d}", "m.yaml:1:11: what stands under `recency` must be a mapping, not text"),
        ("{recency: {evnt: A}}", "m.yaml:1:12: unknown key 'evnt' (did you mean 'event'?)"),
        ("{recency: {within: 7d}}", "m.yaml:1:12: unknown key 'within'"),
        ("{monetary: {of: properties.revenue}}", "m.yaml:1:13: unknown key 'of' (write `path`)"),
        ("trait", "m.yaml:1:1: 'name' is missing here (write for example `trait: {name: country"),
        ("{category: {encode: hash}}", "m.yaml:1:12: 'path' is missing here (write for example `category:"),
        ("{recency: {as: My Recency}}", "m.yaml:1:16: 'My Recency' is no name of a feature"),
        ("{recency: {as: a.sin}}", "m.yaml:1:16: 'a.sin' is no name of a feature"),
        ("{recency: {log: 1}}", "m.yaml:1:17: `log` must be true or false, not a number"),
        ("{count: {within: 7}}", "m.yaml:1:18: `within` must be a duration"),
        ("{count: {most: 1001}}", "m.yaml:1:16: `most` must be between 1 and 1,000"),
        ("{count: {where: {price: 3}}}", "m.yaml:1:18: a path starts with properties, context or traits, not 'price'"),
        ("{count: {during: {hours: 9}}}", "m.yaml:1:26: `hours` must be text"),
        ("{sum: {path: name}}", "m.yaml:1:14: the name of an event is no value in it"),
        ("{cart_items: {path: 'properties.a[].b'}}", "m.yaml:1:21: 'properties.a[].b' is not one value"),
        ("{category: {path: context.a, encode: onhot}}", "m.yaml:1:38: `encode` is one of onehot, hash, target"),
        ("{hour: {encode: hash}}", "m.yaml:1:17: `encode` is one of cyclic, onehot"),
        ("{velocity: {within: 7d, against: 1d}}", "m.yaml:1:34: `against` is shorter than `within`"),
        ("{velocity: {within: ever}}", "m.yaml:1:21: `within` must be a duration"),
        ("{engagement: {points: {A: many}}}", "m.yaml:1:27: `points` must be a number"),
        ("{affinity: {to: A, among: B}}", "m.yaml:1:17: 'A' is not `among` the events that are counted"),
        ("{trait: {name: traits.country}}", "m.yaml:1:16: `name` is that of a trait, not a path (write 'country')"),
        ("{trait: {name: a, type: number, encode: hash}}", "m.yaml:1:33: a number is not encoded"),
        ("{session_depth: {which: first}}", "m.yaml:1:25: `which` is one of last, current"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(written: str, expected: str) -> None:
    found, errors = read(written)
    assert found is None
    assert [error[: len(expected)] for error in errors] == [expected]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_example_of_each_kind_is_a_feature(kind: Any) -> None:
    found, errors = read(f"{{{kind.example}}}")
    assert errors == [] and found is not None and found.kind == kind.name
    assert kind.meaning.endswith(".") and kind.state
    assert len({key.name for key in kind.keys}) == len(kind.keys)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_what_is_needed_is_said_to_be_so(kind: Any) -> None:
    """A kind stands by its name alone if and only if none of its keys is required."""
    found, _ = read(kind.name)
    assert (found is None) is any(key.required for key in kind.keys)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_parameters_are_values_that_a_digest_can_be_made_of(kind: Any) -> None:
    one, other = parameters(f"{{{kind.example}}}"), parameters(f"{{{kind.example}}}")
    assert one == other and repr(one) == repr(other) and hash(one) == hash(other)
    assert "0x" not in repr(one)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.new = 1


def test_columns() -> None:
    features = Shopper(
        "recency", "{hour: {as: clock}}", "{top: {encode: target}}", "{weekday: {encode: onehot}}"
    ).features
    assert features.columns == (
        Column("recency"),
        Column("clock.sin"),
        Column("clock.cos"),
        Column("top", True, "target"),
        Column("weekday", True, "onehot"),
    )


def test_without_a_plan_there_are_no_rows() -> None:
    with pytest.raises(RuntimeError, match="compile a plan"):
        FeatureSet(()).read(Profile(), 0)


# --- what they say ------------------------------------------------------------------------------------------------------


def test_of_a_customer_of_whom_nothing_is_known() -> None:
    shopper = Shopper(*(f"{{{kind.example}}}" for kind in KINDS.values()))
    said = dict(
        zip((column.name for column in shopper.features.columns), shopper.features.read(Profile(), MONDAY), strict=True)
    )
    known = {name: value for name, value in said.items() if value is not None}
    assert known == {
        "frequency": 0.0,
        "views": 0.0,
        "session_depth": 0.0,
        "engagement": 0.0,
        "monetary": 0.0,
        "sum": 0.0,
        "products_seen": 0.0,
        "cart_items": 0.0,
        "cart_value": 0.0,
        "hour.sin": 0.0,
        "hour.cos": 1.0,
        "weekday.sin": 0.0,
        "weekday.cos": 1.0,
    }


def test_what_lies_a_window_back_counts_no_more_and_a_millisecond_before_it_does() -> None:
    shopper = Shopper(
        "{count: {within: 7d}}", "{mean: {path: properties.price, event: any}}", "{distinct: {within: 7d}}", "top"
    )
    shopper.does("Product Viewed", MONDAY, price=3, product_id="p", category="shoes")
    assert shopper.row(MONDAY + 7 * DAY - 1) == [1.0, 3.0, 1.0, "shoes"]
    assert shopper.row(MONDAY + 7 * DAY) == [0.0, 3.0, 0.0, "shoes"]
    assert shopper.row(MONDAY + 30 * DAY - 1)[3] == "shoes"
    assert shopper.row(MONDAY + 30 * DAY)[3] is None
    assert shopper.row(MONDAY + 90 * DAY - 1)[1] == 3.0
    assert shopper.row(MONDAY + 90 * DAY)[1] is None


def test_days_since_and_their_logarithm() -> None:
    shopper = Shopper("recency", "{recency: {as: b, log: true}}", "age")
    shopper.does("Product Viewed", MONDAY)
    shopper.does("Order Completed", MONDAY + DAY)
    assert shopper.row(MONDAY + DAY + HOUR) == [1 / 24, 0.040821995, 25 / 24]


def test_a_logarithm_keeps_the_sign() -> None:
    shopper = Shopper("{sum: {log: true}}")
    shopper.does("Order Completed", MONDAY, revenue=-9)
    assert shopper.row(MONDAY) == [-2.302585093]


def test_no_more_are_counted_than_is_said() -> None:
    shopper = Shopper("{count: {most: 2}}", "{count: {most: 2, within: ever}}", "{distinct: {most: 2}}")
    for at in range(4):
        shopper.does("Product Viewed", MONDAY + at, product_id=at)
    assert shopper.row(MONDAY + 4) == [2.0, 2.0, 2.0]


def test_what_others_keep_of_the_same_events_changes_no_count() -> None:
    shopper = Shopper("{count: {most: 2}}", "{distinct: {most: 2}}", segments=(
        "{event: Product Viewed, within: 90d, count: {gte: 50}}",
        "{aggregate: {fn: distinct, of: properties.product_id, event: Product Viewed, within: 90d, gte: 50}}",
    ))  # fmt: skip
    for at in range(4):
        shopper.does("Product Viewed", MONDAY + at * DAY, product_id=at)
    assert shopper.row(MONDAY + 4 * DAY) == [2.0, 2.0]
    assert shopper.row(MONDAY + 10 * DAY - 1) == [1.0, 2.0]


def test_a_visit_that_is_over_is_the_last_one_but_goes_on_no_more() -> None:
    shopper = Shopper("session_depth", "session_length", "{session_depth: {which: current, as: now}}")
    shopper.does("A", MONDAY)
    shopper.does("B", MONDAY + 29 * MINUTE)
    end = MONDAY + 29 * MINUTE + 30 * MINUTE
    assert shopper.row(end - 1) == [2.0, 29.0, 2.0]
    assert shopper.row(end) == [2.0, 29.0, 0.0]


def test_a_cart_is_empty_once_it_is_ordered_or_old() -> None:
    shopper = Shopper("cart_items", "cart_value")
    shopper.does("Cart Updated", MONDAY, item_count=3, value=29.95)
    assert shopper.row(MONDAY) == [3.0, 29.95]
    assert shopper.row(MONDAY + 7 * DAY - 1) == [3.0, 29.95]
    assert shopper.row(MONDAY + 7 * DAY) == [0.0, 0.0]
    assert shopper.does("Order Completed", MONDAY + 5) == 1
    assert shopper.row(MONDAY + 5) == [0.0, 0.0]
    shopper.does("Cart Updated", MONDAY + 6, item_count=1)
    assert shopper.row(MONDAY + 6) == [1.0, 0.0]


def test_velocity_lies_between_nothing_any_more_and_nothing_before() -> None:
    shopper = Shopper("{velocity: {within: 7d, against: 28d}}")
    shopper.does("A", MONDAY)
    assert shopper.row(MONDAY) == [1.0]
    assert shopper.row(MONDAY + 7 * DAY - 1) == [1.0]
    assert shopper.row(MONDAY + 7 * DAY) == [-1.0]
    for _ in range(3):
        shopper.does("A", MONDAY)
    shopper.does("A", MONDAY + 7 * DAY)
    assert shopper.row(MONDAY + 7 * DAY) == [0.0]
    assert shopper.row(MONDAY + 42 * DAY) == [None]


def test_several_clicks_on_one_mail_are_not_more_than_all() -> None:
    shopper = Shopper("click_through")
    shopper.does("Email Link Clicked", MONDAY)
    assert shopper.row(MONDAY) == [None]
    shopper.does("Email Delivered", MONDAY + 1)
    shopper.does("Email Link Clicked", MONDAY + 2)
    assert shopper.row(MONDAY + 2) == [1.0]
    for at in range(3):
        shopper.does("Email Delivered", MONDAY + 3 + at)
    assert shopper.row(MONDAY + 6) == [0.5]


def test_the_most_frequent_value_and_the_newest_of_several() -> None:
    shopper = Shopper("top")
    for at, category in enumerate(("b", "b", "a", "a", "c")):
        shopper.does("Product Viewed", MONDAY + at, category=category)
    assert shopper.row(MONDAY + 5) == ["a"]
    shopper.does("Product Viewed", MONDAY + 6, category="b")
    assert shopper.row(MONDAY + 6) == ["b"]
    for at in range(TOP_TIMES):
        shopper.does("Product Viewed", MONDAY + 7 + at, category="c")
    assert shopper.row(MONDAY + 40) == ["c"]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_of_values_that_are_as_frequent_and_as_new_the_last_by_alphabet_whatever_the_order(order: str) -> None:
    shopper = Shopper("top")
    for category in order:
        shopper.does("Product Viewed", MONDAY, category=category)
    assert shopper.row(MONDAY) == ["b"]


def test_the_newest_at_two_paths_of_the_same_events_are_told_apart() -> None:
    """What must be there of an event is the same for both, in the other order."""
    shopper = Shopper(
        "{category: {event: A, path: properties.a, where: {properties.b: {exists: true}}}}",
        "{category: {event: A, path: properties.b, where: {properties.a: {exists: true}}}}",
    )
    shopper.does("A", MONDAY, a="one", b="other")
    assert shopper.row(MONDAY) == ["one", "other"]


def test_a_long_text_is_cut_off_but_told_from_others() -> None:
    shopper = Shopper("{category: {path: properties.a}}", "{trait: {name: a}}", "{top: {path: properties.a}}")
    shopper.does("Product Viewed", MONDAY, {"a": "x" * 99 + "yz"}, a="x" * 99 + "yz")
    one = shopper.row(MONDAY)
    shopper.does("Product Viewed", MONDAY + 1, {"a": "x" * 99 + "yw"}, a="x" * 99 + "yw")
    other = shopper.row(MONDAY + 1)
    assert all(len(value) == 100 and value.startswith("xxx") for value in one + other)
    assert len(set(one)) == len(set(other)) == 1 and one != other


@pytest.mark.parametrize(
    ("value", "word", "number"),
    [
        ("NL", "NL", None),
        ("", "", None),
        (17, "17", 17.0),
        (17.0, "17", 17.0),
        (0.1234567, "0.1234567", 0.123457),
        (True, "true", 1.0),
        (False, "false", 0.0),
        (9e12, "9000000000000", None),
        (-1e300, str(-int(1e300))[:91], None),
        (None, None, None),
    ],
)
def test_traits_as_words_and_as_numbers(value: Any, word: str | None, number: float | None) -> None:
    shopper = Shopper("{trait: {name: a}}", "{trait: {name: a, type: number, as: b}}")
    assert shopper.does("identify", MONDAY, {"a": value}) == 1
    found = shopper.row(MONDAY)
    assert found[1] == number
    assert found[0] == word or (word is not None and len(found[0]) == 100 and found[0].startswith(word))


def test_the_clock_is_that_of_where_the_customer_is() -> None:
    shopper = Shopper("{hour: {encode: onehot}}", "{weekday: {encode: onehot}}", "hour", zone="America/New_York")
    shopper.does("A", MONDAY)
    assert shopper.row(MONDAY) == ["19", "sun", -0.965925826, 0.258819045]
    shopper.does("A", MONDAY + 1, context={"timezone": "Asia/Kathmandu"})
    assert shopper.row(MONDAY + 15 * MINUTE - 1)[:2] == ["05", "mon"]
    assert shopper.row(MONDAY + 15 * MINUTE)[:2] == ["06", "mon"]
    shopper.does("identify", MONDAY + 2, {"timezone": "Europe/Berlin"})
    assert shopper.row(MONDAY + 2)[:2] == ["01", "mon"]
    assert shopper.row(2**62) == [None, None, None, None]


# --- what they share with rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("recency", "{since: Order Completed, gt: 30d}"),
        ("{age: {event: A}}", "{since: A, occurrence: first, gt: 30d}"),
        ("frequency", "{event: Order Completed, within: 30d, count: {gte: 3}}"),
        ("session_depth", "{session: {gap: 30m, depth: {gte: 5}}}"),
        ("{engagement: {points: {A: 1}, half_life: 7d}}", "{engagement: {points: {A: 1}, half_life: 7d, gte: 2}}"),
        ("velocity", "{aggregate: {fn: trend, event: any, within: 7d, against: 28d, lt: 0.5}}"),
        ("monetary", "{aggregate: {fn: sum, of: properties.revenue, event: Order Completed, within: 90d, gte: 200}}"),
        ("{mean: {within: ever}}", "{aggregate: {fn: mean, of: properties.revenue, event: Order Completed, gte: 2}}"),
        ("distinct", "{aggregate: {fn: distinct, of: properties.product_id, event: Product Viewed, within: 9d, gte: 2}}"),
        ("{affinity: {to: A, among: any}}", "{affinity: {to: A, among: any, within: 30d, gte: 0.5}}"),
        ("{category: {path: context.device.type}}", "{context: {device.type: mobile}, within: 7d}"),
        ("hour", "{during: {weekdays: mon-fri}}"),
    ],
)  # fmt: skip
def test_what_a_rule_counts_is_not_kept_twice(line: str, when: str) -> None:
    assert len(Shopper(line).plan.slots) == len(Shopper(line, segments=(when,)).plan.slots) == 1


def test_a_slot_shared_with_a_shorter_rule_keeps_as_long_and_as_many_as_the_feature_asks() -> None:
    rule = "{event: Product Viewed, within: 1d, count: {gte: 2}}"
    shopper = Shopper("{count: {within: 7d}}", segments=(rule,))
    for at in range(5):
        shopper.does("Product Viewed", MONDAY + at * DAY)
    assert shopper.row(MONDAY + 5 * DAY) == [5.0]


def test_what_a_rule_lets_go_of_sooner_is_still_heard_of_late() -> None:
    rule = "{context: {device.type: mobile}, within: 1d}"
    shopper = Shopper("{category: {path: context.device.type, within: 7d}}", segments=(rule,))
    shopper.does("A", MONDAY + 3 * DAY)
    shopper.does("A", MONDAY + DAY, context={"device": {"type": "mobile"}})
    assert shopper.row(MONDAY + 3 * DAY) == ["mobile"]


def test_it_is_told_of_what_it_asks_for_and_of_nothing_else() -> None:
    shopper = Shopper("frequency", "{trait: {name: country}}")
    assert shopper.does("Product Viewed", MONDAY) == 0
    assert shopper.does("Order Completed", MONDAY) == 1
    assert shopper.does("identify", MONDAY, {"country": "NL"}) == 1
    assert shopper.does("identify", MONDAY, {"city": "Delft"}) == 0
