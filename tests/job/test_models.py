"""Models in a running job: each example is learnt once whatever dies, versions reach the customers, and a replay learns the same."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from cli.control import ask
from cli.main import main
from cli.model_topics import newest_quality, read_versions, read_words
from cli.published import apply_rules
from flink_jobs.following import Following
from flink_jobs.model_records import encode_version, read_record
from flink_jobs.models import SCORING
from flink_jobs.settings import Settings
from online_models import making
from online_models.learner import Learner
from online_models.loop import Loop
from online_models.standard import standard_kit
from online_models.version import ModelVersion
from profiles import InvalidRecord, decode_event
from rules.plan import Limits
from rules.rule_set import RuleSet, load_directory
from tests.fixtures.jobs import BenchMaker, JobBench, Record, check_accounts, event, write_rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""

MINUTE = 60_000
PHASE = 30 * MINUTE
CUSTOMERS = 40
DISORDER = 5_000

MODEL = """\
model: soon
name: Order within ten minutes
owner: data@example.com
task: classification
target: {event: Order Completed, within: 10m}
features:
  - {count: {event: Product Viewed, within: 30m, as: views}}
  - {sum: {path: properties.price, event: Product Viewed, within: 30m, as: prices, log: true}}
candidates:
  - name: logistic
    pipeline: [StandardScaler, {LogisticRegression: {optimizer: {SGD: {lr: 0.1}}}}]
    calibrate: platt
  - name: tree
    pipeline: [{HoeffdingAdaptiveTreeClassifier: {grace_period: 20, seed: 1}}]
score: {every: 0s}
learn: {every: 1m, publish: 10m, publish_examples: 50, least: 1}
"""

KEEN = "when: {score: {model: soon, gte: 0.5}}\n"


def phase(number: int) -> Iterator[tuple[bytes, bytes]]:
    """Half an hour: everybody looks at something, and who looks more often orders some minutes later."""
    start = START + number * PHASE
    for minute in range(20):
        for customer in range(CUSTOMERS):
            time = start + minute * MINUTE + customer
            is_buyer = customer % 2 == 0
            name = "Product Viewed" if minute < (4 if is_buyer else 1) else ""
            if is_buyer and minute == 8:
                name = "Order Completed"
            if name:
                fields = {"properties": {"price": 5 + customer + minute}}
                yield f"c{customer}".encode(), event(f"{customer}/{number}/{minute}", name, time, **fields)


def apply(bench: JobBench) -> RuleSet:
    """Publish the rule and the model as `segue rules apply` does."""
    rules = dataclasses.replace(
        load_directory(write_rules(bench.folder / "rules", keen=KEEN)), models={"soon.yaml": MODEL}
    )
    return apply_rules(bench.settings, rules, author="a tester").rules


def begun(rules: RuleSet, settings: Settings) -> tuple[Loop[Any], Learner]:
    """Customers and learner in one process."""
    limits = Limits(
        remembered_messages=settings.job.remembered_messages, skew=settings.job.skew, expiry=settings.job.expiry
    )
    under = Following(rules, limits, None, SCORING)
    assert under.serving is not None
    models = [one.model for one in under.serving.models.values()]
    learner = Learner(models, standard_kit())

    def decode(*arguments: Any) -> Any:
        return making.ready(making.decode(*arguments))

    return Loop(models, under.rules, under.serving, SCORING.advance, learner, decode), learner  # type: ignore[arg-type]


def go_through(loop: Loop[Any], records: list[Record], watermark: int) -> None:
    """Have these records happen, and time pass."""
    events = []
    for one in records:
        assert one.key is not None and one.value is not None
        try:
            events.append(decode_event(one.value, one.key.decode(), one.timestamp, one.partition, one.offset))
        except InvalidRecord:
            continue
    for happened in sorted(events, key=lambda found: found.event_time):
        loop.take(happened, happened.event_time - DISORDER - 1)
    loop.pass_time(watermark)


def expected(rules: RuleSet, records: list[Record], watermark: int, settings: Settings) -> tuple[Loop[Any], Learner]:
    """What is to come of these records."""
    loop, learner = begun(rules, settings)
    go_through(loop, records, watermark)
    return loop, learner


def versions(bench: JobBench) -> list[ModelVersion]:
    """All versions that the job has committed, in order."""
    found = []
    for one in bench.read("model_updates"):
        if one.value is not None and not one.value.endswith(b"corrupt"):
            found.append(read_record(one.value).decode())
    return sorted(found, key=lambda version: version.version)


def play(bench: JobBench, number: int) -> int:
    """Send a phase, let its time pass, and wait until the clock has come there; how many records that were."""
    end = START + (number + 1) * PHASE
    sent = len(bench.produce(list(phase(number)))) + bench.let_time_pass(end)
    bench.wait_watermark(end - DISORDER - 1)
    return sent


def said_of_models(found: Any) -> list[dict[str, Any]]:
    """What an explanation says of models, wherever in it."""
    if isinstance(found, list):
        return [one for part in found for one in said_of_models(part)]
    if not isinstance(found, dict):
        return []
    own = [found["model"]] if isinstance(found.get("model"), dict) else []
    return own + said_of_models(list(found.values()))


def learnt(bench: JobBench) -> Counter[str]:
    return Counter(bench.rest.totals(bench.job, "learner"))


def missed(bench: JobBench) -> int:
    """How often a customer was to be scored, and there was no score."""
    totals = bench.totals()
    assert totals["scores_given_soon"] > 0
    return totals["scores_due_soon"] - totals["scores_given_soon"]


def kill(bench: JobBench, operator: str) -> None:
    """Kill an operator's only worker; afterwards the job runs again."""
    before, checkpoints = bench.restarts(), bench.checkpoints()
    bench.wait(lambda: bench.checkpoints() > checkpoints, "another checkpoint")
    pid = bench.metric(operator, "segue.worker_pid", "sum")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    bench.wait(lambda: bench.restarts() > before, f"the job restarts without the worker of {operator}")
    bench.wait(lambda: bench.rest.runs(bench.job), "the job runs again")


