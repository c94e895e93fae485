"""Models over a history: customers and learner together, as in the job, and what is told of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from cli.history import Account, Share
from online_models.advancing import advance
from online_models.contest import base_loss
from online_models.definition import Model, in_zone
from online_models.example import Example
from online_models.features import FeatureSet
from online_models.learner import Learner
from online_models.loop import Loop, Outcome, Overrun
from online_models.quality.figures import WINDOW, bins
from online_models.rehearsal import PROBE, Gathered, Gathering
from online_models.serving import Serving
from online_models.standard import standard_kit
from profiles.event import Event
from profiles.zones import UTC
from rules.compiled import moment
from rules.compiler import compile_plan
from rules.definition import Segment
from rules.payload import code_of
from rules.population import Population
from rules.rule_set import RuleSet
from rules.ruled import Ruled

MOST_POINTS: Final = 60
"""Reports that are kept of the figures over time: so many can be seen side by side."""

FIGURES: Final[dict[str, tuple[str, ...]]] = {
    "classification": ("roc_auc", "log_loss", "brier", "calibration_error", "lift"),
    "regression": ("mae", "rmse", "bias"),
    "clustering": ("silhouette", "davies_bouldin", "clusters"),
    "anomaly": (),
}
"""By task, the figures that tell how good a candidate is."""


class Past(Protocol):
    """What a history is read from; see `cli.history.Source`."""

    def events(
        self, account: Account, share: Share | None = None, days: float | None = None, now: int | None = None
    ) -> Iterator[tuple[Event, int]]:
        """The events of the customers wanted, each with its watermark."""


@dataclass
class Run:
    """What came of a history. `calibration` has, by model and candidate, mean prediction, mean outcome and weight of each tenth."""

    models: tuple[Model, ...]
    account: Account
    outcome: Outcome
    examples: dict[str, int]
    calibration: dict[tuple[str, str], list[tuple[float, float, float]]]


@dataclass
class _Foretold:
    """The newest predictions of each candidate with what came of them."""

    examples: dict[str, int] = field(default_factory=dict)
    newest: dict[tuple[str, str], deque[tuple[float, float, float]]] = field(default_factory=dict)

    def note(self, example: Example) -> None:
        self.examples[example.model] = self.examples.get(example.model, 0) + 1
        if example.label is None:
            return
        for candidate, (_, output, *_) in example.predictions.items():
            if isinstance(output, float | int):
                kept = self.newest.setdefault((example.model, candidate), deque(maxlen=WINDOW))
                kept.append((float(output), example.label, example.weight))

    def calibration(self) -> dict[tuple[str, str], list[tuple[float, float, float]]]:
        return {key: _bins(kept) for key, kept in self.newest.items()}


def _bins(kept: Iterable[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    predictions, labels, weights = (np.array(column) for column in zip(*kept, strict=True))
    return bins(predictions, labels, weights)


def run_history(
    models: Iterable[Model],
    source: Past,
    rules: RuleSet | None = None,
    *,
    days: float | None = None,
    sample: float = 1.0,
    now: int | None = None,
) -> Run:
    """Let customers be scored and models learn over a history. With `rules`, figures are told by their segments, too."""
    models = located(models, rules)
    kit = standard_kit()
    foretold = _Foretold()
    ruled, serving = _served(models, rules)
    loop = Loop(models, ruled, serving, advance, Learner(models, kit), kit.decode, keep=False, on_example=foretold.note)
    account = _play(loop, source, days, sample, now)
    return Run(models, account, loop.outcome, foretold.examples, foretold.calibration())


def gather_history(
    model: Model,
    source: Past,
    rules: RuleSet | None = None,
    *,
    days: float | None = None,
    sample: float = 1.0,
    now: int | None = None,
) -> tuple[Gathered, Account]:
    """The examples that one model learns from in a history, for candidates to be put through them. `model` is `located`."""
    learner = Gathering(model)
    ruled, serving = _served((model,), rules)
    serving.adopt(model.name, PROBE, "challenger", 1, learner.probe)
    loop = Loop((model,), ruled, serving, advance, learner, lambda *_: learner.probe, keep=False)
    account = _play(loop, source, days, sample, now)
    return learner.gathered(), account


def located(models: Iterable[Model], rules: RuleSet | None) -> tuple[Model, ...]:
    """The models as they are meant in the rules' time zone."""
    zone = rules.project.zone if rules is not None else UTC
    return tuple(in_zone(model, zone) for model in models)


