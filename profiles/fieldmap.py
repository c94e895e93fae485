"""Field maps: a data dictionary in YAML that turns the rows of a CSV or JSON-lines file into events.

The events come out in the wire form that shops send (`profiles.event` reads it), so that a file of rows and a live stream
take one way through the job. Every line of the source ends in exactly one outcome: in an event, rejected with a reason, or
dropped as a declared duplicate; `lines` of the outcomes add up to the lines read (a CSV header is none of them).

    map: online-retail
    source: {format: csv}
    fields:
      invoice: {from: InvoiceNo, type: text}
      price: {from: UnitPrice, type: number, unit: GBP}
      ...
    reject:
      - {when: {price: {lte: 0}}, reason: no price}
    group: {by: [invoice, customer]}        # consecutive lines that make one event
    customer: customer
    time: sold_at
    id: "{invoice}/{customer}"
    event:
      - {when: {invoice: {starts_with: C}}, name: Order Refunded}
      - {name: Order Completed}
    properties:
      order_id: invoice
      revenue: {sum: [quantity, price]}
      products: {each: {product_id: article, quantity: quantity, price: price}}
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce
from typing import Any, Final

import msgspec

from profiles.document import Mapping, Node, Scalar, Sequence, load, suggestion
from profiles.fields import (
    EXACT,
    Condition,
    Field,
    Row,
    Unreadable,
    Value,
    field_of,
    iso_time,
    items_of,
    mapping_of,
    one_of,
    parse_condition,
    parse_field,
    text_of,
)
from profiles.rows import CsvRecords, Record, json_records

MAX_GROUP_LINES: Final = 5_000
MAX_GROUP_BYTES: Final = 400_000
"""Of source lines in one event: what a group becomes must stay below what Kafka takes as one record by default (1 MB)."""

_LONGEST_CUSTOMER: Final = 512
_ENCODINGS: Final = ("utf-8", "latin-1", "cp1252")
_KEYS: Final = (
    *("map", "source", "fields", "require", "reject", "group", "customer", "anonymous_id", "time", "id", "event"),
    *("properties", "traits", "context"),
)


@dataclass(frozen=True, slots=True)
class Mapped:
    """An event: Kafka's key and value, its time (epoch ms), the first of its source lines (from 1), and how many they are."""

    key: bytes
    value: bytes
    event_time: int
    line: int
    lines: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """Source lines that are in no event, and why. `key` is the customer where one could be read."""

    line: int
    lines: int
    raw: bytes
    reason: str
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Repeated:
    """Source lines that say again what an earlier line of their group said, in a map that declares such lines duplicates."""

    line: int
    lines: int


Outcome = Mapped | Rejected | Repeated


@dataclass(frozen=True, slots=True)
class _EventRule:
    when: Condition | None
    name: str
    name_field: str | None
    type: str


_Output = Callable[[list[Row]], Any]


