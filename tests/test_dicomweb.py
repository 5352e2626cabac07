"""Studies out of a real Orthanc, and out of archives that send something else."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archives import Answer, Orthanc, archive_of, data_sets, misbehaving, one_part, says
from dicommade import PET_FACTOR, Scan, uid, write_ct_series, write_pet_series
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

import boneviz.dicomweb
from boneviz.cli import main
from boneviz.connection import Archive
from boneviz.dicom import find_series, read_ct, read_pet
from boneviz.dicomweb import fetch_studies, find_studies
from boneviz.errors import ArchiveError, InputError
from boneviz.qido import search

STUDY, SERIES = uid("fault"), uid("fault", "ct")


def test_a_study_comes_back_byte_by_byte_and_is_read(orthanc: Orthanc, tmp_path: Path) -> None:
    scan = Scan(patient="W1", study="web one")
    ct = write_ct_series(tmp_path / "ct", scan=scan, syntax=RLELossless)
    pet = write_pet_series(tmp_path / "pet", scan=scan)
    orthanc.upload(ct + pet)

    fetched = fetch_studies(orthanc.archive, [uid("web one")], tmp_path / "out")

    assert [(each.modality, each.n_fetched) for each in fetched] == [("CT", 4), ("PT", 4)]
    home = tmp_path / "out" / uid("web one")
    for stem, paths in {"ct": ct, "pt": pet}.items():
        for n, path in enumerate(paths):
            got = home / uid("web one", stem) / f"{uid('web one', stem, str(n))}.dcm"
            assert got.read_bytes() == path.read_bytes()
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 8
    found = {series.modality: series for series in find_series(tmp_path / "out")}
    # 1000 and on, less 1024; slice 1 has slope 200: 1006 x 200 x 4e-4
    assert read_ct(found["CT"]).array.min() == -24
    assert np.isclose(read_pet(found["PT"]).array, 1006 * 200 * PET_FACTOR).any()


def test_what_is_there_is_not_fetched_again(orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.upload(write_ct_series(tmp_path, scan=Scan(patient="W2", study="web two")))
    out = tmp_path / "out"
    (series,) = fetch_studies(orthanc.archive, [uid("web two")], out)
    first, second, *_ = sorted(series.folder.iterdir())
    content = second.read_bytes()
    second.unlink()
    first.write_bytes(first.read_bytes() + b"mark")
    # a run that was killed leaves this behind
    (series.folder / ".writing-x-1.dcm").write_bytes(content[:300])

    (again,) = fetch_studies(orthanc.archive, [uid("web two")], out)

    assert (again.n_instances, again.n_fetched) == (4, 1)
    assert second.read_bytes() == content
    assert first.read_bytes().endswith(b"mark")
    assert len(list(series.folder.iterdir())) == 4
    (none,) = fetch_studies(orthanc.archive, [uid("web two")], out)
    assert none.n_fetched == 0


@pytest.fixture(scope="module")
def three(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Orthanc:
    """Three studies whose ids and accession numbers have what addresses encode."""

    def study(n: int, patient: str, day: str, accession: str) -> None:
        def edit(_: int, ds: Dataset) -> None:
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.StudyDate, ds.AccessionNumber = day, accession
            ds.StudyDescription = f"Knochen {n} ü"

        folder = tmp_path_factory.mktemp("three")
        scan = Scan(patient=patient, study=f"three {n}")
        orthanc.upload(write_ct_series(folder, scan=scan, edit=edit))
        if n == 2:
            orthanc.upload(write_pet_series(folder, scan=scan, edit=edit))

    study(1, "T 1/ü", "20110305", "A-1")
    study(2, "T 1/u", "20120229", "2012/117")
    study(3, "T 22", "20130101", "2012-117")
    return orthanc


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"patient_id": "T*"}, [3, 2, 1]),
        ({"patient_id": "T 22"}, [3]),
        ({"patient_id": "T 1/ü"}, [1]),
        ({"patient_id": "T 1/?"}, [2, 1]),
        ({"patient_id": "T"}, []),
        ({"accession": "2012/117"}, [2]),
        ({"accession": "2012?117"}, [3, 2]),
        ({"patient_id": "T*", "modality": "PT"}, [2]),
        ({"patient_id": "T*", "since": date(2012, 2, 29)}, [3, 2]),
        ({"patient_id": "T*", "until": date(2012, 2, 29)}, [2, 1]),
        ({"since": date(2011, 1, 1), "until": date(2011, 12, 31)}, [1]),
    ],
)
def test_filters_find_what_they_say(
    three: Orthanc, filters: dict[str, str], expected: list[int]
) -> None:
    found = find_studies(three.archive, **filters)  # type: ignore[arg-type]
    assert [study.uid for study in found] == [uid(f"three {n}") for n in expected]


def test_a_study_says_what_one_chooses_by(three: Orthanc) -> None:
    (study,) = find_studies(three.archive, accession="2012/117")
    assert (study.date, study.patient_id, study.description) == (
        "20120229",
        "T 1/u",
        "Knochen 2 ü",
    )
    assert (study.modalities, study.n_instances) == (("CT", "PT"), 8)
    assert "T 1" not in repr(study) and "Knochen" not in repr(study)


def test_of_an_answer_only_what_is_read_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def page(n: int) -> list[dict[str, object]]:
        ends = [f"1.2.{n}", f"1.3.{n}"]
        more = {"00081030": {"Value": ["knee"]}, "00104000": {"Value": ["x" * 10**6]}}
        return [{"0020000D": {"Value": [end]}} | more for end in ends]

    def ask(*, limit: int, offset: int) -> list[dict[str, object]]:
        assert limit == 500
        return page(offset // 2) if offset < 6 else []

    archive = Archive("https://pacs.example")
    found = search(ask, archive, "looking", key="StudyInstanceUID", most=9)
    assert list(found) == [f"1.{n}.{k}" for k in range(3) for n in (2, 3)]
    assert all(item == {"00081030": {"Value": ("knee",)}} for item in found.values())

    # 4 letters and 64 bytes around them, six times
    monkeypatch.setattr(boneviz.qido, "MAX_KEPT_BYTES", 6 * 68)
    assert len(search(ask, archive, "looking", key="StudyInstanceUID", most=9)) == 6
    monkeypatch.setattr(boneviz.qido, "MAX_KEPT_BYTES", 6 * 68 - 1)
    with pytest.raises(ArchiveError, match="looking: 6 answers hold more than 407 bytes"):
        search(ask, archive, "looking", key="StudyInstanceUID", most=9)


def test_dates_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InputError, match="the first date is the later one"):
        find_studies(
            Archive("https://pacs.example"), since=date(2020, 1, 2), until=date(2020, 1, 1)
        )


def test_another_modality_is_not_fetched(three: Orthanc, tmp_path: Path) -> None:
    both = [uid("three 2"), uid("three 3")]
    (series,) = fetch_studies(three.archive, both, tmp_path, modalities=["PT"])
    assert series.modality == "PT"
    with pytest.raises(ArchiveError, match="none of the 2 studies has a series of SEG"):
        fetch_studies(three.archive, both, tmp_path, modalities=["SEG"])


def test_an_unknown_study_and_wrong_credentials_are_told(orthanc: Orthanc, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="study 1 of 1: the archive has no such study"):
        fetch_studies(orthanc.archive, ["1.2.3"], tmp_path)
    with pytest.raises(ArchiveError, match="status 401; it wants other credentials"):
        find_studies(Archive(orthanc.archive.url))
    with pytest.raises(ArchiveError, match=r"ends in /dicom-web"):
        find_studies(Archive(f"{orthanc.url}/wrong", orthanc.archive.credentials))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["", "..", "1.2/../3", "1.2\n", "1" * 65, "1..2", "1.2?x=y"])
def test_a_study_that_is_no_uid_is_refused_before_anything(given: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"StudyInstanceUID \(0020,000D\) is digits and dots"):
        fetch_studies(Archive("https://pacs.example"), [given], tmp_path)


def ct_bytes(folder: Path, n: int = 4) -> dict[str, bytes]:
    """Return the files of the faulty archive's series by their SOPInstanceUID."""
    paths = write_ct_series(folder / "source", scan=Scan(study="fault"))[:n]
    return {uid("fault", "ct", str(n)): path.read_bytes() for n, path in enumerate(paths)}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says(b"<html>CANARY", "text/html"), "it sent not a DICOM object"),
        (one_part(b"CANARY" * 100), "not DICOM, or damaged"),
        (one_part(b""), "not DICOM, or damaged"),
        (one_part(b"\0" * 128 + b"DICM" + b"\xff" * 300), "not DICOM, or damaged"),
        (says(b"--b0", 'multipart/related; boundary="b0"'), "without an end of its header"),
        (says(b"", "text/plain", status=204), "not a DICOM object"),
        (says(b"CANARY", "text/plain", status=404), "status 404"),
        (says(b"CANARY", "text/plain", status=406), "does not give DICOM files"),
        (says(b"", status=302, Location="https://elsewhere.example/x"), "https://elsewhere.exa"),
        (one_part(b"", Content_Length=str(2**40)), "longer than 2147483648 bytes"),
    ],
)
def test_a_file_that_is_not_what_was_asked_for_leaves_nothing(
    answer: Answer, said: str, tmp_path: Path
) -> None:
    with (
        misbehaving(archive_of({"1.2.3": answer}, STUDY, SERIES)) as url,
        pytest.raises(ArchiveError, match=said) as caught,
    ):
        fetch_studies(Archive(url), [STUDY], tmp_path / "out")
    assert "CANARY" not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_another_object_than_was_asked_for_is_refused(tmp_path: Path) -> None:
    first, second, *_ = ct_bytes(tmp_path).values()
    sop = uid("fault", "ct", "0")
    with (
        misbehaving(archive_of({sop: one_part(second)}, STUDY, SERIES)) as url,
        pytest.raises(ArchiveError, match=r"another object .*SOPInstanceUID \(0008,0018\)"),
    ):
        fetch_studies(Archive(url), [STUDY], tmp_path / "out")
    with misbehaving(archive_of({sop: one_part(first)}, STUDY, SERIES)) as url:
        (series,) = fetch_studies(Archive(url), [STUDY], tmp_path / "out")
    assert (series.folder / f"{sop}.dcm").read_bytes() == first


