"""How large a customer's state is: `python benchmarks/state_size.py [--quick] [--json]`.

The simulated shop's customers after some forty events each, under the ten rules: the bytes of the encoded profile, as they lie in Flink's
state (which adds eight for the armed timer).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from benchmarks.engine import Engine, Profile, encode_profile, load_rules
from benchmarks.latency import percentile
from benchmarks.results import deliver, machine, options
from benchmarks.workload import RULES, Workload, copy_rules

EVENTS_EACH: Final = 40


def sizes(workload: Workload, engine: Engine) -> list[int]:
    """Bytes of each customer's encoded profile at the end, ascending."""
    profiles: dict[bytes, Profile | None] = {}
    for key, value, at, _, _ in workload.records():
        profiles[key], _, _ = engine.arrive(profiles.get(key), key.decode(), value, at)
    return sorted(len(encode_profile(profile)) for profile in profiles.values() if profile is not None)


def table(found: dict[str, Any]) -> str:
    """The report for people."""
    size = found["bytes"]
    return "\n".join(
        [
            "| bytes a customer | |",
            "|---|---:|",
            *[f"| {name} | {size[name]:,} |" for name in ("median", "mean", "p95", "max")],
            "",
            f"{found['customers']:,} customers after {found['events']:,} events, {found['rules']} rules.",
        ]
    )


def main() -> int:
    parser = options("Measure the size of a customer's state.", "fewer customers, under a minute")
    arguments = parser.parse_args()
    customers = 4_000 if arguments.quick else 20_000
    workload = Workload(customers * EVENTS_EACH, customers)
    with tempfile.TemporaryDirectory(prefix="segue-benchmark-") as folder:
        ordered = sizes(workload, Engine(load_rules(copy_rules(Path(folder)))))
    found: dict[str, Any] = {
        "benchmark": "state_size",
        "machine": machine(),
        "events": workload.events,
        "customers": len(ordered),
        "rules": len(RULES),
        "bytes": {
            "median": percentile(ordered, 0.5),
            "mean": round(sum(ordered) / len(ordered)),
            "p95": percentile(ordered, 0.95),
            "max": ordered[-1],
        },
    }
    deliver(found, table(found), write=arguments.write, as_json=arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
