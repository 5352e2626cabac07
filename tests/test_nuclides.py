from __future__ import annotations

import pytest
from pydicom.sr._snomed_dict import mapping
from pydicom.sr.codedict import codes

from boneviz.nuclides import nuclide_of

# minutes, hours and days as everybody knows them
KNOWN = (
    ("_11Carbon", "carbon-11", 20.4 * 60),
    ("_13Nitrogen", "nitrogen-13", 10.0 * 60),
    ("_15Oxygen", "oxygen-15", 122.0),
    ("_18Fluorine", "fluorine-18", 109.8 * 60),
    ("_64Copper", "copper-64", 12.7 * 3600),
    ("_68Gallium", "gallium-68", 67.7 * 60),
    ("_82Rubidium", "rubidium-82", 75.5),
    ("_89Zirconium", "zirconium-89", 3.27 * 86400),
    ("_124Iodine", "iodine-124", 4.18 * 86400),
)


@pytest.mark.parametrize(("keyword", "name", "half_life_s"), KNOWN, ids=[k[1] for k in KNOWN])
def test_dicoms_codes_of_a_nuclide_give_its_half_life(
    keyword: str, name: str, half_life_s: float
) -> None:
    code = getattr(codes.cid4020, keyword)
    before = [srt for srt, sct in mapping["SRT"].items() if sct == code.value]
    assert before, "has a code of SNOMED RT too"
    for value in (code.value, *before):
        nuclide = nuclide_of(value)
        assert nuclide is not None
        assert nuclide.name == name
        assert nuclide.half_life_s == pytest.approx(half_life_s, rel=0.004)


def test_an_unknown_code_has_no_half_life() -> None:
    assert nuclide_of("C-155A1") is None  # sodium-22
    assert nuclide_of("") is None
    assert nuclide_of(None) is None
