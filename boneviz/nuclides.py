"""Half-lives of the nuclides of PET, by the codes that DICOM gives them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Nuclide", "nuclide_of"]


class Nuclide(NamedTuple):
    """A nuclide by name, with its half-life in seconds."""

    name: str
    half_life_s: float


_CARBON_11 = Nuclide("carbon-11", 20.385 * 60)
_NITROGEN_13 = Nuclide("nitrogen-13", 9.965 * 60)
_OXYGEN_15 = Nuclide("oxygen-15", 122.24)
_FLUORINE_18 = Nuclide("fluorine-18", 109.77 * 60)
_COPPER_64 = Nuclide("copper-64", 12.701 * 3600)
_GALLIUM_68 = Nuclide("gallium-68", 67.71 * 60)
_RUBIDIUM_82 = Nuclide("rubidium-82", 1.2575 * 60)
_ZIRCONIUM_89 = Nuclide("zirconium-89", 78.41 * 3600)
_IODINE_124 = Nuclide("iodine-124", 4.176 * 86400)

# values of the National Nuclear Data Center, NuDat (nndc.bnl.gov); those to fluorine-18 also in the
# European Pharmacopoeia, 5.7; codes of PS3.16 CID 4020, in SNOMED CT (SCT) and as before (SRT)
_OF_CODE = {
    "40565003": _CARBON_11,
    "C-105A1": _CARBON_11,
    "21576001": _NITROGEN_13,
    "C-107A1": _NITROGEN_13,
    "129504001": _OXYGEN_15,
    "C-B1038": _OXYGEN_15,
    "77004003": _FLUORINE_18,
    "C-111A1": _FLUORINE_18,
    "3932008": _COPPER_64,
    "C-127A2": _COPPER_64,
    "35337001": _GALLIUM_68,
    "C-131A3": _GALLIUM_68,
    "79197006": _RUBIDIUM_82,
    "C-159A2": _RUBIDIUM_82,
    "63360001": _ZIRCONIUM_89,
    "C-168A4": _ZIRCONIUM_89,
    "40937006": _IODINE_124,
    "C-114A5": _IODINE_124,
}


def nuclide_of(code: str | None) -> Nuclide | None:
    """Return the nuclide of a value of RadionuclideCodeSequence (0054,0300), None if not listed."""
    return _OF_CODE.get(code or "")
