"""Field maps: what rows become, what is refused with which reason, and that every line ends up somewhere."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profiles.document import DocumentError
from profiles.event import decode_event
from profiles.fieldmap import MAX_GROUP_LINES, FieldMap, Mapped, Rejected, Repeated, load_map

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

SALES = """
map: sales
source: {format: csv}
fields:
  invoice: {from: Invoice, type: text}
  article: {from: Article, type: text}
  label: {from: Label, type: text, optional: true}
  quantity: {from: Quantity, type: integer}
  units: {from: Quantity, type: integer, absolute: true}
  price: {from: Price, type: number}
  at: {from: At, type: time, format: iso, zone: UTC}
  customer: {from: Customer, type: integer, missing: no customer}
reject:
  - {when: {price: {lte: 0}}, reason: no price}
  - {when: {invoice: {not_starts_with: C}, quantity: {lte: 0}}, reason: impossible quantity}
group: {by: [invoice]}
customer: customer
time: {field: at, of: last}
id: "{invoice}/{customer}"
event:
  - {when: {invoice: {starts_with: C}}, name: Order Refunded}
  - {name: Order Completed}
properties:
  order_id: invoice
  currency: {constant: GBP}
  revenue: {sum: [units, price]}
  products: {each: {product_id: article, name: label, quantity: units, price: price}}
