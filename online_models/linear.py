"""Linear models that score in a few microseconds: what River would compute step by step, worked out once.

`sum(weight * (value - mean) / deviation) + intercept` is `sum(slope * (value - mean)) + intercept`, where the slopes and means are
plain numbers as long as nothing is learnt. A scorer freezes each version it gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from river import linear_model, optim, preprocessing

from online_models.calibration import LEAST, Platt, clamped, logit, sigmoid
from online_models.encoding import LARGEST, LOWEST, HashColumn, OnehotColumn, TargetColumn, value_of
from online_models.example import Row
from online_models.predictor import Output, Predictor
from online_models.river_predictor import RiverPredictor

_CERTAIN: Final = 30.0
"""Beyond these log odds River says 0 or 1."""

_MOST: Final = 1.0 - LEAST

_MOST_ODDS: Final = logit(1.0)
"""No log odds are further from 0 once the probability is clamped."""


def freeze(predictor: RiverPredictor) -> Predictor:
    """A predictor that says the same as this one does now, faster where it is linear; it must not be asked to learn.

    Fast are `LogisticRegression` with log loss and `LinearRegression`, after a `StandardScaler` or nothing, with any encodings and
    calibration. For all else it is the predictor itself.
    """
    scalers = predictor.transformers
    plain = all(type(each) is preprocessing.StandardScaler for each in scalers) and len(scalers) <= 1
    estimator = predictor.estimator
    logistic = type(estimator) is linear_model.LogisticRegression and type(estimator.loss) is optim.losses.Log
    identity = (optim.losses.Squared, optim.losses.Huber, optim.losses.Quantile)
    regression = type(estimator) is linear_model.LinearRegression and type(estimator.loss) in identity
    if not plain or not predictor.learnt or not (logistic or regression):
        return predictor
    return FrozenLinear(predictor, logistic)


class FrozenLinear:
    """A linear predictor with its slopes worked out. Equal to River's up to rounding: sums are added in another order."""

    def __init__(self, predictor: RiverPredictor, logistic: bool) -> None:
        self._predictor = predictor
        self._logistic = logistic
        calibrator = predictor.calibrator
        self._calibrate: Callable[[float], float] | None = calibrator.calibrate if calibrator else None
        # A curve over the log odds needs no probability in between.
        self._curve = (calibrator.slope, calibrator.shift) if logistic and isinstance(calibrator, Platt) else None
        weights = predictor.estimator.weights
        self._bias = float(predictor.estimator.intercept)
        scaler = predictor.transformers[0] if predictor.transformers else None
        self._numbers: list[tuple[int, float, float]] = []
        self._tables: list[tuple[int, dict[Any, float], float]] = []
        self._buckets: list[tuple[int, list[float]]] = []
        encoder = predictor.encoder
        for index, part in enumerate(encoder.parts):
            if isinstance(part, OnehotColumn):
                of = [float(weights.get(part.first + place, 0.0)) for place in range(len(part.counts))]
                self._tables.append((index, {value: of[place] for value, place in part.values.items()}, of[0]))
            elif isinstance(part, HashColumn):
                self._buckets.append(
                    (index, [float(weights.get(part.first + place, 0.0)) for place in range(part.width)])
                )
            elif part.count:
                slope, mean = float(weights.get(index, 0.0)), 0.0
                if scaler is not None:
                    mean = float(scaler.means[index])
                    deviation = scaler.vars[index] ** 0.5 if scaler.with_std else 1.0
                    slope = slope / deviation if deviation else 0.0
                if isinstance(part, TargetColumn):
                    table = {value: slope * (part.encoded(value) - mean) for value in part.values}
                    self._tables.append((index, table, slope * (part.encoded(None) - mean)))
                else:
                    self._numbers.append((index, slope, mean))

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        """What it says of a row."""
        z = self._bias
        for index, slope, mean in self._numbers:
            value = row[index]
            if value is not None:
                if not LOWEST < value < LARGEST:
                    return self._predictor.predict(row)
                z += slope * (value - mean)
        for index, table, rest in self._tables:
            value = row[index]
            if value is not None:
                z += table.get(
                    value if type(value) is str and len(value) < 100 and value.isascii() else value_of(value), rest
                )
        for index, weights in self._buckets:
            text = value_of(row[index])
            if text is not None:
                z += weights[HashColumn.bucket(text)]
        if not -1e300 < z < 1e300:
            return self._predictor.predict(row)
        if self._curve is not None:
            slope, shift = self._curve
            said = sigmoid(
                slope * (z if -_MOST_ODDS < z < _MOST_ODDS else _MOST_ODDS if z > 0 else -_MOST_ODDS) + shift
            )
            return said if LEAST < said < _MOST else clamped(said)
        if not self._logistic:
            return z
        said = sigmoid(z) if -_CERTAIN <= z <= _CERTAIN else float(z > 0)
        return clamped(self._calibrate(said) if self._calibrate is not None else said)

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        """Refused: `TypeError`."""
        raise TypeError(
            "a frozen predictor does not learn; let the predictor that it was made from learn, and freeze it anew"
        )

    def happened(self) -> list[dict[str, Any]]:
        """Nothing: it does not learn."""
        return []

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        """By feature, how much it moves the log odds or the number; largest first."""
        return self._predictor.reasons(row)
