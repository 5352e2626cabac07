"""A later import into one cohort: nobody is put in another's place, no change passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from studymade import Study, write_study

from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.identity import Key, write_key

KEY = Key(bytes(range(32)))
P1 = KEY.study_id("P1")
Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a function that imports into ``tmp_path/c`` by a known key."""
    write_key(KEY, tmp_path / "key")

    def run(source: Path, *more: str) -> tuple[int, str]:
        given = ["--out", str(tmp_path / "c"), "--key", str(tmp_path / "key"), "--yes", "--quiet"]
        status = main(["import", str(source), *given, *more])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def cases(tmp_path: Path) -> list[str]:
    return sorted(case.case_id for case in Cohort.open(tmp_path / "c"))


def edit_files(folder: Path, edit: Callable[[Dataset], None]) -> None:
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        edit(ds)
        ds.save_as(path)


def heavier(ds: Dataset) -> None:
    ds.PatientWeight = 77


def steeper(ds: Dataset) -> None:
    ds.RescaleSlope = float(ds.RescaleSlope) * 2


def moved(ds: Dataset) -> None:
    x, y, z = ds.ImagePositionPatient
    ds.ImagePositionPatient = [x, y, z + 1]


def brighter(ds: Dataset) -> None:
    ds.PixelData = (ds.pixel_array + 1).astype(ds.pixel_array.dtype).tobytes()


@pytest.mark.parametrize(
    ("series", "edit"),
    [("pet", heavier), ("pet", steeper), ("ct", moved), ("pet", moved), ("ct", brighter)],
)
def test_what_was_corrected_in_place_is_not_there_already(
    tmp_path: Path, said: Said, series: str, edit: Callable[[Dataset], None]
) -> None:
    write_study(tmp_path / "h", Study("P1", "one"))
    assert said(tmp_path / "h")[0] == 0
    edit_files(tmp_path / "h" / series, edit)
    status, out = said(tmp_path / "h")
    assert status == 1 and f"refused  {P1}_S1: imported already, from other series" in out
    assert "there already" not in out


