"""DICOM SEG in: voxels on the file's own grid, and everything unknowable refused by its tag."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nrrd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless
from segmade import FRAME, OBLIQUE, SERIES, seg_file, written

from boneviz.dicomseg import SegmentName, read_segments, segment_names
from boneviz.errors import BonevizError, GridError, ImageFileError, InputError


def frame(*pixels: tuple[int, int], value: int = 1) -> np.ndarray:
    """Return 4 rows x 6 columns with these (row, column) set."""
    image = np.zeros((4, 6), dtype=np.uint8)
    for pixel in pixels:
        image[pixel] = value
    return image


# segment 1 on the slices at 0 and 10 mm, segment 3 on that at 5, overlapping nothing; slices 5 mm
SPARSE = ([frame((1, 2)), frame((0, 5)), frame((3, 0), (1, 2))], [(1, 10.0), (1, 0.0), (3, 5.0)])


def test_sparse_segments_share_one_grid(tmp_path: Path) -> None:
    path = written(seg_file(*SPARSE, labels={1: "<b>hip", 3: "", 4: "never drawn"}), tmp_path / "s")
    hip, second, empty = read_segments(path)
    # voxels are (column, row, slice); the frame at 10 mm is slice 2
    assert np.argwhere(hip.volume.array).tolist() == [[2, 1, 2], [5, 0, 0]]
    assert np.argwhere(second.volume.array).tolist() == [[0, 3, 1], [2, 1, 1]]
    assert not empty.volume.array.any()
    for segment in (hip, second, empty):
        assert segment.volume.grid.frame_of_reference_uid == FRAME
        assert segment.volume.grid.shape == (6, 4, 3)
        # LPS (-10, -20, 30)
        np.testing.assert_allclose(segment.volume.grid.to_mm([0, 0, 0]), [10, 20, 30])
    assert hip.name == SegmentName(1, "<b>hip", "MANUAL")
    assert (hip.encoding, hip.threshold, hip.source_series_uids) == ("BINARY", None, (SERIES,))


def test_segments_may_overlap(tmp_path: Path) -> None:
    file = seg_file([frame((1, 2), (1, 3)), frame((1, 3))], [(1, 0.0), (2, 0.0)])
    a, b = read_segments(written(file, tmp_path / "s"))
    assert (a.volume.array & b.volume.array).sum() == 1


def test_some_segments_alone(tmp_path: Path) -> None:
    path = written(seg_file(*SPARSE), tmp_path / "s")
    assert [s.name.number for s in read_segments(path, only=[3])] == [3]
    assert [name.number for name in segment_names(path)] == [1, 3]
    with pytest.raises(ImageFileError, match="no segment 2: the file has 1, 3"):
        read_segments(path, only=[1, 2])


def test_an_oblique_segment(tmp_path: Path) -> None:
    file = seg_file([frame((0, 1)), frame((0, 0))], [(1, 0.0), (1, 5.0)], orientation=OBLIQUE)
    (segment,) = read_segments(written(file, tmp_path / "s"))
    # one column of 2 mm along (0.8, 0.6, 0) from LPS (-10, -20, 30): (-8.4, -18.8, 30)
    np.testing.assert_allclose(segment.volume.grid.to_mm([1, 0, 0]), [8.4, 18.8, 30])
    assert np.argwhere(segment.volume.array).tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("of", ["PROBABILITY", "OCCUPANCY"])
def test_a_fractional_segment_needs_a_threshold(tmp_path: Path, of: str) -> None:
    # of 200: 99 is 0.495, 100 is 0.5
    image = frame((0, 0), value=99) + frame((0, 1), value=100) + frame((0, 2), value=200)
    path = written(seg_file([image], [(1, 0.0)], kind="FRACTIONAL", fractional=of), tmp_path / "s")
    with pytest.raises(ImageFileError, match=rf"\(0062,0010\) {of}: .* give a threshold"):
        read_segments(path)
    (segment,) = read_segments(path, threshold=0.5)
    assert np.argwhere(segment.volume.array).tolist() == [[1, 0, 0], [2, 0, 0]]
    assert (segment.encoding, segment.threshold) == (f"FRACTIONAL {of}", 0.5)
    with pytest.raises(InputError, match="threshold 0: expected above 0"):
        read_segments(path, threshold=0)


def test_a_label_map(tmp_path: Path) -> None:
    image = frame((0, 0), value=2) + frame((3, 5), value=1)
    file = seg_file([image, frame()], [(0, 0.0), (0, 5.0)], kind="LABELMAP", labels={1: "", 2: ""})
    one, two = read_segments(written(file, tmp_path / "s"))
    assert [s.name.number for s in (one, two)] == [1, 2]
    assert np.argwhere(one.volume.array).tolist() == [[5, 3, 0]]
    assert np.argwhere(two.volume.array).tolist() == [[0, 0, 0]]
    assert one.volume.grid.shape == (6, 4, 2)
    assert one.encoding == "LABELMAP"


@pytest.mark.parametrize("only", [None, [1]])
def test_voxels_that_nobody_describes_do_not_vanish(tmp_path: Path, only: list[int] | None) -> None:
    image = frame((0, 0), value=1) + frame((3, 5), value=7) + frame((2, 2), value=9)
    file = seg_file([image, frame()], [(0, 0.0), (0, 5.0)], kind="LABELMAP", labels={1: "", 9: ""})
    message = r"PixelData \(7FE0,0010\) has the numbers 7, which SegmentSequence .* it has 1, 9;"
    with pytest.raises(ImageFileError, match=message):
        read_segments(written(file, tmp_path / "s"), only=only)
    # a background that is not 0 is said in the file
    file.PixelPaddingValue = 7
    assert read_segments(written(file, tmp_path / "s"), only=[1])[0].volume.array.sum() == 1

    file = seg_file(*SPARSE)
    del file.SegmentSequence[1]
    message = r"ReferencedSegmentNumber \(0062,000B\) has the numbers 3, which .* it has 1;"
    with pytest.raises(ImageFileError, match=message):
        read_segments(written(file, tmp_path / "s"), only=only)


def packed_seg(folder: Path) -> Path:
    image = frame((0, 0), value=200)
    file = seg_file([image, image[::-1]], [(1, 0.0), (1, 5.0)], kind="FRACTIONAL")
    path = written(file, folder / "s")
    packed = pydicom.dcmread(path)
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.save_as(path)
    return path


def test_compressed_frames(tmp_path: Path) -> None:
    path = packed_seg(tmp_path)
    (segment,) = read_segments(path, threshold=0.5)
    assert np.argwhere(segment.volume.array).tolist() == [[0, 0, 0], [0, 3, 1]]


def per_frame(n: int, sequence: str, keyword: str, value: object) -> Callable[[Dataset], object]:
    def change(file: Dataset) -> None:
        item = file.PerFrameFunctionalGroupsSequence[n]
        setattr(item[sequence].value[0], keyword, value)

    return change


def shared(sequence: str, keyword: str, value: object) -> Callable[[Dataset], object]:
    return lambda f: setattr(f.SharedFunctionalGroupsSequence[0][sequence].value[0], keyword, value)


def setting(keyword: str, value: object) -> Callable[[Dataset], object]:
    return lambda file: setattr(file, keyword, value)


POSITION = ("PlanePositionSequence", "ImagePositionPatient")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), r"is CT Image Storage, expected Seg"),
        (setting("SegmentationType", "OTHER"), r"SegmentationType \(0062,0001\) is not one of"),
        (setting("SegmentationType", "LABELMAP"), "is LABELMAP in a file of another SOPClassUID"),
        (
            setting("BitsAllocated", 8),
            r"BitsAllocated \(0028,0100\) is 8 in a BINARY .* expected 1",
        ),
        (setting("NumberOfFrames", 4), r"NumberOfFrames \(0028,0008\) is 4, .* describes 3"),
        (setting("NumberOfFrames", 2**31 - 1), r"is 2147483647, expected 1 to 1048576"),
        (lambda f: f.pop("Rows"), r"Rows \(0028,0010\) is missing"),
        (lambda f: (setting("Rows", 65535)(f), setting("Columns", 65535)(f)), "at most 1073741824"),
        (setting("Rows", 1000), r"PixelData \(7FE0,0010\) has 10 bytes, expected 2250"),
        (lambda f: f.pop("PixelData"), r"PixelData \(7FE0,0010\) is missing"),
        (setting("DimensionOrganizationType", "TILED_FULL"), "is tiled, as slide microscopy"),
        (lambda f: f.pop("SegmentSequence"), r"SegmentSequence \(0062,0002\) describes no segment"),
        (
            lambda f: setattr(f.SegmentSequence[1], "SegmentNumber", 1),
            r"comes twice among \[1, 1\]",
        ),
        (
            lambda f: f.SharedFunctionalGroupsSequence[0].pop("PixelMeasuresSequence"),
            r"PixelMeasuresSequence \(0028,9110\) is missing for frame 1",
        ),
        (
            lambda f: f.PerFrameFunctionalGroupsSequence[1].pop("PlanePositionSequence"),
            r"PlanePositionSequence \(0020,9113\) is missing for frame 2",
        ),
        (shared("PixelMeasuresSequence", "PixelSpacing", [0, 2]), r"PixelSpacing .* is 0, 2 mm"),
        (per_frame(1, *POSITION, [-10, -20]), r"holds 2 numbers in frame 2, expected 3"),
        (per_frame(1, *POSITION, [-10, -20, 35]), None),
        (
            per_frame(0, *POSITION, [-10, -20, 30]),
            "2 frames of segment 1 lie in one plane, slice 0",
        ),
        (per_frame(0, *POSITION, [-10, -20, 43.3]), r"from 5\.000 to 8\.300 mm"),
        (per_frame(0, *POSITION, [-9, -20, 40]), r"lies 1\.00 mm beside the line"),
        (per_frame(0, *POSITION, [-10, -20, 90000]), None),
        (setting("FrameOfReferenceUID", "CANARY"), r"FrameOfReferenceUID \(0020,0052\) is no UID"),
    ],
)
def test_what_cannot_be_known_is_refused(
    tmp_path: Path, change: Callable[[Dataset], object], message: str | None
) -> None:
    file = seg_file(*SPARSE)
    change(file)
    path = written(file, tmp_path / "s.dcm")
    if message is None:
        # still regular: another plane, or one far away on the lattice
        assert read_segments(path)
        return
    with pytest.raises((ImageFileError, GridError), match=message) as raised:
        read_segments(path)
    assert str(raised.value).startswith(str(path))
    assert "CANARY" not in str(raised.value)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="no such file"):
        read_segments(tmp_path / "lost.dcm")
    (tmp_path / "text.dcm").write_text("text")
    with pytest.raises(ImageFileError, match="not a DICOM file, expected a DICOM Segmentation"):
        read_segments(tmp_path / "text.dcm")


def test_a_deflated_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(seg_file(*SPARSE), tmp_path / "s.dcm")
    content = path.read_bytes()
    (length,) = struct.unpack("<I", content[140:144])
    start = 144 + length
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflater.compress(content[start:]) + deflater.flush()
    file = pydicom.dcmread(path)
    meta = file.file_meta
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    stream = io.BytesIO()
    pydicom.filewriter.write_file_meta_info(stream, meta)
    path.write_bytes(bytes(128) + b"DICM" + stream.getvalue() + body)
    assert len(read_segments(path)) == 2
    monkeypatch.setattr("boneviz.dicombytes.MAX_INFLATED_BYTES", 100)
    with pytest.raises(ImageFileError, match="inflates to more than 100 bytes"):
        read_segments(path)


def test_damaged_files_raise_nothing_else(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    rng = np.random.default_rng(5)
    whole = written(seg_file(*SPARSE), tmp_path / "s").read_bytes()
    path, refused = tmp_path / "damaged.dcm", 0
    for n in range(300):
        content = bytearray(whole)
        for at in rng.integers(132, len(content), rng.integers(1, 6)):
            content[at] = rng.integers(0, 256)
        path.write_bytes(content[: rng.integers(200, len(content))] if n % 5 == 0 else content)
        try:
            read_segments(path)
        except BonevizError as error:
            refused += 1
            assert "CANARY" not in str(error)
    assert refused > 50
    assert not recwarn.list


@pytest.mark.realdata
def test_voxels_are_those_of_the_nrrds_of_dcmqi(realdata: Path) -> None:
    folder = realdata / "dicom_seg" / "dcmqi"
    (liver,) = read_segments(folder / "liver.dcm")
    expected, _ = nrrd.read(str(folder / "liver_seg.nrrd"))
    assert liver.volume.array.sum() == 107098
    np.testing.assert_array_equal(liver.volume.array, expected > 0)
    segments = {s.name.number: s for s in read_segments(folder / "partial_overlaps.dcm")}
    for file, numbers in ((1, (1, 4, 5)), (2, (2,)), (3, (3,))):
        expected, _ = nrrd.read(str(folder / f"partial_overlaps-{file}.nrrd"))
        for number in numbers:
            np.testing.assert_array_equal(segments[number].volume.array, expected == number)


@pytest.mark.realdata
def test_segs_of_highdicom(realdata: Path) -> None:
    folder = realdata / "dicom_seg" / "highdicom"
    (binary,) = read_segments(folder / "seg_image_ct_binary.dcm")
    for name in ("seg_image_ct_binary_fractional.dcm", "seg_image_ct_true_fractional.dcm"):
        with pytest.raises(ImageFileError, match="PROBABILITY"):
            read_segments(folder / name)
        (fractional,) = read_segments(folder / name, threshold=0.5)
        np.testing.assert_array_equal(fractional.volume.array, binary.volume.array)
    # frames at -99.48, 103.02, 104.27 and 105.52 mm: 205 mm are 164 steps of 1.25 mm
    first, second = read_segments(folder / "seg_image_ct_binary_overlap.dcm")
    assert first.volume.grid.shape == (16, 16, 165)
    assert (first.volume.array & second.volume.array).any()
    (single,) = read_segments(folder / "seg_image_ct_binary_single_frame.dcm")
    assert single.volume.grid.shape == (128, 128, 1)


def test_a_frame_that_ends_its_decoder_takes_nothing_else_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed_seg(tmp_path)
    monkeypatch.setattr("boneviz.segframes._masks_or_error", lambda *_: os._exit(1))
    with pytest.raises(ImageFileError, match=r"/s: a compressed frame ended its decoder"):
        read_segments(path, threshold=0.5)


def test_a_frame_of_another_size_is_refused_before_room_is_made(tmp_path: Path) -> None:
    path = packed_seg(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.Columns = 4096, 4096
    dataset.save_as(path)
    with pytest.raises(ImageFileError, match=r"compressed frame of another size than Rows .* 4096"):
        read_segments(path, threshold=0.5)
