"""Graphs of Python objects as plain columns of numbers and text, and back, for a closed list of classes.

A trained model is a graph: trees point to nodes, these to detectors and statistics, some of them shared, some in cycles. `pack` sorts its
objects into groups of the same shape (class and names of attributes) and writes each attribute as one column; `Unpacking` makes the
objects of each group, then fills them. Two things follow: nothing is called but `__new__` of classes on the list and a handful of checked
setters, so a hostile graph can only hold wrong numbers; and a forest of a million objects is read in loops over columns.

A column holds plain values (None, bool, int, float, str, bytes) and places: positions at which the number of an object stands instead.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import random
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from online_models.storable import (
    BUILTINS,
    CYTHON,
    DTYPES,
    FUNCTIONS,
    METHODS,
    MOST_ARRAY_BYTES,
    RUST,
    NotStorable,
    Value,
    allowed_classes,
    describe,
    slots_of,
)

MOST_OBJECTS: Final = 2_000_000
MOST_RANDOM: Final = 1_000
_UNMADE: Final = object()
_MOST_NESTED: Final = 8
"""How deep tuples and calls may lie within each other."""


class BadGraph(Exception):
    """Columns that are no graph."""


# --- writing ----------------------------------------------------------------------------------------------------------

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_VARIED: Final = frozenset(
    {"dict", "OrderedDict", "defaultdict", "Counter", "list", "tuple", "set", "frozenset", "deque", "array", "partial"}
)
"""Shapes whose objects differ in the number of their values: written as one column, and one of the numbers."""


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """While a large graph is walked, garbage collection would look through all of it again and again, and find nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def pack(root: Any) -> list[Any]:
    """The graph that begins at `root`: plain lists for any encoder. The same graph always gives the same.

    Groups are in the order in which their shapes are met, objects within by the order in which they are; of tuples, those within others
    come first. `NotStorable` where there is something of a class that is not on the list.
    """
    with _without_collection():
        return _packed(root)


class _Whole(NamedTuple):
    """What is numbered only now that all that it consists of is: it cannot be made empty and filled later."""

    key: int
    shape: tuple[Any, ...]
    values: list[Value]


def _packed(root: Any) -> list[Any]:
    groups: dict[tuple[Any, ...], tuple[list[int], list[list[Value]]]] = {}
    # What was met stays alive, and its number its own, by the values of whatever it was met in.
    begun: set[int] = set()
    todo: list[Any] = [root] if type(root) not in _PLAIN else []
    while todo:
        thing = todo.pop()
        if type(thing) is _Whole:
            _number(thing.key, thing.shape, thing.values, groups)
            continue
        key = id(thing)
        if key in begun:
            continue
        begun.add(key)
        if len(begun) > MOST_OBJECTS:
            raise NotStorable(f"more than {MOST_OBJECTS:,} objects")
        shape, values = describe(thing)
        if shape[0] in _LATE:
            todo.append(_Whole(key, shape, values))
        else:
            _number(key, shape, values, groups)
        todo += [value for value in reversed(values) if type(value) not in _PLAIN]
    numbers: dict[int, int] = {}
    for keys, _ in groups.values():
        numbers.update(zip(keys, range(len(numbers), len(numbers) + len(keys)), strict=True))
    packed = [_group(shape, rows, numbers) for shape, (_, rows) in groups.items()]
    return [[root] if type(root) in _PLAIN else numbers[id(root)], packed]


_LATE: Final = frozenset({"tuple", "frozenset", "partial", "method"})


def _number(
    key: int,
    shape: tuple[Any, ...],
    values: list[Value],
    groups: dict[tuple[Any, ...], tuple[list[int], list[list[Value]]]],
) -> None:
    group = groups.get(shape)
    if group is None:
        groups[shape] = group = [], []
    group[0].append(key)
    group[1].append(values)


