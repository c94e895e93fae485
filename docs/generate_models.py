"""The page about models and the JSON Schema of model files, made of `online_models`; `docs/generate.py` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from docs.generate_rules import cell, key_table
from online_models import reference
from online_models.estimators import ESTIMATORS
from online_models.features import KINDS, FeatureKind
from online_models.named import MEANINGS, PARAMETERS
from online_models.parameter import Estimator, Parameter
from online_models.schema import model_schema

DOCS = Path(__file__).resolve().parent
TEMPLATE = DOCS / "models.template.md"

_ROLES = {
    "transformer": "Before others",
    "classifier": "For classification",
    "regressor": "For regression",
    "anomaly": "For anomalies",
    "optimizer": "Optimizers",
    "rate": "Learning rates",
    "loss": "Losses",
    "splitter": "Splitters of trees",
    "detector": "Detectors of change in trees",
}


def model_schema_text() -> str:
    """The JSON Schema as it is written to `docs/schemas/model.json`."""
    return json.dumps(model_schema(), indent=2, ensure_ascii=False) + "\n"


def models_page() -> str:
    """The page: the template with each mark replaced by what is known there."""
    page = TEMPLATE.read_text("utf-8")
    parts = {
        "model": key_table(reference.MODEL),
        "parts": "\n\n".join(
            f"### {name}\n\n{meaning}\n\n```yaml\n{example}\n```\n\n{key_table(keys)}"
            for name, (meaning, example, keys) in reference.PARTS.items()
        ),
        "candidate": key_table(reference.CANDIDATE),
        "tune": f"{reference.SEARCH[0]}\n\n```yaml\n{reference.SEARCH[1]}\n```\n\n{key_table(reference.SEARCH[2])}",
        "index": _index(),
        "features": "\n\n".join(map(_feature, KINDS.values())),
        "estimators": "\n\n".join(_estimators()),
        "named": _named(),
    }
    for name, text in parts.items():
        mark = f"<!-- {name} -->"
        if page.count(mark) != 1:
            raise ValueError(f"{TEMPLATE.name} needs {mark} once")
        page = page.replace(mark, text)
    # What the rules' reference explains is explained there.
    return page.replace("(#during)", "(rules.md#during)").replace("a list of [steps](#steps)", "a list of estimators")


def _index() -> str:
    lines = ["| feature | what it is |", "|---|---|"]
    lines += [f"| [`{one.name}`](#{one.name}) | {cell(one.meaning)} |" for one in KINDS.values()]
    return "\n".join(lines)


def _feature(kind: FeatureKind) -> str:
    parts = [f"#### {kind.name}", kind.meaning, f"```yaml\n- {{{kind.example}}}\n```" if kind.keys else ""]
    return "\n\n".join([*filter(None, parts), key_table(kind.keys), f"Kept of each customer: {kind.state}."])


def _estimators() -> Iterable[str]:
    for role, title in _ROLES.items():
        lines = [f"**{title}**", "", "| name | what it is | parameters |", "|---|---|---|"]
        for one in ESTIMATORS.values():
            if one.role == role:
                lines.append(f"| `{one.name}` | {cell(one.meaning)} | {_parameters(one)} |")
        yield "\n".join(lines)


def _parameters(one: Estimator) -> str:
    return cell("; ".join(map(_parameter, one.parameters))) or "none"


def _parameter(one: Parameter) -> str:
    bounds = f"{one.low:g} to {one.high:g}"
    match one.kind:
        case "number" | "whole":
            said = bounds
        case "flag":
            said = "true or false"
        case "choice":
            said = ", ".join(one.choices)
        case "part":
            roles = " or ".join(
                {"optimizer": "an optimizer", "rate": "a learning rate"}.get(each, f"a {each}") for each in one.roles
            )
            said = f"{bounds}, or {roles}" if one.low < one.high else roles
        case "column":
            said = "the name of a feature"
        case _:
            said = "a list of pipelines"
    default = f" ({one.default} unless told)" if one.default is not None else ""
    return f"`{one.name}` {said}{default}{', required' if one.required else ''}"


def _named() -> str:
    lines = ["| name | what it is | parameters |", "|---|---|---|"]
    for name, known in PARAMETERS.items():
        lines.append(f"| `{name}` | {cell(MEANINGS[name])} | {cell('; '.join(map(_parameter, known)))} |")
    return "\n".join(lines)
