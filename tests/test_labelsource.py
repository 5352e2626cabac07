"""Whose outlines are whose: by folder, name, frame of reference and patient, never by guess."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nrrd
import numpy as np
import pydicom
import pytest
from dicommade import put_sequence_into_meta, uid
from pydicom.dataset import Dataset
from segmade import contour_of, written
from studymade import A_BLOCK, SHIFTED, Study, mask_of, write_rt, write_seg, write_study

from boneviz.dicomfiles import Series, find_series
from boneviz.errors import BonevizError, CohortError, ImageFileError, InputError
from boneviz.identity import Key, StudyIds
from boneviz.importcohort import match_outlines
from boneviz.importplan import Session
from boneviz.labelobject import label_objects
from boneviz.labelsource import (
    Outline,
    outlines_of,
    read_outline,
    reader_sources,
    source_series,
)
from boneviz.pairing import plan_import

KEY = Key(bytes(32))
STUDY = Study("P1", "one")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, STUDY)
    (made,) = plan_import(find_series(folder), StudyIds(KEY)).sessions
    return made


def outlines(session: Session, folder: Path, *given: str) -> tuple[Outline, ...]:
    objects = label_objects(find_series(folder))
    return outlines_of(session, reader_sources(given), objects, sessions_of_patient=1)


def as_is(_: int, __: Dataset) -> None:
    """Leave an object as it is."""


def with_body(_: int, ds: Dataset) -> None:
    """Add a second region, the patient's outline, and a name of the whole file."""
    ds.StructureSetLabel = "planning"
    body = Dataset()
    body.ROINumber, body.ROIName = 2, "BODY"
    body.ReferencedFrameOfReferenceUID = uid("frame one")
    ds.StructureSetROISequence.append(body)
    drawn = Dataset()
    drawn.ReferencedROINumber = 2
    # pixels 10 to 12 by 1 to 2, apart from the lesion: 3 x 2 voxels on one slice
    x, y = (-10 + 2 * 9.5, -10 + 2 * 12.5), (-20 + 3 * 0.5, -20 + 3 * 2.5)
    corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    drawn.ContourSequence = [contour_of([(*corner, 42.0) for corner in corners])]
    ds.ROIContourSequence.append(drawn)


def test_one_of_several_regions_is_named(session: Session, tmp_path: Path) -> None:
    write_rt(tmp_path / "rt.dcm", STUDY, with_body)
    source = source_series(session.ct, session.ct_grid)
    for pattern, numbers, voxels in (
        ("lesion*", (1,), 36),
        ("planning/BODY", (2,), 6),
        ("planning/*", (1, 2), 42),
    ):
        (outline,) = outlines(session, tmp_path, f"A={pattern}")
        assert outline.only == numbers
        laid = read_outline(outline, session.ct_grid, source)
        assert np.count_nonzero(laid.volume.array) == voxels
    for given in ("A=planning", f"A={tmp_path}"):
        with pytest.raises(InputError, match=r"rt\.dcm: 2 regions, expected one; name those"):
            outlines(session, tmp_path, given)
    (outline,) = outlines(session, tmp_path, f"A={tmp_path}::lesion*")
    assert outline.only == (1,)


def test_an_object_of_another_frame_of_reference_is_not_the_sessions(
    session: Session, tmp_path: Path
) -> None:
    write_seg(tmp_path / "seg.dcm", Study("P1", "another"), as_is)
    with pytest.raises(InputError, match="no outline of A: 0 SEG and RTSTRUCT in the frame of ref"):
        outlines(session, tmp_path, "A=*")


@pytest.mark.parametrize(
    ("patient", "fits"), [("P1", True), (KEY.study_id("P1"), True), ("", True), ("Doe", False)]
)
def test_an_object_of_another_patient_is_refused_without_a_name(
    session: Session, tmp_path: Path, patient: str, fits: bool
) -> None:
    def rename(_: int, ds: Dataset) -> None:
        ds.PatientID = patient

    write_seg(tmp_path / "seg.dcm", STUDY, rename)
    if fits:
        assert outlines(session, tmp_path, "A=*by B")[0].kind == "SEG"
        return
    with pytest.raises(InputError, match=r"its PatientID \(0010,0020\) is neither") as refused:
        outlines(session, tmp_path, "A=*by B")
    assert "Doe" not in str(refused.value)


def test_two_files_of_one_reader_are_refused(session: Session, tmp_path: Path) -> None:
    for n, name in enumerate(("first", "revised")):

        def edit(_: int, ds: Dataset, n: int = n) -> None:
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid("copy", str(n))

        write_seg(tmp_path / f"{name}.dcm", STUDY, edit)
    with pytest.raises(InputError, match=r"2 files for the outline of A: .*first.*revised"):
        outlines(session, tmp_path, f"A={tmp_path}")