def test_after_a_cut_the_same_call_goes_on(tmp_path: Path) -> None:
    files = ct_bytes(tmp_path)
    *early, last = sorted(files)
    answers = {sop: one_part(files[sop]) for sop in files}
    cut = one_part(files[last], Content_Length="9999999", Connection="close")
    out = tmp_path / "out"
    with (
        misbehaving(archive_of({**answers, last: cut}, STUDY, SERIES)) as url,
        pytest.raises(ArchiveError, match="run the same command again"),
    ):
        fetch_studies(Archive(url), [STUDY], out)
    assert sorted(path.stem for path in out.rglob("*.dcm")) == early
    refused = says(b"", status=500)
    again: dict[str, Answer] = {**dict.fromkeys(early, refused), last: answers[last]}
    with misbehaving(archive_of(again, STUDY, SERIES)) as url:
        (series,) = fetch_studies(Archive(url), [STUDY], out)
    assert (series.n_instances, series.n_fetched) == (4, 1)


def test_a_file_above_the_bound_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boneviz.dicomweb, "MAX_FILE_BYTES", 10_000)
    with (
        misbehaving(archive_of({"1.2.3": one_part(b"x" * 20_000)}, STUDY, SERIES)) as url,
        pytest.raises(ArchiveError, match="longer than 10000 bytes"),
    ):
        fetch_studies(Archive(url), [STUDY], tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["../../../etc/x", "/etc/x", "1.2/../../x", "", "..", "1.2\0"])
