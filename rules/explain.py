"""Why a customer is in a segment or not: each condition with what it found, what would change it, and when that happens by itself.

What it says is found the way the job decides: conditions are evaluated on the customer's profile, leaves say what the evidence of a
transition would say, and the next transition is found by letting time pass on a copy of the profile.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from profiles.profile import NEVER, Profile, decode_profile, encode_profile
from rules.compiled import Compiled, moment
from rules.duration import format_duration
from rules.plan import CompiledSegment, Plan
from rules.slots import Numbers
from rules.step import Rules, Timer, Transition, step

MOST_MOMENTS: Final = 5_000
"""So many moments are looked at ahead: enough for one that comes every day until the profile expires."""

Explanation = dict[str, Any]
Node = dict[str, Any]

_LATEST: Final = 253_402_300_799_999
_OPERATORS: Final = {
    "eq": "equal to",
    "ne": "other than",
    "gt": "above",
    "gte": "at least",
    "lt": "below",
    "lte": "at most",
    "between": "between",
    "in": "one of",
    "not_in": "none of",
    "contains": "with",
    "starts_with": "beginning with",
    "ends_with": "ending with",
    "matches": "matching",
    "before": "before",
    "after": "after",
    "within": "within",
    "to_stay": "to stay:",
}


Reasons = Callable[[str, Profile, int], Node | None]
"""What a model (by its name) makes of a profile at a moment, as plain values for JSON; None where it can say nothing."""


def explain(
    profile: Profile | None,
    rule_set: Rules,
    clock: int,
    customer: str,
    segment: str | None = None,
    reasons: Reasons | None = None,
) -> Explanation:
    """Where a customer stands at `clock` (epoch milliseconds), for one segment or for all, as plain values for JSON.

    What is due up to `clock` has happened by then; the profile given is left as it is. `docs/schemas/explanations.json` describes the
    answer. A segment that the rules do not have is named in `unknown_segment`. Rules that are published and not live yet name the segments
    concerned in an attribute `warming`. With `reasons`, conditions that ask for a model's score say how the model comes to it.
    """
    kept, clock = _as_of(profile, rule_set, clock, customer)
    plan = rule_set.plan
    warming = frozenset(getattr(rule_set, "warming", None) or ())
    names = sorted({one.name for one in plan.segments} | warming)
    wanted = names if segment is None else [name for name in names if name == segment]
    ahead, until = _ahead(kept, rule_set, clock, customer, wanted)
    by_name = {one.name: one for one in plan.segments}
    return {
        "customer": customer,
        "known": kept is not None,
        "clock": _shown(clock),
        "rules": rule_set.version,
        "first_seen": _shown(kept.first_seen) if kept is not None and kept.first_seen < NEVER else None,
        "latest_event": _shown(kept.latest) if kept is not None else None,
        "unknown_segment": segment if not wanted else None,
        "segments": [
            _Segment(plan, by_name[name], kept, clock, customer, name in warming, reasons).explained(
                ahead.get(name), until
            )
            if name in by_name
            else _new(name)
            for name in wanted
        ],
    }


def _as_of(profile: Profile | None, rule_set: Rules, clock: int, customer: str) -> tuple[Profile | None, int]:
    """A copy of the profile after all that is due up to the customer's clock."""
    if profile is None:
        return None, clock
    clock = max(clock, profile.latest)
    return step(_copy(profile), rule_set, Timer(clock), clock, None, customer)[0], clock


def _copy(profile: Profile) -> Profile:
    return decode_profile(encode_profile(profile))


def _ahead(
    profile: Profile | None, rule_set: Rules, clock: int, customer: str, wanted: Iterable[str]
) -> tuple[dict[str, Transition], int]:
    """The next transition of each segment if nothing comes, and the moment up to which was looked (NEVER: for ever)."""
    found: dict[str, Transition] = {}
    waiting = set(wanted)
    after = _copy(profile) if profile is not None else None
    at = clock
    for _ in range(MOST_MOMENTS):
        if after is None or not waiting:
            return found, NEVER
        at = max(at, min(after.due, after.latest + rule_set.plan.limits.expiry))
        after, decision = step(after, rule_set, Timer(at), at, None, customer)
        for one in decision.transitions:
            if one.segment in waiting:
                waiting.discard(one.segment)
                found[one.segment] = one
    return found, at if waiting else NEVER


