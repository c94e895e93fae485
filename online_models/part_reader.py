"""The parts of a model file that may be left out: `score`, `learn`, `promote`, `fairness`, `personas`, each with what holds unless told."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any, Final, Literal, cast

from online_models.definition import Fairness, Feature, Learning, PersonaRule, Promotion, Scoring, Task
from online_models.features import FeatureSet
from profiles.document import Node, suggestion
from rules.condition_reader import LONGEST_TRAIT, ConditionReader
from rules.reader import LONGEST_NAME

LONGEST_MODEL_NAME: Final = 64
USUAL_SCORING: Final = Scoring(3_600_000)
USUAL_LEARNING: Final = Learning(86_400_000, least=100)
"""What holds where nothing is said of it."""

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

NAME: Final = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
"""What a model, a candidate and a persona may be called."""

_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%")

OUTCOMES: Final = ("together", "at_once")
METRICS: Final[dict[str, tuple[str, ...]]] = {"classification": ("log_loss", "brier"), "regression": ("mae",)}
"""By task, the metrics by which a challenger is compared with the champion."""


class PartReader(ConditionReader):
    """Reads the parts that may be left out, and such values as all of a model file is made of."""

    # --- when -------------------------------------------------------------------------------------------------------

    def scoring(self, outer: Node) -> Scoring:
        node = self.mapping(outer, "`score`", "write `score: {every: 1h, refresh: 1d}`")
        if node is None:
            return Scoring()
        self.only(node, ("every", "refresh"))
        every = self.duration_or_none(node["every"], "`every`") if "every" in node else USUAL_SCORING.every
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
            return USUAL_LEARNING
        self.only(node, ("every", "sample", "negatives", "publish", "publish_examples", "least", "outcomes"))
        outcomes = self.one_of(node["outcomes"], "`outcomes`", OUTCOMES) if "outcomes" in node else "together"
        if outcomes == "at_once" and task != "classification":
            why = "a sum is known when its time is over" if task == "regression" else f"{task} learns without outcomes"
            self.wrong(node["outcomes"], f"`at_once` has no meaning for {task}: {why}", "leave `outcomes` out")
        usual = USUAL_LEARNING
        return Learning(
            self.duration(node["every"], "`every`") if "every" in node else usual.every,
            self.share_of(node["sample"], "`sample`") if "sample" in node else usual.sample,
            self.share_of(node["negatives"], "`negatives`") if "negatives" in node else usual.negatives,
            self.duration(node["publish"], "`publish`") if "publish" in node else usual.publish,
            self.integer(node["publish_examples"], "`publish_examples`", 1, 1_000_000)
            if "publish_examples" in node
            else usual.publish_examples,
            self.integer(node["least"], "`least`", 1, 1_000_000) if "least" in node else usual.least,
            cast(Literal["together", "at_once"], outcomes),
        )

    def promotion(self, outer: Node, task: Task) -> Promotion:
        default = usual_promotion(task)
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
            if not NAME.fullmatch(name) or len(name) > LONGEST_MODEL_NAME:
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

    # --- single values ----------------------------------------------------------------------------------------------

    def one_of(self, node: Node, what: str, among: tuple[str, ...]) -> str:
        """One of a few words; the first of them where it is wrong."""
        value = node.plain()
        if isinstance(value, str) and value in among:
            return value
        near = suggestion(str(value)[:60], among)
        self.wrong(node, f"{what} is one of {', '.join(among)}", near if near.startswith("did") else "")
        return among[0]

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


def usual_promotion(task: Task) -> Promotion:
    """What holds where nothing is said of it."""
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
