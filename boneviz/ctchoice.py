"""Which CT of a PET's frame of reference is taken: the one that is evidently its own, or none."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from boneviz.errors import InputError
from boneviz.importplan import Row
from boneviz.volume import Grid

__all__ = ["COVERS", "covered", "fitting_ct", "listed", "voxel"]

COVERS = 0.9  # of the PET's length: the ends of both scans seldom coincide
# below it, more of the PET lies beside the CT than in it: of another region, or cut off
LEAST = 0.5
WIDER = 1.1  # a body's CT has 500 or 700 mm and a zoomed one 400 or less; rounding is below 1 %
ALIKE = 0.01


def fitting_ct(
    cts: Sequence[Row], pet: Row, *, unread: Sequence[Row] = (), take: Collection[int] = ()
) -> tuple[Row, str]:
    """Return the CT that covers the PET and has the finest voxels, and what it was chosen for.

    Parameters
    ----------
    cts : those in the PET's frame of reference, with grids; at least one
    unread : scans in that frame whose slices make no volume
    take : numbers the user chose; a lone CT among them is taken as it is

    Raises
    ------
    InputError
        Several fit, none does, or one that cannot be read may fit better.
    """
    shares = {ct.number: covered(ct.grid, pet.grid) for ct in cts}
    whole = [ct for ct in cts if shares[ct.number] >= COVERS]
    if len(cts) == 1 and (cts[0].number in take or not whole):
        (ct,) = cts
        if ct.number not in take:
            _require_share(ct, shares[ct.number])
            _require_best(ct, unread)
        return (
            ct,
            "covers the PET" if whole else f"covers {shares[ct.number]:.0%} of the PET's length",
        )
    if not whole:
        said = ", ".join(f"series {ct.number} {shares[ct.number]:.0%}" for ct in cts)
        raise InputError(
            f"no CT covers the PET ({said} of its length, expected {COVERS:.0%}); choose one "
            "(--series NUMBER)"
        )
    _require_one_width(whole)
    finest = min(whole, key=voxel)
    alike = [ct for ct in whole if np.allclose(voxel(ct), voxel(finest), rtol=ALIKE, atol=0.0)]
    if len(alike) > 1:
        raise InputError(
            f"{len(alike)} CT series fit alike, {listed(alike)}; choose one (--series NUMBER)"
        )
    # of fewer slices it would be shorter or coarser
    enough = COVERS * finest.series.n_slices
    _require_best(finest, [row for row in unread if row.series.n_slices >= enough])
    return finest, "covers the PET" + (", finest slices" if len(whole) > 1 else "")


def covered(ct: Grid | None, pet: Grid | None) -> float:
    """Return which part of the PET's length along the CT's slices the CT covers, 0 to 1."""
    assert ct is not None and pet is not None
    along = ct.affine_ras_mm[:3, 2] / ct.spacing_mm[2]
    spans = []
    for grid in (ct, pet):
        places = grid.corners_mm() @ along
        # voxels end half a step beyond their centres
        half = float(np.abs(along @ grid.affine_ras_mm[:3, :3]).sum()) / 2
        spans.append((places.min() - half, places.max() + half))
    (low, high), (first, last) = spans
    return float(max(0.0, min(high, last) - max(low, first)) / (last - first))


def voxel(row: Row) -> tuple[float, float]:
    """Return the distance of slices, then that of pixels, mm."""
    assert row.grid is not None
    x, y, z = row.grid.spacing_mm
    return z, max(x, y)


def listed(rows: Sequence[Row]) -> str:
    """Return the numbers of series in words."""
    return "series " + " and ".join(str(row.number) for row in rows)


def _require_share(ct: Row, share: float) -> None:
    if share < LEAST * (1 - ALIKE):
        raise InputError(
            f"series {ct.number}, the only CT in the frame of reference of the PET, covers "
            f"{share:.0%} of its length, expected {LEAST:.0%} or more; give the CT of the whole "
            f"PET, or take this one (--series {ct.number})"
        )


def _require_best(ct: Row, unread: Sequence[Row]) -> None:
    if unread:
        other = unread[0]
        raise InputError(
            f"series {other.number}, a CT in the frame of reference of the PET, cannot be read "
            f"({other.why}) and may fit better than series {ct.number}; give it again from its "
            f"source, or take what there is (--series {ct.number})"
        )


def _require_one_width(cts: Sequence[Row]) -> None:
    """Refuse to rank a zoomed CT beside one of the body: finer pixels then show less of it."""
    sizes = [_width_mm(ct) for ct in cts]
    if any(max(side) > WIDER * min(side) for side in zip(*sizes, strict=True)):
        said = ", ".join(
            f"series {ct.number} {a:.0f} x {b:.0f} mm"
            for ct, (b, a) in zip(cts, sizes, strict=True)
        )
        raise InputError(
            f"{len(cts)} CT series cover the PET and show more or less beside it ({said} in the "
            "plane of their slices); choose one (--series NUMBER)"
        )


def _width_mm(row: Row) -> list[float]:
    """Return both sides of a slice, the shorter first."""
    assert row.grid is not None
    return sorted(n * mm for n, mm in zip(row.grid.shape[:2], row.grid.spacing_mm[:2], strict=True))
