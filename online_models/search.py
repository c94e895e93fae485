"""What `tune` of a model file may search: parameters of a candidate by their paths, each within what the safe list allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from online_models.definition import Candidate, Choice, Model, Scale, Search
from online_models.estimators import ESTIMATORS, of_role
from online_models.making import check, columns_of
from online_models.named import PARAMETERS
from online_models.parameter import Parameter
from profiles.document import Mapping as MappingNode
from profiles.document import Node, suggestion
from rules.condition_reader import ConditionReader

CALIBRATE: Final = "calibrate"
MOST_SEARCHED: Final = 10
MOST_VALUES: Final = 20
_CALIBRATIONS: Final = Parameter(CALIBRATE, "choice", choices=("none", "platt", "isotonic"))
_EXAMPLE: Final = "write `tune: {logistic: {LogisticRegression.l2: {from: 0.00001, to: 0.1, log: true}}}`"


class NoParameter(Exception):
    """There is nothing to search at a path: the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


# --- where ------------------------------------------------------------------------------------------------------------


def parameter_at(task: str, candidate: Candidate, path: str) -> Parameter:
    """The parameter that a path leads to. `NoParameter` where the candidate has none there.

    >>> from online_models.definition import Step
    >>> line = Candidate("line", (Step("StandardScaler"), Step("LogisticRegression")))
    >>> parameter_at("classification", line, "LogisticRegression.optimizer.SGD.lr").high
    10.0
    """
    first, *names = path.split(".")
    if path == CALIBRATE and task == "classification":
        return _CALIBRATIONS
    steps = [step for step in candidate.pipeline if step.name == first]
    if len(steps) != 1:
        known = [step.name for step in candidate.pipeline] + ([CALIBRATE] if task == "classification" else [])
        found = "stands more than once" if steps else "is not"
        raise NoParameter(f"{first[:60]!r} {found} in candidate {candidate.name!r}", suggestion(first[:60], known))
    written: Any = steps[0].parameters
    estimator = first
    while True:
        parameter = _parameter(estimator, names.pop(0) if names else "")
        if not names:
            return parameter
        written = written.get(parameter.name) if isinstance(written, Mapping) else None
        estimator, written = _part(estimator, parameter, names.pop(0), written)


def _parameter(estimator: str, name: str) -> Parameter:
    """The parameter of an estimator by its name, if it can be searched."""
    known = PARAMETERS[estimator] if estimator in PARAMETERS else ESTIMATORS[estimator].parameters
    searched = {one.name: one for one in known if one.kind not in ("pipelines", "column")}
    if name not in searched:
        message = f"{estimator} has no parameter {name[:60]!r} here" if name else f"say which parameter of {estimator}"
        raise NoParameter(message, suggestion(name[:60], searched) or f"{estimator} takes no parameters")
    return searched[name]


def _part(estimator: str, parameter: Parameter, name: str, written: Any) -> tuple[str, Any]:
    """The estimator that a path names as a parameter of another, and what is written of it in the file."""
    known = of_role(*parameter.roles) if parameter.kind == "part" else []
    if name not in known:
        hint = suggestion(name[:60], known) or f"`{parameter.name}` is {parameter.expected()}"
        raise NoParameter(f"`{parameter.name}` of {estimator} is not made of {name[:60]!r}", hint)
    if isinstance(written, str):
        written = {written: None}
    if isinstance(written, Mapping) and list(written) != [name]:
        raise NoParameter(f"`{parameter.name}` of {estimator} is {', '.join(map(str, written))} in this candidate")
    return name, written[name] if isinstance(written, Mapping) else None


def changed(candidate: Candidate, values: Mapping[str, Any], name: str | None = None) -> Candidate:
    """The candidate with other values at these paths, under another name if one is given.

    >>> from online_models.definition import Step
    >>> line = Candidate("line", (Step("LogisticRegression", MappingProxyType({"l2": 0.1})),))
    >>> found = changed(line, {"LogisticRegression.optimizer.SGD.lr": 0.5, "calibrate": "platt"})
    >>> dict(found.pipeline[0].parameters), found.calibrate
    ({'l2': 0.1, 'optimizer': {'SGD': {'lr': 0.5}}}, 'platt')
    """
    found = candidate if name is None else dataclasses.replace(candidate, name=name)
    for path, value in values.items():
        if path == CALIBRATE:
            found = dataclasses.replace(found, calibrate=value)
            continue
        first, *names = path.split(".")
        steps = tuple(
            dataclasses.replace(step, parameters=MappingProxyType(_with(step.parameters, names, value)))
            if step.name == first
            else step
            for step in found.pipeline
        )
        found = dataclasses.replace(found, pipeline=steps)
    return found


