"""An explanation for people at a terminal: in or out, why, what would change it and what happens next."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from cli.changes import plain
from rules.explain import threshold_words, value_words

_JOINS: Final = {"all": "all of", "any": "any of", "not": "not"}


def render(explanation: dict[str, Any]) -> RenderableType:
    """What `rules.explain.explain` says, as text with colours; each condition has a mark of its own, so that colours are not needed."""
    parts: list[RenderableType] = [_head(explanation)]
    if explanation["unknown_segment"] is not None:
        parts.append(Text(f"\nthe rules have no segment {plain(explanation['unknown_segment'])!r}", "yellow"))
    segments = sorted(explanation["segments"], key=lambda one: (not one["in"], one["segment"]))
    for one in segments:
        parts += _segment(one)
    return Group(*parts)


def _head(told: dict[str, Any]) -> Text:
    head = Text.assemble((plain(told["customer"], 100), "bold cyan"), (f"  at {when(told['clock'])}", "dim"))
    if not told["known"]:
        head.append("  nothing is known of this customer", "yellow")
    elif told["latest_event"]:
        head.append(f"  first seen {when(told['first_seen'])}, last event {when(told['latest_event'])}", "dim")
    return head.append(f"  rules version {told['rules']}", "dim")


def _segment(one: dict[str, Any]) -> list[RenderableType]:
    mark, colour = ("in ", "bold green") if one["in"] else ("out", "bold")
    title = Text.assemble("\n", (mark, colour), "  ", (plain(one["segment"]), "bold"))
    if one["since"]:
        title.append(f"  since {when(one['since'])}", "green")
    if one["version"]:
        title.append(f"  version {one['version']}", "dim")
    lines: list[RenderableType] = [title]
    if one["condition"] is not None:
        lines.append(_tree(one["condition"]))
    lines += [Text(f"     {plain(reason['text'], 300)}", "yellow") for reason in one["reasons"]]
    if one["to_change"]:
        verb = "leaves by" if one["in"] else "enters by"
        lines.append(Text(f"     {verb}: {plain(one['to_change'], 2000)}"))
    lines.append(Text(f"     {_next(one)}", "dim"))
    return lines


def _next(one: dict[str, Any]) -> str:
    following = one["next"]
    if following is not None:
        how = ", as nothing was heard for so long" if following["cause"] == "expiry" else ""
        return f"if nothing happens: {following['kind']} at {when(following['at'])}{how}"
    until = f" until {when(one['looked_until'])} at least" if one["looked_until"] else ""
    return f"if nothing happens: stays {'in' if one['in'] else 'out'}{until}"


def _tree(node: dict[str, Any]) -> RenderableType:
    tree = Tree(_line(node), guide_style="dim")
    _branches(tree, node)
    return Padding(tree, (0, 0, 0, 5))


def _branches(tree: Tree, node: dict[str, Any]) -> None:
    for part in node["parts"]:
        _branches(tree.add(_line(part)), part)
    if node.get("model"):
        for line in _of_model(node["model"]):
            tree.add(line)


def _of_model(said: dict[str, Any]) -> list[Text]:
    """What a model makes of the customer, and how a score comes of it where groups have thresholds of their own."""
    name = f"{plain(said['model'])} {said['version']} ({plain(said['candidate'])})"
    moved = ", ".join(f"{plain(one['feature'])} {one['contribution']:+.3f}" for one in said["features"])
    lines = [Text(f"model {name}, scored {when(said['scored_at'])}; moved by {moved or 'nothing'}", "dim")]
    fair = said.get("fairness")
    if fair:
        text = (
            f"the model says {value_words(fair['model_says'])}, rules see {value_words(fair['score'])}: by {plain(fair['trait'])} this "
            f"customer is selected from {value_words(fair['own_threshold'])}, not from {value_words(fair['threshold'])}"
        )
        lines.append(Text(text, "dim"))
    return lines


def _line(node: dict[str, Any]) -> Text:
    mark, colour = ("✓ ", "green") if node["holds"] else ("✗ ", "red")
    line = Text.assemble((mark, colour))
    if node["points"] is not None:
        line.append(f"{value_words(float(node['points']))} points for ", "dim")
    if node["parts"] and node["kind"] != "points":
        held = sum(part["holds"] for part in node["parts"])
        words = f"at least {node['least']} of" if node["kind"] == "at_least" else _JOINS.get(node["kind"], node["kind"])
        line.append(words)
        if len(node["parts"]) > 1:
            line.append(f"  ({held} of {len(node['parts'])} hold)", "dim")
        return line
    line.append(f"{plain(node['condition'], 300)}: ")
    line.append(plain(value_words(node["actual"]), 300), "bold")
    line.append(f"  asked for: {plain(threshold_words(node['threshold']), 300)}", "dim")
    if node["last"]:
        line.append(f", last {when(node['last'])}", "dim")
    if node["stays_until"]:
        line.append(f", so until {when(node['stays_until'])}", "dim")
    if node.get("merged_by"):  # a job of an older build does not say so
        line.append(f", merged in panes of {node['merged_by']}", "yellow")
    return line


def when(moment: str | None) -> str:
    """A moment as people read it, in UTC; milliseconds only where there are some.

    >>> when("2026-01-01T09:30:00.000Z"), when("2026-01-01T09:30:00.001Z"), when(None)
    ('2026-01-01 09:30:00 UTC', '2026-01-01 09:30:00.001 UTC', 'never')
    """
    if moment is None:
        return "never"
    return f"{moment.replace('T', ' ').removesuffix('Z').removesuffix('.000')} UTC"
