"""Random features of every kind, over the same few events, values and windows as the random rules."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from online_models.definition import Feature
from online_models.features.activity import Age, Count, FadingPoints, Recency, Velocity, Visit
from online_models.features.calendar import Clock
from online_models.features.categories import NewestWord, OneTrait, TopWord
from online_models.features.numeric import Amount, Distinct, NewestNumber
from online_models.features.shares import Share
from tests.properties import strategies as some

_PRICE, _LINES = "properties.price", "properties.lines[].price"
_PRODUCT, _PRODUCTS = "properties.product", "properties.lines[].product"

_refs = st.one_of(some.plain_refs, some.plain_refs, some.refs())
_log = st.booleans()
_several = st.lists(_refs, min_size=1, max_size=2).map(tuple)


def _amounts(*functions: str) -> st.SearchStrategy[Amount]:
    return st.builds(
        Amount, st.sampled_from(functions), st.sampled_from((_PRICE, _LINES)), _refs, some.optional_windows, _log
    )


def _visits(part: str) -> st.SearchStrategy[Visit]:
    return st.builds(
        Visit, st.just(part), _refs, st.sampled_from((10, 11, 20, 30)), st.sampled_from(("last", "current"))
    )


_counts = st.builds(Count, _refs, some.optional_windows, st.sampled_from((1, 2, 3, 100)), _log)
_carts = st.builds(
    NewestNumber,
    st.just(_PRICE),
    _refs,
    some.optional_windows,
    st.lists(some.plain_refs, max_size=2).map(tuple),
    st.just(0.0),
    _log,
)
_worth = st.sampled_from((1.0, 2.0, 10.0, 0.1, -3.0))
_points = st.lists(
    st.tuples(_refs, _worth), min_size=1, max_size=3, unique_by=lambda one: (one[0].event, frozenset(one[0].where))
).map(tuple)


@st.composite
def _shares(draw: st.DrawFn, apart: bool) -> Share:
    to = draw(_several)
    others = draw(_several)
    return Share(to, (*to, *others), draw(some.windows), draw(st.sampled_from((1, 1, 2, 3))), apart)


PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "recency": st.builds(Recency, _refs, _log),
    "age": st.builds(Age, st.one_of(st.none(), _refs), _log),
    "frequency": _counts,
    "count": _counts,
    "session_depth": _visits("depth"),
    "session_length": _visits("length"),
    "engagement": st.builds(FadingPoints, _points, st.sampled_from((3, 7, 10, 20))),
    "velocity": st.builds(Velocity, _refs, st.sampled_from((10, 20)), st.sampled_from((20, 40, 50))),
    "monetary": _amounts("sum"),
    "sum": _amounts("sum"),
    "mean": _amounts("mean"),
    "min": _amounts("min"),
    "max": _amounts("max"),
    "distinct": st.builds(
        Distinct,
        st.sampled_from((_PRODUCT, _PRODUCTS, _PRICE)),
        _refs,
        some.optional_windows,
        st.sampled_from((1, 2, 32)),
    ),
    "cart_items": _carts,
    "cart_value": _carts,
    "number": st.builds(NewestNumber, st.just(_PRICE), _refs, some.optional_windows, log=_log),
    "click_through": _shares(True),
    "affinity": _shares(False),
    "category": st.builds(
        NewestWord,
        st.sampled_from((_PRODUCT, "context.device.type", "context.version", "properties.flag")),
        _refs,
        some.optional_windows,
        st.sampled_from(("onehot", "hash", "target")),
    ),
    "top": st.builds(TopWord, st.sampled_from((_PRODUCT, _PRODUCTS, "context.device.type")), _refs, some.windows),
    "trait": st.builds(OneTrait, st.sampled_from(("vip", "tier", "score", "nobody knows")), st.booleans()),
    "hour": st.builds(Clock, st.just("hour"), st.sampled_from(("cyclic", "onehot"))),
    "weekday": st.builds(Clock, st.just("weekday"), st.sampled_from(("cyclic", "onehot"))),
}
"""Parameters of each kind; a kind without a line here fails `test_features.py`."""


def features(*kinds: str) -> st.SearchStrategy[Feature]:
    """One feature of one of these kinds, of any if none is named."""
    return st.sampled_from(kinds or tuple(PARAMETERS)).flatmap(
        lambda kind: PARAMETERS[kind].map(lambda parameters: Feature(kind, kind, parameters))
    )
