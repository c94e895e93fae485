"""Rule sets as `step` wants them: compiled, under the limits that a job runs with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rules.compiler import compile_plan
from rules.payload import code_of
from rules.plan import Limits, Plan
from rules.rule_set import RuleSet
from rules.watch import Watch


@dataclass(frozen=True)
class Ruled:
    """A compiled rule set. `warming` names the segments that it does not have yet, or has as they were before."""

    version: int
    code: int
    plan: Plan
    warming: Mapping[str, str | None] = field(default_factory=dict)


def live(rules: RuleSet, limits: Limits | None = None, watches: Sequence[Watch] = ()) -> Ruled:
    """The rules as they are, or will be, once the version is live."""
    plan = compile_plan(rules.segments, limits, population=rules.population, watches=watches)
    return Ruled(rules.version, code_of(rules.version, 1), plan)


def active(rules: RuleSet, limits: Limits | None = None, watches: Sequence[Watch] = ()) -> Ruled:
    """What customers are evaluated under while segments are warming.

    Raises `RuleErrors` where what was before is not valid, or not together with the rest.
    """
    plan = compile_plan(rules.active.segments, limits, population=rules.population, watches=watches)
    return Ruled(rules.version, rules.code, plan, rules.warming)
