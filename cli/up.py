"""`segue up`, `segue down`, `segue status`: the local broker and cluster, left running for the commands that follow."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cli import toolchain
from cli.cluster import LocalCluster
from cli.errors import UserError
from cli.paths import DEMO, RUN, STATE
from cli.progress import step


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the three commands."""
    up = subparsers.add_parser(
        "up", help="start the local broker and cluster", description="Start the local Kafka broker and Flink cluster."
    )
    up.add_argument(
        "--task-managers", type=positive, metavar="N", help="TaskManagers of one slot each (1, or as it was)"
    )
    up.add_argument("--kafka-port", type=int, default=0, metavar="PORT", help="port of the broker (one that is free)")
    up.add_argument(
        "--web-port", type=int, default=0, metavar="PORT", help="port of Flink's web page (one that is free)"
    )
    up.add_argument("--json", action="store_true", help="print addresses and process ids as JSON")

    down = subparsers.add_parser(
        "down", help="stop them", description="Stop the local broker and cluster; topics and checkpoints stay."
    )
    down.add_argument("--erase", action="store_true", help="delete topics, checkpoints and savepoints too")

    status = subparsers.add_parser(
        "status",
        help="show them",
        description="Show addresses, processes, jobs and topics of the local cluster, or of a demo that runs.",
    )
    status.add_argument("--json", action="store_true", help="print as JSON")


def positive(text: str) -> int:
    """A whole number of at least one, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the one that was asked for."""
    if args.command == "up":
        return up(args)
    if args.command == "down":
        return down(args)
    return status(args)


def up(args: argparse.Namespace) -> int:
    """Start what does not run yet, and say where it is."""
    toolchain.ensure()
    with toolchain.locked(STATE / "cluster.lock"):
        cluster = running(RUN)
        if cluster is None:
            cluster = LocalCluster(
                RUN,
                task_managers=args.task_managers or 1,
                kafka_port=args.kafka_port,
                web_port=args.web_port,
                detached=True,
            )
        else:
            for what, wanted, have in (
                ("the broker", args.kafka_port, cluster.broker.port),
                ("Flink's web page", args.web_port, cluster.flink.web_port),
            ):
                if wanted and wanted != have:
                    raise UserError(f"the local cluster is up, with {what} on port {have}", "`segue down` first")
            if args.task_managers:
                cluster.scale(args.task_managers)
        with step("starting the Kafka broker and the Flink cluster"):
            cluster.start()
    if args.json:
        print(json.dumps(addresses(cluster), indent=2))
    else:
        print(f"Kafka     {cluster.bootstrap_servers}")
        print(f"Flink     {cluster.rest_url}  ({cluster.flink.slots()} slots)")
        print("Both are up; `segue status` shows more, `segue down` stops them.")
    return 0


def down(args: argparse.Namespace) -> int:
    """Stop what runs; that nothing does is no error."""
    with toolchain.locked(STATE / "cluster.lock"):
        cluster = LocalCluster.find(RUN)
        was_up = cluster is not None and cluster.any_alive()
        if cluster is not None:
            with step("stopping the Kafka broker and the Flink cluster"):
                cluster.stop()
        if args.erase:
            (cluster or LocalCluster(RUN)).erase()
    print("The local cluster is stopped." if was_up else "No local cluster is up.")
    return 0


def status(args: argparse.Namespace) -> int:
    """Show the cluster that was started, else that of a demo which runs; exit code 1 if there is none or it does not answer."""
    cluster = running(RUN, DEMO)
    if cluster is None:
        print(json.dumps({"up": False}) if args.json else "No local cluster is up; start one with `segue up`.")
        return 1
    report = {"up": cluster.alive(), **addresses(cluster), "jobs": jobs(cluster), "topics": topics(cluster)}
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        show(cluster, report)
    return 0 if report["up"] and report["jobs"] is not None and report["topics"] is not None else 1


def running(*folders: Path) -> LocalCluster | None:
    """The cluster of the first of these folders in which any of it runs."""
    return next((one for one in map(LocalCluster.find, folders) if one is not None and one.any_alive()), None)


