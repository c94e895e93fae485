"""`rfm`: how lately, how often and for how much a customer bought, as values or as fifths of the population."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from profiles.document import Mapping
from profiles.profile import NEVER, Profile
from profiles.values import MICROS, micros
from rules.compiled import Compiled
from rules.conditions import time_bounds
from rules.definition import Condition, EventRef, Operator, Rfm, Test, Trait
from rules.duration import format_duration
from rules.kinds.kind import Key, Kind
from rules.predicates import compare_exactly, reads, thresholds
from rules.tallies import Tally, numbers_at

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader

MEASURES: Final = ("recency", "frequency", "monetary")
SCORES: Final = tuple(f"{one}_score" for one in MEASURES)

_DURATIONS: Final = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN)
_COUNTS: Final = (*_DURATIONS, Operator.EQ)
_NUMBERS: Final = (*_COUNTS, Operator.NE)
_EXAMPLE: Final = "write `rfm: {event: Order Completed, of: properties.revenue, within: 365d, frequency: {gte: 5}}`"


class Values(NamedTuple):
    """What is so of one customer: how long ago in milliseconds (None: never), how often, how much in millionths."""

    recency: int | None
    frequency: int
    monetary: int


# --- reading --------------------------------------------------------------------------------------------------------


def _read(reader: ConditionReader, outer: Mapping) -> Condition:
    node = reader.mapping(outer["rfm"], "`rfm`", _EXAMPLE)
    if node is None:
        return Trait(())
    before = len(reader.errors)
    reader.known_keys(node, RFM)
    for key in ("event", "of", "within"):
        if key not in node:
            reader.wrong(node, f"{key!r} is missing here", _EXAMPLE)
    if not any(key in node for key in (*MEASURES, *SCORES)):
        reader.wrong(node, "`rfm` compares with nothing", f"add one of {', '.join((*MEASURES, *SCORES))}")
    if len(reader.errors) > before:
        return Trait(())
    ref = EventRef(reader.event_name(node["event"], "`event`"), reader.where(node))
    tests = [
        Test(key, test.operator, test.operand)
        for key in (*MEASURES, *SCORES)
        if key in node
        for test in _comparisons(reader, node, key)
    ]
    return Rfm(ref, reader.path(node["of"], "`of`"), reader.duration(node["within"], "`within`"), tuple(tests))


def _comparisons(reader: ConditionReader, node: Mapping, key: str) -> tuple[Test, ...]:
    example = "write `recency: {lte: 30d}`" if key == "recency" else f"write `{key}: {{gte: 4}}`"
    found = reader.mapping(node[key], f"`{key}`", example)
    if found is None:
        return ()
    operators = {"recency": _DURATIONS, "monetary": _NUMBERS}.get(key, _COUNTS)
    before = len(reader.errors)
    reader.only(found, operators)
    if len(reader.errors) > before:
        return ()
    kind = {"recency": "duration", "monetary": "number"}.get(key, "count")
    tests = reader.numbers(found, operators, f"`{key}`", kind)
    if key in SCORES and len(reader.errors) == before and not any(_passes_score(tests, one) for one in range(1, 6)):
        reader.wrong(found, "no score satisfies these comparisons", "scores are 1, 2, 3, 4 and 5, the best")
    return tests


def _passes_score(tests: tuple[Test, ...], score: int) -> bool:
    return all(compare_exactly(test)(score * MICROS, 1) for test in tests)


# --- what is measured ---------------------------------------------------------------------------------------------


def measure_key(rfm: Rfm, measure: str, zone: str = "UTC") -> str:
    """What a measure of the population is called: the same for all conditions that measure the same.

    `zone` is where the rule's customers are of whom that is not known; it matters where events are told apart by the hour.

    >>> measure_key(Rfm(EventRef("Order"), "properties.revenue", 86_400_000, ()), "monetary")
    'monetary (properties.revenue) of Order within 1d'
    """
    ref = EventRef(rfm.ref.event, tuple(sorted(rfm.ref.where, key=repr)))
    of = f" ({rfm.of})" if measure == "monetary" else ""
    during = f" during {rfm.ref.during!r}" if rfm.ref.during is not None else ""
    if rfm.ref.during is not None and (zone := rfm.ref.during.zone or zone) != "UTC":
        during += f" in {zone}"
    return f"{measure}{of} of {reads(ref)}{during} within {format_duration(rfm.within)}"


def scored(rfm: Rfm) -> tuple[str, ...]:
    """The measures that the condition compares with the population."""
    return tuple(one for one in MEASURES if any(test.path == f"{one}_score" for test in rfm.tests))


class Purchases:
    """What the events of a condition come to for one customer: a slot, and how its state is read."""

    def __init__(self, key: int, window: int) -> None:
        self.key = key
        self.window = window

    def values(self, profile: Profile, clock: int) -> tuple[Values, int]:
        """The three values at the clock, and when the oldest event leaves the window."""
        state = profile.slots.get(self.key)
        start = bisect_right(state[0], clock - self.window) if state is not None else 0
        if state is None or start == len(state[0]):
            return Values(None, 0, 0), NEVER
        times, numbers, counts = state
        return Values(clock - times[-1], sum(counts[start:]), sum(numbers[start:])), times[start] + self.window


def purchases(compiler: Compiler, rfm: Rfm) -> Purchases:
    """The slot that counts the events of a condition; shared by all that count the same."""
    amount = numbers_at(rfm.of)
    make = lambda key: Tally(key, rfm.within, lambda event: amount(event) or 0)  # noqa: E731
    return Purchases(compiler.slot("rfm", rfm.ref, (rfm.of, rfm.within), make).key, rfm.within)


# --- running ------------------------------------------------------------------------------------------------------


def _compile(compiler: Compiler, rfm: Rfm) -> Compiled:
    found = purchases(compiler, rfm)
    zone = compiler.zone()
    fifths = {one: _fifths(compiler.population.bounds.get(measure_key(rfm, one, zone)), one) for one in scored(rfm)}
    values = [_value_test(test) for test in rfm.tests if test.path in MEASURES]
    scores = [
        (test.path.removesuffix("_score"), compare_exactly(test)) for test in rfm.tests if test.path not in MEASURES
    ]
    turns = sorted(set(_recency_turns(rfm.tests, fifths.get("recency"))))

    def satisfied(known: Values) -> bool:
        return all(holds(known) for holds in values) and all(
            (score := _score(fifths[name], name, known)) is not None and holds(score * MICROS, 1)
            for name, holds in scores
        )

    of_nobody = satisfied(Values(None, 0, 0)), NEVER

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        if found.key not in profile.slots:  # as of most customers
            return of_nobody
        known, flip = found.values(profile, clock)
        truth = satisfied(known)
        if known.recency is not None:
            ahead = bisect_right(turns, known.recency)
            if ahead < len(turns):
                flip = min(flip, clock - known.recency + turns[ahead])
        return truth, flip

    def measure(profile: Profile, clock: int) -> dict[str, Any]:
        known, _ = found.values(profile, clock)
        ago = None if known.recency is None else format_duration(known.recency)
        shown_values = {"recency": ago, "frequency": known.frequency, "monetary": known.monetary / MICROS}
        return {**shown_values, **{f"{one}_score": _score(fifths[one], one, known) for one in fifths}}

    text = f"recency, frequency and {rfm.of} of {reads(rfm.ref)} within {format_duration(rfm.within)}"
    return Compiled(text, evaluate, slots=frozenset((found.key,)), measure=measure, threshold=_threshold(rfm.tests))


def _value_test(test: Test) -> Callable[[Values], bool]:
    if test.path == "recency":
        low, high = time_bounds(test)
        return lambda known: known.recency is not None and low <= known.recency <= high
    holds = compare_exactly(test)
    if test.path == "frequency":
        return lambda known: holds(known.frequency * MICROS, 1)
    return lambda known: holds(known.monetary, 1)


def _fifths(bounds: tuple[float, ...] | None, measure: str) -> tuple[int, ...] | None:
    """The bounds between the fifths, in the unit of the value; None until they have been measured."""
    if bounds is None:
        return None
    return tuple((micros(bound) or 0) if measure == "monetary" else int(bound // 1) for bound in bounds)


def _score(fifths: tuple[int, ...] | None, measure: str, known: Values) -> int | None:
    """From 1 to 5, the best: how many of the bounds the value lies above; for recency, how many it does not."""
    if fifths is None or known.recency is None:
        return None
    value = getattr(known, measure)
    above = bisect_left(fifths, value)
    return 5 - above if measure == "recency" else 1 + above


def _recency_turns(tests: tuple[Test, ...], fifths: tuple[int, ...] | None) -> Iterator[int]:
    """The recencies at which a comparison may turn."""
    for test in tests:
        if test.path == "recency":
            low, high = time_bounds(test)
            yield low
            if high < NEVER:
                yield high + 1
    for bound in fifths or ():
        yield bound + 1


def _threshold(tests: tuple[Test, ...]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for test in tests:
        found.setdefault(test.path, {}).update(thresholds((test,), durations=test.path == "recency"))
    return found


RFM: Final = Kind(
    "rfm",
    "How lately, how often and for how much the customer bought, as values or compared with all other customers.",
    """rfm:
  event: Order Completed
  of: properties.revenue
  within: 365d
  recency: {lte: 30d}
  frequency: {gte: 5}
  monetary_score: {gte: 4}""",
    "mapping",
    _read,
    _compile,
    (Rfm,),
    keys=(
        Key("event", "event", "the event that is a purchase", required=True),
        Key("where", "where", "what must hold of it"),
        Key("of", "path", "where it says how much", required=True),
        Key("within", "duration", "how far back purchases count", required=True),
        Key("recency", "durations", "comparisons of the time since the last one, such as `{lte: 30d}`"),
        Key("frequency", "count", "comparisons of their number"),
        Key("monetary", "numbers", "comparisons of the sum of the amounts"),
        Key("recency_score", "count", "comparisons of the fifth of all customers, 5 for those who bought last"),
        Key("frequency_score", "count", "comparisons of the fifth of all customers, 5 for those who buy most often"),
        Key("monetary_score", "count", "comparisons of the fifth of all customers, 5 for those who spend most"),
    ),
)

KINDS: Final = (RFM,)
