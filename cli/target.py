"""Which Kafka and which Flink a command means: a settings file, the environment, else the local cluster if one is up."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import UserError
from cli.paths import DEMO, RUN, shown
from flink_jobs.settings import Flink, Settings, SettingsError, load_settings


@dataclass(frozen=True)
class Local:
    """The local cluster as its state file describes it. `rest` is `host:port`."""

    bootstrap_servers: str
    rest: str
    lib_dir: str
    conf_dir: str
    log_dir: str
    data_dir: str


@dataclass(frozen=True)
class Target:
    """Settings with what the local cluster fills in; `local` is None where they name a cluster themselves.

    `variables` are what was filled in, as environment for a program that reads the same settings file.
    """

    settings: Settings
    local: Local | None
    variables: dict[str, str]


def local_cluster(*folders: Path) -> Local | None:
    """The local cluster whose state lies in the first of these folders that has any, alive or not; None if none has.

    Unless told, that is the one of `segue up`, else that of a demo that runs.
    """
    return next((found for folder in folders or (RUN, DEMO) if (found := _read_state(folder))), None)


def _read_state(folder: Path) -> Local | None:
    state = folder / "cluster.json"
    try:
        found: dict[str, Any] = json.loads(state.read_text("utf-8"))
        flink = found["flink"]
        return Local(
            str(found["bootstrap_servers"]),
            str(flink["rest_url"]).partition("://")[2],
            str(flink["lib_dir"]),
            str(flink["conf_dir"]),
            str(Path(flink["conf_dir"]).parent / "log"),
            # The folder that holds `checkpoints` and `savepoints`, as the job's own layout has it.
            str(Path(flink["checkpoint_dir"]).parent),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{shown(state)} is damaged ({error})", "run `segue down`, then `segue up`") from None


def read_settings(file: Path | None) -> Settings:
    """The settings in the file and the environment; `UserError` says what is wrong with them and where."""
    try:
        return load_settings(file, os.environ)
    except SettingsError as error:
        raise UserError(str(error)) from None


def kafka_settings(file: Path | None, bootstrap: str | None = None) -> Settings:
    """Settings that name a Kafka: the address given, the settings' own, else the local cluster's."""
    settings = read_settings(file)
    address = bootstrap or settings.kafka.bootstrap_servers
    if not address:
        local = local_cluster()
        if local is None:
            raise UserError("no Kafka is known", "run `segue up`, or name one in a settings file (--settings)")
        address = local.bootstrap_servers
    return dataclasses.replace(settings, kafka=dataclasses.replace(settings.kafka, bootstrap_servers=address))


def target(file: Path | None) -> Target:
    """Settings that name a Kafka and a Flink cluster; what they leave open is the local cluster's."""
    settings = read_settings(file)
    missing = [
        name
        for name, value in (("Kafka", settings.kafka.bootstrap_servers), ("Flink", settings.flink.rest))
        if not value
    ]
    if not missing:
        return Target(settings, None, {})
    local = local_cluster()
    if local is None:
        raise UserError(
            f"no {' and no '.join(missing)} is known: no settings name one and no local cluster is up",
            "run `segue up`, or set `kafka.bootstrap_servers` and `flink.rest` in a settings file (--settings)",
        )
    kafka, flink, checkpoints = settings.kafka, settings.flink, settings.checkpoints
    variables: dict[str, str] = {}
    if "Kafka" in missing:
        kafka = dataclasses.replace(kafka, bootstrap_servers=local.bootstrap_servers)
        variables["SEGUE_KAFKA__BOOTSTRAP_SERVERS"] = local.bootstrap_servers
    if "Flink" in missing:
        # The worker needs the locked packages: on this machine, this very Python has them.
        python = sys.executable if flink.python == Flink().python else flink.python
        flink = dataclasses.replace(flink, rest=local.rest, python=python)
        variables |= {"SEGUE_FLINK__REST": local.rest, "SEGUE_FLINK__PYTHON": python}
        if not checkpoints.directory:
            checkpoints = dataclasses.replace(checkpoints, directory=Path(local.data_dir).as_uri())
            variables["SEGUE_CHECKPOINTS__DIRECTORY"] = checkpoints.directory
    filled = dataclasses.replace(settings, kafka=kafka, flink=flink, checkpoints=checkpoints)
    return Target(filled, local if "Flink" in missing else None, variables)
