from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicommade import (
    PET_FACTOR,
    Edit,
    write_ct_series,
    write_pet_series,
)
from pydicom import dcmread
from pydicom.dataset import Dataset
from tqdm import tqdm

from boneviz.dicom import Series, find_series, read_ct, read_grid, read_pet, suv_derivation
from boneviz.errors import BonevizError, GridError, ImageFileError, InputError

#: (slices, rows, columns)
STORED = np.arange(1000, 1024, dtype=np.int16).reshape(4, 3, 2)


def only_series(folder: Path) -> Series:
    (series,) = find_series(folder)
    return series


def test_ct_becomes_hu_in_the_order_of_the_grid(tmp_path: Path) -> None:
    write_ct_series(tmp_path, STORED)
    ct = read_ct(only_series(tmp_path))
    assert (ct.unit, ct.array.dtype) == ("HU", np.int16)
    assert not ct.array.flags.writeable
    # slice 3, row 2, column 1 is the last number, 1023; rows and columns are the others' axes
    assert ct.array[1, 2, 3] == 1023 - 1024
    np.testing.assert_array_equal(ct.array, STORED.transpose(2, 1, 0) - 1024)


def scaled(slope: float, intercept: float) -> Edit:
    def edit(_: int, ds: Dataset) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept

    return edit


@pytest.mark.parametrize(
    ("stored", "edit", "dtype"),
    [
        (np.array([0, 2047, 4095], np.uint16), scaled(1, -1024), np.int16),
        # 65535 - 32768 just fits, 65535 - 32767 does not
        (np.array([0, 1, 65535], np.uint16), scaled(1, -32768), np.int16),
        (np.array([0, 1, 65535], np.uint16), scaled(1, -32767), np.float32),
        (np.array([-32768, 0, 5], np.int16), scaled(1, -1), np.float32),
        (np.array([-7, 0, 5], np.int16), scaled(0.5, -1), np.float32),
        (np.array([-7, 0, 5], np.int16), scaled(1, 0.25), np.float32),
        (np.array([0, 200, 255], np.uint8), scaled(1, -1024), np.int16),
        (np.array([-9, 0, 70000], np.int32), scaled(1, -1024), np.float32),
    ],
)
def test_hu_are_int16_where_that_is_exact(
    tmp_path: Path, stored: Any, edit: Edit, dtype: type
) -> None:
    planes = np.stack([np.tile(stored, (2, 1))] * 2)
    write_ct_series(tmp_path, planes, edit=edit)
    ct = read_ct(only_series(tmp_path))
    ds = dcmread(tmp_path / "ct0000.dcm")
    hu = stored.astype(float) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    assert ct.array.dtype == dtype
    np.testing.assert_array_equal(ct.array[:, 0, 0], hu)


def bits(stored_bits: int, **more: Any) -> Edit:
    def edit(_: int, ds: Dataset) -> None:
        ds.BitsStored, ds.HighBit = stored_bits, stored_bits - 1
        for name, value in more.items():
            setattr(ds, name, value)

    return edit


def test_a_sign_may_end_at_bits_stored(tmp_path: Path) -> None:
    # 12 bits: 4095 is -1, 2048 is -2048
    planes = np.array([[[4095, 2048, 2047, 0]]] * 2, np.int16)
    write_ct_series(tmp_path, planes, edit=bits(12))
    ct = read_ct(only_series(tmp_path))
    assert ct.array[:, 0, 0].tolist() == [-1025, -3072, 1023, -1024]


def test_pixels_without_measurement_become_air(tmp_path: Path) -> None:
    # -2000 is declared, although 12 bits hold no such number as 63536, its pattern
    planes = np.array([[[63536, 1100, 24]]] * 2, np.uint16)
    write_ct_series(tmp_path, planes, edit=bits(12, PixelPaddingValue=63536))
    assert read_ct(only_series(tmp_path)).array[:, 0, 0].tolist() == [-1024, 76, -1000]


def test_a_range_of_padding_is_padding(tmp_path: Path) -> None:
    planes = np.array([[[-2000, -1999, -1998, 0]]] * 2, np.int16)
    edit = bits(16, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1999)
    write_ct_series(tmp_path, planes, edit=edit)
    assert read_ct(only_series(tmp_path)).array[:, 0, 0].tolist() == [-1024, -1024, -3022, -1024]


def test_monochrome1_says_how_to_display_and_changes_no_number(tmp_path: Path) -> None:
    write_ct_series(tmp_path, edit=bits(16, PhotometricInterpretation="MONOCHROME1"))
    assert read_ct(only_series(tmp_path)).array[1, 2, 3] == -1


