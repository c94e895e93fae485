"""YAML with positions: what words mean, what is refused, and that each complaint points at the right place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.document import MAX_BYTES, MAX_DEPTH, DocumentError, Mapping, Scalar, Sequence, load, nearest


def refused(text: str) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        load(text, "some.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("on", "on"), ("yes", "yes"), ("no", "no"), ("off", "off"), ("y", "y"),
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("3", 3), ("-3", -3), ("0", 0), ("0.7", 0.7), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5e-3", -0.0015),
        ("007", "007"), ("00.5", "00.5"), ("1_000", "1_000"), ("0x1F", "0x1F"), ("0o17", "0o17"), ("-", None), ("+", "+"),
        (".", "."), ("e5", "e5"), (".e5", ".e5"), ("5e", "5e"), ("9223372036854775807", 2**63 - 1),
        ("30m", "30m"), ("9:00", "9:00"), ("20:30:15", "20:30:15"), ("29m59.999s", "29m59.999s"), ("5%", "5%"),
        ("2024-01-02", "2024-01-02"), ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"), ("=", "="),
        ('"true"', "true"), ("'7'", "7"), ('""', ""), ("Cart Updated", "Cart Updated"), ("|\n  7\n", "7\n"),
    ],
)  # fmt: skip
def test_plain_words(written: str, meant: object) -> None:
    if written == "-":  # a dash alone is an item of a list, not text
        assert load("-", "f").plain() == [None]
        return
    node = load(f"key: {written}", "f")
    assert isinstance(node, Mapping)
    value = node["key"].plain()
    assert value == meant and type(value) is type(meant)


def test_numbers_keep_how_they_were_written() -> None:
    node = load("0.10", "f")
    assert isinstance(node, Scalar) and node.value == 0.1 and node.text == "0.10" and not node.quoted


def test_a_control_character_is_found_behind_letters_of_several_bytes() -> None:
    error = refused("a: b\nü𐀀: \x1f")
    assert (error.line, error.column) == (2, 5)


def test_on_is_a_key() -> None:
    assert load("exit: {on: Order Completed, after: 72h}", "f").plain() == {
        "exit": {"on": "Order Completed", "after": "72h"}
    }


def test_positions_are_of_keys_and_of_values() -> None:
    text = "when:\n  all:\n    - event: Ünï\n      count: {gte: 3}\n"
    root = load(text, "f")
    assert isinstance(root, Mapping)
    when = root["when"]
    assert isinstance(when, Mapping)
    items = when["all"]
    assert isinstance(items, Sequence)
    first = items[0]
    assert isinstance(first, Mapping)
    assert (first.line, first.column) == (3, 7)
    assert (first.keys["count"].line, first.keys["count"].column) == (4, 7)
    count = first["count"]
    assert isinstance(count, Mapping)
    assert (count["gte"].line, count["gte"].column) == (4, 20)  # counted in characters, not bytes


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("a: 1\nb: &x 2", 2, 4, "anchors"),
        ("a: &x {b: 1}\n", 1, 4, "anchors"),
        ("a: 1\nb: *x", 2, 4, "aliases"),
        ("a: !!str 1", 1, 4, "tags"),
        ("a: !!python/object:os.system {}", 1, 4, "tags"),
        ("a:\n  <<: {b: 1}", 2, 3, "merge"),
        ("a: 1\nb: 2\na: 3", 3, 1, "twice"),
        ("a: {x: 1, x: 2}", 1, 11, "twice"),
        ("1: a", 1, 1, "must be text"),
        ("true: a", 1, 1, "must be text"),
        ("? [a]\n: b", 1, 3, "must be text"),
        ("a: 1\n---\nb: 2", 2, 1, "second document"),
        ("", 1, 1, "empty"),
        ("# nothing\n", 1, 1, "empty"),
        ("a: .inf", 1, 4, "compared"),
        ("a: .nan", 1, 4, "compared"),
        ("a: 1e999", 1, 4, "too large"),
        ("a: 9223372036854775808", 1, 4, "64 bits"),
        ("a: " + "9" * 5000, 1, 4, "64 bits"),
        ("a: [1\nb: 2", 2, 2, "not YAML"),
        ("a:\n\t- b", 2, 1, "not YAML"),
        ("a: b: c", 1, 5, "not YAML"),
        ("a: \x00", 1, 4, "not YAML"),
        ("a: 1\nb: \ud800", 2, 4, "no text"),
    ],
)
def test_refusals_point_at_the_place(text: str, line: int, column: int, word: str) -> None:
    error = refused(text)
    assert word in error.message
    assert (error.line, error.column) == (line, column)
    assert str(error).startswith(f"some.yaml:{line}:{column}: ")


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert load('"<<": 1', "f").plain() == {"<<": 1}


def test_depth_is_bounded_on_both_sides_of_the_limit() -> None:
    load("[" * MAX_DEPTH + "]" * MAX_DEPTH, "f")
    assert "deeper" in refused("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)).message
    refused("[" * 400_000)  # neither a crash nor a wait


def test_size_is_bounded_in_bytes() -> None:
    load("a" * MAX_BYTES, "f")
    assert "bytes" in refused("a" * (MAX_BYTES + 1)).message
    assert "bytes" in refused("ü" * (MAX_BYTES // 2 + 1)).message


def test_a_byte_order_mark_does_not_move_the_columns() -> None:
    root = load("\ufeffa: 1", "f")
    assert isinstance(root, Mapping) and root.keys["a"].column == 1


def test_unknown_keys_name_the_nearest() -> None:
    root = load("event: a\nwher: {}", "f")
    assert isinstance(root, Mapping)
    with pytest.raises(DocumentError, match="did you mean 'where'") as caught:
        root.only(["event", "where", "within"])
    assert (caught.value.line, caught.value.column) == (2, 1)
    with pytest.raises(DocumentError, match="'within' is missing"):
        root.required("within")


def test_nearest() -> None:
    assert nearest("agregate", ["aggregate", "absent"]) == "aggregate"
    assert nearest("CustomerId", ["CustomerID", "Country"]) == "CustomerID"
    assert nearest("zzz", ["aggregate", "absent"]) is None
    assert nearest("zzz", []) is None


# Characters of every plane, but for the few that YAML wants escaped and JSON does not.
_TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=8)
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(_PLAIN)
def test_json_reads_as_what_it_says(value: object) -> None:
    assert load(json.dumps(value, ensure_ascii=False), "f").plain() == value


@given(st.text(max_size=60))
def test_any_text_is_a_tree_or_a_document_error(text: str) -> None:
    line = column = 1
    try:
        load(text, "f").plain()
    except DocumentError as error:
        line, column = error.line, error.column
    assert line >= 1 and column >= 1