def addresses(cluster: LocalCluster) -> dict[str, Any]:
    """Where it is and what runs."""
    return {
        "bootstrap_servers": cluster.bootstrap_servers,
        "rest_url": cluster.rest_url,
        "pids": cluster.pids(),
        "checkpoint_dir": str(cluster.flink.checkpoint_dir),
        "savepoint_dir": str(cluster.flink.savepoint_dir),
        "log_dir": str(cluster.flink.log_dir),
        "broker_log": str(cluster.broker.log),
    }


def jobs(cluster: LocalCluster) -> list[dict[str, Any]] | None:
    """The jobs that the JobManager knows, newest first; None if it does not answer."""
    if not cluster.flink.answers():
        return None
    found = cluster.flink.rest("/jobs/overview")["jobs"]
    kept = [
        {"id": j["jid"], "name": j["name"], "state": j["state"], "duration_ms": j["duration"], "start": j["start-time"]}
        for j in found
    ]
    return sorted(kept, key=lambda job: -int(job["start"]))


def topics(cluster: LocalCluster) -> list[dict[str, Any]] | None:
    """The topics of the broker with partitions and bytes on disk, without Kafka's own; None if it does not answer."""
    if not cluster.broker.answers():
        return None
    from kafka import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap_servers)
    try:
        names = sorted(name for name in admin.list_topics() if not name.startswith("__"))
        sizes: dict[str, int] = {}
        for broker in admin.describe_log_dirs():
            for folder in broker["log_dirs"]:
                for topic in folder["topics"]:
                    bytes_on_disk = sum(partition["partition_size"] for partition in topic["partitions"])
                    sizes[topic["name"]] = sizes.get(topic["name"], 0) + bytes_on_disk
        described = {t["name"]: len(t["partitions"]) for t in admin.describe_topics(names)} if names else {}
    finally:
        admin.close()
    return [{"name": name, "partitions": described.get(name, 0), "bytes": sizes.get(name, 0)} for name in names]


def show(cluster: LocalCluster, report: dict[str, Any]) -> None:
    """The report as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    title = "Local" if cluster.run_dir == RUN.resolve() else "The demo's"
    parts = Table("part", "address", "pid", "state", title=f"{title} cluster", title_justify="left")
    answers = "[green]answers[/]" if report["topics"] is not None else "[red]does not answer[/]"
    pids = report["pids"]
    parts.add_row("Kafka broker", report["bootstrap_servers"], str(pids.get("broker", "-")), answers)
    answers = "[green]answers[/]" if report["jobs"] is not None else "[red]does not answer[/]"
    parts.add_row("Flink JobManager", report["rest_url"], str(pids.get("jobmanager", "-")), answers)
    for manager in cluster.flink.task_managers:
        state = "[green]runs[/]" if manager.alive() else "[red]has ended[/]"
        parts.add_row("Flink TaskManager", manager.id, str(manager.pid), state)
    console.print(parts)
    if report["jobs"]:
        table = Table("job", "id", "state", "since", title="Jobs", title_justify="left")
        for job in report["jobs"]:
            colour = {"RUNNING": "green", "FINISHED": "dim", "CANCELED": "dim"}.get(job["state"], "red")
            table.add_row(job["name"], job["id"], f"[{colour}]{job['state']}[/]", duration(job["duration_ms"]))
        console.print(table)
    elif report["jobs"] is not None:
        console.print("No job was submitted; start one with `segue submit`.")
    if report["topics"]:
        table = Table("topic", "partitions", "on disk", title="Topics", title_justify="left")
        for topic in report["topics"]:
            table.add_row(topic["name"], str(topic["partitions"]), size(topic["bytes"]))
        console.print(table)
    elif report["topics"] is not None:
        console.print("There are no topics yet.")


def duration(milliseconds: int) -> str:
    """A duration as a person reads it.

    >>> duration(4_000), duration(125_000), duration(7_500_000)
    ('4s', '2m 05s', '2h 05m')
    """
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02d}s"
    return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"


def size(count: int) -> str:
    """A number of bytes as a person reads it.

    >>> size(12), size(2048), size(5_000_000)
    ('12 B', '2.0 kB', '4.8 MB')
    """
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1024 or unit == "GB":
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
