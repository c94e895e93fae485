"""Conditions made of conditions: all, any, not, at least so many."""

from __future__ import annotations

from typing import Any

from profiles.profile import NEVER, Profile
from profiles.values import MICROS, micros
from rules.compiled import NO, YES, Compiled, Evaluate
from rules.definition import Test
from rules.predicates import compare_exactly, only_from_below, thresholds, turns_at


def all_of(text: str, parts: tuple[Compiled, ...]) -> Compiled:
    """Every part. While false it stays so at least until the last of the false parts may turn."""
    evaluates = [part.evaluate for part in parts]

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        holds, fails = NEVER, -1
        for one in evaluates:
            truth, flip = one(profile, clock)
            if truth:
                if flip < holds:
                    holds = flip
            elif flip == NEVER:
                return NO
            elif flip > fails:
                fails = flip
        return (True, holds) if fails < 0 else (False, fails)

    return Compiled(text, evaluate, parts=parts, joins="all")


def any_of(text: str, parts: tuple[Compiled, ...]) -> Compiled:
    """At least one part. While true it stays so at least until the last of the true parts may turn."""
    evaluates = [part.evaluate for part in parts]

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        holds, fails = -1, NEVER
        for one in evaluates:
            truth, flip = one(profile, clock)
            if not truth:
                if flip < fails:
                    fails = flip
            elif flip == NEVER:
                return YES
            elif flip > holds:
                holds = flip
        return (False, fails) if holds < 0 else (True, holds)

    return Compiled(text, evaluate, parts=parts, joins="any")


def negation(text: str, part: Compiled) -> Compiled:
    """Not the part."""
    inner = part.evaluate

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        truth, flip = inner(profile, clock)
        return not truth, flip

    compiled = Compiled(text, evaluate, parts=(part,), joins="not")
    compiled.rising = {}
    return compiled


def at_least(text: str, n: int, parts: tuple[Compiled, ...]) -> Compiled:
    """At least `n` parts. The next flip of any part may decide."""
    evaluates = [part.evaluate for part in parts]

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        held, next_flip = 0, NEVER
        for one in evaluates:
            truth, flip = one(profile, clock)
            held += truth
            if flip < next_flip:
                next_flip = flip
        return held >= n, next_flip

    return Compiled(text, evaluate, parts=parts, joins="at_least", least=n)


def points(weights: tuple[float, ...], parts: tuple[Compiled, ...], tests: tuple[Test, ...]) -> Compiled:
    """The sum of the weights of the parts that hold, compared. The next flip of any part may decide."""
    weighed = [(micros(weight) or 0, part.evaluate) for weight, part in zip(weights, parts, strict=True)]
    compares = [compare_exactly(test) for test in tests]
    rises = all(weight > 0 for weight, _ in weighed) and only_from_below(tests)
    level = max(level for test in tests for level in turns_at(test))

    def total(profile: Profile, clock: int) -> tuple[int, int]:
        found, next_flip = 0, NEVER
        for weight, one in weighed:
            truth, flip = one(profile, clock)
            if truth:
                found += weight
            if flip < next_flip:
                next_flip = flip
        return found, next_flip

    def compared(profile: Profile, clock: int) -> tuple[bool, int]:
        found, flip = total(profile, clock)
        return all(holds(found, 1) for holds in compares), flip

    compiled = Compiled(
        f"points of {len(parts)} conditions",
        _enough(weighed, level) if rises and level > 0 else compared,
        parts=parts,
        measure=lambda profile, clock: total(profile, clock)[0] / MICROS,
        threshold=thresholds(tests),
        joins="points",
        weights=weights,
    )
    if not rises:
        compiled.rising = {}
    return compiled


def _enough(weighed: list[tuple[int, Evaluate]], level: int) -> Evaluate:
    """Whether the weights, all above zero, of the parts that hold come to `level`.

    The heaviest parts come first, and no more are looked at than are needed to know: what is enough stays so until one of the parts
    that hold may turn, what can never be enough until one of those that do not.
    """
    heaviest = sorted(weighed, key=lambda one: -one[0])
    all_of_them = sum(weight for weight, _ in weighed)

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        found, possible = 0, all_of_them
        holds = fails = NEVER
        for weight, one in heaviest:
            if possible < level:
                break
            truth, flip = one(profile, clock)
            if truth:
                found += weight
                if flip < holds:
                    holds = flip
                if found >= level:
                    return True, holds
            else:
                possible -= weight
                if flip < fails:
                    fails = flip
        return False, fails

    return evaluate


def hysteresis(segment: str, enter: Compiled, leave: Compiled) -> Compiled:
    """`enter` for who is out of the segment, `leave` for who is in. `leave` holds wherever `enter` does."""

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        entry = profile.segments.get(segment)
        return (leave if entry is not None and entry[0] else enter).evaluate(profile, clock)

    threshold: Any = enter.threshold
    if isinstance(enter.threshold, dict) and isinstance(leave.threshold, dict):
        threshold = {**enter.threshold, "to_stay": leave.threshold}
    return Compiled(enter.text, evaluate, parts=(enter, leave), measure=enter.measure, threshold=threshold)
