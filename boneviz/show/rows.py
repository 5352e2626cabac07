"""A table whose rows stand for something: a click says for what, Python marks a row in silence."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import pandas as pd
from itables.javascript import JavascriptFunction
from itables.widget import ITable

from boneviz.palette import ReaderStyle

__all__ = ["RowTable", "cell_swatches", "cell_text"]

Key = TypeVar("Key", bound=Hashable)

# the row that Python marks may lie beyond the edge of the table; the page itself stays where it is
KEEP_IN_VIEW = JavascriptFunction(
    "function () {"
    "  const api = this.api();"
    "  api.off('select.boneviz').on('select.boneviz', (event, table, type, rows) => {"
    "    const row = api.row(rows[0]).node();"
    "    const body = row && row.closest('.dt-scroll-body');"
    "    if (!body) return;"
    "    const r = row.getBoundingClientRect(), b = body.getBoundingClientRect();"
    "    if (r.top < b.top) body.scrollTop -= b.top - r.top;"
    "    if (r.bottom > b.bottom) body.scrollTop += r.bottom - b.bottom;"
    "  });"
    "}"
)


class RowTable(Generic[Key]):
    """A table in the order that Python gives, one row of which is marked.

    Parameters
    ----------
    on_select : called with the key of a row that was clicked in the page
    name : class of the element in the page
    height : of the rows, after which they scroll; CSS
    empty : what is said where there are no rows
    """

    def __init__(
        self, *, on_select: Callable[[Key], None], name: str, height: str, empty: str
    ) -> None:
        self._keys: tuple[Key, ...] = ()
        self._on_select = on_select
        self._silent = False
        look: dict[str, Any] = {"select": {"style": "single", "toggleable": False}}
        self.widget = ITable(
            pd.DataFrame({"": []}),
            **look,
            ordering=False,
            paging=False,
            scrollY=height,
            scrollX=True,
            scrollCollapse=True,
            layout={"topStart": None, "topEnd": None, "bottomStart": None, "bottomEnd": None},
            language={"emptyTable": empty, "zeroRecords": empty},
            showIndex=False,
            classes=f"display compact nowrap {name}",
            style="width:100%;font-size:12px",
            drawCallback=KEEP_IN_VIEW,
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
        # functions are handed over each time, or the page takes them for text
        self.widget.update(
            table, columnDefs=list(cells), drawCallback=KEEP_IN_VIEW, selected_rows=[]
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
