"""Candidates by what their model file says: checked, made, written, read, and made ready to score, whatever they are made of."""

from __future__ import annotations

from collections.abc import Sequence

from online_models import linear, pipelines, storage
from online_models.definition import Candidate, Model
from online_models.features import Column, FeatureSet
from online_models.named import PersonaPredictor, ValuePredictor, check_named, is_named
from online_models.personas.frozen import FrozenPersonas
from online_models.pipelines import BadCandidate, Problem
from online_models.predictor import Predictor
from online_models.river_predictor import RiverPredictor

__all__ = ["BadCandidate", "Problem", "check", "columns_of", "decode", "encode", "make", "ready"]


def columns_of(model: Model) -> tuple[Column, ...]:
    """The columns of the model's rows."""
    return FeatureSet(model.features, model.zone).columns


def check(model: Model, candidate: Candidate, columns: Sequence[Column]) -> list[Problem]:
    """Everything that is wrong with a candidate; nothing if it can be made."""
    if is_named(model, candidate) and candidate.pipeline:
        return check_named(model, candidate, columns)
    return pipelines.check_candidate(model, candidate, columns)


def make(model: Model, candidate: Candidate) -> Predictor:
    """The candidate, made anew: it has learnt nothing. `BadCandidate` where `check` finds anything."""
    columns = columns_of(model)
    if not is_named(model, candidate):
        return pipelines.make_predictor(model, candidate, columns)
    if problems := check_named(model, candidate, columns):
        raise BadCandidate(candidate.name, problems)
    if model.task == "clustering":
        return PersonaPredictor(model, candidate, columns)
    return ValuePredictor(model, candidate, columns)


def encode(predictor: Predictor) -> bytes:
    """The predictor as bytes; `storage.UnstorableModel` where it has grown too large."""
    if isinstance(predictor, RiverPredictor):
        return storage.encode_predictor(predictor)
    assert isinstance(predictor, PersonaPredictor | ValuePredictor)
    return predictor.encode()


def decode(model: Model, candidate: Candidate, data: bytes) -> Predictor:
    """The predictor that `encode` wrote; `storage.UnreadableModel` where it did not write one of this candidate."""
    if not is_named(model, candidate):
        return storage.decode_predictor(model, candidate, columns_of(model), data)
    made = make(model, candidate)
    assert isinstance(made, PersonaPredictor | ValuePredictor)
    made.restore(data)
    return made


def ready(predictor: Predictor) -> Predictor:
    """One that says the same, as fast as it can; it is not to learn any more."""
    if isinstance(predictor, RiverPredictor):
        return linear.freeze(predictor)
    if isinstance(predictor, PersonaPredictor) and predictor.personas.published:
        return predictor if predictor.personas.space.directions else FrozenPersonas(predictor)
    return predictor
