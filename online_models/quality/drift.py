"""Whether what a model meets is still what it has learnt: detectors on its error and on each feature.

ADWIN (Bifet and Gavaldà 2007) compares an older and a newer part of what it keeps; Page-Hinkley (Page 1954) sums how far the error
lies above its mean. Both are River's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from river.drift import ADWIN, PageHinkley

from online_models.example import Row

EVERY: Final = 4
"""Of so many examples one goes to the detectors of the features: those need many, and cost more than learning."""

Event = dict[str, Any]


class Drift:
    """The detectors of one candidate. `names` are those of its columns; texts are not looked at.

    `delta` is how surely ADWIN must know (its false alarms are as rare); `threshold` how much error Page-Hinkley gathers before it fires.
    """

    def __init__(self, names: tuple[str, ...], delta: float = 0.002, threshold: float = 30.0) -> None:
        self.names = names
        self.delta = delta
        self.taken = 0
        self.error: dict[str, Any] = {
            "adwin": ADWIN(delta=delta),
            "page_hinkley": PageHinkley(threshold=threshold, min_instances=100),
        }
        self.features: dict[str, Any] = {}

    def observe(self, error: float, row: Row, at: int) -> list[Event]:
        """Take in the error of one prediction and the row that it was made of; an event for each detector that fires."""
        found = []
        self.taken += 1
        for name, detector in self.error.items():
            before = _mean(detector)
            detector.update(error)
            if detector.drift_detected:
                found.append(self._event("error", name, before, _mean(detector), at))
        if self.taken % EVERY:
            return found
        for name, value in zip(self.names, row, strict=True):
            if not isinstance(value, float | int) or isinstance(value, bool):
                continue
            detector = self.features.get(name)
            if detector is None:
                detector = self.features[name] = ADWIN(delta=self.delta / len(self.names), grace_period=50)
            before = _mean(detector)
            detector.update(value)
            if detector.drift_detected:
                found.append(self._event(name, "adwin", before, _mean(detector), at))
        return found

    def state(self, encode: Callable[[Any], bytes]) -> list[Any]:
        """All that it holds; `encode` makes bytes of a River detector."""
        return [
            self.taken,
            {name: encode(one) for name, one in self.error.items()},
            {name: encode(one) for name, one in self.features.items()},
        ]

    def restore(self, state: list[Any], decode: Callable[[bytes], Any]) -> None:
        """Go on from a state."""
        self.taken, error, features = state
        self.error = {name: decode(one) for name, one in error.items()}
        self.features = {name: decode(one) for name, one in features.items()}

    def _event(self, of: str, detector: str, before: float | None, after: float | None, at: int) -> Event:
        return {
            "kind": "drift",
            "of": of,
            "detector": detector,
            "before": before,
            "after": after,
            "examples": self.taken,
            "at": at,
        }


def _mean(detector: Any) -> float | None:
    """The mean that an ADWIN keeps; Page-Hinkley's belongs to it alone."""
    estimation = getattr(detector, "estimation", None)
    return None if estimation is None else round(float(estimation), 6)
