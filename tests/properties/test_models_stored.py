"""Bytes of models: damaged ones are refused in good time, and none does anything but hold wrong numbers."""

from __future__ import annotations

import functools
import io
import random
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import msgspec
import numpy as np
import pytest
import river
import xxhash
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from river import stats, utils
from river.drift import ADWIN

from online_models import storage
from online_models.graph import BadGraph, pack, unpack
from online_models.river_predictor import PredictorFailed
from online_models.storable import NotStorable
from online_models.storage import UnreadableModel, UnstorableModel, decode_predictor, encode_predictor
from tests.unit.test_pipelines import said, setting, taught

NAMES = ("LogisticRegression", "ARFRegressor", "KMeans", "KNNClassifier", "HalfSpaceTrees", "PAClassifier")


@functools.cache
def stored(name: str) -> bytes:
    return encode_predictor(taught(setting(name), 60))


def sealed(head: list[Any], body: bytes, checksum: bytes | None = None) -> bytes:
    """A body in the form of a model, with everything about it right."""
    packed = zstandard.ZstdCompressor().compress(body)
    written = msgspec.msgpack.encode(head)
    found = checksum or xxhash.xxh64_digest(packed)
    return storage.MAGIC + bytes([storage.FORMAT]) + len(written).to_bytes(2, "big") + written + found + packed


def opened(data: bytes) -> tuple[list[Any], bytes]:
    end = 6 + int.from_bytes(data[4:6], "big")
    return msgspec.msgpack.decode(data[6:end]), zstandard.ZstdDecompressor().decompress(data[end + 8 :])


def read(name: str, data: bytes) -> None:
    """Read bytes that may be anything: refused, or a predictor that at worst fails when it is asked."""
    try:
        predictor = decode_predictor(*setting(name), data)
    except UnreadableModel:
        return
    try:
        said(setting(name), predictor)
        predictor.reasons([1.0] * len(predictor.encoder.columns))
    except PredictorFailed:
        pass


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    for start in (b"", storage.MAGIC, storage.MAGIC + bytes([storage.FORMAT])):
        with pytest.raises(UnreadableModel):
            decode_predictor(*setting("KMeans"), start + data)


@given(st.sampled_from(NAMES), st.data())
def test_a_damaged_byte_is_found(name: str, data: st.DataObject) -> None:
    whole = bytearray(stored(name))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UnreadableModel):
        decode_predictor(*setting(name), bytes(whole))
    with pytest.raises(UnreadableModel):
        decode_predictor(*setting(name), stored(name)[:place])


@given(st.sampled_from(NAMES), st.data())
def test_a_hostile_body_with_a_right_checksum_does_no_harm(name: str, data: st.DataObject) -> None:
    head, body = opened(stored(name))
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    read(name, sealed(head, bytes(changed)))


WILD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.floats(), st.text(max_size=4), st.binary(max_size=4), st.just([])
)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found = []
    todo = [tree]
    while todo:
        here = todo.pop()
        for key in range(len(here)) if isinstance(here, list) else list(here):
            found.append((here, key))
            if isinstance(here[key], list | dict):
                todo.append(here[key])
    return found


@given(st.sampled_from(NAMES), st.data())
def test_a_body_with_other_values_in_it_does_no_harm(name: str, data: st.DataObject) -> None:
    head, body = opened(stored(name))
    tree = msgspec.msgpack.decode(body)
    places = _places(tree)
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = places[data.draw(st.integers(0, len(places) - 1))]
        holder[key] = data.draw(st.one_of(WILD, st.sampled_from(places).map(lambda place: place[0])))
    try:
        changed = msgspec.msgpack.encode(tree)
    except (RecursionError, UnicodeEncodeError):
        return
    read(name, sealed(head, changed))


def test_what_does_not_belong_is_said() -> None:
    head, body = opened(stored("KMeans"))
    of = setting("KMeans")
    for name, data in {
        "other pipeline": stored("LogisticRegression"),
        "learnt with River 0.1.0, here is " + river.__version__: sealed(["0.1.0", head[1]], body),
        "format 9": stored("KMeans")[:3] + b"\x09" + stored("KMeans")[4:],
        "checksum": sealed(head, body, b"12345678"),
        "is no model": b"",
    }.items():
        with pytest.raises(UnreadableModel, match=name.replace("other pipeline", "another pipeline")):
            decode_predictor(*of, data)


