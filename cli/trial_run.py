"""What rules would have done over a history: sizes, entering and leaving day by day, overlap, examples, and the difference to others.

Customers do not depend on each other, so that each process takes an equal part of them and the findings are added up.
"""

from __future__ import annotations

import dataclasses
import gc
import heapq
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, Final

import xxhash

from cli.history import DAY, Account, Share, Source
from profiles.profile import NEVER, Profile
from rules.compiler import compile_plan
from rules.definition import Segment
from rules.duration import format_duration
from rules.history import History
from rules.measured import unmeasured
from rules.order import asks_for
from rules.population import Population
from rules.rule_set import RuleSet
from rules.step import Transition

EXAMPLES: Final = 10
MOST_PROCESSES: Final = 8
_WORTH_A_PROCESS: Final = 4_000_000
"""Bytes of a file below which starting further processes takes longer than they save."""


@dataclass(order=True, frozen=True)
class Example:
    """A customer to look at. `rank` is drawn from the id, so that the same ones are shown each time. `since` is 0 for one who is out."""

    rank: int
    customer: str
    since: int = field(compare=False, default=0)
    evidence: list[dict[str, Any]] = field(compare=False, default_factory=list)


@dataclass
class Figures:
    """What was found of one segment. Days are numbered from 1970 (UTC); `overlap` counts members who are in the other segment, too.

    `entering` and `leaving` are by how many customers it differs from what it is compared with: in here and not there, or the reverse.
    """

    members: int = 0
    entered: Counter[int] = field(default_factory=Counter)
    exited: Counter[int] = field(default_factory=Counter)
    overlap: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    entering: int = 0
    leaving: int = 0
    entering_examples: list[Example] = field(default_factory=list)
    leaving_examples: list[Example] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Take in what was found among other customers."""
        self.members += other.members
        self.entering += other.entering
        self.leaving += other.leaving
        self.entered += other.entered
        self.exited += other.exited
        self.overlap += other.overlap
        self.examples = _first(self.examples + other.examples)
        self.entering_examples = _first(self.entering_examples + other.entering_examples)
        self.leaving_examples = _first(self.leaving_examples + other.leaving_examples)


@dataclass
class Findings:
    """What was found of all segments, and among how many customers and from which records."""

    account: Account = field(default_factory=Account)
    outcomes: Counter[str] = field(default_factory=Counter)
    customers: int = 0
    segments: dict[str, Figures] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        """Take in what was found among other customers of the same history."""
        self.account.add(other.account)
        self.outcomes += other.outcomes
        self.customers += other.customers
        for name, figures in other.segments.items():
            self.segments.setdefault(name, Figures()).add(figures)


@dataclass(frozen=True)
class Trial:
    """Rules to be tried on a history, and those that they are compared with. `now` is the wall clock's time in epoch milliseconds."""

    source: Source
    rules: RuleSet
    against: RuleSet | None
    days: float | None
    sample: float
    now: int

    def part(self, number: int, parts: int) -> Findings:
        """What is found among one of so many equal parts of the customers."""
        return _Run(self).findings(Share(self.sample, number, parts))

    def run(self, processes: int | None = None) -> Findings:
        """What is found among all of them, by as many processes as there are cores unless told."""
        parts = self.processes() if processes is None else processes
        if parts == 1:
            return self.part(0, 1)
        # What was compiled stays here: it holds functions, which do not go from one process to another.
        bare = dataclasses.replace(
            self,
            rules=dataclasses.replace(self.rules),
            against=dataclasses.replace(self.against) if self.against is not None else None,
        )
        with ProcessPoolExecutor(parts, get_context("spawn")) as pool:
            found = list(pool.map(bare.part, range(parts), [parts] * parts))
        for one in found[1:]:
            found[0].add(one)
        return found[0]

    def processes(self) -> int:
        """How many processes are worth while."""
        if self.source.file is not None and self.source.file.stat().st_size < _WORTH_A_PROCESS:
            return 1
        return max(1, min(os.cpu_count() or 1, MOST_PROCESSES))


