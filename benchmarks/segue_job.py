"""Segue's own job, as users run it: `python -m benchmarks.segue_job SPEC`, a PyFlink program that submits it.

Timers, lineage, dead letters and the rules topic are all there, as in production. `mode` is the state backend, heap or rocksdb,
for a run over what the topic holds; `models`: the same on the heap, with two linear models and clusters; or `live`: on the heap, with
the clock going on, until it is cancelled.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Final

from benchmarks.remote import send_to_cluster
from benchmarks.spec import Spec
from benchmarks.workload import DISORDER, PARTITIONS
from flink_jobs.segments import build, first_rules
from flink_jobs.settings import Checkpoints, Duration, Flink, Job, Kafka, Settings, Topics
from flink_jobs.topics import ensure_topics

MODELS: Final = Path(__file__).resolve().parent / "models"


def settings(spec: Spec) -> Settings:
    """The job's settings for one run."""
    live = spec.mode == "live"
    return Settings(
        kafka=Kafka(bootstrap_servers=spec.bootstrap, partitions=PARTITIONS),
        topics=Topics(
            events=spec.topic,
            segment_changes=spec.changes,
            customer_segments=spec.memberships,
            dead_letters=f"{spec.changes}-dead",
            late_events=f"{spec.changes}-late",
            rule_status=f"{spec.changes}-status",
            rules=f"{spec.changes}-rules",
            control=f"{spec.changes}-control",
            explanations=f"{spec.changes}-explanations",
            model_updates=f"{spec.changes}-model-updates",
            model_quality=f"{spec.changes}-model-quality",
        ),
        job=Job(
            name=spec.changes,
            clock="live" if live else "replay",
            disorder=Duration(DISORDER),
            start="earliest",
            stop="never" if live else "latest",
            delivery="exactly_once" if spec.exactly_once else "at_least_once",
        ),
        checkpoints=Checkpoints(
            interval=Duration(int(spec.commit_seconds * 1000)), backend="rocksdb" if spec.mode == "rocksdb" else "heap"
        ),
        flink=Flink(rest=spec.rest, python=sys.executable),
    )


def main() -> None:
    spec = Spec.read(sys.argv[1])
    ours = settings(spec)
    ensure_topics(ours)
    rules = first_rules(ours, spec.rules)
    if spec.mode == "models":
        rules = dataclasses.replace(
            rules, models={file.name: file.read_text("utf-8") for file in MODELS.glob("*.yaml")}
        )
    environment = build(ours, rules)
    send_to_cluster(environment, spec.rest)
    environment.execute_async(ours.job.name)


if __name__ == "__main__":
    main()
