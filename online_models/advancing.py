"""One arrival for one customer where there are models: the step, and what models make of it. Pure.

`advance` stands in for `rules.step.step` wherever there are models: the job, the backfill, the dry run and the tests call it. It lets
time pass, lets the event count, ends the examples that wait for such an event, scores the customer at the customer's clock, lets the
rules react to the scores, and may begin an example with what is known at this very moment. `online_models.serving` says when.
"""

from __future__ import annotations

from typing import Final

from online_models.served import AGAIN, WAITING, Served
from online_models.serving import (
    AGENDA_CHANGED,
    AGENDA_DUE,
    AGENDA_FOR,
    AGENDA_PENDING,
    AGENDA_SIZE,
    NO_MODELS,
    Serving,
)
from profiles.event import Event
from profiles.profile import NEVER, Profile
from rules.predicates import Predicate
from rules.step import Decision, Rules, Timer, count, is_looked_at, step

_UNKNOWN: Final = (NEVER, 0, NEVER, 0, 0)
"""The agenda of a customer of whom no model keeps anything."""


def advance(
    profile: Profile | None,
    rules: Rules,
    serving: Serving | None,
    happening: Event | Timer,
    watermark: int,
    customer: str = "",
) -> tuple[Profile | None, Decision]:
    """Apply one arrival to a customer's profile, as `step` does, with the models that `serving` has for the plan of these rules.

    `Decision.examples` are those whose outcome is known by it, `Decision.next_timer` heeds what models wait for.
    """
    if (
        profile is not None
        and serving is not None
        and type(happening) is not Timer
        and len(agenda := profile.agenda) == AGENDA_SIZE
    ):
        # The common case by itself: what was worked out holds for these rules, nothing is due before the event, and then no model is
        # concerned by it, or only to note that something has changed for it.
        event: Event = happening  # type: ignore[assignment]
        due, time = agenda[AGENDA_DUE], event.event_time
        if due > time and due > watermark and agenda[AGENDA_FOR] == rules.code ^ serving.code:
            after, decision = count(profile, rules, event, watermark)
            if (
                after is profile
                and decision.outcome == "applied"
                and (due == NEVER or not serving.targets(event.name))  # an example that waits has an end
            ):
                _, free, pending, _, changed = agenda
                new = decision.watched & ~changed
                clock = profile.latest if profile.latest > watermark else watermark
                if pending > clock and (not new or free > clock):
                    if new:
                        agenda[AGENDA_CHANGED] = changed | new
                        if free < pending:
                            agenda[AGENDA_PENDING] = free
                    if due < decision.next_timer:
                        decision.next_timer = due
                    return profile, decision
            return _heeded(after, rules, serving, event, watermark, decision, after is not profile)
    return _advance(profile, rules, serving, happening, watermark, customer)


def _advance(
    profile: Profile | None,
    rules: Rules,
    serving: Serving | None,
    happening: Event | Timer,
    watermark: int,
    customer: str,
) -> tuple[Profile | None, Decision]:
    if serving is None or not serving.models:
        if profile is not None and profile.models:
            NO_MODELS.tidy(profile, rules.plan)
        return step(profile, rules, happening, watermark, None, customer)
    if (
        profile is not None
        and (profile.agenda or profile.models)
        and (len(profile.agenda) != AGENDA_SIZE or profile.agenda[AGENDA_FOR] != rules.code ^ serving.code)
    ):
        serving.tidy(profile, rules.plan)
        serving.plan_ahead(profile, rules)
    if type(happening) is Timer:
        return _wake(profile, rules, serving, happening, watermark, customer)
    return _count(profile, rules, serving, happening, watermark)  # type: ignore[arg-type]


def _wake(
    profile: Profile | None, rules: Rules, serving: Serving, timer: Timer, watermark: int, customer: str
) -> tuple[Profile | None, Decision]:
    to = max(timer.due, watermark)
    passing = None
    if profile is not None and profile.agenda and profile.agenda[AGENDA_DUE] <= to:
        passing = _Passing(profile, rules, serving, customer)
        passing.until(to, to)
    profile, decision = step(profile, rules, timer, watermark, None, customer)
    if passing is not None:
        passing.precede(decision)
    if profile is not None and profile.agenda:
        decision.next_timer = _next_timer(profile, rules)
    return profile, decision


