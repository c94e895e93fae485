"""The learner's worker: the child process that learns from all customers' examples. `python -m flink_jobs.learning`.

A thin shell: it speaks the frames of `docs/architecture.md`, and `online_models.learner` does the learning. All it knows goes to the
operator with each checkpoint, and comes back after a failure.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from flink_jobs.frames import (
    EXAMPLES,
    HELLO,
    MODEL,
    PROTOCOL_VERSION,
    RESTORE,
    RULES,
    SNAPSHOT,
    WATERMARK,
    ProtocolError,
    serve_standard_streams,
)
from flink_jobs.model_records import (
    Definitions,
    ModelRecordError,
    published,
    read_definitions,
    read_record,
    word,
)
from flink_jobs.modelling import Learning
from flink_jobs.models import LEARNING
from flink_jobs.outputs import Output
from online_models.example import decode_example
from online_models.learner import Learner
from online_models.version import ModelVersion, Published
from rules.rule_set import RuleErrors

AT_ONCE: Final = 500
"""The most examples that are learnt for one frame."""

SECONDS: Final = 1.0
"""After so long the rest is left for another frame: of a large forest each example takes tens of milliseconds."""

STEP: Final = 10
"""Examples between two looks at the clock."""

PIECE: Final = 8 * 1024 * 1024
"""Bytes of the state that go into one frame."""

CODEC_VERSION: Final = 1

NICENESS: Final = 5
"""By so much it gives way to the customers' workers where both want a processor: to those of niceness 0 it leaves three quarters."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(list[Any])
_state_decoder: Final = msgspec.msgpack.Decoder(tuple[Definitions, bytes])

Said = tuple[list[Output], dict[str, int]]


class LearnerSettings(msgspec.Struct, forbid_unknown_fields=True):
    """What the operator hands over in the first frame, as JSON. `models`: the rule set that the job was built with has some."""

    models: bool = False


