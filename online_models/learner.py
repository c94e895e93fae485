"""The learner: labelled examples in, versions of models out, each example used once and in one order whatever order they come in.

Examples wait until the watermark says that all labelled before are there. Then they are taken in `Example.order()`. What is labelled no
later than a watermark that has passed comes too late; so does what was taken already and comes once more, which is how each is used
once without anybody having to remember them all.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from online_models import relearning
from online_models.course import Course, CourseState, retired
from online_models.definition import Model
from online_models.example import Example
from online_models.kit import Kit
from online_models.version import ModelEvent, ModelVersion, Published

CODEC_VERSION: Final = 1
CAPACITY: Final = 200_000
"""Examples that may wait at once."""

Answer = Literal["taken", "full", "late", "duplicate", "unknown", "outdated", "invalid"]
"""What becomes of an example that is offered.

`full` is the only one after which it is to be offered again, once the watermark has moved on. `unknown`: there is no such model;
`outdated`: it is of another definition of it; `invalid`: a number in it is not finite, or its outcome lies before it.
"""


class UnknownState(Exception):
    """Kept state that this learner cannot read."""


class _State(msgspec.Struct, array_like=True):
    watermark: int
    passing: bool
    counts: dict[str, int]
    waiting: list[Example]
    courses: list[CourseState]


_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")
_decoder: Final = msgspec.msgpack.Decoder(_State)

_Place = tuple[int, str, int, str]


class Learner:
    """Learns all models. `counts` says what became of examples, by `Answer`, and how many were `learnt`.

    `watermark` is the moment up to which all examples have come (epoch ms of event time).
    """

    def __init__(self, models: Iterable[Model], kit: Kit, capacity: int = CAPACITY) -> None:
        self.watermark = -1
        self.counts: Counter[str] = Counter()
        self._kit = kit
        self._capacity = capacity
        self._out: list[Published] = []
        self._courses = {one.name: Course(one, kit, self._out) for one in models}
        self._heap: list[tuple[_Place, Example]] = []
        self._waiting: set[tuple[str, str, int]] = set()
        self._passing = False

    def offer(self, example: Example) -> Answer:
        """Take an example to learn from later."""
        answer = self._look(example)
        if answer == "taken":
            place = example.order()
            self._waiting.add(_moment(example))
            heapq.heappush(self._heap, (place, example))
        if answer != "full":
            self.counts[answer] += 1
        return answer

    def _look(self, example: Example) -> Answer:
        course = self._courses.get(example.model)
        if course is None:
            return "unknown"
        if course.model.digest != example.digest:
            return "outdated"
        if example.labelled_at <= self.watermark:
            return "late"
        if not _sound(example):
            return "invalid"
        if _moment(example) in self._waiting:
            return "duplicate"
        return "full" if len(self._heap) >= self._capacity else "taken"

    def advance(self, watermark: int, most: int | None = None) -> list[Published]:
        """All examples labelled up to `watermark` have been offered: take them; what there is to say of it.

        `most` bounds how many are taken by this call; call again while `behind`.
        """
        if watermark > self.watermark:
            self.watermark = watermark
            self._passing = True
        heap, courses = self._heap, self._courses
        until, left = self.watermark, len(self._heap) if most is None else most
        while heap and left > 0 and heap[0][0][0] <= until:
            example = heapq.heappop(heap)[1]
            self._waiting.discard(_moment(example))
            left -= 1
            self.counts["learnt"] += 1
            courses[example.model].take(example)
        if self._passing and not self._due():
            self._passing = False
            for course in courses.values():
                course.pass_time(until)
        return self._said()

    def conclude(self) -> list[Published]:
        """There will be no more examples: publish what has been learnt since the last publication."""
        for course in self._courses.values():
            course.conclude()
        return self._said()

    @property
    def behind(self) -> bool:
        """Whether examples are left that the watermark has passed."""
        return self._passing

    @property
    def waiting(self) -> int:
        """How many examples wait."""
        return len(self._heap)

    def _due(self) -> bool:
        return bool(self._heap) and self._heap[0][0][0] <= self.watermark

    def _said(self) -> list[Published]:
        # The courses hold this very list, so that it is emptied and not replaced.
        said = list(self._out)
        self._out.clear()
        return said

    def adopt(self, version: ModelVersion) -> list[Published]:
        """Go on from a version that was made elsewhere; see `Course.adopt`. Of a model that is not known it is left alone."""
        if course := self._courses.get(version.model):
            course.adopt(version)
        return self._said()

    def champion(self, model: str) -> str:
        """The name of the champion of a model; `KeyError` if there is no such model."""
        return self._courses[model].champion

    def follow(self, models: Sequence[Model]) -> list[Published]:
        """Go on with other definitions: what was learnt for one that has changed, or is gone, is given up."""
        before = self._courses
        same = {one.name: before[one.name] for one in models if one.name in before and before[one.name].model == one}
        self._begin(models, _states([course for name, course in before.items() if name not in same]), same)
        kept = [(place, one) for place, one in self._heap if self._belongs(one)]
        self.counts["outdated"] += len(self._heap) - len(kept)
        heapq.heapify(kept)
        self._heap, self._waiting = kept, {_moment(one) for _, one in kept}
        return self._said()

    def _belongs(self, example: Example) -> bool:
        course = self._courses.get(example.model)
        return course is not None and course.model.digest == example.digest

    def _begin(self, models: Iterable[Model], states: Sequence[CourseState], same: Mapping[str, Course]) -> None:
        """Have courses of these models: those that are the `same` as they are, others from what was kept."""
        before = {one.name: one for one in states}
        self._courses = {}
        for model in models:
            if model.name in same:
                self._courses[model.name] = same[model.name]
                continue
            state = before.pop(model.name, None)
            course = Course(model, self._kit, self._out, state.counter if state else 0)
            self._courses[model.name] = course
            if state is None:
                continue
            if state.digest == model.digest:
                course.restore(state)
                continue
            course.succeed(state)
        for state in before.values():
            self._out.append(ModelEvent(state.name, "removed", state.latest))
            self._out += retired(state)

    def snapshot(self) -> bytes:
        """All that is kept: a byte for the version of the format, then MessagePack."""
        waiting = [one for _, one in sorted(self._heap, key=_by_place)]
        courses = _states(list(self._courses.values()))
        state = _State(self.watermark, self._passing, dict(self.counts), waiting, courses)
        return bytes([CODEC_VERSION]) + _encoder.encode(state)

    @classmethod
    def restore(
        cls, data: bytes, models: Sequence[Model], kit: Kit, capacity: int = CAPACITY
    ) -> tuple[Learner, list[Published]]:
        """The learner that goes on from a snapshot with these definitions, and what there is to say of those that have changed.

        Raises `UnknownState` where the bytes are none of a learner's.
        """
        if data[:1] != bytes([CODEC_VERSION]):
            raise UnknownState(
                f"the learner's state begins with {data[:1]!r}, and {bytes([CODEC_VERSION])!r} is what can be read"
            )
        try:
            state = _decoder.decode(memoryview(data)[1:])
        except msgspec.DecodeError as error:
            raise UnknownState(f"the learner's state cannot be read: {error}") from error
        learner = cls([], kit, capacity)
        learner.watermark, learner._passing = state.watermark, state.passing
        learner.counts = Counter(state.counts)
        learner._begin(models, state.courses, {})
        heap = [(one.order(), one) for one in state.waiting if learner._belongs(one)]
        if dropped := len(state.waiting) - len(heap):
            learner.counts["outdated"] += dropped
        learner._heap, learner._waiting = heap, {_moment(one) for _, one in heap}
        return learner, learner._said()


def _states(courses: Sequence[Course]) -> list[CourseState]:
    """What is kept of courses. Together no more is to be learnt again than one alone may have: a restart has to be over in time."""
    known = [one.relearning for course in courses for one in course.contenders.values()]
    left = relearning.MOST
    for one in sorted(known, key=lambda one: len(one.learnt)):
        if len(one.learnt) > left:
            one.begin(None)
        left -= len(one.learnt)
    return [course.state() for course in courses]


def _by_place(entry: tuple[_Place, Example]) -> _Place:
    return entry[0]


def _moment(example: Example) -> tuple[str, str, int]:
    return example.model, example.customer, example.at


def _sound(example: Example) -> bool:
    label: Any = example.label
    return (
        example.labelled_at >= example.at
        and math.isfinite(example.weight)
        and example.weight > 0
        and (label is None or math.isfinite(label))
        and not any(type(value) is float and not math.isfinite(value) for value in example.row)
    )
