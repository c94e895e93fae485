"""Customers and learner together in one process, over what happened: how models are trained and tried, and how both are tested.

Time goes as in the job, only that nothing takes any: before the watermark passes a moment, whatever waits for this moment has happened,
and before something happens, all examples labelled earlier have been learnt, and customers are scored by the versions that came of it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec

from online_models.definition import Candidate, Model
from online_models.example import Example
from online_models.learner import Learner
from online_models.predictor import Predictor
from online_models.selection import OwnThresholds
from online_models.version import ModelEvent, ModelVersion, Published, Quality, Role
from profiles.event import Event
from profiles.profile import NEVER, Profile
from rules.history import OPEN_PROFILES, Profiles
from rules.step import Decision, Rules, Timer, Transition


class Serving(Protocol):
    """Holds the versions that customers are scored by."""

    def adopt(
        self,
        model: str,
        candidate: str,
        role: Role,
        version: int,
        predictor: Predictor,
        thresholds: OwnThresholds | None = None,
    ) -> bool:
        """Hold a version of a candidate; False if nothing comes of it."""


S = TypeVar("S", bound=Serving)
Advance = Callable[[Profile | None, Rules, S, Event | Timer, int, str], tuple[Profile | None, Decision]]
"""`online_models.serving.advance`: one arrival for one customer."""

Decode = Callable[[Model, Candidate, bytes], Predictor]


class Overrun(Exception):
    """More examples wait than the learner holds."""


@dataclass
class Outcome:
    """What came of a history.

    `outcomes` counts events by what became of them (`failed`: the core broke on them, `failed_timers`: at a moment without an event).
    `versions` are all that were published, in order, without their bodies; `newest` those with bodies, by model and candidate.
    `figures` are the reports of quality over time, `happened` the events of models.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    transitions: list[Transition] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    versions: list[ModelVersion] = field(default_factory=list)
    newest: dict[tuple[str, str], ModelVersion] = field(default_factory=dict)
    figures: list[Quality] = field(default_factory=list)
    happened: list[ModelEvent] = field(default_factory=list)

    def trained(self, model: str, above: int = 0) -> list[ModelVersion]:
        """The newest version of each candidate of a model as a job is to go on from them, numbered from above `above`."""
        found = sorted((one for one in self.newest.values() if one.model == model), key=lambda one: one.version)
        return [
            msgspec.structs.replace(
                one, version=number, lineage=msgspec.structs.replace(one.lineage, origin="history", parent=0)
            )
            for number, one in enumerate(found, above + 1)
        ]


class Loop:
    """Runs customers and learner over a history.

    `advance` is what a customer's arrivals go through, `serving` what it scores by, `decode` how a version's body is made to answer.
    With `keep` False neither transitions nor examples are kept; each example is given to `on_example` as well.
    """

    def __init__(
        self,
        models: Iterable[Model],
        rules: Rules,
        serving: S,
        advance: Advance[S],
        learner: Learner,
        decode: Decode,
        *,
        keep: bool = True,
        on_example: Callable[[Example], None] | None = None,
        open_profiles: int = OPEN_PROFILES,
    ) -> None:
        self.outcome = Outcome()
        self._candidates = {(model.name, one.name): (model, one) for model in models for one in model.candidates}
        self._learner, self._decode = learner, decode
        self._serve: Callable[..., bool] = serving.adopt
        self._keep, self._on_example = keep, on_example
        self._profiles = Profiles(open_profiles)
        self._due: dict[str, int] = {}
        self._timers: list[tuple[int, str]] = []

        def happen(
            profile: Profile | None, happening: Event | Timer, watermark: int, customer: str
        ) -> tuple[Profile | None, Decision]:
            return advance(profile, rules, serving, happening, watermark, customer)

        self._advance = happen

    def run(self, events: Iterable[tuple[Event, int]], end: int) -> Outcome:
        """Take all events, each with its watermark, let time pass up to `end`, and publish what has been learnt last."""
        for event, watermark in events:
            self.take(event, watermark)
        self.pass_time(end)
        self._note(self._learner.conclude())
        return self.outcome

    def take(self, event: Event, watermark: int) -> None:
        """Apply one event, `watermark` being a moment up to which events have arrived."""
        self.pass_time(watermark)
        decision = self._happen(event, watermark, event.customer)
        self.outcome.outcomes[decision.outcome if decision is not None else "failed"] += 1

    def pass_time(self, watermark: int) -> None:
        """All events up to `watermark` have arrived: whatever is due by then happens, moment by moment, and is learnt."""
        while self._timers and self._timers[0][0] <= watermark:
            due, customer = heapq.heappop(self._timers)
            if self._due.get(customer) != due:
                continue
            del self._due[customer]
            self._note(self._learner.advance(due - 1))
            if self._happen(Timer(due), due, customer) is None:
                self.outcome.outcomes["failed_timers"] += 1
        self._note(self._learner.advance(watermark))

    def _happen(self, happening: Event | Timer, watermark: int, customer: str) -> Decision | None:
        profile = self._profiles.take(customer)
        try:
            profile, decision = self._advance(profile, happening, watermark, customer)
        except Exception:  # noqa: BLE001  (as in the job: whatever one event does to the core, the others go on, and it is counted)
            return None
        if self._keep:
            self.outcome.transitions += decision.transitions
        for example in decision.examples:
            self._offer(example)
        self._profiles.keep(customer, profile)
        self._wake_at(customer, NEVER if profile is None else decision.next_timer)
        return decision

    def _offer(self, example: Example) -> None:
        if self._learner.offer(example) == "full":
            raise Overrun(f"{self._learner.waiting} examples wait for the watermark: let it follow more closely")
        if self._keep:
            self.outcome.examples.append(example)
        if self._on_example is not None:
            self._on_example(example)

    def _wake_at(self, customer: str, next_timer: int) -> None:
        if next_timer == NEVER:
            self._due.pop(customer, None)
        elif self._due.get(customer) != next_timer:
            self._due[customer] = next_timer
            heapq.heappush(self._timers, (next_timer, customer))

    def _note(self, said: list[Published]) -> None:
        outcome = self.outcome
        for one in said:
            if isinstance(one, ModelVersion):
                model, candidate = self._candidates[one.model, one.candidate]
                predictor = self._decode(model, candidate, one.body)
                self._serve(one.model, one.candidate, one.role, one.version, predictor, one.thresholds)
                outcome.newest[one.model, one.candidate] = one
                outcome.versions.append(msgspec.structs.replace(one, body=b""))
            elif isinstance(one, Quality):
                outcome.figures.append(one)
            elif isinstance(one, ModelEvent):
                outcome.happened.append(one)

    def profile(self, customer: str) -> Profile | None:
        """A customer's profile as it is now; changing it changes nothing."""
        return self._profiles.get(customer)
