"""The tests in rule files: what is given to one customer, and when the segment must be entered and left.

They run in virtual time through the same `step` as everything else: time stands at what is given and at what is expected,
and every timer that falls due in between fires at its very millisecond. Times are offsets in milliseconds from the
test's start, `now`.

A segment runs together with those that its rule asks for and those of its group, as far as they are at hand. Where a test says itself
that the customer enters or leaves another segment, that one does what the test says, whatever its own rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Literal

from profiles.document import suggestion
from profiles.event import Event
from profiles.profile import NEVER, Profile
from rules.compiled import moment
from rules.compiler import compile_plan
from rules.definition import Group, Operator, Score, Segment, Test
from rules.duration import format_duration
from rules.measured import measures, told_population
from rules.order import asks_for
from rules.plan import Plan
from rules.step import Decision, Timer, Transition, step

DEFAULT_NOW: Final = 1_772_442_000_000
"""2026-03-02T09:00:00Z, a Monday morning."""

CUSTOMER: Final = "customer"
MOST_TIMERS: Final = 100_000


@dataclass(frozen=True)
class Given:
    """An event that happens at `at` and arrives at `arrives`; `traits` where it tells what is known of the customer.

    `scores` are what models say with it, or on their own where `event` is empty. `members` says of other segments whether the customer is
    in them from then on.
    """

    at: int
    arrives: int
    event: str = ""
    properties: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, Any] | None = None
    context: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    line: int = 1
    column: int = 1
    scores: dict[str, float | str] = field(default_factory=dict)
    members: dict[str, bool] = field(default_factory=dict)


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
    """One test. With `any_transitions`, entering and leaving at other times than expected is no failure.

    `held_out`: the customer is one of those whom the segment's holdout keeps out; a test that does not say so is about the others.
    `population` has the bounds between the fifths of all customers, by measure of `rfm`; a rule's own measurements do not count here.
    """

    name: str
    given: tuple[Given, ...]
    expected: tuple[Expected, ...]
    now: int = DEFAULT_NOW
    any_transitions: bool = False
    line: int = 1
    column: int = 1
    held_out: bool = False
    population: tuple[tuple[str, tuple[float, ...]], ...] = ()

    @property
    def stubs(self) -> frozenset[str]:
        """The other segments of which the test itself says when the customer is in them."""
        return frozenset(name for one in self.given for name in one.members)


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


_NONE: Final[Mapping[str, float | str]] = MappingProxyType({})


class _Together:
    """A rule set of one segment and of those that have a say in it."""

    version = 1
    code = 3

    def __init__(self, segment: Segment, others: Iterable[Segment], scenario: Scenario) -> None:
        self.segment = segment
        self.told = dict(scenario.population)
        around = _around(segment, {one.name: one for one in others}, scenario.stubs)
        self.segments = [
            replace(segment, holdout=1.0 if scenario.held_out else 0.0),
            *(replace(one, holdout=0.0) for one in around),
        ]

    @cached_property
    def plan(self) -> Plan:
        return compile_plan(self.segments, population=told_population(self.segments, self.told))

    @cached_property
    def compared(self) -> frozenset[str]:
        """The measures of `rfm` that these rules compare with the population."""
        return frozenset(measure for segment in self.segments for measure in measures(segment).values())


def _around(segment: Segment, others: Mapping[str, Segment], stubs: frozenset[str]) -> list[Segment]:
    """What has a say in a segment: those asked for and those of one group, and all that these ask for; or the test's own stand-ins."""
    found: dict[str, Segment] = {}
    waiting = [segment]
    while waiting:
        one = waiting.pop()
        mates = {
            other.name for other in others.values() if one.group and other.group and other.group.name == one.group.name
        }
        for name in sorted(asks_for(one) | mates):
            if name in found or name == segment.name:
                continue
            if name in stubs:
                found[name] = _stub(name, others[name].group if name in others else None)
            elif name in others:
                found[name] = others[name]
                waiting.append(others[name])
    return list(found.values())