def _group(shape: tuple[Any, ...], rows: list[list[Value]], numbers: dict[int, int]) -> list[Any]:
    if shape[0] in _VARIED:
        return [
            list(shape),
            len(rows),
            [len(row) for row in rows],
            _column([each for row in rows for each in row], numbers),
        ]
    columns = [_column(list(column), numbers) for column in zip(*rows, strict=True)]
    return [list(shape), len(rows), [], *columns]


def _column(values: list[Value], numbers: dict[int, int]) -> list[Any]:
    """Values with the numbers of objects in their place, and where these stand; True for everywhere."""
    kinds = set(map(type, values))
    if _PLAIN.isdisjoint(kinds):
        return [[numbers[id(value)] for value in values], True]
    places = [] if kinds <= _PLAIN else [place for place, value in enumerate(values) if type(value) not in _PLAIN]
    for place in places:
        values[place] = numbers[id(values[place])]
    return [values, places]


# --- reading ----------------------------------------------------------------------------------------------------------


def unpack(packed: Any) -> Any:
    """The root of a graph that `pack` wrote. `BadGraph` where it is none."""
    try:
        with _without_collection():
            return _Unpacking(packed).root()
    except BadGraph:
        raise
    except Exception as error:
        raise BadGraph(f"{type(error).__name__}: {error}"[:200]) from error


