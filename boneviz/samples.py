"""Where the sample cohort lies: beside the package in a checkout, inside it once installed."""

from __future__ import annotations

from pathlib import Path

from boneviz.errors import CohortError

__all__ = ["DEMONSTRATION", "demonstration_models", "samples_folder", "shipped_folder"]

DEMONSTRATION = (
    "The demonstration models learned from synthetic phantoms only: what they draw on a real "
    "patient shows how the tool works, not where disease is. Not for diagnosis."
)


def shipped_folder(name: str) -> Path:
    """Return a folder that comes with boneviz, such as ``data_samples`` or ``notebooks``.

    Raises
    ------
    CohortError
        The installation is incomplete.
    """
    package = Path(__file__).parent
    for parent in (package, package.parent):
        if (parent / name).is_dir():
            return parent / name
    raise CohortError(
        f"{name}/ is not part of this installation in {package}; install boneviz again"
    )


def samples_folder() -> Path:
    """Return the folder of the sample cohort: synthetic patients, for demonstration."""
    return shipped_folder("data_samples") / "cohort"


def demonstration_models() -> tuple[Path, ...]:
    """Return the weights of the sample cohort's models. They learned from phantoms only."""
    return tuple(sorted((samples_folder() / "models").glob("[!.]*.safetensors")))
