"""What models are worth and what they cost: `python -m benchmarks.models [--quick] [--json] [--write]`.

How good they get is measured on histories that lie beside the project (`../shared/data`; what is not there is left out) and on
planted changes; see `benchmarks.model_quality`. What they cost is processor time in one thread: of what they add to an event, of an
example learnt; and of a large forest, how long it takes to publish and to read, see `benchmarks.forest`.
"""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import forest, model_quality
from benchmarks.engine import Rules
from benchmarks.model_quality import PURCHASE, RETAIL, TELCO
from benchmarks.results import deliver, machine, options
from benchmarks.workload import Workload, copy_rules
from online_models import making
from online_models.advancing import advance
from online_models.definition import Learning, Model, Scoring
from online_models.example import Example
from online_models.features import FeatureSet
from online_models.learner import Learner
from online_models.parse import parse_models
from online_models.serving import Serving
from online_models.standard import standard_kit
from profiles import Event, Profile, decode_event
from rules.compiler import compile_plan
from rules.definition import Segment
from rules.rule_set import load_directory
from rules.step import step

NEVER: Final = 2**62


def linear_purchase() -> Model:
    """The catalogue's model of purchases with its line alone, published after `Learning`'s own number of examples."""
    (model,) = parse_models({PURCHASE.name: PURCHASE.read_text("utf-8")})
    learning = Learning(model.learning.every, publish=NEVER)
    return replace(model, candidates=model.candidates[:1], learning=learning)


def row_of(model: Model, dice: random.Random) -> list[Any]:
    """A row such as the model's, drawn by chance."""
    return [
        dice.choice(("mobile", "desktop", "tablet")) if column.category else dice.gauss(0.0, 1.0)
        for column in making.columns_of(model)
    ]


# --- scoring ----------------------------------------------------------------------------------------------------------


