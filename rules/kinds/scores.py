"""`score` and `cluster`: what models say of the customer. The profile keeps their newest outputs and when each came."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from profiles.document import Mapping
from profiles.profile import NEVER, Profile
from profiles.values import micros
from rules.compiled import NO, YES, Compiled, moment
from rules.definition import Cluster, Condition, Operator, Score, Trait
from rules.duration import format_duration
from rules.kinds.kind import Key, Kind
from rules.predicates import compare_exactly, thresholds

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader

_OPERATORS: Final = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN)
_AGE: Final = Key("max_age", "duration", "a score older than this counts as missing")
_MISSING: Final = Key("when_missing", "boolean", "what the condition says while there is no score; false unless told")


def _read_score(reader: ConditionReader, outer: Mapping) -> Condition:
    node = reader.mapping(outer["score"], "`score`", "write `score: {model: churn, gte: 0.7}`")
    if node is None:
        return Trait(())
    reader.known_keys(node, SCORE)
    model = _model(reader, node)
    tests = reader.numbers(node, _OPERATORS, "`score`", "number")
    score = Score(model, tests, _max_age(reader, node), _when_missing(reader, node))
    return reader.with_exit(node, score)


def _read_cluster(reader: ConditionReader, outer: Mapping) -> Condition:
    node = reader.mapping(outer["cluster"], "`cluster`", "write `cluster: {model: personas, in: [bargain-hunters]}`")
    if node is None:
        return Trait(())
    reader.known_keys(node, CLUSTER)
    among: tuple[str, ...] = ()
    if "in" in node:
        example = "write `in: [bargain-hunters]`"
        among = tuple(reader.text(one, "a persona") for one in reader.entries(node["in"], "`in`", 100, example))
    else:
        reader.wrong(node, "'in' is missing here", "say which personas: `in: [bargain-hunters]`")
    return Cluster(_model(reader, node), among, _max_age(reader, node), _when_missing(reader, node))


def _model(reader: ConditionReader, node: Mapping) -> str:
    if "model" in node:
        return reader.text(node["model"], "`model`", 64)
    reader.wrong(node, "'model' is missing here", "say which model: `model: churn`")
    return ""


def _max_age(reader: ConditionReader, node: Mapping) -> int | None:
    return reader.duration(node["max_age"], "`max_age`") if "max_age" in node else None


def _when_missing(reader: ConditionReader, node: Mapping) -> bool:
    found = node.get("when_missing")
    return found is not None and reader.flag(found, "`when_missing`")


def _compile_score(compiler: Compiler, one: Score) -> Compiled:
    compares = [compare_exactly(test) for test in one.tests]

    def holds(score: Any) -> bool:
        number = micros(score)
        return number is not None and all(compare(number, 1) for compare in compares)

    return _of_model(
        f"score of {one.model}", one, holds, lambda score: micros(score) is not None, thresholds(one.tests)
    )


def _compile_cluster(compiler: Compiler, one: Cluster) -> Compiled:
    among = frozenset(one.among)
    threshold = {"in": sorted(among)}
    return _of_model(
        f"cluster of {one.model}", one, among.__contains__, lambda score: isinstance(score, str), threshold
    )


def _of_model(
    text: str, one: Score | Cluster, holds: Callable[[Any], bool], usable: Callable[[Any], bool], threshold: Any
) -> Compiled:
    model, missing = one.model, one.when_missing
    lasts = NEVER if one.max_age is None else one.max_age

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        written = profile.scores.get(model)
        if written is None or not usable(written[0]):
            return YES if missing else NO
        until = written[1] + lasts if lasts < NEVER else NEVER
        if until <= clock:
            return YES if missing else NO
        return holds(written[0]), until

    def measure(profile: Profile, clock: int) -> Any:
        written = profile.scores.get(model)
        if written is None:
            return None
        return {"score": written[0], "since": moment(written[1])} if one.max_age else written[0]

    if one.max_age is not None:
        threshold = {**threshold, "max_age": format_duration(one.max_age)}
    return Compiled(text, evaluate, scores=frozenset((model,)), measure=measure, threshold=threshold)


SCORE: Final = Kind(
    "score",
    "A model's newest output for the customer compares so.",
    "score: {model: churn, gte: 0.7, exit_below: 0.6}",
    "mapping",
    _read_score,
    _compile_score,
    (Score,),
    keys=(
        Key("model", "text", "the name of the model", required=True),
        Key("exit_below", "number", "who is in stays until the score is below this"),
        Key("exit_above", "number", "who is in stays until the score is above this"),
        _AGE,
        _MISSING,
    ),
    operators=tuple(one.value for one in _OPERATORS),
)

CLUSTER: Final = Kind(
    "cluster",
    "A model has put the customer into one of these personas.",
    "cluster: {model: personas, in: [bargain-hunters, gift-buyers]}",
    "mapping",
    _read_cluster,
    _compile_cluster,
    (Cluster,),
    keys=(
        Key("model", "text", "the name of the model", required=True),
        Key("in", "texts", "the personas", required=True),
        _AGE,
        _MISSING,
    ),
)

KINDS: Final = (SCORE, CLUSTER)
