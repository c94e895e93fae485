"""Random rule sets, histories, watermarks and interruptions for the property tests.

Everything is drawn from small vocabularies, and all windows and times are small multiples of one step, a millisecond more
or less: boundaries meet, values repeat and equal times are common, which is where the bugs are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from profiles import Event
from rules.definition import (
    ANY_EVENT,
    Absent,
    Aggregate,
    All,
    AnyOf,
    AtLeast,
    Condition,
    EventRef,
    Exit,
    Happened,
    Not,
    Operator,
    Segment,
    Sequence,
    Since,
    Test,
    Trait,
)
from tests.properties.strategies_govern import divided, model_outputs, models_of, of_models, points
from tests.properties.strategies_journey import journey_kinds, journeys
from tests.properties.strategies_numbers import number_kinds
from tests.properties.strategies_time import (
    START,
    contexts,
    durings,
    moment_traits,
    moments,
    optional_durings,
    places,
    sessions,
    time_kinds,
    value_tests,
    zones,
)

Scores = Mapping[str, float | str]

STEP = 10
WINDOWS = (10, 20, 30, 50)
NAMES = ("A", "B", "C")
PRODUCTS = ("x", "y", 7)
PRICES = (0, 1, 9.99, 2.01, 20.01, 30, -5.5, 0.1, 0.2)
"""2.01 times a million is 2009999.9999999998 for a machine; 0.1 and 0.2 are not 0.3 to it."""

windows = st.sampled_from(WINDOWS)
optional_windows = st.sampled_from((*WINDOWS, None))


def _test(path: str, operator: Operator, operand: Any) -> Test:
    return Test(path, operator, operand)


@st.composite
def event_tests(draw: st.DrawFn) -> Test:
    """A test on an event: numbers, text, lists, what is missing, what has another type."""
    kind = draw(st.sampled_from(("product", "price", "line", "line price", "device", "exists", "flag", "moment")))
    match kind:
        case "product":
            operator = draw(st.sampled_from((Operator.EQ, Operator.NE, Operator.STARTS_WITH, Operator.CONTAINS)))
            return _test("properties.product", operator, draw(st.sampled_from(("x", "y"))))
        case "price":
            operator = draw(
                st.sampled_from((Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.EQ, Operator.NE))
            )
            return _test("properties.price", operator, draw(st.sampled_from(PRICES)))
        case "line":
            operator = draw(st.sampled_from((Operator.IN, Operator.NOT_IN)))
            return _test(
                "properties.lines[].product", operator, draw(st.sampled_from((("x",), ("x", "y"), ("y", "z"))))
            )
        case "line price":
            return _test(
                "properties.lines[].price", Operator.BETWEEN, draw(st.sampled_from(((1, 9.99), (0, 30), (10, 20))))
            )
        case "moment":
            return draw(value_tests())
        case "device":
            return _test("context.device.type", Operator.EQ, "mobile")
        case "exists":
            path = draw(
                st.sampled_from(("properties.product", "properties.lines[].price", "context.device", "traits.tier"))
            )
            return _test(path, Operator.EXISTS, draw(st.booleans()))
    return _test("properties.flag", draw(st.sampled_from((Operator.EQ, Operator.NE))), draw(st.booleans()))


@st.composite
def refs(draw: st.DrawFn) -> EventRef:
    name = draw(st.sampled_from((*NAMES, *NAMES, ANY_EVENT)))
    where = draw(st.lists(event_tests(), max_size=2)) if draw(st.integers(0, 2)) == 0 else []
    return EventRef(name, tuple(where), draw(optional_durings))


@st.composite
def number_tests(draw: st.DrawFn, numbers: tuple[float, ...]) -> tuple[Test, ...]:
    """One comparison of a number of the condition's own, sometimes two."""

    def one() -> Test:
        operator = draw(
            st.sampled_from((Operator.GTE, Operator.GT, Operator.LTE, Operator.LT, Operator.EQ, Operator.BETWEEN))
        )
        if operator is Operator.BETWEEN:
            low, high = sorted((draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers))))
            return _test("", operator, (low, high))
        return _test("", operator, draw(st.sampled_from(numbers)))

    return (one(),) if draw(st.integers(0, 3)) else (one(), one())


plain_refs = st.builds(EventRef, st.sampled_from(("A", "A", "A", "B", "B", ANY_EVENT)))

