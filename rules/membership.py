"""Who is in: the evaluation of one arrival, and the transitions that follow from it.

Membership entries in `Profile.segments` are `[since, deadline]`, for latched segments (those with `exit`)
`[since, deadline, rise, held, pulse]`, for governed ones (those with `stability`, `group` or `holdout`) `[..., wanted, rests]` after that:
`since` is when the customer entered (0: is out), `deadline` the next moment to look again, `rise` the last moment at which the
rule became true, `held` whether it was true when last looked at, `pulse` the newest sequence completion seen, `wanted` since when
the rule alone would have the customer in (0: out), `rests` until when the cooldown lasts that began when the customer left (0: none).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from profiles.event import Event
from profiles.profile import NEVER, Profile
from rules.compiled import moment
from rules.conditions import completions
from rules.plan import CompiledGroup, CompiledSegment, Plan, Unit
from rules.transition import Decision, Rules, Scores, Transition, transition_id

_PLAIN, _GOVERNED = 2, 7
"""So long are the membership entries of segments without anything further, and of governed ones."""


def due_mask(profile: Profile, plan: Plan, clock: int) -> int:
    """The segments that are to be looked at by now."""
    mask = 0
    for name, entry in profile.segments.items():
        if entry[1] <= clock:
            mask |= plan.bits.get(name, 0)
    return mask


def fit(one: CompiledSegment, entry: list[int]) -> bool:
    """Give an entry that an older rule set has left the form that the segment has now. False if nothing keeps the customer in any more."""
    wanted, rests = entry[5:7] if len(entry) == _GOVERNED else (entry[0], 0)
    if not one.stability.cooldown:
        rests = 0
    if not one.latched:
        entry[2:] = (0, 0, 0, wanted, rests) if one.governed else ()
        return True
    rise, held, pulse = entry[2:5] if len(entry) > _PLAIN else (0, 0, 0)
    if wanted and not rise:  # the segment had no exit
        rise, held = wanted, 1
    if one.governed:
        entry[2:] = (rise, held, pulse, wanted, rests)
        return True
    if wanted and not entry[0]:
        held = 0  # what kept the customer out is gone: the rule decides anew
    entry[2:] = (rise, held, pulse)
    return bool(wanted) or not entry[0]


def write_scores(profile: Profile, plan: Plan, scores: Scores, clock: int) -> int:
    """Keep what models say now; the mask of segments that ask for what is new."""
    mask = 0
    for model, score in scores.items():
        written = profile.scores.get(model)
        if written != [score, clock]:
            profile.scores[model] = [score, clock]
            mask |= plan.by_score.get(model, 0)
    return mask


class Run:
    """The evaluation of one arrival: what is due, what is touched, and the transitions that follow."""

    __slots__ = ("cause", "customer", "decision", "plan", "profile", "rule_set", "stale", "touched")

    def __init__(self, profile: Profile, rule_set: Rules, decision: Decision, customer: str) -> None:
        self.profile = profile
        self.rule_set = rule_set
        self.plan = rule_set.plan
        self.decision = decision
        self.customer = customer
        self.cause: Event | str = "timer"
        self.touched = -1  # the mask of segments that change by `cause`; any other by the clock alone
        self.stale = False

    def refresh_due(self) -> None:
        due = NEVER
        for entry in self.profile.segments.values():
            if entry[1] < due:
                due = entry[1]
        self.profile.due = due
        self.stale = False

    def advance(self, to: int) -> bool:
        """Let every moment due up to `to` pass, in order. False if the profile expired on the way."""
        profile = self.profile
        expires = profile.latest + self.plan.limits.expiry if profile.latest else NEVER
        while profile.due <= to and profile.due < expires:
            due = profile.due
            self.cause = "timer"
            ready = self.plan.of_mask(due_mask(profile, self.plan, due))
            self.evaluate(ready, due, 0, due)
            self.refresh_due()
            if profile.due <= due:
                raise AssertionError(f"a segment among {[one.name for one in ready]} is due at {due} for ever")
        if expires > to:
            return True
        self.expire(expires)
        return False

    def rescore(self, scores: Scores, clock: int) -> None:
        """Take in what models say now, and look at the segments that ask for it."""
        mask = write_scores(self.profile, self.plan, scores, clock)
        if mask:
            self.cause, self.touched = "score", mask
            self.evaluate(self.plan.of_mask(mask), clock, 0, clock)
            self.refresh_due()

    def expire(self, at: int) -> None:
        """Leave everything: nothing has been heard of the customer for as long as profiles are kept."""
        self.cause = "expiry"
        for one in self.plan.segments:
            entry = self.profile.segments.get(one.name)
            if entry is not None and entry[0]:
                self.emit(one.name, one.version, "exited", at, self.cause, [])

    def follow_rules(self, until: int) -> None:
        """Bring a profile that an older rule set evaluated under the present one, at a moment not after `until`.

        That is the last one at which everything stands as it was left: before what is due next, and not before what was
        announced already. What is due falls due under the present rules.
        """
        profile = self.profile
        clock = max(profile.latest, min(until, profile.due - 1))
        self.cause = "rule change"
        known = {one.name for one in self.plan.segments}
        for name in sorted(set(profile.segments) - known):
            if profile.segments.pop(name)[0]:
                self.emit(name, self.rule_set.version, "exited", clock, self.cause, [])
        if profile.waiting and profile.waiting[0] != self.rule_set.code:
            profile.waiting = []
        self.settle(clock)

    def settle(self, clock: int) -> None:
        """Let go of what is not counted any more, and look at every segment under the present rules."""
        profile = self.profile
        for key in set(profile.slots) - set(self.plan.slots):
            del profile.slots[key]
        for one in self.plan.segments:
            entry = profile.segments.get(one.name)
            if entry is not None and not fit(one, entry):
                entry[0] = 0
                self.transition(one, "exited", clock)
        profile.rules = self.rule_set.code
        self.evaluate(self.plan.units, clock, 0, clock)
        self.refresh_due()

    def is_in(self, one: CompiledSegment) -> bool:
        """Whether the customer is in a segment."""
        entry = self.profile.segments.get(one.name)
        return entry is not None and entry[0] > 0

    def evaluate(self, units: Iterable[Unit], clock: int, exits: int, time: int) -> None:
        """Look at these segments at `clock`; `exits` is the mask of those that an event at `time` ends."""
        profile = self.profile
        entries = profile.segments
        for one in units:
            if isinstance(one, CompiledGroup):
                self.evaluate_group(one, clock, exits, time)
                continue
            if one.governed:
                entry, inside, flip = self.govern(one, clock, exits, time)
                if entry is not None:
                    self.publish(one, entry, inside, flip, clock)
                continue
            if one.latched:
                self.evaluate_latched(one, clock, bool(exits >> one.bit & 1), time)
                continue
            truth, flip = one.condition.evaluate(profile, clock)
            entry = entries.get(one.name)
            if entry is None:
                if not truth and flip == NEVER:
                    continue
                entries[one.name] = entry = [0, NEVER]
            if truth:
                if not entry[0]:
                    entry[0] = clock
                    self.transition(one, "entered", clock)
            elif entry[0]:
                entry[0] = 0
                self.transition(one, "exited", clock)
            if flip != entry[1] or flip == NEVER:
                self.set_deadline(one.name, entry, flip)

    def set_deadline(self, name: str, entry: list[int], deadline: int) -> None:
        profile, before = self.profile, entry[1]
        if deadline != before:
            entry[1] = deadline
            if deadline < profile.due:
                profile.due = deadline
            elif before == profile.due:
                self.stale = True
        if deadline == NEVER and not entry[0] and not any(entry[2:]):
            del profile.segments[name]

    def evaluate_latched(self, one: CompiledSegment, clock: int, exit_now: bool, time: int) -> None:
        truth, flip = one.condition.evaluate(self.profile, clock)
        entry = self.profile.segments.get(one.name)
        if entry is None:
            if not truth and flip == NEVER and not one.sequences:
                return
            self.profile.segments[one.name] = entry = [0, NEVER, 0, 0, 0]
        since = entry[0]
        flip = self.latch(one, entry, 0, truth, flip, clock, exit_now, time)
        if bool(entry[0]) is not bool(since):
            self.transition(one, "entered" if entry[0] else "exited", clock)
            if one.divided and since:
                flip = min(flip, self.judge_anew(one, entry, clock))
        self.set_deadline(one.name, entry, flip)

    def judge_anew(self, one: CompiledSegment, entry: list[int], clock: int) -> int:
        """Look at a rule with two thresholds once more, as membership has changed and it says something else; when to look again."""
        truth, flip = one.condition.evaluate(self.profile, clock)
        if one.latched:
            entry[3] = int(truth)
        elif not truth:
            entry[5] = 0
        return flip

    def latch(
        self,
        one: CompiledSegment,
        entry: list[int],
        cell: int,
        truth: bool,
        deadline: int,
        clock: int,
        exit_now: bool,
        time: int,
    ) -> int:
        """Set or clear `entry[cell]` by the rises and exits of a latched segment; the next moment to look again."""
        pulse = 0
        for key, silence in one.sequences:
            done, pending = completions(self.profile, clock, key, silence)
            pulse = max(pulse, done)
            deadline = min(deadline, pending)
        rises = truth and (not entry[3] or pulse > entry[4])
        # What came late has shown that the completion which let the customer in never was.
        withdrawn = pulse < entry[4] <= entry[2] and not truth
        entry[3] = int(truth)
        entry[4] = pulse
        if entry[cell]:
            if withdrawn or (exit_now and time >= entry[2]):
                entry[cell] = 0
            elif rises and not exit_now:
                entry[2] = clock
            elif clock >= entry[2] + one.after:
                entry[cell] = 0
        elif rises and not exit_now:
            entry[cell] = entry[2] = clock
        return min(deadline, entry[2] + one.after) if entry[cell] else deadline

    def govern(self, one: CompiledSegment, clock: int, exits: int, time: int) -> tuple[list[int] | None, bool, int]:
        """What a segment with stability would have: its entry, whether the customer is to be in, when to look again."""
        truth, flip = one.condition.evaluate(self.profile, clock)
        entry = self.profile.segments.get(one.name)
        if entry is None:
            if not truth and flip == NEVER and not one.sequences:
                return None, False, NEVER
            self.profile.segments[one.name] = entry = [0, NEVER, 0, 0, 0, 0, 0]
        if one.latched:
            flip = self.latch(one, entry, 5, truth, flip, clock, bool(exits >> one.bit & 1), time)
        elif truth:
            entry[5] = entry[5] or clock
        else:
            entry[5] = 0
        since, wanted, rests = entry[0], entry[5], entry[6]
        if rests and clock >= rests:
            rests = entry[6] = 0
        if since:
            free = since + one.stability.min_dwell
            if wanted or clock >= free:
                return entry, bool(wanted), flip
            return entry, True, min(flip, free)
        if not wanted or one.holds_out(self.customer):
            return entry, False, flip
        ready = wanted + one.stability.enter_for
        if rests > ready:
            ready = rests
        return (entry, True, flip) if clock >= ready else (entry, False, min(flip, ready))

    def publish(self, one: CompiledSegment, entry: list[int], inside: bool, deadline: int, clock: int) -> None:
        """Let the customer be in or out of a governed segment."""
        before = entry[0] > 0
        if inside and not entry[0]:
            entry[0] = clock
            self.transition(one, "entered", clock)
        elif entry[0] and not inside:
            entry[0] = 0
            entry[6] = clock + one.stability.cooldown if one.stability.cooldown else 0
            self.transition(one, "exited", clock)
        if one.divided and inside is not before:
            deadline = min(deadline, self.judge_anew(one, entry, clock))
        self.set_deadline(one.name, entry, deadline)

    def evaluate_group(self, group: CompiledGroup, clock: int, exits: int, time: int) -> None:
        """Of the segments that would have the customer, the first has them: the others are left before it is entered."""
        if self.touched & group.mask:
            self.touched |= group.mask
        winner: tuple[CompiledSegment, list[int], bool, int] | None = None
        for one in group.members:
            entry, inside, flip = self.govern(one, clock, exits, time)
            if entry is None:
                continue
            if inside and winner is None:
                winner = one, entry, True, flip
            else:
                self.publish(one, entry, False, flip, clock)
        if winner is not None:
            self.publish(*winner, clock)

    def transition(self, one: CompiledSegment, kind: Literal["entered", "exited"], clock: int) -> None:
        cause = self.cause
        if not self.touched >> one.bit & 1:
            cause = "timer"
        elif one.wakes:
            self.touched |= one.wakes  # what follows from this transition has the same cause
        self.emit(one.name, one.version, kind, clock, cause, one.condition.evidence(self.profile, clock))

    def emit(
        self,
        name: str,
        version: int,
        kind: Literal["entered", "exited"],
        at: int,
        cause: Event | str,
        evidence: list[dict[str, Any]],
    ) -> None:
        profile = self.profile
        profile.sequence += 1
        if type(cause) is Event:
            why = {"kind": "event", "event_id": cause.id, "event": cause.name, "event_time": moment(cause.event_time)}
        else:
            why = {"kind": str(cause), "at": moment(at)}
        self.decision.transitions.append(
            Transition(
                transition_id(self.customer, name, profile.sequence, at),
                self.customer,
                name,
                kind,
                version,
                profile.sequence,
                at,
                why,
                evidence,
                {model: score for model, (score, _) in profile.scores.items()},
            )
        )
