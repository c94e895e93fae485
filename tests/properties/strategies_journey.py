"""Random sequences of several steps, with silences before, between and after them, with and without a value that binds them."""

from __future__ import annotations

from hypothesis import strategies as st

from rules.definition import EventRef, Journey, Silence, Step
from tests import oracle_journey

__all__ = ["journey_kinds", "journeys", "oracle_journey"]

LIMITS = (10, 20, 30)
PATHS = ("properties.product", "properties.lines[].product")

limits = st.sampled_from(LIMITS)
optional_limits = st.sampled_from((None, None, *LIMITS))
optional_paths = st.sampled_from((None, None, *PATHS))


@st.composite
def journeys(
    draw: st.DrawFn,
    refs: st.SearchStrategy[EventRef],
    steps: tuple[int, ...] = (1, 2, 2, 2, 3, 3),
    silent: tuple[str, ...] = ("before", "between", "after"),
    bound: tuple[bool, ...] = (False, False, True),
) -> Journey:
    """A journey of so many steps whose silences stand at some of the places in `silent`; each step has a limit, or all have one."""
    events = st.lists(refs, min_size=1, max_size=2).map(tuple)
    per = draw(st.sampled_from(PATHS)) if draw(st.sampled_from(bound)) else None
    paths = st.none() if per is None else optional_paths
    within = draw(optional_limits)
    count = draw(st.sampled_from(steps))

    def silence(place: str, lasting: st.SearchStrategy[int | None]) -> list[Step | Silence]:
        if place not in silent or draw(st.booleans()):
            return []
        return [Silence(draw(events), draw(lasting), draw(paths))]

    found: list[Step | Silence] = silence("before", limits)
    for number in range(count):
        if number:
            found += silence("between", optional_limits)
        limit = None if not number or (within is not None and draw(st.booleans())) else draw(limits)
        found.append(Step(draw(events), limit, draw(paths)))
    closing = silence("after", limits)
    if count == 1 and len(found) == 1:
        closing = closing or [Silence(draw(events), draw(limits), draw(paths))]
    found += closing
    # Two silences in one place, of which each must be kept.
    if closing and draw(st.integers(0, 3)) == 0:
        found += silence("after", limits)
    return Journey(tuple(found), within, per)


def journey_kinds(refs: st.SearchStrategy[EventRef]) -> dict[str, st.SearchStrategy[Journey]]:
    """Each kind of journey alone."""
    return {
        "steps": journeys(refs, (2, 3, 4), silent=(), bound=(False,)),
        "steps of one value": journeys(refs, (2, 3), silent=("after",), bound=(True,)),
        "steps after silence": journeys(refs, (1, 2), silent=("before",)),
        "steps around silence": journeys(refs, (2, 3), silent=("between",)),
        "steps before silence": journeys(refs, (1, 2, 3), silent=("after",)),
        "steps and silences": journeys(refs),
    }
