"""Send a PyFlink program's job to the stage's cluster."""

from __future__ import annotations

import os

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.util.java_utils import get_j_env_configuration

# Else PyFlink takes the environment for a local one when it is made, and has the cluster run Python in this very process.
os.environ["_python_worker_execution_mode"] = "process"  # noqa: SIM112  (its name)


def send_to_cluster(environment: StreamExecutionEnvironment, rest: str) -> None:
    """Have the environment submit to the cluster whose REST interface is at `rest` (`host:port`).

    A program that is started as such, not by `flink run`, is given an environment that insists on a cluster within its own process,
    whatever configuration it was asked for with.
    """
    host, _, port = rest.partition(":")
    configuration = get_j_env_configuration(environment._j_stream_execution_environment)  # noqa: SLF001
    for name, value in {"execution.target": "remote", "rest.address": host, "rest.port": port}.items():
        configuration.setString(name, value)
