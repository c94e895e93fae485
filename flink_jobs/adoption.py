"""Versions of models on their way to the customers: read beside the batches, adopted between two.

To read a large version takes seconds, and the job must not stand still for so long. So it is read in a thread, which takes its turns with
the batches, and customers are scored by the version before until it is there. Small ones are read at once, unless a large one is being
read before them.
"""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from flink_jobs import model_records
from flink_jobs.model_records import Header, ModelRecord, ModelRecordError
from flink_jobs.modelling import Scoring
from flink_jobs.outputs import Output
from online_models.definition import Model
from online_models.predictor import Predictor
from online_models.selection import OwnThresholds
from online_models.serving import Serving
from online_models.version import Role

SMALL: Final = 64 * 1024
"""Bytes of a version that is read at once: some milliseconds."""


class Refused(Exception):
    """A version that cannot be used; the message says nothing of what it holds."""


class Outdated(Exception):
    """A version of another definition of its model, as there may be some behind every change of one."""


class Made(NamedTuple):
    """What a version is used by."""

    predictor: Predictor
    thresholds: OwnThresholds | None


class Adoption:
    """Versions that are being read. `waits` is true while there are some.

    What was adopted or refused is told in `counts` and `outputs`, for whoever empties them. One of another definition is counted alone: the
    learner says so once, and here it would be said again with each start and each change of the rules.
    """

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.counts: Counter[str] = Counter()
        self.outputs: list[Output] = []
        self._reader: ThreadPoolExecutor | None = None
        self._reading: deque[tuple[Header, Model, Future[Made]]] = deque()

    @property
    def waits(self) -> bool:
        """Whether versions are being read."""
        return bool(self._reading)

    def take(self, value: bytes, serving: Serving, now: bool) -> int:
        """Have a record's version adopted; `now`: before this returns. One of a model that is not served is left alone.

        The version of that candidate that is held afterwards; 0 for none.
        """
        try:
            record = model_records.read_record(value)
        except ModelRecordError as error:
            self._refuse(None, str(error))
            return 0
        if record.header.version > self._held(record.header, serving):
            self._read(record, len(value), serving, now)
        return self._held(record.header, serving)

    def _read(self, record: ModelRecord, size: int, serving: Serving, now: bool) -> None:
        served = serving.models.get(record.header.model)
        if served is None:
            return
        if now or (size <= SMALL and not self._reading):
            self.adopt_read(serving, wait=True)
            done: Future[Made] = Future()
            try:
                done.set_result(self._made(record, served.model, served.features))
            except Exception as error:  # noqa: BLE001  (as in the thread: whatever is in the bytes, the version before stays)
                done.set_exception(error)
            self._reading.append((record.header, served.model, done))
            self.adopt_read(serving)
            return
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, "model-reader")
        future = self._reader.submit(self._made, record, served.model, served.features)
        self._reading.append((record.header, served.model, future))

    def adopt_read(self, serving: Serving, *, wait: bool = False) -> None:
        """Adopt what has been read, in the order in which it came; with `wait` all of it."""
        while self._reading and (wait or self._reading[0][2].done()):
            header, model, future = self._reading.popleft()
            try:
                predictor, thresholds = future.result()
            except Outdated:
                self.counts["models_outdated"] += 1
                continue
            except Exception as error:  # noqa: BLE001  (whatever is in the bytes, the version before stays, and it is said)
                self._refuse(
                    header, str(error) if isinstance(error, Refused) else f"{type(error).__name__} in reading it"
                )
                continue
            served = serving.models.get(header.model)
            if served is None or served.model.digest != model.digest:
                continue  # the rules have changed meanwhile; under the new ones it is told again
            role: Role = "champion" if header.role == "champion" else "challenger"
            if serving.adopt(header.model, header.candidate, role, header.version, predictor, thresholds):
                self.counts["models_accepted"] += 1

    def _held(self, header: Header, serving: Serving) -> int:
        served = serving.models.get(header.model)
        known = served.held.versions.get(header.candidate) if served is not None else None
        return known.version if known is not None else 0

    def _made(self, record: ModelRecord, model: Model, features: object) -> Made:
        try:
            version = record.decode()
        except ModelRecordError as error:
            raise Refused(str(error)) from None
        if version.digest != model.digest:
            raise Outdated
        if version.role not in ("champion", "challenger") or version.candidate not in {
            one.name for one in model.candidates
        }:
            raise Refused("there is no such candidate")
        return Made(self.scoring.predictor(model, features, version), version.thresholds)

    def _refuse(self, header: Header | None, reason: str) -> None:
        self.counts["models_refused"] += 1
        if header is not None:
            detail = {"version": header.version, "reason": reason}
            self.outputs.append(model_records.word(header.model, "refused", header.candidate, detail=detail))