@dataclass(slots=True)
class _Group:
    key: tuple[Any, ...]
    name: str
    type: str
    line: int
    rows: list[Row] = field(default_factory=list)
    lines: int = 0
    size: int = 0
    seen: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class FieldMap:
    """A map that was read and checked; `apply` turns a file's lines into outcomes. Made by `load_map`."""

    name: str
    format: str
    delimiter: str
    encoding: str
    sort: bool
    fields: tuple[Field, ...]
    rules: tuple[tuple[Condition, bool, str], ...]
    group: tuple[str, ...]
    drop_repeats: bool
    customer: str
    anonymous: str | None
    time: str
    last_time: bool
    id: tuple[tuple[str, Field | None], ...]
    events: tuple[_EventRule, ...]
    outputs: tuple[tuple[str, tuple[tuple[tuple[str, ...], _Output], ...]], ...]
    node: Node

    def apply(self, lines: Iterable[bytes], file: str) -> Iterator[Outcome]:
        """Outcomes of the source's physical `lines` (with or without their ends); `file` is its name, for messages.

        Lazy, and in the order of the source, but for a map with `order: time`, which is held in memory and sorted.
        Raises `DocumentError`, at the field in the map, where a CSV file has no such column.
        """
        if not self.sort:
            yield from self._apply(lines, file)
            return
        events: list[Mapped] = []
        for outcome in self._apply(lines, file):
            if isinstance(outcome, Mapped):
                events.append(outcome)
            else:
                yield outcome
        events.sort(key=lambda event: event.event_time)
        yield from events

    def _apply(self, lines: Iterable[bytes], file: str) -> Iterator[Outcome]:
        if self.format == "csv":
            records = CsvRecords(lines, self.encoding, self.delimiter)
            if not records.header:
                raise self.node.error(f"{file} has no header line", "a CSV file starts with the names of its columns")
            if records.header_lines > 1:
                raise self.node.error(f"{file} has a header over {records.header_lines} lines", "put it on one")
            reads = self._columns(records.header, file)
            yield from self._map(records, lambda cells: [cells[index] or None for index in reads])
        else:
            paths = [one.source.split(".") for one in self.fields]
            yield from self._map(json_records(lines), lambda cells: [_at(cells, path) for path in paths])

    def _columns(self, header: list[str], file: str) -> list[int]:
        for one in self.fields:
            if one.source not in header:
                at = one.node.entries.get("from", one.node) if isinstance(one.node, Mapping) else one.node
                raise at.error(f"{file} has no column {one.source!r}", suggestion(one.source, header))
            if header.count(one.source) > 1:
                raise one.node.error(f"{file} has the column {one.source!r} more than once")
        return [header.index(one.source) for one in self.fields]

    def _map(self, records: Iterable[Record], read: Callable[[Any], list[Any]]) -> Iterator[Outcome]:
        fields = self.fields
        open_group: _Group | None = None
        for record in records:
            if record.cells is None:
                yield Rejected(record.line, record.lines, record.raw, record.reason)
                continue
            row: Row = {}
            reason = ""
            for one, raw in zip(fields, read(record.cells), strict=True):
                value: Value | None = None
                if raw is not None:
                    try:
                        value = one.convert(raw)
                    except Unreadable as error:
                        reason = reason or f"{one.name}: {error}"
                    if value == "" and type(value) is str:
                        value = None
                if value is None and not one.optional:
                    reason = reason or one.missing
                row[one.name] = value
            reason = reason or self._refusal(row)
            name = kind = ""
            if not reason:
                name, kind = self._event(row)
                if not name:
                    reason = "no rule for the event name"
            if reason:
                customer = row[self.customer]
                key = str(customer).encode() if customer is not None else None
                yield Rejected(record.line, record.lines, record.raw, reason, key)
                continue
            group_key = (name, kind, row[self.customer], *(row[by] for by in self.group)) if self.group else ()
            if open_group is not None and (not self.group or group_key != open_group.key):
                yield self._finish(open_group)
                open_group = None
            if open_group is None:
                open_group = _Group(group_key, name, kind, record.line)
            elif len(open_group.rows) >= MAX_GROUP_LINES or open_group.size + len(record.raw) > MAX_GROUP_BYTES:
                yield Rejected(record.line, record.lines, record.raw, "too many lines for one event", self._key(row))
                continue
            if self.drop_repeats:
                content = record.raw.rstrip(b"\r\n")
                if content in open_group.seen:
                    yield Repeated(record.line, record.lines)
                    continue
                open_group.seen.add(content)
            open_group.rows.append(row)
            open_group.lines += record.lines
            open_group.size += len(record.raw)
        if open_group is not None:
            yield self._finish(open_group)

    def _refusal(self, row: Row) -> str:
        customer = row[self.customer]
        if customer is None:
            return "no customer"
        if len(str(customer)) > _LONGEST_CUSTOMER:
            return f"a customer longer than {_LONGEST_CUSTOMER} characters"
        if row[self.time] is None:
            return "no time"
        return next((reason for condition, refused, reason in self.rules if condition(row) is refused), "")

    def _event(self, row: Row) -> tuple[str, str]:
        for rule in self.events:
            if rule.when is None or rule.when(row):
                value = rule.name if rule.name_field is None else row[rule.name_field]
                return ("" if value is None else str(value)), rule.type
        return "", ""

    def _key(self, row: Row) -> bytes:
        return str(row[self.customer]).encode()

    def _finish(self, group: _Group) -> Mapped:
        first = group.rows[0]
        time = first[self.time]
        if self.last_time:
            time = max(row[self.time] for row in group.rows)  # type: ignore[type-var]  # times are integers by now
        assert isinstance(time, int)
        event: dict[str, Any] = {"type": group.type, "messageId": self._id(first), "userId": str(first[self.customer])}
        if self.anonymous is not None and first[self.anonymous] is not None:
            event["anonymousId"] = str(first[self.anonymous])
        if group.type == "track":
            event["event"] = group.name
        event["timestamp"] = iso_time(time)
        for section, outputs in self.outputs:
            content: dict[str, Any] = {}
            for path, output in outputs:
                value = output(group.rows)
                if value is not None:
                    inner = content
                    for part in path[:-1]:
                        inner = inner.setdefault(part, {})
                    inner[path[-1]] = value
            if content:
                event[section] = content
        return Mapped(self._key(first), _encode(event), time, group.line, group.lines)

    def _id(self, row: Row) -> str:
        return "".join(text if one is None else str(_shown(row[one.name], one.kind)) for text, one in self.id)


