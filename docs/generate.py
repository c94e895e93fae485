"""Writes the pages that are made of code: `python docs/generate.py`. Tests keep them in step with it.

`docs/settings.md` comes from flink_jobs/settings.py, `docs/rules.md` and `docs/schemas/rule.json` from rules/reference.py,
`docs/models.md` and `docs/schemas/model.json` from online_models/reference.py, its features and its estimators.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
import typing
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from docs.generate_models import model_schema_text, models_page  # noqa: E402  (the path has to be set first)
from docs.generate_rules import rules_page, schema_text  # noqa: E402  (the path has to be set first)
from flink_jobs import settings  # noqa: E402
from rules.duration import format_duration  # noqa: E402

TARGET = ROOT / "docs" / "settings.md"

INTRODUCTION = """\
# Settings

<!-- Written by docs/generate.py from flink_jobs/settings.py. -->

One YAML file, given to commands with `--settings`; each key can be left out. A variable of the environment goes on top of
its key: `SEGUE_KAFKA__BOOTSTRAP_SERVERS` sets `kafka.bootstrap_servers`, two underscores go one level down. A
name in a mapping is written with underscores for dots: `SEGUE_KAFKA__PROPERTIES__SECURITY_PROTOCOL` sets `security.protocol`. Lists are
written with commas. Unknown keys, wrong types and values out of range are refused, with file, line and column or the
name of the variable.

Durations are words: `250ms`, `5s`, `1h30m`, `7d`.

```yaml
kafka:
  bootstrap_servers: broker-1:9092,broker-2:9092
job:
  name: segments
  parallelism: 4
checkpoints:
  directory: s3://bucket/segue
flink:
  rest: jobmanager:8081
```
"""


def meanings(part: type[Any]) -> dict[str, str]:
    """The text under each field of a settings class."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = str(after.value.value)
    return found


def kind(hint: Any, bounds: tuple[int, int] | None) -> str:
    """What a value may be, in words."""
    if typing.get_origin(hint) is Literal:
        return ", ".join(f"`{one}`" for one in typing.get_args(hint))
    if hint == dict[str, str]:
        return "mapping"
    if hint == list[str]:
        return "list"
    if hint is str:
        return "text"
    words = format_duration if hint is settings.Duration else str
    name = "duration" if hint is settings.Duration else "number"
    return name if bounds is None else f"{name}, {words(bounds[0])} to {words(bounds[1])}"


def default(hint: Any, value: Any) -> str:
    """A default as it would be written."""
    if hint is settings.Duration:
        return f"`{format_duration(value)}`"
    return f"`{value}`" if value not in ("", [], {}) else ""


def tables() -> str:
    """A table for each part of the settings."""
    lines: list[str] = []
    for part, made in typing.get_type_hints(settings.Settings).items():
        hints, texts = typing.get_type_hints(made), meanings(made)
        lines += ["", f"## {part}", "", (made.__doc__ or "").partition("\n")[0], ""]
        lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        for field in dataclasses.fields(made):
            value = getattr(made(), field.name)
            cells = (
                f"`{part}.{field.name}`",
                kind(hints[field.name], settings.RANGES.get((part, field.name))),
                default(hints[field.name], value),
                texts[field.name],
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    return INTRODUCTION + tables()


if __name__ == "__main__":
    for target, text in (
        (TARGET, page()),
        (ROOT / "docs" / "rules.md", rules_page()),
        (ROOT / "docs" / "schemas" / "rule.json", schema_text()),
        (ROOT / "docs" / "models.md", models_page()),
        (ROOT / "docs" / "schemas" / "model.json", model_schema_text()),
    ):
        target.write_text(text, encoding="utf-8")
        print(target.relative_to(ROOT))
