"""What every kind of condition must do, as one list of checks that each of them passes.

A new kind joins by two lines: its strategies go into `tests.properties.strategies.KINDS` (one kind alone, over events `A` and `B`), and
its key into `CHECKED` below with the names they have there. A kind of the language without a line here fails `test_checks.py`.

The condition stands in a segment `under`, beside a segment `other` that holds while an `A` lies in a window, so that there is something
to ask for membership of. `Look` brings both the core and the oracle to one moment; a check looks at what the condition says there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from profiles import NEVER, Event, encode_profile
from rules.compiled import Compiled
from rules.cost import bound
from rules.definition import Condition, EventRef, Happened, Hysteresis, Member, Segment
from rules.order import leaves
from rules.waits import waits
from tests.oracle import Oracle, holds
from tests.properties import strategies as some
from tests.properties.delivery import Customer, rules

AHEAD: Final = 8 * some.STEP

_members: st.SearchStrategy[Condition] = st.builds(
    Member, st.sampled_from(("other", "nobody")), st.sampled_from((None, 10)), st.sampled_from((None, 20, 35))
)

CHECKED: Final[dict[str, tuple[str, ...]]] = {
    "event": (
        "plain",
        "counted",
        "per",
        "without",
        "silence",
        "not yet",
        "where",
        "moments and patterns",
        "event during",
    ),
    "absent": ("absent",),
    "since": ("since",),
    "aggregate": ("aggregate", "distinct", "rate", "trend", "two thresholds over time"),
    "trait": ("trait", "moment of a trait"),
    "sequence": ("sequence", "unanswered", "steps", "steps of one value", "steps before silence", "steps and silences"),
    "all": ("mixed",),
    "any": ("mixed",),
    "not": ("mixed",),
    "at_least": ("mixed",),
    "points": ("points", "two thresholds"),
    "context": ("context",),
    "during": ("during",),
    "session": ("session",),
    "engagement": ("engagement",),
    "affinity": ("affinity",),
    "rfm": ("rfm",),
    "score": ("score or cluster", "two thresholds"),
    "cluster": ("score or cluster",),
    "segment": ("member",),
}
"""Each key that begins a condition, with the names of the strategies that draw it."""


def conditions(key: str) -> st.SearchStrategy[Condition]:
    """Conditions of one kind."""
    known = {**some.KINDS, "member": _members}
    return st.one_of(*(known[name] for name in CHECKED[key]))


class Look:
    """The core and the oracle, both at the moment at which so many arrivals have come."""

    def __init__(self, condition: Condition) -> None:
        segments = [Segment("other", Happened(EventRef("A"), 20), version=1), Segment("under", condition, version=1)]
        self.definition = condition
        self.oracle, self.customer = Oracle(segments), Customer(rules(segments))
        self.condition: Compiled = next(
            one.condition for one in self.customer.rules.plan.segments if one.name == "under"
        )

    def take(self, event: Event, scores: some.Scores) -> None:
        """One more arrival."""
        self.oracle.arrive(event, 0, scores)
        self.customer.apply(event, 0, scores)

    def says(self, clock: int) -> tuple[bool, int]:
        """What the condition says at a moment, of what is known now, and until when it says so."""
        assert self.customer.profile is not None
        return self.condition.evaluate(self.customer.profile, clock)

    def recomputed(self, clock: int) -> bool:
        """What the oracle says at that moment, of what is known now."""
        self.oracle.look_around("under")
        return holds(self.definition, self.oracle.history, clock)

    def evidence(self, clock: int) -> list[dict[str, Any]]:
        assert self.customer.profile is not None
        return self.condition.evidence(self.customer.profile, clock)


def incremental_equals_recomputed(look: Look) -> None:
    """What was kept up to date says what all raw events say, now and at every moment that follows."""
    for clock in range(look.oracle.clock, look.oracle.clock + AHEAD):
        assert look.says(clock)[0] == look.recomputed(clock), f"at {clock - look.oracle.clock} after the newest event"


def flips_are_never_late(look: Look) -> None:
    """Until the moment that it names, the condition says the same; and it names one after the clock."""
    truth, flip = look.says(look.oracle.clock)
    assert flip > look.oracle.clock
    for clock in range(look.oracle.clock, min(flip, look.oracle.clock + AHEAD)):
        assert look.recomputed(clock) == truth, f"turned {clock - look.oracle.clock} after the clock, before {flip}"


def stored_and_read_back_it_is_the_same(look: Look) -> None:
    """A profile that was written and read back is the same to the byte, and the condition says the same of it."""
    assert look.customer.profile is not None
    before = encode_profile(look.customer.profile), look.says(look.oracle.clock), look.evidence(look.oracle.clock)
    look.customer.store()
    after = encode_profile(look.customer.profile), look.says(look.oracle.clock), look.evidence(look.oracle.clock)
    assert before == after


def evidence_goes_with_what_is_said(look: Look) -> None:
    """There is some, it can be written as JSON and read back, and a condition that stands alone holds as its evidence says."""
    for clock in (look.oracle.clock, look.oracle.clock + some.STEP):
        found = look.evidence(clock)
        assert found
        assert msgspec.json.decode(msgspec.json.encode(found)) == found, "JSON has no tuples, sets or infinite numbers"
        assert all(set(one) == {"condition", "holds", "actual", "threshold"} and one["condition"] for one in found)
        if len(found) == 1 and next(leaves(look.definition), None) is look.definition:
            assert found[0]["holds"] is look.says(clock)[0]


def nothing_wakes_it_but_what_is_said(look: Look) -> None:
    """A condition that is said to wait for nothing names no moment at which it may turn."""
    if not waits(Segment("under", look.definition)):
        assert look.says(look.oracle.clock)[1] == NEVER


CHECKS: Final[tuple[Callable[[Look], None], ...]] = (
    incremental_equals_recomputed,
    flips_are_never_late,
    stored_and_read_back_it_is_the_same,
    evidence_goes_with_what_is_said,
    nothing_wakes_it_but_what_is_said,
)
"""What must hold after every arrival."""


def check_order_makes_no_difference(condition: Condition, events: Sequence[Event], other: Sequence[Event]) -> None:
    """The same events in another order, none of them late and no two at one time: the same is said at every moment after.

    Memberships are no function of the events alone, nor is what depends on them.
    """
    if any(isinstance(one, Member) for one in leaves(condition)) or _divided(condition):
        return
    one, two = Look(condition), Look(condition)
    for look, history in ((one, events), (two, other)):
        for event in history:
            look.take(event, {})
    for clock in range(one.oracle.clock, one.oracle.clock + AHEAD):
        assert one.says(clock)[0] == two.says(clock)[0]


def check_state_is_bounded(condition: Condition, seed: int) -> None:
    """After some hundreds of events that have nothing in common, as many again take no more room; and none ever more than was claimed."""
    look, dice, sizes = Look(condition), random.Random(seed), []
    claimed = {key: bound(slot) for key, slot in look.customer.rules.plan.slots.items()}
    at = some.START
    for number in range(1000):
        at += 500 if number % 100 == 0 else number % 3 == 0
        lines = [{"product": str(dice.random()), "price": dice.randrange(99)} for _ in range(8)]
        fields = {"product": str(dice.random()), "price": dice.randrange(99), "lines": lines}
        context = {"device": {"type": str(dice.random())}}
        made = some.event(dice.choice("ABC"), at, number, properties=fields, context=context)
        look.customer.apply(made, 0, {"churn": dice.random(), "persona": str(dice.random())})
        assert look.customer.profile is not None
        for key, state in look.customer.profile.slots.items():
            assert len(msgspec.msgpack.encode({key: state})) <= claimed[key]
        if number % 7 == 0:
            sizes.append(len(encode_profile(look.customer.profile)))
    assert max(sizes[len(sizes) // 2 :]) <= 1.25 * max(sizes[: len(sizes) // 2])


def _divided(condition: Condition) -> bool:
    parts = getattr(condition, "of", ())
    inner = [one[0] if isinstance(one, tuple) else one for one in parts] if isinstance(parts, tuple) else []
    return isinstance(condition, Hysteresis) or any(map(_divided, inner))
