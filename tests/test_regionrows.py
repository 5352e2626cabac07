"""Regions from rows again, and rows that are none."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from cases import EXPERT_A, EXPERT_B, case_of, mask_of

from boneviz.errors import InputError
from boneviz.regionrows import read_regions, region_of_row
from boneviz.regions import Region, regions, regions_table
from boneviz.scoretable import csv_of, write_table

# along x, A draws 0, 1, 2 and 5, B draws 2: a boundary, an extra lesion, and a part that both share
FOUND = regions(
    case_of(
        {
            EXPERT_A: mask_of([(x, 1, 1) for x in (0, 1, 2, 5)], (8, 3, 3)),
            EXPERT_B: mask_of([(2, 1, 1)], (8, 3, 3)),
        }
    ),
    "Expert A",
    "Expert B",
)


def row_but(**changes: object) -> dict[str, object]:
    return {**FOUND[0].as_row(), **changes}


def same(one: Region, other: Region) -> bool:
    # NaN is not itself
    return repr(one) == repr(other)


@pytest.mark.parametrize("name", ["starred.csv", "starred.parquet"])
def test_a_table_gives_the_regions_back_to_the_last_digit(tmp_path: Path, name: str) -> None:
    assert [region.kind for region in FOUND] == ["boundary", "extra lesion", "shared"]
    assert any(math.isnan(region.distance_to_bone_mm) for region in FOUND)  # no bone at all
    write_table(regions_table(FOUND), tmp_path / name)
    read = read_regions(tmp_path / name)
    assert all(map(same, read, FOUND))
    assert len(read) == 3


def test_what_the_page_saves_is_read_too(tmp_path: Path) -> None:
    # with a mark for spreadsheets at its front, and empty cells for what is undefined
    (tmp_path / "starred.csv").write_bytes(csv_of(regions_table(FOUND)))
    assert all(map(same, read_regions(tmp_path / "starred.csv"), FOUND))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rim_mm": -1}, "a rim or a threshold that cannot be"),
        ({"threshold": 7}, "a rim or a threshold that cannot be"),
        ({"inside_x_mm": 1e300}, "expected a number"),
        ({"candidate": FOUND[0].reference}, "and itself: expected two readers"),
        ({"kind": "cancer"}, "kind of a region is 'cancer': expected one of 'shared'"),
        ({"tissue": "air"}, "tissue of a region"),
        ({"readers": "Expert C"}, "readers of a region is 'Expert C': expected one of 'Expert A'"),
        ({"volume_ml": "much"}, "volume_ml of a region is 'much': expected a number"),
        ({"volume_ml": math.inf}, "volume_ml of a region is 'inf'"),
        ({"volume_ml": True}, "volume_ml of a region is 'True'"),
        ({"volume_ml": None}, "volume_ml of a region is 'None'"),
        ({"suv_max": 10**400}, "suv_max of a region"),
        ({"number": 0}, "number of a region is 0: expected a whole number from 1"),
        ({"n_voxels": 1.5}, "n_voxels of a region is 1.5"),
        ({"held_out": "maybe"}, "held_out of a region"),
        ({"patient_id": 17}, "patient_id of a region: expected a text"),
        ({"reference": "x" * 201}, "at most 200 letters"),
        ({"inside_x_mm": []}, "inside_x_mm of a region"),
        ({"surprise": 1}, "a region with surprise, which no region has"),
    ],
)
def test_a_row_that_is_no_region_is_refused(changes: dict[str, object], message: str) -> None:
    assert same(region_of_row(row_but()), FOUND[0])
    with pytest.raises(InputError, match=message):
        region_of_row(row_but(**changes))


def test_a_file_says_which_row_it_is(tmp_path: Path) -> None:
    table = regions_table(FOUND)
    table.loc[1, "kind"] = "cancer"
    write_table(table, tmp_path / "starred.csv")
    with pytest.raises(InputError, match=r"starred\.csv, row 2: kind of a region is 'cancer'"):
        read_regions(tmp_path / "starred.csv")
    write_table(table[["number", "kind"]], tmp_path / "few.csv")
    with pytest.raises(InputError, match="row 1: a region without patient_id"):
        read_regions(tmp_path / "few.csv")
    with pytest.raises(InputError, match="no such table"):
        read_regions(tmp_path / "none.csv")
    (tmp_path / "no.parquet").write_bytes(b"PK not parquet")
    with pytest.raises(InputError, match="not a table of regions"):
        read_regions(tmp_path / "no.parquet")


def test_names_that_a_spreadsheet_would_run_come_back_as_they_were(tmp_path: Path) -> None:
    odd = replace(FOUND[0], patient_id='=HYPERLINK("http://x")', reference="@B", readers=("@B",))
    table = regions_table([odd])
    kept = csv_of(table.rename(columns={"version": "=1+1"}))
    cells = pd.read_csv(io.BytesIO(kept), dtype=str, keep_default_na=False)
    assert cells["patient_id"][0] == '\'=HYPERLINK("http://x")'
    assert "'=1+1" in cells.columns and cells["reference"][0] == "'@B"
    assert float(cells["hu_mean"][0]) == odd.hu_mean  # a number below zero stays one
    (tmp_path / "starred.csv").write_bytes(csv_of(table))
    (back,) = read_regions(tmp_path / "starred.csv")
    assert (back.patient_id, back.reference, back.readers) == (odd.patient_id, "@B", ("@B",))