def _new(name: str) -> Node:
    """A segment that is new and whose history has not been counted yet: nobody is in it."""
    return {
        "segment": name,
        "version": None,
        "in": False,
        "since": None,
        "rule_holds": None,
        "condition": None,
        "reasons": [_reason("warming", "it is new, and its history has not been counted yet")],
        "to_change": "",
        "next": None,
        "looked_until": None,
    }


class _Segment:
    """What is to be said of one customer and one segment."""

    def __init__(
        self,
        plan: Plan,
        one: CompiledSegment,
        profile: Profile | None,
        clock: int,
        customer: str,
        warming: bool,
        models: Reasons | None,
    ) -> None:
        self.plan = plan
        self.models = models if profile is not None else None
        self.one = one
        self.profile = profile if profile is not None else Profile()
        self.known = profile is not None
        self.clock = clock
        self.customer = customer
        self.warming = warming
        self.entry: list[int] = self.profile.segments.get(one.name) or [0, NEVER]

    def explained(self, ahead: Transition | None, until: int) -> Node:
        """The segment's part of the explanation."""
        inside = bool(self.entry[0])
        tree = node(self.one.condition, self.profile, self.clock, self.plan, self.models)
        return {
            "segment": self.one.name,
            "version": self.one.version,
            "in": inside,
            "since": _shown(self.entry[0]) if inside else None,
            "rule_holds": tree["holds"],
            "condition": tree,
            "reasons": list(self.reasons()),
            "to_change": self.to_leave(tree) if inside else self.to_enter(tree),
            "next": _next(ahead),
            "looked_until": _shown(until) if ahead is None and until != NEVER else None,
        }

    # --- what else decides ----------------------------------------------------------------------------------------

    def reasons(self) -> Iterator[Node]:
        """Whatever besides the rule decides at this moment."""
        if self.warming:
            yield _reason(
                "warming", "it has changed, and what is new in it is still being counted: as it was until then"
            )
        if not self.known:
            yield _reason("unknown", "nothing is known of this customer: no event has been applied, or it has expired")
        elif self.one.held_out and self.one.holds_out(self.customer):
            yield _reason("held_out", "is one of the share of customers who never enter, to compare with")
        if self.one.latched:
            yield from self.latched()
        if len(self.entry) >= 7:
            yield from self.inside_longer() if self.entry[0] else self.outside_longer()

    def latched(self) -> Iterator[Node]:
        rise = self.entry[2] if len(self.entry) > 2 else 0
        if self.entry[0] and self.one.after != NEVER:
            text = (
                f"membership ends {format_duration(self.one.after)} after the rule last became true, at {_shown(rise)}"
            )
            yield _reason("after", text, rise + self.one.after)
        if not self.entry[0] and len(self.entry) > 3 and self.entry[3] and not self.wanted():
            yield _reason(
                "used_up", "the rule holds, but membership that came of it has ended: it must become true anew"
            )

    def wanted(self) -> int:
        """Since when the rule alone would have the customer in; 0 where it would not, or nothing else decides."""
        return self.entry[5] if len(self.entry) >= 7 else 0

    def inside_longer(self) -> Iterator[Node]:
        until = self.entry[0] + self.one.stability.min_dwell
        if self.clock < until:
            yield _reason("min_dwell", f"stays until {_shown(until)} at least, whatever the rule says", until)

    def outside_longer(self) -> Iterator[Node]:
        since, until = self.wanted(), self.entry[6]
        if until > self.clock:
            yield _reason("cooldown", f"has left, and does not enter again before {_shown(until)}", until)
        if not since:
            return
        ready = since + self.one.stability.enter_for
        if ready > self.clock:
            text = f"the rule holds since {_shown(since)}, and must until {_shown(ready)} before the customer enters"
            yield _reason("enter_for", text, ready)
        winner = self.displaced_by()
        if winner:
            yield _reason("displaced", f"segment {winner} of the same group comes first", by=winner)

    def displaced_by(self) -> str:
        """The segment of the group that the customer is in instead; "" if there is none."""
        return next((one.name for one in self.group() if self.profile.segments.get(one.name, [0])[0]), "")

    def group(self) -> tuple[CompiledSegment, ...]:
        """The segments of its group by descending priority; none if it is in no group."""
        return next((group.members for group in self.plan.groups if self.one in group.members), ())

    # --- what would change it -------------------------------------------------------------------------------------

    def to_enter(self, tree: Node) -> str:
        """In words, what would have to come about for the customer to enter; "" where only what `reasons` says is waited for."""
        if self.one.held_out and self.one.holds_out(self.customer):
            return "nothing: is held out"
        if tree["holds"]:
            if self.known and self.one.latched and not self.wanted():
                return f"the rule must stop holding and hold again: {turn(tree, False)}, then again as now"
            return "" if self.known else "an event of this customer"
        return turn(tree, True)

    def to_leave(self, tree: Node) -> str:
        """In words, what would have to come about for the customer to leave."""
        ways = list(self.one.ends_on)
        if self.one.after != NEVER:
            ways.append(f"{format_duration(self.one.after)} without the rule becoming true again")
        if not self.one.latched and tree["holds"]:
            ways.append(turn(tree, False))
        group = self.group()
        before = group[: group.index(self.one)] if group else ()
        ways += [f"segment {one.name}, which comes before it in the group" for one in before]
        return " or ".join(ways)


