"""One candidate over the examples of a history, without its customers: what it would have said, and what came.

Which moments become examples, their rows and their outcomes do not depend on any candidate. So they are gathered once, together with how
far the learner was when each customer was scored, and a candidate is put through the same learner again and again: it is asked by
the version that was the newest then, and learns when the outcomes were known. What it says is what it would have said in
`online_models.loop`, to the last digit, unless it fails on a row: then it is out of the question anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from online_models.definition import Candidate, Model
from online_models.example import Example, Row
from online_models.held import Held
from online_models.kit import Kit, MeanLosses
from online_models.learner import CAPACITY, Answer, Learner
from online_models.predictor import Output
from online_models.version import ModelEvent, ModelVersion, Published

PROBE: Final = "probe"
END: Final = 2**63 - 1

Heard = Callable[[int], bool]
"""Told how many outcomes have come so far; False ends the rehearsal."""


class Gathering(Learner):
    """Stands in for the learner in a run over a history, learns nothing, and keeps the examples. `probe` is to be served meanwhile."""

    def __init__(self, model: Model, capacity: int = CAPACITY) -> None:
        blank = replace(model, candidates=(Candidate(PROBE, ()),))
        self.probe = _Probe(self)
        super().__init__([blank], Kit(lambda *_: self.probe, lambda _: b"", lambda *_: self.probe), capacity)
        self._taken: list[Example] = []

    def offer(self, example: Example) -> Answer:
        """See `Learner.offer`."""
        answer = super().offer(example)
        if answer == "taken":
            self._taken.append(example)
        return answer

    def advance(self, watermark: int, most: int | None = None) -> list[Published]:
        """See `Learner.advance`; there is never anything to say."""
        super().advance(watermark, most)
        return []

    def conclude(self) -> list[Published]:
        """See `Learner.conclude`; there is nothing to say."""
        return []

    def gathered(self) -> Gathered:
        """All examples whose outcome is known by now."""
        known = (one for one in self._taken if one.labelled_at <= self.watermark)
        return Gathered.of(
            (msgspec.structs.replace(one, predictions={}), int(one.predictions[PROBE][1])) for one in known
        )


class _Probe:
    """Says how far the learner is whenever a customer is scored."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        """The learner's watermark."""
        return float(self._learner.watermark)

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        """It learns nothing."""

    def happened(self) -> list[dict[str, Any]]:
        """Nothing ever does."""
        return []

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        """There are none."""
        return []


@dataclass(frozen=True)
class Gathered:
    """The labelled examples of a history in the order in which they are learnt, and of each how far the learner was at `Example.at`:
    the watermark, in epoch milliseconds."""

    examples: tuple[Example, ...]
    asked: tuple[int, ...]

    @classmethod
    def of(cls, found: Iterable[tuple[Example, int]]) -> Gathered:
        """These examples, put in order."""
        ordered = sorted(found, key=lambda one: one[0].order())
        return cls(tuple(one for one, _ in ordered), tuple(at for _, at in ordered))

    def cut(self, aside: float) -> int:
        """The moment (epoch ms) after which the newest share `aside` of the examples begins; the outcomes known by then are of others."""
        moments = sorted(one.at for one in self.examples)
        return moments[min(int((1.0 - aside) * len(moments)), len(moments) - 1)] if moments else 0

    def earlier(self, cut: int) -> range:
        """The places of those whose outcome was known at `cut`."""
        return range(sum(one.labelled_at <= cut for one in self.examples))

    def later(self, cut: int) -> list[int]:
        """The places of those that began after `cut`."""
        return [place for place, one in enumerate(self.examples) if one.at > cut]


class Rehearsal:
    """One candidate at work over what was gathered. `outputs` are what it had said of each example, in their order, as far as outcomes
    have come (None: nothing). `failure` says what went wrong, "" as long as nothing has."""

    def __init__(self, model: Model, candidate: Candidate, gathered: Gathered, kit: Kit) -> None:
        model = replace(model, candidates=(candidate,))
        self.outputs: list[Any] = []
        self.failure = ""
        self._model, self._candidate, self._gathered, self._kit = model, candidate, gathered, kit
        quiet = replace(kit, figures=lambda *_: _Log(self.outputs), drift=lambda _: None, describe=lambda *_: {})
        self._learner = Learner([model], quiet, len(gathered.examples) + 1)
        self._held = Held(model)

    def run(self, until: int = END, heard: Heard | None = None) -> bool:
        """Let time pass up to `until`; False if it was ended before, by `heard` or by a failure. To be called once."""
        examples, asked = self._gathered.examples, self._gathered.asked
        passed = -1
        for place in sorted(range(len(examples)), key=asked.__getitem__):
            if asked[place] >= until:
                break
            if asked[place] > passed:
                passed = asked[place]
                if not self._pass_time(passed, heard):
                    return False
            example = examples[place]
            answer = self._learner.offer(
                msgspec.structs.replace(example, predictions=self._held.predictions(example.row))
            )
            if answer != "taken":
                raise ValueError(f"an example that was gathered is {answer} now")
        return self._pass_time(until, heard)

    def _pass_time(self, watermark: int, heard: Heard | None) -> bool:
        before = len(self.outputs)
        for one in self._learner.advance(watermark):
            if isinstance(one, ModelVersion):
                predictor = self._kit.decode(self._model, self._candidate, one.body)
                self._held.adopt(one.candidate, one.role, one.version, predictor)
            elif isinstance(one, ModelEvent) and one.kind == "quarantined":
                self.failure = self.failure or str(one.detail["failure"])
        if self._held.reports:
            self.failure = self.failure or str(self._held.reports[0]["reason"])
        if self.failure:
            return False
        return heard is None or len(self.outputs) == before or heard(len(self.outputs))


class _Log(MeanLosses):
    """Notes what had been said of each example."""

    def __init__(self, outputs: list[Any]) -> None:
        super().__init__("regression")
        self._outputs = outputs

    def observe(self, example: Example, version: int, output: Any) -> None:
        """Note what had been said."""
        self._outputs.append(output)

    def miss(self, example: Example) -> None:
        """Note that nothing had been."""
        self._outputs.append(None)