def test_small_bytes_do_not_become_large() -> None:
    head, _ = opened(stored("KMeans"))
    of = setting("KMeans")
    bomb = sealed(head, bytes(storage.MOST_BODY_BYTES + 1))
    assert len(bomb) < 100_000
    with pytest.raises(UnreadableModel, match="too large"):
        decode_predictor(*of, bomb)
    unsized = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(unsized, closefd=False) as writer:
        writer.write(bytes(1 << 28))
    packed = unsized.getvalue()
    opening = sealed(head, b"", xxhash.xxh64_digest(packed))[: -len(zstandard.ZstdCompressor().compress(b""))]
    with pytest.raises(UnreadableModel, match="too large"):
        decode_predictor(*of, opening + packed)
    for shape, count in ((["list"], 1 << 40), (["Random"], 100_000), (["object", "river.stats.mean.Mean"], 1 << 30)):
        with pytest.raises(BadGraph):
            unpack([0, [[shape, count, [], [[], []]]]])


def test_what_grew_too_large_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MOST_BODY_BYTES", 1000)
    with pytest.raises(UnstorableModel, match="less deep trees"):
        encode_predictor(taught(setting("HoeffdingTreeClassifier"), 60))


class Stranger:
    pass


@pytest.mark.parametrize(
    "thing", [Stranger(), Stranger, open, print, functools.partial(print), io.BytesIO(), 1j, np.float32(1)]
)
def test_what_is_not_on_the_list_is_not_stored(thing: Any) -> None:
    with pytest.raises(NotStorable):
        pack([thing])


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval",
        "os.system",
        "subprocess.Popen",
        "river.datasets.base.RemoteDataset",
        "tests.unit.Stranger",
        "eval",
    ],
)
def test_no_other_class_can_be_named(name: str) -> None:
    for shape, columns in (([["object", name], 1, []], []), ([["class"], 1, []], [[[name], []]])):
        with pytest.raises(BadGraph):
            unpack([0, [[*shape, *columns]]])


def test_calls_are_of_what_is_on_the_list_only() -> None:
    # A list is no function, and a method that is not kept bound by River cannot be named.
    with pytest.raises(BadGraph):
        unpack([1, [[["list"], 1, [0], [[], []]], [["partial"], 1, [2], [[0, 0], [1]]]]])
    with pytest.raises(BadGraph):
        unpack([1, [[["Random"], 1, [], [[3], []]], [["method", "__reduce__"], 1, [], [[0], True]]]])


def test_shared_things_stay_shared_and_cycles_stay_cycles() -> None:
    shared = stats.Var()
    shared.update(3.0)
    ring: list[Any] = [shared, (shared, ((1, 2), shared))]
    ring.append({"me": ring, (1, "x"): shared})
    back = unpack(pack(ring))
    assert back[0] is back[1][0] is back[1][1][1] is back[2][(1, "x")]
    assert back[2]["me"] is back
    assert back[1][1][0] == (1, 2)


def test_every_kind_of_thing_comes_back_as_it_was() -> None:
    dice = random.Random(4)
    dice.gauss(0.0, 1.0)
    weights = utils.VectorDict({1: 2.5})
    things: list[Any] = [
        *[
            None,
            True,
            7,
            -0.0,
            float("inf"),
            "é",
            b"\x00",
            np.float64(2.5),
            np.array([[1.0, 2.0]]),
            {3, 1},
            frozenset({2}),
        ],
        *[deque([1, 2], maxlen=2), deque([3]), Counter("aab"), OrderedDict(b=1, a=2), float, stats.Mean],
        *[defaultdict(float, {1: 2.0}), defaultdict(functools.partial(defaultdict, float)), (), [], {}],
    ]
    back = unpack(pack([things, dice, weights, functools.partial(dice.gauss, 0.0, 1.0)]))
    assert [type(each) for each in back[0]] == [type(each) for each in things]
    assert [repr(each) for each in back[0][:-4]] == [repr(each) for each in things[:-4]]
    assert back[0][11].maxlen == 2
    assert back[0][18]["x"]["y"] == 0.0
    # The partial call draws from the same chance as what is beside it.
    expected = [dice.gauss(0.0, 1.0) for _ in range(4)]
    assert [back[3](), back[1].gauss(0.0, 1.0), back[3](), back[1].gauss(0.0, 1.0)] == expected
    assert back[2].to_dict() == {1: 2.5}


@pytest.mark.parametrize("count", [0, 1, 5, 500])
def test_a_detector_of_drift_alone_goes_on_where_it_was(count: int) -> None:
    """It is written in C and holds a mapping: whichever of the two is read first, it is whole."""
    kept = ADWIN()
    for at in range(count):
        kept.update(at % 7)
    read = unpack(msgspec.msgpack.decode(msgspec.msgpack.encode(pack(kept))))
    for at in range(1_000):
        value = float(at % 5 + (3 if at > 500 else 0))
        kept.update(value)
        read.update(value)
        assert (read.drift_detected, read.width, read.estimation) == (kept.drift_detected, kept.width, kept.estimation)