def signatures(bench: JobBench) -> set[tuple[bool, bool]]:
    """Of each record of a version: whether the learner made it, and whether it is signed as the job's own."""
    return {
        (read_record(one.value or b"").header.origin == "stream", "segue-job" in one.headers)
        for one in bench.read("model_updates")
    }


def same(one: ModelVersion) -> Any:
    """What of a version must not depend on when it was learnt."""
    return one.candidate, one.created_at, one.lineage.examples, one.lineage.first, one.lineage.last, one.body


def test_what_is_learnt_survives_everything_and_a_replay_learns_the_same(job_bench: BenchMaker) -> None:
    job = {"clock": "replay", "parallelism": 2, "disorder": f"{DISORDER}ms", "idle_after": "1m"}
    bench = job_bench(slots=2, job=job, kafka={"partitions": 2})
    rules = apply(bench)
    bench.submit()

    # A version comes of the first examples, and customers are scored by it.
    sent = play(bench, 0)
    bench.wait(lambda: bench.totals()["models_accepted"] >= 2, "the first versions are adopted")
    sent += play(bench, 1)
    bench.wait(lambda: bench.told(), "a rule reacts to a score")
    assert bench.totals()["scored"] > 0

    # It is explained what a score lives on.
    said = said_of_models(ask(bench.settings, "c0", "keen"))
    assert [one["model"] for one in said] == ["soon"]
    assert all({feature["feature"] for feature in one["features"]} == {"views", "prices"} for one in said)

    # Another parallelism.
    savepoint = bench.stop()
    bench.configure(job={"parallelism": 1})
    bench.submit(from_savepoint=savepoint)
    sent += play(bench, 2)

    # Either worker dies, amid events.
    sent += len(bench.produce(list(phase(3))))
    kill(bench, "learner")
    sent += bench.let_time_pass(START + 4 * PHASE)
    bench.wait_watermark(START + 4 * PHASE - DISORDER - 1)
    sent += len(bench.produce(list(phase(4))))
    kill(bench, "segments")
    sent += bench.let_time_pass(START + 5 * PHASE)
    bench.wait_watermark(START + 5 * PHASE - DISORDER - 1)

    # What is corrupt is refused, however high its number: customers are scored by the version before, also after a restart, and by
    # those that come after it.
    loop, _ = expected(rules, bench.read("events"), START + 5 * PHASE - DISORDER - 1, bench.settings)
    bench.wait(lambda: len(versions(bench)) >= len(loop.outcome.versions), "all versions so far are published")
    newest = max((one for one in versions(bench) if one.role == "champion"), key=lambda one: one.version)
    broken = encode_version(msgspec.structs.replace(newest, version=newest.version + 1_000))
    cut = broken[: len(broken) - len(newest.body)] + b"corrupt"
    bench.produce(
        [(f"soon/{newest.candidate}/{newest.version + 1_000}".encode(), cut), (b"what/is/this", b"corrupt")],
        "model_updates",
    )
    bench.wait(lambda: bench.totals()["models_refused"] >= 1, "the corrupt version is refused")
    unscored = missed(bench)
    kill(bench, "segments")
    sent += play(bench, 5)

    watermark = START + 6 * PHASE - DISORDER - 1
    loop, learner = expected(rules, bench.read("events"), watermark, bench.settings)
    bench.wait(lambda: learnt(bench)["examples_learnt"] >= learner.counts["learnt"], "all examples are learnt")
    assert learnt(bench)["examples_learnt"] == learner.counts["learnt"]
    totals = bench.wait_received(sent)
    check_accounts(totals, sent)
    assert missed(bench) == unscored, "there was a version to score by all the time"
    bench.stop()
    assert learner.counts["learnt"] > 200
    assert {one.candidate: same(one) for one in versions(bench)} == {
        name: same(one) for (_, name), one in loop.outcome.newest.items()
    }
    assert [one.version for one in versions(bench)] == [one.version for one in loop.outcome.versions]
    words = [one.json() for one in bench.read("model_quality")]
    assert {"soon"} == {word["model"] for word in words}
    refused = [word for word in words if word["kind"] == "refused"]
    assert {word["candidate"] for word in refused} == {newest.candidate}
    assert bench.read("segment_changes")
    causes = {one.json()["data"]["cause"]["kind"] for one in bench.read("segment_changes")}
    assert causes == {"score"}

    # Another job over the same events.
    again = job_bench(slots=2, job=job, kafka={"partitions": 2}, topics={"events": bench.settings.topics.events})
    apply(again)
    again.submit()
    again.wait_watermark(watermark)
    again.wait(lambda: learnt(again)["examples_learnt"] >= learner.counts["learnt"], "all examples are learnt")
    assert learnt(again)["examples_learnt"] == learner.counts["learnt"]
    again.stop()
    assert [same(one) for one in versions(again)] == [same(one) for one in versions(bench)]