def _stub(name: str, group: Group | None) -> Segment:
    """A segment that the customer is in when the test says so."""
    return Segment(name, Score(_stub_model(name), (Test("", Operator.GTE, 1),)), group=group)


def _stub_model(name: str) -> str:
    return f"test says: in {name}"


def run_scenarios(segment: Segment, scenarios: Iterable[Scenario], others: Iterable[Segment] = ()) -> list[Result]:
    """Run the tests of one segment; `others` are the segments of its rule set, of which it may ask for some."""
    others = tuple(others)
    made: dict[tuple[Any, ...], _Together] = {}
    results = []
    for scenario in scenarios:
        key = scenario.stubs, scenario.held_out, scenario.population
        if key not in made:
            made[key] = _Together(segment, others, scenario)
        rules = made[key]
        results.append(Result(segment.file, segment.name, scenario, _Run(rules, scenario).failures()))
    return results


class _Run:
    """One test in virtual time."""

    def __init__(self, rules: _Together, scenario: Scenario) -> None:
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
        self.check_members()
        self.check_population()
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

    def check_members(self) -> None:
        """A test that speaks of a segment which has no say in its own one is about something else than it seems."""
        known = {one.name for one in self.rules.segments[1:]}
        for given in self.scenario.given:
            for name in given.members:
                if name not in known:
                    message = f"the segment does not depend on {name!r}, neither by its rule nor by its group"
                    self.found.append(
                        self.failure(given.line, given.column, message, (suggestion(name, known),) if known else ())
                    )

    def check_population(self) -> None:
        """What a test says of the population has to matter; a score that it says nothing of is why something did not happen."""
        told, compared = self.rules.told.keys(), self.rules.compared
        for measure in sorted(told - compared):
            message = f"no rule in this test compares a `{measure}_score`"
            hint = "leave it out of `population`"
            self.found.append(self.failure(self.scenario.line, self.scenario.column, message, (hint,)))
        for measure in sorted(compared - told):
            self.notes.append(
                f"nobody has a `{measure}_score`: the test's `population` does not say how that is spread"
            )

    # --- time -------------------------------------------------------------------------------------------------------

    def arrive(self, position: int, given: Given) -> None:
        """Bring one event, or what models say, after every timer that is due before it."""
        now = self.scenario.now
        arrives = now + given.arrives
        self.fire(arrives - 1)
        if not given.event:
            self.hear(given, arrives)
            return
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
        self.profile, decision = step(self.profile, self.rules, event, watermark, given.scores, CUSTOMER)
        self.take(decision)
        if decision.outcome != "applied":
            why = f": {decision.reason}" if decision.reason else ""
            self.notes.append(f"the event given at line {given.line} did not count, it was {decision.outcome}{why}")

    def hear(self, given: Given, at: int) -> None:
        """Take in what models say, or where the customer is, without an event; it makes a customer known who was not."""
        scores = {**given.scores, **{_stub_model(name): int(inside) for name, inside in given.members.items()}}
        if self.profile is None:
            self.profile = Profile(first_seen=at, latest=at)
        self.profile, decision = step(self.profile, self.rules, Timer(at), at, scores, CUSTOMER)
        self.take(decision)

    def take(self, decision: Decision) -> None:
        """Note what an arrival led to, as far as it is about the segment that is tested."""
        self.next_timer = decision.next_timer
        self.transitions += [one for one in decision.transitions if one.segment == self.rules.segment.name]

    def fire(self, until: int) -> None:
        """Let every timer due up to `until` fire."""
        for _ in range(MOST_TIMERS):
            due = self.next_timer
            if due > until:
                return
            self.profile, decision = step(self.profile, self.rules, Timer(due), due, _NONE, CUSTOMER)
            self.take(decision)
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
            own = self.rules.segment.name
            condition = next(one.condition for one in self.rules.plan.segments if one.name == own)
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
