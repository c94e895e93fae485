"""Small features, predictors and models for tests of what is around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from online_models.definition import Candidate, Fairness, Learning, Model, Scoring, Target
from online_models.example import Row
from online_models.predictor import Output
from profiles import Profile
from rules.compiler import Compiler
from rules.definition import EventRef
from rules.watch import Watched

WINDOW = 40


class Counted:
    """Two features: how often an event came within `WINDOW`, up to fifty, and the trait `tier`."""

    def __init__(self, event: str = "A") -> None:
        self.event = event
        self.slot = 0
        self.reads: list[tuple[int, Row]] = []

    def attach(self, compiler: Compiler) -> Watched:
        self.slot = compiler.times(EventRef(self.event), WINDOW, 50)
        return Watched(frozenset((self.slot,)), frozenset(("tier",)))

    def read(self, profile: Profile, clock: int) -> Row:
        times = profile.slots.get(self.slot, [])
        written = profile.traits.get("tier")
        row = [float(sum(clock - WINDOW < time <= clock for time in times)), written[0] if written else None]
        self.reads.append((clock, row))
        return row


class Says:
    """Says what a function makes of a row."""

    def __init__(self, says: Callable[[Row], Any]) -> None:
        self.says = says

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        return self.says(row)  # type: ignore[no-any-return]

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        raise AssertionError("nobody learns where customers are scored")

    def happened(self) -> list[dict[str, object]]:
        return []

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        return [("views", float(row[0])), ("tier", 0.0)]


def model(
    target: Target | None = None,
    *,
    name: str = "m",
    task: str = "classification",
    scoring: Scoring = Scoring(),  # noqa: B008  (a frozen value)
    learning: Learning = Learning(0),  # noqa: B008
    fairness: Fairness | None = None,
    candidates: Sequence[str] = ("one", "two"),
    digest: str = "d1",
) -> Model:
    made = tuple(Candidate(one, ()) for one in candidates)
    return Model(
        name,
        task,  # type: ignore[arg-type]
        (),
        made,
        target,
        scoring,
        learning,
        fairness=fairness,
        digest=digest,
    )