SHAPES = ("plain", "plain", "counted", "counted", "per", "per", "without", "silence")


@st.composite
def happened(draw: st.DrawFn, refs: st.SearchStrategy[EventRef], shapes: tuple[str, ...] = SHAPES) -> Happened:
    shape = draw(st.sampled_from(shapes))
    ref = draw(refs)
    match shape:
        case "plain":
            return Happened(ref, draw(optional_windows))
        case "counted":
            return Happened(ref, draw(optional_windows), draw(number_tests((0, 1, 2, 3))))
        case "silence":
            counts = draw(number_tests((0, 1, 2))) if draw(st.booleans()) else Happened(ref).counts
            return Happened(ref, draw(optional_windows), counts, after_silence=draw(windows))
    path = draw(st.sampled_from(("properties.product", "properties.lines[].product")))
    counts = draw(number_tests((1, 2, 3)))
    if shape == "per":
        return Happened(ref, draw(optional_windows), counts, path)
    other = draw(st.sampled_from(("properties.product", "properties.lines[].product")))
    return Happened(ref, draw(optional_windows), counts, path, draw(refs), other)


@st.composite
def aggregates(
    draw: st.DrawFn,
    refs: st.SearchStrategy[EventRef],
    functions: tuple[str, ...] = ("sum", "mean", "min", "max", "distinct"),
) -> Aggregate:
    fn = draw(st.sampled_from(functions))
    of = draw(st.sampled_from(("properties.price", "properties.lines[].price")))
    if fn == "distinct":
        of = draw(st.sampled_from(("properties.product", "properties.lines[].product", "properties.price")))
        tests = draw(number_tests((0, 1, 2, 3)))
    else:
        tests = draw(number_tests((0, 2.01, 9.99, 15.005, 20, 30, -5.5, 0.3)))
    return Aggregate(fn, of, draw(refs), tests, draw(optional_windows))  # type: ignore[arg-type]


@st.composite
def sinces(draw: st.DrawFn, refs: st.SearchStrategy[EventRef]) -> Since:
    return Since(draw(refs), draw(number_tests(WINDOWS)), draw(st.sampled_from(("first", "last"))))


@st.composite
def traits(draw: st.DrawFn) -> Trait:
    tests = st.sampled_from(
        (
            _test("vip", Operator.EQ, True),
            _test("vip", Operator.NE, True),
            _test("vip", Operator.EXISTS, False),
            _test("tier", Operator.IN, ("gold", "silver")),
            _test("tier", Operator.NOT_IN, ("gold",)),
            _test("score", Operator.GTE, 0.7),
            _test("score", Operator.EXISTS, True),
        )
    )
    return Trait(tuple(draw(st.lists(tests, min_size=1, max_size=2))))


@st.composite
def sequences(draw: st.DrawFn, refs: st.SearchStrategy[EventRef]) -> Sequence:
    return Sequence(draw(refs), draw(windows), tuple(draw(st.lists(refs, min_size=1, max_size=2))))


leaf_conditions: st.SearchStrategy[Condition] = st.one_of(
    happened(refs()),
    st.builds(Absent, refs(), optional_windows),
    sinces(refs()),
    aggregates(refs()),
    traits(),
    sequences(refs()),
    journeys(refs()),
    # Not those with two thresholds, which the language refuses beneath `not` and in `points`.
    *(one for name, one in number_kinds(refs()).items() if not name.startswith("two")),
    durings(),
    contexts,
    sessions(refs()),
    moment_traits,
    of_models,
)


def _nested(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    parts = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(All, parts),
        st.builds(AnyOf, parts),
        st.builds(Not, inner),
        parts.flatmap(lambda of: st.builds(AtLeast, st.integers(1, len(of)), st.just(of))),
    )


conditions: st.SearchStrategy[Condition] = st.recursive(leaf_conditions, _nested, max_leaves=5)

simple: st.SearchStrategy[Condition] = st.one_of(
    happened(plain_refs, ("plain", "counted")), traits(), st.builds(Absent, plain_refs, windows), sequences(plain_refs)
)

