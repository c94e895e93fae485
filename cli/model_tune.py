"""`segue models tune`: parameters of candidates searched on the earlier part of a history, and told on the later one."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from cli.errors import UserError
from cli.model_files import load_models
from cli.model_run import Overrun, gather_history, history_words, located
from cli.model_tune_view import render_search
from cli.model_view import wide
from cli.progress import step
from cli.rule_files import load_rules, short, write_json
from cli.trial import share_of, source_of
from online_models.compared import blocks, difference, figures, judged, losses, mean
from online_models.contest import FEWEST
from online_models.definition import Candidate, Model, Search
from online_models.parse import MOST_CANDIDATES
from online_models.part_reader import LONGEST_MODEL_NAME
from online_models.rehearsal import Gathered, Rehearsal
from online_models.search import CALIBRATE, changed
from online_models.standard import standard_kit
from rules.compiled import moment

if TYPE_CHECKING:
    from cli.model_search import Attempt, Bench, Found
    from cli.models import AddModelAction

MOST_TRIALS: Final = 1_000
MOST_JOBS: Final = 64
CONFIDENCE: Final = 0.95


def add_action(action: AddModelAction, add_history: Any) -> None:
    """Adds `tune` to `segue models`; `add_history` gives it the options that name one."""
    text = "search the parameters that `tune` of a model file names on the history; prints the best, changes nothing"
    parser = action("tune", run, text)
    parser.add_argument("file", type=Path, metavar="FILE", help="a model file with `tune`")
    add_history(parser)
    parser.add_argument("--candidate", metavar="NAME", help="search this one only; default: all under `tune`")
    parser.add_argument("--trials", type=_number(1, MOST_TRIALS), default=40, metavar="N", help="default: 40")
    words = "what chance begins with: the same finds the same; default: 1"
    parser.add_argument("--seed", type=_number(0, 2**32 - 1), default=1, metavar="N", help=words)
    words = "processes, 8 at most; default: as many as there are cores"
    parser.add_argument("--jobs", type=_number(1, MOST_JOBS), default=None, metavar="N", help=words)
    words = "the newest share of the examples, which the search does not see; default: 30%%"
    parser.add_argument("--aside", type=_aside, default=0.3, metavar="30%", help=words)


def _number(low: int, high: int) -> Any:
    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")
        return int(text)

    return read


def _aside(text: str) -> float:
    share = share_of(text)
    if not 0.05 <= share <= 0.8:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 5% and 80%")
    return share


@dataclass(frozen=True)
class _Part:
    """A declared candidate before its search: the bench, what it had said over all of the history, and what came of it as a trial."""

    bench: Bench
    outputs: list[Any]
    declared: Attempt


def run(args: argparse.Namespace) -> int:
    """Searches; 130 if somebody had enough before it was done."""
    try:
        from cli.model_search import jobs_here
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        hint = "`./segue` installs it by itself; elsewhere: pip install --require-hashes -r requirements-tune.txt"
        raise UserError("`segue models tune` needs Optuna, which is not installed", hint) from None
    began = time.monotonic()
    files = load_models(args.file)
    if len(files.models) != 1:
        raise UserError(f"{short(args.file)} is a folder of {len(files.models)} models", "name one file")
    rules = load_rules(args.rules) if args.rules is not None else None
    (model,) = located(files.models, rules)
    searches = _wanted(model, args.candidate, short(args.file))
    source = source_of(args)
    with step(f"{model.name} on {source.name}", quiet=args.json):
        try:
            gathered, account = gather_history(model, source, rules, days=args.days, sample=args.sample)
        except Overrun as error:
            raise UserError(str(error), "sample customers (--sample 10%) or moments (`learn: {every: ...}`)") from None
    cut = gathered.cut(args.aside)
    told: dict[str, Any] = {
        "history": history_words(source.name, account, args.sample),
        "model": model.name,
        "name": model.title,
        "task": model.task,
        "metric": model.promotion.metric,
        "examples": len(gathered.examples),
        "cut": moment(cut),
        "seed": args.seed,
        "searches": [],
    }
    (text,) = files.texts.values()
    interrupted = False
    for search in searches:
        found = _searched(args, model, search, gathered, text, args.jobs or jobs_here())
        told["searches"].append(found)
        if interrupted := found["interrupted"]:
            break
    told["seconds"] = round(time.monotonic() - began, 1)
    if args.json:
        write_json(told)
    else:
        wide().print(render_search(told), crop=False)
    return 130 if interrupted else 0


def _wanted(model: Model, name: str | None, file: Path) -> Sequence[Search]:
    """The searches that are asked for."""
    if not model.searches:
        hint = f"add `tune: {{{model.candidates[0].name}: {{...}}}}`; docs/models.md says how"
        raise UserError(f"{file} does not say what is to be searched", hint)
    found = [one for one in model.searches if name in (None, one.candidate)]
    if not found:
        names = ", ".join(one.candidate for one in model.searches)
        raise UserError(f"{file} does not say what is to be searched of {name!r}", f"it does of {names}")
    return found


def _searched(
    args: argparse.Namespace, model: Model, search: Search, gathered: Gathered, text: str, jobs: int
) -> dict[str, Any]:
    from cli.model_search import Searching, crew_of

    part = _declared(args, model, search, gathered)
    searching = Searching(part.bench, search, part.declared, args.seed)
    words = f"{search.candidate}: {args.trials} trials, {min(jobs, 8)} at once"
    with (
        step(words, quiet=args.json, far=lambda: f"{searching.tried} done"),
        crew_of(part.bench, text, jobs) as crew,
    ):
        found = searching.run(args.trials, crew)
    return _report(args, part, search, found)


def _declared(args: argparse.Namespace, model: Model, search: Search, gathered: Gathered) -> _Part:
    """The candidate as it is in the file, over all of the history."""
    from cli.model_search import BLOCKS, Attempt, Bench

    candidate = next(one for one in model.candidates if one.name == search.candidate)
    rehearsal = Rehearsal(model, candidate, gathered, standard_kit())
    with step(f"{candidate.name} as declared", quiet=args.json):
        rehearsal.run()
    if rehearsal.failure:
        raise UserError(f"candidate {candidate.name!r} fails as it is: {rehearsal.failure}", "mend it, then search")
    cut = gathered.cut(args.aside)
    costs = losses(model.promotion.metric, rehearsal.outputs, gathered)
    places = judged(costs, gathered.earlier(cut))
    if len(places) < FEWEST:
        message = f"only {len(places)} scores have an outcome that was known before {moment(cut)[:10]}"
        raise UserError(message, f"{FEWEST} are needed: take more of the history, or less aside (--aside 20%)")
    parts = [mean(costs, gathered, block) for block in blocks(places, BLOCKS)]
    declared = Attempt(mean(costs, gathered, places), parts)
    return _Part(Bench(model, candidate, gathered, cut, places), rehearsal.outputs, declared)


def _report(args: argparse.Namespace, part: _Part, search: Search, found: Found) -> dict[str, Any]:
    bench, best = part.bench, found.best
    better = best is not None and (best.loss or 0.0) < (part.declared.loss or 0.0)
    told: dict[str, Any] = {
        "candidate": search.candidate,
        "trials": [asdict(one) for one in found.trials],
        **{state: found.count(state) for state in ("finished", "pruned", "failed")},
        "interrupted": found.interrupted,
        "importance": found.importance,
        "earlier": {"examples": len(bench.places), "declared": part.declared.loss, "best": best.loss if best else None},
        "declared": {one.path: _written(bench.candidate, one.path) for one in search.space},
        "best": best.values if best is not None and better else None,
    }
    if best is None or not better:
        return told
    try:
        with step(f"the best and the declared {search.candidate} on what was kept aside", quiet=args.json):
            told["later"] = _later(part, changed(bench.candidate, best.values))
    except KeyboardInterrupt:
        told["interrupted"] = True
    told["yaml"] = as_yaml(changed(bench.candidate, best.values, _new_name(bench.model, search.candidate)))
    told["room"] = len(bench.model.candidates) < MOST_CANDIDATES
    return told


def _later(part: _Part, candidate: Candidate) -> dict[str, Any]:
    """Both on the examples that the search has not seen, which they go on learning from."""
    bench, gathered = part.bench, part.bench.gathered
    model, metric = bench.model, bench.model.promotion.metric
    rehearsal = Rehearsal(model, candidate, gathered, standard_kit())
    rehearsal.run()
    if rehearsal.failure:
        return {"failure": rehearsal.failure}
    before, after = (losses(metric, outputs, gathered) for outputs in (part.outputs, rehearsal.outputs))
    places = judged(after, judged(before, gathered.later(bench.cut)))
    return {
        "declared": figures(model.task, part.outputs, gathered, places),
        "best": figures(model.task, rehearsal.outputs, gathered, places),
        "difference": asdict(difference(before, after, gathered, places, CONFIDENCE)),
        "confidence": CONFIDENCE,
    }


def _written(candidate: Candidate, path: str) -> Any:
    """What the file says at a path; None where it says nothing."""
    if path == CALIBRATE:
        return candidate.calibrate
    first, *names = path.split(".")
    found: Any = next(step for step in candidate.pipeline if step.name == first).parameters
    for name in names:
        try:
            found = found[name]
        except (KeyError, TypeError):
            return None
    return found


def _new_name(model: Model, name: str) -> str:
    """A name for the best one that no candidate has."""
    taken = {one.name for one in model.candidates}
    names = (f"{name[: LONGEST_MODEL_NAME - 9]}-tuned{number}" for number in ("", *range(2, 10)))
    return next(one for one in names if one not in taken)


def as_yaml(candidate: Candidate) -> str:
    """A candidate as it is written in a model file.

    >>> print(as_yaml(Candidate("line", (Step("StandardScaler"), Step("PAClassifier", {"C": 0.5})), "platt")))
      - name: line
        pipeline: [StandardScaler, {PAClassifier: {C: 0.5}}]
        calibrate: platt
    """
    steps = [{one.name: _plain(one.parameters)} if one.parameters else one.name for one in candidate.pipeline]
    pipeline = yaml.safe_dump(steps, default_flow_style=True, sort_keys=False, width=10_000).strip()
    lines = [f"  - name: {candidate.name}", f"    pipeline: {pipeline}"]
    if candidate.calibrate != "none":
        lines.append(f"    calibrate: {candidate.calibrate}")
    return "\n".join(lines)


def _plain(written: Any) -> Any:
    return {key: _plain(value) for key, value in written.items()} if hasattr(written, "items") else written
