"""The customer's side of models: when a customer is scored, which moments become examples, and what came of them. Pure.

`advance` stands in for `rules.step.step` wherever there are models: the job, the backfill, the dry run and the tests call it. It lets
time pass, lets the event count, ends the examples that wait for such an event, scores the customer at the customer's clock, lets the
rules react to the scores, and may begin an example with what is known at this very moment.

A customer is scored at the first change of what a model's features look at, and then again when something has changed and
`Scoring.every` is over since the last time: at the change itself or, for a change that came earlier, by a timer. So no score misses a
change for longer than `every`. Without a change the customer is scored again after `Scoring.refresh`, then after twice as long, and so
on: as often as a silent customer is worth it, until the profile expires. An example may begin wherever the customer is scored (also
while no version of the model is known: that is how one comes about). So a model learns from such rows as it is asked about.

`Profile.models` has for each model `[due, digest, scored, again, interval, next example, waiting]`: `due` is the next moment of all,
`digest` that of the definition, `scored` when the customer was scored last, `again` when that is due without another event (NEVER:
not), `interval` how long the refresh in progress takes (0: a change is to be caught up with), `next example` the earliest moment of
another one, `waiting` the examples that wait (`online_models.waiting`). It goes when the profile expires, and when the model is gone or
its definition has another meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from online_models.definition import Model
from online_models.example import Row
from online_models.held import DECIMALS, Held, Role, Said, Version
from online_models.predictor import Output, Predictor
from online_models.selection import OwnThresholds, mapped
from online_models.waiting import MOST_WAITING, Examples
from profiles.event import Event
from profiles.profile import NEVER, Profile, message_digest, models_due
from rules.compiled import moment
from rules.definition import ANY_EVENT
from rules.membership import Run
from rules.plan import Plan
from rules.predicates import Predicate
from rules.step import Decision, Rules, Timer, is_looked_at, step
from rules.watch import Watch

_DUE: Final = 0
_DIGEST: Final = 1
_SCORED: Final = 2
_AGAIN: Final = 3
_INTERVAL: Final = 4
_NEXT_EXAMPLE: Final = 5
_WAITING: Final = 6

NOW: Final = -1

MOST_REASONS: Final = 10
"""Features that an explanation of a score names."""


class Features(Watch, Protocol):
    """The features of one model, attached to the plan that customers are evaluated under."""

    def read(self, profile: Profile, clock: int) -> Row:
        """Their values at a moment, as what is in the profile says."""


class Served:
    """One model as it is served under one plan. `bit` is that of its watch in `Decision.watched`."""

    def __init__(self, model: Model, features: Features, bit: int, zone: str, held: Held) -> None:
        self.name = model.name
        self.model = model
        self.features = features
        self.bit = bit
        self.held = held
        self.digest = message_digest(model.digest)
        self.every = model.scoring.every
        refresh = model.scoring.refresh
        self.refresh = None if refresh is None else max(refresh, self.every, 1)
        self.examples = Examples(model, zone)

    def shown(self, said: Said, profile: Profile) -> Output:
        """What rules are to see of what the champion has said: where groups have thresholds of their own, the score that carries them."""
        champion, output = self.held.champion, said[1]
        own = champion.thresholds if champion is not None else None
        if own is None or type(output) is not float or not own.are_meant_by(self.model.fairness):
            return output
        return mapped(output, own.common, own.of(self.examples.group(profile)))

    def predictions(self, row: Row, said: Said | None, profile: Profile) -> dict[str, list[Any]]:
        """What all candidates say, for an example to keep: as they said it, and the threshold of the customer's group beside it."""
        found = self.held.predictions(row, said)
        fairness = self.model.fairness
        if fairness is not None and fairness.constrain:
            group = self.examples.group(profile)
            for name, one in found.items():
                own = self.held.versions[name].thresholds
                if own is not None and own.are_meant_by(fairness) and group in own.groups:
                    one.append(own.groups[group])
        return found

    def fairness(self, champion: Version, row: Row, profile: Profile) -> dict[str, Any] | None:
        """How a row's score comes of what the champion says of it, where the customer's group has a threshold of its own."""
        own, group = champion.thresholds, self.examples.group(profile)
        if own is None or not own.are_meant_by(self.model.fairness) or group not in own.groups:
            return None
        said = champion.predictor.predict(row) if champion.predictor is not None else None
        if not isinstance(said, float):
            return None
        output = round(said, DECIMALS)
        return {
            "trait": own.trait,
            "threshold": own.common,
            "own_threshold": own.of(group),
            "model_says": output,
            "score": mapped(output, own.common, own.of(group)),
        }

    def settle_due(self, state: list[Any]) -> None:
        """Say in the state when the model is to be looked at next."""
        due = self.examples.due(state[_WAITING])
        state[_DUE] = state[_AGAIN] if state[_AGAIN] < due else due

    def touch(self, state: list[Any], clock: int) -> bool:
        """Take notice of a change. True if the customer is to be scored now, else that is due when `every` is over."""
        free: int = state[_SCORED] + self.every
        state[_INTERVAL] = 0
        if clock >= free:
            return True
        if state[_AGAIN] != free:
            state[_AGAIN] = free
            self.settle_due(state)
        return False

    def scored(self, state: list[Any], clock: int) -> None:
        """Note that the customer is scored at `clock`, and when that is due again if nothing changes."""
        state[_SCORED] = clock
        if self.refresh is None:
            state[_INTERVAL], state[_AGAIN] = 1, NEVER
            return
        state[_INTERVAL] = 2 * state[_INTERVAL] or self.refresh
        state[_AGAIN] = clock + state[_INTERVAL]

    def is_example(self, state: list[Any], clock: int, customer: str) -> bool:
        """Whether an example begins; whether or not this moment is of the sampled share, the next one has to wait."""
        if clock < state[_NEXT_EXAMPLE]:
            return False
        state[_NEXT_EXAMPLE] = clock + self.examples.apart
        return self.examples.is_sampled(customer, clock)


