"""Candidates as they stand in a model file, made into pipelines of River's estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import msgspec
import xxhash

from online_models.calibration import Calibrator, Isotonic, Platt
from online_models.definition import Candidate, Model, Step
from online_models.encoding import Encoder
from online_models.estimators import ESTIMATORS, FINAL_ROLE, of_role
from online_models.features.kind import Column
from online_models.parameter import MOST_CHOICES, Estimator, Parameter
from online_models.river_predictor import RiverPredictor
from profiles.document import suggestion

MOST_STEPS: Final = 5


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong with a step that begins at `line` and `column` (both from 1), and how to mend it (`hint` may be empty)."""

    line: int
    column: int
    message: str
    hint: str = ""


class BadCandidate(Exception):
    """A candidate that cannot be made. `problems` is never empty."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        super().__init__(
            f"candidate {name!r}: " + "; ".join(f"{each.line}:{each.column}: {each.message}" for each in problems)
        )
        self.problems = tuple(problems)


def check_candidate(model: Model, candidate: Candidate, columns: Sequence[Column]) -> list[Problem]:
    """Everything that is wrong with a candidate of this model; nothing if it can be made."""
    return _Workshop(model.task).predictor(candidate, columns)[1]


def make_predictor(model: Model, candidate: Candidate, columns: Sequence[Column]) -> RiverPredictor:
    """The candidate, made anew: it has learnt nothing. `BadCandidate` where `check_candidate` finds anything."""
    made, problems = _Workshop(model.task).predictor(candidate, columns)
    if made is None:
        raise BadCandidate(candidate.name, problems)
    return made


def digest_of(task: str, candidate: Candidate, columns: Sequence[Column]) -> str:
    """What a predictor is made from, in short: two with the same can take over what the other has learnt."""
    pipeline = [[step.name, _plain(step.parameters)] for step in candidate.pipeline]
    written = [task, candidate.calibrate, pipeline, [[each.name, each.category, each.encode] for each in columns]]
    return xxhash.xxh3_128_hexdigest(msgspec.msgpack.encode(written, order="sorted"))


def _plain(written: Any) -> Any:
    if isinstance(written, Step):
        return {written.name: _plain(written.parameters)}
    if isinstance(written, Mapping):
        return {str(name): _plain(value) for name, value in written.items()}
    if isinstance(written, list | tuple):
        return [_plain(each) for each in written]
    return written


class _Workshop:
    """Makes pipelines and notes what is wrong with them."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.role = FINAL_ROLE[task]
        self.problems: list[Problem] = []
        self.step = Step("")

    def wrong(self, message: str, hint: str = "") -> None:
        """Note a problem of the step at hand."""
        self.problems.append(Problem(self.step.line, self.step.column, message, hint))

    def predictor(self, candidate: Candidate, columns: Sequence[Column]) -> tuple[RiverPredictor | None, list[Problem]]:
        """The predictor, or what is wrong."""
        self.step = candidate.pipeline[0] if candidate.pipeline else Step("")
        if not columns:
            self.wrong("the model has no features")
        if self.task in ("clustering", "anomaly"):
            for column in columns:
                if column.category and column.encode == "target":
                    hint = "encode it by `onehot` or `hash`"
                    self.wrong(f"{column.name} is encoded by labels, and {self.task} has none", hint)
        steps = self.pipeline(candidate.pipeline, nested=False)
        if candidate.calibrate != "none" and self.task != "classification":
            self.wrong("only probabilities can be calibrated", "leave `calibrate` out")
        if self.problems or not steps:
            return None, self.problems
        calibrator: Calibrator | None = None
        if candidate.calibrate != "none":
            calibrator = Platt() if candidate.calibrate == "platt" else Isotonic()
        final = ESTIMATORS[candidate.pipeline[-1].name]
        digest = digest_of(self.task, candidate, columns)
        return RiverPredictor(self.task, Encoder(columns), steps, final, calibrator, digest), []

    def pipeline(self, steps: Sequence[Step], nested: bool) -> list[Any]:
        """The estimators of a pipeline; none where something is wrong."""
        found = len(self.problems)
        if not steps:
            self.wrong("the pipeline is empty", f"name at least {self.finals(nested)}")
        elif len(steps) > MOST_STEPS:
            self.wrong(f"the pipeline has {len(steps)} steps, more than {MOST_STEPS}")
        made = []
        for place, step in enumerate(steps[:MOST_STEPS]):
            self.step = step if not nested else self.step
            last = place == len(steps) - 1
            role = self.role if last else "transformer"
            known = {
                name: each for name, each in ESTIMATORS.items() if each.role == role and (each.nested or not nested)
            }
            estimator = known.get(step.name)
            if estimator is not None:
                made.append(self.part(estimator, step.parameters))
            elif step.name in ESTIMATORS and ESTIMATORS[step.name].role in ("transformer", *FINAL_ROLE.values()):
                self.out_of_place(step.name, last, nested)
            else:
                self.wrong(
                    f"there is no estimator {step.name[:60]!r} for {self.task}", suggestion(step.name[:60], known)
                )
        for one, other in pairwise(steps):
            if one.name == other.name:
                self.wrong(f"{one.name} stands twice in a row")
        return made if len(self.problems) == found else []

    def finals(self, nested: bool) -> str:
        """What a pipeline of this task may end with."""
        names = sorted(
            name for name, each in ESTIMATORS.items() if each.role == self.role and (each.nested or not nested)
        )
        return ", ".join(names)

    def out_of_place(self, name: str, last: bool, nested: bool) -> None:
        """Note a name that is known but does not belong where it stands."""
        if ESTIMATORS[name].role == "transformer":
            self.wrong(f"{name} foretells nothing, so it cannot be last", f"end with one of {self.finals(nested)}")
        elif ESTIMATORS[name].role != self.role:
            self.wrong(f"{name} is not for {self.task}", f"known: {self.finals(nested)}")
        elif nested and not ESTIMATORS[name].nested:
            self.wrong(f"{name} cannot stand in a list to choose from", f"known: {self.finals(nested)}")
        else:
            self.wrong(f"{name} must be the last step")

    def part(self, estimator: Estimator, written: Mapping[str, Any]) -> Any:
        """The estimator with these parameters; None where they are wrong."""
        found = len(self.problems)
        values: dict[str, Any] = dict(estimator.fixed or {})
        for name in written:
            if estimator.parameter(name) is None:
                known = [each.name for each in estimator.parameters]
                none = f"{estimator.name} takes no parameters"
                self.wrong(
                    f"{estimator.name} has no parameter {str(name)[:60]!r} here", suggestion(str(name), known) or none
                )
        for parameter in estimator.parameters:
            if parameter.name in written:
                values[parameter.name] = self.value(estimator, parameter, written[parameter.name])
            elif parameter.required:
                self.wrong(f"{estimator.name} needs `{parameter.name}`", f"it is {parameter.expected()}")
            elif parameter.default is not None:
                values[parameter.name] = parameter.default
        if estimator.role == "regressor" and "loss" in values and type(values["loss"]).__name__ == "Log":
            self.wrong("the loss Log is for classification")
        if estimator.role == "classifier" and "loss" in values and type(values["loss"]).__name__ != "Log":
            self.wrong(f"the loss {type(values['loss']).__name__} is for regression")
        if values.get("l1") and values.get("l2") and estimator.role != "optimizer":
            self.wrong(f"{estimator.name} takes `l1` or `l2`, not both")
        return estimator.make(**values) if len(self.problems) == found else None

    def value(self, estimator: Estimator, parameter: Parameter, written: Any) -> Any:
        """What is written for a parameter; None where it is wrong."""
        if parameter.kind == "pipelines":
            return self.choices(estimator, written)
        if parameter.kind == "part" and type(written) not in (int, float):
            return self.named(estimator, parameter, written)
        if not parameter.takes(written):
            expected = parameter.expected(of_role(*parameter.roles))
            self.wrong(f"`{parameter.name}` of {estimator.name} must be {expected}, not {str(written)[:60]}")
            return None
        return float(written) if parameter.kind == "number" else written

    def named(self, estimator: Estimator, parameter: Parameter, written: Any) -> Any:
        """The estimator that is a parameter of another."""
        step = _step_of(written)
        part = ESTIMATORS.get(step.name) if step else None
        if step is None or part is None or part.role not in parameter.roles:
            shown = step.name if step else str(written)
            names = of_role(*parameter.roles)
            self.wrong(
                f"`{parameter.name}` of {estimator.name} must be {parameter.expected(names)}, not {shown[:60]}",
                suggestion(shown[:60], names),
            )
            return None
        return self.part(part, step.parameters)

    def choices(self, estimator: Estimator, written: Any) -> list[list[Any]]:
        """The pipelines to choose from."""
        if not isinstance(written, list | tuple) or not 2 <= len(written) <= MOST_CHOICES:
            self.wrong(f"`models` of {estimator.name} must be a list of 2 to {MOST_CHOICES} pipelines")
            return []
        made = []
        for pipeline in written:
            steps = [_step_of(each) for each in (pipeline if isinstance(pipeline, list | tuple) else [pipeline])]
            if None in steps:
                self.wrong(f"a pipeline in `models` of {estimator.name} is a list of estimators by name")
            else:
                made.append(self.pipeline([step for step in steps if step], nested=True))
        return made


def _step_of(written: Any) -> Step | None:
    """`Name`, or `{Name: {parameter: value}}`, as a step."""
    if isinstance(written, Step):
        return written
    if isinstance(written, str):
        return Step(written)
    if isinstance(written, Mapping) and len(written) == 1:
        ((name, parameters),) = written.items()
        if isinstance(name, str) and (parameters is None or isinstance(parameters, Mapping)):
            return Step(name, parameters or {})  # type: ignore[arg-type]
    return None
