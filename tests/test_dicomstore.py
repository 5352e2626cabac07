"""SEGs back into a real Orthanc: identical voxels, and what the archive said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archives import Answer, Orthanc, misbehaving, says
from dicommade import Scan, uid, write_ct_series

import boneviz.dicomstore
from boneviz.case import Reader
from boneviz.cli import main
from boneviz.connection import Archive
from boneviz.dicom import find_series, read_ct
from boneviz.dicomexport import Identity, SegSettings, write_reader_seg
from boneviz.dicomseg import read_segments
from boneviz.dicomstore import store_segs
from boneviz.dicomweb import fetch_studies
from boneviz.errors import ArchiveError, ImageFileError, InputError
from boneviz.labels import on_grid
from boneviz.sourceseries import SourceSeries
from boneviz.volume import Volume


def seg_over(folder: Path, path: Path, *, identity: Identity = "source", seed: int = 1) -> Volume:
    """Write a SEG over the CT of a folder and return its mask."""
    (ct,) = (series for series in find_series(folder) if series.modality == "CT")
    volume = read_ct(ct)
    source = SourceSeries.of([pydicom.dcmread(each) for each in ct.paths], volume.grid)
    drawn = np.random.default_rng(seed).random(volume.array.shape) < 0.4
    mask = Volume(drawn, volume.grid, "label")
    settings = SegSettings("S1", "salt", identity=identity)
    write_reader_seg(path, mask, Reader("Expert A"), source=source, settings=settings)
    return mask


def test_a_seg_goes_to_the_archive_and_comes_back_with_the_same_voxels(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    study = uid("store one")
    # 5 rows x 7 columns: frames of a SEG that do not end on bytes
    stored_values = np.arange(140, dtype=np.int16).reshape(4, 5, 7)
    scan = Scan(patient="S1", study="store one")
    orthanc.upload(write_ct_series(tmp_path / "ct", stored_values, scan=scan))
    fetch_studies(orthanc.archive, [study], tmp_path / "in")
    mask = seg_over(tmp_path / "in", tmp_path / "seg.dcm")

    (stored,) = store_segs(orthanc.archive, [tmp_path / "seg.dcm"])
    assert (stored.accepted, stored.said) == (True, "stored")

    series = fetch_studies(orthanc.archive, [study], tmp_path / "back")
    assert [each.modality for each in series] == ["CT", "SEG"]
    (file,) = series[1].folder.iterdir()
    (segment,) = read_segments(file)
    np.testing.assert_array_equal(on_grid(segment.volume, mask.grid).volume.array, mask.array)
    sent = pydicom.dcmread(tmp_path / "seg.dcm")
    assert pydicom.dcmread(file) == sent


def test_a_seg_of_another_patient_id_is_refused_before_any_is_sent(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    paths = write_ct_series(tmp_path / "ct", scan=Scan(patient="CANARY", study="store two"))
    orthanc.upload(paths)
    seg_over(tmp_path / "ct", tmp_path / "own.dcm")
    seg_over(tmp_path / "ct", tmp_path / "none.dcm", identity="none")
    before = orthanc.statistics()["CountInstances"]
    with pytest.raises(InputError, match=r"none\.dcm: its PatientID \(0010,0020\)") as caught:
        store_segs(orthanc.archive, [tmp_path / "own.dcm", tmp_path / "none.dcm"])
    assert "CANARY" not in str(caught.value)
    assert orthanc.statistics()["CountInstances"] == before


def test_the_command_says_what_the_archive_said(
    orthanc: Orthanc,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # a study that the archive does not have yet
    write_ct_series(tmp_path / "ct", scan=Scan(patient="S3", study="store three"))
    path = tmp_path / "seg.dcm"
    seg_over(tmp_path / "ct", path)
    monkeypatch.setenv("BONEVIZ_ARCHIVE_USER", orthanc.user)
    monkeypatch.setenv("BONEVIZ_ARCHIVE_PASSWORD", orthanc.password)
    assert main(["archive", "send", orthanc.archive.url, str(path), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{path}: stored\n"
    assert main(["archive", "send", orthanc.archive.url, str(path.parent / "ct" / "x")]) == 1
    assert "no such file" in capsys.readouterr().err


def report(kind: str, sop_uid: str, **reason: int) -> bytes:
    """Return an archive's report of one file."""
    tags = {"failure": "00081197", "warning": "00081196"}
    item = {"00081155": {"vr": "UI", "Value": [sop_uid]}}
    for name, code in reason.items():
        item[tags[name]] = {"vr": "US", "Value": [code]}  # type: ignore[dict-item]
    return json.dumps({kind: {"vr": "SQ", "Value": [item]}}).encode()