# --- conditions -------------------------------------------------------------------------------------------------------


def node(one: Compiled, profile: Profile, clock: int, plan: Plan, models: Reasons | None = None) -> Node:
    """A condition as a tree: what it is, whether it holds, and what it found or is made of.

    Leaves (and sums of points) have `actual` and `threshold`, as the evidence of a transition has them; the `parts` of others decide.
    `last` is the newest event (or write of a trait or score, or entering of another segment) that it knows of. Until `stays_until` it
    stays as it is unless an event comes; null: for ever. `merged_by`: there were too many numbers to keep each, so neighbours within so
    long leave the window together; null: it is exact. `model` is what `models` says of a leaf that asks for a score, or None.
    """
    holds, flip = one.evaluate(profile, clock)
    measured = one.measure is not None
    weights = one.weights or (None,) * len(one.parts)
    inner = zip(one.parts, weights, strict=True) if one.joins == "points" or not measured else ()
    said = (models(name, profile, clock) for name in sorted(one.scores)) if models and one.joins == "leaf" else ()
    return {
        "kind": one.joins,
        "condition": one.text,
        "holds": holds,
        "actual": one.measure(profile, clock) if one.measure is not None else None,
        "threshold": one.threshold,
        "last": _shown(_last(one, profile, plan)) if measured else None,
        "stays_until": _shown(flip) if flip != NEVER else None,
        "merged_by": _merged_by(one, profile, clock, plan) if measured else None,
        "least": one.least if one.joins == "at_least" else None,
        "points": None,
        "model": next((found for found in said if found is not None), None),
        "parts": [{**node(part, profile, clock, plan, models), "points": weight} for part, weight in inner],
    }


def _last(one: Compiled, profile: Profile, plan: Plan) -> int | None:
    """The time of the newest that the condition knows of."""
    times: list[int | None] = [
        plan.slots[key].newest(profile.slots[key]) for key in one.slots if key in profile.slots and key in plan.slots
    ]
    times += [profile.traits[name][1] for name in one.traits if name in profile.traits]
    times += [profile.scores[name][1] for name in one.scores if name in profile.scores]
    times += [profile.segments[name][0] or None for name in one.members if name in profile.segments]
    return max((at for at in times if at is not None), default=None)