def test_names_of_an_archive_never_become_paths(name: str, tmp_path: Path) -> None:
    with (
        misbehaving(archive_of({name: says(b"")}, STUDY, SERIES)) as url,
        pytest.raises(ArchiveError, match=r"SOPInstanceUID \(0008,0018\) is missing or no UID"),
    ):
        fetch_studies(Archive(url), [STUDY], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_leads_out_is_not_written_through(tmp_path: Path) -> None:
    files = {sop: one_part(held) for sop, held in ct_bytes(tmp_path, 1).items()}
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    (out / STUDY).mkdir(parents=True)
    (out / STUDY / SERIES).symlink_to(elsewhere)
    with (
        misbehaving(archive_of(files, STUDY, SERIES)) as url,
        pytest.raises(InputError, match="a link on the way leads out of"),
    ):
        fetch_studies(Archive(url), [STUDY], out)
    assert list(elsewhere.iterdir()) == []


def test_something_else_in_the_way_is_kept(tmp_path: Path) -> None:
    (sop,) = ct_bytes(tmp_path, 1)
    home = tmp_path / "out" / STUDY / SERIES
    home.mkdir(parents=True)
    (home / f"{sop}.dcm").write_text("my notes")
    with (
        misbehaving(archive_of({sop: says(b"")}, STUDY, SERIES)) as url,
        pytest.raises(InputError, match="there already, and not a DICOM file"),
    ):
        fetch_studies(Archive(url), [STUDY], tmp_path / "out")
    assert (home / f"{sop}.dcm").read_text() == "my notes"


def test_a_list_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    series = {"0020000E": SERIES, "00080060": "CT", "00201209": "5"}

    def answer(request: object) -> None:
        path = request.path  # type: ignore[attr-defined]
        instances = data_sets({"00080018": "1.2.3"}, {"00080018": "1.2.4"})
        says(instances if "/instances" in path else data_sets(series))(request)  # type: ignore[arg-type]

    with (
        misbehaving(answer) as url,
        pytest.raises(ArchiveError, match="it lists 2, and says that there are 5"),
    ):
        fetch_studies(Archive(url), [STUDY], tmp_path)


def test_too_many_studies_are_to_be_narrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boneviz.dicomweb, "MAX_STUDIES", 2)
    many = data_sets(*({"0020000D": f"1.{n}"} for n in range(3)))
    with misbehaving(says(many)) as url, pytest.raises(ArchiveError, match="more than 2; narrow"):
        find_studies(Archive(url))


