"""`segue models apply` and `rollback`: definitions with the next version of the rules, and going back to what a candidate was."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cli.errors import UserError
from cli.model_files import ModelFiles, load_models
from cli.model_topics import publish_versions, read_versions
from cli.paths import MODELS
from cli.published import apply_rules, prepare, read_published
from cli.rule_files import count, short, user, write_json
from cli.target import kafka_settings
from flink_jobs.topics import names_models
from online_models.definition import Model
from online_models.parse import parse_models
from online_models.version import Role
from rules.errors import RuleErrors
from rules.rule_set import RuleSet

if TYPE_CHECKING:
    from cli.models import AddModelAction

_MEANING: Final = {
    "added": "begins to learn",
    "changed": "starts anew: what it had learnt is given up",
    "reworded": "goes on with what it has learnt",
    "removed": "is not learnt and not asked any more",
}
"""What becomes of a model, by what was done to its file."""


def add_actions(action: AddModelAction) -> None:
    """Adds the actions that publish."""
    text = "check model files and publish them with the rules that are live, as the next version"
    applying = action("apply", _apply, text)
    words = f"folder of model files; default: {short(MODELS)}"
    applying.add_argument("path", nargs="?", type=Path, metavar="DIR", help=words)
    words = "publish no models, so that none is learnt or asked any more"
    applying.add_argument("--none", action="store_true", help=words)
    applying.add_argument("-m", "--message", help="what this version is about; default: what has changed")
    applying.add_argument("--author", help="who publishes it; default: the user's name")
    text = "publish an older version of a candidate again, for the job to go on from"
    back = action("rollback", _rollback, text)
    back.add_argument("model", metavar="MODEL")
    back.add_argument("version", type=int, metavar="VERSION", help="its number, as `segue models history` lists it")
    back.add_argument("--champion", action="store_true", help="make it champion, also if it was none then")
    back.add_argument("-m", "--message", default="", help="why; kept with the version")


# --- apply --------------------------------------------------------------------------------------------------------


def _apply(args: argparse.Namespace) -> int:
    files = _files(args.path, none=args.none)
    settings = kafka_settings(args.settings, args.bootstrap)
    published = prepare(settings)
    before = published.rules
    if before is None:
        raise UserError("models go with rules, and none are published", "`segue rules apply` publishes some")
    if before.warming:
        raise UserError(
            f"version {before.version} of the rules is still warming",
            "wait until it is live, or go on with it: `segue rules apply --resume`",
        )
    changes = list(_changes(before.models, files))
    summary = f"models: {_summary(changes)}"
    author = args.author or user()
    applied = apply_rules(
        settings, before, author=author, message=args.message or summary, published=published, models=files.texts
    )
    unknown = list(_asked_for(applied.rules, files.models))
    if args.json:
        listed = [{"model": model, "kind": kind} for model, kind in changes]
        found = {"published": applied.published, "version": applied.rules.version, "changes": listed}
        write_json({**found, "unknown": [{"segment": segment, "model": model} for segment, model in unknown]})
        return 0
    if applied.published:
        print(f"version {applied.rules.version} published: {count(len(files.models), 'model')}")
    else:
        print(f"nothing changed: version {applied.rules.version} has the same models")
    for model, kind in changes:
        print(f"  {kind:<8} {model}  {_MEANING[kind]}")
    if files.models and not any(map(names_models, published.payloads.values())):
        print(
            "a job that runs already takes them up after `segue stop --savepoint` and `segue submit --from-savepoint latest`"
        )
    for segment, model in unknown:
        print(f"warning: segment {segment} asks for {model}, and there is no such model", file=sys.stderr)
    return 0


def _files(path: Path | None, *, none: bool) -> ModelFiles:
    """The files to publish: those of a folder, or none."""
    if none:
        if path is not None:
            raise UserError("either a folder of models, or --none", "without both, the project's own are published")
        return ModelFiles((), {})
    path = path or MODELS
    if not path.is_dir():
        raise UserError(f"{short(path)} is no folder", "models are published whole: name the folder")
    return load_models(path)


def _changes(before: Mapping[str, str], files: ModelFiles) -> Iterator[tuple[str, str]]:
    """What these files do to the models that are published: each with `added`, `changed`, `reworded` or `removed`, by name."""
    try:
        known = {one.name: one for one in parse_models(before)}
    except RuleErrors:
        known = {}  # the job refuses them: whatever comes now is new to it
    texts = {Path(name).stem: text for name, text in before.items()}
    now = {one.name: one for one in files.models}
    own = {Path(name).stem: text for name, text in files.texts.items()}
    for name in sorted(known.keys() | now.keys()):
        if name not in known:
            yield name, "added"
        elif name not in now:
            yield name, "removed"
        elif known[name].digest != now[name].digest:
            yield name, "changed"
        elif texts.get(name) != own.get(name):
            yield name, "reworded"


def _summary(changes: Iterable[tuple[str, str]]) -> str:
    """What changes do, in a line."""
    parts: dict[str, list[str]] = {}
    for model, kind in changes:
        parts.setdefault(kind, []).append(model)
    return "; ".join(f"{kind} {', '.join(names)}" for kind, names in sorted(parts.items())) or "nothing changed"


def _asked_for(rules: RuleSet, models: Iterable[Model]) -> Iterator[tuple[str, str]]:
    """The segments that ask for models that are not there."""
    known = {one.name for one in models}
    for segment in rules.plan.segments:
        for model in sorted(segment.condition.scores - known):
            yield segment.name, model


# --- rollback -----------------------------------------------------------------------------------------------------


def _rollback(args: argparse.Namespace) -> int:
    settings = kafka_settings(args.settings, args.bootstrap)
    versions = read_versions(settings)
    old = versions.version(args.model, args.version)
    _check_definition(read_published(settings).rules, old.model, old.digest)
    before = versions.champion(args.model)
    # Who is champion stays it: else nobody would be, where the version is of a time at which it was none.
    is_champion = args.champion or old.role == "champion" or (before is not None and before.candidate == old.candidate)
    role: Role = "champion" if is_champion else "challenger"
    lineage = msgspec.structs.replace(old.lineage, origin="rollback", parent=old.version, message=args.message)
    new = msgspec.structs.replace(old, version=versions.above(args.model), role=role, lineage=lineage)
    publish_versions(settings, [new])
    replaced = before.candidate if is_champion and before is not None and before.candidate != new.candidate else None
    found: dict[str, Any] = {
        "model": new.model,
        "candidate": new.candidate,
        "version": new.version,
        "role": new.role,
        "of": old.version,
        "replaced": replaced,
    }
    if args.json:
        write_json(found)
        return 0
    print(f"version {old.version} of {new.model} ({new.candidate}, {role}) is published again as version {new.version}")
    if replaced is not None:
        print(f"it takes the place of {replaced} as champion")
    print("the job says `adopted` once it goes on from it: `segue models history " + new.model + "`")
    return 0


def _check_definition(rules: RuleSet | None, model: str, digest: str) -> None:
    """`UserError` where no job would go on from a version, as its model is not published, or has another definition there."""
    try:
        models = parse_models(rules.models) if rules is not None else ()
    except RuleErrors:
        return
    published = next((one for one in models if one.name == model), None)
    if published is None:
        raise UserError(f"no model {model} is published", "publish it again first: `segue models apply`")
    if published.digest != digest:
        raise UserError(
            f"that version is of another definition of {model} than the one that is published",
            "`segue models apply` with the definition of then, which gives up what the present one has learnt; then go back",
        )


__all__ = ["add_actions"]
