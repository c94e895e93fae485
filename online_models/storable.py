"""What a stored graph may consist of, and what there is to write of each object: a closed list of classes, methods and functions."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import random
import statistics
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from river import utils
from river.drift import adwin_c
from river.proba.base import Distribution
from river.stats import _rust_stats

MOST_ARRAY_BYTES: Final = 1 << 20

_PACKAGES: Final = (
    "anomaly",
    "bandit",
    "base",
    "cluster",
    "compose",
    "covariance",
    "drift",
    "ensemble",
    "forest",
    "linear_model",
    "metrics",
    "model_selection",
    "naive_bayes",
    "neighbors",
    "optim",
    "preprocessing",
    "proba",
    "sketch",
    "stats",
    "tree",
    "utils",
)
BUILTINS: Final[dict[str, Any]] = {
    "float": float,
    "int": int,
    "dict": dict,
    "list": list,
    "tuple": tuple,
    "set": set,
    "defaultdict": defaultdict,
    "Counter": Counter,
}
FUNCTIONS: Final[dict[str, Any]] = {"minkowski_distance": utils.math.minkowski_distance}

_NO_CHANCE: Final = random.Random(0)
METHODS: Final = frozenset(
    {"gauss", "clone", "_calc_tau_1", "_calc_tau_2", "_update_estimator_univariate", "_test_both"}
)
"""Methods that River's objects keep bound: of chance, of what is copied, of passive-aggressive models, of splitters, of drift."""

DTYPES: Final = frozenset({"<f8", "<i8", "|b1"})


class NotStorable(Exception):
    """An object of a class that is not on the list."""


@functools.cache
def allowed_classes() -> dict[str, type]:
    """All classes that a graph may have objects of, by module and name: those of the parts of River that models are made of."""
    found: dict[str, type] = {"statistics.NormalDist": statistics.NormalDist}
    for package in _PACKAGES:
        root = importlib.import_module(f"river.{package}")
        modules = [root.__name__, *_modules(root)]
        for name in modules:
            module = importlib.import_module(name)
            for each in vars(module).values():
                if isinstance(each, type) and each.__module__ == name and not issubclass(each, BaseException):
                    found[f"{name}.{each.__qualname__}"] = each
    return found


def _modules(root: Any) -> Iterator[str]:
    for info in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
        if "test" not in info.name and "datasets" not in info.name and "envs" not in info.name:
            yield info.name


Value = Any
Description = tuple[tuple[Any, ...], list[Value]]
"""The shape of an object, and its values: plain ones and other objects."""


# --- classes written in C and Rust ------------------------------------------------------------------------------------
# Each has a number of plain state values, or of types that its setter checks itself.

CYTHON: Final[dict[str, tuple[type, int]]] = {
    "AdaptiveWindowing": (adwin_c.AdaptiveWindowing, 16),
    "Bucket": (adwin_c.Bucket, 4),
    "VectorDict": (utils.VectorDict, 6),
}
RUST: Final[dict[str, tuple[type, int]]] = {
    "RsEWMean": (_rust_stats.RsEWMean, 24),
    "RsEWVar": (_rust_stats.RsEWVar, 48),
}


def describe(thing: Any) -> Description:
    """What there is to write of an object."""
    kind: Any = type(thing)
    return _describer(kind)(thing)


@functools.cache
def _describer(kind: Any) -> Callable[[Any], Description]:
    """What describes all objects of a class: a forest has a million objects, of some dozens of classes."""
    if kind in _DESCRIBED:
        return _DESCRIBED[kind]
    if issubclass(kind, np.generic):
        return _of_number
    if issubclass(kind, type):
        return _of_class
    if kind is types.FunctionType:
        return _of_function
    made_in, name = _origin_of(kind)
    if made_in == "cython":
        return functools.partial(_of_cython, ("cython", name))
    if made_in == "rust":
        return functools.partial(_of_rust, ("rust", name))
    if slots_of(kind) or issubclass(kind, Distribution):
        return functools.partial(_of_slots, name, slots_of(kind), issubclass(kind, Distribution))
    return functools.partial(_of_attributes, name)


def _of_attributes(name: str, thing: Any) -> Description:
    attributes = getattr(thing, "__dict__", {})
    return ("object", name, *attributes), list(attributes.values())


def _of_slots(name: str, slots: tuple[str, ...], is_distribution: bool, thing: Any) -> Description:
    attributes = {slot: getattr(thing, slot) for slot in slots if hasattr(thing, slot)}
    attributes |= getattr(thing, "__dict__", {})
    if is_distribution and "_rng" in attributes:
        # Each of a tree's many distributions has chance of its own, unseeded, that is never used: 2.5 kB each, and never the same.
        attributes["_rng"] = _NO_CHANCE
    return ("object", name, *attributes), list(attributes.values())


