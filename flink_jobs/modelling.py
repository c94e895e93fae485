"""What the workers take from online models, as one set of functions: the workers know only what they need of each.

`online_models.serving` has what serves, `online_models.learner` what learns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from online_models.definition import Model
from online_models.example import Example
from online_models.predictor import Predictor
from online_models.version import ModelVersion, Published
from profiles import Event, Profile
from rules.step import Decision, Rules, Timer
from rules.watch import Watch


class Held(Protocol):
    """What is held of one model. `counts`: outputs asked for, by what came of them."""

    @property
    def counts(self) -> Counter[str]: ...

    @property
    def versions(self) -> Mapping[str, Any]: ...


class Served(Protocol):
    """One model as it is served."""

    @property
    def model(self) -> Model: ...

    @property
    def features(self) -> Any: ...

    @property
    def held(self) -> Held: ...


class Serving(Protocol):
    """The models that customers are scored by."""

    @property
    def models(self) -> Mapping[str, Any]:
        """`Served` by name."""

    def adopt(
        self, model: str, candidate: str, role: Literal["champion", "challenger"], version: int, predictor: Predictor
    ) -> bool: ...

    def reports(self) -> list[dict[str, Any]]: ...

    def reasons(self, model: str, profile: Profile, clock: int) -> dict[str, Any] | None: ...


class Learner(Protocol):
    """What learns all models from their examples."""

    counts: Counter[str]

    def offer(self, example: Example) -> str: ...

    def advance(self, watermark: int, most: int | None = None) -> list[Published]: ...

    @property
    def behind(self) -> bool: ...

    def adopt(self, version: ModelVersion) -> list[Published]: ...

    def follow(self, models: Sequence[Model]) -> list[Published]: ...

    def snapshot(self) -> bytes: ...


@dataclass(frozen=True)
class Scoring:
    """For the worker of the segments.

    `parse` makes models of their files by name; `RuleErrors` where they are wrong. `features` makes what reads a model's features, anew for
    each plan. `serving` has the models with their features, and what was held before. `predictor` reads a candidate's body, given the
    features of its model; it raises what it likes, and is called in a thread of its own. `advance` stands in for `rules.step.step`.
    """

    parse: Callable[[Mapping[str, str]], Sequence[Model]]
    features: Callable[[Model], Watch]
    serving: Callable[[Sequence[Model], Sequence[Any], Any], Serving]
    predictor: Callable[[Model, Any, ModelVersion], Predictor]
    advance: Callable[
        [Profile | None, Rules, Any, Event | Timer, int, str],
        tuple[Profile | None, Decision],
    ]


@dataclass(frozen=True)
class Learning:
    """For the worker that learns. `restore` also says what there is to say of definitions that have changed."""

    parse: Callable[[Mapping[str, str]], Sequence[Model]]
    learner: Callable[[Sequence[Model]], Learner]
    restore: Callable[[bytes, Sequence[Model]], tuple[Learner, list[Published]]]
