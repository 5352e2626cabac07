"""Which CT and PET make a session, and what is said of every other series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicommade import Scan, write_ct_series, write_pet_series
from pydicom.dataset import Dataset

from boneviz.dicomfiles import find_series
from boneviz.errors import InputError
from boneviz.identity import Key, StudyIds
from boneviz.importplan import Plan
from boneviz.pairing import plan_import

IDS = StudyIds(Key(bytes(32)))
# slices along z: a CT of n slices of `step` mm reaches half a step beyond the outermost centres
PET = Scan(series="pet", step_mm=8.0, origin_mm=(-10.0, -20.0, 32.0))  # 4 slices: 28 to 60 mm


def ct(folder: Path, name: str, n: int = 8, step_mm: float = 4.0, **more: object) -> None:
    """Write a CT whose lower end is at 28 mm: 8 slices of 4 mm reach to 60 mm."""
    edit = more.pop("edit", None)
    origin = (-10.0, -20.0, 28.0 + step_mm / 2)
    scan = Scan(series=name, step_mm=step_mm, **{"origin_mm": origin, **more})  # type: ignore[arg-type]
    values = np.full((n, 3, 2), 1000, np.int16)
    write_ct_series(folder / name, values, scan=scan, edit=edit)  # type: ignore[arg-type]


def pet(folder: Path, name: str = "pet", *, edit: object = None, **more: object) -> None:
    scan = Scan(**{**vars(PET), "series": name, **more})  # type: ignore[arg-type]
    write_pet_series(folder / name, scan=scan, edit=edit)  # type: ignore[arg-type]


def plan(folder: Path, **options: object) -> Plan:
    return plan_import(find_series(folder), IDS, **options)  # type: ignore[arg-type]


def why(made: Plan) -> dict[str, str]:
    """Return folder of the series -> what is said of it."""
    return {row.series.folder.name: row.why for row in made.rows}


def number(made: Plan, name: str) -> int:
    return next(row.number for row in made.rows if row.series.folder.name == name)


def typed(*words: str) -> Callable[[int, Dataset], None]:
    def edit(_: int, ds: Dataset) -> None:
        ds.ImageType = list(words)

    return edit


def test_the_finest_ct_that_covers_the_pet_is_taken(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "fine")
    ct(tmp_path, "coarse", 4, 8.0)
    ct(tmp_path, "part", 8, 2.0)  # 28 to 44 mm: half of the PET's 32 mm
    ct(tmp_path, "other", frame_of_reference="another")
    ct(tmp_path, "scout", edit=typed("ORIGINAL", "PRIMARY", "LOCALIZER"))
    ct(tmp_path, "mpr", 16, 2.0, edit=typed("DERIVED", "SECONDARY", "MPR"))
    made = plan(tmp_path)
    (session,) = made.sessions
    assert session.ct.folder.name == "fine" and session.pet.folder.name == "pet"
    assert session.name == "S1" and session.days == 0
    assert session.case_id == IDS.key.study_id("P1") + "_S1"
    assert why(made) == {
        "fine": "covers the PET, finest slices",
        "coarse": "coarser than the CT taken",
        "part": "covers 50% of the PET's length",
        "other": "in another frame of reference than the PET",
        "scout": "a scout",
        "mpr": "a reformat, not the scan itself",
        "pet": "PET in SUVbw",
    }


def test_a_lone_ct_of_a_part_is_taken_and_says_so(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "part", 8, 2.0)
    made = plan(tmp_path)
    assert len(made.sessions) == 1
    assert why(made)["part"] == "covers 50% of the PET's length"


def test_two_that_fit_alike_are_the_users_choice(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "bone")
    ct(tmp_path, "soft")
    made = plan(tmp_path)
    assert made.sessions == ()
    ((_, said),) = made.refused
    assert "2 CT series fit alike" in said and "--series NUMBER" in said
    chosen = number(made, "soft")
    (session,) = plan(tmp_path, take=[chosen]).sessions
    assert session.ct.folder.name == "soft"
    with pytest.raises(InputError, match="series 99: no CT or PET of that number"):
        plan(tmp_path, take=[99])


def test_a_lone_ct_of_another_part_is_taken_by_its_number_alone(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "legs", 8, 1.5)  # 28 to 40 mm: 12 of the PET's 32 mm, 37.5 %
    ((_, said),) = plan(tmp_path).refused
    assert "the only CT in the frame of reference of the PET, covers 38%" in said
    assert "expected 50% or more" in said and "(--series 1)" in said
    (session,) = plan(tmp_path, take=[1]).sessions
    assert session.ct.folder.name == "legs"
    assert why(plan(tmp_path, take=[1]))["legs"] == "covers 38% of the PET's length"


def test_a_ct_beside_the_pet_covers_none_of_it(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "beside", origin_mm=(-10.0, -20.0, 130.0))
    ((_, said),) = plan(tmp_path).refused
    assert "covers 0% of its length" in said


@pytest.mark.parametrize(("left", "step_mm"), [(4, 8.0), (8, 2.0)], ids=["coarse", "part"])
def test_what_is_left_of_a_ct_that_cannot_be_read_is_taken_by_number_alone(
    tmp_path: Path, left: int, step_mm: float
) -> None:
    pet(tmp_path)
    ct(tmp_path, "left", left, step_mm)
    ct(tmp_path, "fine", 16, 2.0)
    (tmp_path / "fine" / "ct0007.dcm").unlink()
    made = plan(tmp_path)
    ((_, said),) = made.refused
    fine, other = number(made, "fine"), number(made, "left")
    assert f"series {fine}, a CT in the frame of reference of the PET, cannot be read" in said
    assert "1 slice missing" in said and f"may fit better than series {other}" in said
    (session,) = plan(tmp_path, take=[other]).sessions
    assert session.ct.folder.name == "left"


def test_a_shorter_ct_that_cannot_be_read_would_not_have_been_taken(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "fine")
    ct(tmp_path, "head", 4)
    (tmp_path / "head" / "ct0002.dcm").unlink()  # 3 slices beside 8
    (session,) = plan(tmp_path).sessions
    assert session.ct.folder.name == "fine"


@pytest.mark.parametrize(
    ("zoom", "alike"), [(0.95, True), (0.85, False)], ids=["of 95 %", "of 85 %"]
)
def test_a_zoomed_ct_is_not_the_finer_one(tmp_path: Path, zoom: float, alike: bool) -> None:
    pet(tmp_path)
    ct(tmp_path, "body")  # 2 x 3 pixels of 2 x 3 mm: 4 x 9 mm
    ct(tmp_path, "spine", between_rows_mm=3 * zoom, between_columns_mm=2 * zoom)
    made = plan(tmp_path)
    if alike:
        assert made.sessions[0].ct.folder.name == "spine"
        return
    ((_, said),) = made.refused
    # 4 x 0.85 = 3.4 and 9 x 0.85 = 7.65 mm
    assert "series 1 9 x 4 mm, series 2 8 x 3 mm" in said and "choose one" in said
    (session,) = plan(tmp_path, take=[number(made, "body")]).sessions
    assert session.ct.folder.name == "body"


def test_two_parts_are_the_users_choice_too(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "lower", 8, 2.0)
    ct(tmp_path, "upper", 8, 2.0, origin_mm=(-10.0, -20.0, 45.0))
    ((_, said),) = plan(tmp_path).refused
    assert "no CT covers the PET" in said and "50%" in said and "expected 90%" in said


def test_a_series_that_cannot_be_taken_is_not_taken_by_its_number(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "ct")
    ct(tmp_path, "scout", edit=typed("ORIGINAL", "PRIMARY", "LOCALIZER"))
    chosen = number(plan(tmp_path), "scout")
    ((_, said),) = plan(tmp_path, take=[chosen]).refused
    assert said == f"series {chosen} was chosen and cannot be taken: a scout"


def uncorrected(_: int, ds: Dataset) -> None:
    ds.CorrectedImage = ["DECY"]


def test_an_uncorrected_pet_is_never_taken_for_suv(tmp_path: Path) -> None:
    pet(tmp_path, "nac", edit=uncorrected)
    ct(tmp_path, "ct")
    made = plan(tmp_path)
    ((_, said),) = made.refused
    assert "corrected for attenuation (CorrectedImage (0028,0051) with ATTN)" in said
    assert said.endswith("; give such a series, or load it without SUV (--as-counts)")
    (session,) = plan(tmp_path, as_counts=True).sessions
    assert session.suv is None
    assert "without ATTN" in session.without_suv
    # beside a corrected one it is left out, counts or not
    pet(tmp_path)
    (session,) = plan(tmp_path, as_counts=True).sessions
    assert session.pet.folder.name == "pet" and session.suv is not None


def test_two_corrected_pets_are_the_users_choice(tmp_path: Path) -> None:
    pet(tmp_path, "osem")
    pet(tmp_path, "tof")
    ct(tmp_path, "ct")
    made = plan(tmp_path)
    assert "2 PET series fit alike" in made.refused[0][1]
    (session,) = plan(tmp_path, take=[number(made, "tof")]).sessions
    assert session.pet.folder.name == "tof"


def test_a_pet_without_ct_is_refused(tmp_path: Path) -> None:
    pet(tmp_path)
    ((_, said),) = plan(tmp_path).refused
    assert said.startswith("no CT in the FrameOfReferenceUID (0020,0052) of the PET; give")
    ct(tmp_path, "other", frame_of_reference="another")
    ((_, said),) = plan(tmp_path).refused
    assert ", series 1 in another;" in said


def test_the_ct_of_another_study_is_named(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "ct", study="another")
    made = plan(tmp_path)
    ((_, said),) = made.refused
    where = number(made, "ct")
    assert f"; series {where} has that frame and lies in another study" in said
    assert "StudyInstanceUID (0020,000D)" in said


@pytest.mark.parametrize("as_counts", [False, True])
@pytest.mark.parametrize("corrected", [False, True])
def test_of_a_pet_cut_short_counts_are_not_advised(
    tmp_path: Path, corrected: bool, as_counts: bool
) -> None:
    """Four slices of which the last two are missing, which counts do not bring back."""
    pet(tmp_path, edit=None if corrected else uncorrected)
    ct(tmp_path, "ct")
    for path in sorted((tmp_path / "pet").iterdir())[2:]:
        path.unlink()
    ((_, said),) = plan(tmp_path, as_counts=as_counts).refused
    if corrected or as_counts:
        assert "2 slices of a PET, and NumberOfSlices (0054,0081) says 4" in said
    else:
        assert "(series 2: not corrected for attenuation)" in said
    assert said.endswith("; give such a series")


def unnumbered(_: int, ds: Dataset) -> None:
    del ds.NumberOfSlices


@pytest.mark.parametrize("series", ["ct", "pet"])
def test_a_series_beside_damaged_files_is_taken_by_its_number_alone(
    tmp_path: Path, series: str
) -> None:
    # one that says how many slices it has is refused for that already
    pet(tmp_path, edit=unnumbered)
    ct(tmp_path, "ct", 9)
    # the last slice: those before it are a volume all the same
    last = sorted((tmp_path / series).iterdir())[-1]
    last.write_bytes(last.read_bytes()[:200])
    ct(tmp_path, "other", frame_of_reference="another")
    made = plan(tmp_path)
    ((_, said),) = made.refused
    n = number(made, series)
    assert f"1 damaged in the folder of series {n}, such as {last}" in said
    assert f"(--series {n})" in said
    assert len(plan(tmp_path, take=[n]).sessions) == 1


def test_a_damaged_file_of_another_folder_is_no_matter(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "ct")
    ct(tmp_path, "other", frame_of_reference="another")
    last = tmp_path / "other" / "ct0007.dcm"
    last.write_bytes(last.read_bytes()[:200])
    assert len(plan(tmp_path).sessions) == 1


def test_a_number_within_a_case_stays_when_patients_come(tmp_path: Path) -> None:
    for who in ("b", "a"):
        pet(tmp_path / who, patient=who, study=who)
        ct(tmp_path / who, "bone", patient=who, study=who)
        ct(tmp_path / who, "soft", patient=who, study=who)
        case = f"{IDS.key.study_id('b')}_S1"
        # bone, soft, pet, by modality and path
        made = plan(tmp_path, take_of_case=[(case, 2)])
        (session,) = [each for each in made.sessions if each.case_id == case]
        assert session.ct.folder.name == "soft"
    with pytest.raises(InputError, match=rf"series {case}:9: no CT or PET .* has 1, 2, 3$"):
        plan(tmp_path, take_of_case=[(case, 9)])
    with pytest.raises(InputError, match=r"series X_S1:1: .* has no such case"):
        plan(tmp_path, take_of_case=[("X_S1", 1)])


def without(keyword: str) -> Callable[[int, Dataset], None]:
    def edit(_: int, ds: Dataset) -> None:
        setattr(ds, keyword, "")

    return edit


def test_a_patient_without_id_is_refused(tmp_path: Path) -> None:
    pet(tmp_path, edit=without("PatientID"))
    ct(tmp_path, "ct", edit=without("PatientID"))
    made = plan(tmp_path)
    assert made.sessions == ()
    assert made.refused == (
        ("series 2", "PatientID (0010,0020) is empty: whose it is is not known"),
    )


def test_who_is_not_in_the_table_is_refused_without_a_name(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "ct")
    made = plan_import(find_series(tmp_path), StudyIds(IDS.key, {"Doe": "S1"}))
    assert made.refused[0][1].endswith("not in the table of ids; add a row")
    (session,) = plan_import(find_series(tmp_path), StudyIds(IDS.key, {"P1": "S1"})).sessions
    assert session.case_id == "S1_S1"


def test_two_patients_whom_a_table_calls_alike_are_refused(tmp_path: Path) -> None:
    for who in ("Doe", "Roe"):
        pet(tmp_path / who, patient=who, study=who)
        ct(tmp_path / who, "ct", patient=who, study=who)
    made = plan_import(find_series(tmp_path), StudyIds(IDS.key, {"Doe": "S1", "Roe": "S1"}))
    assert made.sessions == ()
    assert {why for _, why in made.refused} == {
        "two patients got one study id; call one of them by a table (--ids)"
    }


def on(date: str, time: str = "095500") -> Callable[[int, Dataset], None]:
    def edit(_: int, ds: Dataset) -> None:
        ds.StudyDate, ds.StudyTime = date, time

    return edit


def test_sessions_are_named_by_date_and_days_counted_over_the_leap_day(tmp_path: Path) -> None:
    for folder, date in (("a", "20240301"), ("b", "20240228"), ("c", "20250228")):
        pet(tmp_path / folder, study=date, edit=on(date))
        ct(tmp_path / folder, "ct", study=date, edit=on(date))
    made = plan(tmp_path)
    # 28 to 29 February and 1 March: 2 days; 366 days from one 28 February to the next
    assert [(s.name, s.days) for s in made.sessions] == [("S1", 0), ("S2", 2), ("S3", 366)]
    assert [s.pet.folder.parent.name for s in made.sessions] == ["b", "a", "c"]


@pytest.mark.parametrize("dates", [("20240301", ""), ("20240301", "20240301")])
def test_sessions_whose_order_is_not_known_are_refused(
    tmp_path: Path, dates: tuple[str, str]
) -> None:
    for folder, date in zip("ab", dates, strict=True):
        pet(tmp_path / folder, study=folder, edit=on(date))
        ct(tmp_path / folder, "ct", study=folder, edit=on(date))
    made = plan(tmp_path)
    assert made.sessions == () and len(made.refused) == 2
    assert "StudyDate (0008,0020) with StudyTime (0008,0030)" in made.refused[0][1]


def test_one_session_needs_no_date(tmp_path: Path) -> None:
    pet(tmp_path, edit=without("StudyDate"))
    ct(tmp_path, "ct", edit=without("StudyDate"))
    (session,) = plan(tmp_path).sessions
    assert session.name == "S1" and session.days is None


def test_numbers_are_the_same_by_another_key(tmp_path: Path) -> None:
    for who in ("Doe", "Roe", "Poe"):
        pet(tmp_path / who, patient=who, study=who)
        ct(tmp_path / who, "ct", patient=who, study=who)
    found = find_series(tmp_path)
    orders = {
        tuple(row.series.folder for row in plan_import(found, StudyIds(Key(bytes([n]) * 32))).rows)
        for n in range(5)
    }
    assert len(orders) == 1


def test_one_name_written_in_two_ways_is_one(tmp_path: Path) -> None:
    def as_another_system(_: int, ds: Dataset) -> None:
        ds.PatientName = "NAME^ p1^^=other script"

    pet(tmp_path)  # Name^P1
    ct(tmp_path, "ct", edit=as_another_system)
    assert len(plan(tmp_path).sessions) == 1


def test_two_names_under_one_id_are_refused(tmp_path: Path) -> None:
    def other(_: int, ds: Dataset) -> None:
        ds.PatientName = "Other^Person"

    pet(tmp_path)
    ct(tmp_path, "ct", edit=other)
    ((_, said),) = plan(tmp_path).refused
    assert "two values of PatientName (0010,0010)" in said
    assert "Other" not in said


def test_two_names_in_two_studies_of_one_id_are_refused(tmp_path: Path) -> None:
    for study, date in (("first", "20240229"), ("second", "20240320")):

        def edit(_: int, ds: Dataset, study: str = study, date: str = date) -> None:
            ds.StudyDate = date
            ds.PatientName = f"Doe^{study}"

        pet(tmp_path / study, study=study, edit=edit)
        ct(tmp_path / study, "ct", study=study, edit=edit)
    made = plan(tmp_path)
    assert made.sessions == () and len(made.refused) == 2
    for _, said in made.refused:
        assert "series 1 and 3 have one PatientID (0010,0020) and two values of Patient" in said
        assert "doe" not in said.casefold()


def test_a_name_that_is_absent_contradicts_none(tmp_path: Path) -> None:
    pet(tmp_path)
    ct(tmp_path, "ct", edit=without("PatientName"))
    assert len(plan(tmp_path).sessions) == 1


WHO = {
    "PatientBirthDate (0010,0030)": ("19500301", "19510301"),
    "PatientSex (0010,0040)": ("M", "F"),
    "IssuerOfPatientID (0010,0021)": ("North Clinic", "South Clinic"),
}


def two_studies(folder: Path, keyword: str, first: str, second: str) -> Plan:
    """Write two studies of one patient, a PET and a CT each, that say this of the patient."""
    for study, date, value in (("first", "20240229", first), ("second", "20240320", second)):

        def edit(_: int, ds: Dataset, date: str = date, value: str = value) -> None:
            ds.StudyDate = date
            setattr(ds, keyword, value)

        pet(folder / study, study=study, edit=edit)
        ct(folder / study, "ct", study=study, edit=edit)
    return plan(folder)


@pytest.mark.parametrize("tag", WHO)
def test_two_people_in_two_studies_of_one_id_are_refused_without_their_data(
    tmp_path: Path, tag: str
) -> None:
    made = two_studies(tmp_path, tag.split()[0], *WHO[tag])
    assert made.sessions == () and len(made.refused) == 2
    for _, said in made.refused:
        assert f"series 1 and 3 have one PatientID (0010,0020) and two values of {tag}" in said
        assert not any(value.casefold() in said.casefold() for value in WHO[tag] if len(value) > 1)


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        pytest.param("PatientBirthDate", "19500301", "", id="a date of birth that is absent"),
        pytest.param("PatientBirthDate", "19500301", "1950", id="a part of it"),
        pytest.param("PatientBirthDate", "19500301", "1950.03.01", id="as old systems write it"),
        pytest.param("PatientSex", "M", "", id="no sex"),
        pytest.param("PatientSex", "F", "O", id="other, where nobody said"),
        pytest.param("IssuerOfPatientID", "North Clinic", "", id="no issuer"),
        pytest.param("IssuerOfPatientID", "North Clinic", "NORTH  CLINIC", id="one issuer"),
    ],
)
def test_what_one_study_leaves_open_contradicts_none(
    tmp_path: Path, keyword: str, first: str, second: str
) -> None:
    assert len(two_studies(tmp_path, keyword, first, second).sessions) == 2