def _of_cython(shape: tuple[str, str], thing: Any) -> Description:
    reduced = thing.__reduce__()
    return shape, list(reduced[2] if len(reduced) > 2 else reduced[1][2])


def _of_rust(shape: tuple[str, str], thing: Any) -> Description:
    return shape, [thing.__getstate__()]


def _of_mapping(shape: tuple[str], thing: Any) -> Description:
    return shape, [*thing.keys(), *thing.values()]


def _of_row(shape: tuple[str], thing: Any) -> Description:
    return shape, list(thing)


def _of_set(shape: tuple[str], thing: Any) -> Description:
    return shape, sorted(thing, key=lambda each: (type(each).__name__, each))


def _of_defaultdict(thing: Any) -> Description:
    return ("defaultdict",), [thing.default_factory, *thing.keys(), *thing.values()]


def _of_deque(thing: Any) -> Description:
    return ("deque", str(thing.maxlen)), list(thing)


def _of_array(thing: Any) -> Description:
    if thing.dtype.str not in DTYPES or thing.nbytes > MOST_ARRAY_BYTES:
        raise NotStorable(f"an array of {thing.dtype}, {thing.nbytes:,} bytes")
    return ("array",), [thing.dtype.str, thing.tobytes(), *thing.shape]


def _of_number(thing: Any) -> Description:
    if thing.dtype.str not in DTYPES:
        raise NotStorable(f"a number of type {thing.dtype}")
    return ("scalar",), [thing.dtype.str, thing.tobytes()]


def _of_chance(thing: Any) -> Description:
    version, state, gauss = thing.getstate()
    return ("Random",), [version, gauss, np.array(state, dtype="<i8").tobytes()]


def _of_partial(thing: Any) -> Description:
    named = thing.keywords
    return ("partial",), [len(thing.args), thing.func, *thing.args, *named.keys(), *named.values()]


def _of_class(thing: Any) -> Description:
    return ("class",), [_class_name(thing)]


def _of_method(thing: Any) -> Description:
    if thing.__name__ not in METHODS:
        raise NotStorable(f"the method {thing.__qualname__}")
    return ("method", thing.__name__), [thing.__self__]


def _of_function(thing: Any) -> Description:
    for name, function in FUNCTIONS.items():
        if thing is function:
            return ("function",), [name]
    raise NotStorable(f"the function {thing.__module__}.{thing.__qualname__}")


_DESCRIBED: Final[dict[Any, Callable[[Any], Description]]] = {
    dict: functools.partial(_of_mapping, ("dict",)),
    OrderedDict: functools.partial(_of_mapping, ("OrderedDict",)),
    Counter: functools.partial(_of_mapping, ("Counter",)),
    list: functools.partial(_of_row, ("list",)),
    tuple: functools.partial(_of_row, ("tuple",)),
    set: functools.partial(_of_set, ("set",)),
    frozenset: functools.partial(_of_set, ("frozenset",)),
    defaultdict: _of_defaultdict,
    deque: _of_deque,
    np.ndarray: _of_array,
    random.Random: _of_chance,
    functools.partial: _of_partial,
    types.MethodType: _of_method,
}


@functools.cache
def _origin_of(kind: type) -> tuple[str, str]:
    """What a class is made in, and its name in a graph; `NotStorable` where it is not on a list."""
    for name, (cls, _) in CYTHON.items():
        if kind is cls:
            return "cython", name
    for name, (cls, _) in RUST.items():
        if kind is cls:
            return "rust", name
    name = f"{kind.__module__}.{kind.__qualname__}"
    if allowed_classes().get(name) is not kind or issubclass(kind, dict | list | set | tuple):
        raise NotStorable(f"an object of {name}")
    return "python", name


@functools.cache
def slots_of(kind: Any) -> tuple[str, ...]:
    """The names of the slots of a class and of those it is made from."""
    found: list[str] = []
    for each in kind.__mro__:
        slots = each.__dict__.get("__slots__", ())
        found += [slots] if isinstance(slots, str) else slots
    return tuple(slot for slot in found if slot not in ("__dict__", "__weakref__"))


def _class_name(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if allowed_classes().get(name) is kind:
        return name
    short = kind.__name__
    if BUILTINS.get(short) is kind:
        return short
    raise NotStorable(f"the class {name}")
