"""The tests in rule files: what is given to one customer, and when the segment must be entered and left.

They run in virtual time through the same `step` as everything else: time stands at what is given and at what is expected,
and every timer that falls due in between fires at its very millisecond. Times are offsets in milliseconds from the
test's start, `now`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from profiles.event import Event
from profiles.profile import NEVER, Profile
from rules.compiled import moment
from rules.definition import Segment
from rules.duration import format_duration
from rules.plan import Plan, compile_plan
from rules.step import Timer, Transition, step

DEFAULT_NOW: Final = 1_772_442_000_000
"""2026-03-02T09:00:00Z, a Monday morning."""

CUSTOMER: Final = "customer"
MOST_TIMERS: Final = 100_000


@dataclass(frozen=True)
class Given:
    """An event that happens at `at` and arrives at `arrives`; `traits` where it tells what is known of the customer."""

    at: int
    arrives: int
    event: str
    properties: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, Any] | None = None
    context: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Expected:
    """What must be so at `at`, after everything due by then: being in or out, having just entered or left."""

    at: int
    inside: bool | None = None
    transitions: tuple[Literal["entered", "exited"], ...] = ()
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Scenario:
    """One test. With `any_transitions`, entering and leaving at other times than expected is no failure."""

    name: str
    given: tuple[Given, ...]
    expected: tuple[Expected, ...]
    now: int = DEFAULT_NOW
    any_transitions: bool = False
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Failure:
    """An expectation that was not met, where it stands, and why: `evidence` has a line for each deciding condition."""

    file: str
    line: int
    column: int
    message: str
    evidence: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(
            (f"{self.file}:{self.line}:{self.column}: {self.message}", *(f"    {one}" for one in self.evidence))
        )


@dataclass(frozen=True)
class Result:
    """How one test went."""

    file: str
    segment: str
    scenario: Scenario
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.failures


class _Alone:
    """A rule set of one segment."""

    version = 1
    code = 3

    def __init__(self, segment: Segment) -> None:
        self.segment = segment

    @cached_property
    def plan(self) -> Plan:
        return compile_plan([self.segment])


def run_scenarios(segment: Segment, scenarios: Iterable[Scenario]) -> list[Result]:
    """Run the tests of one segment."""
    rules = _Alone(segment)
    return [Result(segment.file, segment.name, scenario, _Run(rules, scenario).failures()) for scenario in scenarios]


class _Run:
    """One test in virtual time."""

    def __init__(self, rules: _Alone, scenario: Scenario) -> None:
        self.rules = rules
        self.scenario = scenario
        self.profile: Profile | None = None
        self.next_timer = NEVER
        self.transitions: list[Transition] = []
        self.notes: list[str] = []
        self.found: list[Failure] = []

    def failures(self) -> tuple[Failure, ...]:
        scenario = self.scenario
        end = max(one.at for one in scenario.expected)
        arrivals = sorted(enumerate(scenario.given), key=lambda pair: (pair[1].arrives, pair[0]))
        pending = [(position, one) for position, one in arrivals if one.arrives <= end]
        for expected in sorted(scenario.expected, key=lambda one: one.at):
            while pending and pending[0][1].arrives <= expected.at:
                self.arrive(*pending.pop(0))
            self.fire(scenario.now + expected.at)
            self.check(expected)
        if not scenario.any_transitions:
            self.check_unexpected(end)
        return tuple(sorted(self.found, key=lambda one: (one.line, one.column)))

    # --- time -------------------------------------------------------------------------------------------------------

    def arrive(self, position: int, given: Given) -> None:
        """Bring one event, after every timer that is due before it."""
        now = self.scenario.now
        arrives = now + given.arrives
        self.fire(arrives - 1)
        event = Event(
            given.id or f"given-{position + 1}",
            given.event,
            now + given.at,
            CUSTOMER,
            given.properties,
            given.traits,
            given.context,
            arrives,
        )
        # To an event that comes in order the moment is still open; one that comes late finds that it has passed.
        watermark = arrives if given.at < given.arrives else arrives - 1
        self.profile, decision = step(self.profile, self.rules, event, watermark, {}, CUSTOMER)
        self.next_timer = decision.next_timer
        self.transitions += decision.transitions
        if decision.outcome != "applied":
            why = f": {decision.reason}" if decision.reason else ""
            self.notes.append(f"the event given at line {given.line} did not count, it was {decision.outcome}{why}")

    def fire(self, until: int) -> None:
        """Let every timer due up to `until` fire."""
        for _ in range(MOST_TIMERS):
            due = self.next_timer
            if due > until:
                return
            self.profile, decision = step(self.profile, self.rules, Timer(due), due, {}, CUSTOMER)
            self.transitions += decision.transitions
            self.next_timer = decision.next_timer
        raise RuntimeError(f"more than {MOST_TIMERS:,} timers up to {moment(until)}")

    # --- expectations -----------------------------------------------------------------------------------------------

    def check(self, expected: Expected) -> None:
        if expected.inside is not None and self.inside() is not expected.inside:
            wanted, got = ("in", "out") if expected.inside else ("out", "in")
            changes = [one for one in self.transitions if one.effective_at <= self.scenario.now + expected.at]
            last = f", having {changes[-1].kind} at {self.offset(changes[-1].effective_at)}" if changes else ""
            self.fail(
                expected, f"expected the customer to be {wanted} at {_words(expected.at)}, but they are {got}{last}"
            )
        for kind, times in Counter(expected.transitions).items():
            if self.happened(kind, expected.at) < times:
                self.fail(expected, f"expected {kind} at {_words(expected.at)}, but {self.instead(kind)}")

    def inside(self) -> bool:
        return bool(self.transitions) and self.transitions[-1].kind == "entered"

    def happened(self, kind: str, at: int) -> int:
        effective_at = self.scenario.now + at
        return sum(one.kind == kind and one.effective_at == effective_at for one in self.transitions)

    def instead(self, kind: str) -> str:
        times = [self.offset(one.effective_at) for one in self.transitions if one.kind == kind]
        return f"{kind} at {', '.join(times[-3:])}" if times else f"the customer has not {kind}"

    def check_unexpected(self, end: int) -> None:
        """Whatever was not announced is a failure too, or a rule that flaps would pass."""
        announced = Counter((kind, one.at) for one in self.scenario.expected for kind in one.transitions)
        for transition in self.transitions:
            at = transition.effective_at - self.scenario.now
            announced[transition.kind, at] -= 1
            if announced[transition.kind, at] >= 0 or at > end:
                continue
            cause = transition.cause
            by = f"by {cause['event']!r}" if cause.get("kind") == "event" else f"by {cause.get('kind')}"
            message = f"the customer {transition.kind} at {_words(at)} ({by}), which no line expects"
            hint = f"expect `{{at: {_words(at)}, {transition.kind}: true}}`, or say `transitions: any`"
            evidence = (*map(_evidence, transition.evidence), hint)
            self.found.append(self.failure(self.scenario.line, self.scenario.column, message, evidence))

    def fail(self, expected: Expected, message: str) -> None:
        clock = self.scenario.now + expected.at
        evidence: tuple[str, ...] = ("nothing has arrived yet",)
        if self.profile is not None:
            condition = self.rules.plan.segments[0].condition
            evidence = tuple(map(_evidence, condition.evidence(self.profile, clock)))
        self.found.append(self.failure(expected.line, expected.column, message, (*evidence, *self.notes)))

    def failure(self, line: int, column: int, message: str, evidence: tuple[str, ...]) -> Failure:
        return Failure(self.rules.segment.file, line, column, f"{self.scenario.name!r}: {message}", evidence)

    def offset(self, time: int) -> str:
        return _words(time - self.scenario.now)


def _words(offset: int) -> str:
    """An offset as people write it: `40m`, `-10d`, `0m`."""
    return format_duration(offset) if offset else "0m"


def _evidence(one: dict[str, Any]) -> str:
    holds = "holds" if one.get("holds") else "does not hold"
    return f"{one.get('condition')}: {holds} (actual {one.get('actual')}, threshold {one.get('threshold')})"