class Serving:
    """The models under one plan, which was compiled with `watches=features`. Made anew for each plan.

    `zone` is where customers are of whom that is not known. Versions held in `before` stay held where the model means the same.
    """

    def __init__(
        self, models: Sequence[Model], features: Sequence[Features], zone: str = "UTC", before: Serving | None = None
    ) -> None:
        self.models: dict[str, Served] = {}
        for bit, (model, read) in enumerate(zip(models, features, strict=True)):
            known = before.models.get(model.name) if before is not None else None
            held = known.held if known is not None and known.model.digest == model.digest else Held(model)
            self.models[model.name] = Served(model, read, bit, zone, held)
        self._targets: dict[str, list[tuple[Served, Predicate | None]]] = {}
        for one in self.models.values():
            if one.model.target is not None:
                self._targets.setdefault(one.model.target.ref.event, []).append((one, one.examples.is_meant))
        self._any = self._targets.pop(ANY_EVENT, [])
        for found in self._targets.values():
            found += self._any

    def adopt(
        self,
        model: str,
        candidate: str,
        role: Role,
        version: int,
        predictor: Predictor,
        thresholds: OwnThresholds | None = None,
    ) -> bool:
        """Hold a version of a candidate; False if the model is not served, or the same or a newer version is held."""
        one = self.models.get(model)
        return one is not None and one.held.adopt(candidate, role, version, predictor, thresholds)

    def reports(self) -> list[dict[str, Any]]:
        """What is to be reported since the last call: see `Held`."""
        found: list[dict[str, Any]] = []
        for one in self.models.values():
            found += one.held.reports
            one.held.reports.clear()
        return found

    def targets(self, name: str) -> list[tuple[Served, Predicate | None]]:
        """The models whose target may mean an event of this name, with what else must hold of it."""
        return self._targets.get(name, self._any)

    def tidy(self, profile: Profile, plan: Plan) -> None:
        """Let go of what is kept for models that are gone or mean something else; of one that is gone also the score, unless a rule asks
        for it still."""
        for name, state in list(profile.models.items()):
            served = self.models.get(name)
            if served is None and name not in plan.by_score:
                profile.scores.pop(name, None)
            if served is None or state[_DIGEST] != served.digest:
                del profile.models[name]

    def reasons(self, model: str, profile: Profile, clock: int) -> dict[str, Any] | None:
        """What the champion makes of a customer at a moment: `version`, `candidate`, when the score came (`scored_at`), and by feature how
        much it moves the output (`features`), largest first. `fairness`, where the customer's group has a threshold of its own, has what
        the champion says of this moment and the score that rules would see. None if there is no champion."""
        one = self.models.get(model)
        champion = one.held.champion if one is not None else None
        if one is None or champion is None or champion.predictor is None:
            return None
        row = one.features.read(profile, clock)
        moved = champion.predictor.reasons(row)[:MOST_REASONS]
        written = profile.scores.get(model)
        return {
            "model": model,
            "candidate": champion.candidate,
            "version": champion.version,
            "scored_at": moment(written[1]) if written is not None else None,
            "features": [{"feature": name, "contribution": contribution} for name, contribution in moved],
            "fairness": one.fairness(champion, row, profile),
        }


