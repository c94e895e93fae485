"""How lately, how long and how often: features made of the times of events."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, Literal

from online_models.features.kind import Attached, FeatureKind, Read
from online_models.features.reading import AS, DURING, LOG, WHERE, Line, event_keys, within_key
from profiles.profile import NEVER, Profile
from rules.calendar import DAY, MINUTE
from rules.compiler import Compiler
from rules.decay import points_left
from rules.definition import ANY_EVENT, EventRef
from rules.kinds.engagement import fading_points, read_points
from rules.kinds.kind import Key
from rules.kinds.numbers import now_and_before
from rules.kinds.sessions import DEFAULT_GAP, sessions_of
from rules.reader import LARGEST_COUNT
from rules.slots import Tallied

_ORDER: Final = "Order Completed"
_VIEW: Final = "Product Viewed"


# --- recency and age ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recency:
    """Parameters of `recency`."""

    ref: EventRef
    log: bool = False


def _attach_recency(compiler: Compiler, one: Recency) -> Attached:
    if one.ref == EventRef(ANY_EVENT):
        return Attached((_silent_for,), frozenset((compiler.arrivals(),)), log=one.log)
    key = compiler.times(one.ref, NEVER, 1)

    def read(profile: Profile, clock: int) -> float | None:
        times = profile.slots.get(key)
        return (clock - times[-1]) / DAY if times else None

    return Attached((read,), frozenset((key,)), log=one.log)


def _silent_for(profile: Profile, clock: int) -> float | None:
    return (clock - profile.latest) / DAY if profile.latest else None


@dataclass(frozen=True)
class Age:
    """Parameters of `age`; without `ref` it is since the first event of any kind."""

    ref: EventRef | None
    log: bool = False


def _read_age(line: Line) -> Age:
    narrowed = any(key in line.node for key in ("event", "where", "during"))
    return Age(line.ref(ANY_EVENT) if narrowed else None, line.flag("log"))


def _attach_age(compiler: Compiler, one: Age) -> Attached:
    if one.ref is None:
        return Attached((_known_for,), log=one.log)
    key = compiler.first(one.ref)

    def read(profile: Profile, clock: int) -> float | None:
        first = profile.slots.get(key)
        return None if first is None else (clock - first) / DAY

    return Attached((read,), frozenset((key,)), log=one.log)


def _known_for(profile: Profile, clock: int) -> float | None:
    return None if profile.first_seen == NEVER else (clock - profile.first_seen) / DAY


# --- how often ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """Parameters of `count` and `frequency`: at most `most` events are counted, `within` None is ever."""

    ref: EventRef
    within: int | None
    most: int
    log: bool = False


_MOST: Final = 100


def _read_count(line: Line, event: str, within: int) -> Count:
    return Count(line.ref(event), line.within(within), line.integer("most", _MOST, 1, LARGEST_COUNT), line.flag("log"))


def _attach_count(compiler: Compiler, one: Count) -> Attached:
    most = one.most
    if one.within is None:
        total = compiler.slot("tallied", one.ref, (), lambda key: Tallied(key, NEVER)).key

        def ever(profile: Profile, clock: int) -> float:
            return float(min(profile.slots.get(total, 0), most))

        return Attached((ever,), frozenset((total,)), log=one.log)
    window = one.within
    key = compiler.times(one.ref, window, most)

    def read(profile: Profile, clock: int) -> float:
        times = profile.slots.get(key)
        if not times:
            return 0.0
        oldest = clock - window
        found = len(times) if times[0] > oldest else len(times) - bisect_right(times, oldest)
        return float(found) if found < most else float(most)

    return Attached((read,), frozenset((key,)), log=one.log)


# --- visits ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """Parameters of `session_depth` and `session_length`."""

    part: Literal["depth", "length"]
    ref: EventRef
    gap: int
    which: Literal["last", "current"]


def _read_visit(line: Line, part: Literal["depth", "length"]) -> Visit:
    which: Literal["last", "current"] = line.choice("which", ("last", "current"), "last")
    return Visit(part, line.ref(ANY_EVENT), line.duration("gap", DEFAULT_GAP), which)


def _attach_visit(compiler: Compiler, one: Visit) -> Attached:
    gap, deep, last_too = one.gap, one.part == "depth", one.which == "last"
    missing = None if last_too else 0.0
    key = sessions_of(compiler, one.ref, gap)

    def read(profile: Profile, clock: int) -> float | None:
        state = profile.slots.get(key)
        if not state:
            return missing
        first, last, count = state[-1]
        if not last_too and last + gap <= clock:
            return 0.0
        return float(count) if deep else (last - first) / MINUTE

    return Attached((read,), frozenset((key,)))


# --- how engaged ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FadingPoints:
    """Parameters of `engagement`."""

    points: tuple[tuple[EventRef, float], ...]
    half_life: int


_WORTH: Final = ((_VIEW, 1.0), ("Email Link Clicked", 2.0), ("Cart Updated", 3.0), (_ORDER, 10.0))
_HALF_LIFE: Final = 7 * DAY


def _read_engagement(line: Line) -> FadingPoints:
    if "points" in line.node:
        points = read_points(line.reader, line.node["points"])
    else:
        points = tuple((EventRef(event), worth) for event, worth in _WORTH)
    return FadingPoints(points, line.duration("half_life", _HALF_LIFE))


def _attach_engagement(compiler: Compiler, one: FadingPoints) -> Attached:
    half_life = one.half_life
    key = fading_points(compiler, one.points, half_life)
    read: Read = lambda profile, clock: points_left(profile.slots.get(key), clock, half_life)  # noqa: E731
    return Attached((read,), frozenset((key,)))


@dataclass(frozen=True)
class Velocity:
    """Parameters of `velocity`."""

    ref: EventRef
    within: int
    against: int


def _read_velocity(line: Line) -> Velocity:
    within = line.window(7 * DAY)
    against = line.duration("against", max(28 * DAY, within))
    if against < within:
        line.reader.wrong(
            line.at("against"), "`against` is shorter than `within`", "compare with a time at least as long"
        )
    return Velocity(line.ref(ANY_EVENT), within, against)


def _attach_velocity(compiler: Compiler, one: Velocity) -> Attached:
    window, against = one.within, one.against
    key = now_and_before(compiler, one.ref, None, window, against)

    def read(profile: Profile, clock: int) -> float | None:
        state = profile.slots.get(key)
        if state is None:
            return None
        times, _, counts = state
        start = bisect_right(times, clock - window - against)
        if start == len(times):
            return None
        edge = bisect_right(times, clock - window, start)
        if edge == start:
            return 1.0
        now: int = sum(counts[edge:]) * against
        before: int = sum(counts[start:edge]) * window
        return (now - before) / (now + before)

    return Attached((read,), frozenset((key,)))


# --- what there is --------------------------------------------------------------------------------------------------

_MOST_KEY: Final = Key(
    "most", "integer", f"more than so many are not told apart, up to {LARGEST_COUNT:,}; {_MOST} unless told"
)
_COUNT_STATE: Final = "the times of the newest `most` events; with `within: ever` one number"
_VISIT_KEYS: Final = (
    AS,
    Key(
        "which",
        "text",
        "the last visit, also when it is over, or only one that goes on; `last` unless told",
        among=("last", "current"),
    ),
    Key("gap", "duration", "a visit ends when no event comes for so long; 30m unless told"),
    *event_keys(ANY_EVENT),
)
_VISIT_STATE: Final = "of the newest 8 visits their first and last time and the number of events"


def _count_kind(name: str, meaning: str, example: str, event: str, within: int) -> FeatureKind:
    return FeatureKind(
        name,
        meaning,
        example,
        (AS, *event_keys(event), within_key(within), _MOST_KEY, LOG),
        _COUNT_STATE,
        lambda line: _read_count(line, event, within),
        _attach_count,
    )


KINDS: Final = (
    FeatureKind(
        "recency",
        "Days since the last such event; unknown if there was none.",
        "recency: {event: Order Completed}",
        (AS, *event_keys(_ORDER), LOG),
        "one time",
        lambda line: Recency(line.ref(_ORDER), line.flag("log")),
        _attach_recency,
    ),
    FeatureKind(
        "age",
        "Days since the first such event, or since the customer was first seen; unknown if there was none.",
        "age: {event: Order Completed, as: customer_for}",
        (AS, Key("event", "event", "the events; the first sight of the customer unless told"), WHERE, DURING, LOG),
        "one time",
        _read_age,
        _attach_age,
    ),
    _count_kind(
        "frequency",
        "How many orders there were in a window, or other such events.",
        "frequency: {event: Order Completed, within: 90d}",
        _ORDER,
        90 * DAY,
    ),
    _count_kind(
        "count",
        "How many such events there were in a window: product views, unless told.",
        "count: {event: Product Viewed, within: 7d, as: views}",
        _VIEW,
        7 * DAY,
    ),
    FeatureKind(
        "session_depth",
        "How many events a visit has: the last one (unknown if there never was one), or the one that goes on (0 if none does).",
        "session_depth: {which: current, gap: 30m}",
        _VISIT_KEYS,
        _VISIT_STATE,
        lambda line: _read_visit(line, "depth"),
        _attach_visit,
    ),
    FeatureKind(
        "session_length",
        "Minutes from the first event of a visit to its last: of the last visit, or of the one that goes on, as with `session_depth`.",
        "session_length: {which: last, gap: 30m}",
        _VISIT_KEYS,
        _VISIT_STATE,
        lambda line: _read_visit(line, "length"),
        _attach_visit,
    ),
    FeatureKind(
        "engagement",
        "Points for what the customer did, halved with every half-life that has passed since: as `engagement` in rules.",
        "engagement: {points: {Product Viewed: 1, Order Completed: 10}, half_life: 7d}",
        (
            AS,
            Key(
                "points",
                "mapping",
                "the points of events by their names, or a list of `{event: ..., where: {...}, points: 1}`; unless told "
                + ", ".join(f"{event} {worth:g}" for event, worth in _WORTH),
            ),
            Key("half_life", "duration", "after so long, half of the points are left; 7d unless told"),
        ),
        "the points given in each of the newest 32 half-lives",
        _read_engagement,
        _attach_engagement,
    ),
    FeatureKind(
        "velocity",
        "Whether there is more going on than before: -1 nothing any more, 0 as before, 1 nothing before; unknown where nothing is.",
        "velocity: {event: any, within: 7d, against: 28d}",
        (
            AS,
            *event_keys(ANY_EVENT),
            Key("within", "duration", "how long it is now; 7d unless told"),
            Key(
                "against",
                "duration",
                "the time before that it is compared with; 28d unless told, or as long as `within` if that is more",
            ),
        ),
        "the times of 128 events one by one, older ones counted by hundredths of either time",
        _read_velocity,
        _attach_velocity,
    ),
)
