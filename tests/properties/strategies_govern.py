"""Random outputs of models, points, double thresholds, memberships asked for, and everything that decides besides the rule."""

from __future__ import annotations

from hypothesis import strategies as st

from rules.definition import (
    Aggregate,
    All,
    AnyOf,
    AtLeast,
    Cluster,
    Condition,
    EventRef,
    Exit,
    Group,
    Hysteresis,
    Member,
    Operator,
    Points,
    Score,
    Segment,
    Stability,
    Test,
)
from rules.order import CycleError, evaluation_order, leaves

LASTS = (10, 20, 30)
MODELS = ("churn", "persona")
ABOVE, BELOW = (Operator.GTE, Operator.GT), (Operator.LTE, Operator.LT)
Conditions = st.SearchStrategy[Condition]

_scores = st.sampled_from((0, 0.5, 0.6, 0.7, 0.9))
_personas = st.sampled_from(("hunter", "giver", "seeker"))
_age = st.sampled_from((None, None, *LASTS))

model_outputs: st.SearchStrategy[dict[str, float | str]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"churn": _scores}),
    st.fixed_dictionaries({}, optional={"churn": _scores, "persona": _personas, "unheard": _scores}),
    st.fixed_dictionaries({"persona": st.one_of(_personas, _personas, _scores)}),
    st.fixed_dictionaries({"churn": st.sampled_from(("hunter", 0.7))}),
)


def models_of(condition: Condition) -> set[str]:
    """The models that a condition asks for."""
    return {one.model for one in leaves(condition) if isinstance(one, Score | Cluster)}


@st.composite
def _comparisons(draw: st.DrawFn, numbers: tuple[float, ...]) -> tuple[Test, ...]:
    operator = draw(st.sampled_from((*ABOVE, *BELOW, Operator.BETWEEN)))
    if operator is Operator.BETWEEN:
        return (Test("", operator, tuple(sorted((draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers)))))),)
    return (Test("", operator, draw(st.sampled_from(numbers))),)


_model_scores = st.builds(Score, st.just("churn"), _comparisons((0.5, 0.6, 0.7)), _age, st.booleans())
_clusters = st.builds(
    Cluster, st.just("persona"), st.lists(_personas, min_size=1, max_size=2).map(tuple), _age, st.booleans()
)
of_models: Conditions = st.one_of(_model_scores, _clusters)


def points(inner: Conditions) -> st.SearchStrategy[Points]:
    """A weighted sum of up to three conditions; some weights are negative, some no whole number."""
    weighed = st.tuples(inner, st.sampled_from((1.0, 2.0, 3.0, 0.1, 0.2, -1.0)))
    return st.builds(Points, st.lists(weighed, min_size=1, max_size=3).map(tuple), _comparisons((0, 0.3, 1, 3, 5)))


_sums = st.builds(
    Aggregate,
    st.just("sum"),
    st.just("properties.price"),
    st.builds(EventRef, st.sampled_from(("A", "B"))),
    st.just(()),
    st.sampled_from((*LASTS, None)),
)


@st.composite
def _thresholds(draw: st.DrawFn, inner: Conditions) -> Hysteresis:
    """A number that those who are in may let fall (or rise) further than those who are out."""
    one = draw(st.one_of(_model_scores, _sums, points(inner)))
    numbers = (0.5, 0.6, 0.7) if isinstance(one, Score) else (-5, 0, 2, 10, 20)
    near, far = sorted((draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers))))
    operators = draw(st.sampled_from((ABOVE, BELOW)))
    enter, leave = (far, near) if operators is ABOVE else (near, far)
    made = [
        type(one)(**{**vars(one), "tests": (Test("", operator, bound),)})
        for operator, bound in ((draw(st.sampled_from(operators)), enter), (operators[0], leave))
    ]
    return Hysteresis(made[0], made[1])


def divided(inner: Conditions) -> Conditions:
    """Conditions with two thresholds, alone or beneath what does not turn them round."""
    one = _thresholds(inner)
    both = st.tuples(one, st.one_of(inner, one))
    return st.one_of(one, st.builds(All, both), st.builds(AnyOf, both), st.builds(AtLeast, st.just(1), both))


_lasts = st.sampled_from((0, 0, *LASTS))
stabilities: st.SearchStrategy[Stability] = st.one_of(
    st.just(Stability()),
    st.builds(Stability, enter_for=_lasts),
    st.builds(Stability, min_dwell=_lasts),
    st.builds(Stability, cooldown=_lasts),
    st.builds(Stability, _lasts, _lasts, _lasts),
)


@st.composite
def _asking(draw: st.DrawFn, names: list[str], inner: Conditions) -> Condition:
    """A rule that asks for one of the segments named, and mostly for something else too."""
    least = draw(st.sampled_from((None, None, 10, 20)))
    member = Member(draw(st.sampled_from(names)), least, draw(st.sampled_from((None, None, (least or 0) + 15))))
    both = (member, draw(inner))
    made: tuple[Condition, ...] = (member, All(both), AnyOf(both), AtLeast(2, both))
    return draw(st.sampled_from(made))


@st.composite
def governed_lists(
    draw: st.DrawFn, inner: Conditions, exits: st.SearchStrategy[Exit], latched: bool = True
) -> list[Segment]:
    """Two to four segments that ask for each other, stand in groups, wait, stay, rest and hold customers out."""
    names = draw(st.permutations(("m", "a", "z", "k")))[: draw(st.integers(2, 4))]
    grouped = draw(st.sampled_from((0, 0, 2, 3)))
    segments = []
    for number, name in enumerate(names):
        asking = _asking([*names[:number], "nobody"], inner)
        when = draw(st.one_of(inner, inner, divided(inner), *((asking, asking) if number else ())))
        segments.append(
            Segment(
                name,
                when,
                draw(exits) if latched and not draw(st.integers(0, 2)) else None,
                digest=name,
                version=1,
                stability=draw(stabilities),
                group=Group("g", draw(st.sampled_from((1, 2))) * 10 + number) if number < grouped else None,
                holdout=draw(st.sampled_from((0.0, 0.0, 0.0, 0.0, 0.3, 0.5))),
            )
        )
    return _without_circles(segments)


def _without_circles(segments: list[Segment]) -> list[Segment]:
    """The segments, out of their group where that would close a circle of those who ask."""
    try:
        evaluation_order(segments)
    except CycleError:
        return [Segment(**{**vars(one), "group": None}) for one in segments]
    return segments
