"""How good models get on real histories and on planted ones, beside what a data scientist would have without Segue.

Nothing is known before its time: all predictions are those that were logged when they were made, and a baseline is fitted to nothing but
examples whose outcome was known by then.
"""

from __future__ import annotations

import csv
import gzip
import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from cli.history import Account, Source
from flink_jobs.settings import Settings
from online_models import making
from online_models.advancing import advance
from online_models.contest import base_loss
from online_models.definition import Candidate, Model, Step
from online_models.example import Example, Row
from online_models.features import Column, FeatureSet
from online_models.learner import Learner
from online_models.loop import Loop
from online_models.parse import parse_models
from online_models.pipelines import make_predictor
from online_models.predictor import Predictor
from online_models.serving import Serving
from online_models.standard import standard_kit
from online_models.version import ModelEvent, ModelVersion, Published
from profiles import Event, decode_event
from rules.compiler import compile_plan
from shop import simulate

ROOT: Final = Path(__file__).resolve().parent.parent
DATA: Final = ROOT.parent / "shared" / "data"
PURCHASE: Final = ROOT / "online_models" / "catalog" / "purchase.yaml"
RETAIL: Final = DATA / "online-retail-sample.csv.gz"
TELCO: Final = DATA / "telco-churn.csv.gz"
EXAMPLE: Final = ROOT / "examples" / "online-retail"
DAY: Final = 86_400_000

FIRST_FIT: Final = 50
"""Known outcomes before the baselines say anything."""


# --- a gift shop ------------------------------------------------------------------------------------------------------


def retail() -> dict[str, Any]:
    """Purchase within 30 days in the history of a gift shop: log loss and AUC of the model that learns as it goes, of one of recency and
    frequency fitted anew each day to all whose 30 days are over by then, and of the share of those who bought among these; all of the very
    same examples.
    """
    model = load_model(EXAMPLE / "models" / "purchase.yaml")
    examples = sorted(history_examples(model), key=lambda one: (one.at, one.customer))
    names = [column.name for column in making.columns_of(model)]
    chosen = [names.index("recency"), names.index("frequency")]
    name = model.candidates[0].name
    said: dict[str, list[float]] = {"model": [], "fitted_daily": [], "base_rate": []}
    labels: list[float] = []
    daily = _Daily(examples, chosen)
    for example in examples:
        daily.begin(example.at // DAY)
        if name not in example.predictions or daily.fitted is None:
            continue
        said["model"].append(example.predictions[name][1])
        said["fitted_daily"].append(daily.predict(example.row))
        said["base_rate"].append(daily.share)
        labels.append(float(example.label or 0.0))
    return {"examples": len(labels), "bought": round(sum(labels) / len(labels), 4), **_judged(said, labels)}


def load_model(path: Path) -> Model:
    """The model in a file."""
    (model,) = parse_models({path.name: path.read_text("utf-8")})
    return model


def history_examples(model: Model) -> list[Example]:
    """All examples of the gift shop's customers, with what the model had said of each."""
    source = Source(Settings(), file=RETAIL, field_map=EXAMPLE / "map.yaml")
    history = list(source.events(Account()))
    # What is not known by the last event is not known: the month after it may have brought anything.
    return _loop(model).run(history, history[-1][0].event_time).examples


class _Daily:
    """A logistic regression of some columns, fitted each day to what is known by its beginning."""

    def __init__(self, examples: Sequence[Example], chosen: Sequence[int]) -> None:
        self._chosen = chosen
        self._waiting = sorted(((one.labelled_at, at, one) for at, one in enumerate(examples)), reverse=True)
        self._rows: list[list[float]] = []
        self._labels: list[float] = []
        self._day = -1
        self.fitted: Any = None

    @property
    def share(self) -> float:
        """The share of those who bought."""
        return sum(self._labels) / len(self._labels)

    def begin(self, day: int) -> None:
        """It is this day."""
        if day == self._day:
            return
        self._day = day
        while self._waiting and self._waiting[-1][0] < day * DAY:
            one = self._waiting.pop()[2]
            self._rows.append(self._numbers(one.row))
            self._labels.append(float(one.label or 0.0))
        if len(self._labels) >= FIRST_FIT and 0 < self.share < 1:
            self.fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(self._rows, self._labels)

    def predict(self, row: Row) -> float:
        """The probability that it buys."""
        return float(self.fitted.predict_proba([self._numbers(row)])[0, 1])

    def _numbers(self, row: Row) -> list[float]:
        return [float(row[at] or 0.0) for at in self._chosen]


def _loop(model: Model) -> Loop:
    """Customers and learner of one model, without rules."""
    features = FeatureSet(model.features, model.zone)
    rules: Any = SimpleNamespace(version=1, code=1, plan=compile_plan([], watches=[features]))
    kit = standard_kit()
    return Loop([model], rules, Serving([model], [features]), advance, Learner([model], kit), kit.decode)


def _judged(said: dict[str, list[float]], labels: Sequence[float]) -> dict[str, Any]:
    return {
        name: {
            "log_loss": round(float(log_loss(labels, values)), 4),
            "roc_auc": round(float(roc_auc_score(labels, values)), 4),
        }
        for name, values in said.items()
    }


# --- churn of a telephone company -------------------------------------------------------------------------------------

NUMBERS: Final = ("tenure", "monthly_charges", "total_charges")
LAST: Final = 0.3
"""The share of rows, the last ones, that both are judged by."""


def telco() -> dict[str, Any]:
    """Churn in the order of the file: each row is foretold, then learnt. Beside it a logistic regression that has seen all rows before
    the last part at once, and keeps to that."""
    with gzip.open(TELCO, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [float(row.pop("churn") == "Yes") for row in rows]
    names = list(rows[0])
    columns = [Column(name, name not in NUMBERS, "onehot") for name in names]
    values: list[Row] = [[_value(name, row[name]) for name in names] for row in rows]
    candidate = _logistic(0.01)
    model = Model("churn", "classification", (), (candidate,))
    predictor = make_predictor(model, candidate, columns)
    said = []
    for row, label in zip(values, labels, strict=True):
        found = predictor.predict(row)
        said.append(found if isinstance(found, float) else 0.5)
        predictor.learn(row, label, 1.0)
    first = int(len(rows) * (1 - LAST))
    numbers = [names.index(name) for name in NUMBERS]
    others = [at for at in range(len(names)) if at not in numbers]
    table = np.array([[0.0 if value is None else value for value in row] for row in values], dtype=object)
    batch = make_pipeline(
        make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), others)),
        LogisticRegression(max_iter=1_000),
    ).fit(table[:first], labels[:first])
    at_once = [float(one) for one in batch.predict_proba(table[first:])[:, 1]]
    return {"examples": len(rows) - first, **_judged({"model": said[first:], "batch": at_once}, labels[first:])}