NO_MODELS: Final = Serving((), ())


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
    if serving is None or not serving.models:
        if profile is not None and profile.models:
            NO_MODELS.tidy(profile, rules.plan)
        return step(profile, rules, happening, watermark, None, customer)
    due = NEVER
    if profile is not None and profile.models:
        if not profile.models.keys() <= serving.models.keys():
            serving.tidy(profile, rules.plan)
        due = models_due(profile)
    if type(happening) is Timer:
        return _wake(profile, rules, serving, happening, watermark, customer, due)
    event: Event = happening  # type: ignore[assignment]
    return _count(profile, rules, serving, event, watermark, due)


def _wake(
    profile: Profile | None,
    rules: Rules,
    serving: Serving,
    timer: Timer,
    watermark: int,
    customer: str,
    due: int,
) -> tuple[Profile | None, Decision]:
    to = max(timer.due, watermark)
    if profile is None or due > to:
        profile, decision = step(profile, rules, timer, watermark, None, customer)
        if profile is not None and due < decision.next_timer:
            decision.next_timer = due
        return profile, decision
    turn = _Turn(profile, rules, serving, customer, Decision("timer"))
    turn.pass_time(to, to)
    profile, after = step(profile, rules, timer, watermark, None, customer)
    return turn.concluded(profile, after)


def _count(
    profile: Profile | None, rules: Rules, serving: Serving, event: Event, watermark: int, due: int
) -> tuple[Profile | None, Decision]:
    time, customer = event.event_time, event.customer
    turn: _Turn | None = None
    before = profile
    passed = watermark if watermark >= time else time - 1
    if due <= passed and profile is not None and is_looked_at(profile, event, watermark, rules.plan.limits):
        turn = _Turn(profile, rules, serving, customer, Decision())
        turn.pass_time(passed, watermark)
    profile, decision = step(profile, rules, event, watermark)
    if turn is None:
        if profile is None:
            return None, decision
        if profile is before and due > time and not (profile.models and serving.targets(event.name)):
            if decision.watched:
                due = _put_off(profile, serving, decision.watched, due, watermark)
            if due != NOW:
                if due < decision.next_timer:
                    decision.next_timer = due
                return profile, decision
        turn = _Turn(profile, rules, serving, customer, Decision())
    elif profile is not before:
        turn.expire()
        if profile is not None:
            turn.profile = profile
    if profile is None or decision.outcome != "applied":
        return turn.concluded(profile, decision)
    turn.take_over(decision)
    turn.label(event, watermark)
    turn.score(profile.latest if profile.latest > watermark else watermark, decision.watched, watermark)
    return turn.concluded(profile, decision)


def _put_off(profile: Profile, serving: Serving, watched: int, due: int, watermark: int) -> int:
    """Take notice of changes that all come before the customer may be scored again, which is what most do: when models are to be looked
    at next. NOW where anything else is to be done, or may be; then nothing has happened that taking notice once more would change.
    """
    clock = profile.latest if profile.latest > watermark else watermark
    if due <= clock:
        return NOW
    states = profile.models
    for served in serving.models.values():
        if watched >> served.bit & 1:
            state = states.get(served.name)
            if state is None or state[_DIGEST] != served.digest or served.touch(state, clock):
                return NOW
            if state[_DUE] < due:
                due = state[_DUE]
    return due