def test_pet_becomes_suv_by_the_slope_of_each_slice(tmp_path: Path) -> None:
    write_pet_series(tmp_path, STORED, slopes=[100, 250, 0.5, 3000])
    pet = read_pet(only_series(tmp_path))
    assert (pet.unit, pet.array.dtype) == ("SUVbw", np.float32)
    slopes = np.array([100, 250, 0.5, 3000])
    expected = STORED.transpose(2, 1, 0) * slopes * PET_FACTOR
    np.testing.assert_allclose(pet.array, expected, rtol=1e-7)
    # slice 1, row 0, column 1 is 1007: 1007 x 250 Bq/mL x 4e-4 = 100.7
    assert pet.array[1, 0, 1] == np.float32(100.7)
    assert suv_derivation(only_series(tmp_path)).factor == pytest.approx(PET_FACTOR, rel=1e-12)


def test_pet_without_suv_loads_as_counts(tmp_path: Path) -> None:
    write_pet_series(tmp_path, STORED, edit=lambda _, ds: ds.pop("PatientWeight"))
    series = only_series(tmp_path)
    with pytest.raises(InputError, match=r"PET without SUV: PatientWeight \(0010,1030\) is absent"):
        read_pet(series)
    pet = read_pet(series, as_counts=True)
    assert pet.unit == "counts"
    assert pet.array[1, 0, 1] == 1007 * 200


def test_private_factors_of_philips_and_the_time_of_ge_are_found(tmp_path: Path) -> None:
    def philips(_: int, ds: Dataset) -> None:
        ds.Units, ds.Manufacturer = "CNTS", "Philips Medical Systems"
        block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", "0.000551 ")
        block.add_new(0x09, "DS", "1.602563")

    def ge(_: int, ds: Dataset) -> None:
        block = ds.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x0D, "DT", "20240229103000.00")

    write_pet_series(tmp_path / "philips", edit=philips)
    write_pet_series(tmp_path / "ge", edit=ge)
    write_pet_series(tmp_path / "bare", edit=lambda n, ds: [philips(n, ds), ds.pop(0x70530010)])
    assert suv_derivation(only_series(tmp_path / "philips")).factor == 0.000551
    # an anonymiser took the creator of the block away
    assert suv_derivation(only_series(tmp_path / "bare")).factor == 0.000551
    # half an hour more is half a half-life
    expected = PET_FACTOR * 2**0.5
    assert suv_derivation(only_series(tmp_path / "ge")).factor == pytest.approx(expected)


def test_a_series_opened_early_is_known_by_the_time_and_the_factor_of_its_slices(
    tmp_path: Path,
) -> None:
    def early(n: int, ds: Dataset) -> None:
        ds.SeriesTime = "090500"
        ds.AcquisitionTime = f"10{2 * n:02d}00"
        # milliseconds since ten
        ds.FrameReferenceTime, ds.ActualFrameDuration = 120_000 * n, 120_000
        ds.DecayFactor = f"{2 ** (120 * n / 3600):.6f}"

    def on_time(n: int, ds: Dataset) -> None:
        early(n, ds)
        ds.SeriesTime = "100000"

    write_pet_series(tmp_path / "early", edit=early)
    write_pet_series(tmp_path / "on time", edit=on_time)
    with pytest.raises(
        InputError,
        match=r"\(0054,1300\) says 0 s and .*\(0054,1321\) says 0 s: expected 3240 to 3420",
    ):
        suv_derivation(only_series(tmp_path / "early"))
    derivation = suv_derivation(only_series(tmp_path / "on time"))
    assert derivation.factor == pytest.approx(PET_FACTOR, rel=1e-12)
    assert derivation.tags["DecayFactor (0054,1321)"] == 1


def test_an_offset_from_utc_is_followed_or_refused(tmp_path: Path) -> None:
    def utc(_: int, ds: Dataset) -> None:
        dose = ds.RadiopharmaceuticalInformationSequence[0]
        del dose.RadiopharmaceuticalStartTime
        dose.RadiopharmaceuticalStartDateTime = "20240229080000+0000"

    def with_zone(n: int, ds: Dataset) -> None:
        utc(n, ds)
        ds.TimezoneOffsetFromUTC = "+0100"

    write_pet_series(tmp_path / "with", edit=with_zone)
    write_pet_series(tmp_path / "without", edit=utc)
    derivation = suv_derivation(only_series(tmp_path / "with"))
    assert derivation.factor == pytest.approx(PET_FACTOR, rel=1e-12)
    with pytest.raises(InputError, match=r"expected TimezoneOffsetFromUTC \(0008,0201\)"):
        suv_derivation(only_series(tmp_path / "without"))


