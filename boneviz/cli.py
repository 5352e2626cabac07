"""The commands of the shell: from phantoms and training to table, report and explorer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from boneviz.commands import (
    archive,
    cohorts,
    exchange,
    importing,
    learning,
    opening,
    scoring,
    study,
)
from boneviz.commands.parser import Commands
from boneviz.errors import BonevizError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after a line that says what is wrong and what to do."""
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
    except BonevizError as error:
        if options.debug:
            raise
        print(f"boneviz: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if options.debug:
            raise
        where = f": {error.filename}" if error.filename else ""
        print(f"boneviz: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "boneviz: stopped; run the same command again to go on where it stopped",
            file=sys.stderr,
        )
        return 130
    return int(status or 0)


def _parser() -> argparse.ArgumentParser:
    commands = Commands()
    for group in (cohorts, importing, exchange, archive, learning, study, scoring, opening):
        group.add(commands)
    return commands.parser
