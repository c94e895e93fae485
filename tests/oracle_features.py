"""What the features of a customer are, recomputed from every raw event: slow, obvious, and the judge of what is kept up to date.

It shares nothing with `online_models.features` but the types of the parameters.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import singledispatch
from typing import Any
from zoneinfo import ZoneInfo

from online_models.definition import Feature
from online_models.features.activity import Age, Count, FadingPoints, Recency, Velocity, Visit
from online_models.features.calendar import Clock
from online_models.features.categories import NewestWord, OneTrait, TopWord
from online_models.features.numeric import Amount, Distinct, NewestNumber
from online_models.features.shares import Share
from rules.definition import ANY_EVENT, During, Engagement, EventRef, Session
from tests.oracle_clock import place_named
from tests.oracle_conditions import History, Seen, meant, within
from tests.oracle_numbers import points_left
from tests.oracle_time import sessions
from tests.oracle_values import exact, text_of, values_of

DAY = 24 * 3_600_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def expected_row(features: tuple[Feature, ...], history: History, clock: int, zone: str = "UTC") -> list[Any]:
    """The row of a customer of whom this history is known."""
    return [value for one in features for value in values(_placed(one.parameters, zone), history, clock, zone)]


def _placed(part: Any, zone: str) -> Any:
    """The parameters with the model's zone in every `during` that names none."""
    if isinstance(part, tuple):
        return tuple(_placed(one, zone) for one in part)
    if isinstance(part, During):
        return dataclasses.replace(part, zone=part.zone or zone)
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        inner = {one.name: _placed(getattr(part, one.name), zone) for one in dataclasses.fields(part)}
        return dataclasses.replace(part, **inner)
    return part


@singledispatch
def values(one: Any, history: History, clock: int, zone: str) -> list[Any]:
    """What the columns of a feature hold."""
    raise AssertionError(one)


def _days(passed: int | None, log: bool) -> list[Any]:
    return [None] if passed is None else [_number(Fraction(passed, DAY), log)]


def _number(number: Fraction | int | None, log: bool = False) -> float | None:
    if number is None:
        return None
    found = float(number)
    if not log:
        return found
    return round(math.log1p(found) if found >= 0 else -math.log1p(-found), 9)


def _newest(events: list[Seen], read: Callable[[Seen], Any]) -> tuple[Seen, Any] | None:
    """The newest event of which something is read; of equal times the one that came last."""
    found = [(one, read(one)) for one in events]
    told = [pair for pair in found if pair[1] is not None]
    return max(told, key=lambda pair: (pair[0].at, pair[0].order), default=None)


@values.register
def _(one: Recency, history: History, clock: int, zone: str) -> list[Any]:
    times = [seen.at for seen in history.of(one.ref, None)]
    return _days(clock - max(times) if times else None, one.log)


@values.register
def _(one: Age, history: History, clock: int, zone: str) -> list[Any]:
    times = [seen.at for seen in history.of(one.ref or EventRef(ANY_EVENT), None)]
    return _days(clock - min(times) if times else None, one.log)


@values.register
def _(one: Count, history: History, clock: int, zone: str) -> list[Any]:
    return [_number(min(one.most, len(within(history.of(one.ref, None), one.within, clock))), one.log)]


@values.register
def _(one: Visit, history: History, clock: int, zone: str) -> list[Any]:
    found = sessions(Session(one.ref, one.gap), history)
    over = not found or clock - found[-1][-1] >= one.gap
    if not found or (over and one.which == "current"):
        return [0.0 if one.which == "current" else None]
    visit = found[-1]
    return [float(len(visit)) if one.part == "depth" else float(Fraction(visit[-1] - visit[0], 60_000))]


@values.register
def _(one: FadingPoints, history: History, clock: int, zone: str) -> list[Any]:
    return [float(points_left(Engagement(one.points, one.half_life, ()), history, clock))]


