"""A candidate at work: rows encoded, scaled and given to one of River's estimators, its probabilities calibrated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, cast

from online_models.calibration import Calibrator, clamped
from online_models.encoding import Encoder, Features, HashColumn, OnehotColumn
from online_models.example import Row
from online_models.parameter import Estimator
from online_models.predictor import Output

MOST_REPEATS: Final = 100
"""More often than this, no example is learnt by an estimator that takes no weights."""


class PredictorFailed(Exception):
    """A predictor threw, or said something that is no number. Whoever asked it should not ask it again."""


class RiverPredictor:
    """Implements `online_models.predictor.Predictor`.

    Numbers go through the `steps` before the last, which learn from those that are known; indicators of categories do not, since scaling
    0 and 1 tells nobody anything. Then what is unknown is left out, or replaced by the mean, as the last step wants it. What it says is
    a probability between 1e-6 and 1 less that, a number, a cluster by its number as text, or an anomaly score; None before the first
    example. Both `predict` and `learn` throw `PredictorFailed`.

    An estimator that takes no weights sees an example as many times as it weighs, at most `MOST_REPEATS`. What is over of a weight that
    is not whole is kept, for each class by itself, and counts with the next: so that the sums are right, without chance.
    """

    def __init__(
        self,
        task: str,
        encoder: Encoder,
        steps: Sequence[Any],
        final: Estimator,
        calibrator: Calibrator | None = None,
        digest: str = "",
    ) -> None:
        self.task = task
        self.encoder = encoder
        self.transformers = list(steps[:-1])
        self.estimator = steps[-1]
        self.final = final
        self.calibrator = calibrator
        self.digest = digest
        self.learnt = 0
        self.owed = [0.0, 0.0]
        # How many features and which labels were there when it was last settled.
        self.known = [0, 0]

    # --- what it says -----------------------------------------------------------------------------------------------

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        """What it says of a row; None where it cannot tell yet. Does not change it."""
        try:
            said = self._said(row)
            if said is None or self.task == "clustering":
                return said
            if self.calibrator is not None:
                said = self.calibrator.calibrate(cast(float, said))
        except PredictorFailed:
            raise
        except Exception as error:
            raise PredictorFailed(f"{self.final.name}: {type(error).__name__}: {error}") from error
        return clamped(cast(float, said)) if self.task == "classification" else said

    def _said(self, row: Row) -> Output | None:
        """What the estimator says, before calibration."""
        if not self.learnt:
            return None
        features = self.features(row)
        if self.task == "clustering":
            return str(self.estimator.predict_one(features))
        if self.task == "classification":
            said = self.estimator.predict_proba_one(features)
            said = said.get(True, 0.0) if said else None
        elif self.task == "regression":
            said = self.estimator.predict_one(features)
        else:
            said = self.estimator.score_one(features)
        if said is None:
            return None
        number = float(said)
        if not math.isfinite(number):
            raise PredictorFailed(f"{self.final.name} said {number}")
        return number

    def features(self, row: Row) -> Features:
        """A row as the last step sees it. Numbers have the index of their column; see `names` for indicators."""
        return self._features(row, self.encoder.numbers(row))

    def _features(self, row: Row, numbers: Features) -> Features:
        encoder = self.encoder
        filled = dict(numbers)
        if self.final.missing == "mean":
            for index, part in encoder.number_parts:
                if index not in numbers and part.count:
                    filled[index] = part.mean
        for transformer in self.transformers:
            filled = transformer.transform_one(filled)
        if self.final.missing == "mean":
            for index, part in encoder.number_parts:
                if not part.count:
                    filled[index] = 0.0
        filled.update(encoder.indicators(row) if self.final.sparse else encoder.all_indicators(row))
        return filled

    def names(self) -> dict[int, str]:
        """The features by number: `recency`, `device=mobile`, `device=*`, `city#7`."""
        found: dict[int, str] = {}
        for part in self.encoder.parts:
            if isinstance(part, OnehotColumn):
                found[part.first] = f"{part.name}=*"
                found |= {part.first + place: f"{part.name}={value}" for value, place in part.values.items()}
            elif isinstance(part, HashColumn):
                found |= {part.first + bucket: f"{part.name}#{bucket}" for bucket in range(part.width)}
            else:
                found[part.feature] = part.name
        return found

    # --- what it learns ---------------------------------------------------------------------------------------------

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        """Take in one example, `weight` times. The calibrator learns from what was said of it before, the estimator after.

        `ValueError` where the weight, the label or the number of values cannot be.
        """
        if not weight > 0.0 or not math.isfinite(weight):
            raise ValueError(f"a weight is a number above 0, not {weight}")
        if len(row) != len(self.encoder.columns):
            raise ValueError(f"a row has {len(self.encoder.columns)} values, not {len(row)}")
        known_label = self._label(label)
        try:
            self._learn(row, known_label, weight)
        except PredictorFailed:
            raise
        except Exception as error:
            raise PredictorFailed(f"{self.final.name}: {type(error).__name__}: {error}") from error

    def _label(self, label: float | None) -> float | None:
        if self.task in ("clustering", "anomaly"):
            return None
        if label is None or not math.isfinite(label) or (self.task == "classification" and label not in (0, 1)):
            raise ValueError(f"no label for {self.task}: {label}")
        return float(label)

    def _learn(self, row: Row, label: float | None, weight: float) -> None:
        encoder = self.encoder
        if self.calibrator is not None and label is not None:
            before = self._said(row)
            if before is not None:
                self.calibrator.learn(cast(float, before), label, weight)
        encoder.remember(row)
        numbers = encoder.numbers(row)
        reached = numbers
        for place, transformer in enumerate(self.transformers, 1):
            transformer.learn_one(reached)
            if place < len(self.transformers):
                reached = transformer.transform_one(reached)
        features = self._features(row, numbers)
        if label is not None:
            encoder.learn(row, label, weight)
        self._learn_features(features, label, weight)
        self.learnt += 1

    def _learn_features(self, features: Features, label: float | None, weight: float) -> None:
        estimator = self.estimator
        if label is None:
            for _ in range(self._times(0, weight)):
                estimator.learn_one(dict(features))
        else:
            y = bool(label) if self.task == "classification" else label
            if self.final.weighted:
                estimator.learn_one(features, y, w=weight)
            else:
                for _ in range(self._times(int(y is True), weight)):
                    estimator.learn_one(dict(features), y)
        # Some estimators make what they lack for a feature or a class when they are first asked. They are asked here, so that being asked
        # for a prediction changes nothing.
        labels = self.known[1] | (1 << int(y is True) if label is not None else 1)
        if not self.final.sparse and self.known != [len(features), labels]:
            self.known = [len(features), labels]
            if self.task == "classification":
                estimator.predict_proba_one(features)
            elif self.task == "clustering":
                estimator.predict_one(features)

    def _times(self, kind: int, weight: float) -> int:
        self.owed[kind] += weight
        times = int(self.owed[kind] + 1e-9)
        self.owed[kind] = max(self.owed[kind] - times, 0.0)
        return min(times, MOST_REPEATS)

    def happened(self) -> list[dict[str, Any]]:
        """Nothing ever does: what is foretold changes, not what it is foretold of."""
        return []

    # --- why --------------------------------------------------------------------------------------------------------

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        """By feature, how much it moves the output of this row; largest first, none for clusters.

        Of a linear model: the coefficient times how far the (scaled) value is from its mean, which moves the log odds or the number, before
        calibration. Of others: by how much the output falls when the value is replaced by the typical one (the mean, or the value seen
        most).
        """
        if not self.learnt or self.task == "clustering":
            return []
        try:
            weights = getattr(self.estimator, "weights", None)
            found = self._contributions(row, weights) if isinstance(weights, dict) else self._left_out(row)
        except PredictorFailed:
            raise
        except Exception as error:
            raise PredictorFailed(f"{self.final.name}: {type(error).__name__}: {error}") from error
        return sorted(((name, float(by)) for name, by in found if by), key=lambda each: (-abs(each[1]), each[0]))

    def _contributions(self, row: Row, weights: dict[int, float]) -> list[tuple[str, float]]:
        encoder = self.encoder
        values = self.features(row)
        typical: Features = {index: part.mean for index, part in encoder.number_parts if part.count}
        for transformer in self.transformers:
            typical = transformer.transform_one(typical)
        found = []
        for index, part in encoder.number_parts:
            if index in values:
                found.append((part.name, weights.get(index, 0.0) * (values[index] - typical[index])))
        for index, indicators in encoder.indicator_parts:
            feature = indicators.indicator(row[index])
            if feature is not None:
                usual = sum(weights.get(each, 0.0) * share for each, share in indicators.frequencies())
                found.append((indicators.name, weights.get(feature, 0.0) - usual))
        return found

    def _left_out(self, row: Row) -> list[tuple[str, float]]:
        said = self.predict(row)
        found = []
        for index, part in enumerate(self.encoder.parts):
            typical = part.typical()
            if said is None or row[index] is None or typical is None or row[index] == typical:
                continue
            other = self.predict([*row[:index], typical, *row[index + 1 :]])
            if other is not None:
                found.append((part.name, cast(float, said) - cast(float, other)))
        return found

    # --- what is kept -----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Do what River put off until somebody asks, so that what is stored does not depend on whether somebody has asked."""
        if self.final.settle is not None and self.learnt:
            self.final.settle(self.estimator)
