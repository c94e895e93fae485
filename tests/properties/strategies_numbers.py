"""Random rates, trends, shares, fading points, and comparisons of how lately, how often and for how much."""

from __future__ import annotations

from hypothesis import strategies as st

import tests.oracle_numbers  # noqa: F401  (its kinds are known wherever these are drawn)
from rules.definition import (
    Affinity,
    Condition,
    Engagement,
    EventRef,
    Happened,
    Hysteresis,
    Operator,
    Rate,
    Rfm,
    Test,
    Trend,
)

Refs = st.SearchStrategy[EventRef]

PRICE = "properties.price"
LINES = "properties.lines[].price"
WINDOWS = (10, 20, 30, 50)
ABOVE, BELOW = (Operator.GTE, Operator.GT), (Operator.LTE, Operator.LT)

_windows = st.sampled_from(WINDOWS)
_of = st.sampled_from((None, None, PRICE, LINES))


@st.composite
def _comparisons(draw: st.DrawFn, numbers: tuple[float, ...], equal: bool = True, path: str = "") -> tuple[Test, ...]:
    operators = (*ABOVE, *BELOW, Operator.BETWEEN, *((Operator.EQ,) if equal else ()))
    operator = draw(st.sampled_from(operators))
    if operator is Operator.BETWEEN:
        low, high = sorted((draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers))))
        return (Test(path, operator, (low, high)),)
    return (Test(path, operator, draw(st.sampled_from(numbers))),)


def rates(refs: Refs) -> st.SearchStrategy[Rate]:
    """How much, or how many, for each stretch of time."""
    return st.builds(Rate, refs, _windows, st.sampled_from((1, 7, 10, 100)), _comparisons((0, 0.1, 1, 1.5, 2, 20)), _of)


def trends(refs: Refs) -> st.SearchStrategy[Trend]:
    """Now against before, often of numbers that come to less than nothing."""
    numbers = (0, 0.5, 1, 1.5, 2, 0.333333)
    return st.builds(
        lambda ref, window, times, tests, of: Trend(ref, window, times, tests, of),
        refs,
        st.sampled_from((10, 20)),
        st.sampled_from((20, 40, 50)),
        _comparisons(numbers),
        _of,
    )


@st.composite
def affinities(draw: st.DrawFn, refs: Refs) -> Affinity:
    """The share of some events among others, which may overlap."""
    among = draw(st.lists(refs, min_size=1, max_size=3))
    to = [EventRef(ref.event, (*ref.where, *draw(_products))) for ref in among if draw(st.integers(0, 2))] or among[:1]
    shares = _comparisons((0, 0.25, 0.333333, 0.5, 0.6, 1))
    return Affinity(tuple(to), tuple(among), draw(_windows), draw(shares), draw(st.sampled_from((1, 1, 2, 3))))


_products = st.sampled_from(
    (
        (),
        (Test("properties.product", Operator.EQ, "x"),),
        (Test("properties.lines[].product", Operator.EQ, "x"),),
        (Test("properties.price", Operator.GT, 5),),
    )
)


@st.composite
def engagements(draw: st.DrawFn, refs: Refs) -> Engagement:
    """Points that fade so fast that much is left of few events only; some are negative."""
    named = draw(st.lists(refs, min_size=1, max_size=3, unique_by=lambda ref: (ref.event, frozenset(ref.where))))
    worth = st.sampled_from((1.0, 1.0, 2.0, 10.0, 0.1, -1.0, -3.0))
    numbers = (0.5, 1, 2, 2.5, 5, 10, -0.5, -2)
    points = tuple((ref, draw(worth)) for ref in named)
    return Engagement(points, draw(st.sampled_from((3, 7, 10, 20))), draw(_comparisons(numbers, equal=False)))


@st.composite
def rfms(draw: st.DrawFn, refs: Refs) -> Rfm:
    """One to three comparisons; those of scores are false, as no population has been measured."""
    known = {
        "recency": _comparisons(WINDOWS, equal=False, path="recency"),
        "frequency": _comparisons((0, 1, 2, 3), path="frequency"),
        "monetary": _comparisons((0, 2.01, 9.99, 20, 30, -5.5), path="monetary"),
    }
    names = draw(st.lists(st.sampled_from((*known, *known, "score")), min_size=1, max_size=3, unique=True))
    tests: tuple[Test, ...] = ()
    for name in names:
        tests += draw(known[name]) if name in known else (Test("monetary_score", Operator.GTE, 1),)
    return Rfm(draw(refs), draw(st.sampled_from((PRICE, LINES))), draw(_windows), tests)


@st.composite
def _two_thresholds(draw: st.DrawFn, refs: Refs) -> Hysteresis:
    """Numbers over time of which those who are in may lose (or gain) more than those who are out."""
    of_one = st.one_of(rates(refs), trends(refs), affinities(refs), engagements(refs))
    one = draw(of_one)
    near, far = sorted(draw(st.tuples(*[st.sampled_from((0.25, 0.5, 1, 2, 5))] * 2)))
    operators = draw(st.sampled_from((ABOVE, BELOW)))
    enter, leave = (far, near) if operators is ABOVE else (near, far)
    first, second = (
        type(one)(**{**vars(one), "tests": (Test("", operator, bound),)})
        for operator, bound in ((draw(st.sampled_from(operators)), enter), (operators[0], leave))
    )
    return Hysteresis(first, second)


@st.composite
def _two_counts(draw: st.DrawFn, refs: Refs) -> Hysteresis:
    ref, window, most = draw(refs), draw(_windows), draw(st.integers(1, 3))
    least = draw(st.integers(0, most))
    enter, leave = ((Test("", Operator.GTE, bound),) for bound in (most, least))
    return Hysteresis(Happened(ref, window, enter), Happened(ref, window, leave))


def number_kinds(refs: Refs) -> dict[str, st.SearchStrategy[Condition]]:
    """Each kind alone."""
    return {
        "rate": rates(refs),
        "trend": trends(refs),
        "affinity": affinities(refs),
        "engagement": engagements(refs),
        "rfm": rfms(refs),
        "two thresholds over time": st.one_of(_two_thresholds(refs), _two_counts(refs)),
    }
