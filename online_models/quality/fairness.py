"""How a model treats groups of customers: who is selected, who of those it should have found, and whether its scores mean the same.

Selection rates, demographic parity difference and ratio are defined as in Fairlearn, and tests hold them equal to its. A constraint gives
groups thresholds of their own (Hardt, Price and Srebro 2016, "Equality of Opportunity in Supervised Learning"), and leaves nothing to
chance: within a group the same score is decided alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from online_models.definition import Fairness
from online_models.quality.figures import LEAST, Observed, Report, log_loss
from online_models.selection import MOST_GROUPS, OwnThresholds, mapped
from profiles.values import MICROS

UNKNOWN: Final = ""
"""The group of customers of whom the trait is not known. It is reported, and left out of the differences."""

_EVEN: Final = 1e-12
"""Shares that are nearer to each other are the same: they are sums of weights, which round."""


def fairness_report(rule: Fairness, ones: Iterable[Observed]) -> Report:
    """Figures of each group and what lies between them; `alert` where the difference is above the declared bound.

    A group counts towards the differences from 30 examples on. All is of what the model itself says, with the one threshold. With
    `constrain`, `decided` has the difference as it was decided, by the thresholds in force at the time, and the alert goes by that;
    `thresholds` has those that follow from these examples, and `cost` what they do to who is found.
    """
    by_group = _by_group(ones)
    groups = {name: _of_group(by_group[name], rule.threshold) for name in sorted(by_group)}
    compared = _compared(by_group)
    found: Report = {"trait": rule.trait, "threshold": rule.threshold, "groups": groups}
    if len(compared) < 2:
        return found
    found |= _parity([groups[name]["selection_rate"] for name in compared])
    reached = [groups[name]["true_positive_rate"] for name in compared if "true_positive_rate" in groups[name]]
    if len(reached) > 1:
        found["equal_opportunity_difference"] = round(max(reached) - min(reached), 6)
    found["bound"] = rule.bound
    found["alert"] = found["demographic_parity_difference"] > rule.bound
    if rule.constrain:
        found["decided"] = _parity([_decided_rate(each, rule.threshold) for each in compared.values()])
        found["alert"] = found["decided"]["demographic_parity_difference"] > rule.bound
        own = own_thresholds(rule, itertools.chain.from_iterable(compared.values()))
        found["thresholds"] = {name: own.of(name) if own else rule.threshold for name in compared}
        found["cost"] = cost(compared, rule.threshold, found["thresholds"])
    return found


def _by_group(ones: Iterable[Observed]) -> dict[str, list[Observed]]:
    """The examples of the largest groups."""
    found: dict[str, list[Observed]] = {}
    for one in ones:
        found.setdefault(one.group, []).append(one)
    largest = sorted(found, key=lambda name: (-len(found[name]), name))[:MOST_GROUPS]
    return {name: found[name] for name in largest}


def _compared(by_group: Mapping[str, list[Observed]]) -> dict[str, list[Observed]]:
    """The groups that are compared, in the order of their names."""
    return {name: by_group[name] for name in sorted(by_group) if name != UNKNOWN and len(by_group[name]) >= LEAST}


def _parity(rates: list[float]) -> Report:
    return {
        "demographic_parity_difference": round(max(rates) - min(rates), 6),
        "demographic_parity_ratio": round(min(rates) / max(rates), 6) if max(rates) else 1.0,
    }


def _decided_rate(ones: list[Observed], threshold: float) -> float:
    """The share that was selected, each by the threshold that was in force."""
    weight = sum(one.weight for one in ones)
    levels = (threshold if one.threshold is None else one.threshold for one in ones)
    return sum(one.weight for one, level in zip(ones, levels, strict=True) if one.prediction >= level) / weight


def _of_group(ones: list[Observed], threshold: float) -> Report:
    predictions, labels, weights = _arrays(ones)
    selected = predictions >= threshold
    total = float(weights.sum())
    positive = float(weights @ labels)
    found = {
        "examples": len(ones),
        "selection_rate": round(float(weights @ selected) / total, 6),
        "mean_score": round(float(weights @ predictions) / total, 6),
        "base_rate": round(positive / total, 6),
        "calibration": round(float(weights @ (predictions - labels)) / total, 6),
    }
    if positive:
        found["true_positive_rate"] = round(float(weights @ (selected * labels)) / positive, 6)
    return found


def own_thresholds(rule: Fairness, ones: Iterable[Observed]) -> OwnThresholds | None:
    """Thresholds by which the groups' selection rates differ by no more than the bound on these examples: for no group where there is no
    need. None where they are not asked for, or there are not enough examples to tell.

    As few customers as possible are decided otherwise than by the one threshold. What is aimed at is half of the bound, so that there is
    room for what comes next; then the bound; then, where scores are so few that this would mean to select nobody or everybody, whatever
    brings each group nearest to the share of all. Groups with fewer than 30 examples, and the unknown, keep the one threshold.
    """
    by_group = _compared(_by_group(ones))
    if not rule.constrain or rule.threshold <= 0 or len(by_group) < 2:
        return None
    ladders = {name: _ladder(by_group[name], rule.threshold) for name in sorted(by_group)}
    steps = _steps(list(ladders.values()), rule.bound)
    found = {
        name: float(ladder.levels[step])
        for (name, ladder), step in zip(ladders.items(), steps, strict=True)
        if step != ladder.now
    }
    return OwnThresholds(rule.trait, rule.threshold, found)


class _Ladder(NamedTuple):
    """A group's thresholds from the highest, by which nobody is selected, down; the share that each selects; and the step it stands on."""

    levels: Any
    shares: Any
    now: int
    weight: float


