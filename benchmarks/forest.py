"""A forest of ten megabytes on its way from the learner to the customers: how long each end is busy with it, and who waits meanwhile."""

from __future__ import annotations

import gc
import random
import time
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import msgspec

from flink_jobs.adoption import Adoption
from flink_jobs.frames import MODEL
from flink_jobs.model_records import encode_version
from flink_jobs.models import SCORING
from online_models.definition import Candidate, Model, Step
from online_models.features import Column, FeatureSet
from online_models.pipelines import make_predictor
from online_models.river_predictor import RiverPredictor
from online_models.serving import Serving
from online_models.storable import allowed_classes
from online_models.storage import decode_predictor, encode_predictor
from online_models.version import Lineage, ModelVersion

RECORD_BYTES: Final = 10_000_000
QUICK_BYTES: Final = 300_000
ROUNDS: Final = 3

GROWN: Final = {
    "n_models": 50,
    "max_features": "all",
    "grace_period": 30,
    "max_depth": 16,
    "delta": 0.5,
    "seed": 1,
}
"""As many trees as there may be, eager to split, each leaf with bell curves of all features: large after few examples."""

COLUMNS: Final = [Column(f"f{number}", False) for number in range(30)]
CANDIDATE: Final = Candidate("forest", (Step("ARFClassifier", MappingProxyType(GROWN)),))
FOREST: Final = Model("forest", "classification", (), (CANDIDATE,))


def measure(quick: bool) -> dict[str, float]:
    """Grows the forest until its record has ten megabytes (less with `quick`), publishes it as a learner does, and reads it as a worker of
    the segments does. `read_ms` is the median, `publish_ms` and `longest_pause_ms` are the worst that was seen.

    No collector runs, as in the workers.
    """
    gc.collect()
    gc.disable()
    try:
        return _measure(QUICK_BYTES if quick else RECORD_BYTES)
    finally:
        gc.enable()


def _measure(enough: int) -> dict[str, float]:
    predictor = make_predictor(FOREST, CANDIDATE, COLUMNS)
    dice = random.Random(1)
    body, published, learnt, rate = b"", [], 0, 0.0
    while len(body) < enough:
        # A little less than the rest, going by the size so far.
        count = max(25, int(learnt * (enough / len(body) - 1) * 0.9)) if body else 25
        begun = time.perf_counter()
        _learn(predictor, dice, count)
        rate = count / (time.perf_counter() - begun)
        learnt += count
        body = encode_predictor(predictor)
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        encode_version(_version(1, encode_predictor(predictor)))
        published.append(time.perf_counter() - begun)
    del predictor
    reads, pauses = zip(*_broadcast(body), strict=True)
    return {
        "megabytes": round(len(body) / 1e6, 2),
        "trees": GROWN["n_models"],
        "examples": learnt,
        "examples_per_second": round(rate),
        "publish_ms": round(max(published) * 1e3),
        "read_ms": round(sorted(reads)[len(reads) // 2] * 1e3),
        "longest_pause_ms": round(max(pauses) * 1e3),
    }


def _learn(predictor: RiverPredictor, dice: random.Random, count: int) -> None:
    """Examples whose label follows from four of the features, but for one in ten."""
    for _ in range(count):
        row = [dice.gauss(0.0, 1.0) for _ in COLUMNS]
        label = (sum(row[:3]) * row[4] > 0) is not (dice.random() < 0.1)
        predictor.learn(row, float(label), 1.0)


def _version(number: int, body: bytes) -> ModelVersion:
    return ModelVersion(FOREST.name, CANDIDATE.name, number, "champion", FOREST.digest, 0, Lineage(), {}, body)


def _broadcast(body: bytes) -> list[tuple[float, float]]:
    """Seconds from a version's frame to its adoption, and the longest time between two turns of the thread that goes on with batches: it
    takes the frame, adopts what has been read, and lets go of the version before."""

    def predictor(model: Model, features: Any, version: ModelVersion) -> RiverPredictor:
        return decode_predictor(model, CANDIDATE, COLUMNS, version.body)

    allowed_classes()  # as a worker does when there are models
    adoption = Adoption(replace(SCORING, predictor=predictor))
    serving = Serving([FOREST], [FeatureSet(())])
    decoder = msgspec.msgpack.Decoder(list[Any])
    found = []
    for number in range(ROUNDS + 1):
        frame = msgspec.msgpack.encode((MODEL, encode_version(_version(number + 1, body)), False))
        longest, begun = 0.0, time.perf_counter()
        last = begun
        _, told, now = decoder.decode(frame)
        adoption.take(told, serving, now)
        while adoption.waits:
            sum(range(1_000))
            adoption.adopt_read(serving)
            turn = time.perf_counter()
            longest, last = max(longest, turn - last), turn
        found.append((last - begun, longest))
        assert adoption.counts["models_accepted"] == number + 1, adoption.outputs
    return found[1:]  # there was none before the first
