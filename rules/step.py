"""The step: one arrival for one customer. Pure: the job, the backfill, the dry run and the tests all call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from profiles.event import Event
from profiles.profile import DIGEST_SIZE, NEVER, Profile, message_digest, models_due, remembered
from rules.membership import Run, due_mask, write_scores
from rules.plan import Limits, Plan, members_of
from rules.transition import NO_SCORES, Decision, Outcome, Rules, Scores, Timer, Transition, transition_id

__all__ = [
    "Advance",
    "Decision",
    "Outcome",
    "Rules",
    "Scores",
    "Timer",
    "Transition",
    "count",
    "forget_due",
    "is_looked_at",
    "step",
    "take_over",
    "transition_id",
    "without_models",
]


def step(
    profile: Profile | None,
    rule_set: Rules,
    arrival: Event | Timer,
    watermark: int,
    scores: Scores | None = None,
    customer: str = "",
) -> tuple[Profile | None, Decision]:
    """Apply one arrival to a customer's profile, which is consumed; None stands for a customer without one.

    `watermark` is a moment up to which events have arrived; all times are epoch milliseconds. `scores` are outputs of
    models that are new as of this arrival; a profile keeps them. `customer` names the customer of a timer (an event names
    its own). A profile of None in the answer means that nothing is kept.
    """
    if type(arrival) is Timer:
        return _wake(profile, rule_set, arrival, watermark, scores or NO_SCORES, customer)
    return count(profile, rule_set, arrival, watermark, scores or NO_SCORES)  # type: ignore[arg-type]


def _wake(
    profile: Profile | None, rule_set: Rules, timer: Timer, watermark: int, scores: Scores, customer: str
) -> tuple[Profile | None, Decision]:
    decision = Decision("timer")
    if profile is None:
        return None, decision
    run = Run(profile, rule_set, decision, customer)
    if profile.rules != rule_set.code:
        run.follow_rules(max(timer.due, watermark))
    if not run.advance(max(timer.due, watermark)):
        return None, decision
    if scores:
        run.rescore(scores, max(timer.due, watermark, profile.latest))
    decision.next_timer = _next_timer(profile, rule_set.plan.limits)
    return profile, decision


def count(
    profile: Profile | None, rule_set: Rules, event: Event, watermark: int, scores: Scores = NO_SCORES
) -> tuple[Profile | None, Decision]:
    """`step` for an event: refuse it, or let pass what is due before it, count it, and look at what it touches."""
    plan = rule_set.plan
    limits = plan.limits
    time = event.event_time
    decision = Decision()
    if time > event.received_at + limits.skew:  # as in `is_looked_at`
        decision.outcome, decision.reason = "quarantined", "event_time lies in the future of the record that brought it"
        return profile, _untouched(profile, decision, limits)
    digest = message_digest(event.id)
    if profile is None:
        profile = Profile()
    elif profile.recent.find(digest) >= 0 and _is_repeat(profile, digest, watermark, limits):
        decision.outcome = "duplicate"
        return profile, _untouched(profile, decision, limits)
    version, run, latest = rule_set.code, None, profile.latest
    clock = time if time > latest else latest
    if watermark > clock:
        clock = watermark
    if profile.rules != version and profile.rules:
        run = Run(profile, rule_set, decision, event.customer)
        run.follow_rules(watermark)
    # What is due at the very time of the event is looked at with the event counted: what comes at the last millisecond of
    # a wait comes in time, and a view at the moment when the one before leaves the window leaves no gap.
    passed = watermark if watermark >= time else time - 1
    if passed >= profile.due or (latest and passed >= latest + limits.expiry):
        run = run or Run(profile, rule_set, decision, event.customer)
        if not run.advance(passed):
            run.profile = profile = Profile()
    dispatch = plan.by_event.get(event.name, plan.other)
    accepted, mask, refused = dispatch.accepted, dispatch.always, 0
    slots, segments = profile.slots, profile.segments
    roles = dispatch.asked
    if time == clock:
        # The usual case: nothing can be too old for it.
        roles = dispatch.particular
        for add, touched in dispatch.plain:
            if add(slots, time, event, clock):
                mask |= touched
    for predicate, add, retention, touched, rising in roles:
        if predicate is None or predicate(event):
            if time == clock or time > clock - retention:
                accepted = True
                if known := add(slots, time, event, clock):
                    mask |= touched
                    if rising:
                        # One more event changes nothing where the rule that it helps holds already. When that ends is looked
                        # at when it is due by what was known before, and then anew.
                        for name, bit, cell in rising[known] if known < len(rising) else rising[-1]:
                            entry = segments.get(name)
                            if entry is None or not entry[cell]:
                                mask |= bit
            elif retention > refused:
                refused = retention
    if not profile.rules and time <= clock - limits.expiry:
        # A profile that begins with it would have expired already.
        accepted, refused = False, limits.expiry
    if refused and not accepted:
        decision.outcome, decision.late_by = "late", clock - refused - time
        decision.reason = "older than the retention of every window that could count it"
        return (profile, _untouched(profile, decision, limits)) if profile.rules else (None, decision)
    recent = profile.recent
    if len(recent) >= plan.recent_size:
        recent = recent[DIGEST_SIZE - plan.recent_size :]
    profile.recent = recent + digest
    if time < profile.first_seen:
        profile.first_seen = time
    if time > latest:
        profile.latest = time
    if event.traits:
        mask |= _write_traits(profile, plan, event)
    if scores:
        mask |= write_scores(profile, plan, scores, clock)
    if plan.watches:
        decision.watched = mask >> len(plan.segments)
        mask &= plan.all_segments
    exits = 0
    for predicate, bit in dispatch.exits:
        if predicate is None or predicate(event):
            exits |= bit
    mask |= exits
    if not profile.rules:
        profile.rules = version
        mask |= plan.born
    touched = mask
    if profile.due <= clock:
        mask |= due_mask(profile, plan, clock)
    if mask:
        run = run or Run(profile, rule_set, decision, event.customer)
        run.cause, run.touched = event, touched
        run.evaluate(plan.of_mask(mask), clock, exits, time)
        if run.stale:
            run.refresh_due()
    due, expires = profile.due, profile.latest + limits.expiry
    decision.next_timer = due if due < expires else expires
    return profile, decision


Advance = Callable[[Profile | None, Rules, Event | Timer, int, str], tuple[Profile | None, Decision]]
"""One arrival for one customer: profile, rules, arrival, watermark, customer. The step, or with models what stands in for it."""


def without_models(
    profile: Profile | None, rule_set: Rules, arrival: Event | Timer, watermark: int, customer: str
) -> tuple[Profile | None, Decision]:
    """`step` where there are no models."""
    return step(profile, rule_set, arrival, watermark, None, customer)


def is_looked_at(profile: Profile, event: Event, watermark: int, limits: Limits) -> bool:
    """Whether `step` lets time pass for an event: it is none from the future, and no repeat."""
    if event.event_time > event.received_at + limits.skew:
        return False
    return not _is_repeat(profile, message_digest(event.id), watermark, limits)


def _is_repeat(profile: Profile, digest: bytes, watermark: int, limits: Limits) -> bool:
    return remembered(profile.recent, digest) and watermark < profile.latest + limits.expiry


def take_over(profile: Profile, rule_set: Rules, customer: str, clock: int, were: Mapping[str, bool]) -> Decision:
    """Bring a profile under a rule set, some of its memberships having been replaced by what another history says of them.

    `were` has those segments, and whether the customer was in them before: what differs is announced, cause `rule change`. Then
    everything is looked at.
    """
    decision = Decision("timer")
    run = Run(profile, rule_set, decision, customer)
    run.cause = "rule change"
    for unit in rule_set.plan.units:
        changed = [one for one in members_of(unit) if one.name in were and run.is_in(one) is not were[one.name]]
        for one in sorted(changed, key=run.is_in):  # who is left comes before who is entered
            kind: Literal["entered", "exited"] = "entered" if run.is_in(one) else "exited"
            run.emit(one.name, one.version, kind, clock, run.cause, one.condition.evidence(profile, clock))
    run.settle(clock)
    decision.next_timer = _next_timer(profile, rule_set.plan.limits)
    return decision


def forget_due(profile: Profile, until: int) -> int:
    """Give up the moments due up to `until`, as evaluating them fails; the moment to wake the customer at instead.

    The segments concerned are looked at again when an event touches them, and what models were waiting for is let go. Without this a
    customer whose data breaks a condition would be woken for ever.
    """
    for entry in profile.segments.values():
        if entry[1] <= until:
            entry[1] = NEVER
    profile.due = min((entry[1] for entry in profile.segments.values()), default=NEVER)
    profile.models = {name: state for name, state in profile.models.items() if state[0] > until}
    profile.agenda = []
    return min(profile.due, models_due(profile))


def _next_timer(profile: Profile, limits: Limits) -> int:
    expires = profile.latest + limits.expiry
    return profile.due if profile.due < expires else expires


def _untouched(profile: Profile | None, decision: Decision, limits: Limits) -> Decision:
    if profile is not None:
        decision.next_timer = _next_timer(profile, limits)
    return decision


def _write_traits(profile: Profile, plan: Plan, event: Event) -> int:
    """Keep what is newer than what is known; the mask of segments that ask for what has changed."""
    mask, limits = 0, plan.limits
    for name, value in event.traits.items():  # type: ignore[union-attr]
        kind = type(value)
        if kind is str and len(value) > limits.trait_length:
            value = value[: limits.trait_length]
        elif kind is int and not -(2**63) <= value < 2**63:
            value = float(max(-1e308, min(value, 1e308)))
        elif kind is dict or kind is list:
            continue
        written = profile.traits.get(name)
        if written is None:
            # Traits that rules ask for always find a place.
            if (len(profile.traits) >= limits.traits and name not in plan.by_trait) or len(name) > limits.trait_length:
                continue
        elif written[1] > event.event_time:
            continue
        profile.traits[name] = [value, event.event_time]
        mask |= plan.by_trait.get(name, 0)
    return mask
