"""A trial of rules as one page of HTML: nothing is fetched from elsewhere, nothing runs, light and dark as the reader has it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, Final

from cli.trial_view import evidence_lines, grouped, heading, notes

_BARS: Final = 120
_HEIGHT: Final = 120
_LABELS: Final = 20

_STYLE: Final = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --dim: #57606a; --line: #d0d7de; --soft: #f6f8fa;
        --in: #1a7f37; --out: #bc4c00; --mark: #0550ae; }
@media (prefers-color-scheme: dark) {
  :root { --back: #0d1117; --text: #e6edf3; --dim: #9198a1; --line: #3d444d; --soft: #161b22;
          --in: #3fb950; --out: #f0883e; --mark: #79c0ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 70rem; background: var(--back); color: var(--text);
       font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p { margin: .3rem 0; } .dim { color: var(--dim); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th.n, td.n { text-align: right; } thead th { color: var(--dim); font-weight: 600; }
a { color: var(--mark); }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
.in { fill: var(--in); } .out { fill: var(--out); } .axis { stroke: var(--line); }
.key::before { content: ""; display: inline-block; width: .7rem; height: .7rem; margin-right: .35rem; border-radius: 2px; }
.key.i::before { background: var(--in); } .key.o::before { background: var(--out); } .key { margin-right: 1rem; }
.warning { border-left: 4px solid var(--out); background: var(--soft); padding: .5rem .75rem; margin: .5rem 0; }
details { margin: .5rem 0; } summary { cursor: pointer; }
ul { margin: .2rem 0; padding-left: 1.2rem; } code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
"""


