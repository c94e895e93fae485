"""How a large predictor is kept without being encoded each time: an encoding of before, and the examples learnt since.

Learning draws on nothing but the predictor and the example (chance is seeded, and part of the encoding), so who decodes the one and
learns the others again has the predictor to the last bit.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from online_models.predictor import Predictor

LARGE: Final = 256 * 1024
"""Bytes of an encoding from which on learning again is worth its while: to encode less takes a tenth of a second at most."""

MOST: Final = 500
"""Examples learnt since, at most, of all predictors in a snapshot together: a forest of ten megabytes learns them again in some twenty
seconds, and a worker has two minutes to start."""

MOST_BYTES: Final = 1024 * 1024
"""What these examples have together, at most."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Any]).decode


class Relearning:
    """What there is to go on from: `body`, an encoding of the predictor, and the examples that it has `learnt` since, each as MessagePack.

    `body` is None where there is none, or it is small, or too much has been learnt since: then the predictor is to be encoded.
    """

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.learnt: list[bytes] = []
        self._size = 0

    def begin(self, body: bytes | None) -> None:
        """The predictor is as this encoding has it."""
        self.body = body if body is not None and len(body) >= LARGE else None
        self.learnt = []
        self._size = 0

    def take(self, row: list[Any], label: float | None, weight: float) -> None:
        """The predictor has learnt one more example."""
        if self.body is None:
            return
        example = _encode((row, label, weight))
        self._size += len(example)
        if len(self.learnt) >= MOST or self._size > MOST_BYTES:
            self.begin(None)
        else:
            self.learnt.append(example)

    def restore(self, predictor: Predictor, body: bytes | None, learnt: list[bytes]) -> None:
        """Have a predictor that was decoded from `body` learn the rest once more. Raises whatever it raises.

        What that brings about in it was told when it came about first.
        """
        self.begin(body)
        for example in learnt:
            row, label, weight = _decode(example)
            predictor.learn(row, label, weight)
            self.take(row, label, weight)
        predictor.happened()