def test_the_nuclide_is_read_with_its_half_life(tmp_path: Path) -> None:
    def fluorine(_: int, ds: Dataset) -> None:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "C-111A1", "SRT"
        code.CodeMeaning = "^18^Fluorine"
        ds.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = [code]

    write_pet_series(tmp_path, edit=fluorine)
    with pytest.raises(
        InputError,
        match=r"\(0018,1075\) is 3600 s and Radio.* \(0054,0300\) says fluorine-18",
    ):
        suv_derivation(only_series(tmp_path))


@pytest.mark.parametrize("as_counts", [False, True])
def test_a_pet_cut_short_at_its_ends_is_no_whole_one(tmp_path: Path, as_counts: bool) -> None:
    paths = write_pet_series(tmp_path, STORED)
    assert read_grid(only_series(tmp_path)).shape == (2, 3, 4)
    paths[0].unlink()
    paths[3].unlink()
    series = only_series(tmp_path)
    says = r"2 slices of a PET, and NumberOfSlices \(0054,0081\) says 4: expected all"
    with pytest.raises(GridError, match=says):
        read_grid(series)
    with pytest.raises(GridError, match=says):
        read_pet(series, as_counts=as_counts)


def test_a_pet_that_does_not_say_how_many_slices_it_has_is_read(tmp_path: Path) -> None:
    paths = write_pet_series(tmp_path, STORED, edit=lambda _, ds: ds.pop("NumberOfSlices"))
    paths[0].unlink()
    assert read_pet(only_series(tmp_path)).array.shape == (2, 3, 3)


def test_two_tracers_in_one_patient_give_no_dose(tmp_path: Path) -> None:
    def two(_: int, ds: Dataset) -> None:
        ds.RadiopharmaceuticalInformationSequence = [
            *ds.RadiopharmaceuticalInformationSequence,
            Dataset(),
        ]

    write_pet_series(tmp_path, edit=two)
    with pytest.raises(InputError, match=r"RadionuclideTotalDose \(0018,1074\) is absent"):
        suv_derivation(only_series(tmp_path))


def claim(path: Path, **values: Any) -> None:
    ds = dcmread(path)
    for name, value in values.items():
        setattr(ds, name, value)
    ds.save_as(path)


def test_a_pet_is_no_ct(tmp_path: Path) -> None:
    write_pet_series(tmp_path)
    with pytest.raises(InputError, match=r"Modality \(0008,0060\) is PT, expected CT"):
        read_ct(only_series(tmp_path))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    paths = write_ct_series(tmp_path)
    series = only_series(tmp_path)
    paths[3].unlink()
    with pytest.raises(ImageFileError, match=r"ct0003\.dcm: can no longer be read \(No such file"):
        read_ct(series)


def enhanced(folder: Path, stored: Any, *, gap_mm: float = 4.0) -> Path:
    """Make one file of all slices of a CT, as an Enhanced CT has them."""
    write_ct_series(folder, stored)
    slices = [dcmread(path) for path in sorted(folder.glob("ct*.dcm"))]
    for path in folder.glob("ct*.dcm"):
        path.unlink()
    ds = slices[0]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.NumberOfFrames = len(slices)
    ds.PixelData = b"".join(each.PixelData for each in slices)
    shared, measures, plane, value = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = ds.PixelSpacing
    plane.ImageOrientationPatient = ds.ImageOrientationPatient
    value.RescaleSlope, value.RescaleIntercept = ds.RescaleSlope, ds.RescaleIntercept
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    shared.PixelValueTransformationSequence = [value]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for n in range(len(slices)):
        frame, place = Dataset(), Dataset()
        # the last frame first
        place.ImagePositionPatient = [-10, -20, 30 - gap_mm * n]
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    for name in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(ds, name)
    del ds.RescaleSlope, ds.RescaleIntercept
    ds.save_as(folder / "enhanced.dcm")
    return folder / "enhanced.dcm"


def test_the_frames_of_an_enhanced_ct_are_slices(tmp_path: Path) -> None:
    enhanced(tmp_path, STORED)
    series = only_series(tmp_path)
    assert (len(series), series.n_slices) == (1, 4)
    ct = read_ct(series)
    # frame 3 lies lowest, at 30 - 3 x 4 mm
    np.testing.assert_allclose(ct.grid.affine_ras_mm[:, 3], [10, 20, 18, 1])
    np.testing.assert_array_equal(ct.array, STORED[::-1].transpose(2, 1, 0) - 1024)


def test_frames_at_one_place_are_refused(tmp_path: Path) -> None:
    enhanced(tmp_path, STORED, gap_mm=0)
    with pytest.raises(GridError, match="4 slices at one place"):
        read_ct(only_series(tmp_path))