DONE, FAILED = "00081199", "00081198"


@pytest.fixture
def seg(tmp_path: Path) -> tuple[Path, str]:
    write_ct_series(tmp_path / "ct", scan=Scan(patient="CANARY", study="CANARY"))
    seg_over(tmp_path / "ct", tmp_path / "seg.dcm")
    return tmp_path / "seg.dcm", str(pydicom.dcmread(tmp_path / "seg.dcm").SOPInstanceUID)


def to_posts(answer: Answer) -> Answer:
    """Answer to what is stored; the archive has no studies."""

    def both(request: object) -> None:
        posted = request.command == "POST"  # type: ignore[attr-defined]
        (answer if posted else says(b"[]"))(request)  # type: ignore[arg-type]

    return both


@pytest.mark.parametrize(
    ("status", "kind", "reason", "accepted", "said"),
    [
        (200, DONE, {}, True, "stored"),
        (202, DONE, {"warning": 0xB000}, True, "stored, but the archive has replaced some values"),
        (202, FAILED, {"failure": 0x0122}, False, "does not take this kind of object"),
        (409, FAILED, {"failure": 0xA700}, False, "refused: out of resources"),
        (409, FAILED, {"failure": 0xC123}, False, "cannot understand it .*0008,1197.*: C123"),
        (409, FAILED, {}, False, r"refused: no FailureReason \(0008,1197\)"),
        (409, FAILED, {"failure": 77}, False, "a reason of its own .*: 004D"),
    ],
)
def test_what_the_archive_says_is_told(
    seg: tuple[Path, str],
    status: int,
    kind: str,
    reason: dict[str, int],
    accepted: bool,
    said: str,
) -> None:
    path, sop_uid = seg
    answer = says(
        report(kind, sop_uid, **reason), "application/dicom+json; charset=utf-8", status=status
    )
    with misbehaving(to_posts(answer)) as url:
        (stored,) = store_segs(Archive(url), [path])
    assert stored.accepted == accepted
    assert re.search(said, stored.said)


@pytest.mark.parametrize("body", [b"", report(DONE, "1.2.3"), report(FAILED, "1.2.3"), b"{}"])
def test_what_the_archive_does_not_confirm_is_not_stored(
    seg: tuple[Path, str], body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with misbehaving(to_posts(says(body))) as url:
        assert main(["archive", "send", url, str(seg[0])]) == 1
    assert "does not say that it has stored it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says(b"<html>", status=403), "may not do that"),
        (says(b"<html>", status=409), "no JSON"),
        (says(b"[1, 2]", status=409), "cannot be understood"),
        (says(b"[1, 2]"), "cannot be understood"),
        (says(b'{"00081199": 3}'), "cannot be understood"),
        (says(b"{"), "no JSON"),
        (says(b"<a>&b;</a>", "application/dicom+xml"), "cannot be understood"),
        (says(b"", status=415), "does not take DICOM files"),
        (says(b"", status=307, Location="https://elsewhere.example/"), "redirect to https://else"),
    ],
)
def test_a_refusal_of_the_request_is_an_error(
    seg: tuple[Path, str], answer: Answer, said: str
) -> None:
    with misbehaving(to_posts(answer)) as url, pytest.raises(ArchiveError, match=said) as caught:
        store_segs(Archive(url), [seg[0]])
    assert "CANARY" not in str(caught.value)


def test_only_segs_of_a_size_are_sent(
    seg: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = seg
    archive = Archive("https://pacs.example")  # never asked
    (ct, *_) = sorted((path.parent / "ct").iterdir())
    with pytest.raises(ImageFileError, match="is CT Image Storage, expected Segmentation"):
        store_segs(archive, [ct])
    monkeypatch.setattr(boneviz.dicomstore, "MAX_FILE_BYTES", 100)
    with pytest.raises(InputError, match="bytes, at most 100 are sent"):
        store_segs(archive, [path])