def _value(name: str, text: str) -> float | str | None:
    if not text.strip():
        return None
    return float(text) if name in NUMBERS else text


def _logistic(rate: float) -> Candidate:
    parameters = {"l2": 0.0001, "optimizer": {"SGD": {"lr": rate}}}
    return Candidate(
        "logistic", (Step("StandardScaler"), Step("LogisticRegression", MappingProxyType(parameters))), "none"
    )


# --- a planted change -------------------------------------------------------------------------------------------------

CALM: Final = 4_000
AFTER: Final = 6_000
_PART: Final = 1_000

_DRIFTING: Final = """
model: drifting
name: What changes
owner: data@example.com
task: classification
target: {event: Order Completed, within: 1d}
features: [recency, {count: {as: views}}, {frequency: {as: orders}}]
candidates:
  - name: logistic
    pipeline: [StandardScaler, {LogisticRegression: {optimizer: {SGD: {lr: 0.05}}}}]
learn: {every: 1h, publish: 1d, publish_examples: 200}
"""


def synthetic_model() -> Model:
    """A model of three numbers."""
    (model,) = parse_models({"drifting.yaml": _DRIFTING})
    return model


def planted(model: Model, count: int, change: int, seed: int) -> Iterator[tuple[Row, float]]:
    """Rows and labels; after `change` of them what had spoken for the outcome speaks against it."""
    dice = random.Random(seed)
    for number in range(count):
        row: Row = [dice.gauss(0.0, 1.0) for _ in making.columns_of(model)]
        odds = 2.0 * row[0] - row[1] if number < change else -2.0 * row[0] + row[1]
        yield row, float(dice.random() < 1 / (1 + math.exp(-odds)))


