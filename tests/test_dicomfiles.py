from __future__ import annotations

import os
import struct
import tracemalloc
from datetime import datetime
from pathlib import Path

import pytest
from dicommade import (
    Scan,
    explicit,
    items_of,
    put_sequence_into_meta,
    uid,
    write_ct_series,
    write_dataset,
    write_pet_series,
)
from pydicom import dcmread
from pydicom.dataset import Dataset

from boneviz.dicomfiles import Skipped, find_series
from boneviz.errors import InputError


def test_files_are_grouped_by_series_wherever_they_lie(tmp_path: Path) -> None:
    cts = write_ct_series(tmp_path / "a" / "b")
    pets = write_pet_series(tmp_path / "a" / "b")
    others = write_pet_series(tmp_path / "c", scan=Scan(patient="P2", study="another"))
    cts[0].rename(tmp_path / "IM1")
    found = find_series(tmp_path)
    assert found.skipped == ()
    assert len(found) == 3
    by_uid = {(s.study_uid, s.modality): s for s in found}
    ct, pet = by_uid[uid("study"), "CT"], by_uid[uid("study"), "PT"]
    assert set(ct.paths) == {tmp_path / "IM1", *cts[1:]}
    assert pet.paths == tuple(pets)
    assert by_uid[uid("another"), "PT"].paths == tuple(others)
    assert by_uid[uid("another"), "PT"].patient_id == "P2"


def test_a_series_says_what_one_chooses_by(tmp_path: Path) -> None:
    write_pet_series(tmp_path)
    (pet,) = find_series(tmp_path)
    assert (pet.modality, len(pet), pet.n_slices, pet.slices_expected) == ("PT", 4, 4, 4)
    assert pet.series_uid == uid("study", "pt")
    assert pet.frame_of_reference_uid == uid("frame")
    assert pet.series_at == datetime(2024, 2, 29, 10)
    assert pet.study_at == datetime(2024, 2, 29, 9, 55)
    assert pet.description == "PET corrected"
    assert pet.image_type == ("ORIGINAL", "PRIMARY")
    assert pet.reconstruction == "OSEM"
    assert pet.attenuation_corrected
    assert not pet.lossy
    assert (pet.patient_id, pet.patient_name) == ("P1", "Name^P1")


def test_a_series_is_printed_without_identity(tmp_path: Path) -> None:
    write_pet_series(tmp_path, scan=Scan(patient="DOE"))
    found = find_series(tmp_path)
    for text in (repr(found), repr(found.series[0].files[0]), f"{found.series[0]}"):
        assert "PT" in text
        assert not any(each in text for each in ("DOE", uid("study"), "2024", "corrected"))


def test_uncorrected_and_lossy_are_told(tmp_path: Path) -> None:
    def change(n: int, ds: Dataset) -> None:
        ds.CorrectedImage = ["DECY", "ATTN"] if n else ["DECY"]
        if n == 2:
            ds.LossyImageCompression = "01"

    write_pet_series(tmp_path, edit=change)
    (pet,) = find_series(tmp_path)
    assert not pet.attenuation_corrected, "of one slice only"
    assert pet.lossy


def test_what_is_not_dicom_is_named_and_not_fatal(tmp_path: Path) -> None:
    paths = write_ct_series(tmp_path / "scan")
    (tmp_path / "README.txt").write_text("not DICOM")
    (tmp_path / "empty").touch()
    # it ends before it says whose it is
    paths[1].write_bytes(paths[1].read_bytes()[:150])
    os.mkfifo(tmp_path / "pipe")
    found = find_series(tmp_path)
    assert {s.path.name: (s.reason.split(" (")[0], s.damaged) for s in found.skipped} == {
        "README.txt": ("not a DICOM file", False),
        "empty": ("not a DICOM file", False),
        "pipe": ("not a regular file", False),
        "ct0001.dcm": ("without StudyInstanceUID", True),
    }
    assert len(found.series[0]) == 3


def test_a_dicomdir_is_left_alone(tmp_path: Path) -> None:
    write_ct_series(tmp_path)
    directory = Dataset()
    directory.SOPClassUID, directory.SOPInstanceUID = "1.2.840.10008.1.3.10", uid("directory")
    write_dataset(tmp_path / "DICOMDIR", directory)
    found = find_series(tmp_path)
    assert [s.reason for s in found.skipped] == ["a DICOMDIR: the files themselves are read"]
    assert len(found) == 1


def test_dicom_without_a_series_is_damaged(tmp_path: Path) -> None:
    path, *_ = write_ct_series(tmp_path, edit=lambda n, ds: n == 0 and ds.pop("SeriesInstanceUID"))
    (skipped,) = find_series(tmp_path).skipped
    assert (skipped.path, skipped.damaged) == (path, True)
    assert "SeriesInstanceUID (0020,000E)" in skipped.reason


