"""The parser that every command adds itself to, and the options that commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from boneviz.version import __version__

__all__ = ["Commands"]

Run = Callable[[argparse.Namespace], int | None]


class Commands:
    """A parser whose commands are added one by one.

    `common`, `one` and `read` are parents of commands: nothing in particular, a cohort, and a
    cohort with the predictions of its models.
    """

    def __init__(self) -> None:
        self.parser = argparse.ArgumentParser(
            prog="boneviz",
            description="Where two experts and their two models disagree about bone infection on "
            "PET/CT. For research and teaching, not for diagnosis.",
        )
        self.parser.add_argument("--version", action="version", version=f"boneviz {__version__}")
        self.common = argparse.ArgumentParser(add_help=False)
        self.common.add_argument(
            "--debug", action="store_true", help="show the traceback of an error"
        )
        self.common.add_argument("--quiet", action="store_true", help="no progress bars")
        self.one = argparse.ArgumentParser(add_help=False, parents=[self.common])
        self.one.add_argument("cohort", type=Path, help="cohort folder, or one patient's folder")
        self.read = argparse.ArgumentParser(add_help=False, parents=[self.one])
        self.read.add_argument(
            "--predictions", type=Path, help="folder of predictions (default: COHORT/predictions)"
        )
        self._added = self.parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        self, name: str, run: Run, text: str, parent: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        """Add a command and return its own parser, to which its options are added."""
        made = self._added.add_parser(name, help=text, description=text, parents=[parent])
        made.set_defaults(run=run, parser=self.parser)
        return made