# Exact decimals leave as JSON numbers, digit for digit.
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def _shown(value: Value | None, kind: str) -> Any:
    return iso_time(value) if kind == "time" and isinstance(value, int) else value


def _at(value: Any, path: list[str]) -> Any:
    for part in path:
        if type(value) is not dict:
            return None
        value = value.get(part)
    return None if value == "" and type(value) is str else value


def load_map(text: str, file: str) -> FieldMap:
    """Reads and checks a field map; `DocumentError` says file, line, column, and the nearest known word.

    Lines count from 1, and a CSV header is line 1.
    """
    root = mapping_of(load(text, file))
    root.only(_KEYS)
    source = mapping_of(root.required("source"))
    source.only(["format", "delimiter", "encoding", "order"])
    form = one_of(source.required("format"), ("csv", "jsonl"))
    for key in ("delimiter", "encoding"):
        if form == "jsonl" and key in source:
            raise source.keys[key].error(f"`{key}` is only for CSV: JSON is UTF-8 by definition")
    delimiter = text_of(source["delimiter"]) if "delimiter" in source else ","
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise source["delimiter"].error("one character is expected here", 'such as ";" or "\\t"')
    entries = mapping_of(root.required("fields"))
    fields = {name: parse_field(name, node) for name, node in entries.items()}
    if not fields:
        raise entries.error("no field is declared")
    group, drop = _group(root, fields)
    time, last = _time(root.required("time"), fields, bool(group))
    return FieldMap(
        name=text_of(root.required("map")),
        format=form,
        delimiter=delimiter,
        encoding=one_of(source["encoding"], _ENCODINGS) if "encoding" in source else "utf-8",
        sort="order" in source and one_of(source["order"], ("time", "as_is")) == "time",
        fields=tuple(fields.values()),
        rules=_rules(root, fields),
        group=group,
        drop_repeats=drop,
        customer=field_of(root.required("customer"), fields).name,
        anonymous=field_of(root["anonymous_id"], fields).name if "anonymous_id" in root else None,
        time=time,
        last_time=last,
        id=_template(root.required("id"), fields),
        events=_event_rules(root.required("event"), fields),
        outputs=tuple(
            (section, _outputs(root[section], fields, bool(group)))
            for section in ("properties", "traits", "context")
            if section in root
        ),
        node=root,
    )


def _group(root: Mapping, fields: dict[str, Field]) -> tuple[tuple[str, ...], bool]:
    if "group" not in root:
        return (), False
    group = mapping_of(root["group"])
    group.only(["by", "duplicates"])
    by = tuple(field_of(item, fields).name for item in items_of(group.required("by")))
    return by, "duplicates" in group and one_of(group["duplicates"], ("keep", "drop")) == "drop"


def _time(node: Node, fields: dict[str, Field], grouped: bool) -> tuple[str, bool]:
    at, last = node, False
    if isinstance(node, Mapping):
        node.only(["field", "of"])
        at = node.required("field")
        last = one_of(node.required("of"), ("first", "last")) == "last"
        if not grouped:
            raise node.keys["of"].error("`of` needs `group`")
    found = field_of(at, fields)
    if found.kind != "time":
        raise at.error(f"{found.name!r} is of type {found.kind}, not a time")
    return found.name, last


def _rules(root: Mapping, fields: dict[str, Field]) -> tuple[tuple[Condition, bool, str], ...]:
    # In the order written, across both lists: the first that refuses a line gives the reason.
    rules: list[tuple[Condition, bool, str]] = []
    for key, word, refused in (("require", "that", False), ("reject", "when", True)):
        for item in items_of(root[key]) if key in root else []:
            rule = mapping_of(item)
            rule.only([word, "reason"])
            rules.append((parse_condition(rule.required(word), fields), refused, text_of(rule.required("reason"))))
    return tuple(rules)


