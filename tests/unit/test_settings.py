"""Settings are typed, read in one place, and refuse what cannot be meant, saying where it stands."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest

from flink_jobs import settings as module
from flink_jobs.settings import Duration, Settings, SettingsError, load_settings


def write(folder: Path, text: str) -> Path:
    file = folder / "segue.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(folder, text), {})
    return str(caught.value).removeprefix(f"{folder}/")


def refused_variable(**variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, variables)
    return str(caught.value)


def test_without_anything_the_defaults_hold_and_are_in_range() -> None:
    loaded = load_settings(None, {})
    assert loaded == Settings()
    for part in dataclasses.fields(Settings):
        for key, value in dataclasses.asdict(getattr(loaded, part.name)).items():
            assert module._checked(part.name, key, value) == value


def test_a_file_sets_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    loaded = load_settings(
        write(tmp_path, "job:\n  name: other\n  skew: 1m30s\n  clock: replay\nkafka:\n  partitions: 8\n"), {}
    )
    assert (loaded.job.name, loaded.job.skew, loaded.job.clock, loaded.kafka.partitions) == (
        "other",
        90_000,
        "replay",
        8,
    )
    changed = dataclasses.replace(
        Settings(),
        job=dataclasses.replace(Settings().job, name="other", skew=Duration(90_000), clock="replay"),
        kafka=dataclasses.replace(Settings().kafka, partitions=8),
    )
    assert loaded == changed


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("jobs:\n  name: a\n", "segue.yaml:1:1", "did you mean 'job'?"),
        ("job:\n  paralellism: 2\n", "segue.yaml:2:3", "did you mean 'parallelism'?"),
        ("job:\n  name: a\n  name: b\n", "segue.yaml:3:3", "twice"),
        ("job: 3\n", "segue.yaml:1:6", "`job` must be a mapping"),
        ("- job\n", "segue.yaml:1:1", "mapping of parts"),
        ("job:\n  parallelism: two\n", "segue.yaml:2:16", "`job.parallelism` must be a whole number"),
        ("job:\n  parallelism: true\n", "segue.yaml:2:16", "must be a whole number"),
        ("job:\n  parallelism: 1.5\n", "segue.yaml:2:16", "must be a whole number"),
        ("job:\n  name: 7\n", "segue.yaml:2:9", "must be a text"),
        ("job:\n  clock: lives\n", "segue.yaml:2:10", "must be one of live, replay"),
        ("job:\n  skew: 300\n", "segue.yaml:2:9", "must be a duration such as 5s or 10m"),
        ("job:\n  skew: five\n", "segue.yaml:2:9", "must be a duration"),
        ("flink:\n  jars: a.jar\n", "segue.yaml:2:9", "must be a list of texts"),
        ("kafka:\n  properties: [a]\n", "segue.yaml:2:15", "must be a mapping of names to values"),
        ("kafka:\n  properties: {a: [1]}\n", "segue.yaml:2:15", "must be a mapping of names to values"),
        ("kafka:\n  partitions: 0\n", "segue.yaml:2:15", "is 0, which is not between 1 and 10000"),
        ("checkpoints:\n  interval: 99ms\n", "segue.yaml:2:13", "is 0.099s, which is not between 0.1s and 1h"),
        ("checkpoints:\n  transaction_timeout: 15m1s\n", "segue.yaml:2:24", "not between 1s and 15m"),
        ("job: {name: *a}\n", "segue.yaml:1:13", "aliases"),
        ("", "segue.yaml:1:1", "empty"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(tmp_path: Path, text: str, place: str, says: str) -> None:
    message = refused(tmp_path, text)
    assert message.startswith(f"{place}: ")
    assert says in message


@pytest.mark.parametrize(("part", "key"), sorted(module.RANGES))
def test_both_ends_of_each_range_are_allowed_and_one_beyond_is_not(tmp_path: Path, part: str, key: str) -> None:
    low, high = module.RANGES[part, key]
    is_duration = module._hints(part)[key] is Duration

    def document(value: int) -> str:
        words = f"{value // 1000}.{value % 1000:03d}s" if is_duration else str(value)
        extra = "\n  max_parallelism: 32768" if key == "parallelism" else ""
        return f"{part}:\n  {key}: {words}{extra}\n"

    for value in (low, high):
        assert getattr(getattr(load_settings(write(tmp_path, document(value)), {}), part), key) == value
    for value in [high + 1] + [low - 1] * (low > 0):
        assert "which is not between" in refused(tmp_path, document(value))


def test_a_job_cannot_be_wider_than_its_state_allows() -> None:
    message = refused_variable(SEGUE_JOB__PARALLELISM="129")
    assert "`job.max_parallelism` must be at least `job.parallelism`" in message


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read"):
        load_settings(tmp_path / "none.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"job:\n  name: caf\xe9\n")
    with pytest.raises(SettingsError, match=r"latin\.yaml: cannot be read"):
        load_settings(tmp_path / "latin.yaml", {})


# --- the environment ---------------------------------------------------------------------------------------------------


def test_variables_go_on_top_of_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path, "job:\n  name: file\n  parallelism: 2\nkafka:\n  properties: {security.protocol: SSL, a: 1}\n"
    )
    loaded = load_settings(
        file,
        {
            "SEGUE_JOB__NAME": "variable",
            "SEGUE_KAFKA__PROPERTIES__SECURITY_PROTOCOL": "SASL_SSL",
            "SEGUE_KAFKA__PROPERTIES__SASL_PASSWORD": "p=w:'\" x",
            "SEGUE_BATCHES__LINGER": "7ms",
            "SEGUE_FLINK__JARS": "a.jar,b.jar",
            "SEGUE_CHECKPOINTS__BACKEND": "rocksdb",
        },
    )
    assert (loaded.job.name, loaded.job.parallelism) == ("variable", 2)
    assert loaded.kafka.properties == {"security.protocol": "SASL_SSL", "a": "1", "sasl.password": "p=w:'\" x"}
    assert loaded.batches.linger == 7
    assert loaded.flink.jars == ["a.jar", "b.jar"]
    assert loaded.checkpoints.backend == "rocksdb"


def test_other_variables_are_none_of_its_business() -> None:
    others = {"SEGUE_SETTINGS": "x", "SEGUE": "1", "KAFKA__PARTITIONS": "9", "PATH": "/bin"}
    assert load_settings(None, others) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SEGUE_JBO__NAME", "x", "no part `jbo`"),
        ("SEGUE_JOB__NAEM", "x", "did you mean 'name'?"),
        ("SEGUE_JOB__PARALLELISM", "many", "must be a whole number"),
        ("SEGUE_JOB__PARALLELISM", "--5", "must be a whole number"),
        ("SEGUE_JOB__PARALLELISM", "²", "must be a whole number"),
        ("SEGUE_JOB__PARALLELISM", "", "must be a whole number"),
        ("SEGUE_JOB__PARALLELISM", "0", "not between 1 and 1024"),
        ("SEGUE_JOB__SKEW", "300", "must be a duration"),
        ("SEGUE_JOB__DELIVERY", "twice", "must be one of exactly_once, at_least_once"),
        ("SEGUE_JOB__NAME__FIRST", "x", "did you mean SEGUE_JOB__NAME?"),
        ("SEGUE_KAFKA__PROPERTIES", "a=b", "did you mean SEGUE_KAFKA__PROPERTIES__NAME?"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_refused_by_its_name(name: str, value: str, says: str) -> None:
    message = refused_variable(**{name: value})
    assert f"environment variable {name}" in message
    assert says in message


@pytest.mark.parametrize("name", ["SEGUE_KAFKA__PARTITIONS", "SEGUE_JOB__CLOCK", "SEGUE_JOB__SKEW"])
def test_a_message_does_not_repeat_what_a_secret_might_be(name: str) -> None:
    """A password that was pasted into the wrong variable must not end up in a log."""
    assert "hunter2" not in refused_variable(**{name: "hunter2"})


# --- handing on --------------------------------------------------------------------------------------------------------


def test_settings_are_handed_on_as_json() -> None:
    loaded = load_settings(None, {"SEGUE_JOB__SKEW": "1m", "SEGUE_KAFKA__PROPERTIES__A_B": "c"})
    handed = json.loads(loaded.to_json())
    assert handed["job"]["skew"] == 60_000
    assert handed["kafka"]["properties"] == {"a.b": "c"}


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().job.name = "other"  # type: ignore[misc]


# --- the page about them -----------------------------------------------------------------------------------------------


def test_the_page_about_settings_is_in_step() -> None:
    root = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location("generate_docs", root / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.TARGET.read_text(encoding="utf-8") == generate.page(), "run `python docs/generate.py`"
    for part in dataclasses.fields(Settings):
        for key in dataclasses.fields(getattr(Settings(), part.name)):
            assert f"| `{part.name}.{key.name}` |" in generate.page()
