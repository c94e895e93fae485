"""Model files: YAML to a `Model`, or all that is wrong with it, each with line and column."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final, Literal, cast

from online_models import making
from online_models.definition import (
    Candidate,
    Fairness,
    Feature,
    Learning,
    Model,
    PersonaRule,
    Promotion,
    Scoring,
    Step,
    Target,
    Task,
)
from online_models.features import FeatureSet, read_feature
from online_models.search import read_searches
from profiles.document import DocumentError, Node, Scalar, load, suggestion
from profiles.document import Mapping as MappingNode
from rules.condition_reader import LONGEST_TRAIT, ConditionReader
from rules.definition import EventRef
from rules.errors import RuleError, RuleErrors
from rules.payload import MOST_MODELS
from rules.reader import LONGEST_NAME

TASKS: Final = ("classification", "regression", "clustering", "anomaly")
MOST_FEATURES: Final = 100
MOST_CANDIDATES: Final = 5
MOST_STEPS: Final = 8
LEAST_EXAMPLES: Final = 100
"""Examples that a candidate learns from before it is published, unless told."""

LONGEST_MODEL_NAME: Final = 64
LONGEST_DESCRIPTION: Final = 4000

PERSONA_COUNTS: Final = (
    ("fewest", 2, 50),
    ("most", 2, 50),
    ("first", 50, 10_000_000),
    ("memory", 100, 10_000_000),
    ("reviews", 1, 100),
    ("returns", 0, 100_000_000),
)
"""The keys of `personas` that are whole numbers, with their bounds."""

MOST_EMPTY: Final = 0.1
"""What more than this share of the customers are in is not empty."""

_NAME: Final = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%")
_DAY: Final = 86_400_000

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
OUTCOMES: Final = ("together", "at_once")
METRICS: Final[dict[str, tuple[str, ...]]] = {"classification": ("log_loss", "brier"), "regression": ("mae",)}
"""By task, the metrics by which a challenger is compared with the champion."""


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


class _ModelReader(ConditionReader):
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
        promotion = self.promotion(root["promote"], task) if supervised and "promote" in root else _promotion(task)
        fairness = self.fairness(root["fairness"], features, task) if supervised and "fairness" in root else None
        model = Model(
            name,
            task,
            features,
            self.candidates(root, task),
            target,
            self.scoring(root["score"]) if "score" in root else Scoring(3_600_000),
            self.learning(root["learn"], task) if "learn" in root else Learning(_DAY, least=LEAST_EXAMPLES),
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
        if not _NAME.fullmatch(name):
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

    def one_of(self, node: Node, what: str, among: tuple[str, ...]) -> str:
        """One of a few words; the first of them where it is wrong."""
        value = node.plain()
        if isinstance(value, str) and value in among:
            return value
        near = suggestion(str(value)[:60], among)
        self.wrong(node, f"{what} is one of {', '.join(among)}", near if near.startswith("did") else "")
        return among[0]

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
        return Target(kind, ref, within, self.path(node["sum"], "`sum`") if "sum" in node else "")

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
            if name and not _NAME.fullmatch(name):
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

    def personas(self, outer: Node, features: tuple[Feature, ...]) -> PersonaRule:
        example = "write `personas: {fewest: 3, most: 8, names: {bargain-hunters: {promo_clicks: high, spend: low}}}`"
        default = PersonaRule()
        node = self.mapping(outer, "`personas`", example)
        if node is None:
            return default
        self.only(node, tuple(one.name for one in dataclasses.fields(PersonaRule)))
        found: dict[str, Any] = {}
        for name, low, high in PERSONA_COUNTS:
            if name in node:
                found[name] = self.integer(node[name], f"`{name}`", low, high)
        found.setdefault("most", max(default.most, found.get("fewest", 0)))
        if found.get("fewest", default.fewest) > found["most"]:
            self.wrong(node, "the fewest personas are more than the most")
        if "margin" in node:
            found["margin"] = self.between_0_and_1(node["margin"], "`margin`", 0.0, 1.0)
        for name in ("stay", "empty"):
            if name in node:
                found[name] = self.share_of(node[name], f"`{name}`")
        if found.get("empty", 0.0) > MOST_EMPTY:
            self.wrong(node["empty"], f"`empty` is at most {MOST_EMPTY:.0%}", "what more are in is not empty")
        if "names" in node:
            found["names"] = self.persona_names(node["names"], features)
        return PersonaRule(**found)

    def persona_names(
        self, node: Node, features: tuple[Feature, ...]
    ) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
        """`{bargain-hunters: {promo_clicks: high, spend: low}}`"""
        example = "write `names: {bargain-hunters: {promo_clicks: high, spend: low}}`"
        numbers = [one.name for one in FeatureSet(features).columns if not one.category]
        names = []
        outer_names = self.mapping(node, "`names`", example)
        for name, inner in outer_names.items() if outer_names is not None else ():
            if not _NAME.fullmatch(name) or len(name) > LONGEST_MODEL_NAME:
                self.wrong(inner, "the name of a persona is small letters and digits, words joined by dashes")
            told = self.mapping(inner, "what tells a persona", example)
            sides = told.items() if told is not None else ()
            for at, _ in sides:
                if at not in numbers:
                    self.wrong(
                        told.keys[at] if told is not None else inner,
                        f"there is no feature {at[:60]!r} here",
                        suggestion(at[:60], numbers),
                    )
            names.append(
                (
                    name,
                    tuple(
                        (at, 1 if self.one_of(side, "a side", ("high", "low")) == "high" else -1) for at, side in sides
                    ),
                )
            )
        return tuple(names)

    # --- when -------------------------------------------------------------------------------------------------------

    def scoring(self, outer: Node) -> Scoring:
        node = self.mapping(outer, "`score`", "write `score: {every: 1h, refresh: 1d}`")
        if node is None:
            return Scoring()
        self.only(node, ("every", "refresh"))
        every = self.duration_or_none(node["every"], "`every`") if "every" in node else 3_600_000
        refresh = self.duration(node["refresh"], "`refresh`") if "refresh" in node else None
        if refresh is not None and refresh < 60_000:
            self.wrong(node["refresh"], "`refresh` is at least 1m")
        return Scoring(every, refresh)

    def duration_or_none(self, node: Node, what: str) -> int:
        return 0 if node.plain() in ("0s", "0m", "0ms") else self.duration(node, what)

    def learning(self, outer: Node, task: Task) -> Learning:
        example = "write `learn: {every: 1d, publish: 1h}`"
        node = self.mapping(outer, "`learn`", example)
        if node is None:
            return Learning(_DAY, least=LEAST_EXAMPLES)
        self.only(node, ("every", "sample", "negatives", "publish", "publish_examples", "least", "outcomes"))
        outcomes = self.one_of(node["outcomes"], "`outcomes`", OUTCOMES) if "outcomes" in node else "together"
        if outcomes == "at_once" and task != "classification":
            why = "a sum is known when its time is over" if task == "regression" else f"{task} learns without outcomes"
            self.wrong(node["outcomes"], f"`at_once` has no meaning for {task}: {why}", "leave `outcomes` out")
        least = Learning(_DAY)
        return Learning(
            self.duration(node["every"], "`every`") if "every" in node else least.every,
            self.share_of(node["sample"], "`sample`") if "sample" in node else least.sample,
            self.share_of(node["negatives"], "`negatives`") if "negatives" in node else least.negatives,
            self.duration(node["publish"], "`publish`") if "publish" in node else least.publish,
            self.integer(node["publish_examples"], "`publish_examples`", 1, 1_000_000)
            if "publish_examples" in node
            else least.publish_examples,
            self.integer(node["least"], "`least`", 1, 1_000_000) if "least" in node else LEAST_EXAMPLES,
            cast(Literal["together", "at_once"], outcomes),
        )

    def promotion(self, outer: Node, task: Task) -> Promotion:
        default = _promotion(task)
        node = self.mapping(outer, "`promote`", "write `promote: {metric: log_loss, margin: 2%, least: 1000}`")
        if node is None:
            return default
        self.only(node, ("metric", "margin", "confidence", "least", "automatic"))
        metric = default.metric
        if "metric" in node:
            metric = cast(Literal["log_loss", "brier", "mae"], self.one_of(node["metric"], "`metric`", METRICS[task]))
        return Promotion(
            metric,
            self.share_of(node["margin"], "`margin`", least=0.0) if "margin" in node else default.margin,
            self.between_0_and_1(node["confidence"], "`confidence`", 0.5, 0.9999) if "confidence" in node else 0.95,
            self.integer(node["least"], "`least`", 10, 10_000_000) if "least" in node else default.least,
            self.flag(node["automatic"], "`automatic`") if "automatic" in node else True,
        )

    def fairness(self, outer: Node, features: Iterable[Feature], task: Task) -> Fairness | None:
        example = "write `fairness: {trait: gender, threshold: 0.5, bound: 0.1}`"
        node = self.mapping(outer, "`fairness`", example)
        if node is None:
            return None
        self.only(node, ("trait", "threshold", "bound", "constrain"))
        if missing := [key for key in ("trait", "threshold", "bound") if key not in node]:
            self.wrong(node, f"{missing[0]!r} is missing here", example)
            return None
        trait = self.text(node["trait"], "`trait`", min(LONGEST_NAME, LONGEST_TRAIT))
        for feature in features:
            if _looks_at_trait(feature.parameters, trait):
                hint = "leave the feature out: what a model must not decide by, it must not see"
                self.wrong(
                    node["trait"], f"trait {trait!r} is protected, and feature {feature.name!r} is made of it", hint
                )
        constrain = self.flag(node["constrain"], "`constrain`") if "constrain" in node else False
        if constrain and task != "classification":
            self.wrong(node["constrain"], f"thresholds are for probabilities, and {task} has none", "leave it out")
        return Fairness(
            trait,
            self.between_0_and_1(node["threshold"], "`threshold`", 0.0, 1.0),
            self.between_0_and_1(node["bound"], "`bound`", 0.0, 1.0),
            constrain,
        )

    # --- single values ----------------------------------------------------------------------------------------------

    def share_of(self, node: Node, what: str, least: float = 0.0001) -> float:
        """A share such as `50%`; 1 where it is wrong."""
        text = node.plain()
        found = _SHARE.fullmatch(text) if isinstance(text, str) else None
        if found is None or not least * 100 <= float(found[1]) <= 100:
            self.wrong(node, f"{what} must be a share up to 100%", f"write `{what.strip('`')}: 50%`")
            return 1.0
        return float(found[1]) / 100

    def between_0_and_1(self, node: Node, what: str, low: float, high: float) -> float:
        number = self.number(node, what)
        if not low <= number <= high:
            self.wrong(node, f"{what} must be between {low} and {high}")
            return high
        return float(number)


def _promotion(task: Task) -> Promotion:
    return Promotion("mae" if task == "regression" else "log_loss")


def _looks_at_trait(parameters: Any, trait: str) -> bool:
    """Whether the parameters of a feature name the trait, as a trait or as a path."""
    if isinstance(parameters, str):
        return parameters in (trait, f"traits.{trait}")
    if dataclasses.is_dataclass(parameters):
        return any(_looks_at_trait(getattr(parameters, one.name), trait) for one in dataclasses.fields(parameters))
    if isinstance(parameters, tuple | list):
        return any(_looks_at_trait(one, trait) for one in parameters)
    return False
