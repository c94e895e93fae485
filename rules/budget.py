"""How much state rules may take of each customer, and the refusal of those that may take more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from rules.compiler import compile_plan
from rules.cost import at_most, bound, total
from rules.definition import Condition, Segment
from rules.errors import RuleError
from rules.journeys import Trail
from rules.parse import parse_rule
from rules.plan import Plan
from rules.slots import Keyed, Numbers, Returns, Slot, Times

MOST_OF_SEGMENT: Final = 256 * 1024
"""Bytes that one segment may take of a customer at most, in the worst case: what one record may have, too."""

MOST_TOGETHER: Final = 8 * 1024 * 1024
"""Bytes that all segments may take of a customer at most: an eighth of the frame in which profiles travel to the rules and back."""


def over_budget(segments: tuple[Segment, ...], plan: Plan, texts: Mapping[str, str]) -> Iterator[RuleError]:
    """What is refused of these segments, which the plan was made of; `texts` are those of their files, by the segments' names."""
    by_name = {one.name: one for one in plan.segments}
    refused = False
    for segment in segments:
        # A slot that is shared may be as large as it is for the sake of another segment, which is then the one to be refused.
        if at_most(plan, by_name[segment.name]) > MOST_OF_SEGMENT and (most := _alone(segment)) > MOST_OF_SEGMENT:
            refused = True
            yield _segment_refused(segment, most, texts[segment.name])
    if not refused and total(plan) > MOST_TOGETHER:
        yield _all_refused(segments, plan, texts)


def _alone(segment: Segment) -> int:
    return total(compile_plan([segment]))


def _segment_refused(segment: Segment, most: int, text: str) -> RuleError:
    at, slot, bytes_ = _dearest(segment, text)
    message = (
        f"a customer's state for {segment.name!r} may take {most:,} bytes, more than {MOST_OF_SEGMENT:,}; "
        f"{bytes_:,} of them for this condition{_why(slot)}"
    )
    return RuleError(segment.file, *at, message, _cheaper(slot, most - MOST_OF_SEGMENT))


def _all_refused(segments: tuple[Segment, ...], plan: Plan, texts: Mapping[str, str]) -> RuleError:
    by_name = {one.name: one for one in plan.segments}
    ranked = sorted(segments, key=lambda one: (-at_most(plan, by_name[one.name]), one.name))
    largest = ", ".join(f"{one.name} ({at_most(plan, by_name[one.name]):,})" for one in ranked[:3])
    at, slot, _ = _dearest(ranked[0], texts[ranked[0].name])
    message = f"a customer's state for all segments may take {total(plan):,} bytes, more than {MOST_TOGETHER:,}; most take {largest}"
    return RuleError(ranked[0].file, *at, message, _cheaper(slot, total(plan) - MOST_TOGETHER))


def _dearest(segment: Segment, text: str) -> tuple[tuple[int, int], Slot | None, int]:
    """Where the condition stands that takes most, the largest slot of it, and bytes that it takes."""
    rule = parse_rule(text, segment.file)
    found: tuple[tuple[int, int], Slot | None, int] = (rule.at, None, 0)
    for condition, at in rule.leaves:
        slots = _slots(condition)
        most = sum(map(bound, slots))
        if most > found[2]:
            found = at, max(slots, key=bound), most
    return found


def _slots(condition: Condition) -> list[Slot]:
    return list(compile_plan([Segment("", condition)]).slots.values())


def _why(slot: Slot | None) -> str:
    match slot:
        case Keyed() if slot.keep > 1:
            return f": of {slot.keys} values the times of {slot.keep:,} events each"
        case Keyed():
            return f": {slot.keys:,} values and when each was last seen"
        case Trail() if slot.bound:
            return ": the newest events with all their values"
        case Numbers():
            return f": {slot.most} numbers with their times"
        case Times() | Returns() if slot.keep > 1:
            return f": the times of {slot.keep:,} events"
    return ""


def _cheaper(slot: Slot | None, excess: int) -> str:
    """How to say much the same with less, `excess` being how many bytes it is too much."""
    match slot:
        case Keyed() if slot.keep > 1:
            return f"{_fitting('a count of ', slot.keep - excess / (slot.keys * 9))}counted without `per` it takes {slot.keep * 9:,} bytes"
        case Keyed():
            largest = _fitting("", slot.keys - excess * slot.keys / bound(slot), " different values")
            return f"{largest}`aggregate: {{fn: rate, ...}}` counts the events, whatever their values, in 7,000 bytes"
        case Trail() if slot.bound:
            return "leave `per` out of the sequence, or write `event: ..., per: ..., without: ...` where two steps are enough"
        case Numbers():
            return "`event: ..., count: ...` keeps no more times than it asks for, and a number over all time, without `within`, one sum"
        case Times() | Returns() if slot.keep > 1:
            return (
                f"it keeps {slot.keep:,} times: a smaller count keeps fewer; `aggregate: {{fn: rate, ...}}` at most 328"
            )
    return "leave conditions out, or let them count the same events in the same way: what is the same is kept once"


def _fitting(before: str, kept: float, after: str = "") -> str:
    """Up to which number it would fit, if up to any; a bound that is not to be passed needs one more to be kept."""
    most = int(kept) - 1
    return f"up to {before}{most:,}{after} it fits; " if most > 0 else ""
