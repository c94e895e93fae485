"""The candidates of one model as they are held where customers are scored: the newest version of each, and which are taken out."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from online_models.definition import Model
from online_models.example import Row
from online_models.predictor import Output, Predictor
from online_models.selection import OwnThresholds
from online_models.usage import Usage
from profiles.values import WHOLE

DECIMALS = 6
"""So many decimals of a number are kept as a score: rules compare in millionths."""

_UNIT: Final = 10.0**DECIMALS
_EXACT: Final = 2.0**51 / _UNIT

Role = Literal["champion", "challenger"]

Said = tuple[int, Output]
"""A version, and its output."""


def rounded(output: float) -> float:
    """A finite number as it is kept. Several times as fast as `round` to decimals, which goes by way of text.

    >>> rounded(0.1234567), rounded(-2.0), rounded(1e300)
    (0.123457, -2.0, 1e+300)
    """
    return (output * _UNIT + WHOLE - WHOLE) / _UNIT if -_EXACT < output < _EXACT else output


@dataclass
class Version:
    """One candidate at its newest version. `predictor` is None while it is quarantined. `thresholds` are those that came with it."""

    candidate: str
    version: int
    role: Role
    predictor: Predictor | None
    thresholds: OwnThresholds | None = None


@dataclass
class Held:
    """What is held of one model. `champion` scores: of the candidates with that role, the one with the highest version.

    A candidate that breaks on a row, or says what cannot be a score, is quarantined until a newer version of it comes. That is said once,
    in `reports`, each `{"kind": "quarantined", "model", "candidate", "version", "reason"}`; a reason holds nothing of any customer.
    `counts`: how many outputs were asked for, by what came of them (`predicted`, `unknown`, `quarantined`). `usage`: how it stands with
    the scores of customers.

    >>> class Half:
    ...     def predict(self, row, previous=None): return 0.5
    ...     def happened(self): return []
    ...     def learn(self, row, label, weight): ...
    ...     def reasons(self, row): return []
    >>> held = Held(Model("churn", "classification", (), ()))
    >>> held.adopt("logistic", "champion", 3, Half()), held.adopt("logistic", "champion", 2, Half())
    (True, False)
    >>> held.score([])
    (3, 0.5)
    """

    model: Model
    versions: dict[str, Version] = field(default_factory=dict)
    champion: Version | None = None
    counts: Counter[str] = field(default_factory=Counter)
    reports: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        self.is_number = self.model.task != "clustering"

    def adopt(
        self,
        candidate: str,
        role: Role,
        version: int,
        predictor: Predictor,
        thresholds: OwnThresholds | None = None,
    ) -> bool:
        """Hold a version; False, and nothing changes, if the same or a newer one of this candidate is held already."""
        known = self.versions.get(candidate)
        if known is not None and known.version >= version:
            return False
        self.versions[candidate] = Version(candidate, version, role, predictor, thresholds)
        champions = [one for one in self.versions.values() if one.role == "champion"]
        self.champion = max(champions, key=lambda one: one.version, default=None)
        return True

    def quarantine(self, candidate: str, version: int, reason: str) -> None:
        """Take a candidate out until a version after this one comes, and say so. Nothing happens if a newer one is held."""
        known = self.versions.get(candidate)
        if known is None or known.version > version or (known.version == version and known.predictor is None):
            return
        known.version, known.predictor = version, None
        told = {"kind": "quarantined", "model": self.model.name, "candidate": candidate, "version": version}
        self.reports.append({**told, "reason": reason})

    def score(self, row: Row, previous: Output | None = None) -> Said | None:
        """Version and output of the champion for a row; None where there is none, or it cannot tell. `previous` is the score so far."""
        return None if self.champion is None else self._output(self.champion, row, previous)

    def predictions(self, row: Row, scored: Said | None = None) -> dict[str, list[Any]]:
        """What every candidate says of a row: `[version, output]` by its name. `scored` is what `score` has just said of it, if it has."""
        said = {
            name: scored if scored is not None and one is self.champion else self._output(one, row, None)
            for name, one in self.versions.items()
        }
        return {name: list(found) for name, found in sorted(said.items()) if found is not None}

    def _output(self, one: Version, row: Row, previous: Output | None) -> Said | None:
        if one.predictor is None:
            return None
        try:
            output = one.predictor.predict(row, previous)
        except Exception as error:  # noqa: BLE001  (whatever a model does, customers go on without it, and it is reported)
            self._break(one, f"{type(error).__name__} in predict")
            return None
        if type(output) is float and -_EXACT < output < _EXACT and self.is_number:
            self.counts["predicted"] += 1
            return one.version, (output * _UNIT + WHOLE - WHOLE) / _UNIT  # as `rounded` does
        return self._checked(one, output)

    def _checked(self, one: Version, output: Output | None) -> Said | None:
        """What a candidate said, if that can be a score."""
        if output is None:
            self.counts["unknown"] += 1
            return None
        if self.is_number:
            if not (isinstance(output, int | float) and math.isfinite(output)):
                self._break(one, "an output that is not a finite number")
                return None
            output = rounded(float(output))
        elif not isinstance(output, str):
            self._break(one, "an output that is no text")
            return None
        self.counts["predicted"] += 1
        return one.version, output

    def _break(self, one: Version, wrong: str) -> None:
        self.counts["quarantined"] += 1
        self.quarantine(one.candidate, one.version, wrong)
