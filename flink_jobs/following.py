"""The rules that a worker follows: compiled, and what going over to them takes."""

from __future__ import annotations

from profiles import Profile
from rules import ruled
from rules.handover import Changeover, is_known
from rules.plan import Limits
from rules.rule_set import RuleSet
from rules.step import Decision


class Following:
    """One rule set in force: `rules` is what customers are evaluated under.

    `is_warming`: segments wait for their history. `changeover` is there while they do, and afterwards for customers who have not been
    brought under the live rules yet.
    """

    def __init__(self, rule_set: RuleSet, limits: Limits, before: Following | None) -> None:
        self.version = rule_set.version
        self.is_warming = rule_set.stage == 0
        self.changeover: Changeover | None = None
        self.rules = live = ruled.live(rule_set, limits)
        if self.is_warming:
            self.rules = ruled.active(rule_set, limits)
            self.changeover = Changeover(self.rules, live, rule_set.warming)
        elif before is not None and before.changeover is not None and before.version == self.version:
            active = before.changeover.active
            self.changeover = Changeover(active, live, before.changeover.warming)

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