class _Turn:
    """What models do on one arrival of one customer. `decision` gathers transitions and examples in their order."""

    __slots__ = ("customer", "decision", "expires", "profile", "rules", "serving", "states")

    def __init__(self, profile: Profile, rules: Rules, serving: Serving, customer: str, decision: Decision) -> None:
        self.profile = profile
        self.rules = rules
        self.serving = serving
        self.customer = customer
        self.decision = decision
        self.states = profile.models
        self.expires = profile.latest + rules.plan.limits.expiry

    def pass_time(self, to: int, settled: int) -> None:
        """Let pass, in order, all that is due up to `to`; what came of examples is known up to `settled`."""
        self.serving.tidy(self.profile, self.rules.plan)
        while True:
            again = min((state[_AGAIN] for state in self.states.values()), default=NEVER)
            if again > to or again >= self.expires:
                break
            _, decision = step(self.profile, self.rules, Timer(again), again, None, self.customer)
            self.decision.transitions += decision.transitions
            self.score(max(again, self.profile.latest), 0, again - 1)
        self.settle(min(settled, self.expires))

    def settle(self, until: int) -> None:
        """End the examples whose window is over."""
        for name, state in self.states.items():
            if state[_DUE] <= until:
                served = self.serving.models[name]
                self.decision.examples += served.examples.settle(state[_WAITING], until, self.customer)
                served.settle_due(state)

    def expire(self) -> None:
        """Of a profile that is gone, the examples whose outcome was known before; that of the others never will be."""
        self.settle(self.expires)
        self.states = {}

    def label(self, event: Event, watermark: int) -> None:
        """End, or add to, the examples that wait for such an event."""
        for served, is_meant in self.serving.targets(event.name):
            state = self.profile.models.get(served.name)
            if state is not None and state[_WAITING] and (is_meant is None or is_meant(event)):
                self.decision.examples += served.examples.take(state[_WAITING], event, watermark, self.customer)
                served.settle_due(state)

    def score(self, clock: int, watched: int, watermark: int) -> None:
        """Score the customer where that is due at `clock` or something has changed, let the rules react, and begin examples."""
        due: list[tuple[Served, list[Any]]] = []
        states = self.profile.models
        for served in self.serving.models.values():
            state = states.get(served.name)
            if watched >> served.bit & 1:
                if state is None or state[_DIGEST] != served.digest:
                    # As if scored so long ago that it may be again.
                    state = states[served.name] = [NEVER, served.digest, clock - served.every, NEVER, 0, 0, []]
                if served.touch(state, clock):
                    due.append((served, state))
            elif state is not None and state[_AGAIN] <= clock:
                due.append((served, state))
        if due:
            self._score(due, clock, watermark)

    def _score(self, due: list[tuple[Served, list[Any]]], clock: int, watermark: int) -> None:
        profile, customer = self.profile, self.customer
        scores: dict[str, Output] = {}
        begin: list[tuple[Served, list[Any], Row, Said | None]] = []
        for served, state in due:
            served.scored(state, clock)
            is_example = served.is_example(state, clock, customer)
            if not is_example and served.held.champion is None:
                served.settle_due(state)
                continue
            row = served.features.read(profile, clock)
            before = profile.scores.get(served.name)
            found = served.held.score(row, before[0] if before is not None else None)
            if found is not None:
                scores[served.name] = served.shown(found, profile)
            if is_example:
                begin.append((served, state, row, found))
            else:
                served.settle_due(state)
        if scores:
            Run(profile, self.rules, self.decision, customer).rescore(scores, clock)
        for served, state, row, found in begin:
            examples, waiting = served.examples, state[_WAITING]
            if len(waiting) >= 2 * MOST_WAITING:
                # The watermark is further behind than a window is long: the first one has ended for long.
                self.decision.examples += examples.end(waiting, customer)
            begun = examples.begin(profile, waiting, clock, row, served.predictions(row, found, profile))
            if served.model.target is None:
                self.decision.examples.append(examples.unlabelled(begun, max(clock, watermark + 1), customer))
            served.settle_due(state)

    def take_over(self, decision: Decision) -> None:
        """Go on with the decision of the event, behind what has come about before it."""
        decision.transitions = self.decision.transitions + decision.transitions
        decision.examples = self.decision.examples + decision.examples
        self.decision = decision

    def concluded(self, profile: Profile | None, decision: Decision) -> tuple[Profile | None, Decision]:
        """The answer: all that came about, and when to look again."""
        if decision is not self.decision:
            self.take_over(decision)
        if profile is not None:
            expires = profile.latest + self.rules.plan.limits.expiry
            decision.next_timer = min(profile.due, expires, models_due(profile))
        return profile, decision
