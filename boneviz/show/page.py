"""The frame around the explorer's parts: title, warnings, panels behind tabs. All text is data."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from boneviz.cohort import Cohort

__all__ = ["alert", "close_all", "panels", "prose", "side_by_side", "title", "unheard"]


def panels(parts: dict[str, list[widgets.Widget]]) -> widgets.Tab:
    """Return panels behind tabs, the first in front."""
    children = [widgets.VBox(part) for part in parts.values()]
    tab = widgets.Tab(children, titles=list(parts), selected_index=0)
    tab.add_class("boneviz-panels")
    return tab


def side_by_side(wide: list[widgets.Widget], narrow: list[widgets.Widget]) -> widgets.HBox:
    """Return two columns, which lie one below the other where the page is narrow."""
    columns = [
        widgets.VBox(wide, layout={"flex": "3 1 620px", "min_width": "0"}),
        widgets.VBox(narrow, layout={"flex": "2 1 320px", "min_width": "0"}),
    ]
    return widgets.HBox(columns, layout={"flex_flow": "row wrap", "grid_gap": "16px"})


def close_all(widget: widgets.Widget) -> None:
    """Close a widget and all within it; ipywidgets closes the outer one alone."""
    for part in (
        *getattr(widget, "children", ()),
        getattr(widget, "layout", None),
        getattr(widget, "style", None),
    ):
        if isinstance(part, widgets.Widget):
            close_all(part)
    widget.unobserve_all()
    widget.close()


@contextmanager
def unheard(
    widget: widgets.Widget, observer: Callable[[dict[str, Any]], None], trait: str
) -> Iterator[None]:
    """Change a trait of a widget without its observer's hearing of it."""
    widget.unobserve(observer, names=trait)
    try:
        yield
    finally:
        widget.observe(observer, names=trait)


def title(cohort: Cohort, case_id: str) -> str:
    """Return the cohort's name, how many patients it has, and which one is shown."""
    n = len(cohort.patients)
    kind = ("synthetic " if cohort.synthetic else "") + ("patient" if n == 1 else "patients")
    return (
        f'<div style="font-size:18px;font-weight:600;line-height:1.4">{html.escape(cohort.name)}'
        f'<span style="font-size:13px;font-weight:400;opacity:.75"> &ensp;{n} '
        f"{kind} &ensp;·&ensp; shown: {html.escape(case_id)} &ensp;·&ensp; "
        "research and teaching only, not for diagnosis</span></div>"
        '<div style="font-size:12px;line-height:1.4;opacity:.75">'
        f"{html.escape(cohort.provenance)}</div>"
    )


def alert(text: str) -> str:
    """Return a warning that is read out and cannot be overlooked."""
    return (
        '<div role="alert" style="background:#fff3cd;color:#5c4400;border-left:4px solid #e0a800;'
        f'padding:8px 12px;margin:4px 0;line-height:1.4">{html.escape(text)}</div>'
    )


def prose(text: str, *, hint: str = "") -> str:
    """Return a paragraph below a table or a figure, with a hint on what a click does."""
    more = f" <i>{html.escape(hint)}</i>" if hint else ""
    return f'<div style="line-height:1.35">{html.escape(text)}{more}</div>'
