"""Features that are a share of some events among others."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from online_models.features.kind import Attached, FeatureKind
from online_models.features.reading import AS, Line
from profiles.profile import Profile
from rules.calendar import DAY
from rules.compiler import Compiler
from rules.definition import ANY_EVENT, EventRef
from rules.kinds.kind import Key
from rules.kinds.numbers import meant_among
from rules.reader import LARGEST_COUNT

_WITHIN: Final = 90 * DAY


@dataclass(frozen=True)
class Share:
    """Parameters of `affinity` and `click_through`.

    The share of the events meant by `to` among all `among`; if `apart`, for each of those `among` that are not meant by `to`, and
    never more than 1. Unknown below `least` events.
    """

    to: tuple[EventRef, ...]
    among: tuple[EventRef, ...]
    within: int
    least: int = 1
    apart: bool = False


def _read_affinity(line: Line) -> Share:
    to = line.references("to")
    among = line.references("among", tuple(dict.fromkeys(ref.event for ref in to)))
    names = {ref.event for ref in among}
    for ref in to:
        if ANY_EVENT not in names and ref.event not in names:
            hint = "add it to `among`, or leave `among` out for all events that `to` names"
            line.reader.wrong(line.at("to"), f"{ref.event[:100]!r} is not `among` the events that are counted", hint)
    return Share(to, among, line.window(30 * DAY), line.integer("least", 1, 1, LARGEST_COUNT))


def _read_clicks(line: Line) -> Share:
    clicks = line.references("clicks", ("Email Link Clicked",))
    among = line.references("deliveries", ("Email Delivered",))
    return Share(clicks, (*clicks, *among), line.window(_WITHIN), line.integer("least", 1, 1, LARGEST_COUNT), True)


def _attach(compiler: Compiler, one: Share) -> Attached:
    window, least, apart = one.within, one.least, one.apart
    key = meant_among(compiler, one.to, one.among, window)

    def read(profile: Profile, clock: int) -> float | None:
        state = profile.slots.get(key)
        if state is None:
            return None
        times, numbers, counts = state
        start = bisect_right(times, clock - window)
        meant, counted = (sum(numbers[start:]), sum(counts[start:])) if start else (sum(numbers), sum(counts))
        if apart:
            counted -= meant
            meant = min(meant, counted)
        return meant / counted if counted >= least else None

    return Attached((read,), frozenset((key,)))


_STATE: Final = "the times of 128 events one by one, older ones counted by hundredths of the window"
_LEAST: Final = "with fewer events than this it is unknown; 1 unless told"

KINDS: Final = (
    FeatureKind(
        "click_through",
        "How many clicks there were for each delivery in a window, 1 at most; unknown without a delivery.",
        "click_through: {clicks: Email Link Clicked, deliveries: Email Delivered, within: 90d}",
        (
            AS,
            Key("clicks", "references", "the events that are clicks; Email Link Clicked unless told"),
            Key(
                "deliveries", "references", "the events that are deliveries, and no clicks; Email Delivered unless told"
            ),
            Key("within", "duration", "how far back they count; 90d unless told"),
            Key("least", "integer", "with fewer deliveries than this it is unknown; 1 unless told"),
        ),
        _STATE,
        _read_clicks,
        _attach,
    ),
    FeatureKind(
        "affinity",
        "The share of certain events among others in a window; unknown without any.",
        "affinity: {to: {event: Product Viewed, where: {properties.category: shoes}}, within: 30d, as: likes_shoes}",
        (
            AS,
            Key("to", "references", "the events whose share it is", required=True),
            Key("among", "references", "the events of which it is a share; all events that `to` names unless told"),
            Key("within", "duration", "how far back they count; 30d unless told"),
            Key("least", "integer", _LEAST),
        ),
        _STATE,
        _read_affinity,
        _attach,
    ),
)
