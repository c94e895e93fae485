"""The core as the contenders call it: one event at a time, the same decode, step and encode for all of them.

Our own job does not use this but its worker (`flink_jobs.worker`), which calls the same functions batch by batch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from flink_jobs import outputs
from flink_jobs.outputs import Output
from profiles import NEVER, Profile, decode_event, decode_profile, encode_profile
from rules.compiled import moment
from rules.compiler import compile_plan
from rules.plan import Plan
from rules.rule_set import load_directory
from rules.step import Decision, Timer, step

SOURCE = "segue/benchmark"

__all__ = ["NEVER", "Engine", "Profile", "Rules", "decode_profile", "encode_profile", "load_rules"]


@dataclass(frozen=True)
class Rules:
    """A compiled rule set."""

    version: int
    plan: Plan

    @property
    def code(self) -> int:
        return 2 * self.version + 1


def load_rules(folder: str | Path) -> Rules:
    """The rules in a folder, compiled."""
    rule_set = load_directory(Path(folder))
    return Rules(rule_set.version, compile_plan(rule_set.segments))


class Engine:
    """Decide what an event or a timer leads to. State is in the hands of the caller."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def arrive(
        self, profile: Profile | None, customer: str, value: bytes, received_at: int, watermark: int = 0
    ) -> tuple[Profile | None, Decision, list[Output]]:
        """Apply the event in `value`: the new profile, what was decided, and what is to be written."""
        event = decode_event(value, customer, received_at, -1, -1)
        profile, decision = step(profile, self.rules, event, watermark)
        return profile, decision, self._outputs(customer, profile, decision) if decision.transitions else []

    def wake(
        self, profile: Profile | None, customer: str, due: int, watermark: int
    ) -> tuple[Profile | None, Decision, list[Output]]:
        """Let a moment come without an event."""
        profile, decision = step(profile, self.rules, Timer(due), watermark, None, customer)
        return profile, decision, self._outputs(customer, profile, decision) if decision.transitions else []

    def _outputs(self, customer: str, profile: Profile | None, decision: Decision) -> list[Output]:
        emitted_at = moment(time.time_ns() // 1_000_000)
        found = [outputs.segment_change(one, SOURCE, emitted_at) for one in decision.transitions]
        found.append(outputs.customer_segments(customer, profile, decision.transitions[-1].effective_at))
        return found
