"""The worker: the operator's child process that decodes, steps and encodes. `python -m flink_jobs.worker`.

It speaks the frames of `docs/architecture.md` over its standard streams and remembers nothing of customers between two of them.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from flink_jobs import model_records, outputs
from flink_jobs.adoption import Adoption
from flink_jobs.batch import Batch, Group
from flink_jobs.following import Following
from flink_jobs.frames import BATCH, HELLO, MODEL, PROTOCOL_VERSION, RULES, ProtocolError, serve_standard_streams
from flink_jobs.modelling import Scoring
from flink_jobs.models import SCORING
from flink_jobs.outputs import Output
from rules.compiled import moment
from rules.plan import Limits
from rules.rule_set import RuleErrors, RuleSet


class WorkerSettings(msgspec.Struct, forbid_unknown_fields=True):
    """What the operator hands over in the first frame, as JSON."""

    source: str
    events_topic: str
    skew: int
    expiry: int
    remembered_messages: int
    models: bool = False
    """The job has a learner, so that a rule set may have models."""


class _Versioned(msgspec.Struct):
    version: int


_version_decoder = msgspec.json.Decoder(_Versioned)
_batch_decoder = msgspec.msgpack.Decoder(tuple[int, int, list[Group]])
_other_decoder = msgspec.msgpack.Decoder(list[Any])
_encode = msgspec.msgpack.Encoder().encode


class Worker:
    """Answers frames. `now` gives the wall clock in epoch milliseconds and is used for emission times alone."""

    def __init__(self, now: Callable[[], int], scoring: Scoring | None = None) -> None:
        self.now = now
        self.scoring = scoring
        self.adoption = Adoption(scoring) if scoring is not None else None
        self.settings: WorkerSettings | None = None
        self.limits = Limits()
        self.rules: Following | None = None
        self.place = (0, 1)

    def answer(self, frame: bytes) -> bytes:
        """The answer to one frame; ProtocolError if the frame cannot be meant for this worker."""
        if len(frame) > 1 and frame[1] == BATCH:
            _, watermark, groups = _batch_decoder.decode(frame)
            return _encode((BATCH, *self.batch(watermark, groups)))
        kind, *rest = _other_decoder.decode(frame)
        if kind == HELLO:
            return _encode((HELLO, self.hello(*rest)))
        if kind == RULES:
            return _encode((RULES, *self.follow(*rest)))
        if kind == MODEL:
            return _encode((MODEL, *self.adopt(*rest)))
        raise ProtocolError(f"unknown frame {kind}")

    def hello(self, version: int, subtask: int, parallelism: int, settings: bytes) -> str:
        if version != PROTOCOL_VERSION:
            raise ProtocolError(f"the operator speaks protocol {version}, the worker {PROTOCOL_VERSION}")
        self.place = (subtask, parallelism)
        self.settings = msgspec.json.decode(settings, type=WorkerSettings)
        self.limits = Limits(
            remembered_messages=self.settings.remembered_messages,
            skew=self.settings.skew,
            expiry=self.settings.expiry,
        )
        return f"worker {subtask + 1} of {parallelism}, Python {sys.version.split()[0]}"

    def follow(self, payload: bytes) -> tuple[bool, str, list[Output], dict[str, int]]:
        """Run under the rule set in `payload` from now on, or keep the present one and say why."""
        running = self.rules.version if self.rules else 0
        version = _version(payload)
        try:
            rule_set = RuleSet.from_payload(payload)
            has_learner = self.settings is not None and self.settings.models
            self.rules = Following(rule_set, self.limits, self.rules, self.scoring if has_learner else None)
        except (RuleErrors, ValueError) as error:
            detail = f"rule set refused: {error}"[:4000]
            status = outputs.rule_status(version, False, detail, running, moment(self.now()), "refused", self.place)
            return False, detail, [status], {"rules_refused": 1}
        # What was decoded under the older rules stays valid: profiles do not depend on the plan.
        detail = f"{len(rule_set.segments)} segments"
        if self.rules.is_warming:
            detail = f"{detail}, {len(rule_set.warming)} warming"
        if rule_set.models:
            detail = f"{detail}, {len(rule_set.models)} models"
        told = [self.status(self.rules, "warming" if self.rules.is_warming else "live", detail)]
        if has_learner:
            told.append(model_records.definitions(rule_set))
        gc.collect()
        gc.freeze()  # the plan lives for long: the collector need not walk it again and again
        return True, detail, told, {"rules_accepted": 1}

    def adopt(self, record: bytes, now: bool) -> tuple[int, list[Output], dict[str, int]]:
        """Score by the version in a record from now on, or, unless it must be `now`, as soon as it has been read. The first of the answer
        is the version of that candidate that is held now, 0 for none."""
        if self.adoption is None or self.rules is None or self.rules.serving is None:
            return 0, [], {}
        held = self.adoption.take(record, self.rules.serving, now)
        return held, *self.adopted()

    def adopted(self) -> tuple[list[Output], dict[str, int]]:
        """What there is to say of versions. All subtasks adopt the same, so the first one alone counts and says it."""
        assert self.adoption is not None
        said, counts = self.adoption.outputs, self.adoption.counts
        self.adoption.outputs, self.adoption.counts = [], Counter()
        return ([], {}) if self.place[0] else (said, dict(counts))

    def status(self, rules: Following, stage: str, detail: str) -> Output:
        """Word that this subtask has come to a stage of the rule set that it follows."""
        return outputs.rule_status(rules.version, True, detail, rules.version, moment(self.now()), stage, self.place)

    def batch(
        self, watermark: int, groups: list[Group]
    ) -> tuple[list[tuple[bytes | None, int]], list[Output], dict[str, int]]:
        """Apply each customer's arrivals in order: new states and timers, outputs, counts."""
        if self.rules is None or self.settings is None:
            raise ProtocolError("a batch came before the rules")
        adoption, serving = self.adoption, self.rules.serving
        if adoption is not None and adoption.waits and serving is not None:
            adoption.adopt_read(serving)
        work = Batch(self, self.rules, self.settings, watermark)
        results = [work.nobody(group) if not group[0] else work.customer(group) for group in groups]
        counts = Counter(work.names)
        if serving is not None:
            counts += self.rules.counted()
            work.outputs += map(model_records.reported, serving.reports())
            said, adopted = self.adopted()
            work.outputs += said
            counts.update(adopted)
        return results, work.outputs, counts


def _version(payload: bytes) -> int | None:
    """The version that a rule set calls itself, also of one that will be refused; None where it says none."""
    try:
        return _version_decoder.decode(payload).version
    except (ValueError, RecursionError):
        return None


def main() -> None:
    """Serve the operator that has started this process."""
    serve_standard_streams(Worker(lambda: time.time_ns() // 1_000_000, SCORING).answer)


if __name__ == "__main__":
    main()
