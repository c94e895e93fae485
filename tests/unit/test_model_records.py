"""How definitions and versions of models travel: in rule sets and as records, and what a learner says of them."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.model_records import (
    LONGEST_VALUE,
    ModelRecordError,
    encode_version,
    header_of,
    published,
    read_record,
)
from flink_jobs.outputs import Destination
from online_models.version import ModelEvent, Quality, Retired
from rules.errors import RuleErrors
from rules.rule_set import RuleSet
from tests.frames import START, payload
from tests.unit.test_schemas import complaints
from tests.versions import MODELS, version, with_models


def test_a_rule_set_carries_models_and_without_any_is_as_older_jobs_know_it() -> None:
    rule_set = RuleSet.from_payload(with_models())
    assert rule_set.models == MODELS
    assert RuleSet.from_payload(rule_set.to_payload()) == rule_set
    assert RuleSet.from_payload(with_models(2, warming={"vip": None})).active.models == MODELS
    assert b"models" not in RuleSet.from_payload(payload()).to_payload()
    with pytest.raises(RuleErrors, match="not the name of a model file"):
        RuleSet.from_payload(with_models(1, {"../churn": "x"}))
    with pytest.raises(RuleErrors, match="at most 50 models"):
        RuleSet.from_payload(with_models(1, {f"m{one}.yaml": "" for one in range(51)}))


@given(
    names=st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=300)] * 2),
    number=st.sampled_from([0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**62]),
)
def test_a_record_is_read_as_it_was_written(names: tuple[str, str], number: int) -> None:
    made = msgspec.structs.replace(version(number), model=names[0], candidate=names[1])
    found = read_record(encode_version(made))
    assert found.header == header_of(made)
    assert found.decode() == made


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x95" + rest))
def test_whatever_bytes_there_are_it_is_a_record_or_it_is_said_that_it_is_none(data: bytes) -> None:
    try:
        read_record(data).decode()
    except ModelRecordError:
        return
    raise AssertionError("that many bytes hold no version")


def test_a_version_that_the_topic_does_not_take_is_not_written() -> None:
    with pytest.raises(ModelRecordError, match="more than"):
        encode_version(version(body=bytes(LONGEST_VALUE)))


def test_what_a_learner_says_goes_to_its_topic() -> None:
    assert published(version(7)) == (Destination.MODEL_UPDATES, b"churn/line/7", encode_version(version(7)))
    assert published(Retired("churn", "line", 3)) == (Destination.MODEL_UPDATES, b"churn/line/3", None)
    words = [Quality("churn", "d", START, "line", {"line": {"log_loss": 0.3}}, []), ModelEvent("churn", "removed", -1)]
    said = [published(one) for one in words]
    assert {one[:2] for one in said} == {(Destination.MODEL_QUALITY, b"churn")}
    quality, removed = (json.loads(one[2] or b"") for one in said)
    assert complaints("model-quality", quality) == complaints("model-quality", removed) == []
    assert (quality["kind"], quality["at"]) == ("quality", "2026-01-01T00:00:00.000Z")
    assert quality["detail"]["candidates"] == {"line": {"log_loss": 0.3}}
    assert (removed["kind"], removed["at"]) == ("removed", None)
