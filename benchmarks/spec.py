"""What the programs of a benchmark are told, and what the probe answers: JSON files whose path is the only argument."""

from __future__ import annotations

from pathlib import Path

import msgspec

_LEAD_SECONDS = 2.0
_SECONDS_TO_MAKE_ONE = 0.00005


class Spec(msgspec.Struct, frozen=True):
    """What a contender is told.

    It reads `topic` up to the offsets `ends` (one a partition; `events` in all), decides by the rules in `rules`, and writes
    transitions to `changes` and memberships to `memberships`. What it has to say of itself it writes to `result`, as JSON. A
    Flink program finds the cluster at `rest` (`host:port`).
    """

    bootstrap: str
    topic: str
    ends: list[int]
    events: int
    customers: int
    seed: int
    rules: str
    changes: str
    memberships: str
    result: str
    folder: str
    commit_seconds: float = 5.0
    exactly_once: bool = True
    mode: str = ""
    rest: str = ""

    @classmethod
    def read(cls, path: str) -> Spec:
        return msgspec.json.decode(Path(path).read_bytes(), type=cls)


class Plan(msgspec.Struct, frozen=True):
    """`rate` events a second for `warm_up` and then `seconds` seconds; every `every`th of them is a probe.

    It begins at `start` (epoch seconds), or with 0 as soon as all that is to be sent has been made.
    """

    bootstrap: str
    topic: str
    changes: str
    committed: bool
    rate: int
    warm_up: float
    seconds: float
    result: str
    every: int = 20
    seed: int = 1
    customers: int = 5_000
    start: float = 0.0

    @property
    def time_to_make(self) -> float:
        """Seconds after which all that is to be sent has been made."""
        return _LEAD_SECONDS + (self.warm_up + self.seconds) * self.rate * _SECONDS_TO_MAKE_ONE


class Found(msgspec.Struct, frozen=True):
    """Latencies of the probes after the warm-up, and how late events were sent, in seconds; probes never answered.

    `answers` has the same latencies in the order of time, each after the moment (epoch seconds) at which its probe was to be sent.
    """

    latencies: list[float]
    delays: list[float]
    probes: int
    missing: int
    events: int
    answers: list[tuple[float, float]] = []
