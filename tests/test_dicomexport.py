"""SEGs out: read back voxel by voxel, over their source, and without anybody's identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from segmade import (
    AXIAL,
    CORONAL,
    FRAME,
    OBLIQUE,
    SERIES,
    STUDY,
    ct_headers,
    grid_of,
    sop_uid,
)

from boneviz.case import Reader
from boneviz.dicomexport import SegSettings, write_disagreement_seg, write_reader_seg
from boneviz.dicomseg import read_segments
from boneviz.errors import GridError, ImageFileError, InputError
from boneviz.harmonise import to_ras
from boneviz.labels import on_grid
from boneviz.sourceseries import SourceSeries
from boneviz.volume import Grid, Volume

A, B = Reader("Expert Ä"), Reader("Expert B")
MODEL_A, MODEL_B = Reader("Model A", "model"), Reader("Model B", "model")
SETTINGS = SegSettings("S017", "cohort 1", created=datetime(2024, 1, 2, 3, 4, 5))


def blob(grid: Grid, seed: int = 1, share: float = 0.3) -> Volume:
    rng = np.random.default_rng(seed)
    return Volume(rng.random(grid.shape) < share, grid, "label")


def source_of(headers: Sequence[Dataset], grid: Grid | None = None) -> SourceSeries:
    return SourceSeries.of(headers, grid or grid_of(headers))


SOURCE = source_of(ct_headers())


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE, CORONAL])
@pytest.mark.parametrize("step", [1.0, -1.0])
@pytest.mark.parametrize("ras", [False, True])
def test_identical_voxels_come_back(
    tmp_path: Path, orientation: Sequence[float], step: float, ras: bool
) -> None:
    # 7 x 5 pixels a frame: frames do not end on bytes
    headers = ct_headers((7, 5, 4), orientation=orientation, step=step)
    mask = blob(grid_of(headers))
    if ras:
        mask = to_ras(mask)
    source = source_of([headers[k] for k in (2, 0, 3, 1)], mask.grid)
    write_reader_seg(tmp_path / "seg.dcm", mask, A, source=source, settings=SETTINGS)
    (segment,) = read_segments(tmp_path / "seg.dcm")
    assert segment.volume.volume_ml == pytest.approx(mask.volume_ml)
    laid = on_grid(segment.volume, mask.grid)
    assert laid.frame == "same"
    np.testing.assert_array_equal(laid.volume.array, mask.array)
    assert segment.source_series_uids == (SERIES,)


@pytest.mark.parametrize(
    "shape", [(2, 2, 5), (3, 2, 4), (7, 1, 4), (1, 1, 9), (9, 1, 7), (2, 4, 3)]
)
@pytest.mark.parametrize("seed", range(4))
def test_several_frames_in_one_byte(tmp_path: Path, shape: tuple[int, int, int], seed: int) -> None:
    # 4, 6, 7 and 1 pixels a frame, of which highdicom 0.28 loses some; 9 and 8 beside them
    source = source_of(ct_headers(shape))
    mask = blob(source.grid, seed, 0.5)
    write_reader_seg(tmp_path / "s.dcm", mask, A, source=source, settings=SETTINGS)
    (segment,) = read_segments(tmp_path / "s.dcm")
    laid = on_grid(segment.volume, source.grid)
    np.testing.assert_array_equal(laid.volume.array, mask.array)
    # even length, PS3.5 8.1.1
    assert len(pydicom.dcmread(tmp_path / "s.dcm").PixelData) % 2 == 0


def test_bytes_that_decode_to_another_mask_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(seg: Dataset, pixels: np.ndarray, _: SourceSeries) -> None:
        # 2 x 2 pixels in 5 slices: 20 bits, the first of slice 0 turned about
        packed = np.packbits(pixels.ravel(), bitorder="little")
        packed[0] ^= 1
        seg.PixelData = packed.tobytes() + b"\0"

    monkeypatch.setattr("boneviz.dicomexport.pack", turned)
    source = source_of(ct_headers((2, 2, 5)))
    mask = Volume(np.ones((2, 2, 5), dtype=bool), source.grid, "label")
    message = (
        r"s\.dcm: PixelData \(7FE0,0010\) would hold 19 voxels in 5 frames, 1 of them wrong, .* 20"
    )
    with pytest.raises(ImageFileError, match=message):
        write_reader_seg(tmp_path / "s.dcm", mask, A, source=source, settings=SETTINGS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("slices", [[1], [0, 2], [0, 1, 4], [1, 4], []])
def test_planes_without_a_voxel_are_left_out_and_their_place_is_kept(
    tmp_path: Path, slices: list[int]
) -> None:
    headers = ct_headers((6, 4, 5))
    grid = grid_of(headers)
    array = np.zeros(grid.shape, dtype=bool)
    array[2, 1, slices] = True
    source = source_of(headers)
    write_reader_seg(
        tmp_path / "s.dcm", Volume(array, grid, "label"), A, source=source, settings=SETTINGS
    )
    # an empty mask gives all planes: a SEG without frames is not legal
    assert pydicom.dcmread(tmp_path / "s.dcm").NumberOfFrames == (len(slices) or 5)
    (segment,) = read_segments(tmp_path / "s.dcm")
    np.testing.assert_array_equal(on_grid(segment.volume, grid).volume.array, array)


def test_where_two_readers_differ(tmp_path: Path) -> None:
    a, b = blob(SOURCE.grid, 1), blob(SOURCE.grid, 2)
    write_disagreement_seg(tmp_path / "d", (A, a), (B, b), source=SOURCE, settings=SETTINGS)
    only_a, only_b, both = read_segments(tmp_path / "d")
    assert [s.name.label for s in (only_a, only_b, both)] == [
        "Expert Ä only",
        "Expert B only",
        "Expert Ä and Expert B",
    ]
    for segment, expected in (
        (only_a, a.array & ~b.array),
        (only_b, b.array & ~a.array),
        (both, a.array & b.array),
    ):
        laid = on_grid(segment.volume, SOURCE.grid)
        np.testing.assert_array_equal(laid.volume.array, expected)
        assert expected.any()


def test_readers_who_agree_leave_two_segments_empty(tmp_path: Path) -> None:
    a = blob(SOURCE.grid)
    write_disagreement_seg(tmp_path / "d", (A, a), (B, a), source=SOURCE, settings=SETTINGS)
    only_a, only_b, both = read_segments(tmp_path / "d")
    assert not only_a.volume.array.any()
    assert not only_b.volume.array.any()
    assert both.volume.volume_ml == pytest.approx(a.volume_ml)


def codes_of(items: Sequence[Dataset]) -> list[tuple[str, str]]:
    return [(str(item.CodeValue), str(item.CodingSchemeDesignator)) for item in items]


def test_what_a_seg_says_of_itself(tmp_path: Path) -> None:
    write_reader_seg(tmp_path / "s", blob(SOURCE.grid), A, source=SOURCE, settings=SETTINGS)
    seg = pydicom.dcmread(tmp_path / "s")
    assert (seg.SegmentationType, seg.SegmentsOverlap, seg.Modality) == ("BINARY", "NO", "SEG")
    assert (seg.StudyInstanceUID, seg.FrameOfReferenceUID) == (STUDY, FRAME)
    referenced = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {r.ReferencedSOPInstanceUID for r in referenced} == {sop_uid(k) for k in range(3)}
    # each frame names the image that it lies in
    for frame in seg.PerFrameFunctionalGroupsSequence:
        image = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        at = frame.PlanePositionSequence[0].ImagePositionPatient
        assert SOURCE.headers[SOURCE.slice_of[image]].ImagePositionPatient == at
    (segment,) = seg.SegmentSequence
    assert codes_of(segment.SegmentedPropertyCategoryCodeSequence) == [("49755003", "SCT")]
    assert codes_of(segment.SegmentedPropertyTypeCodeSequence) == [("52988006", "SCT")]
    assert codes_of(segment.AnatomicRegionSequence) == [("272673000", "SCT")]
    assert segment.SegmentAlgorithmType == "MANUAL"
    assert seg.SeriesDescription == "boneviz Expert Ä"
    assert str(seg.ContentCreatorName) == "Expert Ä"


def test_who_or_what_drew_it(tmp_path: Path) -> None:
    mask = blob(SOURCE.grid)
    version = replace(SETTINGS, algorithm_version="checkpoint 12ab")
    write_reader_seg(tmp_path / "m", mask, MODEL_A, source=SOURCE, settings=version)
    segment = pydicom.dcmread(tmp_path / "m").SegmentSequence[0]
    assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == ("AUTOMATIC", "Model A")
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmVersion == "checkpoint 12ab"
    assert codes_of(algorithm.AlgorithmFamilyCodeSequence) == [("123110", "DCM")]
    for one, other, expected in (
        (A, B, "SEMIAUTOMATIC"),
        (A, MODEL_A, "SEMIAUTOMATIC"),
        (MODEL_A, MODEL_B, "AUTOMATIC"),
    ):
        pair = ((one, mask), (other, blob(SOURCE.grid, 2)))
        write_disagreement_seg(tmp_path / "d", *pair, source=SOURCE, settings=SETTINGS)
        kinds = {s.SegmentAlgorithmType for s in pydicom.dcmread(tmp_path / "d").SegmentSequence}
        assert kinds == {expected}


def test_no_identity_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "s.dcm"
    write_reader_seg(path, blob(SOURCE.grid), A, source=SOURCE, settings=SETTINGS)
    content = path.read_bytes()
    for said in (b"CANARY", b"1901", b"2001"):
        assert said not in content
    seg = pydicom.dcmread(path)
    assert (seg.PatientID, seg.PatientName, seg.PatientSex) == ("S017", "S017", "")
    assert (seg.StudyDate, seg.AccessionNumber, seg.StudyID) == ("", "", "")
    assert seg.PatientIdentityRemoved == "YES"
    assert codes_of(seg.DeidentificationMethodCodeSequence) == [
        ("113100", "DCM"),
        ("113110", "DCM"),
    ]

    asked = replace(SETTINGS, identity="source")
    write_reader_seg(path, blob(SOURCE.grid), A, source=SOURCE, settings=asked)
    seg = pydicom.dcmread(path)
    assert (seg.PatientID, seg.PatientName) == ("CANARY-ID", "CANARY^NAME")
    assert (seg.PatientBirthDate, seg.PatientSex, seg.StudyDate) == ("19010203", "F", "20010203")
    assert "PatientIdentityRemoved" not in seg
    # not even then what no archive needs
    assert not {"InstitutionName", "StudyDescription", "PatientComments"} & set(seg.dir())


def test_equal_masks_give_equal_bytes_and_other_ones_other_uids(tmp_path: Path) -> None:
    mask, seen = blob(SOURCE.grid), {}
    for name, volume, reader, settings in (
        ("first", mask, A, SETTINGS),
        ("again", mask, A, SETTINGS),
        ("voxels", blob(SOURCE.grid, 2), A, SETTINGS),
        ("reader", mask, B, SETTINGS),
        ("salt", mask, A, replace(SETTINGS, salt="cohort 2")),
        ("moment", mask, A, replace(SETTINGS, created=datetime(2024, 1, 2, 3, 4, 6))),
    ):
        path = tmp_path / f"{name}.dcm"
        write_reader_seg(path, volume, reader, source=SOURCE, settings=settings)
        seen[name] = (path.read_bytes(), pydicom.dcmread(path))
    assert seen["first"][0] == seen["again"][0]
    instances = {name: seg.SOPInstanceUID for name, (_, seg) in seen.items()}
    assert len(set(instances.values())) == 5
    series = {name: seg.SeriesInstanceUID for name, (_, seg) in seen.items()}
    assert series["first"] == series["voxels"] == series["moment"]
    assert len({series["first"], series["reader"], series["salt"]}) == 3


def test_a_name_that_is_no_persons_name(tmp_path: Path) -> None:
    reader = Reader("Model A (p=0.5)", "model")
    write_reader_seg(tmp_path / "s", blob(SOURCE.grid), reader, source=SOURCE, settings=SETTINGS)
    seg = pydicom.dcmread(tmp_path / "s")
    assert seg.SeriesDescription == "boneviz Model A (p=0.5)"
    assert seg.ContentCreatorName == "Model A (p 0.5)"


def write(tmp_path: Path, mask: Volume, reader: Reader = A) -> None:
    write_reader_seg(tmp_path / "s", mask, reader, source=SOURCE, settings=SETTINGS)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    mask, grid = blob(SOURCE.grid), SOURCE.grid
    with pytest.raises(InputError, match="a SEG of a HU volume"):
        write(tmp_path, Volume(np.zeros(grid.shape, np.int16), grid, "HU"))
    with pytest.raises(GridError, match=r"mask on 2x2x2 .* expected the source's grid, 6x4x3"):
        write(tmp_path, blob(Grid.straight((2, 2, 2), (1, 1, 1))))
    with pytest.raises(GridError, match=r"another FrameOfReferenceUID \(0020,0052\)"):
        write(tmp_path, Volume(mask.array, Grid(grid.shape, grid.affine_ras_mm, "1.2"), "label"))
    for name in ("x" * 65, "a\\b"):
        with pytest.raises(InputError, match="DICOM holds 1 to 64 characters without a backslash"):
            write(tmp_path, mask, Reader(name))
    with pytest.raises(InputError, match="reader Expert Ä twice"):
        write_disagreement_seg(
            tmp_path / "s", (A, mask), (A, mask), source=SOURCE, settings=SETTINGS
        )
    headers = ct_headers()
    del headers[0].SOPClassUID
    with pytest.raises(ImageFileError, match=r"s: no SEG can be written over this source series"):
        write_reader_seg(tmp_path / "s", mask, A, source=source_of(headers), settings=SETTINGS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"salt": ""}, "salt is empty"),
        ({"study_id": " "}, "study_id ' '"),
        ({"identity": "some"}, "identity 'some': expected one of none, source"),
        ({"algorithm_version": "x" * 65}, "algorithm_version"),
    ],
)
def test_settings_are_checked(change: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SegSettings(**{"study_id": "S017", "salt": "cohort 1"} | change)  # type: ignore[arg-type]


@pytest.mark.realdata
def test_a_seg_over_a_real_ct(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "dicom_seg" / "dcmqi"
    (liver,) = read_segments(folder / "liver.dcm")
    headers = [
        pydicom.dcmread(path, stop_before_pixels=True)
        for path in sorted((folder / "ct-3slice").glob("*.dcm"))
    ]
    source = source_of(headers, liver.volume.grid)
    write_reader_seg(tmp_path / "s.dcm", liver.volume, A, source=source, settings=SETTINGS)
    (back,) = read_segments(tmp_path / "s.dcm")
    np.testing.assert_array_equal(back.volume.array, liver.volume.array)
    assert back.volume.array.sum() == 107098
    assert back.source_series_uids == liver.source_series_uids
    text = (tmp_path / "s.dcm").read_bytes()
    assert str(headers[0].PatientID).encode() not in text