def scoring(folder: Path, quick: bool) -> dict[str, float]:
    """Microseconds that the model adds: to an event by which the customer is scored (the row, the prediction, what the rules make of
    it), and to one by which they are not, as they were a moment before."""
    workload = Workload(30_000, 1_500) if quick else Workload(200_000, 10_000)
    events = [
        decode_event(value, key.decode(), at, partition, offset)
        for key, value, at, partition, offset in workload.records()
    ]
    segments = load_directory(copy_rules(folder / "ten")).segments
    model = replace(linear_purchase(), learning=Learning(NEVER, sample=0.0, publish=NEVER))
    rounds = 3 if quick else 5
    runs = {
        "none": _run(segments, None),
        "each": _run(segments, replace(model, scoring=Scoring())),
        "put_off": _run(segments, replace(model, scoring=Scoring(30 * 86_400_000))),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    scored: dict[str, int] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            gc.collect()
            gc.disable()
            begun = time.process_time()
            scored[name] = run(events)
            taken[name].append(time.process_time() - begun)
            gc.enable()
    least = {name: min(found) for name, found in taken.items()}
    added = (least["each"] - least["none"]) / scored["each"]
    return {
        "scored": scored["each"],
        "events": len(events),
        "micros_of_a_step": round(least["none"] / len(events) * 1e6, 2),
        "micros_added_when_scored": round(added * 1e6, 2),
        "steps_added_when_scored": round(added / (least["none"] / len(events)), 2),
        "micros_added_when_put_off": round((least["put_off"] - least["none"]) / len(events) * 1e6, 2),
    }


def _run(segments: Sequence[Segment], model: Model | None) -> Callable[[Sequence[Event]], int]:
    """Lets events happen to customers nobody knows yet; says how many scores there were. The plan is always the same."""
    watched = model if model is not None else linear_purchase()
    features = FeatureSet(watched.features, watched.zone)
    rules = Rules(1, compile_plan(segments, watches=[features]))
    serving = Serving([model], [features]) if model is not None else None
    if model is not None and serving is not None:
        serving.adopt(model.name, model.candidates[0].name, "champion", 1, making.ready(_trained(model)))

    def run(events: Sequence[Event]) -> int:
        profiles = dict[str, Profile | None]()
        get = profiles.get
        before = serving.models[watched.name].held.counts["predicted"] if serving is not None else 0
        if serving is None:
            for event in events:
                profiles[event.customer], _ = step(get(event.customer), rules, event, 0)
            return 0
        for event in events:
            profiles[event.customer], _ = advance(get(event.customer), rules, serving, event, 0)
        return serving.models[watched.name].held.counts["predicted"] - before

    return run


def _trained(model: Model) -> Any:
    dice = random.Random(1)
    made = making.make(model, model.candidates[0])
    for _ in range(500):
        row = row_of(model, dice)
        made.learn(row, float(dice.random() < 0.3), 1.0)
    return made


# --- learning ---------------------------------------------------------------------------------------------------------


def learning(quick: bool) -> dict[str, float]:
    """Examples a second of a scaled, calibrated logistic regression with all of its figures, drift and publications."""
    model = linear_purchase()
    dice = random.Random(1)
    count = 10_000 if quick else 50_000
    examples = []
    for number in range(count):
        row = row_of(model, dice)
        said = 1 / (1 + 2.718 ** -row[0])
        label = float(dice.random() < said)
        at = number * 100
        predictions = {"logistic": [1, said]}
        segments = ["recent-buyer", "window-shopper"] if number % 3 else ["big-spender"]
        one = Example(
            model.name, model.digest, f"c{number % 5_000}", at, at + 50, row, label, 1.0, predictions, segments
        )
        examples.append(one)
    learner = Learner([model], standard_kit())
    begun = time.process_time()
    published = 0
    for first in range(0, count, 200):
        for one in examples[first : first + 200]:
            learner.offer(one)
        published += len(learner.advance(examples[min(first + 199, count - 1)].labelled_at))
    taken = time.process_time() - begun
    return {"examples": count, "published": published, "examples_per_second": round(count / taken)}


# --- all of it --------------------------------------------------------------------------------------------------------


def perform(folder: Path, quick: bool) -> dict[str, Any]:
    """Everything measured, as one object."""
    return {
        "benchmark": "models",
        "machine": machine(),
        "retail": model_quality.retail() if RETAIL.exists() else None,
        "telco": model_quality.telco() if TELCO.exists() else None,
        "drift": model_quality.drift(),
        "shop_drift": model_quality.shop_drift(),
        "scoring": scoring(folder, quick),
        "learning": learning(quick),
        "forest": forest.measure(quick),
    }


_NAMES: Final = {
    "model": "learnt as it goes",
    "fitted_daily": "recency and frequency, fitted daily to all that is known",
    "base_rate": "the share of those who bought so far",
    "batch": "fitted at once to all rows before",
}


def table(found: dict[str, Any]) -> str:
    """The report for people."""
    lines = ["| | log loss | AUC |", "|---|---:|---:|"]
    for key, title in (("retail", "gift shop, purchase within 30 days"), ("telco", "telephone company, churn")):
        if found[key] is not None:
            lines.append(f"| **{title}**, {found[key]['examples']:,} examples | | |")
            for name, said in _NAMES.items():
                if name in found[key]:
                    one = found[key][name]
                    lines.append(f"| {said} | {one['log_loss']:.4f} | {one['roc_auc']:.4f} |")
    drift, losses, cost, large = found["drift"], found["drift"]["log_loss"], found["scoring"], found["forest"]
    reported = "never" if drift["reported_after"] is None else f"after {drift['reported_after']} examples"
    lines += [
        "",
        f"A change planted after {model_quality.CALM:,} examples is reported {reported} (reports before it: {drift['alarms_before']}). "
        f"Log loss: {losses['before']:.3f} before, {losses['worst']:.3f} in the first 500 after it, {losses['last']:.3f} in the last 1,000 "
        f"of {model_quality.AFTER:,}.",
        "",
        _of_shop(found["shop_drift"]),
        "",
        "| cost | |",
        "|---|---:|",
        f"| a step of 10 rules, without models | {cost['micros_of_a_step']:.2f} µs |",
        f"| added where the customer is scored | {cost['micros_added_when_scored']:.2f} µs, {cost['steps_added_when_scored']:.2f} steps |",
        f"| added where scoring is put off | {cost['micros_added_when_put_off']:.2f} µs |",
        f"| examples learnt a second, logistic regression | {found['learning']['examples_per_second']:,} |",
        f"| examples learnt a second, {large['trees']} trees of {large['megabytes']:.1f} MB | {large['examples_per_second']:,} |",
        f"| making a version of that forest, in the learner | {large['publish_ms']:,} ms |",
        f"| reading it, beside the batches | {large['read_ms']:,} ms |",
        f"| the longest that batches wait for it, and for the one before to go | {large['longest_pause_ms']:,} ms |",
    ]
    return "\n".join(lines)


def _of_shop(found: dict[str, Any]) -> str:
    """What came of the change in the simulated shop, in words."""
    reported = "never" if found["reported_after"] is None else f"after {found['reported_after']} examples"
    losses = [f"{found[when]['log_loss']:.3f} ({found[when]['base']:.3f})" for when in ("before", "worst", "last")]
    return (
        f"In the simulated shop those who order from their cart and those who do not change places after {model_quality.SHOP_CALM} days: "
        f"reported {reported} (reports before it: {found['alarms_before']}). Log loss of the champion, and of the base rate: {losses[0]} "
        f"before, {losses[1]} in the second 500 after it, {losses[2]} in the last 1,000 of {found['examples_after']:,}."
    )


def main() -> int:
    """Measure and report."""
    parser = options(
        "Measure what models are worth and what they cost.", "less of what is only cost, under two minutes"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segue-benchmark-") as folder:
        found = perform(Path(folder), arguments.quick)
    deliver(found, table(found), write=arguments.write, as_json=arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
