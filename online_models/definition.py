"""What a model file says, once read: features, target, candidates, when to score and to learn. Durations in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from rules.definition import EventRef

Task = Literal["classification", "regression", "clustering", "anomaly"]


@dataclass(frozen=True)
class Feature:
    """One line of `features`: a name of the vocabulary with its parameters. `name` is what the column is called, unique in a model.

    `parameters` are as the kind's own reader left them; see `online_models.features`.
    """

    name: str
    kind: str
    parameters: Any = None
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Target:
    """What is to be foretold at a moment: what happens in the `within` after it, the moment itself not included.

    `happens`: 1 if such an event comes, else 0. `absent`: 1 if none comes. `sum`: the sum of the numbers at `of` of all that come,
    which is known when the time is over. `line` and `column` are where `within` stands.
    """

    kind: Literal["happens", "absent", "sum"]
    ref: EventRef
    within: int
    of: str = ""
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Step:
    """One estimator of a pipeline: its name on the safe list, and its parameters."""

    name: str
    parameters: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Candidate:
    """One way to make the model: a pipeline, and for classification how its probabilities are calibrated."""

    name: str
    pipeline: tuple[Step, ...]
    calibrate: Literal["none", "platt", "isotonic"] = "none"


@dataclass(frozen=True)
class Scoring:
    """When a customer is scored: when something has changed that a feature looks at, and at most once in `every`.

    `refresh`: without any event a score is made anew after so long, then after twice as long, and so on; None: it is not. A change within
    `every` is caught up with afterwards: without an event where a rule asks for the score or `refresh` is declared, else at the next one.
    """

    every: int = 0
    refresh: int | None = None


@dataclass(frozen=True)
class Learning:
    """Which moments become examples: of a customer one in `every` at most, of these the share `sample`.

    `negatives` is the share of examples kept whose outcome is 0; those that are kept weigh as much more. A new version is published
    after `publish` of event time, or `publish_examples` examples, whichever comes first; the first of a candidate once it has learnt
    from `least`, as what has seen little is sure of the wrong things.

    `outcomes`: of classification, when what came is learnt. `together`: at the end of the target's window, whatever came. `at_once`: what
    has happened as soon as it has, and what has not at the end.
    """

    every: int
    sample: float = 1.0
    negatives: float = 1.0
    publish: int = 3_600_000
    publish_examples: int = 1_000
    least: int = 1
    outcomes: Literal["together", "at_once"] = "together"


@dataclass(frozen=True)
class Promotion:
    """When a challenger becomes champion: better by `margin` in `metric` over the same `least` examples or more, at this `confidence`."""

    metric: Literal["log_loss", "brier", "mae"] = "log_loss"
    margin: float = 0.0
    confidence: float = 0.95
    least: int = 1_000
    automatic: bool = True


@dataclass(frozen=True)
class Fairness:
    """A trait that is never a feature, by whose values outcomes are compared. `bound`: the largest demographic parity difference.

    `threshold` is the score from which on a customer counts as selected. `constrain`: give groups thresholds of their own, so that
    their selection rates are within the bound, and have rules see scores that carry these.
    """

    trait: str
    threshold: float
    bound: float
    constrain: bool = False


@dataclass(frozen=True)
class PersonaRule:
    """How many clusters there may be, what it takes for them to change, and names for those that look so.

    The first are found after `first` examples, or up to as many later if customers do not stand still before. A review looks at the
    newest `memory`; `reviews` in a row must find a change before it happens. `margin`: by so much better must the silhouette of others
    be, which is also what finding one more declared name is worth. Who belongs to a cluster leaves it for one that is nearer by the
    share `stay` of the distance. A cluster is `empty` with less than this share of the customers; after it has died its id comes back
    with it for `returns` examples.

    `names`: each with the features that tell it, and whether they are high (1) or low (-1) against all customers.
    """

    fewest: int = 2
    most: int = 8
    names: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    first: int = 500
    memory: int = 1_000
    reviews: int = 3
    margin: float = 0.03
    stay: float = 0.15
    empty: float = 0.01
    returns: int = 10_000


@dataclass(frozen=True)
class Scale:
    """A number that is searched between `low` and `high`, both included; with `log` by its order of magnitude.

    `path` says of what: `calibrate`, or estimator and parameter, further down as often as need be (`LogisticRegression.optimizer.SGD.lr`).
    """

    path: str
    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """One of a few values that are tried at `path`, as they would be written there."""

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Search:
    """Which of a candidate's parameters are to be searched, and where."""

    candidate: str
    space: tuple[Scale | Choice, ...]


@dataclass(frozen=True)
class Model:
    """One model. The first of `candidates` is champion until another has shown that it is better.

    `searches` are for `segue models tune`, and mean nothing to what a job does.
    `digest` identifies the meaning: two files with the same decide alike.
    """

    name: str
    task: Task
    features: tuple[Feature, ...]
    candidates: tuple[Candidate, ...]
    target: Target | None = None
    scoring: Scoring = Scoring()
    learning: Learning = Learning(86_400_000)
    promotion: Promotion = Promotion()
    fairness: Fairness | None = None
    personas: PersonaRule = PersonaRule()
    title: str = ""
    owner: str = ""
    description: str = ""
    zone: str | None = None
    searches: tuple[Search, ...] = ()
    digest: str = ""
    file: str = field(default="", compare=False)


def in_zone(model: Model, zone: str) -> Model:
    """The model as it is meant in a project of this time zone: features that look at the hour or the weekday are read there.

    It keeps its digest: what it has learnt is worth something still.
    """
    return model if model.zone is not None else replace(model, zone=zone)