def _count(
    profile: Profile | None, rules: Rules, serving: Serving, event: Event, watermark: int
) -> tuple[Profile | None, Decision]:
    """An event before which something may be due, or of which examples may wait."""
    time = event.event_time
    passed = watermark if watermark >= time else time - 1
    if (
        profile is None
        or not profile.agenda
        or profile.agenda[AGENDA_DUE] > passed
        or not is_looked_at(profile, event, watermark, rules.plan.limits)
    ):
        after, decision = count(profile, rules, event, watermark)
        return _heeded(after, rules, serving, event, watermark, decision, after is not profile)
    passing = _Passing(profile, rules, serving, event.customer)
    passing.until(passed, watermark)
    after, decision = count(profile, rules, event, watermark)
    if after is not profile:
        passing.expire()
    passing.precede(decision)
    return _heeded(after, rules, serving, event, watermark, decision, True)


def _heeded(
    profile: Profile | None,
    rules: Rules,
    serving: Serving,
    event: Event,
    watermark: int,
    decision: Decision,
    is_other: bool,
) -> tuple[Profile | None, Decision]:
    """What models make of an event after the step: examples may wait for it, and the customer is scored if it has made that due; else it
    is noted what has changed. `is_other`: when to look next is no more what it was.
    """
    if profile is None:
        return None, decision
    if (
        decision.outcome == "applied"
        and profile.agenda
        and (targets := serving.targets(event.name))
        and _label(profile, targets, event, watermark, decision)
    ):
        is_other = True
    due, free, pending, _, changed = profile.agenda or _UNKNOWN
    if decision.outcome == "applied":
        clock = profile.latest if profile.latest > watermark else watermark
        new = decision.watched & ~changed
        if pending <= clock or (new and free <= clock):
            serving.look(profile, rules, decision, event.customer, clock, watermark)
            decision.next_timer = _next_timer(profile, rules)
            return profile, decision
        if new:
            profile.agenda[AGENDA_CHANGED] = changed | new
            profile.agenda[AGENDA_PENDING] = min(free, pending)
    if is_other:
        serving.plan_ahead(profile, rules)
        decision.next_timer = _next_timer(profile, rules)
    elif due < decision.next_timer:
        decision.next_timer = due
    return profile, decision


def _label(
    profile: Profile, targets: list[tuple[Served, Predicate | None]], event: Event, watermark: int, decision: Decision
) -> bool:
    """End, or add to, the examples that wait for such an event; whether there were any."""
    found = False
    for served, is_meant in targets:
        state = profile.models.get(served.name)
        if state is not None and state[WAITING] and (is_meant is None or is_meant(event)):
            ended = served.examples.take(state[WAITING], event, watermark, event.customer)
            decision.examples = decision.examples + ended
            found = True
    return found


def _next_timer(profile: Profile, rules: Rules) -> int:
    """When to look again, by what the profile is now."""
    return min(profile.due, profile.latest + rules.plan.limits.expiry, profile.agenda[AGENDA_DUE])


class _Passing:
    """Time that passes for one customer without an event, up to what comes next. `decision` gathers what comes about, in its order."""

    __slots__ = ("customer", "decision", "expires", "profile", "rules", "serving")

    def __init__(self, profile: Profile, rules: Rules, serving: Serving, customer: str) -> None:
        self.profile = profile
        self.rules = rules
        self.serving = serving
        self.customer = customer
        self.decision = Decision("timer")
        self.expires = profile.latest + rules.plan.limits.expiry

    def until(self, to: int, settled: int) -> None:
        """Let pass, in order, all that is due up to `to`; what came of examples is known up to `settled`."""
        profile, rules, serving = self.profile, self.rules, self.serving
        timed = [name for name in profile.models if serving.models[name].is_timed(rules.plan)]
        while timed:
            again = min(profile.models[name][AGAIN] for name in timed)
            if again > to or again >= self.expires:
                break
            _, decision = step(profile, rules, Timer(again), again, None, self.customer)
            self.decision.transitions += decision.transitions
            serving.again(profile, rules, self.decision, self.customer, again)
        self.settle(min(settled, self.expires))
        serving.plan_ahead(profile, rules)

    def settle(self, until: int) -> None:
        """End the examples whose window is over."""
        for name, state in self.profile.models.items():
            self.decision.examples += self.serving.models[name].examples.settle(state[WAITING], until, self.customer)

    def expire(self) -> None:
        """Of a profile that is gone, the examples whose outcome was known before; that of the others never will be."""
        self.settle(self.expires)

    def precede(self, decision: Decision) -> None:
        """Put what came about before the decision of what came next."""
        decision.transitions = self.decision.transitions + decision.transitions
        decision.examples = self.decision.examples + decision.examples
