"""`boneviz import` as a user types it: asked, resumed, refused; each case whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicommade import Scan, write_ct_series
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from studymade import A_BLOCK, SHIFTED, Study, mask_of, write_study

import boneviz.importcohort
from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.dicom import read_grid
from boneviz.dicomfiles import find_series
from boneviz.identity import Key, read_key, write_key
from boneviz.nifti import read_case, write_volume
from boneviz.volume import Grid, Volume

KEY = Key(bytes(range(32)))
P1, P2 = KEY.study_id("P1"), KEY.study_id("P2")
BY_NAME = ("--labels", "Expert A=*by A", "--labels", "Expert B=*by B")
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hospital")
    write_study(made / "x1", Study("P1", "one"))
    write_study(made / "x2", Study("P2", "two"))
    return made


@pytest.fixture
def hospital(folder: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "hospital"))


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a function that imports into ``tmp_path/c`` by a known key."""
    if not (tmp_path / "key").exists():
        write_key(KEY, tmp_path / "key")

    def run(source: Path, *more: str, yes: bool = True, out: str = "c") -> tuple[int, str, str]:
        given = ["import", str(source), "--out", str(tmp_path / out), "--quiet", *more]
        if "--key" not in more:
            given += ["--key", str(tmp_path / "key")]
        status = main([*given, "--yes"] if yes else given)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def grid(folder: Path) -> Grid:
    (series,) = find_series(folder / "x1" / "ct")
    return read_grid(series)


def give_mask(path: Path, mask: NDArray[np.bool_], on: Grid) -> None:
    write_volume(Volume(mask, on, "label"), path)


def _no_more_input(_: str) -> str:
    raise EOFError


def test_nothing_is_written_before_somebody_says_yes(
    folder: Path, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(tmp_path / "new.key")
    status, out, err = said(folder, "--key", key, yes=False)
    assert status == 1 and "give --yes, nothing was written" in err
    assert "covers the PET" in out and "provisional" in out
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "")
    assert said(folder, "--key", key, yes=False)[0] == 1
    assert not (tmp_path / "c").exists() and not (tmp_path / "new.key").exists()
    monkeypatch.setattr("builtins.input", _no_more_input)
    assert said(folder, "--key", key, yes=False)[0] == 1
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert said(folder, "--key", key, yes=False)[0] == 0
    assert (tmp_path / "new.key").stat().st_mode & 0o777 == 0o600
    ids = {read_key(tmp_path / "new.key").study_id(p) for p in ("P1", "P2")}
    assert set(Cohort.open(tmp_path / "c").patients) == ids


