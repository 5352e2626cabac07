"""Where results are kept, and on what machine they were measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import boneviz


def machine(packages: Sequence[str]) -> str:
    """Return processor, Python and the versions of packages, in one line."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    versions = [f"{name} {version(name)}" for name in packages]
    return (
        f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"boneviz {boneviz.__version__}, {', '.join(versions)}"
    )


def write_results(section: str, text: str) -> None:
    """Put a text between the marks of its section in RESULTS.md."""
    path = Path(__file__).with_name("RESULTS.md")
    begin, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    before, _, rest = path.read_text().partition(begin)
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")
