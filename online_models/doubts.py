"""What is allowed and hardly meant: of model files, and of rules that ask models. Each is a warning where it stands, with what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from online_models.definition import Model
from profiles.document import nearest
from rules.definition import Cluster, Condition, Hysteresis, Score
from rules.duration import format_duration
from rules.errors import RuleWarning
from rules.parse import parse_rule
from rules.rule_set import RuleSet


def of_models(models: Iterable[Model], expiry: int) -> Iterator[RuleWarning]:
    """Of models alone, where profiles expire after `expiry` milliseconds of silence."""
    for model in models:
        target = model.target
        if target is not None and target.within > expiry:
            message = (
                f"outcomes are known after {format_duration(target.within)}, and whoever is silent for "
                f"{format_duration(expiry)} is forgotten before: what became of those who stay silent is never learnt"
            )
            hint = "look less far ahead, or keep profiles longer (`job: {expiry: ...}` in the settings)"
            yield RuleWarning(model.file, target.line, target.column, message, hint)


def of_rules(rules: RuleSet, models: Iterable[Model]) -> Iterator[RuleWarning]:
    """Of rules that ask these models; of models that are not among them nothing is known."""
    known = {one.name: one for one in models}
    asking = {one.name for one in rules.plan.segments if not known.keys().isdisjoint(one.condition.scores)}
    for segment in rules.segments:
        if segment.name in asking:
            rule = parse_rule(rules.texts[segment.name], segment.file)
            for condition, at in rule.leaves:
                asked = _asked(condition)
                if asked is not None and asked.model in known:
                    for message, hint in _of_condition(asked, known[asked.model]):
                        yield RuleWarning(segment.file, *at, message, hint)


def _asked(condition: Condition) -> Score | Cluster | None:
    """What a condition asks of a model, whichever of its thresholds decides."""
    one = condition.enter if isinstance(condition, Hysteresis) else condition
    return one if isinstance(one, Score | Cluster) else None


def _of_condition(asked: Score | Cluster, model: Model) -> Iterator[tuple[str, str]]:
    """Each thing that was hardly meant, and what to do."""
    every = model.scoring.every
    if asked.max_age is not None and asked.max_age < every:
        counts, made = format_duration(asked.max_age), format_duration(every)
        message = f"a score counts for {counts} here, and {model.name} makes one every {made} at most: in between there is none"
        yield message, f"write `max_age: {made}` or longer, or a shorter `every` under `score` in {model.file}"
    if isinstance(asked, Score) and model.task == "clustering":
        yield f"{model.name} is clustering: it gives personas, and no number", "ask by `cluster`"
    elif isinstance(asked, Cluster) and model.task != "clustering":
        yield f"{model.name} is {model.task}: it gives a number, and no persona", "ask by `score`"
    elif isinstance(asked, Cluster):
        yield from _of_personas(asked, model)


def _of_personas(asked: Cluster, model: Model) -> Iterator[tuple[str, str]]:
    """Personas that a rule asks for and that nobody has declared, where any are."""
    names = [name for name, _ in model.personas.names]
    for persona in asked.among if names else ():
        if persona not in names:
            near = nearest(persona, names)
            instead = f"did you mean {near!r}?" if near else f"ask for one of {', '.join(names)},"
            hint = f"{instead} or declare it under `names` in {model.file}"
            yield f"{model.name} declares no persona {persona[:100]!r}", hint
