"""The report's page as HTML: sections with a table of contents, tables, the style sheet.

Every string that came from a file is escaped here; callers that make HTML themselves escape too.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from boneviz.picture import LETTERS, Plane

__all__ = ["Section", "figure_of", "p_text", "page_of", "small", "table_of", "text_of"]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: `key` is its anchor, `title` a text, `body` HTML."""

    key: str
    title: str
    body: str


def page_of(title: str, head: str, sections: Sequence[Section], *, footer: str) -> str:
    """Return a whole page.

    Parameters
    ----------
    title, footer : texts
    head : HTML above the table of contents
    sections : in their order
    """
    contents = "".join(f'<li><a href="#{s.key}">{html.escape(s.title)}</a></li>' for s in sections)
    body = "".join(
        f'<section id="{s.key}"><h2>{html.escape(s.title)}</h2>{s.body}</section>' for s in sections
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>"
        '<meta name="viewport" content="width=device-width">'
        # nothing but what is in this file may be loaded, whatever its strings say
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head><body><main>"
        f"<h1>{html.escape(title)}</h1>{head}"
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>'
        f"{body}<footer>{html.escape(footer)}</footer></main></body></html>"
    )


def small(text: str) -> str:
    """Return a text as a small paragraph."""
    return f"<p class=small>{html.escape(text)}</p>"


def figure_of(plane: Plane, caption: str, png: bytes) -> str:
    """Return a slice as HTML, with the letters of its sides and a caption.

    Parameters
    ----------
    caption : a text
    png : the picture's file
    """
    data = base64.b64encode(png).decode()
    letters = "".join(
        f"<b class={side}>{letter}</b>" for side, letter in zip("lrtb", LETTERS[plane], strict=True)
    )
    text = html.escape(caption)
    return (
        f'<figure><div>{letters}<img alt="{text}, fused with contours" '
        f'src="data:image/png;base64,{data}"></div><figcaption>{text}</figcaption></figure>'
    )


def text_of(value: object, *, digits: int = 2) -> str:
    """Return a cell's value as HTML: numbers rounded, a dash for what is undefined."""
    if isinstance(value, float):
        return "&ndash;" if math.isnan(value) else f"{value:.{digits}f}"
    return html.escape(str(value))


def p_text(p: float) -> str:
    """Return a p value as a text that never reads 0."""
    return "\N{EN DASH}" if math.isnan(p) else f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def table_of(
    table: pd.DataFrame,
    names: Mapping[str, str],
    *,
    digits: int = 2,
    texts: Collection[str] = (),
) -> str:
    """Return columns of a table as HTML.

    Parameters
    ----------
    names : columns, and what they are called
    digits : of numbers, behind the point
    texts : columns beyond the second that are set to the left, as the first two are
    """
    left = {column: " class=t" if column in texts else "" for column in names}
    head = "".join(
        f"<th scope=col{left[column]}>{html.escape(name)}</th>" for column, name in names.items()
    )
    lines = [
        "<tr>"
        + "".join(
            f"<td{left[column]}>{text_of(row[column], digits=digits)}</td>" for column in names
        )
        + "</tr>"
        for row in table.to_dict("records")
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


_STYLE = """
:root{color-scheme:light;--ink:#17202b;--soft:#4d5967;--line:#d7dde4;--own:#1f6fb4}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:#f4f6f8;margin:0}
main{max-width:1080px;margin:0 auto;padding:32px 28px;background:#fff}
h1{font-size:26px;margin:0 0 4px}h2{font-size:20px;margin:36px 0 8px}
h3{font-size:16px;margin:20px 0 6px}a{color:var(--own)}
nav ol{columns:3;margin:14px 0;padding:10px 10px 10px 34px;background:#f4f6f8;font-size:14px}
.about,.small,footer{color:var(--soft)}.small,footer{font-size:13px}
.caution{border-left:4px solid #e0a800;background:#fff8e1;padding:8px 12px}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:5px 8px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th:first-child,td:first-child,:is(th,td):nth-child(2):not(.matrix *){text-align:left}
:is(th,td).t,.texts :is(th,td){text-align:left}.texts{overflow-wrap:break-word}
.matrix td span{display:block;color:var(--soft);font-size:12px}
.matrix td.own{outline:2px solid var(--own);outline-offset:-2px}.matrix td.empty{background:#f4f6f8}
.matrix th{white-space:nowrap}.matrix .block th{text-align:left;font-weight:600;background:#f4f6f8}
svg{max-width:100%;height:auto;display:block;margin:6px 0}
.curves{display:grid;grid-template-columns:repeat(3,1fr);gap:10px}.curves figure{flex:none}
.pictures{display:flex;gap:10px;margin:0 0 8px}figure{margin:0;flex:1}
.pictures figure{max-width:calc((100% - 20px)/3)}
figure div{position:relative;background:#000;line-height:0}figure img{width:100%}
figure b{position:absolute;color:#fff;font:600 12px/1 system-ui;text-shadow:0 0 3px #000}
.l{left:5px;top:50%}.r{right:5px;top:50%}.t{top:5px;left:50%}.b{bottom:5px;left:50%}
figcaption{font-size:12px;color:var(--soft)}
.reader{white-space:nowrap;background:#17202b;color:#fff;border-radius:4px;padding:2px 8px;
print-color-adjust:exact;-webkit-print-color-adjust:exact}
.reader i{display:inline-block;width:22px;margin-right:6px;vertical-align:middle}
@page{margin:14mm 12mm}
@media print{body{background:#fff;font-size:10pt}main{padding:0;max-width:none}
h2,h3{break-after:avoid}tr,figure,svg,.pictures,.head{break-inside:avoid}
thead{display:table-header-group}table{font-size:8.5pt}th,td{padding:2px 5px}
.matrix{break-inside:avoid}.matrix td span{font-size:7pt}
a{color:inherit;text-decoration:none}#patients{break-before:page}}
"""