KINDS: dict[str, st.SearchStrategy[Condition]] = {
    **{shape: happened(plain_refs, (shape,)) for shape in dict.fromkeys(SHAPES)},
    "not yet": st.builds(
        lambda window, per: Happened(EventRef("A"), window, per=per, without=EventRef("B")),
        windows,
        st.sampled_from(("properties.product", "properties.lines[].product")),
    ),
    "where": st.builds(lambda test, window: Happened(EventRef("A", (test,)), window), event_tests(), windows),
    "event during": st.builds(lambda during, window: Happened(EventRef("A", (), during), window), durings(), windows),
    "moments and patterns": st.builds(lambda test: Happened(EventRef("A", (test,)), 20), value_tests()),
    **time_kinds(),
    "absent": st.builds(Absent, plain_refs, optional_windows),
    "since": sinces(plain_refs),
    "aggregate": aggregates(plain_refs, ("sum", "mean", "min", "max")),
    "distinct": aggregates(plain_refs, ("distinct",)),
    "trait": traits(),
    "sequence": sequences(plain_refs),
    "unanswered": st.builds(
        lambda silence: Sequence(EventRef("A"), silence, (EventRef("B"),)), st.sampled_from((10, 20))
    ),
    "mixed": _nested(st.one_of(simple, _nested(simple))),
    **journey_kinds(plain_refs),
    **number_kinds(plain_refs),
    "score or cluster": of_models,
    "points": points(st.one_of(simple, of_models)),
    "two thresholds": divided(st.one_of(simple, of_models)),
}
"""One kind of condition alone, over few events: what a mixture of all meets too seldom."""

exits: st.SearchStrategy[Exit] = st.one_of(
    st.builds(Exit, st.lists(refs(), min_size=1, max_size=2).map(tuple), st.none()),
    st.builds(Exit, st.just(()), windows),
    st.builds(Exit, st.lists(refs(), min_size=1, max_size=2).map(tuple), windows),
)


@st.composite
def segment_lists(
    draw: st.DrawFn, latched: bool = True, of: st.SearchStrategy[Condition] = conditions
) -> list[Segment]:
    """One to three segments, some of them latched, named out of order."""
    names = draw(st.lists(st.sampled_from(("m", "a", "z")), min_size=1, max_size=3, unique=True))
    return [
        Segment(name, draw(of), draw(exits) if latched and draw(st.booleans()) else None, digest=name, version=1)
        for name in names
    ]


# --- Histories ------------------------------------------------------------------------------------------------------

_prices = st.sampled_from((*PRICES, "20", None, True))
_products = st.sampled_from((*PRODUCTS, "x", "7", 7.0, None))
_line = st.fixed_dictionaries({"product": _products}, optional={"price": _prices, "at": moments})
_lines = st.lists(st.one_of(_line, st.just({})), max_size=3)

properties: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"product": _products, "price": _prices, "lines": st.one_of(_lines, _lines, st.just("none"))},
    optional={"flag": st.sampled_from((True, False, "true")), "at": moments},
)
_vip = st.sampled_from((True, False, None))
written_traits: st.SearchStrategy[dict[str, Any] | None] = st.one_of(
    st.none(),
    st.fixed_dictionaries({"vip": _vip}),
    st.fixed_dictionaries(
        {},
        optional={
            "vip": _vip,
            "tier": st.sampled_from(("gold", "bronze", None)),
            "score": st.sampled_from((0.7, 0.69, "0.9", None)),
            "joined": moments,
            "timezone": zones,
        },
    ),
)


def _times(span: int) -> st.SearchStrategy[int]:
    off = st.sampled_from((0, 0, 0, 0, 0, 0, -1, 1))
    return st.builds(lambda steps, off: START + steps * STEP + off, st.integers(0, span), off)


event_times = _times(14)


def event(name: str, at: int, number: int, **fields: Any) -> Event:
    """An event of the only customer there is here, whose record arrived in time."""
    return Event(id=f"e{number}", name=name, event_time=at, customer="c", received_at=at, offset=number, **fields)


@dataclass(frozen=True)
class _Happening:
    """One event before it has its place in the order of arrival: `delay` is by how much it comes late."""

    name: str
    at: int
    delay: int
    twist: str
    properties: dict[str, Any]
    traits: dict[str, Any] | None
    context: dict[str, Any]


def _happenings(names: tuple[str, ...], span: int) -> st.SearchStrategy[_Happening]:
    return st.builds(
        _Happening,
        st.sampled_from(names),
        _times(span),
        st.sampled_from((0, 0, 0, 0, 15, 25)),
        st.sampled_from((*("once",) * 18, "again", "from the future", "nearly from the future")),
        properties,
        written_traits,
        places(),
    )


