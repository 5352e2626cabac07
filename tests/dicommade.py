"""Small DICOM series made by hand: the same arguments give the same bytes, defects are planted.

    write_ct_series(folder)                                  four slices of 3 rows x 2 columns
    write_ct_series(folder, stored, scan=Scan(step_mm=5))    these stored values, 5 mm apart
    write_pet_series(folder, edit=lambda n, ds: ...)         each slice changed before it is written

With the defaults a PET slice is worth 4e-4 SUVbw per Bq/mL: 70 kg, and 350 MBq that an hour, one
half-life here, has halved: 1000 x 70 / 175e6.
"""

from __future__ import annotations

# before gdcm, whose wheel brings a zlib of its own: loaded after it, deflating ends the process
import struct
import zlib  # noqa: F401
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
    generate_uid,
)

__all__ = [
    "PET_FACTOR",
    "Edit",
    "Scan",
    "uid",
    "write_ct_series",
    "write_dataset",
    "write_pet_series",
]

Edit = Callable[[int, Dataset], None]
#: SUVbw per Bq/mL of `write_pet_series` as it is
PET_FACTOR = 4e-4
#: written as they are; the others are compressed
_PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


@dataclass(frozen=True)
class Scan:
    """Whose scan it is and where it lies, in DICOM's LPS millimetres.

    Names stand for uids: equal names, equal uids.
    """

    patient: str = "P1"
    study: str = "study"
    series: str = ""
    frame_of_reference: str = "frame"
    row: tuple[float, float, float] = (1, 0, 0)
    column: tuple[float, float, float] = (0, 1, 0)
    between_rows_mm: float = 3.0
    between_columns_mm: float = 2.0
    step_mm: float = 4.0
    origin_mm: tuple[float, float, float] = (-10.0, -20.0, 30.0)

    def position_mm(self, n: int) -> list[float]:
        """Return the place of slice `n`, along the normal."""
        normal = np.cross(self.row, self.column)
        return [float(v) for v in np.array(self.origin_mm) + n * self.step_mm * normal]


def uid(*names: str) -> str:
    """Return the uid that these names stand for."""
    return str(generate_uid(entropy_srcs=["boneviz", *names]))


def write_ct_series(
    folder: Path,
    stored: NDArray[Any] | None = None,
    *,
    scan: Scan = Scan(),
    edit: Edit | None = None,
    syntax: str = ExplicitVRLittleEndian,
) -> list[Path]:
    """Write ``ct0000.dcm`` and so on, HU being the stored value - 1024; return the paths.

    Parameters
    ----------
    stored : (slices, rows, columns) of int16 or uint16; 4 x 3 x 2 numbers by default
    edit : called with the number of each slice and its data set before it is written
    syntax : the transfer syntax; compressed ones through GDCM
    """
    values = _values(stored)

    def typical(_: int, ds: Dataset) -> None:
        ds.SOPClassUID = CTImageStorage
        ds.Modality = "CT"
        ds.SeriesDescription = "CT bone"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ConvolutionKernel = "B60s"
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024

    return _write(folder, values, scan, "ct", [typical, *([edit] if edit else [])], syntax)