def test_a_damaged_object_is_said_where_it_is_asked_for(session: Session, tmp_path: Path) -> None:
    path = write_seg(tmp_path / "seg.dcm", STUDY, as_is)
    ds = pydicom.dcmread(path)
    del ds.SegmentSequence
    written(ds, path)
    (each,) = label_objects(find_series(tmp_path))
    assert "SegmentSequence (0062,0002) describes no segment" in each.problem
    with pytest.raises(ImageFileError, match=r"SegmentSequence \(0062,0002\)"):
        outlines(session, tmp_path, f"A={tmp_path}")
    with pytest.raises(InputError, match=r"1 SEG and RTSTRUCT .* of 0 regions.* \(1 others cannot"):
        outlines(session, tmp_path, "A=*")


def test_an_nrrd_by_the_patients_name_of_file(session: Session, tmp_path: Path) -> None:
    # NRRD of 3D Slicer: LPS, as DICOM has it
    header = {
        "space": "left-posterior-superior",
        "space directions": [[2, 0, 0], [0, 3, 0], [0, 0, 4]],
        "space origin": [-10, -20, 30],
    }
    nrrd.write(str(tmp_path / "P1.nrrd"), mask_of(SHIFTED).astype(np.uint8), header)
    (outline,) = outlines(session, tmp_path, f"A={tmp_path}")
    laid = read_outline(outline, session.ct_grid, None)
    np.testing.assert_array_equal(laid.volume.array, mask_of(SHIFTED))
    assert laid.how == "as it is" and laid.frame == "unknown"


def test_an_rtstruct_is_read_voxel_by_voxel(session: Session, tmp_path: Path) -> None:
    write_rt(tmp_path / "rt.dcm", STUDY, as_is)
    (outline,) = outlines(session, tmp_path, f"A={tmp_path}")
    source = source_series(session.ct, session.ct_grid)
    laid = read_outline(outline, session.ct_grid, source)
    np.testing.assert_array_equal(laid.volume.array, mask_of(A_BLOCK))
    with pytest.raises(InputError, match="without the images it was drawn on"):
        read_outline(outline, session.ct_grid, None)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: (folder / "a.txt").write_text("x"), "neither masks .* nor SEG or RTSTRUCT"),
        (lambda folder: [_touch(folder / d / "P1.nii.gz") for d in "ab"], "two masks of one name"),
    ],
)
def test_a_folder_that_says_nothing_is_refused(
    tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=says):
        reader_sources([f"A={tmp_path}"])


def _touch(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"")


def test_no_path_leads_out_of_a_folder_or_a_table(tmp_path: Path) -> None:
    (tmp_path / "secret.nii.gz").write_bytes(b"")
    (tmp_path / "masks").mkdir()
    table = tmp_path / "masks" / "t.csv"
    table.write_text("study_id,mask\nS1,../secret.nii.gz\n")
    with pytest.raises(CohortError, match=r"line 2: \.\./secret\.nii\.gz leads out of"):
        reader_sources([f"A={table}"])
    (tmp_path / "masks" / "S1.nii.gz").symlink_to(tmp_path / "secret.nii.gz")
    with pytest.raises(CohortError, match=r"S1\.nii\.gz leads out of"):
        reader_sources([f"A={tmp_path / 'masks'}"])


def test_a_header_that_cannot_be_read_again_is_named(session: Session, tmp_path: Path) -> None:
    gone = replace(session.ct.files[0], path=tmp_path / "gone.dcm")
    with pytest.raises(BonevizError, match=r"gone\.dcm: cannot be read as DICOM"):
        source_series(Series((gone,)), session.ct_grid)


def test_a_header_whose_meta_information_holds_a_sequence_is_not_read_again(
    session: Session, tmp_path: Path
) -> None:
    """Sixty sequences within one another would take pydicom for ever; one shows that it asked."""
    changed = replace(session.ct.files[0], path=tmp_path / "changed.dcm")
    changed.path.write_bytes(session.ct.files[0].path.read_bytes())
    put_sequence_into_meta(changed.path, 1)
    with pytest.raises(ImageFileError, match=r"changed\.dcm: a sequence in the File Meta Inform"):
        source_series(Series((changed, *session.ct.files[1:])), session.ct_grid)


def as_one_series(_: int, ds: Dataset) -> None:
    ds.SeriesInstanceUID = uid("outlines of two patients")


