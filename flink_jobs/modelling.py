"""What the workers take from online models, as one set of functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from online_models.definition import Model
from online_models.learner import Learner
from online_models.predictor import Predictor
from online_models.serving import Serving
from online_models.version import ModelVersion, Published
from profiles import Event, Profile
from rules.step import Decision, Rules, Timer
from rules.watch import Watch


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
    """For the worker that learns. `restore` also says what there is to say of definitions that have changed. `prepare` imports what the
    others need: that takes its time, in which nothing is waiting yet.
    """

    parse: Callable[[Mapping[str, str]], Sequence[Model]]
    learner: Callable[[Sequence[Model]], Learner]
    restore: Callable[[bytes, Sequence[Model]], tuple[Learner, list[Published]]]
    prepare: Callable[[], None] = lambda: None
