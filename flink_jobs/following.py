"""The rules and models that a worker follows: compiled, and what going over to them takes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flink_jobs.modelling import Scoring, Serving
from profiles import Event, Profile
from rules import ruled
from rules.handover import Changeover, is_known
from rules.plan import Limits
from rules.rule_set import RuleSet
from rules.step import Decision, Timer, step

_COUNTERS = {"predicted": "scored", "unknown": "scores_unknown", "quarantined": "scores_failed"}
"""What became of outputs that were asked for, as the job counts it."""


class Following:
    """One rule set in force: `rules` is what customers are evaluated under.

    `is_warming`: segments wait for their history. `changeover` is there while they do, and afterwards for customers who have not been
    brought under the live rules yet. `serving` has the models, if there are any: they are in force at once, also while segments
    are warming.

    Raises `RuleErrors` where the rules or the models are wrong, ValueError where there are models and no `scoring`.
    """

    def __init__(
        self, rule_set: RuleSet, limits: Limits, before: Following | None, scoring: Scoring | None = None
    ) -> None:
        self.version = rule_set.version
        self.scoring = scoring
        if rule_set.models and scoring is None:
            raise ValueError("there are models, and this job was submitted without any: stop it and submit it again")
        models = scoring.parse(rule_set.models) if rule_set.models and scoring is not None else ()

        def features() -> list[Any]:
            return [scoring.features(model) for model in models] if scoring is not None else []

        read = features()
        self.is_warming = rule_set.stage == 0
        self.changeover: Changeover | None = None
        if self.is_warming:
            live = ruled.live(rule_set, limits, features())
            self.rules = ruled.active(rule_set, limits, read)
            self.changeover = Changeover(self.rules, live, rule_set.warming)
        else:
            self.rules = live = ruled.live(rule_set, limits, read)
            if before is not None and before.changeover is not None and before.version == self.version:
                self.changeover = Changeover(before.changeover.active, live, before.changeover.warming)
        self.serving: Serving | None = None
        if models and scoring is not None:
            self.serving = scoring.serving(models, read, before.serving if before is not None else None)

    def step(
        self, profile: Profile | None, happening: Event | Timer, watermark: int, customer: str
    ) -> tuple[Profile | None, Decision]:
        """One arrival through the core, with the models if there are any."""
        if self.scoring is None or (self.serving is None and (profile is None or not profile.models)):
            return step(profile, self.rules, happening, watermark, None, customer)
        return self.scoring.advance(profile, self.rules, self.serving, happening, watermark, customer)

    def counted(self) -> Counter[str]:
        """What the models have counted since the last call."""
        found: Counter[str] = Counter()
        for served in self.serving.models.values() if self.serving is not None else ():
            for name, count in served.held.counts.items():
                found[_COUNTERS.get(name, name)] += count
            served.held.counts.clear()
        return found

    def has_to_merge(self, profile: Profile | None) -> bool:
        """Whether a customer is to be brought under the live rules with what was kept and handed over meanwhile."""
        return (
            self.changeover is not None
            and not self.is_warming
            and profile is not None
            and profile.rules != self.rules.code
        )

    def merge(self, profile: Profile | None, watermark: int, customer: str) -> tuple[Profile | None, Decision]:
        """Bring a customer under the live rules."""
        assert self.changeover is not None
        return self.changeover.merge(profile, watermark, customer)

    def keeps(self, profile: Profile | None) -> bool:
        """Whether a profile is nothing but a handed-over shadow that is still wanted."""
        return profile is not None and not is_known(profile) and self.is_warming and self.waits(profile)

    def waits(self, profile: Profile) -> bool:
        """Whether what a profile keeps for later is meant for these rules."""
        return bool(profile.waiting) and profile.waiting[0] == self.rules.code