def write_pet_series(
    folder: Path,
    stored: NDArray[Any] | None = None,
    *,
    slopes: Sequence[float] | None = None,
    scan: Scan = Scan(),
    edit: Edit | None = None,
    syntax: str = ExplicitVRLittleEndian,
) -> list[Path]:
    """Write ``pt0000.dcm`` and so on, in Bq/mL and corrected; return the paths.

    Parameters
    ----------
    slopes : Bq/mL per stored unit of each slice; 100, 200, ... by default
    """
    values = _values(stored)
    given = [100.0 * (n + 1) for n in range(len(values))] if slopes is None else slopes

    def typical(n: int, ds: Dataset) -> None:
        ds.SOPClassUID = PositronEmissionTomographyImageStorage
        ds.Modality = "PT"
        ds.SeriesDescription = "PET corrected"
        ds.ImageType = ["ORIGINAL", "PRIMARY"]
        ds.ReconstructionMethod = "OSEM"
        ds.RescaleSlope, ds.RescaleIntercept = given[n], 0
        ds.NumberOfSlices = len(values)
        ds.Units = "BQML"
        ds.CorrectedImage = ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]
        ds.DecayCorrection = "START"
        ds.PatientWeight = 70
        dose = Dataset()
        dose.RadionuclideTotalDose = 350_000_000
        dose.RadionuclideHalfLife = 3600
        dose.RadiopharmaceuticalStartTime = "090000"
        dose.RadiopharmaceuticalStartDateTime = "20240229090000"
        ds.RadiopharmaceuticalInformationSequence = [dose]

    return _write(folder, values, scan, "pt", [typical, *([edit] if edit else [])], syntax)


def write_dataset(path: Path, ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write one data set as a file of its own, its meta information made from it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = syntax if syntax in _PLAIN else ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid("implementation")
    file = FileDataset(None, ds, preamble=b"\0" * 128, file_meta=meta)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    if syntax not in _PLAIN:
        _compress(path, syntax)
    return path


def _compress(path: Path, syntax: str) -> None:
    """Compress the pixels of a file with GDCM, which knows more syntaxes than pydicom encodes."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read(), path
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change(), syntax
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write(), path


def _values(stored: NDArray[Any] | None) -> NDArray[Any]:
    return np.arange(1000, 1024, dtype=np.int16).reshape(4, 3, 2) if stored is None else stored


def _write(
    folder: Path, stored: NDArray[Any], scan: Scan, stem: str, edits: list[Edit], syntax: str
) -> list[Path]:
    paths = []
    for n, plane in enumerate(stored):
        ds = _image(n, plane, scan, scan.series or stem)
        for edit in edits:
            edit(n, ds)
        path = Path(folder) / f"{stem}{n:04d}.dcm"
        paths.append(write_dataset(path, ds, syntax))
    return paths


def _image(n: int, plane: NDArray[Any], scan: Scan, series: str) -> Dataset:
    ds = Dataset()
    ds.SOPInstanceUID = uid(scan.study, series, str(n))
    ds.StudyInstanceUID = uid(scan.study)
    ds.SeriesInstanceUID = uid(scan.study, series)
    ds.FrameOfReferenceUID = uid(scan.frame_of_reference)
    ds.PatientID, ds.PatientName = scan.patient, f"Name^{scan.patient}"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20240229"
    ds.StudyTime = "095500"
    ds.SeriesTime = ds.AcquisitionTime = "100000"
    ds.Manufacturer = "SIEMENS"
    ds.InstanceNumber = n + 1
    ds.ImagePositionPatient = scan.position_mm(n)
    ds.ImageOrientationPatient = [*scan.row, *scan.column]
    ds.PixelSpacing = [scan.between_rows_mm, scan.between_columns_mm]
    ds.SliceThickness = 1.5  # never the distance between slices
    ds.Rows, ds.Columns = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = plane.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(plane.dtype.kind == "i")
    ds.PixelData = plane.astype(plane.dtype.newbyteorder("<")).tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def explicit(tag: bytes, vr: bytes, value: bytes, *, claims: int | None = None) -> bytes:
    return tag + vr + b"\0\0" + struct.pack("<I", claims or len(value)) + value


def items_of(depth: int) -> bytes:
    """Return the bytes of a sequence within a sequence, so deep."""
    value = b""
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value
        value = explicit(b"\x40\x00\x30\xa7", b"SQ", item)
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value


def put_sequence_into_meta(path: Path, depth: int) -> None:
    """Put sequences within one another where (0002,0000) stands, whose 12 bytes come first."""
    content = path.read_bytes()
    deep = explicit(b"\x02\x00\x00\x00", b"SQ", items_of(depth))
    path.write_bytes(content[:132] + deep + content[144:])