def test_the_commands_find_and_get(
    three: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    credentials = tmp_path / "archive.toml"
    credentials.write_text(f'user = "{three.user}"\npassword = "{three.password}"\n')
    credentials.chmod(0o600)
    how = [three.archive.url, "--credentials", str(credentials)]

    assert main(["archive", "find", *how, "--patient-id", "T*", "--from", "2012-12-31"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"20130101  CT               4 files  {uid('three 3')}",
        "          patient T 22  accession 2012-117  Knochen 3 ü",
        "1 study",
    ]

    out = tmp_path / "out"
    get = ["archive", "get", *how, "--study", uid("three 2"), "--out", str(out), "--quiet"]
    assert main([*get, "--modality", "CT"]) == 0
    assert main(get) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[2].startswith("CT           0 fetched, 4 were there: ")
    assert said[3].startswith("PT           4 fetched: ")
    assert said[4] == f"8 files in {out}"

    assert main(["archive", "find", three.archive.url]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"boneviz: {three.archive.url}: looking for studies: refused with ")


def test_an_archive_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\r\n\x9b31m" + "x" * 500
    study = {"0020000D": "1.2", "00081030": evil, "00100020": evil, "00080061": evil}
    with misbehaving(says(data_sets(study))) as url:
        assert main(["archive", "find", url]) == 0
    said = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in said)
    assert len(said.splitlines()) == 3 and max(map(len, said.splitlines())) < 200


def test_the_files_are_plain_dicom_for_anything_else(three: Orthanc, tmp_path: Path) -> None:
    fetch_studies(three.archive, [uid("three 1")], tmp_path)
    for path in tmp_path.rglob("*.dcm"):
        assert pydicom.dcmread(path).SOPInstanceUID == path.stem
