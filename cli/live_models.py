"""The models in the demo's live view: what was heard of each on the topics of models, and the table that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from cli.changes import local_time, plain
from flink_jobs.model_records import Header, ModelRecordError, read_record
from online_models.contest import FEWEST, base_loss
from online_models.usage import counted
from profiles.event import parse_time

COUNTED: Final = {"scored": "scores given", "scores_failed": "failed", "models_refused": "versions refused"}
"""Counters of the job that tell how scoring goes, in words."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a record of `model-quality` says. `at`: epoch ms of event time, None where it is of no moment."""

    model: str
    kind: str
    candidate: str
    at: int | None
    detail: Mapping[str, Any]


def read_word(value: bytes | None) -> Word | None:
    """The word in a record of the quality topic; None where it holds something else."""
    try:
        found = msgspec.json.decode(value or b"")
        at = found["at"]
        when = None if at is None else parse_time(at)
        return Word(str(found["model"]), str(found["kind"]), str(found["candidate"]), when, dict(found["detail"]))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None


def read_header(value: bytes | None) -> Header | None:
    """Which version a record of the models topic holds; None where it holds none, or takes one back."""
    try:
        return read_record(value or b"").header
    except ModelRecordError:
        return None


@dataclass(slots=True)
class Standing:
    """One model as far as it was heard of. `quality` is the newest report, `latest` the newest of all that happened to it, `happened` how
    much did of each kind; `versions` has the newest of each candidate with its role."""

    quality: Word | None = None
    latest: Word | None = None
    happened: dict[str, int] = field(default_factory=dict)
    versions: dict[str, Header] = field(default_factory=dict)
    published: int = 0

    @property
    def champion(self) -> str:
        """The candidate that scores; "" if none is known."""
        if self.quality is not None:
            return str(self.quality.detail.get("champion", ""))
        champions = [one for one in self.versions.values() if one.role == "champion"]
        return max(champions, key=lambda one: one.version).candidate if champions else ""

    @property
    def figures(self) -> Mapping[str, Any]:
        """The champion's figures in the newest report."""
        candidates = self.quality.detail.get("candidates") if self.quality is not None else None
        found = candidates.get(self.champion) if isinstance(candidates, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def version(self) -> int:
        """The champion's newest version; 0 before the first."""
        known = self.versions.get(self.champion)
        return known.version if known is not None else 0


class Standings:
    """All models. After a failure to read, topics are read from their beginning again: whoever does so begins with empty standings."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self.models: dict[str, Standing] = {name: Standing() for name in sorted(models)}

    def hear(self, one: Word | Header) -> None:
        """Take in a word or a version."""
        standing = self.models.setdefault(one.model, Standing())
        if isinstance(one, Header):
            known = standing.versions.get(one.candidate)
            if known is None or known.version < one.version:
                standing.versions[one.candidate] = one
                standing.published += 1
        elif one.kind == "quality":
            standing.quality = one
        else:
            standing.latest = one
            standing.happened[one.kind] = standing.happened.get(one.kind, 0) + 1


def models_table(standings: Standings, title: str = "", *, whole: bool = False) -> Table:
    """A line for each model: who scores, what it has learnt, how good it is, and what happened last. `whole`: nothing is cut off, and
    a line may become several.
    """
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1), header_style="bold", title=title or None)
    table.title_justify = "left"
    table.add_column("model", width=15, no_wrap=True, overflow="ellipsis")
    table.add_column("champion", width=20, no_wrap=True, overflow="ellipsis")
    table.add_column("learnt", justify="right", width=7)
    table.add_column("how good, vs base rate or mean", ratio=2, no_wrap=not whole, overflow="ellipsis")
    table.add_column("happened last", ratio=1, no_wrap=not whole, overflow="ellipsis", style="dim")
    for name, one in standings.models.items():
        champion = Text(plain(one.champion, 30) or "none yet", "" if one.champion else "yellow")
        if one.version:
            champion.append(f" v{one.version}", "dim")
        learnt = one.figures.get("examples")
        table.add_row(
            Text(plain(name, 60), "bold"),
            champion,
            f"{learnt:,}" if isinstance(learnt, int) else "–",
            figures_words(one.figures),
            happened_words(one),
        )
    return table


def scored_words(totals: Mapping[str, int], models: Iterable[str]) -> str:
    """By the job's counters, how many of those that were to be scored have been, and how old half and 95% of the scores before were.

    >>> totals = {"scores_due_m": 10, "scores_given_m": 9, "score_age_1h_m": 5, "score_age_3d_m": 1}
    >>> scored_words(totals, ["m"]), scored_words(totals, []), scored_words({"scores_due_m": 1}, ["m"])
    ('90% of 10 due, half 1h old, 95% 3d', '', '0% of 1 due')
    """
    found = counted(totals, models)
    if not found:
        return ""
    ages = f", half {found['half']} old, 95% {found['most']}" if "half" in found else ""
    return f"{found['coverage']:.0%} of {found['due']:,} due{ages}"


def figures_words(figures: Mapping[str, Any]) -> str:
    """The key figures of a candidate, whatever its task. Behind "vs" is what there is to beat on the same
    outcomes: always saying the base rate, or the mean. Of too few outcomes it says that.

    >>> figures_words({"seen": 900, "foretold": 800, "roc_auc": 0.8123, "log_loss": 0.41, "base_rate": 0.25, "lift": 2.2})
    'AUC 0.812, log loss 0.410 vs 0.562 (-27%)'
    >>> figures_words({"seen": 900, "foretold": 800, "mae": 30.04, "naive_mae": 20.03, "mean": 55.0})
    'MAE 30.0 vs 20.0 (+50%)'
    >>> figures_words({"seen": 900, "foretold": 99, "roc_auc": 0.8123, "log_loss": 0.41, "base_rate": 0.25, "lift": 2.2})
    '99 of 900 outcomes foretold: too few'
    >>> figures_words({"seen": 900, "foretold": 0, "coverage": 0.0})
    'none of 900 outcomes foretold yet'
    >>> figures_words({"silhouette": 0.31, "personas": {"sleepers": {"share": 0.6}, "others": {"share": 0.4}}})
    'silhouette 0.31; 60% sleepers, 40% others'
    >>> figures_words({"seen": 0, "foretold": 0}), figures_words({"seen": 12}), figures_words({})
    ('no outcome is known yet', 'learns without outcomes', '')
    """
    foretold, seen = figures.get("foretold"), figures.get("seen")
    if isinstance(foretold, int) and isinstance(seen, int) and foretold < FEWEST and seen:
        if not foretold:
            return f"none of {seen:,} outcomes foretold yet"
        return f"{foretold:,} of {seen:,} outcomes foretold: too few"
    said = [*_of_probability(figures), *_of_value(figures)]
    if said:
        return ", ".join(said)
    personas = figures.get("personas")
    if isinstance(personas, dict):
        known = {name: one for name, one in personas.items() if isinstance(one, dict)}
        largest = sorted(known, key=lambda name: -_share(known[name]))
        shares = ", ".join(f"{100 * _share(known[name]):.0f}% {plain(name, 30)}" for name in largest)
        silhouette = _number(figures, "silhouette", 2)
        return "; ".join(one for one in (silhouette and f"silhouette {silhouette}", shares) if one)
    if "seen" not in figures:
        return ""
    return "no outcome is known yet" if "foretold" in figures else "learns without outcomes"


def _of_probability(figures: Mapping[str, Any]) -> list[str]:
    said = []
    if auc := _number(figures, "roc_auc"):
        said.append(f"AUC {auc}")
    if loss := _number(figures, "log_loss"):
        said.append(f"log loss {loss}{_against(figures['log_loss'], base_loss(figures.get('base_rate')), 3)}")
    return said


def _of_value(figures: Mapping[str, Any]) -> list[str]:
    if not (error := _number(figures, "mae", 1)):
        return []
    return [f"MAE {error}{_against(figures['mae'], figures.get('naive_mae'), 1)}"]


def _against(found: float, known: Any, digits: int) -> str:
    """The loss of who knows only the base rate, or the mean, and how much more or less this one is; "" where that is not known."""
    if not isinstance(known, int | float) or known <= 0:
        return ""
    return f" vs {known:,.{digits}f} ({found / known - 1:+.0%})"


def happened_words(one: Standing) -> str:
    """The newest event of a model, and how often there was one of its kind."""
    latest = one.latest
    if latest is None:
        return ""
    when = f"{local_time(latest.at)} " if latest.at is not None else ""
    often = one.happened[latest.kind]
    return f"{when}{event_words(latest)}" + (f" (one of {often})" if often > 1 else "")


def event_words(word: Word) -> str:
    """What happened to a model, in a few words.

    >>> event_words(Word("m", "drift", "line", 0, {"of": "error", "detector": "adwin", "before": 0.2, "after": 0.35}))
    'drift of error, 0.2 → 0.35'
    >>> event_words(Word("m", "persona", "k", 0, {"kind": "persona birth", "id": 3, "name": "sleepers"}))
    'persona birth: sleepers'
    >>> event_words(Word("m", "promoted", "tree", 0, {"champion": "line", "champion_loss": 0.5, "challenger_loss": 0.43210}))
    'promoted: tree, log loss 0.5 → 0.432'
    """
    detail = word.detail
    if word.kind == "drift":
        moved = _moved(detail.get("before"), detail.get("after"))
        return plain(f"drift of {detail.get('of', '?')}" + (f", {moved}" if moved else ""))
    if word.kind == "persona":
        return plain(f"{detail.get('kind', 'persona')}: {detail.get('name', '?')}")
    said = f"{word.kind}: {word.candidate}" if word.candidate else word.kind
    if word.kind in ("promoted", "would promote"):
        moved = _moved(detail.get("champion_loss"), detail.get("challenger_loss"))
        metric = str(detail.get("metric", "log_loss")).replace("_", " ")
        return plain(said + (f", {metric} {moved}" if moved else ""))
    why = detail.get("failure") or detail.get("reason")
    return plain(f"{said}, {why}" if why else said)


def _moved(before: Any, after: Any) -> str:
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return ""
    return f"{before:.3g} → {after:.3g}"


def _share(persona: Mapping[str, Any]) -> float:
    share = persona.get("share")
    return float(share) if isinstance(share, int | float) else 0.0


def _number(figures: Mapping[str, Any], name: str, digits: int = 3) -> str:
    found = figures.get(name)
    return f"{found:,.{digits}f}" if isinstance(found, int | float) else ""