class _Run:
    """One part of a trial."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.found = Findings()
        self.found.segments = {one.name: Figures() for one in trial.rules.segments}
        self.tried = History(trial.rules, keep_transitions=False, on_transition=self.note)
        self.compared = History(trial.against, keep_transitions=False) if trial.against is not None else None

    def findings(self, share: Share) -> Findings:
        trial, tried, compared, account = self.trial, self.tried, self.compared, self.found.account
        collecting = gc.isenabled()
        gc.disable()  # events and profiles hold no cycles: the collector would only walk them in vain
        try:
            for event, watermark in trial.source.events(account, share, trial.days, trial.now):
                tried.take(event, watermark)
                if compared is not None:
                    compared.take(event, watermark)
            tried.finish(account.end)
            if compared is not None:
                compared.finish(account.end)
            self.found.outcomes = tried.outcomes
            self.found.customers = len(tried.profiles)
            self.compare()
        finally:
            if collecting:
                gc.enable()
        return self.found

    def note(self, transition: Transition) -> None:
        figures = self.found.segments[transition.segment]
        by_day = figures.entered if transition.kind == "entered" else figures.exited
        by_day[transition.effective_at // DAY] += 1

    def compare(self) -> None:
        """Look at who is in what at the end."""
        before = self.compared.profiles if self.compared is not None else {}
        for customer in self.tried.profiles.keys() | before.keys():
            profile = self.tried.profiles.get(customer)
            inside = _members(profile)
            for name in inside & self.found.segments.keys():
                figures = self.found.segments[name]
                figures.members += 1
                figures.overlap.update(inside - {name})
                self.keep(figures.examples, customer, profile, name)
            if self.compared is not None:
                was = _members(before.get(customer))
                for name in (inside ^ was) & self.found.segments.keys():
                    self.differs(name, customer, profile, entering=name in inside)

    def differs(self, name: str, customer: str, profile: Profile | None, *, entering: bool) -> None:
        figures = self.found.segments[name]
        if entering:
            figures.entering += 1
            self.keep(figures.entering_examples, customer, profile, name)
        else:
            figures.leaving += 1
            self.keep(figures.leaving_examples, customer, profile, name)

    def keep(self, examples: list[Example], customer: str, profile: Profile | None, name: str) -> None:
        """Keep the customer as an example if it is among the first by rank."""
        rank = xxhash.xxh3_64_intdigest(b"example\0" + customer.encode("utf-8", "surrogatepass"))
        if len(examples) >= EXAMPLES and rank > examples[-1].rank:
            return
        one = next(one for one in self.trial.rules.plan.segments if one.name == name)
        evidence = one.condition.evidence(profile, self.found.account.end) if profile is not None else []
        since = profile.segments.get(name, [0])[0] if profile is not None else 0
        examples[:] = _first([*examples, Example(rank, customer, since, evidence)])


def _first(examples: Iterable[Example]) -> list[Example]:
    return heapq.nsmallest(EXAMPLES, examples)


def _members(profile: Profile | None) -> set[str]:
    return {name for name, entry in profile.segments.items() if entry[0]} if profile is not None else set()


def warnings(rules: RuleSet, names: Iterable[str], account: Account, days: float | None = None) -> list[str]:
    """What the figures of these segments do not show, in words: mostly where the history is shorter than what a rule looks at."""
    if account.first_time is None or account.last_time is None:
        return ["no event was read: the figures say nothing"]
    covered = account.last_time - account.first_time
    if days is not None and account.begun_before:
        covered = max(covered, int(days * DAY))
    present = {one.name for one in rules.segments}
    wanted = set(names)
    said: list[str] = []
    for segment in rules.segments:
        if segment.name in wanted:
            said += _blind_spots(segment, rules.population, present, covered)
    return said


def _blind_spots(segment: Segment, population: Population, present: set[str], covered: int) -> Iterator[str]:
    alone = compile_plan([segment], population=population)
    back = max((slot.retention for slot in alone.slots.values()), default=0)
    shown = format_duration(max(covered // 3_600_000, 1) * 3_600_000)
    if back == NEVER:
        yield f"{segment.name} counts from the first event on, and the history begins {shown} before its end"
    elif back > covered:
        yield f"{segment.name} looks back {format_duration(back)}, and the history covers only {shown}"
    for model in sorted(alone.segments[0].condition.scores):
        yield f"{segment.name} asks for the score of {model}, and a history has none: it counts as missing"
    if unmeasured(segment, population):
        yield f"{segment.name} compares customers with each other, and that was not measured: nobody has such a score"
    for name in sorted(asks_for(segment) - present):
        yield f"{segment.name} asks for segment {name}, which is not among these rules: nobody is in it"