def test_frames_without_their_groups_are_refused(tmp_path: Path) -> None:
    claim(enhanced(tmp_path, STORED), PerFrameFunctionalGroupsSequence=[])
    with pytest.raises(GridError, match=r"PerFrameFunctionalGroupsSequence \(5200,9230\)"):
        read_ct(only_series(tmp_path))


@pytest.mark.filterwarnings("error")
def test_mutated_files_only_raise_errors_of_boneviz(tmp_path: Path) -> None:
    paths = write_pet_series(tmp_path)
    good, rng, read = paths[1].read_bytes(), np.random.default_rng(5), 0
    for _ in range(300):
        content = bytearray(good)
        for at in rng.integers(0, len(good), rng.integers(1, 6)):
            content[at] = rng.integers(0, 256)
        paths[1].write_bytes(content)
        for series in find_series(tmp_path):
            try:
                read_pet(series)
                read += 1
            except BonevizError as error:
                assert "Name^" not in str(error)
    assert read > 10


@pytest.mark.realdata
def test_a_real_pet_without_units_gives_counts_and_no_suv(realdata: Path) -> None:
    series = only_series(realdata / "nema")
    with pytest.raises(InputError, match=r"Units \(0054,1001\) is absent"):
        read_pet(series)
    pet = read_pet(series, as_counts=True)
    assert (pet.unit, pet.array.shape) == ("counts", (192, 192, 89))
    assert pet.grid.spacing_mm == pytest.approx((2.0833, 2.0833, 2.78), abs=1e-4)
    # against pydicom's own reading of one slice
    ds = dcmread(series.paths[40])
    z = round((float(ds.ImagePositionPatient[2]) - pet.grid.affine_ras_mm[2, 3]) / 2.78)
    expected = ds.pixel_array * float(ds.RescaleSlope)
    np.testing.assert_allclose(pet.array[:, :, z].T, expected, rtol=1e-6)


@pytest.mark.realdata
def test_a_real_ct_agrees_with_pydicom(realdata: Path) -> None:
    series = only_series(realdata / "dicom_seg" / "dcmqi" / "ct-3slice")
    ct = read_ct(series)
    lowest = dcmread(series.paths[2])
    hu = lowest.pixel_array.astype(int) - 1024
    hu[lowest.pixel_array == lowest.PixelPaddingValue] = -1024
    np.testing.assert_array_equal(ct.array[:, :, 0].T, hu)
    assert ct.array.dtype == np.int16


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tqdm[Any]]:
    """Return the bars that are shown from now on."""
    made: list[tqdm[Any]] = []

    class Known(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            if not self.disable:
                made.append(self)

    monkeypatch.setattr("boneviz.bars.tqdm", Known)
    return made


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
def test_a_bar_counts_the_slices_that_were_read(
    tmp_path: Path, made: list[tqdm[Any]], syntax: str
) -> None:
    """Four slices, plain or RLE, which processes decode."""
    write_ct_series(tmp_path / "ct", STORED, syntax=syntax)
    write_pet_series(tmp_path / "pet", STORED)
    read_ct(only_series(tmp_path / "ct"), progress=True)
    read_pet(only_series(tmp_path / "pet"), progress=True)
    assert [(bar.desc, bar.total, bar.n) for bar in made] == [
        ("reading CT", 4, 4),
        ("reading PET", 4, 4),
    ]


def test_the_bar_of_hu_beyond_int16_begins_anew(tmp_path: Path, made: list[tqdm[Any]]) -> None:
    # 32000 + 1000 HU on the last slice alone: all are read again as float32
    stored = np.zeros((4, 3, 2), np.int16)
    stored[3] = 32000
    write_ct_series(tmp_path, stored, edit=scaled(1, 1000))
    assert read_ct(only_series(tmp_path), progress=True).array.dtype == np.float32
    assert [bar.n for bar in made] == [4]


def test_no_bar_where_none_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ct_series(tmp_path, STORED)
    read_ct(only_series(tmp_path))
    assert capsys.readouterr().err == ""


def test_ctrl_c_ends_reading_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the first of 64 slices of 20 ms each, of which eight are read at a time."""
    write_ct_series(tmp_path, np.zeros((64, 3, 2), np.int16))
    series = only_series(tmp_path)
    begun: list[int] = []

    def slow(_: object, frame: int, __: object) -> None:
        begun.append(frame)
        time.sleep(0.02)

    class Pressed(tqdm):
        def update(self, *_: object) -> bool | None:
            raise KeyboardInterrupt

    monkeypatch.setattr("boneviz.dicom.read_stored", slow)
    monkeypatch.setattr("boneviz.bars.tqdm", Pressed)
    with pytest.raises(KeyboardInterrupt):
        read_ct(series, progress=True)
    assert 1 <= len(begun) <= 32
