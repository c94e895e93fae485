"""What an estimator is, and what may be written for its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Role = Literal[
    "transformer",
    "classifier",
    "regressor",
    "clusterer",
    "anomaly",
    "optimizer",
    "rate",
    "loss",
    "splitter",
    "detector",
]
Kind = Literal["number", "whole", "flag", "choice", "part", "pipelines", "column"]

MOST_CHOICES: Final = 8
"""Pipelines that an estimator chooses among at most."""


@dataclass(frozen=True)
class Parameter:
    """What may be written for one parameter.

    `number` and `whole` lie between `low` and `high`, both included; a `choice` is one of `choices`; a `part` is an estimator of one
    of `roles`, or a number where `low < high`; `pipelines` is a list of pipelines; `column` the name of a feature that is a number.
    `default` is ours where River's would not do.
    """

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    default: Any = None
    required: bool = False

    def takes(self, written: Any) -> bool:
        """Whether this may be written for it: a value that is neither an estimator nor a list."""
        if self.kind == "flag":
            return type(written) is bool
        if self.kind == "choice":
            return type(written) is str and written in self.choices
        is_number = type(written) is int or (type(written) is float and self.kind != "whole")
        return self.low < self.high and is_number and self.low <= written <= self.high

    def expected(self, names: Iterable[str] = ()) -> str:
        """What it must be, in words. `names` are those of the estimators or features that it may be."""
        match self.kind:
            case "number":
                return f"a number between {self.low:g} and {self.high:g}"
            case "whole":
                return f"a whole number between {int(self.low):,} and {int(self.high):,}"
            case "flag":
                return "true or false"
            case "choice":
                return f"one of {', '.join(self.choices)}"
            case "pipelines":
                return f"a list of 2 to {MOST_CHOICES} pipelines"
            case "column":
                return f"one of the features {', '.join(names)}"
        number = f"a number between {self.low:g} and {self.high:g}, or " if self.low < self.high else ""
        return f"{number}one of {', '.join(sorted(names))}"


@dataclass(frozen=True)
class Estimator:
    """One name on the safe list.

    `missing`: `left out` where it copes with unknown numbers, `mean` where they are replaced by the mean of the examples. `sparse`:
    indicators that are 0 need not be given. `weighted`: it takes weights; others see an example several times. `settle`: River puts
    some work off until it is asked for a prediction; this does it. `nested`: it may stand in a list of pipelines to choose from.
    """

    name: str
    role: Role
    meaning: str
    make: Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    missing: Literal["left out", "mean"] = "mean"
    sparse: bool = False
    weighted: bool = False
    nested: bool = True
    settle: Callable[[Any], Any] | None = None
    fixed: Mapping[str, Any] | None = None

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of this name."""
        return next((each for each in self.parameters if each.name == name), None)


def number(name: str, low: float, high: float, default: float | None = None) -> Parameter:
    """A parameter that is a number."""
    return Parameter(name, "number", low, high, default=default)


def whole(name: str, low: int, high: int, default: int | None = None) -> Parameter:
    """One that is a whole number."""
    return Parameter(name, "whole", low, high, default=default)


def flag(name: str) -> Parameter:
    """One that is true or false."""
    return Parameter(name, "flag")


def choice(name: str, *choices: str, default: str | None = None) -> Parameter:
    """One of a few words."""
    return Parameter(name, "choice", choices=choices, default=default)


def part(name: str, *roles: str, low: float = 0.0, high: float = 0.0, default: Any = None) -> Parameter:
    """One that is an estimator of one of these roles, or a number where `low < high`."""
    return Parameter(name, "part", low, high, roles=roles, default=default)