@st.composite
def histories(draw: st.DrawFn, max_size: int = 12, names: tuple[str, ...] = (*NAMES, *NAMES, "Z")) -> list[Event]:
    """Events in order of arrival: mostly as they happened, some later, some twice, some from the future."""
    # Left alone, lists come out so short that half of the histories would be one event.
    least = draw(st.sampled_from((1, *(max_size // 2, max_size * 3 // 4, max_size) * 3)))
    span = draw(st.sampled_from((14, 7, 3)))
    happenings = draw(st.lists(_happenings(names, span), min_size=least, max_size=max_size))
    if draw(st.integers(0, 3)):
        happenings.sort(key=lambda one: one.at + one.delay)
    arrived: list[Event] = []
    for number, one in enumerate(happenings):
        made = event(one.name, one.at, number, properties=one.properties, traits=one.traits, context=one.context)
        if one.twist == "again" and arrived:
            made.id = arrived[len(arrived) // 2].id
        elif one.twist.endswith("from the future"):
            made.received_at = one.at - (300_001 if one.twist == "from the future" else 300_000)
        arrived.append(made)
    return arrived


# --- How the world delivers them ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Handing:
    """How one event is handed to the core.

    `watermark` is what the watermark has become by then. `timers`: those due by then are delivered each at its own moment,
    only once at the watermark, or not at all, the event itself being the first to notice. `idle` adds a wake-up for which
    nothing is due, and which brings what models say (`told`). `stored`: the profile is written and read back after the event.
    """

    watermark: int = 0
    timers: str = "each"
    idle: bool = False
    stored: bool = False
    told: Scores = field(default_factory=dict)


Delivery = list[Handing]
"""How each event of a history is handed over, in order of arrival."""

_handings = st.builds(
    Handing,
    st.one_of(st.just(0), event_times),
    st.sampled_from(("each", "once", "none")),
    st.booleans(),
    st.booleans(),
)


@st.composite
def deliveries(draw: st.DrawFn, history: list[Event], perfect: bool) -> Delivery:
    """A delivery of `history`. A perfect watermark never passes an event that is still to come; any other may."""
    drawn = draw(st.lists(_handings, max_size=len(history)))
    drawn += [Handing()] * (len(history) - len(drawn))
    eager = perfect and draw(st.booleans())
    watermark = 0
    handed = []
    for at, one in enumerate(drawn):
        wanted = one.watermark
        if perfect:
            # A repeat may come at any time, unless what it repeats is turned away.
            before = {event.id for event in history[:at] if event.event_time <= event.received_at + 300_000}
            to_come = [event.event_time for event in history[at:] if event.id not in before]
            ahead = min(to_come, default=START) - 1
            wanted = ahead if eager and wanted else min(wanted, ahead)
        watermark = max(watermark, wanted)
        handed.append(replace(one, watermark=watermark))
    return handed


@dataclass(frozen=True)
class Story:
    """A rule set, a history with what models say on the occasion of each event, and one or more ways in which it is delivered."""

    segments: list[Segment]
    history: list[Event]
    deliveries: list[Delivery]
    scores: list[Scores] = field(default_factory=list)

    def steps(self, way: int = 0) -> Iterator[tuple[Event, Handing, Scores]]:
        """Each event, how it is handed over, and what models say of it."""
        for number, (event, handing) in enumerate(zip(self.history, self.deliveries[way], strict=True)):
            yield event, handing, self.scores[number] if self.scores else {}


@st.composite
def stories(
    draw: st.DrawFn,
    ways: int = 1,
    perfect: bool = False,
    segments: st.SearchStrategy[list[Segment]] | None = None,
    events: st.SearchStrategy[list[Event]] | None = None,
) -> Story:
    rules = draw(segments if segments is not None else segment_lists())
    history = draw(events if events is not None else histories())
    ways_there = [draw(deliveries(history, perfect)) for _ in range(ways)]
    if not any(models_of(segment.when) for segment in rules):
        return Story(rules, history, ways_there)
    if not perfect:
        ways_there = [
            [replace(one, told=draw(model_outputs)) if one.idle else one for one in way] for way in ways_there
        ]
    return Story(rules, history, ways_there, [draw(model_outputs) for _ in history])