def test_bars_show_what_an_import_reads_unless_it_is_to_be_quiet(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["import", str(folder), "--yes", "--out"]
    assert main([*given, str(tmp_path / "d")]) == 0
    bars = capsys.readouterr().err
    for what in ("headers", "importing", "reading CT", "reading PET"):
        assert f"{what}:   0%" in bars
    assert main([*given, str(tmp_path / "e"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_by_default_the_key_lies_beside_the_cohort(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(folder), "--out", str(tmp_path / "d"), "--yes", "--quiet"]) == 0
    ids = set(Cohort.open(tmp_path / "d").patients)
    assert (tmp_path / "d.key").is_file()
    # and the same key gives the same ids again
    given = ["--key", str(tmp_path / "d.key"), "--yes", "--quiet"]
    assert main(["import", str(folder), "--out", str(tmp_path / "e"), *given]) == 0
    assert set(Cohort.open(tmp_path / "e").patients) == ids
    assert Cohort.open(tmp_path / "e").id == Cohort.open(tmp_path / "d").id
    capsys.readouterr()
    inner = ["--key", str(tmp_path / "f" / "key"), "--yes"]
    assert main(["import", str(folder), "--out", str(tmp_path / "f"), *inner]) == 1
    assert "in the cohort, which it would open" in capsys.readouterr().err


def test_what_is_finished_is_not_done_again(
    folder: Path, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = boneviz.importcohort.write_volume, []

    def cut_off(volume: Volume, path: Path) -> None:
        calls.append(path)
        if len(calls) == 6:  # the PET of the second case, of A, B, CT and PET each
            raise KeyboardInterrupt
        write(volume, path)

    monkeypatch.setattr(boneviz.importcohort, "write_volume", cut_off)
    status, _, err = said(folder, *BY_NAME)
    assert status == 130 and "run the same command again" in err
    left = sorted(p.relative_to(tmp_path / "c") for p in (tmp_path / "c").rglob("*.nii.gz"))
    assert len({p.parent for p in left}) == 1 and len(left) == 4
    assert not (tmp_path / "c" / "cohort.toml").exists()
    assert not [*(tmp_path / "c").glob(".importing-*")]
    calls.clear()
    calls += [Path()] * 10
    status, out, _ = said(folder, *BY_NAME)
    assert status == 0 and "1 sessions written, 1 there already" in out
    assert len(calls) == 14
    assert len(Cohort.open(tmp_path / "c")) == 2


def test_a_folder_that_a_killed_run_left_is_taken_away(
    folder: Path, tmp_path: Path, said: Said
) -> None:
    assert said(folder)[0] == 0
    (tmp_path / "c" / f".importing-{P1}_S1").mkdir()
    (tmp_path / "c" / f".importing-{P1}_S1" / "ct.nii.gz").write_bytes(b"cut off")
    assert said(folder)[0] == 0
    assert not [*(tmp_path / "c").glob(".importing-*")]


def test_a_patient_more_is_added_and_cohort_toml_left_alone(
    hospital: Path, tmp_path: Path, said: Said
) -> None:
    assert said(hospital / "x1")[0] == 0
    toml = tmp_path / "c" / "cohort.toml"
    toml.write_text(toml.read_text().replace('licence = ""', 'licence = "ours"'))
    assert said(hospital)[0] == 0
    opened = Cohort.open(tmp_path / "c")
    assert len(opened) == 2 and opened.licence == "ours"


def test_other_options_do_not_write_over_a_case(folder: Path, tmp_path: Path, said: Said) -> None:
    assert said(folder, *BY_NAME)[0] == 0
    status, out, _ = said(folder, *BY_NAME, "--resample-labels")
    assert status == 1 and out.count("nothing is written over") == 2
    status, _, err = said(folder)
    assert status == 1 and "with the experts Expert A, Expert B, now nobody" in err
    write_key(Key(b"x" * 32), tmp_path / "other")
    status, _, err = said(folder, *BY_NAME, "--key", str(tmp_path / "other"))
    assert status == 1 and "imported with another key" in err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    status, _, err = said(folder, out="full")
    assert status == 1 and "no import that could go on" in err


def test_a_case_that_fails_on_the_way_leaves_nothing_and_stops_nobody(
    hospital: Path, tmp_path: Path, said: Said
) -> None:
    broken = hospital / "x1" / "pet" / "pt0002.dcm"
    broken.write_bytes(broken.read_bytes()[:-40])
    status, out, err = said(hospital, *BY_NAME)
    assert status == 1 and "1 refused" in err
    assert f"refused  {P1}_S1:" in out and "pt0002.dcm" in out
    assert [case.case_id for case in Cohort.open(tmp_path / "c")] == [f"{P2}_S1"]
    assert not (tmp_path / "c" / P1).exists()


def test_a_table_of_ids(folder: Path, tmp_path: Path, said: Said) -> None:
    (tmp_path / "ids.csv").write_text("patient_id,study_id\nP1,BONE-7\nP2,BONE-8\n")
    assert said(folder, "--ids", str(tmp_path / "ids.csv"))[0] == 0
    assert [c.case_id for c in Cohort.open(tmp_path / "c")] == ["BONE-7_S1", "BONE-8_S1"]


def without_units(_: int, ds: Dataset) -> None:
    if "Units" in ds:
        del ds.Units


def test_as_counts_loads_a_pet_without_suv(
    tmp_path: Path, said: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "h" / "x1", Study("P1", "one", edit=without_units))
    write_study(tmp_path / "h" / "x2", Study("P2", "two"))
    status, out, _ = said(tmp_path / "h", out="suv")
    assert status == 1 and "Units (0054,1001) is absent" in out and "--as-counts" in out
    assert said(tmp_path / "h", "--as-counts")[0] == 0
    cohort = Cohort.open(tmp_path / "c")
    cases = {case.patient_id: read_case(case) for case in cohort}
    # the other's SUV are known, and stay
    assert (cases[P1].pet.unit, cases[P2].pet.unit) == ("counts", "SUVbw")
    assert "Units (0054,1001) is absent" in cases[P1].pet_origin[0]
    # stored 25 by a slope of 100 in the first slice
    assert cases[P1].pet.array[5, 5, 0] == 2500
    assert main(["check", str(cohort.root), "--quiet"]) == 0
    page = capsys.readouterr().out
    assert "no SUVmax" in page and "SUV range" not in page and "as Bq/mL have" not in page


@pytest.mark.parametrize("named", ["study", "patient"])
def test_masks_of_a_folder_by_name(folder: Path, tmp_path: Path, said: Said, named: str) -> None:
    on = grid(folder)
    names = {"study": (f"{P1}_S1", P2), "patient": ("P1", "P2_S1")}[named]
    give_mask(tmp_path / "a" / f"{names[0]}.nii.gz", mask_of(A_BLOCK), on)
    give_mask(tmp_path / "a" / f"{names[1]}.nii.gz", np.zeros(on.shape, bool), on)
    status, out, _ = said(folder, "--labels", f"Expert A={tmp_path / 'a'}")
    assert status == 0 and f"{P1}_S1, Expert A: mask: as it is, 0.86 mL" in out
    masks = {
        c.patient_id: next(iter(read_case(c).masks.values())) for c in Cohort.open(tmp_path / "c")
    }
    np.testing.assert_array_equal(masks[P1].array, mask_of(A_BLOCK))
    # an expert who saw no lesion
    assert not masks[P2].array.any()


def test_a_session_without_an_experts_outline_is_refused(
    folder: Path, tmp_path: Path, said: Said
) -> None:
    give_mask(tmp_path / "a" / f"{P1}.nii.gz", mask_of(A_BLOCK), grid(folder))
    status, out, _ = said(folder, "--labels", f"Expert A={tmp_path / 'a'}")
    assert status == 1
    assert f"refused  {P2}_S1: 0 masks for the outline of Expert A" in out
    assert f"named {P2}_S1 or {P2} (an expert who saw no lesion gives an empty mask)" in out


def test_a_table_of_masks(folder: Path, tmp_path: Path, said: Said) -> None:
    for n, block in enumerate((A_BLOCK, SHIFTED)):
        give_mask(tmp_path / "masks" / f"m{n}.nii.gz", mask_of(block), grid(folder))
    table = tmp_path / "masks" / "table.csv"
    table.write_text(f"study_id,session,mask\n{P1},S1,m0.nii.gz\n{P2},,m1.nii.gz\n")
    assert said(folder, "--labels", f"Expert A={table}")[0] == 0
    masks = [next(iter(read_case(c).masks.values())) for c in Cohort.open(tmp_path / "c")]
    assert sorted(round(mask.volume_ml, 3) for mask in masks) == [0.864, 1.152]
    table.write_text(f"study_id,session,mask\n{P1},S1,none.nii.gz\n")
    status, _, err = said(folder, "--labels", f"Expert A={table}")
    assert status == 1 and "line 2: its mask does not exist" in err


def test_another_grid_is_refused_unless_asked_and_then_told(
    folder: Path, tmp_path: Path, said: Said
) -> None:
    # voxels of 2 x 3 x 8 mm: two slices of the CT each, from the same lower face on
    affine = grid(folder).affine_ras_mm.copy()
    affine[:3, 3] += affine[:3, 2] / 2
    affine[:3, 2] *= 2
    tall = np.zeros((16, 14, 5), bool)
    tall[4:8, 5:8, 1:3] = True  # 4 x 3 x 2 x 48 mm3 = 1.152 mL: slices 2 to 5 of the CT
    give_mask(tmp_path / "a" / f"{P1}.nii.gz", tall, Grid((16, 14, 5), affine))
    given = ("--labels", f"Expert A={tmp_path / 'a'}")
    status, out, _ = said(folder / "x1", *given)
    assert status == 1 and "expected 16x14x10 voxels of 2 x 3 x 4 mm" in out
    assert "--resample-labels" in out and not (tmp_path / "c" / "cohort.toml").exists()
    shutil.rmtree(tmp_path / "c")
    status, out, _ = said(folder / "x1", *given, "--resample-labels")
    note = "mask: resampled by nearest neighbour: 1.15 mL before, 1.15 mL after"
    assert status == 0 and f"{P1}_S1, Expert A: {note}" in out
    record = json.loads((tmp_path / "c" / P1 / "S1" / "import.json").read_text())
    assert record["outlines"] == {"Expert A": note}
    cohort = Cohort.open(tmp_path / "c")
    assert "import.json" in cohort.provenance
    mask = next(iter(read_case(cohort.cases[0]).masks.values()))
    np.testing.assert_array_equal(mask.array, mask_of((slice(4, 8), slice(5, 8), slice(2, 6))))


def test_names_that_fit_two_files_or_none_are_refused(folder: Path, said: Said) -> None:
    status, out, _ = said(folder, "--labels", "Expert A=lesion*")
    assert status == 1 and "2 files for the outline of Expert A" in out
    status, out, err = said(folder, "--labels", "Expert A=Lesion by A")  # letter by letter
    assert status == 1 and "2 SEG and RTSTRUCT in the frame of reference of its CT" in out
    assert "no session that can be imported" in err
    status, out, _ = said(folder, "--labels", "Expert A=Lesion by A", "--show-text")
    assert "regions: lesion by A" in out


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["Expert A"], "expected NAME=WHERE"),
        (["A=*x", "a=*y"], "--labels a twice|--labels A twice"),
        (["A=masks/none/a.nii.gz"], "no such file or folder"),
        (["PET=*by A"], "would be stored over the scan's own file"),
    ],
)
def test_labels_that_say_nothing_are_refused(
    folder: Path, said: Said, labels: list[str], says: str
) -> None:
    given = [word for each in labels for word in ("--labels", each)]
    status, out, err = said(folder, *given)
    assert status == 1 and re.search(says, out + err)


def test_the_cohort_is_plain_nifti(folder: Path, tmp_path: Path, said: Said) -> None:
    assert said(folder)[0] == 0
    image = nib.load(tmp_path / "c" / P1 / "S1" / "ct.nii.gz")
    # DICOM's LPS axes, so the first voxel lies at RAS (10, 20, 30)
    np.testing.assert_allclose(image.affine[:3, 3], (10, 20, 30))
    assert Cohort.open(tmp_path / "c").experts == ()


@pytest.mark.realdata
def test_a_real_pet_without_units_is_refused_and_comes_as_counts_where_asked(
    realdata: Path, tmp_path: Path, said: Said
) -> None:
    nema = realdata / "nema"
    # the phantom has no CT: with counts or without, there is no grid for an outline
    status, out, _ = said(nema, "--as-counts")
    assert status == 1 and "no CT in the FrameOfReferenceUID (0020,0052) of the PET" in out
    shutil.copytree(nema, tmp_path / "h" / "pet")
    header = pydicom.dcmread(next((tmp_path / "h" / "pet").iterdir()), stop_before_pixels=True)

    def of_the_phantom(_: int, ds: Dataset) -> None:
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(ds, keyword, header[keyword].value)

    # 89 slices of 2.78 mm from -101.5 to 145.9 mm, under 32 of 8 mm from -101.5 to 154.5 mm
    lies = Scan(
        between_rows_mm=8, between_columns_mm=8, step_mm=8, origin_mm=(-190.0, -190.0, -97.5)
    )
    air = np.full((32, 48, 48), 24, np.int16)
    write_ct_series(tmp_path / "h" / "ct", air, scan=lies, edit=of_the_phantom)
    status, out, _ = said(tmp_path / "h")
    assert status == 1 and "CorrectedImage" not in out
    assert "PET without SUV: Units (0054,1001) is absent" in out and "(--as-counts)" in out
    assert said(tmp_path / "h", "--as-counts")[0] == 0
    (ref,) = Cohort.open(tmp_path / "c")
    case = read_case(ref)
    assert case.pet.unit == "counts" and case.pet.grid.shape == (192, 192, 89)
    assert any("Units (0054,1001) is absent" in line for line in case.pet_origin)
    # the most that any slice holds, by pydicom alone
    slices = [pydicom.dcmread(path) for path in sorted(nema.iterdir())]
    most = max(float(ds.pixel_array.max()) * float(ds.RescaleSlope) for ds in slices)
    assert case.pet.array.max() == pytest.approx(most, rel=1e-6)
    for path in (tmp_path / "c").rglob("*.*"):
        assert b"08150815" not in path.read_bytes() and b"Test^Patient" not in path.read_bytes()


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("gantrytilting", "no PET in its study; gantry tilt"),
        ("sliceincrement", r"no PET in its study; \d+ slices? missing"),
        ("notavolume", "no PET in its study; .*one place"),
    ],
)
def test_real_traps_are_named_in_the_table(
    realdata: Path, said: Said, folder: str, says: str
) -> None:
    status, out, err = said(realdata / "dicom_traps" / folder)
    assert status == 1 and "no session that can be imported" in err
    assert re.search(says, out), out


@pytest.mark.realdata
def test_real_outlines_without_a_pet_are_listed_and_not_imported(
    realdata: Path, tmp_path: Path, said: Said
) -> None:
    status, out, _ = said(realdata / "dicom_seg", "--labels", "Expert A=*", "--show-text")
    assert status == 1 and len(re.findall(r"SEG +1 files", out)) == 7
    assert "regions:" in out and not (tmp_path / "c").exists()