def test_an_object_is_the_patients_whom_its_own_file_names(
    session: Session, tmp_path: Path
) -> None:
    def of_another(_: int, ds: Dataset) -> None:
        as_one_series(0, ds)
        ds.PatientID = "Doe"

    # first in one series is a file of P1, in another frame of reference
    first = Study("P1", "another")

    def in_one_study(_: int, ds: Dataset) -> None:
        as_one_series(0, ds)
        ds.StudyInstanceUID = uid(STUDY.name)

    write_seg(tmp_path / "1.dcm", first, in_one_study)
    write_seg(tmp_path / "2.dcm", STUDY, of_another)
    (series,) = find_series(tmp_path)
    assert [each.patient_id for each in label_objects([series])] == ["P1", "Doe"]
    with pytest.raises(InputError, match=r"2\.dcm: its PatientID \(0010,0020\) is neither"):
        outlines(session, tmp_path, "A=*by B")


def masks(folder: Path, *names: str) -> str:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.nii.gz").write_bytes(name.encode())
    return f"A={folder}"


def matched(
    hospital: Path, given: str, table: dict[str, str] | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return case -> the mask's name, and case -> why not."""
    plan = plan_import(find_series(hospital), StudyIds(KEY, table))
    made, refused = match_outlines(plan, reader_sources([given]), ())
    return {case: each[0].path.name for case, each in made.items()}, dict(refused)


def test_a_mask_of_the_patients_name_is_of_no_session_where_another_is_refused(
    tmp_path: Path,
) -> None:
    def without_weight(_: int, ds: Dataset) -> None:
        if "PatientWeight" in ds:
            del ds.PatientWeight

    write_study(tmp_path / "h" / "1", Study("P1", "one", edit=without_weight))
    write_study(tmp_path / "h" / "2", Study("P1", "two", "20240320"))
    table = {"P1": "S01"}
    taken, refused = matched(tmp_path / "h", masks(tmp_path / "m", "P1"), table)
    assert taken == {} and "expected one, named S01_S2 (an" in refused["S01_S2"]
    with pytest.raises(InputError, match="one mask for 2 sessions"):
        matched(tmp_path / "h", f"A={tmp_path / 'm' / 'P1.nii.gz'}", table)
    taken, _ = matched(tmp_path / "h", masks(tmp_path / "n", "P1_S2"), table)
    assert taken == {"S01_S2": "P1_S2.nii.gz"}


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two patients, of whom one's PatientID is the other's study id: 12 -> 7, 7 -> 30."""
    folder = tmp_path_factory.mktemp("crossed")
    write_study(folder / "1", Study("12", "one"))
    write_study(folder / "2", Study("7", "two"))
    return folder


@pytest.mark.parametrize(("column", "takes"), [("study_id", "7_S1"), ("patient_id", "30_S1")])
def test_a_table_says_by_its_column_whose_a_mask_is(
    crossed: Path, tmp_path: Path, column: str, takes: str
) -> None:
    masks(tmp_path / "m", "x")
    table = tmp_path / "m" / "table.csv"
    table.write_text(f"{column},mask\n7,x.nii.gz\n")
    taken, refused = matched(crossed, f"A={table}", {"12": "7", "7": "30"})
    assert taken == {takes: "x.nii.gz"}
    ((case, said),) = refused.items()
    assert case != takes and said.startswith("0 masks for the outline of A")


def test_a_file_that_is_called_after_two_patients_is_neithers(
    crossed: Path, tmp_path: Path
) -> None:
    ids = {"12": "7", "7": "30"}
    taken, refused = matched(crossed, masks(tmp_path / "m", "7"), ids)
    assert taken == {} and set(refused) == {"7_S1", "30_S1"}
    assert all("it is called after 2 sessions or patients" in said for said in refused.values())
    # nor where the other has no study id
    taken, refused = matched(crossed, masks(tmp_path / "n", "7"), {"12": "7"})
    assert taken == {} and "called after 2" in refused["7_S1"]
    taken, _ = matched(crossed, masks(tmp_path / "o", "12", "30"), ids)
    assert taken == {"7_S1": "12.nii.gz", "30_S1": "30.nii.gz"}


def test_one_mask_for_two_sessions_of_a_table_is_refused(crossed: Path, tmp_path: Path) -> None:
    masks(tmp_path / "m", "x")
    table = tmp_path / "m" / "table.csv"
    table.write_text("patient_id,mask\n7,x.nii.gz\n12,x.nii.gz\n")
    taken, refused = matched(crossed, f"A={table}", {"12": "7", "7": "30"})
    assert taken == {} and len(refused) == 2
    assert "called after 2 sessions or patients" in refused["7_S1"]
