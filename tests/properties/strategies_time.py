"""Random times, places, contexts and visits, around a moment at which much changes: a midnight, hours, offsets of zones."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from hypothesis import strategies as st

import tests.oracle_time  # noqa: F401  (its kinds are known wherever these are drawn)
from rules.definition import ANY_EVENT, Condition, Context, During, EventRef, Operator, Session, Test, Trait

TURN = int(datetime(2024, 3, 31, 1, tzinfo=UTC).timestamp()) * 1000
"""A Sunday. In Berlin it is 2:00 and becomes 3:00, on the Azores 0:00 and becomes 1:00; at UTC-1 it becomes 0:00, in Kathmandu 6:45."""

START = TURN - 70
"""When histories begin: seven steps before."""

ZONES = ("Europe/Berlin", "Atlantic/Azores", "Etc/GMT+1", "Asia/Kathmandu", "UTC")
zones = st.sampled_from((*ZONES, *ZONES, "Mars/Olympus", "", 7))

_SATURDAY, _SUNDAY = date(2024, 3, 30).toordinal(), date(2024, 3, 31).toordinal()
_HOURS = ((60, 120), (120, 180), (180, 240), (0, 60), (1380, 30), (1320, 120), (405, 420), (120, 60), (0, 405))
_DATES = ((_SATURDAY, _SATURDAY), (_SUNDAY, _SUNDAY), (_SATURDAY, _SUNDAY), (_SUNDAY + 1, _SUNDAY + 9))

_asked = st.sampled_from(
    ("weekdays", "hours", "hours", "dates", "weekdays hours", "dates hours", "weekdays dates hours")
)


@st.composite
def durings(draw: st.DrawFn) -> During:
    """Weekdays, hours, dates or several of them, most of which begin or end at the turn somewhere."""
    asked = draw(_asked)
    hours = st.lists(st.sampled_from(_HOURS), min_size=1, max_size=2, unique=True).map(lambda of: tuple(sorted(of)))
    return During(
        draw(st.sampled_from(((6,), (5,), (0, 6), (0, 1, 2, 3, 4)))) if "weekdays" in asked else (),
        draw(hours) if "hours" in asked else (),
        (draw(st.sampled_from(_DATES)),) if "dates" in asked else (),
        draw(st.sampled_from((None, None, "Europe/Berlin", "Etc/GMT+1"))),
    )


optional_durings = st.one_of(*(st.none(),) * 6, durings())

_MOMENTS = tuple(START + steps * 10 + off for steps in range(0, 21, 2) for off in (-1, 0, 0, 1))


def _written(moment: int) -> Any:
    """Moments in all the ways in which they are written."""
    text = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "")
    return st.sampled_from((moment, float(moment), f"{text}Z", text, f"{text}+00:00"))


moments: st.SearchStrategy[Any] = st.one_of(
    *(st.sampled_from(_MOMENTS).flatmap(_written),) * 4,
    st.sampled_from(
        ("2024-03-31", "2024-03-30", "2024-03-31 01:00", "2024-03-31T03:00+02:00", "soon", "2024-02-30", True, None)
    ),
)


@st.composite
def moment_tests(draw: st.DrawFn, path: str) -> Test:
    """Before, after or lately."""
    operator = draw(st.sampled_from((Operator.BEFORE, Operator.AFTER, Operator.WITHIN, Operator.WITHIN)))
    if operator is Operator.WITHIN:
        return Test(path, operator, draw(st.sampled_from((10, 20, 30, 50))))
    return Test(path, operator, draw(st.sampled_from(_MOMENTS)))


def pattern_tests(path: str) -> st.SearchStrategy[Test]:
    """Patterns that mean the same to every engine."""
    return st.builds(
        Test, st.just(path), st.just(Operator.MATCHES), st.sampled_from(("^x$", "x|y", "[0-9]", "(?i)^M.*e$", "t"))
    )


def value_tests() -> st.SearchStrategy[Test]:
    """Tests on an event that compare moments, or look for a pattern."""
    return st.one_of(
        moment_tests("properties.at"),
        moment_tests("properties.lines[].at"),
        pattern_tests("properties.product"),
        pattern_tests("context.device.type"),
    )


moment_traits: st.SearchStrategy[Trait] = st.builds(
    lambda tests: Trait(tuple(tests)), st.lists(moment_tests("joined"), min_size=1, max_size=2)
)


def places(most: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """Contexts, many of which say where and with what."""
    device = st.sampled_from(
        ({"type": "mobile"}, {"type": "mobile"}, {"type": "tablet"}, {"type": None}, {"type": ["mobile"]}, "mobile")
    )
    return st.one_of(
        st.just({}),
        st.fixed_dictionaries({"device": device}),
        st.fixed_dictionaries(
            {},
            optional={
                "device": device,
                "timezone": zones,
                "at": moments,
                "version": st.sampled_from((1, 1.0, 2, "1", False)),
            },
        ),
    )


@st.composite
def context_tests(draw: st.DrawFn) -> Test:
    kind = draw(st.sampled_from(("device", "device", "version", "exists", "moment", "pattern")))
    match kind:
        case "device":
            operator, operand = draw(
                st.sampled_from(
                    (
                        (Operator.EQ, "mobile"),
                        (Operator.NE, "mobile"),
                        (Operator.IN, ("mobile", "desktop")),
                        (Operator.NOT_IN, ("mobile",)),
                        (Operator.STARTS_WITH, "tab"),
                    )
                )
            )
            return Test("context.device.type", operator, operand)
        case "version":
            return Test("context.version", draw(st.sampled_from((Operator.EQ, Operator.GTE, Operator.NE))), 1)
        case "exists":
            path = draw(st.sampled_from(("context.device.type", "context.version", "context.device")))
            return Test(path, Operator.EXISTS, draw(st.booleans()))
        case "moment":
            return draw(moment_tests("context.at"))
    return draw(pattern_tests("context.device.type"))


contexts: st.SearchStrategy[Context] = st.builds(
    lambda tests, within: Context(tuple(tests), within),
    st.lists(context_tests(), min_size=1, max_size=2),
    st.sampled_from((None, None, 10, 20, 50)),
)


@st.composite
def _bounds(draw: st.DrawFn, numbers: tuple[int, ...]) -> tuple[Test, ...]:
    operator = draw(st.sampled_from((Operator.GTE, Operator.GT, Operator.LTE, Operator.LT, Operator.BETWEEN)))
    if operator is Operator.BETWEEN:
        low, high = sorted((draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers))))
        return (Test("", operator, (low, high)),)
    return (Test("", operator, draw(st.sampled_from(numbers))),)


@st.composite
def sessions(draw: st.DrawFn, refs: st.SearchStrategy[EventRef]) -> Session:
    asked = draw(st.sampled_from(("depth", "depth", "length", "depth length", "")))
    return Session(
        draw(refs),
        draw(st.sampled_from((10, 11, 20, 30))),
        draw(_bounds((1, 2, 3, 4))) if "depth" in asked else (),
        draw(_bounds((0, 9, 10, 20, 30))) if "length" in asked else (),
        draw(st.booleans()),
    )


_refs = st.builds(EventRef, st.sampled_from(("A", "A", "A", "B", ANY_EVENT)))


def time_kinds() -> dict[str, st.SearchStrategy[Condition]]:
    """Each kind alone; for `KINDS` of the other strategies."""
    return {"during": durings(), "context": contexts, "session": sessions(_refs), "moment of a trait": moment_traits}
