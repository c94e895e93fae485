"""One model as customers meet it: what they keep of it, when it is asked and learnt from, and what they get to see of its answers.

`Profile.models` has for each model `[due, digest, scored, again, interval, next example, waiting]`: `due` is the next moment of all,
`digest` that of the definition, `scored` when the customer was scored last, `again` when that is due without another change (NEVER:
not), `interval` how long the refresh in progress takes (0: a change is to be caught up with), `next example` the earliest moment of
another one, `waiting` the examples that wait (`online_models.waiting`). It goes when the profile expires, and when the model is gone or
its definition has another meaning.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from online_models.definition import Model
from online_models.example import Row
from online_models.held import Held, Said, Version
from online_models.predictor import Output
from online_models.selection import mapped
from online_models.waiting import Examples
from profiles.profile import NEVER, Profile, message_digest
from rules.plan import Plan
from rules.watch import Watch

DUE: Final = 0
DIGEST: Final = 1
SCORED: Final = 2
AGAIN: Final = 3
INTERVAL: Final = 4
NEXT_EXAMPLE: Final = 5
WAITING: Final = 6


class Features(Watch, Protocol):
    """The features of one model, attached to the plan that customers are evaluated under."""

    def read(self, profile: Profile, clock: int) -> Row:
        """Their values at a moment, as what is in the profile says."""


class Served:
    """One model as it is served under one plan. `bit` is that of its watch in `Decision.watched`, `mask` has it alone."""

    def __init__(self, model: Model, features: Features, bit: int, zone: str, held: Held) -> None:
        self.name = model.name
        self.model = model
        self.features = features
        self.mask = 1 << bit
        self.held = held
        self.digest = message_digest(model.digest)
        self.every = model.scoring.every
        refresh = model.scoring.refresh
        self.refresh = None if refresh is None else max(refresh, self.every, 1)
        self.examples = Examples(model, zone)

    def level(self, version: Version, profile: Profile) -> float | None:
        """The threshold that a version has for the customer's group; None where it is the one for all."""
        own = version.thresholds
        if own is None or not own.are_meant_by(self.model.fairness):
            return None
        return own.groups.get(self.examples.group(profile))

    def shown(self, champion: Version, output: Output, profile: Profile) -> Output:
        """What rules are to see of what the champion says."""
        level = self.level(champion, profile)
        if level is None or champion.thresholds is None or not isinstance(output, float):
            return output
        return mapped(output, champion.thresholds.common, level)

    def predictions(self, row: Row, said: Said | None, profile: Profile) -> dict[str, list[Any]]:
        """What all candidates say, as they say it, for an example to keep; beside it the threshold of the customer's group."""
        found = self.held.predictions(row, said)
        for name, one in found.items():
            if (level := self.level(self.held.versions[name], profile)) is not None:
                one.append(level)
        return found

    def is_timed(self, plan: Plan) -> bool:
        """Whether the customer is scored without an event, too: a rule asks for the score, or the model says how often."""
        return self.refresh is not None or self.name in plan.by_score

    def scored(self, state: list[Any], clock: int) -> None:
        """Note that the customer is scored at `clock`, and when that is due again if nothing changes."""
        state[SCORED] = clock
        if self.refresh is None:
            state[INTERVAL], state[AGAIN] = 1, NEVER
            return
        state[INTERVAL] = 2 * state[INTERVAL] or self.refresh
        state[AGAIN] = clock + state[INTERVAL]

    def is_example(self, state: list[Any], clock: int, customer: str) -> bool:
        """Whether an example begins, where it may; whether or not this moment is of the sampled share, the next one has to wait."""
        state[NEXT_EXAMPLE] = clock + self.examples.apart
        return self.examples.is_sampled(customer, clock)
