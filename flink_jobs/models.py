"""The models of `online_models` as the workers take them. What needs River is imported once there are models: it takes its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flink_jobs.modelling import Learning, Scoring
from online_models.advancing import advance
from online_models.definition import Candidate, Model
from online_models.learner import Learner
from online_models.predictor import Predictor
from online_models.serving import Serving
from online_models.version import ModelVersion, Published
from rules.watch import Watch


def _parse(texts: Mapping[str, str]) -> Sequence[Model]:
    from online_models.parse import parse_models
    from online_models.storable import allowed_classes

    # It imports much of River. Done only when the first version is read, it would keep that version alive until the next collection.
    allowed_classes()
    return parse_models(texts)


def _features(model: Model) -> Watch:
    from online_models.features import FeatureSet

    return FeatureSet(model.features, model.zone)


def _serving(models: Sequence[Model], features: Sequence[Any], before: Serving | None) -> Serving:
    return Serving(models, features, before=before)


def _predictor(model: Model, features: Any, version: ModelVersion) -> Predictor:
    from online_models import making

    return making.ready(making.decode(model, _candidate(model, version.candidate), version.body))


def _candidate(model: Model, name: str) -> Candidate:
    return next(one for one in model.candidates if one.name == name)


def _learner(models: Sequence[Model]) -> Learner:
    from online_models.standard import standard_kit

    return Learner(models, standard_kit())


def _restore(data: bytes, models: Sequence[Model]) -> tuple[Learner, list[Published]]:
    from online_models.standard import standard_kit

    return Learner.restore(data, models, standard_kit())


def _prepare() -> None:
    _learner(_parse({}))


SCORING = Scoring(_parse, _features, _serving, _predictor, advance)
LEARNING = Learning(_parse, _learner, _restore, _prepare)
