"""Reading values out of events, and the exact numbers that conditions add up.

Paths are dotted (`properties.item_count`); a part that ends in `[]` stands for each element of a list
(`properties.products[].product_id`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

MICROS = 1_000_000
"""Numbers are kept in millionths, as integers: sums of money are exact and independent of order."""

WHOLE = 1.5 * 2.0**52
"""A number below 2**51 to which this is added, and taken away again, is rounded to a whole one, half to even: as `round` does it, but in a
third of the time."""

_LARGEST = 9_000_000_000_000.0
"""The largest absolute number that is counted; above it millionths would leave 64 bits."""

KEY_LENGTH = 100
"""Property values longer than this are shortened to a prefix and a checksum where they identify something."""

Read = Callable[[Any], Any]


def micros(value: object) -> int | None:
    """The number in millionths (half to even), or None for what is not a number or too large to be summed.

    >>> micros(2.55), micros(3), micros(True), micros("7")
    (2550000, 3000000, None, None)
    """
    kind = type(value)
    if kind is int:
        return value * MICROS if -_LARGEST < value < _LARGEST else None  # type: ignore[operator]
    if kind is float and -_LARGEST < value < _LARGEST:  # type: ignore[operator]
        return round(value * MICROS)  # type: ignore[operator]
    return None


def identity(value: object) -> str | None:
    """The text by which a property value is told from others (a product id, say); None where it is missing or no scalar.

    Numbers and text that read the same are the same: shops send `17` and `"17"` for one product.

    >>> identity(17), identity("17"), identity(17.0), identity(True), identity([])
    ('17', '17', '17', 'true', None)
    """
    kind = type(value)
    if kind is str:
        if len(value) <= KEY_LENGTH:  # type: ignore[arg-type]
            return value  # type: ignore[return-value]
        text = value
    elif kind is int:
        text = str(value)
    elif kind is bool:
        return "true" if value else "false"
    elif kind is float:
        text = str(int(value)) if value.is_integer() else repr(value)  # type: ignore[attr-defined, call-overload]
    else:
        return None
    if len(text) > KEY_LENGTH:  # type: ignore[arg-type]
        encoded = text.encode("utf-8", "surrogatepass")  # type: ignore[attr-defined]
        return f"{text[:KEY_LENGTH]}~{zlib.crc32(encoded):08x}"  # type: ignore[index]
    return text  # type: ignore[return-value]


def reader(path: str) -> Read:
    """A function that reads `path` from an event; None where it is missing. For paths without `[]`."""
    root, *parts = path.split(".")
    if len(parts) == 1:
        (only,) = parts
        if root == "properties":
            return lambda event: event.properties.get(only)
    if len(parts) == 2 and root == "context":
        first, second = parts

        def of_context(event: Any) -> Any:
            value = event.context.get(first)
            return value.get(second) if type(value) is dict else None

        return of_context

    def read(event: Any) -> Any:
        value = getattr(event, root)
        for part in parts:
            if type(value) is not dict:
                return None
            value = value.get(part)
        return value

    return read


def each_reader(path: str) -> Callable[[Any], Iterable[Any]]:
    """A function from an event to every value at `path`, one for each element of the lists on the way; none where missing."""
    root, *parts = path.split(".")
    if "[]" not in path:
        read = reader(path)
        return lambda event: () if (value := read(event)) is None else (value,)
    if "[]" not in path[:-2]:
        return _elements(reader(path[:-2]))

    def descend(value: Any, position: int) -> Iterator[Any]:
        if position == len(parts):
            if value is not None:
                yield value
            return
        if type(value) is not dict:
            return
        part = parts[position]
        if part.endswith("[]"):
            elements = value.get(part[:-2])
            if type(elements) is list:
                for element in elements:
                    yield from descend(element, position + 1)
        else:
            yield from descend(value.get(part), position + 1)

    return lambda event: descend(getattr(event, root), 0)


def _elements(read: Read) -> Callable[[Any], Iterable[Any]]:
    """What is in the list that `read` finds."""

    def each(event: Any) -> Iterable[Any]:
        found = read(event)
        if type(found) is not list:
            return ()
        return [one for one in found if one is not None] if None in found else found

    return each
