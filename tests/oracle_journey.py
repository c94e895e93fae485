"""What the oracle knows of sequences of several steps: every choice of events is tried, one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from rules.definition import EventRef, Journey, Silence, Step
from tests.oracle_conditions import JUDGES, History, Judge, Seen, meant
from tests.oracle_values import text_of, values_of


def horizon(journey: Journey) -> int:
    """The longest time that an instance takes, from the silence before it to the one after it."""
    steps = [at for at, one in enumerate(journey.steps) if isinstance(one, Step)]
    limits = [one.within for one in journey.steps[steps[0] + 1 :] if isinstance(one, Step)]
    spans = [journey.within] if journey.within is not None else []
    if None not in limits:
        spans.append(sum(limit for limit in limits if limit is not None))
    before = [one.lasting or 0 for one in journey.steps[: steps[0]] if isinstance(one, Silence)]
    after = [one.lasting or 0 for one in journey.steps[steps[-1] + 1 :] if isinstance(one, Silence)]
    return max(before, default=0) + min(spans) + max(after, default=0)


def is_one(one: Seen, step: Step | Silence, journey: Journey, value: str | None) -> bool:
    """Whether an event is what a step or a silence means, about this value."""
    if not any(meant(one.event, ref) for ref in step.of):
        return False
    if journey.per is None:
        return True
    return value in [text_of(found) for found in values_of(one.event, step.per or journey.per)]


def completions(journey: Journey, history: History, clock: int) -> list[int]:
    """The moments up to the clock at which the journey was complete."""
    reach = horizon(journey)
    events = sorted((one for one in history.seen if one.at > one.clock - reach), key=lambda one: (one.at, one.order))
    paths = {step.per or journey.per for step in journey.steps} - {None}
    values: set[str | None] = {None}
    if journey.per is not None:
        values = {text_of(one) for seen in events for path in paths for one in values_of(seen.event, path or "")}
        values -= {None}
    found = []
    for value in sorted(values, key=str):
        candidates = [
            [one for one in events if is_one(one, step, journey, value)]
            for step in journey.steps
            if isinstance(step, Step)
        ]
        for chosen in itertools.product(*candidates):
            if all(
                (one.at, one.order) < (other.at, other.order) for one, other in itertools.pairwise(chosen)
            ) and is_instance(journey, chosen, events, value):
                found.append(completed_at(journey, chosen))
    return [moment for moment in found if moment <= clock]


def completed_at(journey: Journey, chosen: Sequence[Seen]) -> int:
    """The time of the last step, or when the longest silence after it is over."""
    wait = 0
    for step in reversed(journey.steps):
        if isinstance(step, Step):
            break
        wait = max(wait, step.lasting or 0)
    return chosen[-1].at + wait


def is_instance(journey: Journey, chosen: Sequence[Seen], events: list[Seen], value: str | None) -> bool:
    """Whether every limit is kept and no silence is broken, if these events are the steps."""
    if journey.within is not None and chosen[-1].at - chosen[0].at > journey.within:
        return False
    passed = 0
    for step in journey.steps:
        before = chosen[passed - 1] if passed else None
        after = chosen[passed] if passed < len(chosen) else None
        if isinstance(step, Step):
            assert after is not None
            if before is not None and step.within is not None and after.at - before.at > step.within:
                return False
            passed += 1
        elif not is_kept(step, before, after, [one for one in events if is_one(one, step, journey, value)]):
            return False
    return True


def is_kept(silence: Silence, before: Seen | None, after: Seen | None, breakers: list[Seen]) -> bool:
    """Whether none of these lies strictly between the events around a silence, in the part of the time that it covers."""
    lasting = silence.lasting
    if before is not None and after is not None and lasting is not None and after.at - before.at < lasting:
        return False
    for one in breakers:
        if before is not None and (one.at, one.order) <= (before.at, before.order):
            continue
        if after is not None and (one.at, one.order) >= (after.at, after.order):
            continue
        if lasting is not None and before is not None and one.at > before.at + lasting:
            continue
        if lasting is not None and before is None and after is not None and one.at <= after.at - lasting:
            continue
        return False
    return True


def refs(journey: Journey) -> list[EventRef]:
    return [ref for step in journey.steps for ref in step.of]


def moments(journey: Journey, history: History, clock: int) -> list[int]:
    """Whenever an event could have been the last step of a completion."""
    return [completed_at(journey, [one]) for one in history.seen]


def _reach(journey: Journey, event: Any) -> int:
    return horizon(journey)


JUDGES[Journey] = Judge(
    holds=lambda journey, history, clock: bool(completions(journey, history, clock)),
    refs=refs,
    reach=_reach,
    moments=moments,
    completions=completions,
)
