"""A CT study of 600 DICOM slices to one volume in HU: boneviz beside dicom2nifti and SimpleITK.

    pip install "boneviz[bench]"
    python benchmarks/import.py [--slices 600] [--repeats 5] [--write]

The study is made anew: 512 x 512 pixels of 12 bits in 16, 0.8 x 0.8 x 1 mm, with the header of a
scanner of some hundred elements, its files named in no order. Every tool is given the folder and
has to find the slices, order them and return voxels in HU; each runs in a process of its own,
once uncounted (imports, the disk's cache), then `--repeats` times in turn with the others, so that
a busy machine is busy for all. The same voxels and the same affine are required of all.
`--write` puts the table into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from results import machine, write_results

TOOLS = ("boneviz", "SimpleITK", "dicom2nifti")
PACKAGES = ("numpy", "pydicom", "SimpleITK", "dicom2nifti")
KEPT: list[object] = []
Loaded = tuple[NDArray[np.generic], NDArray[np.float64]]


def make_study(folder: Path, n_slices: int) -> None:
    """Write a CT of noise, which no tool can guess, with a header of usual length."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(0)
    names = rng.permutation(n_slices)
    block = rng.integers(0, 4096, (512, 512), dtype=np.int16)
    for n in range(n_slices):
        ds = pydicom.Dataset()
        ds.SOPClassUID, ds.Modality = CTImageStorage, "CT"
        ds.SOPInstanceUID = generate_uid(entropy_srcs=["bench", str(n)])
        ds.StudyInstanceUID = generate_uid(entropy_srcs=["bench", "study"])
        ds.SeriesInstanceUID = generate_uid(entropy_srcs=["bench", "series"])
        ds.FrameOfReferenceUID = generate_uid(entropy_srcs=["bench", "frame"])
        ds.PatientID, ds.PatientName = "BENCH", "Bench^Made"
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20240229"
        ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "100000.000000"
        ds.Manufacturer, ds.SeriesDescription = "SIEMENS", "Thorax 1.0 B30f"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
        ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 2, 1, n + 1
        ds.SliceThickness, ds.KVP = 1, 120
        ds.ImagePositionPatient = [-204.6, -204.6, -300.0 + n]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [0.8, 0.8]
        ds.Rows = ds.Columns = 512
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
        for element in range(100):  # what a scanner adds
            ds.add_new(0x00191010 + element, "LO", f"value {element} of the maker")
        ds.add_new(0x00190010, "LO", "MADE UP HEADER")
        ds.PixelData = np.roll(block, n, axis=0).tobytes()
        ds["PixelData"].VR = "OW"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = ds.SOPClassUID
        meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file = FileDataset(None, ds, preamble=b"\0" * 128, file_meta=meta)
        file.save_as(folder / f"I{names[n]:04d}.dcm", enforce_file_format=True)


def with_boneviz(folder: Path) -> Loaded:
    from boneviz.dicom import find_series, read_ct

    volume = read_ct(find_series(folder).series[0])
    return volume.array, volume.grid.affine_ras_mm


def with_simpleitk(folder: Path) -> Loaded:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = directions * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    affine[:2] *= -1
    # a view, which costs nothing, and lasts as long as the image
    KEPT[:] = [image]
    return SimpleITK.GetArrayViewFromImage(image).T, affine


def with_dicom2nifti(folder: Path) -> Loaded:
    import dicom2nifti
    import dicom2nifti.settings

    made = dicom2nifti.dicom_series_to_nifti(str(folder), None, reorient_nifti=False)["NII"]
    return np.asanyarray(made.dataobj), made.affine


RUN: dict[str, Callable[[Path], Loaded]] = {
    "boneviz": with_boneviz,
    "SimpleITK": with_simpleitk,
    "dicom2nifti": with_dicom2nifti,
}


def in_one_order(loaded: Loaded) -> Loaded:
    """Return the voxels along R, A and S, whichever way a tool ordered them."""
    import nibabel as nib

    array, affine = loaded
    image = nib.as_closest_canonical(nib.Nifti1Image(np.ascontiguousarray(array), affine))
    return np.asanyarray(image.dataobj), image.affine


def serve(tool: str, folder: Path) -> None:
    """Load once for each line of standard input, and answer with seconds and a digest."""
    import hashlib

    for line in sys.stdin:
        begin = time.perf_counter()
        loaded = RUN[tool](folder)
        took_s = time.perf_counter() - begin
        answer: dict[str, object] = {"s": took_s}
        if line.strip() == "check":
            array, affine = in_one_order(loaded)
            content = np.ascontiguousarray(array.astype(np.int16))
            answer["sha256"] = hashlib.sha256(content).hexdigest()
            answer["exact"] = bool((content == array).all())
            answer["affine"] = affine.tolist()
        answer["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print("answer", json.dumps(answer), flush=True)


def ask(process: subprocess.Popen[str], question: str) -> dict:
    assert process.stdin and process.stdout
    process.stdin.write(question + "\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("answer "):
            return json.loads(line.removeprefix("answer "))
    raise SystemExit(f"{process.args}: ended without an answer")


def measure(folder: Path, repeats: int) -> dict[str, dict]:
    processes = {
        tool: subprocess.Popen(
            [sys.executable, __file__, "--serve", tool, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for tool in TOOLS
    }
    try:
        times_s: dict[str, list[float]] = {tool: [] for tool in TOOLS}
        peaks_mb = {tool: ask(process, "warm")["peak_mb"] for tool, process in processes.items()}
        for _ in range(repeats):
            for tool, process in processes.items():
                times_s[tool].append(ask(process, "time")["s"])
        checks = {tool: ask(process, "check") for tool, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
    for tool in TOOLS[1:]:
        assert checks[tool]["exact"], f"{tool}: not whole HU"
        assert checks[tool]["sha256"] == checks["boneviz"]["sha256"], f"{tool}: other voxels"
        np.testing.assert_allclose(checks[tool]["affine"], checks["boneviz"]["affine"], atol=1e-3)
    return {
        tool: {
            "median_s": statistics.median(times_s[tool]),
            "s": times_s[tool],
            "mb": peaks_mb[tool],
        }
        for tool in TOOLS
    }


def table_of(found: dict[str, dict], n_slices: int) -> str:
    ours = found["boneviz"]["median_s"]
    lines = [
        f"### {n_slices} slices of 512 x 512, 16 bits, not compressed",
        "",
        "| tool | median s | fastest s | slowest s | times boneviz | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for tool, result in found.items():
        lines.append(
            f"| {tool} | {result['median_s']:.3f} | {min(result['s']):.3f} | "
            f"{max(result['s']):.3f} | {result['median_s'] / ours:.1f} | {result['mb']:.0f} |"
        )
    lines += ["", "The same HU in every voxel, and the same affine."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], Path(options.serve[1]))
        return
    try:
        header = machine(PACKAGES)
    except ModuleNotFoundError as error:
        raise SystemExit(f'{error.name} is missing: pip install "boneviz[bench]"') from error
    with tempfile.TemporaryDirectory() as folder:
        make_study(Path(folder), options.slices)
        text = "\n\n".join(
            [header, table_of(measure(Path(folder), options.repeats), options.slices)]
        )
    print(text)
    if options.write:
        write_results("import", text)


if __name__ == "__main__":
    main()
