"""The hour and the weekday of the customer's clock, where the customer is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final, Literal

from online_models.features.kind import Attached, Column, FeatureKind, Read
from online_models.features.reading import AS
from profiles.profile import Profile
from rules.calendar import DAY, HOUR, MINUTE, WEEKDAYS, local_time
from rules.compiler import Compiler
from rules.kinds.calendar import ZONE_TRAIT, whereabouts
from rules.kinds.kind import Key

Part = Literal["hour", "weekday"]

_MINUTES: Final = DAY // MINUTE
_THURSDAY: Final = 3
"""The weekday with which 1970 began."""


@dataclass(frozen=True)
class Clock:
    """Parameters of `hour` and `weekday`."""

    part: Part
    encode: Literal["cyclic", "onehot"] = "cyclic"


def _circle(steps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Sine and cosine of so many steps around a circle, rounded so as to be the same on every machine."""
    angles = [math.tau * step / steps for step in range(steps)]
    return tuple(round(math.sin(angle), 9) for angle in angles), tuple(round(math.cos(angle), 9) for angle in angles)


_DAY_CIRCLE: Final = _circle(_MINUTES)
_WEEK_CIRCLE: Final = _circle(7)
_HOURS: Final = tuple(f"{hour:02d}" for hour in range(24))


def _attach(compiler: Compiler, one: Clock) -> Attached:
    key, place = whereabouts(compiler)
    reads: tuple[Read, ...]
    if one.encode == "onehot":
        names = _HOURS if one.part == "hour" else WEEKDAYS
        reads = (_looked_up(names, place, _hour if one.part == "hour" else _weekday),)
    elif one.part == "hour":
        reads = tuple(_looked_up(table, place, _minute) for table in _DAY_CIRCLE)
    else:
        reads = tuple(_looked_up(table, place, _weekday) for table in _WEEK_CIRCLE)
    return Attached(reads, frozenset((key,)), frozenset((ZONE_TRAIT,)))


def _looked_up(
    table: tuple[float, ...] | tuple[str, ...], place: Callable[[Profile], tzinfo], which: Callable[[int], int]
) -> Read:
    """What the table says of what the customer's clock shows; None where calendars do not go."""

    def read(profile: Profile, clock: int) -> float | str | None:
        shown = local_time(place(profile), clock)
        return None if shown is None else table[which(shown)]

    return read


def _minute(shown: int) -> int:
    return shown % DAY // MINUTE


def _hour(shown: int) -> int:
    return shown % DAY // HOUR


def _weekday(shown: int) -> int:
    return (shown // DAY + _THURSDAY) % 7


def _columns(name: str, one: Clock) -> tuple[Column, ...]:
    # Names of features have no dots: these are nobody else's.
    return (Column(name, True),) if one.encode == "onehot" else (Column(f"{name}.sin"), Column(f"{name}.cos"))


def _kind(part: Part, meaning: str) -> FeatureKind:
    return FeatureKind(
        part,
        meaning,
        f"{part}: {{encode: cyclic}}",
        (
            AS,
            Key(
                "encode",
                "text",
                "two columns, sine and cosine, in which the end lies beside the beginning; or one category; `cyclic` unless told",
                among=("cyclic", "onehot"),
            ),
        ),
        "the newest time zone that an event told of",
        lambda line: Clock(part, line.choice("encode", ("cyclic", "onehot"), "cyclic")),
        _attach,
        _columns,
    )


KINDS: Final = (
    _kind("hour", "The hour on the customer's clock, where the customer is: to the minute if cyclic."),
    _kind("weekday", "The weekday on the customer's clock, where the customer is."),
)
