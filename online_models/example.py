"""Examples: what was known of a customer at a moment, what was foretold, and what came of it."""

from __future__ import annotations

from typing import Any

import msgspec

Row = list[Any]
"""The values of a model's features, in their order: float, str, bool or None where nothing is known."""


class Example(msgspec.Struct, array_like=True, gc=False):
    """One labelled example. Times are epoch milliseconds of event time.

    `at`: the moment that `row` describes; `labelled_at`: when the outcome was known, after `at`. `label`: 0 or 1, a number, or None
    where a model
    learns without (clusters, anomalies: then `labelled_at` is `at`). `weight`: for how many such examples this one stands. `predictions`:
    what each candidate had said at `at`, by its name: `[version, output]`, and behind it the threshold of the customer's group where that
    had one of its own then. `segments`: those that the customer was in at `at`.
    `group`: the
    value of the protected trait then, "" where it is unknown or none is declared. `digest`: of the model's definition. `score_age`: how
    old the score was, in milliseconds, that the customer had so far; None where there was none.
    """

    model: str
    digest: str
    customer: str
    at: int
    labelled_at: int
    row: Row
    label: float | None
    weight: float = 1.0
    predictions: dict[str, list[Any]] = {}
    segments: list[str] = []
    group: str = ""
    score_age: int | None = None

    def order(self) -> tuple[int, str, int, str]:
        """Where it stands among all examples: they are learnt in this order, whatever the order in which they came."""
        return self.labelled_at, self.customer, self.at, self.model


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Example)


def encode_example(example: Example) -> bytes:
    """The example as MessagePack."""
    return _encoder.encode(example)


def decode_example(data: bytes) -> Example:
    """The example in `data`; `msgspec.DecodeError` if it holds none."""
    return _decoder.decode(data)
