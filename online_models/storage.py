"""Predictors as bytes, and back: what `ModelVersion.body` holds. Never a pickle.

    "SGM"  version byte  length of the head (2 bytes)  head (MessagePack)  checksum of the rest (8 bytes)  body (zstd over MessagePack)

The head says which River wrote it and what it is of: a body is only read by the same River, into the same pipeline over the same columns.
The body holds the states of the encoder and of the calibrator as plain values and River's estimators as a graph; see `online_models.graph`
for why reading it runs no code. The checksum finds damage, not malice. The same learning always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import river
import xxhash
import zstandard

from online_models.definition import Candidate, Model
from online_models.features.kind import Column
from online_models.graph import BadGraph, pack, unpack
from online_models.pipelines import make_predictor
from online_models.river_predictor import RiverPredictor
from online_models.storable import NotStorable

MAGIC: Final = b"SGM"
FORMAT: Final = 1
MOST_BODY_BYTES: Final = 64 << 20
MOST_BYTES: Final = 32 << 20
_LEVEL: Final = 3


class UnreadableModel(Exception):
    """Bytes from which no predictor can be made; the message says why, and what to do where something can be done."""


class UnstorableModel(Exception):
    """A predictor that has grown too large, or holds what cannot be written."""


class _Head(msgspec.Struct, array_like=True):
    river: str
    digest: str


def encode_predictor(predictor: RiverPredictor) -> bytes:
    """The predictor as bytes. `UnstorableModel` where it is larger than `MOST_BODY_BYTES`."""
    predictor.settle()
    state = [
        predictor.learnt,
        predictor.owed,
        predictor.known,
        predictor.encoder.state(),
        predictor.calibrator.state() if predictor.calibrator else None,
    ]
    try:
        body = msgspec.msgpack.encode([state, pack([*predictor.transformers, predictor.estimator])])
    except (NotStorable, OverflowError, UnicodeEncodeError) as error:
        raise UnstorableModel(f"the model cannot be stored: {error}") from error
    return seal(predictor.digest, body)


def seal(digest: str, body: bytes) -> bytes:
    """A body with its head: who wrote it, and what it is of. `UnstorableModel` where it is too large."""
    if len(body) > MOST_BODY_BYTES:
        hint = "take fewer or less deep trees"
        raise UnstorableModel(f"the model has grown to {len(body):,} bytes, more than {MOST_BODY_BYTES:,}; {hint}")
    head = msgspec.msgpack.encode(_Head(river.__version__, digest))
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(body)
    return MAGIC + bytes([FORMAT]) + len(head).to_bytes(2, "big") + head + xxhash.xxh64_digest(packed) + packed


def decode_predictor(model: Model, candidate: Candidate, columns: Sequence[Column], data: bytes) -> RiverPredictor:
    """The predictor that `encode_predictor` wrote for this candidate of this model. `UnreadableModel` where it did not."""
    predictor = make_predictor(model, candidate, columns)

    def take_over(body: bytes) -> None:
        state, graph = msgspec.msgpack.decode(body)
        _take_over(predictor, state, unpack(graph))

    unseal(predictor.digest, data, take_over)
    return predictor


def unseal(digest: str, data: bytes, read: Callable[[bytes], None]) -> None:
    """Give the body of what `seal` made to `read`. `UnreadableModel` where it is of something else, or `read` can make nothing of it."""
    packed = _opened(digest, data)
    try:
        size = zstandard.get_frame_parameters(packed).content_size
        if not 0 < size <= MOST_BODY_BYTES:
            raise UnreadableModel("the model is too large, or does not say how large")
        read(zstandard.ZstdDecompressor().decompress(packed, max_output_size=MOST_BODY_BYTES, allow_extra_data=False))
    except UnreadableModel:
        raise
    except BadGraph as error:
        raise UnreadableModel(f"the model is damaged: {error}") from error
    except (zstandard.ZstdError, msgspec.DecodeError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UnreadableModel(f"the model is damaged: {type(error).__name__}") from error
    except (RecursionError, MemoryError, OverflowError) as error:
        raise UnreadableModel(f"the model is none that was written here: {type(error).__name__}") from error


def _opened(digest: str, data: bytes) -> bytes:
    """The compressed body, once the head is found to fit."""
    if len(data) > MOST_BYTES:
        raise UnreadableModel(f"the model has {len(data):,} bytes, more than {MOST_BYTES:,}")
    if data[:3] != MAGIC or len(data) < 14:
        raise UnreadableModel("this is no model")
    if data[3] != FORMAT:
        raise UnreadableModel(
            f"the model is written in format {data[3]}, this Segue reads {FORMAT}; use the Segue that wrote it"
        )
    end = 6 + int.from_bytes(data[4:6], "big")
    try:
        head = msgspec.msgpack.decode(data[6:end], type=_Head)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UnreadableModel("the head of the model is damaged") from error
    if head.river != river.__version__:
        raise UnreadableModel(
            f"the model was learnt with River {head.river[:20]}, here is {river.__version__}; "
            "train it anew over history, or use the River that it was learnt with"
        )
    if head.digest != digest:
        raise UnreadableModel(
            "the model was learnt with another pipeline or other features; train it anew over history"
        )
    checksum, packed = data[end : end + 8], data[end + 8 :]
    if xxhash.xxh64_digest(packed) != checksum:
        raise UnreadableModel("the model is damaged: its checksum is wrong")
    return packed


def _take_over(predictor: RiverPredictor, state: Any, steps: Any) -> None:
    """Put what was stored into a new predictor of the same kind."""
    learnt, owed, known, encoder, calibrator = state
    made = [*predictor.transformers, predictor.estimator]
    if type(steps) is not list or [type(each) for each in steps] != [type(each) for each in made]:
        raise UnreadableModel("the model is of other estimators")
    if any(vars(one).keys() != vars(other).keys() for one, other in zip(steps, made, strict=True)):
        raise UnreadableModel("the estimators have other attributes")
    *predictor.transformers, predictor.estimator = steps
    if type(learnt) is not int or learnt < 0:
        raise UnreadableModel("the number of examples is none")
    predictor.learnt = learnt
    first, second = owed
    predictor.owed = [float(first), float(second)]
    features, labels = known
    predictor.known = [int(features), int(labels)]
    predictor.encoder.restore(encoder)
    if predictor.calibrator is not None:
        predictor.calibrator.restore(calibrator)