class LearningWorker:
    """Answers frames. There is no learner before the first definitions come.

    `clock` is in seconds. How much is learnt for one frame depends on it, and what is learnt does not.
    """

    def __init__(self, learning: Learning, clock: Callable[[], float] = time.monotonic) -> None:
        self.learning = learning
        self.clock = clock
        self.learner: Learner | None = None
        self.definitions = Definitions(0, {})
        self.names: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        self.state = b""
        self.pieces: list[bytes] = []

    def answer(self, frame: bytes) -> bytes:
        """The answer to one frame; ProtocolError if the frame cannot be meant for this worker."""
        kind, *rest = _decoder.decode(frame)
        if kind == HELLO:
            return _encode((HELLO, self.hello(*rest)))
        if kind == RULES:
            return _encode((RULES, *self.follow(*rest)))
        if kind == EXAMPLES:
            return _encode((EXAMPLES, *self.examples(*rest)))
        if kind == WATERMARK:
            return _encode((WATERMARK, *self.advance(*rest)))
        if kind == MODEL:
            return _encode((MODEL, 0, *self.adopt(*rest)))
        if kind == SNAPSHOT:
            return _encode((SNAPSHOT, *self.snapshot(*rest)))
        if kind == RESTORE:
            return _encode((RESTORE, *self.restore(*rest)))
        raise ProtocolError(f"unknown frame {kind}")

    def hello(self, version: int, subtask: int, parallelism: int, settings: bytes) -> str:
        """Who it is. If there are models it gets ready for them, while the customers' workers get ready too: once they have begun, what
        they send would wait for it, and soon they themselves."""
        if version != PROTOCOL_VERSION:
            raise ProtocolError(f"the operator speaks protocol {version}, the worker {PROTOCOL_VERSION}")
        if msgspec.json.decode(settings, type=LearnerSettings).models:
            self.learning.prepare()
        return f"learner, Python {sys.version.split()[0]}"

    def follow(self, payload: bytes) -> tuple[bool, str, list[Output], dict[str, int]]:
        """Learn the models of these definitions from now on. Each subtask says them, so that most have been said before."""
        found = read_definitions(payload)
        if found.code <= self.definitions.code:
            return True, "known", [], {}
        told: list[Published] = []
        if self.learner is None and not found.models:
            self.definitions = found
            return True, "no models", [], {}  # and no need of River, which takes time and memory
        if self.learner is None or found.models != self.definitions.models:
            try:
                models = self.learning.parse(found.models)
            except RuleErrors as error:
                return False, str(error)[:4000], [], {}
            if self.learner is None:
                self.learner = self.learning.learner(models)
            else:
                told = self.learner.follow(models)
        self.definitions = found
        return True, f"{len(found.models)} models", *self.said(told)

    def examples(self, examples: list[bytes]) -> Said:
        """Take examples to learn from later."""
        if self.learner is None:
            raise ProtocolError("examples came before the definitions of models")
        for data in examples:
            if self.learner.offer(decode_example(data)) == "full":
                # It waits for the watermark, which comes behind more examples: to hold them back would be to wait for ever.
                self.names["examples_dropped"] += 1
        return self.said([])

    def advance(self, watermark: int) -> tuple[bool, list[Output], dict[str, int]]:
        """Learn some of what the watermark lets; whether there is more."""
        if self.learner is None:
            return False, [], {}
        until = self.clock() + SECONDS
        told: list[Published] = []
        for done in range(0, AT_ONCE, STEP):
            told += self.learner.advance(watermark, min(STEP, AT_ONCE - done))
            if not self.learner.behind or self.clock() >= until:
                break
        return self.learner.behind, *self.said(told)

    def adopt(self, record: bytes, now: bool) -> Said:
        """Go on from a version that was made elsewhere, if it is one; what this learner has made itself it knows."""
        if self.learner is None:
            return [], {}
        try:
            version = read_record(record).decode()
        except ModelRecordError:
            return [], {}  # the segments' workers have read the same record, and said so
        return self.said(self.learner.adopt(version))

    def snapshot(self, piece: int) -> tuple[int, bytes]:
        """One piece of the state, which is made when the first is asked for."""
        if piece == 0:
            known = self.learner.snapshot() if self.learner is not None else b""
            self.state = bytes([CODEC_VERSION]) + _encode((self.definitions, known))
        pieces = -(-len(self.state) // PIECE)
        found = self.state[piece * PIECE : (piece + 1) * PIECE]
        if piece == pieces - 1:
            self.state = b""
        return pieces, found

    def restore(self, piece: int, pieces: int, data: bytes) -> Said:
        """Go on from a state, once all its pieces have come."""
        self.pieces.append(data)
        if piece < pieces - 1:
            return [], {}
        state, self.pieces = b"".join(self.pieces), []
        if state[:1] != bytes([CODEC_VERSION]):
            raise ProtocolError(f"the learner's state has codec version {state[0]}, this build reads {CODEC_VERSION}")
        self.definitions, known = _state_decoder.decode(memoryview(state)[1:])
        if not known:
            return [], {}
        self.learner, told = self.learning.restore(known, self.learning.parse(self.definitions.models))
        self.counted = Counter(self.learner.counts)
        return self.said(told)

    def said(self, told: list[Published]) -> Said:
        """What there is to say, as outputs and counters."""
        outputs: list[Output] = []
        for one in told:
            try:
                outputs.append(published(one))
            except ModelRecordError as error:
                self.names["versions_too_long"] += 1
                outputs.append(word(one.model, "refused", detail={"reason": str(error)}))
            else:
                self.names["versions_published"] += isinstance(one, ModelVersion)
        counts, self.names = self.names, Counter()
        if self.learner is not None:
            now = Counter(self.learner.counts)
            for name, count in (now - self.counted).items():
                counts[f"examples_{name}"] += count
            self.counted = now
        return outputs, {name: count for name, count in counts.items() if count}


def give_way() -> None:
    """Leave the processors to the customers' workers where both want them. To be called before anything has imported NumPy."""
    if hasattr(os, "nice"):  # not on Windows
        os.nice(NICENESS)
    # Its matrices are small: further threads would only wait for each other, and keep a processor busy with it.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


def main() -> None:
    """Serve the operator that has started this process."""
    give_way()
    serve_standard_streams(LearningWorker(LEARNING).answer)


if __name__ == "__main__":
    main()