def test_a_copy_is_reported_and_read_once(tmp_path: Path) -> None:
    paths = write_ct_series(tmp_path)
    copy = tmp_path / "zcopy.dcm"
    copy.write_bytes(paths[2].read_bytes())
    found = find_series(tmp_path)
    assert found.skipped == (Skipped(copy, f"a copy of {paths[2]}"),)
    assert found.series[0].paths == tuple(paths)


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    outside = write_ct_series(tmp_path / "outside")
    inside = write_pet_series(tmp_path / "folder")
    (tmp_path / "folder" / "link.dcm").symlink_to(outside[0])
    (tmp_path / "folder" / "dir").symlink_to(tmp_path / "outside", target_is_directory=True)
    (tmp_path / "folder" / "gone").symlink_to(tmp_path / "folder" / "nothing")
    found = find_series(tmp_path / "folder")
    assert [s.paths for s in found] == [tuple(inside)]
    assert {s.path.name: s.reason for s in found.skipped} == {
        "link.dcm": "a link that leads out of the folder",
        "gone": "not a regular file",
    }


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    paths = write_ct_series(tmp_path)
    for path in paths:
        ds = dcmread(path)
        del ds.file_meta
        ds.preamble = None
        ds.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    (ct,) = find_series(tmp_path)
    assert ct.sop_uids == tuple(uid("study", "ct", str(n)) for n in range(4))
    assert ct.files[0].transfer_syntax == "1.2.840.10008.1.2"


def test_text_is_read_in_its_own_character_set(tmp_path: Path) -> None:
    def greek(_: int, ds: Dataset) -> None:
        ds.SpecificCharacterSet = "ISO_IR 126"
        ds.SeriesDescription = "Οστά"

    write_ct_series(tmp_path, edit=greek)
    assert find_series(tmp_path).series[0].description == "Οστά"


def test_an_inflated_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boneviz.dicombytes.MAX_INFLATED_BYTES", 2000)

    def long(n: int, ds: Dataset) -> None:
        ds.ImageComments = "a" * (4000 * (n == 1))

    write_ct_series(tmp_path, edit=long, syntax="1.2.840.10008.1.2.1.99")
    (skipped,) = find_series(tmp_path).skipped
    assert skipped.path.name == "ct0001.dcm"
    assert "inflates to more than 2000 bytes" in skipped.reason


def test_many_files_are_read_in_processes_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ct_series(tmp_path)
    write_pet_series(tmp_path)
    (tmp_path / "b.txt").write_text("not DICOM")
    here = find_series(tmp_path)
    monkeypatch.setattr("boneviz.dicomfiles.WORTH_PROCESSES", 1)
    monkeypatch.setattr("boneviz.dicomfiles.PART", 3)
    assert find_series(tmp_path) == here


def test_a_folder_without_dicom_gives_nothing(tmp_path: Path) -> None:
    assert len(find_series(tmp_path)) == 0
    with pytest.raises(InputError, match="no such folder"):
        find_series(tmp_path / "nowhere")


def test_equal_arguments_make_equal_bytes(tmp_path: Path) -> None:
    first, second = (write_pet_series(tmp_path / name) for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_a_sequence_in_the_place_of_a_text_is_not_written_out(tmp_path: Path) -> None:
    (path, *_) = write_ct_series(tmp_path)
    content = path.read_bytes()
    # Manufacturer (0008,0070), a text, as 60 sequences within one another: 2^60 steps as text
    at = content.index(b"\x08\x00\x70\x00LO")
    length = struct.unpack_from("<H", content, at + 6)[0]
    deep = explicit(b"\x08\x00\x70\x00", b"SQ", items_of(60))
    path.write_bytes(content[:at] + deep + content[at + 8 + length :])
    assert find_series(tmp_path).series[0].files[0].manufacturer == ""


def test_a_sequence_in_the_meta_information_is_refused(tmp_path: Path) -> None:
    (path, *_) = write_ct_series(tmp_path)
    put_sequence_into_meta(path, 60)
    (skipped,) = find_series(tmp_path).skipped
    assert skipped.reason.startswith("a sequence in the File Meta Information, group 0002")


@pytest.mark.parametrize("length", [0, 1, 4, 7, 11])
def test_a_file_that_ends_within_its_meta_information_is_damaged(
    tmp_path: Path, length: int
) -> None:
    path = tmp_path / "ct.dcm"
    path.write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\x14\x00\x31\x2e\x32"[:length])
    found = find_series(tmp_path)
    assert len(found) == 0
    assert [skipped.damaged for skipped in found.skipped] == [True]


def test_no_room_is_made_for_an_element_that_claims_two_gigabytes(tmp_path: Path) -> None:
    (path, *_) = write_ct_series(tmp_path)
    content = path.read_bytes()
    end = content.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(content[:end] + explicit(b"\x40\x00\x30\xa7", b"UN", b"a", claims=2**31 - 1))
    find_series(tmp_path)  # modules are loaded
    tracemalloc.start()
    find_series(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_modality_that_is_none_is_not_said(tmp_path: Path) -> None:
    write_ct_series(tmp_path, edit=lambda _, ds: setattr(ds, "Modality", "Canary^Name"))
    (series,) = find_series(tmp_path)
    assert series.modality == ""
    assert "Canary" not in repr(series)
