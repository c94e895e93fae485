"""`segue models try` and `train`: models over the history, to see how good they are, or to start from what it teaches."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import UserError
from cli.model_files import chosen, load_models
from cli.model_run import Overrun, Run, report, run_history
from cli.model_topics import newest_quality, publish_versions, read_versions, read_words
from cli.model_view import render_run, wide
from cli.paths import MODELS
from cli.progress import step
from cli.published import read_published
from cli.rule_files import load_rules, short, write_json
from cli.target import kafka_settings
from cli.trial import days_of, share_of, source_of
from flink_jobs.settings import Settings
from online_models.definition import Model
from online_models.parse import parse_models
from rules.errors import RuleErrors

if TYPE_CHECKING:
    from cli.models import AddModelAction


def add_actions(action: AddModelAction) -> None:
    """Adds `train` and `try` to `segue models`."""
    text = "let one model learn from the history and say how good it would have been, publishing nothing"
    trying = action("try", _try, text)
    trying.add_argument("file", type=Path, metavar="FILE", help="a model file")
    add_history(trying)
    text = "let models learn from the history; with --publish, the running job goes on from there"
    training = action("train", _train, text)
    training.add_argument("models", nargs="*", metavar="MODEL", help="the models; default: all of the folder")
    words = f"folder of model files; default: {short(MODELS)}"
    training.add_argument("--models", dest="folder", type=Path, default=MODELS, metavar="DIR", help=words)
    words = "write the newest version of each candidate to the topic of versions"
    training.add_argument("--publish", action="store_true", help=words)
    add_history(training)


def add_history(parser: argparse.ArgumentParser) -> None:
    """Gives an action the options that name a history, and what part of it."""
    parser.add_argument("--history", required=True, metavar="TOPIC|FILE", help="events: a topic, or CSV or JSON lines")
    parser.add_argument("--map", type=Path, metavar="MAP.yaml", help="field map of a file; without: SDK events")
    parser.add_argument("--rules", type=Path, metavar="DIR", help="rules: figures are told by their segments, too")
    parser.add_argument(
        "--days", type=days_of, default=None, metavar="N|all", help="of the history's end; default: all"
    )
    parser.add_argument("--sample", type=share_of, default=1.0, metavar="10%", help="a share of the customers")


def _try(args: argparse.Namespace) -> int:
    models = load_models(args.file).models
    if len(models) != 1:
        raise UserError(f"{short(args.file)} is a folder of {len(models)} models", "name one file")
    told = _run(args, models)[1]
    if live := _live(args, models[0]):
        told["live"] = {models[0].name: live}
    _tell(args, told)
    return 0


def _train(args: argparse.Namespace) -> int:
    models = chosen(load_models(args.folder).models, args.models)
    # Whoever cannot publish in the end wants to know it before hours of training.
    settings = kafka_settings(args.settings, args.bootstrap) if args.publish else None
    if settings is not None:
        _warn_of_definitions(settings, models)
    run, told = _run(args, models)
    if settings is not None:
        told["published"] = _publish(settings, run)
    _tell(args, told)
    if settings is not None and not args.json:
        for one in told["published"]:
            print(f"published {one['model']} {one['candidate']} as version {one['version']}")
        if not told["published"]:
            print("nothing was published: nothing has been learnt")
    return 0


def _run(args: argparse.Namespace, models: tuple[Model, ...]) -> tuple[Run, dict[str, Any]]:
    rules = load_rules(args.rules) if args.rules is not None else None
    source = source_of(args)
    began = time.monotonic()
    names = ", ".join(one.name for one in models)
    with step(f"{names} on {source.name}", quiet=args.json):
        try:
            run = run_history(models, source, rules, days=args.days, sample=args.sample)
        except Overrun as error:
            raise UserError(str(error), "sample customers (--sample 10%) or moments (`learn: {every: ...}`)") from None
    told = report(run, source.name, args.sample)
    told["seconds"] = round(time.monotonic() - began, 1)
    return run, told


def _tell(args: argparse.Namespace, told: dict[str, Any]) -> None:
    if args.json:
        write_json(told)
    else:
        wide().print(render_run(told))


def _live(args: argparse.Namespace, model: Model) -> dict[str, Any] | None:
    """The newest figures of the model of that name in the running job; None where no Kafka answers, unless one was named."""
    try:
        settings = kafka_settings(args.settings, args.bootstrap)
        return newest_quality(read_words(settings, model.name)).get(model.name)
    except UserError as error:
        if args.settings is not None or args.bootstrap is not None:
            raise
        print(f"segue: not compared with the live model: {error.message}", file=sys.stderr)
        return None


def _warn_of_definitions(settings: Settings, models: tuple[Model, ...]) -> None:
    """Say which models the job would refuse, as it has another definition of them or none."""
    published = read_published(settings).rules
    try:
        known = {one.name: one.digest for one in parse_models(published.models)} if published is not None else {}
    except RuleErrors:
        known = {}
    for one in models:
        if known.get(one.name) != one.digest:
            what = "another definition" if one.name in known else "no definition"
            print(
                f"warning: the job has {what} of {one.name}: `segue models apply` publishes this one", file=sys.stderr
            )


def _publish(settings: Settings, run: Run) -> list[dict[str, Any]]:
    versions = read_versions(settings)
    made = [one for model in run.models for one in run.outcome.trained(model.name, versions.above(model.name))]
    publish_versions(settings, made)
    return [{"model": one.model, "candidate": one.candidate, "version": one.version, "role": one.role} for one in made]
