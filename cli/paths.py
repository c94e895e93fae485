"""Where things are: the folders of this copy of the project, and what the command keeps in `.segue`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from cli.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".segue"
JARS = STATE / "jars"
LOGS = STATE / "log"
RUN = STATE / "run"
DEMO = STATE / "demo"
OPERATOR = ROOT / "flink_jobs" / "operator"
CATALOG = ROOT / "rules" / "catalog"
MODELS = ROOT / "online_models" / "catalog"


def flink_home() -> Path:
    """The Flink distribution that pip installed with PyFlink; found without importing PyFlink, which is slow."""
    spec = find_spec("pyflink")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("apache-flink is not installed in this Python", "start by `./segue`, which makes its own .venv")
    return Path(spec.submodule_search_locations[0])


def shown(path: Path) -> str:
    """A path as a person reads it: from the folder of the project where it is inside it."""
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is the folder, or lies below it."""
    return path.resolve().is_relative_to(folder)
