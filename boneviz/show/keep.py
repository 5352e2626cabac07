"""A row of buttons to keep what is seen: tables, report, and a link that opens the view again.

Files are made here when they are asked for, go to the page that asked, and are saved there by the
browser; nothing leaves the machine. The slice viewer makes a picture of itself, in the page.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import pandas as pd
import traitlets

from boneviz.errors import BonevizError, InputError
from boneviz.scoretable import csv_of

__all__ = ["TABLES", "KeepBar", "KeptFile", "files_of"]

FRONT = Path(__file__).parent
#: the explorer's tables, and what is in each
TABLES = {
    "patients": "Every patient with the metric chosen",
    "regions": "The regions listed of this patient and pair, all columns",
    "pair": "The patients of the pair with the metric chosen",
    "matrix": "Every cell of the matrix with all its numbers, for the metric chosen",
    "operating": "The models of this patient at the thresholds set, against each expert",
    "starred": "The starred regions of all patients and pairs",
}


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that a button makes.

    Parameters
    ----------
    label : on the button
    hint : what is in it
    name : under which the browser saves it; nothing of a patient
    make : returns its content
    """

    label: str
    hint: str
    name: str
    make: Callable[[], bytes]


class KeepBar(anywidget.AnyWidget):
    """The buttons, and a field with the link to copy from and paste into.

    Parameters
    ----------
    files : by a key of their own, in order
    link : returns the link to the present view
    on_open : called with a link that was pasted; what it raises as a `BonevizError` is shown
    """

    _esm = (FRONT / "keep.js").read_text(encoding="utf-8")
    _css = (FRONT / "keep.css").read_text(encoding="utf-8")
    buttons = traitlets.List(traitlets.Dict()).tag(sync=True)

    _turn = threading.RLock()

    def __init__(
        self,
        files: Mapping[str, KeptFile],
        *,
        link: Callable[[], str],
        on_open: Callable[[str], None],
    ) -> None:
        self._files, self._link, self._on_open = dict(files), link, on_open
        super().__init__(
            buttons=[
                {"key": key, "label": file.label, "hint": file.hint} for key, file in files.items()
            ]
        )
        self.on_msg(self._answer)

    def _answer(self, _: object, content: dict[str, Any], __: object) -> None:
        """Answer the page that asked, which is named by `asker`, and no other."""
        answer = {"asker": content.get("asker"), "kind": content.get("kind")}
        buffers: list[bytes] = []
        try:
            with self._turn:
                if content.get("kind") == "file":
                    file = self._file(content.get("key"))
                    buffers.append(file.make())
                    answer["name"] = file.name
                elif content.get("kind") == "link":
                    answer["text"] = self._link()
                elif content.get("kind") == "open":
                    self._on_open(str(content.get("text")))
        except BonevizError as error:
            self.send({**answer, "failed": str(error)})
        except Exception as error:
            # the page waits for an answer before anything else can be asked for
            self.send({**answer, "failed": f"{type(error).__name__}: {error}"})
            raise
        else:
            self.send(answer, buffers=buffers)

    def _file(self, key: object) -> KeptFile:
        if key not in self._files:
            raise InputError(f"no file {key!r}; there is {', '.join(self._files)}")
        return self._files[str(key)]


def files_of(
    table: Callable[[str], pd.DataFrame], report: Callable[[], str]
) -> dict[str, KeptFile]:
    """Return the files of an explorer.

    Parameters
    ----------
    table : returns one of `TABLES` as it is now
    report : returns the report as HTML
    """

    def of_table(key: str) -> Callable[[], bytes]:
        return lambda: csv_of(table(key))

    files = {
        key: KeptFile(f"{key.capitalize()} CSV", f"{hint} (CSV)", f"{key}.csv", of_table(key))
        for key, hint in TABLES.items()
    }
    hint = "One HTML page on the whole cohort, with the starred regions; takes a while"
    report_file = KeptFile("Report", hint, "report.html", lambda: report().encode())
    return {**files, "report": report_file}
