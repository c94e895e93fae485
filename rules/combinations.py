"""Conditions made of conditions: all, any, not, at least so many."""

from __future__ import annotations

from profiles.profile import NEVER, Profile
from rules.compiled import NO, YES, Compiled


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

    return Compiled(text, evaluate, parts=parts)


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

    return Compiled(text, evaluate, parts=parts)


def negation(text: str, part: Compiled) -> Compiled:
    """Not the part."""
    inner = part.evaluate

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        truth, flip = inner(profile, clock)
        return not truth, flip

    compiled = Compiled(text, evaluate, parts=(part,))
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

    return Compiled(text, evaluate, parts=parts)
