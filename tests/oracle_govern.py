"""What the oracle knows of conditions on what else is known of a customer: outputs of models, memberships of other segments."""

from __future__ import annotations

from collections.abc import Iterable

from rules.definition import Cluster, Member, Score
from tests.oracle_conditions import JUDGES, History, Judge, Output
from tests.oracle_values import exact, number_passes


def newest_output(condition: Score | Cluster, history: History, clock: int) -> Output | None:
    """The last that was heard of the model, if it is of the right kind and not too old."""
    of_model = [one for one in history.outputs if one.model == condition.model]
    if not of_model:
        return None
    newest = of_model[-1]
    if isinstance(newest.score, str) is not isinstance(condition, Cluster):
        return None
    if condition.max_age is not None and clock - newest.clock >= condition.max_age:
        return None
    return newest


def _score_holds(condition: Score, history: History, clock: int) -> bool:
    newest = newest_output(condition, history, clock)
    if newest is None:
        return condition.when_missing
    number = exact(newest.score)
    assert number is not None
    return number_passes(number, condition.tests)


def _cluster_holds(condition: Cluster, history: History, clock: int) -> bool:
    newest = newest_output(condition, history, clock)
    return condition.when_missing if newest is None else newest.score in condition.among


def _output_moments(condition: Score | Cluster, history: History, clock: int) -> Iterable[int]:
    return [] if condition.max_age is None else [one.clock + condition.max_age for one in history.outputs]


def _member_holds(condition: Member, history: History, clock: int) -> bool:
    since = history.inside.get(condition.segment)
    if since is None:
        return False
    return clock - since >= (condition.at_least or 0) and (condition.within is None or clock - since < condition.within)


def _member_moments(condition: Member, history: History, clock: int) -> Iterable[int]:
    since = history.inside.get(condition.segment)
    return [] if since is None else [since + one for one in (condition.at_least, condition.within) if one is not None]


JUDGES[Score] = Judge(_score_holds, moments=_output_moments)
JUDGES[Cluster] = Judge(_cluster_holds, moments=_output_moments)
JUDGES[Member] = Judge(_member_holds, moments=_member_moments)