def publish(bench: JobBench, models: dict[str, str] | None, **files: str) -> RuleSet:
    """Publish rules, and beside them these models; None: those that there are."""
    rules = load_directory(write_rules(bench.folder / "others", **files))
    return apply_rules(bench.settings, rules, author="a tester", models=models).rules


def stand(bench: JobBench, version: int) -> str:
    """How the job stands with a version of the rules, once it has said so."""
    found: list[Any] = []

    def is_said() -> bool:
        found.extend(one.json() for one in bench.read("rule_status"))
        return any(one["version"] == version for one in found)

    bench.wait(is_said, f"the job says something of version {version}")
    return str(next(one["stage"] for one in found if one["version"] == version))


def test_models_come_and_go_with_savepoints_while_all_else_goes_on(job_bench: BenchMaker) -> None:
    bench = job_bench(job={"clock": "replay", "disorder": f"{DISORDER}ms", "idle_after": "1m"})
    viewer = "when: {event: Product Viewed, within: 30d, count: {gte: 3}}\n"
    publish(bench, {}, viewer=viewer)
    bench.submit()
    sent = play(bench, 0)
    assert stand(bench, publish(bench, {"soon.yaml": MODEL}, viewer=viewer).version) == "refused"

    # The savepoint of a job without models, and rules that have some.
    bench.submit(from_savepoint=bench.stop())
    sent += play(bench, 1)
    bench.wait(lambda: learnt(bench)["versions_published"], "the first version is published")

    # The savepoint of a job with models, and rules that have none any more: what they had learnt has to go somewhere.
    savepoint = bench.stop()
    publish(bench, {}, viewer=viewer)
    bench.submit(from_savepoint=savepoint)
    sent += play(bench, 2)
    totals = bench.wait_received(sent)
    check_accounts(totals, sent)
    assert totals["rules_accepted"] == 3
    # Half of them have looked once in each of the job's lives, so each has gone on with the state of the one before.
    bench.wait(
        lambda: len({one.customer for one in bench.told()}) == CUSTOMERS, "everybody is told of, and it is committed"
    )

    # Such a job takes up models while it runs.
    before = learnt(bench)["versions_published"]
    assert stand(bench, publish(bench, {"soon.yaml": MODEL}, viewer=viewer).version) == "live"
    sent += play(bench, 3) + play(bench, 4)
    bench.wait(lambda: learnt(bench)["versions_published"] > before, "models are learnt again")
    check_accounts(bench.wait_received(sent), sent)


def wait_reported(bench: JobBench, champion: str, version: int) -> None:
    """Wait until the newest report has this champion at this version."""

    def is_reported() -> bool:
        found = newest_quality(read_words(bench.settings))["soon"]
        return bool(found["champion"] == champion and found["candidates"][champion]["version"] == version)

    bench.wait(is_reported, f"the learner reports {champion} at version {version}")