class _Unpacking:
    """Makes the objects of all groups, then what is in them."""

    def __init__(self, packed: Any) -> None:
        self.root_number, groups = packed
        self.objects: list[Any] = []
        self.groups: list[tuple[tuple[Any, ...], int, int, list[int], list[Any]]] = []
        for shape, count, lengths, *columns in groups:
            if type(count) is not int or not 0 < count <= MOST_OBJECTS - len(self.objects):
                raise BadGraph("too many objects")
            columns = self._checked(shape, count, lengths, columns)
            self.groups.append((tuple(shape), len(self.objects), count, lengths, columns))
            self.objects += self._made(tuple(shape), count)

    def root(self) -> Any:
        """The object it all begins at."""
        if isinstance(self.root_number, list):
            return self.root_number[0]
        waiting = [group for group in self.groups if group[0][0] in _AT_ONCE]
        for _ in range(_MOST_NESTED):
            waiting = [group for group in waiting if not self._make_at_once(*group)]
        if waiting:
            raise BadGraph("values that hold each other")
        # What is written in C copies the mapping of its attributes, which must be full by then.
        for group in sorted(self.groups, key=lambda group: group[0][0] == "cython"):
            if group[0][0] not in _AT_ONCE:
                self._fill(*group)
        return self.objects[_index(self.root_number, len(self.objects))]

    @staticmethod
    def _checked(shape: Any, count: int, lengths: Any, columns: list[Any]) -> list[Any]:
        if not all(type(each) is str for each in shape):
            raise BadGraph("a shape without name")
        varied = shape[0] in _VARIED
        if varied and (
            len(columns) != 1 or len(lengths) != count or not all(type(n) is int and n >= 0 for n in lengths)
        ):
            raise BadGraph("lengths do not fit")
        if shape[0] == "object" and len(columns) != len(shape) - 2:
            raise BadGraph("attributes do not fit")
        for values, places in columns:
            if type(values) is not list or len(values) != (sum(lengths) if varied else count):
                raise BadGraph("values do not fit")
            if places is not True and (type(places) is not list or len(places) > len(values)):
                raise BadGraph("places do not fit")
            # What is no place holds something plain: a list or a mapping here would be no object of the graph.
            if not _PLAIN.issuperset(map(type, values)):
                raise BadGraph("a value that is not plain")
        return columns

    @staticmethod
    def _made(shape: tuple[Any, ...], count: int) -> Sequence[Any]:
        """The objects of a group, still empty; `_UNMADE` for those that are made at once."""
        kind = shape[0]
        if kind in _AT_ONCE:
            return [_UNMADE] * count
        if kind == "Random" and count > MOST_RANDOM:
            raise BadGraph("too much chance")
        if kind == "deque":
            most = None if shape[1] == "None" else int(shape[1])
            return [deque(maxlen=most) for _ in range(count)]
        if kind in _EMPTY:
            return [_EMPTY[kind]() for _ in range(count)]
        if kind == "cython":
            cls: Any = CYTHON[shape[1]][0]
            return [cls.__new__(cls) for _ in range(count)]
        if kind == "object":
            cls = allowed_classes()[shape[1]]
            return [object.__new__(cls) for _ in range(count)]
        raise BadGraph(f"an unknown shape {str(kind)[:40]!r}")

    def _values(self, column: Any) -> list[Any]:
        """The values of a column, objects in place of their numbers."""
        values, places = column
        objects = self.objects
        if places is True:
            if values and (min(values) < 0 or bool in set(map(type, values))):
                raise BadGraph("a number of no object")
            return [objects[number] for number in values]
        for place in places:
            if place < 0:
                raise BadGraph("a place before all")
            values[place] = objects[_index(values[place], len(objects))]
        return list(values)

    def _make_at_once(
        self, shape: tuple[Any, ...], first: int, count: int, lengths: list[int], columns: list[Any]
    ) -> bool:
        """Make what cannot be made empty and filled later. False where something waits for others that it holds."""
        make = _maker(shape)
        if shape[0] not in _VARIED:
            lengths = [len(columns)] * count
            rows = zip(*(self._marked(column) for column in columns), strict=True)
            marked = [each for row in rows for each in row]
        else:
            marked = self._marked(columns[0])
        begin = 0
        whole = True
        for place, length in enumerate(lengths):
            row = marked[begin : begin + length]
            begin += length
            if self.objects[first + place] is not _UNMADE:
                continue
            if any(each is _UNMADE for each in row):
                whole = False
            else:
                self.objects[first + place] = make(row)
        return whole

    def _marked(self, column: Any) -> list[Any]:
        values, places = column
        return self._values([list(values), places])

    def _fill(self, shape: tuple[Any, ...], first: int, count: int, lengths: list[int], columns: list[Any]) -> None:
        made = self.objects[first : first + count]
        if shape[0] == "object":
            self._fill_objects(shape, made, [self._values(column) for column in columns])
        elif shape[0] == "cython":
            width = CYTHON[shape[1]][1]
            if len(columns) != width:
                raise BadGraph("state does not fit")
            for thing, row in zip(made, zip(*(self._values(column) for column in columns), strict=True), strict=True):
                thing.__setstate_cython__(row)
        elif shape[0] == "Random":
            for thing, row in zip(made, zip(*(self._values(column) for column in columns), strict=True), strict=True):
                version, gauss, state = row
                if gauss is not None and type(gauss) is not float:
                    raise BadGraph("a state of chance that is none")
                thing.setstate((version, tuple(np.frombuffer(state, dtype="<i8").tolist()), gauss))
        else:
            values = self._values(columns[0])
            fill = _FILL[shape[0]]
            begin = 0
            for thing, length in zip(made, lengths, strict=True):
                fill(thing, values[begin : begin + length])
                begin += length

    @staticmethod
    def _fill_objects(shape: tuple[Any, ...], made: list[Any], columns: list[list[Any]]) -> None:
        names = shape[2:]
        kind: Any = type(made[0])
        slots = set(slots_of(kind))
        if slots or not hasattr(made[0], "__dict__"):
            for name, column in zip(names, columns, strict=True):
                for thing, value in zip(made, column, strict=True):
                    if name in slots:
                        object.__setattr__(thing, name, value)
                    else:
                        thing.__dict__[name] = value
        elif names:
            for thing, row in zip(made, zip(*columns, strict=True), strict=True):
                thing.__dict__.update(zip(names, row, strict=True))


def _index(number: Any, most: int) -> int:
    if type(number) is not int or not 0 <= number < most:
        raise BadGraph("a number of no object")
    return number


