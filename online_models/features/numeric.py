"""Features made of numbers that events carry: sums, means, extremes, how many different ones, and the newest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from online_models.features.kind import Attached, FeatureKind
from online_models.features.reading import AS, LOG, Line, event_keys, within_key
from profiles.profile import NEVER, Profile
from profiles.values import MICROS, micros
from rules.calendar import DAY
from rules.compiler import Compiler
from rules.definition import ANY_EVENT, EventRef
from rules.kinds.kind import Key
from rules.newest import Newest

_ORDER: Final = "Order Completed"
_CART: Final = "Cart Updated"

# --- sums, means, extremes ------------------------------------------------------------------------------------------

Function = Literal["sum", "mean", "min", "max"]


@dataclass(frozen=True)
class Amount:
    """Parameters of `monetary`, `sum`, `mean`, `min` and `max`; `within` None is ever."""

    fn: Function
    path: str
    ref: EventRef
    within: int | None
    log: bool = False


_REVENUE: Final = "properties.revenue"


def _read_amount(line: Line, fn: Function) -> Amount:
    return Amount(fn, line.path(_REVENUE), line.ref(_ORDER), line.within(90 * DAY), line.flag("log"))


def _attach_amount(compiler: Compiler, one: Amount) -> Attached:
    window = NEVER if one.within is None else one.within
    key = compiler.numbers(one.fn, one.ref, one.path, window)
    made = _ever(one.fn, key) if one.within is None else _lately(one.fn, key, window)
    return Attached((made,), frozenset((key,)), log=one.log)


def _ever(fn: Function, key: int) -> Callable[[Profile, int], float | None]:
    """What all numbers there ever were come to."""
    missing = 0.0 if fn == "sum" else None
    mean = fn == "mean"

    def read(profile: Profile, clock: int) -> float | None:
        state = profile.slots.get(key)
        if state is None:
            return missing
        number: int = state[0]
        count: int = state[1]
        return number / (count * MICROS) if mean else number / MICROS

    return read


def _lately(fn: Function, key: int, window: int) -> Callable[[Profile, int], float | None]:
    """What the numbers of a window come to."""
    missing = 0.0 if fn == "sum" else None
    mean, merge = fn == "mean", {"min": min, "max": max}.get(fn, sum)

    def read(profile: Profile, clock: int) -> float | None:
        state = profile.slots.get(key)
        if state is None:
            return missing
        times, numbers, counts = state
        start = bisect_right(times, clock - window)
        if start == len(times):
            return missing
        found: int = merge(numbers[start:] if start else numbers)
        return found / (sum(counts[start:]) * MICROS) if mean else found / MICROS

    return read


# --- how many different ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distinct:
    """Parameters of `distinct`: of at most `most` values; `within` None is as long as they are among the newest."""

    path: str
    ref: EventRef
    within: int | None
    most: int


_MOST: Final = 32


def _read_distinct(line: Line) -> Distinct:
    path = line.path("properties.product_id")
    return Distinct(path, line.ref("Product Viewed"), line.within(30 * DAY), line.integer("most", _MOST, 1, 200))


def _attach_distinct(compiler: Compiler, one: Distinct) -> Attached:
    window, most = NEVER if one.within is None else one.within, one.most
    key = compiler.distinct(one.ref, one.path, window, most)

    def read(profile: Profile, clock: int) -> float:
        state = profile.slots.get(key)
        if not state:
            return 0.0
        oldest = clock - window
        return float(min(most, sum([times[-1] > oldest for times in state.values()])))

    return Attached((read,), frozenset((key,)))


# --- the newest -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewestNumber:
    """Parameters of `number`, `cart_items` and `cart_value`: `missing` is said where there is none, or where it is spent.

    It is spent once an event of `emptied_by` has come, at its very time or later.
    """

    path: str
    ref: EventRef
    within: int | None
    emptied_by: tuple[EventRef, ...] = ()
    missing: float | None = None
    log: bool = False


def _read_cart(line: Line, path: str) -> NewestNumber:
    spent = line.references("emptied_by", (_ORDER,))
    return NewestNumber(line.path(path, True), line.ref(_CART), line.within(7 * DAY), spent, 0.0, line.flag("log"))


def _attach_newest(compiler: Compiler, one: NewestNumber) -> Attached:
    window, missing = NEVER if one.within is None else one.within, one.missing
    # An event that says the same number again matters, as it does so for longer.
    make = lambda key: Newest(key, window, one.path, micros)  # noqa: E731
    key = compiler.slot("newest number", one.ref, (one.path, window), make).key
    spent = tuple(compiler.times(ref, window, 1) for ref in one.emptied_by)

    def read(profile: Profile, clock: int) -> float | None:
        state = profile.slots.get(key)
        if state is None or state[0] <= clock - window:
            return missing
        for other in spent:
            times = profile.slots.get(other)
            if times and times[-1] >= state[0]:
                return missing
        number: int = state[1]
        return number / MICROS

    return Attached((read,), frozenset((key, *spent)), log=one.log)


# --- what there is --------------------------------------------------------------------------------------------------

_PATH: Final = Key("path", "path", f"where the number stands; `{_REVENUE}` unless told")
_AMOUNT_STATE: Final = (
    "128 numbers with their times, older ones merged by hundredths of the window; with `within: ever` one number"
)


def _amount_kind(name: str, fn: Function, meaning: str) -> FeatureKind:
    return FeatureKind(
        name,
        meaning,
        f"{name}: {{path: properties.revenue, event: Order Completed, within: 90d}}",
        (AS, _PATH, *event_keys(_ORDER), within_key(90 * DAY), LOG),
        _AMOUNT_STATE,
        lambda line: _read_amount(line, fn),
        _attach_amount,
    )


def _cart_kind(name: str, path: str, meaning: str) -> FeatureKind:
    return FeatureKind(
        name,
        meaning,
        f"{name}: {{within: 7d}}",
        (
            AS,
            Key("path", "path", f"where the number stands; `{path}` unless told"),
            *event_keys(_CART),
            within_key(7 * DAY),
            Key("emptied_by", "references", "the events with which nothing is left in it; Order Completed unless told"),
            LOG,
        ),
        "one number with its time, and the time of the newest event that empties the cart",
        lambda line: _read_cart(line, path),
        _attach_newest,
    )


KINDS: Final = (
    _amount_kind("monetary", "sum", "What the customer spent in a window: the sum of the revenue of orders."),
    _amount_kind("sum", "sum", "The sum of a number over the events of a window, 0 without any."),
    _amount_kind("mean", "mean", "The mean of a number over the events of a window; unknown without any."),
    _amount_kind("min", "min", "The smallest number in the events of a window; unknown without any."),
    _amount_kind("max", "max", "The largest number in the events of a window; unknown without any."),
    FeatureKind(
        "distinct",
        "How many different values stand at a path in the events of a window: products seen, unless told.",
        "distinct: {path: properties.product_id, event: Product Viewed, within: 30d, as: products_seen}",
        (
            AS,
            Key("path", "path", "where the value stands; `properties.product_id` unless told"),
            *event_keys("Product Viewed"),
            within_key(30 * DAY),
            Key("most", "integer", f"more than so many are not told apart, up to 200; {_MOST} unless told"),
        ),
        "the `most` values seen last, each with its newest time",
        _read_distinct,
        _attach_distinct,
    ),
    _cart_kind(
        "cart_items",
        "properties.item_count",
        "How many items the cart holds, as its newest event says; 0 where it is empty.",
    ),
    _cart_kind(
        "cart_value", "properties.value", "What the cart is worth, as its newest event says; 0 where it is empty."
    ),
    FeatureKind(
        "number",
        "The newest number at a path; unknown where none was said.",
        "number: {path: properties.rating, event: Product Reviewed, as: newest_rating}",
        (
            AS,
            Key("path", "path", "where the number stands", required=True),
            *event_keys(ANY_EVENT),
            within_key(None),
            LOG,
        ),
        "one number with its time",
        lambda line: NewestNumber(line.path(single=True), line.ref(ANY_EVENT), line.within(None), log=line.flag("log")),
        _attach_newest,
    ),
)