def _with(parameters: Any, names: list[str], value: Any) -> dict[str, Any]:
    before = dict(parameters) if isinstance(parameters, Mapping) else {}
    name, *rest = names
    if not rest:
        return {**before, name: value}
    part, *inner = rest
    known = before.get(name)
    return {**before, name: {part: _with(known.get(part) if isinstance(known, Mapping) else None, inner, value)}}


# --- what a file says -------------------------------------------------------------------------------------------------


def read_searches(reader: ConditionReader, outer: Node, model: Model) -> tuple[Search, ...]:
    """The searches under `tune`, by candidate; what is wrong is noted. The model's candidates have to be right already."""
    node = reader.mapping(outer, "`tune`", _EXAMPLE)
    if node is None:
        return ()
    found = []
    for name, space in node.items():
        candidate = next((one for one in model.candidates if one.name == name), None)
        if candidate is None:
            hint = suggestion(name[:60], [one.name for one in model.candidates])
            reader.wrong(node.keys[name], f"there is no candidate {name[:60]!r}", hint)
        elif (inner := reader.mapping(space, f"what is searched of {name}", _EXAMPLE)) is not None:
            found.append(_read_space(reader, node.keys[name], inner, model, candidate))
    if not node:
        reader.wrong(outer, "`tune` is empty", _EXAMPLE)
    return tuple(found)


def _read_space(reader: ConditionReader, at: Node, node: MappingNode, model: Model, candidate: Candidate) -> Search:
    if not 0 < len(node) <= MOST_SEARCHED:
        reader.wrong(node, f"a search is over 1 to {MOST_SEARCHED} parameters, not {len(node)}")
        return Search(candidate.name, ())
    before = len(reader.errors)
    space: list[Scale | Choice] = []
    for path, inner in node.items():
        if any(path.startswith(f"{other}.") for other in node):
            reader.wrong(node.keys[path], f"{path[:100]} lies in what is searched as a whole", "keep one of the two")
            continue
        try:
            parameter = parameter_at(model.task, candidate, path)
        except NoParameter as error:
            reader.wrong(node.keys[path], str(error), error.hint)
            continue
        one = _read_one(reader, inner, path, parameter)
        if one is not None:
            _try_out(reader, inner, model, candidate, one)
            space.append(one)
    if len(reader.errors) == before:
        together = {one.path: _ends(one)[-1] for one in space}
        for problem in check(model, changed(candidate, together), columns_of(model)):
            reader.wrong(at, f"not all of this can be searched at once: {problem.message}", problem.hint)
    return Search(candidate.name, tuple(space))


def _read_one(reader: ConditionReader, node: Node, path: str, parameter: Parameter) -> Scale | Choice | None:
    """`{from: 0.1, to: 1, log: true}`, or a list of values."""
    if not isinstance(node, MappingNode):
        entries = reader.entries(node, f"what is tried of {path}", MOST_VALUES, _EXAMPLE, least=2)
        values = [one.plain() for one in entries]
        for place, value in enumerate(values):
            if value in values[:place]:
                reader.wrong(entries[place], f"{str(value)[:60]} stands there twice")
            elif parameter.kind != "part" and not parameter.takes(value):
                message = f"`{parameter.name}` must be {parameter.expected()}, not {str(value)[:60]}"
                reader.wrong(entries[place], message)
                return None
        return Choice(path, tuple(values)) if values else None
    reader.only(node, ("from", "to", "log"))
    if missing := [key for key in ("from", "to") if key not in node]:
        reader.wrong(node, f"{missing[0]!r} is missing here", "write `{from: 0.001, to: 0.3}`, or a list of values")
        return None
    low, high = (reader.number(node[key], f"`{key}`") for key in ("from", "to"))
    for key, value in (("from", low), ("to", high)):
        if not parameter.takes(value):
            expected = parameter.expected(of_role(*parameter.roles))
            reader.wrong(node[key], f"`{parameter.name}` must be {expected}, not {value}")
            return None
    if not low < high:
        reader.wrong(node, "`from` is not below `to`")
        return None
    log = reader.flag(node["log"], "`log`") if "log" in node else False
    if log and low <= 0:
        reader.wrong(node["from"], "with `log`, `from` is above 0")
        return None
    return Scale(path, low, high, log, parameter.kind == "whole")


def _ends(one: Scale | Choice) -> tuple[Any, ...]:
    return (one.low, one.high) if isinstance(one, Scale) else one.values


def _try_out(reader: ConditionReader, node: Node, model: Model, candidate: Candidate, one: Scale | Choice) -> None:
    """Note it where a candidate could not be made with one of the values."""
    for value in _ends(one):
        problems = check(model, changed(candidate, {one.path: value}), columns_of(model))
        if problems:
            reader.wrong(node, f"{one.path} cannot be {str(value)[:60]}: {problems[0].message}", problems[0].hint)
            return
