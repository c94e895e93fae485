"""What the `segue models` actions share: model files read and checked as a whole, and what a model takes of each customer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from cli.errors import UserError
from cli.rule_files import short
from online_models.definition import Model, Target
from online_models.features import FeatureSet
from online_models.making import columns_of
from online_models.parse import parse_models
from online_models.waiting import Examples
from rules.compiler import compile_plan
from rules.duration import format_duration
from rules.errors import RuleError, RuleErrors
from rules.rule_set import read_rule_file
from rules.typical import typical_bytes

_MOMENT: Final = 1_767_225_600_000
_AGE: Final = 86_400_000


@dataclass(frozen=True)
class ModelFiles:
    """Models, and the texts of their files by the names that they are published under."""

    models: tuple[Model, ...]
    texts: dict[str, str]


def load_models(path: Path) -> ModelFiles:
    """The models in a folder, or in one file; `RuleErrors` with all that is wrong in any of them."""
    if not path.exists():
        raise UserError(f"{short(path)} does not exist", "name the folder of the model files, or one of them")
    folder = path if path.is_dir() else path.parent
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    wrong: list[RuleError] = []
    texts: dict[str, str] = {}
    for file in files:
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        shown = short(file)
        if file.suffix.lower() in (".yml", ".yaml") and file.suffix != ".yaml":
            wrong.append(RuleError(str(shown), 1, 1, "a model file ends in .yaml", f"rename it to {file.stem}.yaml"))
        elif file.suffix == ".yaml" or file == path:
            texts[str(shown)] = read_rule_file(shown)
    if not texts and not wrong:
        raise RuleErrors([RuleError(str(short(path)), 1, 1, "there is no model file here", "they end in .yaml")])
    if wrong:
        raise RuleErrors(wrong)
    root = short(folder)
    return ModelFiles(
        parse_models(texts), {Path(shown).relative_to(root).as_posix(): text for shown, text in texts.items()}
    )


def chosen(models: Iterable[Model], names: Iterable[str]) -> tuple[Model, ...]:
    """The models of these names; all if none is named."""
    known = {one.name: one for one in models}
    wanted = list(dict.fromkeys(names)) or sorted(known)
    if unknown := [name for name in wanted if name not in known]:
        raise UserError(f"there is no model {unknown[0]!r} among these files", f"they are {', '.join(sorted(known))}")
    return tuple(known[name] for name in sorted(wanted))


def target_words(target: Target | None) -> str:
    """What is foretold, in a line.

    >>> from rules.definition import EventRef
    >>> target_words(Target("absent", EventRef("Order Completed"), 7 * 86_400_000))
    'no Order Completed within 7d'
    """
    if target is None:
        return "-"
    where = " (narrowed)" if target.ref.where else ""
    what = {"happens": "", "absent": "no ", "sum": f"sum of {target.of} of "}[target.kind]
    return f"{what}{target.ref.event}{where} within {format_duration(target.within)}"


def when_words(model: Model) -> tuple[str, str]:
    """When customers are scored, and which moments become examples, in a few words each."""
    every = format_duration(model.scoring.every) if model.scoring.every else "0s"
    refresh = f", refreshed after {format_duration(model.scoring.refresh)}" if model.scoring.refresh else ""
    learning = model.learning
    shares = [
        f"{share:.4g} of {what}"
        for share, what in ((learning.sample, "moments"), (learning.negatives, "negatives"))
        if share < 1
    ]
    return f"every {every}{refresh}", ", ".join([f"every {format_duration(learning.every)}", *shares])


def typical_state(models: Iterable[Model]) -> int:
    """Bytes that these models keep of a typical customer, what their features share counted once.

    Features are counted as `rules.typical` does; to them come the examples whose outcome is not known yet.
    """
    models = tuple(models)
    plan = compile_plan((), watches=[FeatureSet(one.features, one.zone) for one in models])
    return sum(map(typical_bytes, plan.slots.values())) + sum(map(_waiting, models))


def _waiting(model: Model) -> int:
    """Bytes of the examples of a customer who gives one as often as may be."""
    if model.target is None:
        return 0
    row = ["product-0001" if one.category else 0.5 for one in columns_of(model)]
    waiting = [_MOMENT, row, {one.name: [1000, 0.5] for one in model.candidates}, [], "", 0, _AGE]
    return most_waiting(model) * len(msgspec.msgpack.encode(waiting))


def most_waiting(model: Model) -> int:
    """How many examples of one customer may wait for their outcome at once."""
    return model.target.within // Examples(model, "UTC").apart + 1 if model.target is not None else 0