def _served(models: Sequence[Model], rules: RuleSet | None) -> tuple[Ruled, Serving]:
    """The rules with what the models look at, and the models under them."""
    features = [FeatureSet(one.features, one.zone) for one in models]
    segments: tuple[Segment, ...] = rules.segments if rules is not None else ()
    population = rules.population if rules is not None else Population()
    plan = compile_plan(segments, population=population, watches=features)
    return Ruled(1, code_of(1, 1), plan), Serving(models, features)


def _play(loop: Loop, source: Past, days: float | None, sample: float, now: int | None) -> Account:
    """Let all of a history happen, and what became of its records."""
    account = Account()
    for event, watermark in source.events(account, Share(sample), days, now):
        loop.take(event, watermark)
    loop.run((), account.end)
    return account


def history_words(source: str, account: Account, sample: float) -> dict[str, Any]:
    """What was read of a history, as plain values."""
    return {
        "source": source,
        "events": account.events,
        "read": account.read,
        "refused": dict(account.refused),
        "from": moment(account.first_time) if account.first_time is not None else None,
        "until": moment(account.last_time) if account.last_time is not None else None,
        "sample": sample,
    }


def report(run: Run, source: str, sample: float) -> dict[str, Any]:
    """All of it as plain values, for JSON and for what is shown."""
    return {
        "history": {**history_words(source, run.account, sample), "outcomes": dict(run.outcome.outcomes)},
        "models": [_of_model(run, one) for one in run.models],
    }


def _of_model(run: Run, model: Model) -> dict[str, Any]:
    figures = [one for one in run.outcome.figures if one.model == model.name]
    newest = figures[-1] if figures else None
    happened = [one for one in run.outcome.happened if one.model == model.name]
    return {
        "model": model.name,
        "name": model.title,
        "task": model.task,
        "digest": model.digest,
        "examples": run.examples.get(model.name, 0),
        "champion": newest.champion if newest else None,
        "candidates": newest.candidates if newest else {},
        "baseline": baseline(model.task, newest.candidates[newest.champion]) if newest else {},
        "over_time": [
            {
                "at": moment(one.at),
                "candidates": {
                    name: {key: found[key] for key in (*FIGURES[model.task], "examples") if key in found}
                    for name, found in one.candidates.items()
                },
            }
            for one in thinned(figures)
        ],
        "contests": newest.contests if newest else [],
        "scores": newest.scores if newest else {},
        "calibration": {
            name: [{"said": said, "came": came, "weight": weight} for said, came, weight in table]
            for (of, name), table in run.calibration.items()
            if of == model.name
        }
        if model.task == "classification"
        else {},
        "events": [
            {"at": moment(one.at), "kind": one.kind, "candidate": one.candidate, "detail": one.detail}
            for one in happened
        ],
        "versions": sum(one.model == model.name for one in run.outcome.versions),
    }


def thinned(reports: Sequence[Any]) -> list[Any]:
    """Some of the reports, as far apart as each other, the newest among them.

    >>> thinned(range(121))[:3], thinned(range(121))[-1], len(thinned(range(121)))
    ([0, 3, 6], 120, 41)
    """
    every = max(1, -(-len(reports) // MOST_POINTS))
    return list(reports[::-every][::-1])


def baseline(task: str, figures: dict[str, Any]) -> dict[str, float]:
    """The figures of who knows only how often it comes, or how much on average, in the window of these figures.

    >>> baseline("classification", {"base_rate": 0.5})
    {'roc_auc': 0.5, 'log_loss': 0.693147, 'brier': 0.25, 'calibration_error': 0.0, 'lift': 1.0}
    """
    if task == "regression" and "naive_mae" in figures:
        return {"mae": figures["naive_mae"]}
    if task != "classification" or "base_rate" not in figures:
        return {}
    rate = figures["base_rate"]
    known = {"log_loss": round(base_loss(rate) or 0.0, 6), "brier": round(rate * (1 - rate), 6)}
    return {"roc_auc": 0.5, **known, "calibration_error": 0.0, "lift": 1.0}


__all__ = [
    "FIGURES",
    "Overrun",
    "Run",
    "baseline",
    "gather_history",
    "history_words",
    "located",
    "report",
    "run_history",
    "thinned",
]