"""
HEADER = "Invoice,Article,Label,Quantity,Price,At,Customer"


def sales(*rows: str, header: str = HEADER, text: str = SALES) -> list[Any]:
    field_map = load_map(text, "sales.yaml")
    return list(field_map.apply([f"{row}\n".encode() for row in (header, *rows)], "sales.csv"))


def value(outcome: Any) -> Any:
    assert isinstance(outcome, Mapped), outcome
    return json.loads(outcome.value, parse_float=Decimal)


def reasons(outcomes: list[Any]) -> list[str]:
    return [outcome.reason for outcome in outcomes if isinstance(outcome, Rejected)]


def test_consecutive_lines_of_an_invoice_become_one_order() -> None:
    (order,) = sales("1,A,cup,6.0,2.55,2010-12-01 08:26:00,17850.0", "1,B,,3.0,0.1,2010-12-01 08:27:00,17850.0")
    assert (order.key, order.line, order.lines, order.event_time) == (b"17850", 2, 2, 1_291_192_020_000)
    assert value(order) == {
        "type": "track",
        "messageId": "1/17850",
        "userId": "17850",
        "event": "Order Completed",
        "timestamp": "2010-12-01T08:27:00.000Z",
        "properties": {
            "order_id": "1",
            "currency": "GBP",
            "revenue": Decimal("15.60"),
            "products": [
                {"product_id": "A", "name": "cup", "quantity": 6, "price": Decimal("2.55")},
                {"product_id": "B", "quantity": 3, "price": Decimal("0.1")},
            ],
        },
    }


def test_what_comes_out_is_an_event_for_the_job() -> None:
    (order,) = sales("1,A,cup,6,2.55,2010-12-01 08:26:00,7")
    event = decode_event(order.value, "7", 0, 0, 0)
    assert (event.id, event.name, event.event_time) == ("1/7", "Order Completed", order.event_time)


def test_revenue_is_exact_where_floats_are_not() -> None:
    (order,) = sales(*["1,A,x,1,0.1,2010-12-01 08:26:00,7"] * 3)
    assert b'"revenue":0.3,' in order.value


def test_a_cancellation_becomes_a_refund_of_a_positive_amount() -> None:
    (refund,) = sales("C1,A,x,-2,1.50,2010-12-01 08:26:00,7")
    assert value(refund)["event"] == "Order Refunded"
    assert value(refund)["properties"]["revenue"] == Decimal("3.00")
    assert value(refund)["properties"]["products"][0]["quantity"] == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,A,x,1,1,2010-12-01 08:26:00,", "no customer"),
        ("1,A,x,1,0.00,2010-12-01 08:26:00,7", "no price"),
        ("1,A,x,1,-0.01,2010-12-01 08:26:00,7", "no price"),
        ("1,A,x,0,1,2010-12-01 08:26:00,7", "impossible quantity"),
        ("1,A,x,1.5,1,2010-12-01 08:26:00,7", "quantity: not an integer"),
        ("1,A,x,1e40,1,2010-12-01 08:26:00,7", "quantity: an integer over 64 bits"),
        ("1,A,x,1,NaN,2010-12-01 08:26:00,7", "price: not a number"),
        ("1,A,x,1,1_0,2010-12-01 08:26:00,7", "price: not a number"),
        ("1,A,x,1,٣,2010-12-01 08:26:00,7", "price: not a number"),
        ("1,A,x,1,1,yesterday,7", "at: not a time in the declared format"),
        ("1,A,x,1,1,1969-12-31 23:59:59,7", "at: a time outside 1970 to 9999"),
        (",A,x,1,1,2010-12-01 08:26:00,7", "invoice: empty"),
        ("1,A,x,1,1", "a wrong number of columns"),
        ("1,A,x,1,1,2010-12-01 08:26:00,7,8", "a wrong number of columns"),
        ("", "an empty line"),
        ('1,"A"x,x,1,1,2010-12-01 08:26:00,7', "not CSV"),
        ('1,"A', "not CSV"),
    ],
)
def test_reasons(row: str, reason: str) -> None:
    outcomes = sales("1,A,x,1,1,2010-12-01 08:26:00,7", row)
    assert reasons(outcomes) == [reason]
    (rejected,) = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    assert (rejected.line, rejected.lines, rejected.raw) == (3, 1, f"{row}\n".encode())


def test_a_rejected_line_does_not_part_its_invoice() -> None:
    good = "1,A,x,1,1,2010-12-01 08:26:00,7"
    outcomes = sales(good, "1,A,x,1,0,2010-12-01 08:26:00,7", good)
    assert reasons(outcomes) == ["no price"]
    assert [outcome.lines for outcome in outcomes if isinstance(outcome, Mapped)] == [2]
    assert next(outcome.key for outcome in outcomes if isinstance(outcome, Rejected)) == b"7"


def test_lines_of_another_customer_or_another_kind_are_another_event() -> None:
    at = "2010-12-01 08:26:00"
    assert len(sales(f"1,A,x,1,1,{at},7", f"1,A,x,1,1,{at},8", f"2,A,x,1,1,{at},8", f"C2,A,x,-1,1,{at},8")) == 4


def test_repeated_lines_are_kept_unless_the_map_drops_them() -> None:
    rows = ["1,A,x,1,1,2010-12-01 08:26:00,7"] * 3
    assert [outcome.lines for outcome in sales(*rows)] == [3]
    dropping = SALES.replace("group: {by: [invoice]}", "group: {by: [invoice], duplicates: drop}")
    outcomes = sales(*rows, text=dropping)
    assert [(type(outcome), outcome.lines) for outcome in outcomes] == [(Repeated, 1), (Repeated, 1), (Mapped, 1)]


def test_a_cell_over_several_lines_counts_them_all() -> None:
    lines = [f"{HEADER}\r\n".encode(), b'1,"A\r\n', b'B",x,1,1,2010-12-01 08:26:00,7\r\n', b"bad\r\n"]
    order, rejected = sorted(load_map(SALES, "m").apply(lines, "f"), key=lambda outcome: outcome.line)
    assert (order.line, order.lines) == (2, 2)
    assert value(order)["properties"]["products"][0]["product_id"] == "A\r\nB"
    assert (rejected.line, rejected.lines) == (4, 1)


def test_bytes_that_are_no_text_are_rejected_alone() -> None:
    good = b"1,A,x,1,1,2010-12-01 08:26:00,7\n"
    lines = [f"{HEADER}\n".encode(), good, good.replace(b"x", b"\xff"), good]
    outcomes = list(load_map(SALES, "m").apply(lines, "f"))
    assert reasons(outcomes) == ["not text in utf-8"]
    latin = SALES.replace("{format: csv}", "{format: csv, encoding: latin-1}")
    (order,) = load_map(latin, "m").apply(lines, "f")
    assert value(order)["properties"]["products"][1]["name"] == "ÿ"


def test_an_event_does_not_grow_without_bound() -> None:
    row = "1,A,x,1,1,2010-12-01 08:26:00,7"
    outcomes = sales(*[row] * (MAX_GROUP_LINES + 2))
    assert reasons(outcomes) == ["too many lines for one event"] * 2


def test_columns_may_stand_in_any_order_after_a_byte_order_mark() -> None:
    header = "\ufeffCustomer,At,Extra,Price,Quantity,Label,Article,Invoice"
    (order,) = sales("7,2010-12-01 08:26:00,?,1,1,x,A,1", header=header)
    assert order.key == b"7"


def test_a_missing_column_is_named_with_the_nearest_and_its_place_in_the_map() -> None:
    with pytest.raises(DocumentError, match=r"sales.csv has no column 'Invoice'.*did you mean 'InvoiceNo'") as caught:
        sales(header="InvoiceNo,Article,Label,Quantity,Price,At,Customer")
    assert (caught.value.line, caught.value.column) == (5, 19)
    with pytest.raises(DocumentError, match="no header"):
        list(load_map(SALES, "m").apply([], "empty.csv"))


JSONL = """
map: clicks
source: {format: jsonl, order: time}
fields:
  who: {from: user.id, type: text}
  at: {from: ts, type: time, format: epoch_ms}
  what: {from: kind, type: text, values: {v: Product Viewed, s: Products Searched}}
  pence: {type: number, scale: 0.01, unit: pence, optional: true}
  vip: {type: boolean, optional: true}
