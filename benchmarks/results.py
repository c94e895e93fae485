"""What was measured, written into `RESULTS.md`: only ever by a run, together with its command and machine."""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def machine() -> str:
    """The machine in one line: processor, cores, memory, system, Python."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
        memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text("utf-8"))
    except OSError:
        text, memory = "", None
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    processor = model.group(1).strip() if model else platform.machine()
    size = f", {int(memory.group(1)) / 1024 / 1024:.0f} GB" if memory else ""
    return f"{processor}, {os.cpu_count()} cores{size}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def command() -> str:
    """The command line, as it is typed from the project's folder."""
    words = ["python", f"benchmarks/{Path(sys.argv[0]).name}", *(word for word in sys.argv[1:] if word != "--write")]
    return " ".join(words)


def revision() -> str:
    """The commit that was measured, and whether something was changed on top of it."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            cwd=RESULTS.parent,
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def write_section(name: str, text: str, on: str) -> None:
    """Replace what stands between the marks of this name in `RESULTS.md`."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    content = RESULTS.read_text("utf-8")
    if begin not in content or end not in content:
        raise ValueError(f"{RESULTS.name} has no place marked {begin}")
    head, _, rest = content.partition(begin)
    tail = rest.partition(end)[2]
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    block = f"{begin}\n`{command()}` at {revision()}, {day}, on {on}:\n\n{text}\n{end}"
    RESULTS.write_text(head + block + tail, "utf-8")


def options(description: str, quick: str) -> argparse.ArgumentParser:
    """The options that all benchmarks have; `quick` says what `--quick` leaves out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--write", action="store_true", help="put the result into benchmarks/RESULTS.md")
    return parser


def deliver(found: dict[str, Any], text: str, *, write: bool, as_json: bool) -> None:
    """Print what a benchmark found, as one JSON object or as `text`; with `write`, put the text into `RESULTS.md` too."""
    if write:
        write_section(found["benchmark"], text, found["machine"])
    print(msgspec.json.encode(found).decode() if as_json else text)