def _fill_dict(thing: Any, values: list[Any]) -> None:
    half = len(values) // 2
    dict.update(thing, zip(values[:half], values[half:], strict=True))


def _fill_defaultdict(thing: Any, values: list[Any]) -> None:
    thing.default_factory = values[0]
    _fill_dict(thing, values[1:])


def _array(values: list[Any]) -> Any:
    dtype, data, *shape = values
    if (
        dtype not in DTYPES
        or len(data) > MOST_ARRAY_BYTES
        or not all(type(each) is int and each >= 0 for each in shape)
    ):
        raise BadGraph("an array that is none")
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()


def _scalar(values: list[Any]) -> Any:
    dtype, data = values
    if dtype not in DTYPES:
        raise BadGraph("a number that is none")
    (number,) = np.frombuffer(data, dtype=dtype)
    return number


def _class(values: list[Any]) -> type:
    (name,) = values
    found = BUILTINS.get(name) or allowed_classes().get(name)
    if not isinstance(found, type):
        raise BadGraph("a class that is not on the list")
    return found


def _function(values: list[Any]) -> Any:
    (name,) = values
    return FUNCTIONS[name]


def _partial(values: list[Any]) -> Any:
    count, function, *rest = values
    if (
        type(count) is not int
        or not 0 <= count <= len(rest)
        or not (isinstance(function, type | types.MethodType) or function in FUNCTIONS.values())
    ):
        raise BadGraph("a partial call of something else")
    half = (len(rest) - count) // 2
    names, found = rest[count : count + half], rest[count + half :]
    if not all(type(name) is str for name in names):
        raise BadGraph("a partial call that is none")
    return functools.partial(function, *rest[:count], **dict(zip(names, found, strict=True)))


def _method(name: str, values: list[Any]) -> Any:
    (owner,) = values
    kind = type(owner)
    if name not in METHODS or not (kind is random.Random or kind in allowed_classes().values()):
        raise BadGraph("a method of something else")
    return types.MethodType(getattr(kind, name), owner)


def _maker(shape: tuple[Any, ...]) -> Callable[[list[Any]], Any]:
    if shape[0] == "rust":
        return functools.partial(_rust, *RUST[shape[1]])
    return functools.partial(_method, shape[1]) if shape[0] == "method" else _MAKE[shape[0]]


def _rust(cls: Any, length: int, values: list[Any]) -> Any:
    (state,) = values
    # Rust reads these bytes as numbers without asking; of the right length they are always some.
    if type(state) is not bytes or len(state) != length:
        raise BadGraph("a state that does not fit")
    made = cls.__new__(cls, 0.5)
    made.__setstate__(state)
    return made


_EMPTY: Final[dict[str, Callable[[], Any]]] = {
    "dict": dict,
    "OrderedDict": OrderedDict,
    "defaultdict": defaultdict,
    "Counter": Counter,
    "list": list,
    "set": set,
    "Random": lambda: random.Random(0),
}
_FILL: Final[dict[str, Callable[[Any, list[Any]], None]]] = {
    "dict": _fill_dict,
    "OrderedDict": lambda thing, values: thing.update(
        zip(values[: len(values) // 2], values[len(values) // 2 :], strict=True)
    ),
    "defaultdict": _fill_defaultdict,
    "Counter": _fill_dict,
    "list": lambda thing, values: thing.extend(values),
    "deque": lambda thing, values: thing.extend(values),
    "set": lambda thing, values: thing.update(values),
}
_MAKE: Final[dict[str, Callable[[list[Any]], Any]]] = {
    "tuple": tuple,
    "frozenset": frozenset,
    "array": _array,
    "scalar": _scalar,
    "class": _class,
    "function": _function,
    "partial": _partial,
}
_AT_ONCE: Final = frozenset({*_MAKE, "method", "rust"})
"""Shapes whose objects cannot be made empty and filled later."""