def _merged_by(one: Compiled, profile: Profile, clock: int, plan: Plan) -> str | None:
    """The length of the panes in which what the condition counts is merged by now; None where it is exact."""
    if one.joins == "points":
        return None
    panes = [
        slot.longest_pane
        for key in one.slots
        if isinstance(slot := plan.slots.get(key), Numbers)
        and key in profile.slots
        and slot.is_merged(profile.slots[key], clock)
    ]
    return format_duration(max(panes)) if panes else None


def evidence(tree: Node) -> list[Node]:
    """The leaves of a tree as the evidence of a transition lists them."""
    if tree["kind"] == "points" or not tree["parts"]:
        return [{key: tree[key] for key in ("condition", "holds", "actual", "threshold")}]
    return list(itertools.chain.from_iterable(map(evidence, tree["parts"])))


def turn(tree: Node, wanted: bool) -> str:
    """In words, what would have to change for the condition to hold (or to stop holding); "" where it is so already."""
    if tree["holds"] is wanted:
        return ""
    kind, parts = tree["kind"], tree["parts"]
    if kind == "not":
        return turn(parts[0], not wanted)
    if kind in ("leaf", "points"):
        return _leaf_turn(tree, wanted)
    needs = [turn(part, wanted) for part in parts if part["holds"] is not wanted]
    if kind == "at_least":
        held = sum(part["holds"] for part in parts)
        number = tree["least"] - held if wanted else held - tree["least"] + 1
    else:
        number = len(needs) if (kind == "all") is wanted else 1
    if number >= len(needs):
        return needs[0] if len(needs) == 1 else " and ".join(map(_bracketed, needs))
    if number == 1:
        return " or ".join(map(_bracketed, needs))
    return f"{number} of: {'; '.join(map(_bracketed, needs))}"


def _bracketed(text: str) -> str:
    return f"({text})" if " or " in text or " and " in text or " of: " in text else text


def _leaf_turn(tree: Node, wanted: bool) -> str:
    now = value_words(tree["actual"])
    if wanted:
        return f"{tree['condition']}: {threshold_words(tree['threshold'])} (now {now})"
    return f"{tree['condition']}: not {threshold_words(tree['threshold'])} any more (now {now})"


def threshold_words(threshold: Any) -> str:
    """What is asked for, as people say it.

    >>> threshold_words({"gte": 3}), threshold_words({"between": [1, 5]}), threshold_words("in"), threshold_words({"exists": False})
    ('at least 3', 'between 1 and 5', 'in', 'missing')
    """
    if not isinstance(threshold, dict):
        return value_words(threshold)
    words = []
    for operator, operand in threshold.items():
        if operator == "exists":
            words.append("there" if operand else "missing")
        elif operator == "between" and isinstance(operand, list | tuple) and len(operand) == 2:
            words.append(f"between {value_words(operand[0])} and {value_words(operand[1])}")
        elif isinstance(operand, dict):
            words.append(f"{_OPERATORS.get(operator, operator)} {threshold_words(operand)}")
        else:
            words.append(f"{_OPERATORS.get(operator, operator.replace('_', ' '))} {value_words(operand)}")
    return ", ".join(words) or "so"


def value_words(value: Any) -> str:
    """A value in a sentence."""
    if value is None or value == []:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return ", ".join(map(value_words, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {value_words(inner)}" for key, inner in value.items())
    return str(value)


# --- pieces -----------------------------------------------------------------------------------------------------------


def _shown(time: int | None) -> str | None:
    """A moment as text; None for one that does not come, or lies beyond the years that have four digits."""
    return moment(time) if time is not None and 0 <= time <= _LATEST else None


def _reason(kind: str, text: str, until: int | None = None, by: str | None = None) -> Node:
    return {"kind": kind, "text": text, "until": _shown(until), "by": by}


def _next(transition: Transition | None) -> Node | None:
    if transition is None:
        return None
    return {
        "kind": transition.kind,
        "at": _shown(transition.effective_at),
        "cause": transition.cause["kind"],
    }
