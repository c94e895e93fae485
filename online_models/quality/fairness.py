"""How a model treats groups of customers: who is selected, who of those it should have found, and whether its scores mean the same.

Selection rates, demographic parity difference and ratio are defined as in Fairlearn, and tests hold them equal to its. What a constraint
would cost is told before anybody sets it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from online_models.definition import Fairness
from online_models.quality.figures import LEAST, Observed, Report

UNKNOWN: Final = ""
"""The group of customers of whom the trait is not known. It is reported, and left out of the differences."""

MOST_GROUPS: Final = 20


def fairness_report(rule: Fairness, ones: Iterable[Observed]) -> Report:
    """Figures of each group and what lies between them; `alert` where the difference is above the declared bound.

    A group counts towards the differences from 30 examples on. With `constrain`, `thresholds` has for each group the score from which on
    as many of it are selected as of all, and `cost` what that does to those who are found.
    """
    by_group: dict[str, list[Observed]] = {}
    for one in ones:
        by_group.setdefault(one.group, []).append(one)
    largest = sorted(by_group, key=lambda name: (-len(by_group[name]), name))[:MOST_GROUPS]
    groups = {name: _of_group(by_group[name], rule.threshold) for name in sorted(largest)}
    compared = {name: one for name, one in groups.items() if name != UNKNOWN and one["examples"] >= LEAST}
    found: Report = {"trait": rule.trait, "threshold": rule.threshold, "groups": groups}
    if len(compared) < 2:
        return found
    rates = [one["selection_rate"] for one in compared.values()]
    found["demographic_parity_difference"] = round(max(rates) - min(rates), 6)
    found["demographic_parity_ratio"] = round(min(rates) / max(rates), 6) if max(rates) else 1.0
    reached = [one["true_positive_rate"] for one in compared.values() if "true_positive_rate" in one]
    if len(reached) > 1:
        found["equal_opportunity_difference"] = round(max(reached) - min(reached), 6)
    found["bound"] = rule.bound
    found["alert"] = found["demographic_parity_difference"] > rule.bound
    if rule.constrain:
        chosen = {name: by_group[name] for name in compared}
        found["thresholds"] = thresholds(chosen, rule.threshold)
        found["cost"] = cost(chosen, rule.threshold, found["thresholds"])
    return found


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


def thresholds(by_group: dict[str, list[Observed]], threshold: float) -> dict[str, float]:
    """For each group the score from which on the same share of it is selected as of all together at `threshold`."""
    everybody = [one for ones in by_group.values() for one in ones]
    predictions, _, weights = _arrays(everybody)
    share = float(weights @ (predictions >= threshold)) / float(weights.sum())
    return {name: _at_share(ones, share) for name, ones in by_group.items()}


def _at_share(ones: list[Observed], share: float) -> float:
    """The score from which on the selected come nearest to this share."""
    predictions, _, weights = _arrays(ones)
    order = np.argsort(-predictions, kind="stable")
    values, reached = predictions[order], np.cumsum(weights[order]) / weights.sum()
    last = np.r_[values[1:] != values[:-1], True]  # a threshold never parts equal scores
    levels, shares = np.r_[np.inf, values[last]], np.r_[0.0, reached[last]]
    nearest = int(np.argmin(np.abs(shares - share)))
    return float(levels[nearest]) if nearest else float(np.nextafter(values[0], np.inf))


def cost(by_group: dict[str, list[Observed]], threshold: float, own: dict[str, float]) -> Report:
    """What thresholds of their own do: of those selected, how many had the outcome, and how many of all with the outcome are found."""
    found: Report = {}
    for name, levels in (("one_threshold", dict.fromkeys(by_group, threshold)), ("own_thresholds", own)):
        hits = chosen = positive = 0.0
        for group, ones in by_group.items():
            predictions, labels, weights = _arrays(ones)
            selected = predictions >= levels[group]
            hits += float(weights @ (selected * labels))
            chosen += float(weights @ selected)
            positive += float(weights @ labels)
        found[name] = {
            "precision": round(hits / chosen, 6) if chosen else None,
            "true_positive_rate": round(hits / positive, 6) if positive else None,
        }
    return found


def _arrays(ones: list[Observed]) -> tuple[Any, Any, Any]:
    """Predictions, labels and weights, one number for each example."""
    return (
        np.array([one.prediction for one in ones]),
        np.array([one.label for one in ones]),
        np.array([one.weight for one in ones]),
    )
