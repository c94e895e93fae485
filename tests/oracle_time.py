"""What the oracle knows of time, place and visits: `during`, `context`, `session`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

from rules.definition import ANY_EVENT, Context, During, EventRef, Operator, Session, Test
from tests.oracle_clock import ELSEWHERE, place_named, stands_in
from tests.oracle_conditions import JUDGES, History, Judge, Seen
from tests.oracle_values import number_passes, passes, values_of


def newest(history: History, path: str) -> tuple[Seen, Any] | None:
    """The newest event that has a text, a number, true or false at the path, with the value; of equal times the one that came last."""
    found = []
    for one in history.seen:
        values = [value for value in values_of(one.event, path) if isinstance(value, str | int | float)]
        found += [(one, value[:256] if isinstance(value, str) else value) for value in values]
    return max(found, key=lambda pair: (pair[0].at, pair[0].order), default=None)


def says(path: str) -> EventRef:
    return EventRef(ANY_EVENT, (Test(path, Operator.EXISTS, True),))


# --- during ---------------------------------------------------------------------------------------------------------


def place_of(during: During, history: History) -> ZoneInfo:
    """Where the customer is: by the trait, by the newest event that names a zone, else where the rule says."""
    lives = place_named(history.traits().get("timezone"))
    if lives:
        return lives
    for one in sorted(history.seen, key=lambda one: (one.at, one.order), reverse=True):
        if was := place_named(one.event.context.get("timezone")):
            return was
    return ZoneInfo(during.zone or ELSEWHERE)


def _next_minute(during: During, history: History, clock: int) -> Iterable[int]:
    """Clocks show another minute, and zones change, with whole minutes of UTC only."""
    return [(clock // 60_000 + 1) * 60_000]


JUDGES[During] = Judge(
    lambda during, history, clock: stands_in(during, place_of(during, history), clock),
    refs=lambda during: [says("context.timezone")],
    moments=_next_minute,
)


# --- context --------------------------------------------------------------------------------------------------------


def _context_holds(context: Context, history: History, clock: int) -> bool:
    for test in context.tests:
        found = newest(history, test.path)
        if found is None or (context.within is not None and found[0].at <= clock - context.within):
            holds = passes([], test)
        else:
            holds = passes([found[1]], test, found[0].at)
        if not holds:
            return False
    return True


def _context_moments(context: Context, history: History, clock: int) -> Iterable[int]:
    return [] if context.within is None else [one.at + context.within for one in history.seen]


JUDGES[Context] = Judge(
    _context_holds,
    refs=lambda context: [says(test.path) for test in context.tests],
    reach=lambda context, event: context.within,
    moments=_context_moments,
)


# --- sessions -------------------------------------------------------------------------------------------------------


def sessions(session: Session, history: History) -> list[list[int]]:
    """The times of the events of each session."""
    found: list[list[int]] = []
    for time in sorted(one.at for one in history.of(session.ref, None)):
        if found and time - found[-1][-1] < session.gap:
            found[-1].append(time)
        else:
            found.append([time])
    return found


def _session_holds(session: Session, history: History, clock: int) -> bool:
    found = sessions(session, history)
    if not found or (clock - found[-1][-1] >= session.gap and not session.last):
        return False
    depth, length = len(found[-1]), found[-1][-1] - found[-1][0]
    return number_passes(depth, session.depth) and number_passes(length, session.length)


JUDGES[Session] = Judge(
    _session_holds,
    refs=lambda session: [session.ref],
    moments=lambda session, history, clock: [one.at + session.gap for one in history.seen],
)
