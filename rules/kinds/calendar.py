"""`during`: the clock of the customer stands in these weekdays, hours and dates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final

from profiles.document import Mapping
from profiles.profile import NEVER, Profile
from profiles.zones import zone
from rules.calendar import WEEKDAYS, Calendar, shown_during
from rules.calendar_reader import read_during
from rules.compiled import Compiled
from rules.definition import ANY_EVENT, Condition, During, EventRef, Operator, Test
from rules.kinds.kind import Key, Kind
from rules.newest import Newest
from rules.predicates import Predicate

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader

ZONE_TRAIT: Final = "timezone"
"""The trait that says where a customer is, before all else."""

SAYS_ZONE: Final = EventRef(ANY_EVENT, (Test("context.timezone", Operator.EXISTS, True),))
"""The events that may say where a customer is."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _read(reader: ConditionReader, outer: Mapping) -> Condition:
    return read_during(reader, outer["during"])


def _zone_name(value: Any) -> str | None:
    """The value if it names a time zone."""
    return value if type(value) is str and zone(value) is not None else None


def _fallback(name: str) -> tzinfo:
    return zone(name) or UTC


def event_during(during: During, name: str) -> Predicate:
    """A function from an event to whether it happened then, on the clock of where it happened, else of the zone `name`."""
    calendar, fallback = Calendar(during), _fallback(name)

    def happened(event: Any) -> bool:
        said = event.context.get("timezone")
        here = zone(said) if type(said) is str else None
        return calendar.holds(here or fallback, event.event_time)

    return happened


def whereabouts(compiler: Compiler, own: str | None = None) -> tuple[int, Callable[[Profile], tzinfo]]:
    """The slot that tells where a customer is, and a function from a profile to the time zone there.

    The trait `ZONE_TRAIT` goes before what events say, that before `own`, the rule's and the project's zone.
    """
    fallback = _fallback(compiler.zone(own))
    key = compiler.slot(
        "zone", SAYS_ZONE, (), lambda key: Newest(key, NEVER, "context.timezone", _zone_name, every=False)
    ).key

    def place(profile: Profile) -> tzinfo:
        written = profile.traits.get(ZONE_TRAIT)
        if written is not None and type(written[0]) is str and (lives := zone(written[0])) is not None:
            return lives
        state = profile.slots.get(key)
        return fallback if state is None else zone(state[1]) or fallback

    return key, place


def _compile(compiler: Compiler, one: During) -> Compiled:
    calendar = Calendar(one)
    key, place = whereabouts(compiler, one.zone)

    def measure(profile: Profile, clock: int) -> str:
        where = place(profile)
        local = (_EPOCH + timedelta(milliseconds=clock)).astimezone(where)
        return f"{WEEKDAYS[local.weekday()]} {local.replace(tzinfo=None).isoformat(' ', 'milliseconds')} {where}"

    return Compiled(
        "local time",
        lambda profile, clock: calendar.now(place(profile), clock),
        slots=frozenset((key,)),
        traits=frozenset((ZONE_TRAIT,)),
        measure=measure,
        threshold=shown_during(one),
    )


KEYS: Final = (
    Key("weekdays", "texts", "one of these, such as `mon`, or `mon-fri`, or a list of such"),
    Key("hours", "texts", 'in these hours of the day, such as `"9:00-17:00"`; `"22:00-6:00"` goes on past midnight'),
    Key("dates", "texts", "on one of these days, such as `2026-12-24` or `2026-12-01..2026-12-24`"),
    Key("timezone", "text", "for customers of whom no time zone is known; the segment's unless told"),
)

DURING: Final = Kind(
    "during",
    "The customer's clock stands in these weekdays, hours and dates, where the customer is.",
    'during: {weekdays: mon-fri, hours: "9:00-17:00"}',
    "mapping",
    _read,
    _compile,
    (During,),
    keys=KEYS,
)

KINDS: Final = (DURING,)