def test_a_header_that_gives_no_voxel_may_change(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h", Study("P1", "one"))
    assert said(tmp_path / "h")[0] == 0

    def described(ds: Dataset) -> None:
        ds.SeriesDescription = "said otherwise"

    edit_files(tmp_path / "h" / "ct", described)
    shutil.move(tmp_path / "h", tmp_path / "elsewhere")
    status, out = said(tmp_path / "elsewhere")
    assert status == 0 and "0 sessions written, 1 there already" in out


def table(tmp_path: Path, text: str) -> tuple[str, str]:
    (tmp_path / "ids.csv").write_text("patient_id,study_id\n" + text)
    return "--ids", str(tmp_path / "ids.csv")


@pytest.mark.parametrize("study_id", ["S001", "s001"])
def test_a_study_id_stays_the_patients_whose_it_was(
    tmp_path: Path, said: Said, study_id: str
) -> None:
    write_study(tmp_path / "a", Study("A1", "one"))
    assert said(tmp_path / "a", *table(tmp_path, "A1,S001\n"))[0] == 0
    # another person's second session would be S001/S2
    write_study(tmp_path / "b" / "1", Study("B1", "two"))
    write_study(tmp_path / "b" / "2", Study("B1", "three", "20240320"))
    write_study(tmp_path / "b" / "3", Study("C1", "four"))
    status, out = said(tmp_path / "b", *table(tmp_path, f"B1,{study_id}\nC1,S002\n"))
    assert status == 1
    assert out.count(f"{study_id} is a patient of another PatientID (0010,0020) here") == 2
    assert cases(tmp_path) == ["S001_S1", "S002_S1"] and "B1" not in out


def test_a_patient_stays_under_one_study_id(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h", Study("P1", "one"))
    assert said(tmp_path / "h")[0] == 0
    status, out = said(tmp_path / "h", *table(tmp_path, "P1,S001\n"))
    assert status == 1 and f"this patient is {P1} here and would be S001 now" in out
    assert cases(tmp_path) == [f"{P1}_S1"]


def test_a_study_keeps_its_session_and_a_later_one_is_added(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h" / "1", Study("P1", "one", "20240320"))
    assert said(tmp_path / "h")[0] == 0
    write_study(tmp_path / "h" / "2", Study("P1", "later", "20240420"))
    status, out = said(tmp_path / "h")
    assert status == 0 and "1 sessions written, 1 there already" in out
    # 20 days before what was the first
    write_study(tmp_path / "h" / "0", Study("P1", "earlier", "20240229"))
    status, out = said(tmp_path / "h")
    assert status == 1 and out.count("refused  ") == 3
    assert out.count("this study is S1 here and would be S2 now") == 3
    # said before anybody is asked
    assert "no session that can be imported" in out
    assert cases(tmp_path) == [f"{P1}_S1", f"{P1}_S2"]


def test_an_earlier_study_does_not_write_the_same_scan_twice(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h" / "1", Study("P1", "one", "20240320"))
    write_study(tmp_path / "h" / "0", Study("P1", "earlier", "20240229", edit=without_weight))
    assert said(tmp_path / "h")[0] == 1  # S1 refused, S2 written
    assert cases(tmp_path) == [f"{P1}_S2"]
    shutil.rmtree(tmp_path / "h" / "0")
    status, out = said(tmp_path / "h")
    assert status == 1 and "this study is S2 here and would be S1 now" in out
    assert cases(tmp_path) == [f"{P1}_S2"]


def test_a_session_is_not_counted_from_another_study_than_those_there(
    tmp_path: Path, said: Said
) -> None:
    write_study(tmp_path / "h" / "1", Study("P1", "one", "20240229"))
    assert said(tmp_path / "h")[0] == 0
    shutil.rmtree(tmp_path / "h")
    # alone it is S1; behind one that is refused it is S2, and its days count from that one
    write_study(tmp_path / "h" / "3", Study("P1", "three", "20240501"))
    status, out = said(tmp_path / "h")
    assert status == 1 and "S1 here is another study of this patient than now" in out
    write_study(tmp_path / "h" / "2", Study("P1", "two", "20240401", edit=without_weight))
    status, out = said(tmp_path / "h")
    assert status == 1 and "S1 here is another study of this patient than now" in out
    assert cases(tmp_path) == [f"{P1}_S1"]


def test_a_later_session_does_not_fill_a_gap(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h" / "1", Study("P1", "one", "20240229", edit=without_weight))
    write_study(tmp_path / "h" / "2", Study("P1", "two", "20240320"))
    said(tmp_path / "h")
    assert cases(tmp_path) == [f"{P1}_S2"]
    shutil.rmtree(tmp_path / "h")
    write_study(tmp_path / "h" / "3", Study("P1", "three", "20240501"))
    status, out = said(tmp_path / "h")
    assert status == 1 and "the study of its S2 here is not among those now" in out
    assert cases(tmp_path) == [f"{P1}_S2"]


def test_a_part_of_what_is_there_is_there(tmp_path: Path, said: Said) -> None:
    for name, date in (("one", "20240229"), ("two", "20240320")):
        write_study(tmp_path / "h" / name, Study("P1", name, date))
    assert said(tmp_path / "h")[0] == 0
    status, out = said(tmp_path / "h" / "one")
    assert status == 0 and "0 sessions written, 1 there already" in out


def without_weight(_: int, ds: Dataset) -> None:
    if "PatientWeight" in ds:
        del ds.PatientWeight


def test_a_record_is_not_read_through_a_link(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h", Study("P1", "one"))
    assert said(tmp_path / "h")[0] == 0
    case = tmp_path / "c" / P1 / "S1"
    case.rename(tmp_path / "outside")
    case.symlink_to(tmp_path / "outside")
    status, out = said(tmp_path / "h")
    assert status == 1 and "import.json of its S1 here is absent or damaged" in out


def test_a_case_is_not_written_through_a_link(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h" / "1", Study("P2", "one"))
    assert said(tmp_path / "h")[0] == 0
    write_study(tmp_path / "h" / "2", Study("P1", "two"))
    (tmp_path / "outside").mkdir()
    (tmp_path / "c" / P1).symlink_to(tmp_path / "outside")
    status, out = said(tmp_path / "h")
    assert status == 1 and f"refused  {P1}_S1: patient {P1}_S1: {P1}/S1 leads out of" in out
    assert not [*(tmp_path / "outside").iterdir()]


@pytest.mark.parametrize("content", [None, b"{}", b'{"patient": "x"'])
def test_a_case_that_does_not_say_whose_it_is_is_not_added_to(
    tmp_path: Path, said: Said, content: bytes | None
) -> None:
    write_study(tmp_path / "h" / "1", Study("P1", "one"))
    assert said(tmp_path / "h")[0] == 0
    record = tmp_path / "c" / P1 / "S1" / "import.json"
    record.unlink() if content is None else record.write_bytes(content)
    write_study(tmp_path / "h" / "2", Study("P1", "later", "20240420"))
    status, out = said(tmp_path / "h")
    assert status == 1 and out.count("import.json of its S1 here is absent or damaged") == 2
    assert cases(tmp_path) == [f"{P1}_S1"]


def test_the_record_holds_marks_and_no_identity(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h", Study("Doe-17", "one"))
    assert said(tmp_path / "h")[0] == 0
    (path,) = (tmp_path / "c").rglob("import.json")
    record = json.loads(path.read_text())
    assert record["patient"] == KEY.mark("patient", "Doe-17")
    marks = [record[name] for name in ("patient", "study", "source")]
    assert [len(mark) for mark in marks] == [10, 10, 10] and len(set(marks)) == 3
