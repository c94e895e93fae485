"""Model files as a JSON Schema (2020-12), made of `online_models.reference`: for editors that complete and check while one types.

What needs more than the shape of the file (a target that does not go with the task, a pipeline that cannot be made) only the parser sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from online_models import reference
from online_models.estimators import ESTIMATORS, FINAL_ROLE, of_role
from online_models.features import KINDS, FeatureKind
from online_models.named import PARAMETERS
from online_models.parameter import MOST_CHOICES, Estimator, Parameter
from online_models.parse import MOST_CANDIDATES, MOST_FEATURES, MOST_STEPS
from online_models.search import MOST_SEARCHED, MOST_VALUES
from rules.kinds.kind import Key
from rules.schema import Schema, closed, definitions, plain, ref

ID: Final = "urn:segue:model:1"
NAME: Final = "^[a-z0-9]+([-_][a-z0-9]+)*$"
_STEPS: Final = ("transformer", *FINAL_ROLE.values())


def model_schema() -> Schema:
    """The schema of a model file."""
    root = closed(reference.MODEL)
    root["properties"]["model"] |= _named()
    for name, (meaning, _, keys) in reference.PARTS.items():
        root["properties"][name] = {**_part(name, keys), "description": plain(meaning)}
    root["properties"]["features"] = {
        **_list({"anyOf": [{"enum": _alone()}, *(ref(f"feature-{name}") for name in KINDS)]}, MOST_FEATURES),
        "description": "What is known of a customer: names of the vocabulary",
    }
    root["properties"]["candidates"] = {
        **_list(_candidate(), MOST_CANDIDATES),
        "description": "Ways to make the model; the first is champion until another is better",
    }
    root["properties"]["tune"] = {**_searches(), "description": plain(reference.SEARCH[0])}
    root["required"] = [*root["required"], "features", "candidates"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "A model",
        "description": "A model that learns in the job, as docs/models.md describes it.",
        **root,
        "$defs": {
            **_needed(),
            **{f"feature-{name}": _feature(kind) for name, kind in KINDS.items()},
            "step": {"anyOf": [*(ref(f"estimator-{name}") for name in _steps())]},
            **{f"estimator-{name}": _estimator(one) for name, one in ESTIMATORS.items() if name not in PARAMETERS},
            **{
                f"estimator-{name}": _written(
                    name, closed((), {each.name: _parameter(each) for each in PARAMETERS[name]})
                )
                for name in PARAMETERS
            },
        },
    }


def _needed() -> dict[str, Schema]:
    """What conditions on events, paths and durations refer to."""
    known = definitions()
    names = ("duration", "event", "path", "during", "comparison", "where", "reference", "references")
    return {name: known[name] for name in names}


def _named() -> Schema:
    return {"type": "string", "pattern": NAME, "maxLength": 64}


def _list(of: Schema, most: int) -> Schema:
    return {"type": "array", "items": of, "minItems": 1, "maxItems": most}


def _part(name: str, keys: Iterable[Key]) -> Schema:
    found = closed(keys)
    for key in found["properties"].values():
        if key.get("pattern", "").endswith("%$"):
            key["pattern"] = r"^[0-9]{1,3}(\.[0-9]{1,4})?%$"
    if name == "personas":
        sides = {"type": "object", "additionalProperties": {"enum": ["high", "low"]}}
        names = {"type": "object", "propertyNames": _named(), "additionalProperties": sides}
        found["properties"]["names"] = {"description": found["properties"]["names"]["description"], **names}
    return found


def _alone() -> list[str]:
    """The features that need nothing but their name."""
    return [name for name, kind in KINDS.items() if not any(key.required for key in kind.keys)]


def _feature(kind: FeatureKind) -> Schema:
    inner = {**closed(kind.keys), "description": plain(kind.meaning)}
    return {**closed((), {kind.name: inner}), "required": [kind.name], "title": kind.name}


def _candidate() -> Schema:
    found = closed(key for key in reference.CANDIDATE if key.name != "pipeline")
    found["properties"]["name"] |= _named()
    steps = next(key for key in reference.CANDIDATE if key.name == "pipeline")
    found["properties"]["pipeline"] = {**_list(ref("step"), MOST_STEPS), "description": plain(steps.meaning)}
    return {**found, "required": ["name", "pipeline"]}


def _searches() -> Schema:
    values: Schema = {"type": "array", "items": {}, "minItems": 2, "maxItems": MOST_VALUES}
    space: Schema = {
        "type": "object",
        "additionalProperties": {"anyOf": [closed(reference.SEARCH[2]), values]},
        "minProperties": 1,
        "maxProperties": MOST_SEARCHED,
    }
    return {"type": "object", "propertyNames": _named(), "additionalProperties": space, "minProperties": 1}


def _steps() -> list[str]:
    return sorted({*(name for name, one in ESTIMATORS.items() if one.role in _STEPS), *PARAMETERS})


def _estimator(one: Estimator) -> Schema:
    parameters = {parameter.name: _parameter(parameter) for parameter in one.parameters}
    required = [parameter.name for parameter in one.parameters if parameter.required]
    inner = closed((), parameters)
    return {
        **_written(one.name, {**inner, "required": required} if required else inner),
        "description": plain(one.meaning),
    }


def _written(name: str, parameters: Schema) -> Schema:
    """An estimator by its name alone, or with parameters."""
    with_parameters = {**closed((), {name: parameters}), "required": [name]}
    return {"anyOf": [{"const": name}, with_parameters] if "required" not in parameters else [with_parameters]}


def _parameter(one: Parameter) -> Schema:
    number: Schema = {"type": "number", "minimum": one.low, "maximum": one.high}
    match one.kind:
        case "number":
            return number
        case "whole":
            return {"type": "integer", "minimum": int(one.low), "maximum": int(one.high)}
        case "flag":
            return {"type": "boolean"}
        case "choice":
            return {"enum": list(one.choices)}
        case "pipelines":
            pipelines: Schema = _list(_list(ref("step"), MOST_STEPS), MOST_CHOICES)
            return {**pipelines, "minItems": 2}
        case "column":
            return {"type": "string", "minLength": 1}
    names = of_role(*one.roles)
    return {"anyOf": [*([number] if one.low < one.high else []), *(ref(f"estimator-{name}") for name in names)]}