def drift(seed: int = 1) -> dict[str, Any]:
    """What was known turns into its opposite: after how many examples that is reported, and how well it foretells before, after, at last.

    `alarms_before`: reports while nothing changes. Log loss: of the thousand examples before the change, of the five hundred after it
    (`worst`), and of the thousand at the end.
    """
    model = synthetic_model()
    learner, held = Learner([model], standard_kit()), _Newest(model)
    losses: list[float] = []
    alarms: list[int] = []
    for number, (row, label) in enumerate(planted(model, CALM + AFTER, CALM, seed)):
        at = number * 10_000
        said = held.predict(row)
        example = Example(model.name, model.digest, f"c{number}", at, at + 1, row, label)
        if said is not None:
            example.predictions = {"logistic": said}
            chance = said[1] if label else 1 - said[1]
            losses.append(-math.log(max(chance, 1e-6)))
        else:
            losses.append(math.log(2))
        learner.offer(example)
        for one in learner.advance(at + 1):
            held.take(one)
            if isinstance(one, ModelEvent) and one.kind == "drift" and one.detail.get("of") == "error":
                alarms.append(number)
    after = [number - CALM for number in alarms if number >= CALM]

    def mean(first: int, last: int) -> float:
        return round(sum(losses[first:last]) / (last - first), 4)

    return {
        "reported_after": min(after, default=None),
        "alarms_before": sum(number < CALM for number in alarms),
        "log_loss": {
            "before": mean(CALM - _PART, CALM),
            "worst": mean(CALM, CALM + 500),
            "last": mean(CALM + AFTER - _PART, CALM + AFTER),
        },
    }


class _Newest:
    """The newest version of the only candidate, as it scores."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._held: tuple[int, Predictor] | None = None

    def take(self, one: Published) -> None:
        """Hold it if it is a version."""
        if isinstance(one, ModelVersion):
            made = making.decode(self._model, self._model.candidates[0], one.body)
            self._held = one.version, making.ready(made)

    def predict(self, row: Row) -> list[Any] | None:
        """Version and output; None before there is a version."""
        if self._held is None:
            return None
        said = self._held[1].predict(row)
        return None if said is None else [self._held[0], said]


# --- a shop whose customers change ------------------------------------------------------------------------------------

SHOP_START: Final = 1_767_225_600_000
SHOP_CALM: Final = 20
SHOP_AFTER: Final = 20
"""Days of the simulated shop before and after its customers change."""

SHOP_CUSTOMERS: Final = 300
_DISORDER: Final = 5_000


def shop_events(seed: int, turn: int, end: int) -> Iterator[tuple[Event, int]]:
    """The simulated shop up to `end`, whose customers change at `turn` (epoch ms); each event with its watermark."""
    days = float(SHOP_CALM + SHOP_AFTER)
    traffic = simulate(
        seed,
        SHOP_CUSTOMERS,
        end,
        days=days,
        until=end,
        disorder=_DISORDER,
        stragglers=0,
        dirty=0,
        past=False,
        turn=turn,
    )
    for one in traffic:
        if one.key is not None:
            yield decode_event(one.value, one.key.decode(), one.at, 0, 0), one.at - _DISORDER - 1


def shop_drift(seed: int = 1) -> dict[str, Any]:
    """The catalogue's model of purchases on the simulated shop, where from one moment on those who mostly order what is in their cart
    mostly do not, and the others do: after how many examples that is reported, and how well the champion foretells.

    Examples are counted by when their outcome is known: that of those in the first three days after the change is in part from before
    it. `alarms_before`: reports of the error while nothing changes. Log loss, and that of who knows the share of buyers among the very same
    examples (`base`): of the thousand before the change, of the second five hundred after it (`worst`), and of the last thousand.
    """
    turn = SHOP_START + SHOP_CALM * DAY
    end = turn + SHOP_AFTER * DAY
    model = load_model(PURCHASE)
    loop = _loop(model)
    outcome = loop.run(shop_events(seed, turn, end), end)
    examples = sorted(outcome.examples, key=Example.order)
    known = [one.labelled_at for one in examples]
    first = bisect_left(known, turn)
    crowned = [(one.at, one.candidate) for one in outcome.happened if one.kind == "promoted"]
    alarms = [one.at for one in outcome.happened if one.kind == "drift" and one.detail.get("of") == "error"]

    def figures(part: Sequence[Example]) -> dict[str, float]:
        said, labels = [], []
        for one in part:
            champion = next((name for at, name in reversed(crowned) if at < one.labelled_at), model.candidates[0].name)
            if champion in one.predictions:
                said.append(one.predictions[champion][1])
                labels.append(float(one.label or 0.0))
        share = sum(labels) / len(labels)
        return {**_judged({"": said}, labels)[""], "base": round(base_loss(share) or 0.0, 4)}

    return {
        "examples_after": len(examples) - first,
        "reported_after": next((bisect_right(known, at) - first for at in alarms if at >= turn), None),
        "alarms_before": sum(at < turn for at in alarms),
        "promoted": len(crowned),
        "before": figures(examples[first - _PART : first]),
        "worst": figures(examples[first + _PART // 2 : first + _PART]),
        "last": figures(examples[-_PART:]),
    }
