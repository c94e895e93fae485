"""The rules and models that a worker follows: compiled, and what going over to them takes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flink_jobs.modelling import Scoring
from online_models.definition import in_zone
from online_models.serving import Serving
from online_models.usage import counter
from profiles import Event, Profile
from rules import ruled
from rules.explain import Reasons
from rules.handover import Changeover, is_known
from rules.plan import Limits
from rules.rule_set import RuleSet
from rules.step import Decision, Rules, Timer, step

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
        written = scoring.parse(rule_set.models) if rule_set.models and scoring is not None else ()
        models = tuple(in_zone(model, rule_set.project.zone) for model in written)

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
                older, warming = before.changeover.active, before.changeover.warming
                self.changeover = Changeover(older, live, warming, self._advance)
        self.serving: Serving | None = None
        if models and scoring is not None:
            self.serving = scoring.serving(models, read, before.serving if before is not None else None)
        # A customer who comes under these rules is brought up to date under those before, with features that are read as those have them.
        self._before = (before.rules.plan, before.serving) if before is not None else None

    def step(
        self, profile: Profile | None, happening: Event | Timer, watermark: int, customer: str
    ) -> tuple[Profile | None, Decision]:
        """One arrival through the core, with the models if there are any."""
        if self.scoring is None or (self.serving is None and (profile is None or not profile.models)):
            return step(profile, self.rules, happening, watermark, None, customer)
        return self.scoring.advance(profile, self.rules, self.serving, happening, watermark, customer)

    def _advance(
        self, profile: Profile | None, rules: Rules, happening: Event | Timer, watermark: int, customer: str
    ) -> tuple[Profile | None, Decision]:
        """One arrival under these rules or those before, each with its own reading of the features."""
        if self.scoring is None:
            return step(profile, rules, happening, watermark, None, customer)
        serving = self.serving
        if self._before is not None and rules.plan is self._before[0]:
            serving = self._before[1]
        return self.scoring.advance(profile, rules, serving, happening, watermark, customer)

    @property
    def reasons(self) -> Reasons | None:
        """How models come to the score of a customer, for explanations; None without models."""
        return self.serving.reasons if self.serving is not None else None

    def counted(self) -> Counter[str]:
        """What the models have counted since the last call."""
        found: Counter[str] = Counter()
        for served in self.serving.models.values() if self.serving is not None else ():
            for name, count in served.held.counts.items():
                found[_COUNTERS.get(name, name)] += count
            served.held.counts.clear()
            for name, count in served.held.usage.take().items():
                found[counter(name, served.model.name)] += count
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
