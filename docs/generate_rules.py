"""The reference of the rule language and its JSON Schema, made of `rules.reference`; `docs/generate.py` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from rules import reference
from rules.kinds.journey import STEP_KEYS
from rules.kinds.kind import Key
from rules.reference import Entry
from rules.schema import rule_schema

DOCS = Path(__file__).resolve().parent
TEMPLATE = DOCS / "rules.template.md"


def schema_text() -> str:
    """The JSON Schema as it is written to `docs/schemas/rule.json`."""
    return json.dumps(rule_schema(), indent=2, ensure_ascii=False) + "\n"


def rules_page() -> str:
    """The page: the template with each mark replaced by what is known there."""
    page = TEMPLATE.read_text("utf-8")
    parts = {
        "segment": key_table(reference.SEGMENT),
        "operators": _operators(),
        "index": _index(),
        "conditions": "\n\n".join(map(_condition, reference.CONDITIONS.values())),
        "steps": "\n\n".join(f"**`{name}`**\n\n{key_table(keys)}" for name, keys in STEP_KEYS.items()),
        "parts": "\n\n".join(map(_condition, reference.PARTS.values())),
        "tests": "\n\n".join(
            f"{title}\n\n{key_table(keys)}"
            for title, keys in (
                ("A test:", reference.TEST),
                ("A line of `given`:", reference.GIVEN),
                ("A line of `expect`:", reference.EXPECT),
            )
        ),
    }
    for name, text in parts.items():
        mark = f"<!-- {name} -->"
        if page.count(mark) != 1:
            raise ValueError(f"{TEMPLATE.name} needs {mark} once")
        page = page.replace(mark, text)
    return page


def key_table(keys: Iterable[Key]) -> str:
    """Keys as a table: what may stand under each, and its meaning."""
    lines = ["| key | value | meaning |", "|---|---|---|"]
    for key in keys:
        value = ", ".join(f"`{one}`" for one in key.among) if key.among else reference.SHAPES[key.shape]
        must = " (required)" if key.required else ""
        lines.append(f"| `{key.name}`{must} | {cell(value)} | {cell(key.meaning)} |")
    return "\n".join(lines)


def cell(text: str) -> str:
    """A text as it may stand in a cell of a table."""
    return text.replace("|", "\\|")


def _operators() -> str:
    lines = ["| written | holds if the value is |", "|---|---|"]
    lines += [f"| `{{{example}}}` | {cell(meaning)} |" for meaning, example in reference.OPERATORS.values()]
    return "\n".join(lines)


def _index() -> str:
    lines = ["| condition | true while |", "|---|---|"]
    lines += [f"| [`{one.key}`](#{one.key}) | {cell(one.meaning)} |" for one in reference.CONDITIONS.values()]
    return "\n".join(lines)


def _condition(entry: Entry) -> str:
    """A condition, or a mapping beside the rule: its meaning, an example, its keys."""
    parts = [f"### {entry.key}", entry.meaning, f"```yaml\n{entry.example}\n```"]
    if entry.keys:
        parts.append(key_table(entry.keys))
    if entry.beside:
        parts += ["Beside it:", key_table(entry.beside)]
    if entry.operators:
        where = "Among its keys" if entry.keys else "Beside it"
        names = ", ".join(f"`{name}`" for name in entry.operators)
        parts.append(f"{where} stands at least one comparison with {reference.SHAPES[entry.operand]}: {names}.")
    elif entry.shape in ("where", "values"):
        parts.append("It takes every [comparison](#values).")
    return "\n\n".join(parts)
