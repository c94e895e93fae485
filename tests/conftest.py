"""What all tests share: Kafka and Flink as fixtures, and how hard the property tests look.

`pytest --hypothesis-profile=ci` for many examples, `quick` for few, `fast` unless told.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

from tests.fixtures.jobs import job_bench
from tests.fixtures.services import flink, jars, kafka, kafka_kind, topic

__all__ = ["flink", "jars", "job_bench", "kafka", "topic"]

_slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
_phases = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]

# All lanes draw the same examples each time, so that a failure is the fault of the change that met it.
settings.register_profile(
    "fast", max_examples=100, deadline=None, derandomize=True, phases=_phases, suppress_health_check=_slow
)
settings.register_profile(
    "quick", max_examples=12, deadline=None, derandomize=True, phases=_phases, suppress_health_check=_slow
)
settings.register_profile(
    "ci", max_examples=1500, deadline=None, derandomize=True, phases=_phases, suppress_health_check=_slow
)
# For a hunt: other examples each time, many of them.
settings.register_profile(
    "hunt", max_examples=20_000, deadline=None, phases=_phases, suppress_health_check=_slow, print_blob=True
)
settings.load_profile("fast")


def pytest_report_header() -> str:
    """Say which Kafka the tests use."""
    return f"kafka: {kafka_kind()}"