def page(told: dict[str, Any]) -> str:
    """The report of `cli.trial.report` as a page of its own."""
    by_name = {one["segment"]: one for one in told["segments"]}
    detailed = [by_name[name] for name in told["focus"]] or told["segments"]
    body = [
        f"<h1>Trial of {len(told['segments'])} segment{'s' if len(told['segments']) != 1 else ''}</h1>",
        f'<p class="dim">{escape(heading(told))}</p>',
        *(f'<p class="warning">{escape(warning)}</p>' for warning in told["warnings"]),
        *_table(told, {one["segment"] for one in detailed}),
        *(line for one in detailed for line in _details(one, told)),
        *_refused(told),
        f'<p class="dim">{escape(notes(told))}</p>',
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Trial of segments</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _table(told: dict[str, Any], detailed: set[str]) -> Iterator[str]:
    compared = bool(told["compared_with"])
    yield '<div class="wide"><table>'
    yield '<thead><tr><th scope="col">segment</th><th scope="col">name</th>'
    columns = ("members", "share", "entered", "exited", *(("would enter", "would leave") if compared else ()))
    yield "".join(f'<th scope="col" class="n">{one}</th>' for one in columns) + "</tr></thead><tbody>"
    for one in told["segments"]:
        name = escape(one["segment"])
        link = f'<a href="#{name}">{name}</a>' if one["segment"] in detailed else name
        cells = [f"{one['members']:,}", f"{one['share']:.1%}", f"{one['entered']:,}", f"{one['exited']:,}"]
        if compared:
            cells += [f"{one['difference']['entering']:,}", f"{one['difference']['leaving']:,}"]
        numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
        yield f'<tr><th scope="row">{link}</th><td>{escape(one["name"])}</td>{numbers}</tr>'
    yield "</tbody></table></div>"


def _details(one: dict[str, Any], told: dict[str, Any]) -> Iterator[str]:
    name = escape(one["segment"])
    new = " (new)" if one["new"] else ""
    yield f'<section aria-labelledby="{name}"><h2 id="{name}">{name}{new}</h2><p>{escape(one["name"])}</p>'
    yield f"<p>{one['members']:,} members, {one['share']:.1%} of all customers.</p>"
    yield from _chart(one)
    if one["overlap"]:
        yield '<h3>Members who are also in</h3><div class="wide"><table><thead><tr><th scope="col">segment</th>'
        yield '<th scope="col" class="n">both</th><th scope="col" class="n">of these members</th></tr></thead><tbody>'
        for other in one["overlap"]:
            yield (
                f'<tr><th scope="row">{escape(other["segment"])}</th><td class="n">{other["both"]:,}</td>'
                f'<td class="n">{other["share"]:.1%}</td></tr>'
            )
        yield "</tbody></table></div>"
    yield from _examples("Examples", one["examples"])
    difference = one["difference"]
    if difference:
        yield f"<h3>Against {escape(told['compared_with'])}</h3>"
        yield f"<p>{difference['entering']:,} customers would enter, {difference['leaving']:,} would leave.</p>"
        yield from _examples("Would enter", difference["entering_examples"])
        yield from _examples("Would leave", difference["leaving_examples"])
    yield "</section>"


def _chart(one: dict[str, Any]) -> Iterator[str]:
    """Entered upwards, exited downwards, by day; the figures stand below as a table."""
    days = one["days"]
    entered, each = grouped([at["entered"] for at in days], _BARS)
    exited, _ = grouped([at["exited"] for at in days], _BARS)
    most = max([*entered, *exited], default=0)
    if not most:
        yield "<p>Nobody entered or exited.</p>"
        return
    width, middle = 960, _HEIGHT + _LABELS
    step = width / len(entered)
    bar = max(1.0, min(step * 0.8, 40))
    unit = "day" if each == 1 else f"{each} days"
    text = f"{one['entered']:,} entered and {one['exited']:,} exited from {days[0]['day']} to {days[-1]['day']}; at most {most:,} in {unit}"
    yield '<p><span class="key i">entered</span><span class="key o">exited</span></p>'
    yield f'<svg viewBox="0 0 {width} {2 * middle}" role="img" aria-label="{escape(text)}"><title>{escape(text)}</title>'
    for at, (up, down) in enumerate(zip(entered, exited, strict=True)):
        left = at * step + (step - bar) / 2
        for kind, value, top in (("in", up, middle - up * _HEIGHT / most), ("out", down, float(middle))):
            if value:
                height = max(value * _HEIGHT / most, 1)
                yield f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{bar:.1f}" height="{height:.1f}"/>'
    yield f'<line class="axis" x1="0" y1="{middle}" x2="{width}" y2="{middle}"/>'
    yield f'<text x="0" y="12">highest: {most:,} in {unit}</text>'
    yield f'<text x="0" y="{2 * middle - 4}">{days[0]["day"]}</text>'
    yield f'<text x="{width}" y="{2 * middle - 4}" text-anchor="end">{days[-1]["day"]}</text></svg>'
    yield '<details><summary>Day by day</summary><div class="wide"><table><thead><tr><th scope="col">day</th>'
    yield '<th scope="col" class="n">entered</th><th scope="col" class="n">exited</th></tr></thead><tbody>'
    for at in days:
        if at["entered"] or at["exited"]:
            yield f'<tr><th scope="row">{at["day"]}</th><td class="n">{at["entered"]:,}</td><td class="n">{at["exited"]:,}</td></tr>'
    yield "</tbody></table></div></details>"


def _examples(title: str, examples: list[dict[str, Any]]) -> Iterator[str]:
    if not examples:
        return
    yield f"<details{' open' if title == 'Examples' else ''}><summary>{title} ({len(examples)})</summary>"
    yield '<div class="wide"><table><thead><tr><th scope="col">customer</th><th scope="col">in since</th>'
    yield '<th scope="col">why</th></tr></thead><tbody>'
    for one in examples:
        since = escape(one["since"].replace("T", " ")) if one["since"] else "–"
        why = "".join(f"<li>{escape(line)}</li>" for line in evidence_lines(one))
        yield f'<tr><th scope="row"><code>{escape(one["customer"])}</code></th><td>{since}</td><td><ul>{why}</ul></td></tr>'
    yield "</tbody></table></div></details>"


def _refused(told: dict[str, Any]) -> Iterator[str]:
    refused = told["history"]["refused"]
    if refused:
        yield "<h2>Records that were refused</h2><ul>"
        yield from (f"<li>{count:,}: {escape(reason)}</li>" for reason, count in refused.items())
        yield "</ul>"