def _ladder(ones: list[Observed], threshold: float) -> _Ladder:
    predictions, _, weights = _arrays(ones)
    order = np.argsort(-predictions, kind="stable")
    values, reached = predictions[order], np.cumsum(weights[order]) / weights.sum()
    last = np.r_[values[1:] != values[:-1], True]  # a threshold never parts equal scores
    nobody = round(float(values[0]) + 1 / MICROS, 6)
    levels, shares = np.r_[nobody, values[last]], np.r_[0.0, reached[last]]
    return _Ladder(levels, shares, int(np.sum(values[last] >= threshold)), float(weights.sum()))


def _steps(ladders: list[_Ladder], bound: float) -> list[int]:
    """The step of each group that `own_thresholds` asks for."""
    now = [one.now for one in ladders]
    for width in (bound / 2, bound):
        if (found := _within(ladders, width)) is not None:
            return found
    all_weight = sum(one.weight for one in ladders)
    share = sum(one.weight * float(one.shares[one.now]) for one in ladders) / all_weight
    nearest = [int(np.argmin(np.abs(one.shares - share))) for one in ladders]
    before, after = (_shares(ladders, steps) for steps in (now, nearest))
    is_some = max(after) > _EVEN and min(after) < 1 - _EVEN
    return nearest if is_some and max(after) - min(after) < max(before) - min(before) else now


def _shares(ladders: list[_Ladder], steps: list[int]) -> list[float]:
    return [float(one.shares[step]) for one, step in zip(ladders, steps, strict=True)]


def _within(ladders: list[_Ladder], width: float) -> list[int] | None:
    """The steps nearest to those of now by which all shares lie within a range of this width; None if that is all or nothing."""
    # A best range begins or ends at a share that some group can have: else it could be moved until it does.
    edges = np.unique(np.concatenate([np.r_[one.shares, one.shares - width] for one in ladders]))
    moved, selected, possible = np.zeros(len(edges)), np.zeros(len(edges)), np.ones(len(edges), dtype=bool)
    chosen = []
    for one in ladders:
        first = np.searchsorted(one.shares, edges - _EVEN, side="left")
        last = np.searchsorted(one.shares, edges + width + _EVEN, side="right") - 1
        step = np.clip(one.now, np.minimum(first, last), last)
        possible &= first <= last
        moved += one.weight * np.abs(one.shares[step] - one.shares[one.now])
        selected += one.shares[step]
        chosen.append(step)
    possible &= (selected > _EVEN) & (selected < len(ladders) - _EVEN)
    if not possible.any():
        return None
    best = int(np.argmin(np.where(possible, moved, np.inf)))
    return [int(step[best]) for step in chosen]


def cost(by_group: Mapping[str, list[Observed]], threshold: float, own: Mapping[str, float]) -> Report:
    """What thresholds of their own do, beside the one threshold: of those selected, how many had the outcome (`precision`); how many of
    all with the outcome are found (`true_positive_rate`); how many are decided rightly (`accuracy`); the log loss of the scores that
    rules see; and how far the groups' selection rates are apart."""
    found: Report = {}
    for name, levels in (("one_threshold", {}), ("own_thresholds", own)):
        hits = chosen = positive = right = losses = total = 0.0
        rates = []
        for group, ones in by_group.items():
            _, labels, weights = _arrays(ones)
            level = levels.get(group, threshold)
            shown = np.array([mapped(one.prediction, threshold, level) for one in ones])
            selected = shown >= threshold
            rates.append(float(weights @ selected) / float(weights.sum()))
            hits += float(weights @ (selected * labels))
            chosen += float(weights @ selected)
            positive += float(weights @ labels)
            right += float(weights @ (selected == labels))
            losses += log_loss(shown, labels, weights)
            total += float(weights.sum())
        found[name] = {
            "precision": round(hits / chosen, 6) if chosen else None,
            "true_positive_rate": round(hits / positive, 6) if positive else None,
            "accuracy": round(right / total, 6),
            "log_loss": round(losses / total, 6),
            "demographic_parity_difference": round(max(rates) - min(rates), 6),
        }
    return found


def _arrays(ones: list[Observed]) -> tuple[Any, Any, Any]:
    """Predictions, labels and weights, one number for each example."""
    return (
        np.array([one.prediction for one in ones]),
        np.array([one.label for one in ones]),
        np.array([one.weight for one in ones]),
    )