def test_who_goes_back_goes_on_from_there_until_the_definition_changes(job_bench: BenchMaker) -> None:
    bench = job_bench(job={"clock": "replay", "disorder": f"{DISORDER}ms", "idle_after": "1m"})
    rules = apply(bench)
    bench.submit()
    loop, learner = begun(rules, bench.settings)
    for number in range(2):
        play(bench, number)
    events = bench.reader("events")
    go_through(loop, events.poll(), START + 2 * PHASE - DISORDER - 1)
    seen = len(events.records)
    bench.wait(lambda: len(versions(bench)) >= len(loop.outcome.versions), "all versions so far are published")

    # Twice: the second time to what was no champion then, and is one now.
    tree, line = (next(one for one in versions(bench) if one.candidate == name) for name in ("tree", "logistic"))
    for old, more in ((tree, ["--champion"]), (line, []), (tree, ["--champion"]), (tree, [])):
        number = read_versions(bench.settings).above("soon")
        words = ["models", "rollback", "soon", str(old.version), "-m", "a try", "--settings", str(bench.settings_file)]
        assert main([*words, *more]) == 0
        back = read_versions(bench.settings).version("soon", number)
        loop._note([back, *learner.adopt(back)])
        wait_reported(bench, old.candidate, number)
        assert {one["version"] for one in said_of_models(ask(bench.settings, "c0", "keen"))} == {number}

    # What is learnt from now on is learnt from there, and published as it would be in one process.
    play(bench, 2)
    go_through(loop, events.poll()[seen:], START + 3 * PHASE - DISORDER - 1)
    bench.wait(lambda: len(versions(bench)) >= len(loop.outcome.versions), "all versions are published")
    after = [one for one in versions(bench) if one.version > number]
    assert next(one for one in after if one.candidate == "tree").lineage.parent == number
    assert {one.candidate: same(one) for one in after} == {
        name: same(one) for (_, name), one in loop.outcome.newest.items()
    }

    # Another definition: what the job itself has deposed is no trouble.
    models = {"soon.yaml": MODEL.replace("publish_examples: 50", "publish_examples: 60")}
    apply_rules(bench.settings, rules, author="a tester", models=models)
    bench.wait(lambda: bench.totals()["models_outdated"], "versions of before are told of again")
    play(bench, 3)
    bench.wait(lambda: versions(bench)[-1].digest != tree.digest, "a version of the new definition is published")
    kinds = [one["kind"] for one in read_words(bench.settings)]
    assert (kinds.count("restarted"), kinds.count("adopted"), kinds.count("refused")) == (1, 4, 0)


def test_customers_are_served_while_a_version_of_ten_megabytes_comes(job_bench: BenchMaker) -> None:
    job = {"clock": "replay", "parallelism": 2, "disorder": f"{DISORDER}ms", "idle_after": "1m"}
    bench = job_bench(slots=2, job=job, kafka={"partitions": 2})
    apply(bench)
    bench.submit()
    sent = play(bench, 0)
    bench.wait(lambda: bench.totals()["models_accepted"] >= 2, "the first versions are adopted")
    sent += play(bench, 1)
    unscored, before = missed(bench), bench.totals()

    # As if somebody had trained it over history: it goes to all customers, and the learner goes on from it.
    newest = max((one for one in versions(bench) if one.role == "champion"), key=lambda one: one.version)
    padding = random.Random(1).randbytes(5_000_000).hex()
    lineage = msgspec.structs.replace(newest.lineage, origin="history", message=padding)
    large = msgspec.structs.replace(newest, version=newest.version + 1_000, lineage=lineage)
    record = encode_version(large)
    assert len(record) > 10_000_000
    bench.produce([(large.key.encode(), record)], "model_updates")
    sent += play(bench, 2)

    def is_adopted() -> bool:
        # What has been read beside the batches is adopted with the next one: these are repeats, which nothing else comes of.
        nonlocal sent
        sent += len(bench.produce(list(phase(2))))
        return bench.totals()["models_accepted"] > before["models_accepted"]

    bench.wait(is_adopted, "more versions are adopted")

    def goes_on() -> bool:
        words = [one.json() for one in bench.read("model_quality")]
        return any(word["kind"] == "adopted" and word["detail"]["version"] == large.version for word in words)

    bench.wait(goes_on, "the learner has adopted the large version")

    # It comes out of the checkpoint again, before the first customer and in the learner.
    kill(bench, "learner")
    sent += play(bench, 3)
    totals = bench.wait_received(sent)
    check_accounts(totals, sent)
    assert missed(bench) == unscored, "there was a version to score by all the time"
    assert totals["scored"] > before["scored"]
    assert totals["models_refused"] == totals["models_dropped"] == 0
    bench.wait(
        lambda: any(one.lineage.parent == large.version for one in versions(bench)), "a version comes of the large one"
    )
    assert signatures(bench) == {(True, True), (False, False)}, "the job knows those that it has made"
    bench.stop()
