"""Model files: YAML to a `Model`, or all that is wrong with it, each with line and column."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final, Literal, cast

from online_models import making
from online_models.definition import (
    Candidate,
    Feature,
    Model,
    PersonaRule,
    Step,
    Target,
    Task,
)
from online_models.features import read_feature
from online_models.part_reader import (
    LONGEST_MODEL_NAME,
    NAME,
    USUAL_LEARNING,
    USUAL_SCORING,
    PartReader,
    usual_promotion,
)
from online_models.search import read_searches
from profiles.document import DocumentError, Node, Scalar, load, suggestion
from profiles.document import Mapping as MappingNode
from rules.definition import EventRef
from rules.errors import RuleError, RuleErrors
from rules.payload import MOST_MODELS

TASKS: Final = ("classification", "regression", "clustering", "anomaly")
MOST_FEATURES: Final = 100
MOST_CANDIDATES: Final = 5
MOST_STEPS: Final = 8
LONGEST_DESCRIPTION: Final = 4000

KEYS: Final = (
    "model",
    "name",
    "owner",
    "description",
    "task",
    "timezone",
    "target",
    "features",
    "candidates",
    "personas",
    "score",
    "learn",
    "promote",
    "fairness",
    "tune",
)


def parse_model(text: str, file: str) -> Model:
    """The model in a file's text; `RuleErrors` with all that is wrong. `file` names it in errors, and its stem is the model's name."""
    try:
        document = load(text, file)
    except DocumentError as error:
        raise RuleErrors([RuleError(error.file, error.line, error.column, error.message, error.hint)]) from None
    reader = _ModelReader()
    model = reader.model(document)
    if reader.errors or model is None:
        raise RuleErrors(reader.errors, reader.unlisted)
    return dataclasses.replace(model, digest=digest(model))


def parse_models(texts: Mapping[str, str]) -> tuple[Model, ...]:
    """The models in texts by the names of their files, in order of model names; `RuleErrors` with all that is wrong."""
    found: dict[str, Model] = {}
    errors: list[RuleError] = []
    unlisted = 0
    for file, text in sorted(texts.items()):
        try:
            model = parse_model(text, file)
        except RuleErrors as wrong:
            errors += wrong.errors
            unlisted += wrong.more
            continue
        if model.name in found:
            errors.append(
                RuleError(file, 1, 1, f"model {model.name!r} is declared in {found[model.name].file} as well")
            )
        found[model.name] = model
    if len(found) > MOST_MODELS:
        errors.append(RuleError(min(texts), 1, 1, f"{len(found)} models, more than {MOST_MODELS}"))
    if errors:
        raise RuleErrors(errors, unlisted)
    return tuple(found[name] for name in sorted(found))


def digest(model: Model) -> str:
    """What a model means, as 16 hexadecimal digits: all but its texts and where things stand in the file."""
    said = {
        field.name: _plain(getattr(model, field.name))
        for field in dataclasses.fields(model)
        if field.name not in ("title", "owner", "description", "digest", "file", "promotion", "fairness", "searches")
    }
    if model.task != "clustering":
        # As it was when personas had nothing else to tell: others go on with what they have learnt.
        said["personas"] = ["PersonaRule", 2, 8, []]
    canonical = json.dumps(said, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = (field.name for field in dataclasses.fields(value) if field.name not in ("line", "column"))
        return [type(value).__name__, *(_plain(getattr(value, name)) for name in fields)]
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


class _ModelReader(PartReader):
    """Reads one model file."""

    def model(self, document: Node) -> Model | None:
        root = self.mapping(document, "a model file", "it begins with `model: <name>`")
        if root is None:
            return None
        self.only(root, KEYS)
        name = self.model_name(root)
        texts = {
            key: self.text(root[key], f"`{key}`", LONGEST_DESCRIPTION) if key in root else ""
            for key in ("name", "owner", "description")
        }
        task = self.task(root)
        features = self.features(root)
        supervised = task in ("classification", "regression")
        target = self.target(root, task) if supervised else None
        for key in ("target", "promote", "fairness", "tune") if not supervised else ("personas",):
            if key in root:
                self.wrong(root.keys[key], f"`{key}` has no meaning for {task}", "leave it out")
        promotion = self.promotion(root["promote"], task) if supervised and "promote" in root else usual_promotion(task)
        fairness = self.fairness(root["fairness"], features, task) if supervised and "fairness" in root else None
        model = Model(
            name,
            task,
            features,
            self.candidates(root, task),
            target,
            self.scoring(root["score"]) if "score" in root else USUAL_SCORING,
            self.learning(root["learn"], task) if "learn" in root else USUAL_LEARNING,
            promotion,
            fairness,
            self.personas(root["personas"], features) if task == "clustering" and "personas" in root else PersonaRule(),
            texts["name"] or name,
            texts["owner"],
            texts["description"],
            self.zone(root["timezone"], "`timezone`") if "timezone" in root else None,
            file=root.file,
        )
        if not self.errors:
            self.check_pipelines(root, model)
        if not self.errors and "tune" in root:
            return dataclasses.replace(model, searches=read_searches(self, root["tune"], model))
        return model

    def model_name(self, root: MappingNode) -> str:
        node = root.get("model")
        if node is None:
            near = suggestion("model", [key for key in root if key not in KEYS])
            self.wrong(
                root, "'model' is missing here", near if near.startswith("did") else "begin with `model: <name>`"
            )
            return ""
        name = self.text(node, "`model`", LONGEST_MODEL_NAME)
        if not name:
            return ""
        if not NAME.fullmatch(name):
            self.wrong(node, "the name of a model is small letters and digits, words joined by dashes or underscores")
            return ""
        stem = PurePath(node.file).name.removesuffix(".yaml")
        if stem != name:
            self.wrong(node, f"model {name!r} stands in a file named {stem[:100]!r}", f"rename the file to {name}.yaml")
        return name

    def task(self, root: MappingNode) -> Task:
        node = root.get("task")
        if node is None:
            self.wrong(root, "'task' is missing here", f"one of {', '.join(TASKS)}")
            return "classification"
        return cast(Task, self.one_of(node, "`task`", TASKS))

    # --- what is foretold -------------------------------------------------------------------------------------------

    def target(self, root: MappingNode, task: Task) -> Target | None:
        example = "write `target: {event: Order Completed, within: 7d}`"
        if task == "regression":
            example = "write `target: {sum: properties.revenue, event: Order Completed, within: 90d}`"
        found = root.get("target")
        if found is None:
            self.wrong(root, "'target' is missing here", example)
            return None
        node = self.mapping(found, "`target`", example)
        if node is None:
            return None
        self.only(node, ("event", "absent", "sum", "where", "within"))
        if "within" not in node:
            self.wrong(node, "'within' is missing here", "say how far ahead is looked: `within: 7d`")
            return None
        within = self.duration(node["within"], "`within`")
        key = "absent" if "absent" in node else "event"
        if key not in node:
            self.wrong(node, "`target` names no event", example)
            return None
        if "absent" in node and "event" in node:
            self.wrong(node.keys["absent"], "'absent' stands beside 'event'", "one of them says what is looked for")
        ref = EventRef(self.event_name(node[key], f"`{key}`"), self.where(node))
        kind: Literal["happens", "absent", "sum"] = "absent" if key == "absent" else "happens"
        if "sum" in node:
            kind = "sum"
        if (kind == "sum") != (task == "regression"):
            self.wrong(node, f"this target does not go with {task}", example)
        of = self.path(node["sum"], "`sum`") if "sum" in node else ""
        return Target(kind, ref, within, of, node["within"].line, node["within"].column)

    # --- what it is made of -----------------------------------------------------------------------------------------

    def features(self, root: MappingNode) -> tuple[Feature, ...]:
        example = "write `features: [recency, frequency]`"
        if "features" not in root:
            self.wrong(root, "'features' is missing here", example)
            return ()
        found: dict[str, Feature] = {}
        for node in self.entries(root["features"], "`features`", MOST_FEATURES, example):
            feature = read_feature(self, node)
            if feature is None:
                continue
            if feature.name in found:
                self.wrong(
                    node, f"there is a feature {feature.name!r} already", "give one of them a name: `as: <name>`"
                )
            found[feature.name] = feature
        return tuple(found.values())

    def candidates(self, root: MappingNode, task: Task) -> tuple[Candidate, ...]:
        example = "write `candidates: [{name: logistic, pipeline: [StandardScaler, LogisticRegression]}]`"
        if "candidates" not in root:
            self.wrong(root, "'candidates' is missing here", example)
            return ()
        found: list[Candidate] = []
        for entry in self.entries(root["candidates"], "`candidates`", MOST_CANDIDATES, example):
            node = self.mapping(entry, "a candidate", example)
            if node is None:
                continue
            self.only(node, ("name", "pipeline", "calibrate"))
            if missing := [key for key in ("name", "pipeline") if key not in node]:
                self.wrong(node, f"{missing[0]!r} is missing here", example)
                continue
            name = self.text(node["name"], "`name`", LONGEST_MODEL_NAME)
            if name and not NAME.fullmatch(name):
                self.wrong(node["name"], "the name of a candidate is small letters and digits, words joined by dashes")
            if any(one.name == name for one in found):
                self.wrong(node["name"], f"there is a candidate {name!r} already")
            steps = self.entries(
                node["pipeline"], "`pipeline`", MOST_STEPS, "write `[StandardScaler, LogisticRegression]`"
            )
            calibrate = "none"
            if "calibrate" in node:
                calibrate = self.one_of(node["calibrate"], "`calibrate`", ("none", "platt", "isotonic"))
                if task != "classification" and calibrate != "none":
                    self.wrong(node["calibrate"], f"probabilities are calibrated, and {task} has none", "leave it out")
            pipeline = tuple(step for one in steps if (step := self.step(one)) is not None)
            found.append(Candidate(name, pipeline, cast(Literal["none", "platt", "isotonic"], calibrate)))
        return tuple(found)

    def step(self, node: Node) -> Step | None:
        """`StandardScaler`, or `{LogisticRegression: {l2: 0.001}}`."""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return Step(node.value, line=node.line, column=node.column)
        example = "write `StandardScaler` or `{LogisticRegression: {l2: 0.001}}`"
        outer = self.mapping(node, "a step of a pipeline", example)
        if outer is None:
            return None
        if len(outer) != 1:
            self.wrong(outer, "a step of a pipeline has one name", example)
            return None
        ((name, inner),) = outer.items()
        parameters = self.mapping(inner, f"the parameters of {name[:60]}", example)
        if parameters is None:
            return None
        at = outer.keys[name]
        return Step(name, MappingProxyType(parameters.plain()), at.line, at.column)

    def check_pipelines(self, root: MappingNode, model: Model) -> None:
        """Note what is wrong with the estimators and their parameters."""
        columns = making.columns_of(model)
        for candidate in model.candidates:
            for problem in making.check(model, candidate, columns):
                self.errors.append(RuleError(root.file, problem.line, problem.column, problem.message, problem.hint))