def _template(node: Node, fields: dict[str, Field]) -> tuple[tuple[str, Field | None], ...]:
    text = text_of(node)
    parts: list[tuple[str, Field | None]] = []
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise node.error(f"not a template: {error}", 'such as "{invoice}/{customer}"') from None
    for literal, name, form, conversion in pieces:
        if literal:
            parts.append((literal, None))
        if name is None:
            continue
        if form or conversion:
            raise node.error("a template holds only {names} of fields")
        if name not in fields:
            raise node.error(f"no field {name!r} in `fields`", suggestion(name, fields))
        if fields[name].optional:
            raise node.error(f"{name!r} is optional, so it cannot be part of an id")
        parts.append(("", fields[name]))
    if not any(one for _, one in parts):
        raise node.error("an id without a field would be the same for every event")
    return tuple(parts)


def _event_rules(node: Node, fields: dict[str, Field]) -> tuple[_EventRule, ...]:
    items = items_of(node) if isinstance(node, Sequence) else [node]
    rules: list[_EventRule] = []
    for item in items:
        rule = mapping_of(item)
        rule.only(["when", "name", "type"])
        if rules and rules[-1].when is None:
            raise rule.error("the rule before this one has no `when`, so this one is never reached")
        kind = one_of(rule["type"], ("track", "identify", "page")) if "type" in rule else "track"
        name, name_field = kind, None
        if kind != "track":
            if "name" in rule:
                raise rule.keys["name"].error(f"an event of type {kind} has no name of its own")
        elif isinstance(given := rule.required("name"), Mapping):
            given.only(["field"])
            name_field = field_of(given.required("field"), fields).name
        else:
            name = text_of(given)
        when = parse_condition(rule["when"], fields) if "when" in rule else None
        rules.append(_EventRule(when, name, name_field, kind))
    return tuple(rules)


def _outputs(node: Node, fields: dict[str, Field], grouped: bool) -> tuple[tuple[tuple[str, ...], _Output], ...]:
    mapping = mapping_of(node)
    paths = [tuple(name.split(".")) for name in mapping]
    for path, at in zip(paths, mapping.keys.values(), strict=True):
        if not all(path):
            raise at.error(f"{at.text!r} is no dotted name")
        if any(path[:cut] in paths for cut in range(1, len(path))):
            raise at.error(f"{at.text!r} lies within another entry")
    return tuple((path, _output(mapping[".".join(path)], fields, grouped)) for path in paths)


def _output(node: Node, fields: dict[str, Field], grouped: bool) -> _Output:
    if not isinstance(node, Mapping):
        one = field_of(node, fields)
        return lambda rows: _shown(rows[0][one.name], one.kind)
    node.only(["constant", "sum", "each"])
    if len(node) != 1:
        raise node.error("one of constant, sum, each is expected here")
    (key,) = node
    content = node[key]
    if key == "constant":
        if not isinstance(content, Scalar) or content.value is None:
            raise content.error(f"a value is expected here, not {content.kind}")
        constant = Decimal(content.text) if isinstance(content.value, float) else content.value
        return lambda rows: constant
    if not grouped:
        raise node.keys[key].error(f"`{key}` is over the lines of a group, and this map has no `group`")
    if key == "sum":
        factors = [field_of(item, fields) for item in items_of(content)]
        for factor, at in zip(factors, items_of(content), strict=True):
            if factor.kind not in ("integer", "number"):
                raise at.error(f"{factor.name!r} is of type {factor.kind}, not a number")
        return lambda rows: _sum_of_products(rows, [factor.name for factor in factors])
    inner = mapping_of(content)
    names = {name: _output(at, fields, grouped=False) for name, at in inner.items()}
    return lambda rows: [
        {name: value for name, output in names.items() if (value := output([row])) is not None} for row in rows
    ]


def _sum_of_products(rows: list[Row], names: list[str]) -> Decimal | None:
    total = Decimal(0)
    for row in rows:
        factors = [row[name] for name in names]
        if any(factor is None for factor in factors):
            continue
        decimals = [Decimal(factor) for factor in factors if not isinstance(factor, str | None)]
        total = EXACT.add(total, reduce(EXACT.multiply, decimals))
    return total
