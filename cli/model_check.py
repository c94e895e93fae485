"""`segue models check`: what is wrong with model files or hardly meant, what each model is made of and takes of each customer."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from cli.changes import plain
from cli.check import print_remark, warned_beside
from cli.model_files import load_models, most_waiting, target_words, typical_state, when_words
from cli.model_view import table, wide
from cli.paths import CATALOG, MODELS, is_within
from cli.rule_files import count, load_rules, short, write_json
from cli.target import read_settings
from online_models.definition import Model
from online_models.doubts import of_models, of_rules
from online_models.making import columns_of
from rules.errors import RuleWarning

if TYPE_CHECKING:
    from cli.models import AddModelAction


def add_action(action: AddModelAction) -> None:
    """Adds `check` to `segue models`."""
    text = "say what is wrong with model files, how to mend it, and what each model is made of"
    parser = action("check", run, text, kafka=False)
    words = f"folder of model files or one of them; default: {short(MODELS)}"
    parser.add_argument("path", nargs="?", type=Path, default=MODELS, metavar="DIR", help=words)
    words = (
        f"warn of rules that can hardly ask these models so; default: {short(CATALOG)} for models of {short(MODELS)}"
    )
    parser.add_argument("--rules", type=Path, metavar="DIR", help=words)
    words = "settings file, for `job.expiry`; default: the environment's, else two years"
    parser.add_argument("--settings", type=Path, metavar="FILE", help=words)


def run(args: argparse.Namespace) -> int:
    """Check them; what is wrong is raised."""
    models = load_models(args.path).models
    warnings = sorted([*of_models(models, read_settings(args.settings).job.expiry), *_of_rules(args, models)])
    if args.json:
        found = [_as_json(one) for one in models]
        remarks = [asdict(one) for one in warnings]
        write_json({"valid": True, "models": found, "typical": typical_state(models), "warnings": remarks})
        return 0
    made = table("model", "foretells", "features", "columns", "bytes a customer", left=2)
    for one in models:
        cells = (len(one.features), len(columns_of(one)))
        foretells = target_words(one.target) if one.target is not None else one.task
        made.add_row(Text(one.name, "bold"), plain(foretells), *map(str, cells), f"{typical_state([one]):,}")
    if len(models) > 1:
        made.add_row("together, shared once", "", "", "", f"{typical_state(models):,}")
    console = wide()
    console.print(made)
    made = table("model", "candidates", "scored", "learnt", left=4)
    for one in models:
        made.add_row(Text(one.name, "bold"), "\n".join(_candidates(one)), *when_words(one))
    print()
    console.print(made)
    print()
    for warning in warnings:
        print_remark(warning, "warning: ")
    print(f"{count(len(models), 'model')} checked, {count(len(warnings), 'warning')}")
    print("bytes are those of a typical customer, with examples that wait")
    return 0


def _of_rules(args: argparse.Namespace, models: Iterable[Model]) -> list[RuleWarning]:
    """What rules hardly mean to ask of these models: the rules that are named, or the catalogue's where the models are."""
    usual = CATALOG if is_within(args.path, MODELS) else None
    return warned_beside(args.rules, usual, "rules check", lambda folder: of_rules(load_rules(folder), models))


def _candidates(model: Model) -> list[str]:
    """Each candidate in a line, the first of them champion until another is better."""
    found = []
    for one in model.candidates:
        calibrated = f", {one.calibrate}" if one.calibrate != "none" else ""
        found.append(f"{one.name}: {' | '.join(step.name for step in one.pipeline)}{calibrated}")
    return found


def _as_json(model: Model) -> dict[str, Any]:
    scored, learnt = when_words(model)
    return {
        "model": model.name,
        "name": model.title,
        "owner": model.owner,
        "digest": model.digest,
        "task": model.task,
        "target": target_words(model.target) if model.target is not None else None,
        "features": [one.name for one in model.features],
        "columns": len(columns_of(model)),
        "candidates": [
            {"name": one.name, "pipeline": [step.name for step in one.pipeline], "calibrate": one.calibrate}
            for one in model.candidates
        ],
        "scored": scored,
        "learnt": learnt,
        "waiting": most_waiting(model),
        "typical": typical_state([model]),
    }
