"""A table whose rows stand for something: a click says for what, Python marks a row in silence."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import pandas as pd
from itables.javascript import JavascriptFunction
from itables.widget import ITable

from boneviz.palette import ReaderStyle

__all__ = ["TABLE_STYLE", "RowTable", "cell_swatches", "cell_text", "reachable"]

Key = TypeVar("Key", bound=Hashable)

#: of a table; white on the blue of the chosen row has a contrast of 6.4, as is and at nine tenths
#: over white 5.2
TABLE_STYLE = "width:100%;font-size:12px;--dt-row-selected:11,87,208"

# Rows are one stop of the tab key; arrows move among them and Enter chooses, as a click does.
# The row that Python marks may lie beyond the edge of the table; the page itself stays where it is.
_REACH = """function () {
  const api = this.api(), table = api.table().node(), label = %s;
  table.setAttribute('role', 'grid');
  table.setAttribute('aria-label', label);
  // the headings, and what columns are measured with, are tables of their own
  for (const other of api.table().container().querySelectorAll('table')) {
    if (other === table) continue;
    other.setAttribute('role', 'presentation');
    other.removeAttribute('aria-label');
  }
  const rows = () => [...table.tBodies[0].rows].filter((row) => api.row(row).any());
  const reach = (chosen) => {
    for (const row of rows()) {
      row.tabIndex = row === chosen ? 0 : -1;
      row.style.outlineOffset = '-2px';
    }
  };
  reach(rows().find((row) => row.classList.contains('selected')) ?? rows()[0]);
  api.off('select.boneviz').on('select.boneviz', (event, dt, type, places) => {
    const row = api.row(places[0]).node();
    const body = row && row.closest('.dt-scroll-body');
    if (!body) return;
    reach(row);
    const r = row.getBoundingClientRect(), b = body.getBoundingClientRect();
    if (r.top < b.top) body.scrollTop -= b.top - r.top;
    if (r.bottom > b.bottom) body.scrollTop += r.bottom - b.bottom;
  });
  api.off('keydown.boneviz').on('keydown.boneviz', (event) => {
    const all = rows(), at = all.indexOf(event.target.closest('tr'));
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    event.stopPropagation();  // or the notebook takes letters for commands of its own
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined && event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    if (to === undefined) {
      api.row(all[at]).select();
    } else if (all[to]) {
      reach(all[to]);
      all[to].focus();
    }
  });
}"""


def reachable(label: str) -> JavascriptFunction:
    """Return DataTables' ``drawCallback`` that opens a table to keys and to screen readers.

    Parameters
    ----------
    label : what the table is called
    """
    return JavascriptFunction(_REACH % json.dumps(label))


class RowTable(Generic[Key]):
    """A table in the order that Python gives first, one row of which is marked.

    Parameters
    ----------
    on_select : called with the key of a row that was clicked in the page, or chosen by Enter
    label : what it is called
    name : class of the element in the page
    height : of the rows, after which they scroll; CSS
    empty : what is said where there are no rows
    ordering : whether a click on a heading sorts; not where something steps from row to row
    """

    def __init__(
        self,
        *,
        on_select: Callable[[Key], None],
        label: str,
        name: str,
        height: str,
        empty: str,
        ordering: bool,
    ) -> None:
        self._keys: tuple[Key, ...] = ()
        self._on_select = on_select
        self._silent = False
        self._reach = reachable(label)
        look: dict[str, Any] = {"select": {"style": "single", "toggleable": False}}
        self.widget = ITable(
            pd.DataFrame({"": []}),
            **look,
            ordering=ordering,
            text_in_header_can_be_selected=False,
            paging=False,
            scrollY=height,
            scrollX=True,
            scrollCollapse=True,
            layout={"topStart": None, "topEnd": None, "bottomStart": None, "bottomEnd": None},
            language={"emptyTable": empty, "zeroRecords": empty},
            showIndex=False,
            classes=f"display compact nowrap {name}",
            style=TABLE_STYLE,
            drawCallback=self._reach,
            # all rows are shown; the default cuts tables off at 64 KB
            maxBytes=0,
        )
        self.widget.observe(self._clicked, names="selected_rows")

    def show(
        self, table: pd.DataFrame, keys: Sequence[Key], *, cells: Sequence[dict[str, Any]]
    ) -> None:
        """Put other rows in place, none of them marked; the same rows again cost nothing.

        Parameters
        ----------
        table : one row per key
        keys : what each row stands for
        cells : DataTables' ``columnDefs``
        """
        self._keys = tuple(keys)
        self._mark([])
        # what is not handed over each time goes back to itables' own: functions become text
        self.widget.update(
            table,
            columnDefs=list(cells),
            drawCallback=self._reach,
            text_in_header_can_be_selected=False,
            selected_rows=[],
        )

    def mark(self, key: Key | None) -> None:
        """Mark the row of a key and no other; none where there is no such row."""
        self._mark([self._keys.index(key)] if key in self._keys else [])

    def _mark(self, rows: list[int]) -> None:
        self._silent = True
        try:
            self.widget.selected_rows = rows
        finally:
            self._silent = False

    def _clicked(self, change: dict[str, Any]) -> None:
        # a late click may be on a row of the table before
        if change["new"] and not self._silent and change["new"][0] < len(self._keys):
            self._on_select(self._keys[change["new"][0]])


def cell_text(decimals: int, *, undefined: str = "\u2013") -> JavascriptFunction:
    """Return the page's function that rounds a cell, and says what NaN means here.

    Parameters
    ----------
    decimals : behind the point
    undefined : fixed text, nothing that came from a file
    """
    return JavascriptFunction(
        "function (td, cell) {"
        "  const value = parseFloat(cell);"
        f"  td.textContent = isFinite(value) ? value.toFixed({decimals}) : {undefined!r};"
        "}"
    )


def cell_swatches(styles: Sequence[Sequence[ReaderStyle]]) -> JavascriptFunction:
    """Return the page's function that puts readers' colours before the text of a cell.

    Parameters
    ----------
    styles : by row; experts are filled, models hollow, as they are solid and dashed in the slices
    """
    # colours of the palette and fixed text alone go into the function
    drawn = [[[style.colour, int(style.dashed)] for style in row] for row in styles]
    return JavascriptFunction(
        "function (td, cell, row, n) {"
        f"  for (const [colour, hollow] of {drawn!r}[n].reverse()) {{"
        "    const mark = document.createElement('span');"
        "    mark.style.cssText = 'display:inline-block;width:9px;height:9px;margin-right:5px;'"
        "      + 'box-sizing:border-box;border:2px solid ' + colour"
        "      + ';background:' + (hollow ? 'transparent' : colour);"
        "    td.prepend(mark);"
        "  }"
        "}"
    )
