"""The customer's side of models: when a customer is scored, and which moments become examples. Pure.

A customer is scored at the first change of what a model's features look at, and then again when something has changed and
`Scoring.every` is over since the last time. A change that came earlier than that is caught up with by a timer where a rule asks for the
score or the model declares `Scoring.refresh`: no such score misses a change for longer than `every`. Else nobody waits for it, and it
is caught up with at the customer's next event. Without a change the customer is scored again after `refresh`, then after twice as long,
and so on: as often as a silent customer is worth it, until the profile expires. An example may begin wherever the customer is scored (also
while no version of the model is known: that is how one comes about). So a model learns from such rows as it is asked about.

What a profile keeps of each model is described in `online_models.served`.

`Profile.agenda` is `[due, free, pending, for, changed]`: the earliest `due` of all; the moment before which a change need only be noted;
the earliest moment at which a change so noted, or a refresh, may be due; which rules and models that was worked out for; and a mask of
the models (by their place) that something has changed for. In `models` that is written down when the agenda is next worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from online_models.definition import Model
from online_models.example import Row
from online_models.features import FeatureSet, joint_reading
from online_models.held import Held, Role, Said, Version, rounded
from online_models.predictor import Output, Predictor
from online_models.selection import OwnThresholds, mapped
from online_models.served import AGAIN, DIGEST, DUE, INTERVAL, NEXT_EXAMPLE, SCORED, WAITING, Features, Served
from online_models.waiting import MOST_WAITING, packed
from profiles.profile import NEVER, Profile, message_digest
from rules.compiled import moment
from rules.definition import ANY_EVENT
from rules.membership import Run
from rules.plan import Plan
from rules.predicates import Predicate
from rules.step import Decision, Rules

AGENDA_DUE: Final = 0
AGENDA_PENDING: Final = 2
AGENDA_FOR: Final = 3
AGENDA_CHANGED: Final = 4
AGENDA_SIZE: Final = 5
"""The number of its items, which tells it from agendas that an older build has left."""

MOST_JOINT: Final = 1_000
"""Different sets of models whose common reading is remembered."""

MOST_REASONS: Final = 10
"""Features that an explanation of a score names."""


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
        self._all = tuple(self.models.values())
        # What can be read together, by model, and what reads the rows of the models that are asked together.
        self._sets = {one.name: one.features for one in self._all if isinstance(one.features, FeatureSet)}
        self._joint: dict[int, Callable[[Profile, int], list[Row]]] = {}
        digests = b"".join(one.digest for one in self._all)
        self.code = int.from_bytes(message_digest(digests.hex())[:7]) ^ AGENDA_SIZE if digests else 0
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

    def plan_ahead(self, profile: Profile, rules: Rules) -> None:
        """Work out when to look at the profile next, after its models' states have changed."""
        states, awaited = profile.models, rules.plan.by_score
        due = free = pending = NEVER
        changed = profile.agenda[AGENDA_CHANGED] if profile.agenda else 0
        for served in self._all:
            state = states.get(served.name)
            if state is None:
                free = 0
                continue
            _, _, scored, again, interval, _, waiting = state
            is_timed = served.refresh is not None or served.name in awaited
            if not interval:
                changed |= served.mask
            elif changed & served.mask:
                again = scored + served.every
                state[INTERVAL], state[AGAIN] = 0, again
            elif is_timed:
                free = 0  # a timer has to be set for it
            elif scored + served.every < free:
                free = scored + served.every
            if again < pending:
                pending = again
            next_due = waiting[0][0] + served.examples.within if waiting else NEVER
            if is_timed and again < next_due:
                next_due = again
            state[DUE] = next_due
            if next_due < due:
                due = next_due
        profile.agenda = [due, free, pending, rules.code ^ self.code, changed]

    def look(
        self, profile: Profile, rules: Rules, decision: Decision, customer: str, clock: int, watermark: int
    ) -> None:
        """Score the customer at an event where something has changed as `decision` says or had changed too early, or a refresh is due; then
        work out when to look next."""
        states, changed = profile.models, decision.watched
        if profile.agenda:
            changed |= profile.agenda[AGENDA_CHANGED]
            profile.agenda[AGENDA_CHANGED] = 0
        due: list[tuple[Served, list[Any]]] = []
        for served in self._all:
            state = states.get(served.name)
            if changed & served.mask:
                if state is None:
                    # As if scored so long ago that it may be again.
                    state = states[served.name] = [NEVER, served.digest, clock - served.every, NEVER, 0, 0, []]
                state[INTERVAL] = 0
                free = state[SCORED] + served.every
                if clock < free:
                    state[AGAIN] = free
                    continue
            elif state is None or state[AGAIN] > clock:
                continue
            due.append((served, state))
        if due:
            self._score(due, profile, rules, decision, customer, clock, watermark)
        self.plan_ahead(profile, rules)

    def again(self, profile: Profile, rules: Rules, decision: Decision, customer: str, moment: int) -> None:
        """Score the customer at a moment without an event."""
        due = [
            (served, state)
            for served in self._all
            if (state := profile.models.get(served.name)) is not None
            and state[AGAIN] <= moment
            and served.is_timed(rules.plan)
        ]
        for served, _ in due:
            profile.agenda[AGENDA_CHANGED] &= ~served.mask
        self._score(due, profile, rules, decision, customer, max(moment, profile.latest), moment - 1)

    def _score(
        self,
        due: list[tuple[Served, list[Any]]],
        profile: Profile,
        rules: Rules,
        decision: Decision,
        customer: str,
        clock: int,
        watermark: int,
    ) -> None:
        """Score by these models, let the rules react, and begin examples with where the customer stands then."""
        written, awaited = profile.scores, rules.plan.by_score
        scores: dict[str, Output] = {}
        begin: list[tuple[Served, list[Any], Row, Said | None, int | None]] = []
        rows = self._rows(due, profile, clock) if len(due) > 1 and len(self._sets) == len(self._all) else None
        for at, (served, state) in enumerate(due):
            served.scored(state, clock)
            is_example = clock >= state[NEXT_EXAMPLE] and served.is_example(state, clock, customer)
            name, held = served.name, served.held
            champion, before = held.champion, written.get(name)
            if before is None:
                previous = age = None
            else:
                previous, age = before[0], clock - before[1]
            found: Said | None = None
            if is_example or champion is not None:
                row = served.features.read(profile, clock) if rows is None else rows[at]
                found = held.score(row, previous)
                if is_example:
                    begin.append((served, state, row, found, age))
            held.usage.note(age, found is not None)
            if found is None or champion is None:
                continue
            shown = found[1] if champion.thresholds is None else served.shown(champion, found[1], profile)
            if name in awaited:
                scores[name] = shown
            elif before is None:
                written[name] = [shown, clock]
            else:
                before[0], before[1] = shown, clock
        if scores:
            Run(profile, rules, decision, customer).rescore(scores, clock)
        for served, state, row, found, age in begin:
            examples, waiting = served.examples, state[WAITING]
            if len(waiting) >= 2 * MOST_WAITING:
                # The watermark is further behind than a window is long: the first one has ended for long.
                decision.examples = decision.examples + examples.end(waiting, customer)
            predictions = served.predictions(row, found, profile)
            if served.model.target is not None:
                examples.begin(profile, waiting, clock, row, predictions, age)
                continue
            example = examples.unlabelled(profile, clock, row, predictions, age, max(clock, watermark + 1), customer)
            decision.examples = [*decision.examples, example]

    def _rows(self, due: list[tuple[Served, list[Any]]], profile: Profile, clock: int) -> list[Row]:
        """The rows of several models: much of what one looks at the others look at, too."""
        asked = 0
        for served, _ in due:
            asked |= served.mask
        read = self._joint.get(asked)
        if read is None:
            read = joint_reading([self._sets[served.name] for served, _ in due])
            if len(self._joint) < MOST_JOINT:
                self._joint[asked] = read
        return read(profile, clock)

    def tidy(self, profile: Profile, plan: Plan) -> None:
        """Let go of what is kept for models that are gone or mean something else; of one that is gone also the score, unless a rule asks
        for it still."""
        # Other models may have had these places, so that each of these may have changed.
        has_changed = len(profile.agenda) == AGENDA_SIZE and bool(profile.agenda[AGENDA_CHANGED])
        for name, state in list(profile.models.items()):
            served = self.models.get(name)
            if served is None and name not in plan.by_score:
                profile.scores.pop(name, None)
            if served is None or state[DIGEST] != served.digest:
                del profile.models[name]
                continue
            state[WAITING] = packed(state[WAITING])
            if has_changed and state[INTERVAL]:
                state[INTERVAL], state[AGAIN] = 0, state[SCORED] + served.every
        profile.agenda = []

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
            "fairness": _fairness(one, champion, row, profile),
        }


def _fairness(served: Served, champion: Version, row: Row, profile: Profile) -> dict[str, Any] | None:
    """How a row's score comes of what the champion says of it, where the customer's group has a threshold of its own."""
    own, level = champion.thresholds, served.level(champion, profile)
    output = champion.predictor.predict(row) if champion.predictor is not None and level is not None else None
    if own is None or level is None or not isinstance(output, float):
        return None
    said = rounded(output)
    shown = mapped(said, own.common, level)
    return {"trait": own.trait, "threshold": own.common, "own_threshold": level, "model_says": said, "score": shown}


NO_MODELS: Final = Serving((), ())