customer: who
time: at
id: "{who}-{at}"
event: {name: {field: what}}
properties: {price: pence, page.kind: what}
traits: {vip: vip}
"""


def test_json_lines_with_paths_enums_scales_and_sorting() -> None:
    rows: list[dict[str, Any]] = [
        {"user": {"id": "b"}, "ts": 1_700_000_001_000, "kind": "v", "pence": 1999},
        {"user": {"id": "a"}, "ts": 1_700_000_000_500, "kind": "s", "vip": True},
    ]
    first, second = load_map(JSONL, "m").apply([json.dumps(row).encode() for row in rows], "f")
    assert value(first) == {
        "type": "track",
        "messageId": "a-2023-11-14T22:13:20.500Z",
        "userId": "a",
        "event": "Products Searched",
        "timestamp": "2023-11-14T22:13:20.500Z",
        "properties": {"page": {"kind": "Products Searched"}},
        "traits": {"vip": True},
    }
    assert value(second)["properties"]["price"] == Decimal("19.99")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"user":{"id":"a"},"ts":1,"kind":"x"}', "what: a value that `values` does not list"),
        ('{"user":"a","ts":1,"kind":"v"}', "who: empty"),
        ('{"user":{"id":{}},"ts":1,"kind":"v"}', "who: not text"),
        ('{"user":{"id":true},"ts":1,"kind":"v"}', "who: not text"),
        ('{"user":{"id":"a"},"ts":true,"kind":"v"}', "at: not a number"),
        ('{"user":{"id":"a"},"ts":1e300,"kind":"v"}', "at: not a number"),
        ('{"user":{"id":"a"},"ts":1,"kind":"v","vip":"perhaps"}', "vip: neither true nor false"),
        ("[]", "not a JSON object"),
        ("{", "not JSON in UTF-8"),
        ("", "an empty line"),
        ("[" * 100_000, "not JSON in UTF-8"),
        ('{"a":"' + "x" * 1_000_000 + '"}', "a line longer than 1000000 bytes"),
    ],
)
def test_reasons_of_json(line: str, reason: str) -> None:
    assert reasons(list(load_map(JSONL, "m").apply([line.encode()], "f"))) == [reason]


def test_times_are_read_in_their_zone() -> None:
    text = SALES.replace("format: iso, zone: UTC", 'format: "%d/%m/%Y %H:%M", zone: Europe/London')
    (winter,) = sales("1,A,x,1,1,01/12/2010 08:26,7", text=text)
    (summer,) = sales("1,A,x,1,1,01/06/2011 08:26,7", text=text)
    assert value(winter)["timestamp"] == "2010-12-01T08:26:00.000Z"
    assert value(summer)["timestamp"] == "2011-06-01T07:26:00.000Z"


@pytest.mark.parametrize(
    ("old", "new", "word", "line", "column"),
    [
        ("reject:", "rejects:", "did you mean 'reject'", 13, 1),
        ("format: csv", "format: cvs", "did you mean 'csv'", 3, 18),
        ("type: number", "type: nunber", "did you mean 'number'", 10, 30),
        ("type: number}", "type: number, scael: 2}", "did you mean 'scale'", 10, 38),
        ("missing: no customer", "mising: no customer", "did you mean 'missing'", 12, 45),
        ("{lte: 0}", "{lt_e: 0}", "did you mean 'lte'", 14, 21),
        ("when: {price: {lte: 0}}", "when: {prise: {lte: 0}}", "did you mean 'price'", 14, 13),
        ("by: [invoice]", "by: [invoise]", "did you mean 'invoice'", 16, 14),
        ("customer: customer", "customer: custmer", "did you mean 'customer'", 17, 11),
        ("field: at, of", "field: price, of", "not a time", 18, 15),
        ('"{invoice}/{customer}"', '"{invoise}"', "did you mean 'invoice'", 19, 5),
        ('"{invoice}/{customer}"', '"{label}"', "optional", 19, 5),
        ('"{invoice}/{customer}"', "x", "same for every event", 19, 5),
        ("order_id: invoice", "order_id: {form: x}", "known: constant", 24, 14),
        ("sum: [units, price]", "sum: [units, label]", "not a number", 26, 26),
        ("zone: UTC", "zone: Europe/Lodnon", "did you mean 'Europe/London'", 11, 49),
        (", zone: UTC", "", "", 0, 0),
        ("{invoice: {starts_with: C}}", "{price: {starts_with: C}}", "does not go with", 21, 21),
        ("order_id: invoice", "revenue.x: invoice", "within another", 24, 3),
        ("group: {by: [invoice]}\n", "", "needs `group`", 17, 19),
    ],
)
def test_mistakes_in_a_map_are_pointed_at(old: str, new: str, word: str, line: int, column: int) -> None:
    assert old in SALES
    text = SALES.replace(old, new, 1)
    if not word:  # ISO times may carry their zone themselves
        load_map(text, "m.yaml")
        return
    with pytest.raises(DocumentError) as caught:
        load_map(text, "m.yaml")
    assert word in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)


_CELL = st.sampled_from(
    ["", "1", "C1", "-2", "0", "2.50", "1e3", "x", '"', '"a\nb"', "2010-12-01 08:26:00", "7", "\xff", "é"]
)
_ROW = st.lists(_CELL, min_size=6, max_size=8).map(",".join) | st.sampled_from(
    [
        "1,A,x,1,1,2010-12-01 08:26:00,7",
        "1,A,x,1,1,2010-12-01 08:26:00,8",
        "C2,A,x,-1,2.5,2010-12-01 08:27:00,7",
        '1,"A\nB",x,1,1,2010-12-01 08:26:00,7',
    ]
)


@given(st.lists(_ROW, max_size=12), st.booleans(), st.booleans())
@example(['"'], False, False)
@example(["1,A,x,1,1,2010-12-01 08:26:00,7", '1,"A'], True, True)
def test_every_line_ends_up_exactly_once(rows: list[str], drop: bool, sort: bool) -> None:
    text = SALES.replace("by: [invoice]", "by: [invoice], duplicates: drop") if drop else SALES
    text = text.replace("{format: csv}", "{format: csv, order: time}") if sort else text
    lines = [HEADER.encode() + b"\n", *"".join(f"{row}\n" for row in rows).encode("latin-1").splitlines(keepends=True)]
    outcomes = list(load_map(text, "m").apply(lines, "f"))
    assert sum(outcome.lines for outcome in outcomes) == len(lines) - 1
    # What was rejected can be told from what was not, byte for byte.
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            assert outcome.raw == b"".join(lines[outcome.line - 1 : outcome.line - 1 + outcome.lines])


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_json_lines_of_any_bytes_end_up_exactly_once(chunks: list[bytes]) -> None:
    lines = [chunk + b"\n" for chunk in chunks]
    outcomes = list(load_map(JSONL, "m").apply(lines, "f"))
    assert sum(outcome.lines for outcome in outcomes) == len(lines)


def example_map(name: str) -> FieldMap:
    path = ROOT / "examples" / name / "map.yaml"
    return load_map(path.read_text(), str(path))


def sample(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the sample {name} is not there: {path}")
    return path


def test_the_retail_sample_against_sql() -> None:
    """Counts and money of the real file, computed a second time by SQL over its raw text."""
    import duckdb

    path = sample("online-retail-sample.csv.gz")
    with gzip.open(path) as lines:
        outcomes = list(example_map("online-retail").apply(lines, path.name))
    sql = duckdb.connect()
    sql.execute(
        f"create view lines as select *, Quantity::decimal(18, 6) as q, UnitPrice::decimal(18, 6) as p, "
        f"row_number() over () as n from read_csv('{path}', header = true, all_varchar = true)"
    )
    good = "CustomerID is not null and p > 0"
    expected = {
        (str(number), int(float(customer))): (-amount if number.startswith("C") else amount, lines_of)
        for number, customer, amount, lines_of in sql.execute(
            f"select InvoiceNo, CustomerID, sum(q * p), count(*) from lines where {good} group by all"
        ).fetchall()
    }
    actual = {}
    for outcome in outcomes:
        if isinstance(outcome, Mapped):
            event = value(outcome)
            content = event["properties"]
            assert content["revenue"] > 0 and event["event"].startswith("Order ")
            assert (event["event"] == "Order Refunded") == content["order_id"].startswith("C")
            actual[content["order_id"], int(event["userId"])] = (content["revenue"], outcome.lines)
    assert actual == expected
    ((total, nobody, free),) = sql.execute(
        "select count(*), count(*) filter (CustomerID is null), count(*) filter (CustomerID is not null and p <= 0) from lines"
    ).fetchall()
    rejected: Counter[str] = Counter()
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            rejected[outcome.reason] += outcome.lines
    assert rejected == {"no customer": nobody, "price is not above zero": free}
    assert sum(outcome.lines for outcome in outcomes) == total == 76_509
    ids = [value(outcome)["messageId"] for outcome in outcomes if isinstance(outcome, Mapped)]
    assert len(set(ids)) == len(ids) == 4_030


def test_the_synthetic_shop_sample() -> None:
    path = sample("synthetic-shop/ecom.csv.gz")
    with gzip.open(path) as lines:
        outcomes = list(example_map("synthetic-shop").apply(lines, path.name))
    events = [outcome for outcome in outcomes if isinstance(outcome, Mapped)]
    assert len(events) == len(outcomes) == 31_106
    times = [event.event_time for event in events]
    assert times == sorted(times)
    ids = Counter(value(event)["messageId"] for event in events)
    assert sum(count - 1 for count in ids.values()) == 30  # rows that occur twice, and so are one event to the job