@values.register
def _(one: Velocity, history: History, clock: int, zone: str) -> list[Any]:
    events = history.of(one.ref, None)
    now = Fraction(len(within(events, one.within, clock)), one.within)
    before = Fraction(len(within(events, one.against, clock - one.within)), one.against)
    return [float((now - before) / (now + before)) if now + before else None]


@values.register
def _(one: Amount, history: History, clock: int, zone: str) -> list[Any]:
    events = within(history.of(one.ref, None), one.within, clock)
    numbers = [
        number for seen in events for value in values_of(seen.event, one.path) if (number := exact(value)) is not None
    ]
    if one.fn == "sum":
        return [_number(sum(numbers, Fraction(0)), one.log)]
    if not numbers:
        return [None]
    made = {"mean": sum(numbers, Fraction(0)) / len(numbers), "min": min(numbers), "max": max(numbers)}
    return [_number(made[one.fn], one.log)]


@values.register
def _(one: Distinct, history: History, clock: int, zone: str) -> list[Any]:
    events = within(history.of(one.ref, None), one.within, clock)
    found = {text_of(value) for seen in events for value in values_of(seen.event, one.path)} - {None}
    return [float(min(one.most, len(found)))]


@values.register
def _(one: NewestNumber, history: History, clock: int, zone: str) -> list[Any]:
    found = _newest(
        within(history.of(one.ref, None), one.within, clock),
        lambda seen: next(map(exact, values_of(seen.event, one.path)), None),
    )
    if found is None:
        return [one.missing]
    spent = any(seen.at >= found[0].at for ref in one.emptied_by for seen in history.of(ref, None))
    return [one.missing if spent else _number(found[1], one.log)]


@values.register
def _(one: Share, history: History, clock: int, zone: str) -> list[Any]:
    events = [
        seen for seen in within(history.seen, one.within, clock) if any(meant(seen.event, ref) for ref in one.among)
    ]
    wanted = [seen for seen in events if any(meant(seen.event, ref) for ref in one.to)]
    others = len(events) - len(wanted) if one.apart else len(events)
    return [min(1.0, float(Fraction(len(wanted), others))) if others >= one.least else None]


def _word(seen: Seen, path: str) -> str | None:
    return next(map(text_of, values_of(seen.event, path)), None)


@values.register
def _(one: NewestWord, history: History, clock: int, zone: str) -> list[Any]:
    found = _newest(within(history.of(one.ref, None), one.within, clock), lambda seen: _word(seen, one.path))
    return [found and found[1]]


@values.register
def _(one: TopWord, history: History, clock: int, zone: str) -> list[Any]:
    times: dict[str, list[int]] = defaultdict(list)
    for seen in within(history.of(one.ref, None), one.within, clock):
        for text in {text_of(value) for value in values_of(seen.event, one.path)} - {None}:
            times[text].append(seen.at)  # type: ignore[index]
    return [max(times, key=lambda text: (len(times[text]), max(times[text]), text), default=None)]


@values.register
def _(one: OneTrait, history: History, clock: int, zone: str) -> list[Any]:
    value = history.traits().get(one.trait)
    if not one.number:
        return [text_of(value)]
    if isinstance(value, bool):
        return [1.0 if value else 0.0]
    return [_number(exact(value))]


@values.register
def _(one: Clock, history: History, clock: int, zone: str) -> list[Any]:
    placed = _newest(history.seen, lambda seen: place_named(seen.event.context.get("timezone")))
    place = place_named(history.traits().get("timezone")) or (placed[1] if placed else ZoneInfo(zone))
    shows = (_EPOCH + timedelta(milliseconds=clock)).astimezone(place)
    if one.encode == "onehot":
        return [f"{shows.hour:02d}" if one.part == "hour" else shows.strftime("%a").lower()]
    turn = (shows.hour * 60 + shows.minute) / 1440 if one.part == "hour" else shows.weekday() / 7
    return [round(math.sin(2 * math.pi * turn), 9), round(math.cos(2 * math.pi * turn), 9)]
