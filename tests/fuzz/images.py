"""Series, SEG, RTSTRUCT and NRRD: small files that are whole, and what reads them."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from dicommade import Scan, write_ct_series, write_pet_series
from segmade import contour_of, ct_headers, grid_of, rt_file, seg_file, sop_uid, written

from boneviz.dicom import find_series, read_ct, read_grid, read_pet, suv_derivation
from boneviz.dicomseg import read_segments, segment_names
from boneviz.errors import BonevizError
from boneviz.labels import on_grid
from boneviz.rtstruct import read_rois, roi_names
from boneviz.sourceseries import SourceSeries

from .mutations import (
    EVIL_TEXTS,
    bytes_changed,
    lines_changed,
)
from .refusals import REFUSALS, tried

SCAN = Scan(patient="CANARY")

# DICOM series


def read_series(folder: Path) -> None:
    found = find_series(folder)
    REFUSALS.extend(BonevizError(skipped.reason) for skipped in found.skipped)
    for series in found:
        reads: list[Callable[[], object]] = [lambda s=series: read_grid(s)]
        reads.append(lambda s=series: read_ct(s))
        if series.modality == "PT":
            reads += [lambda s=series: suv_derivation(s), lambda s=series: read_pet(s)]
            reads.append(lambda s=series: read_pet(s, as_counts=True))
        tried(*reads)


def series_of(kind: str, syntax: str = "1.2.840.10008.1.2.1") -> Callable[[Path], list[Path]]:
    write = write_pet_series if kind == "PT" else write_ct_series
    stored = np.arange(24, dtype=np.int16).reshape(3, 4, 2) * 30
    return lambda folder: write(folder, stored, scan=SCAN, syntax=syntax)


def compressed(syntax: str) -> Callable[[Path], list[Path]]:
    stored = np.random.default_rng(1).integers(0, 999, (2, 16, 16), dtype=np.int16)
    return lambda folder: write_ct_series(folder, stored, scan=SCAN, syntax=syntax)


def enhanced(folder: Path) -> list[Path]:
    from test_dicom import enhanced as one_file

    stored = np.arange(24, dtype=np.int16).reshape(3, 4, 2)
    return [one_file(folder, stored)]


# labels

HEADERS = ct_headers()
SOURCE = SourceSeries.of(HEADERS, grid_of(HEADERS))


def plane(*inside: tuple[int, int]) -> Any:
    made = np.zeros((4, 6), dtype=np.uint8)
    for at in inside:
        made[at] = 1
    return made


def make_seg(kind: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        top = {"FRACTIONAL": 200, "LABELMAP": 2}.get(kind, 1)
        frames = [plane((1, 2), (2, 3)) * top, plane((0, 0)) * top, plane((3, 5)) * top]
        places = [(1, 0.0), (1, 5.0), (1 if kind == "LABELMAP" else 2, 10.0)]
        labels = {1: "CANARY one", 2: "two"}
        return [written(seg_file(frames, places, kind=kind, labels=labels), folder / "seg.dcm")]

    return make


def read_seg(folder: Path) -> None:
    path = folder / "seg.dcm"

    def laid() -> None:
        for segment in read_segments(path, threshold=0.5):
            on_grid(segment.volume, SOURCE.grid)

    tried(lambda: segment_names(path), lambda: read_segments(path), laid)


def make_seg_compressed(folder: Path) -> list[Path]:
    (path,) = make_seg("FRACTIONAL")(folder)
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset.compress("1.2.840.10008.1.2.5", encoding_plugin="pydicom")
    dataset.save_as(path)
    return [path]


def make_rt(folder: Path) -> list[Path]:
    box = [[-9, -18.5], [-3, -18.5], [-3, -12.5], [-9, -12.5]]
    contours = [
        contour_of([[x, y, z] for x, y in box], image=sop_uid(k)) for k, z in enumerate((30, 35))
    ]
    images = [sop_uid(k) for k in range(3)]
    return [written(rt_file({1: contours, 2: []}, images=images), folder / "rt.dcm")]


def read_rt(folder: Path) -> None:
    path = folder / "rt.dcm"
    tried(
        lambda: roi_names(path),
        lambda: read_rois(path, SOURCE, same_by="images"),
        lambda: read_rois(path, SOURCE),
    )


def make_nrrd(**fields: Any) -> Callable[[Path], list[Path]]:
    from test_nrrdfile import VOXELS, nrrd_of

    def make(folder: Path) -> list[Path]:
        encoding = fields.get("encoding", "raw")
        data = gzip.compress(VOXELS, mtime=0) if encoding == "gzip" else VOXELS
        beside = fields.get("data_file")
        if beside:
            (folder / str(beside)).write_bytes(data)
        path = folder / ("mask.nhdr" if beside else "mask.nrrd")
        more = "Segment0_Name:=lesion\nSegment0_LabelValue:=7\n"
        path.write_bytes(nrrd_of(b"" if beside else data, more=more, **fields))
        return [path]

    return make


NRRD_VALUES = (
    *(text for text in EVIL_TEXTS if len(text) < 2000), "0", "-1", "1", "2147483647", "65535",
    "99999999999999999999", "1e999", "nan nan nan", "(nan,nan,nan)", "none", "(0,0,0)",
    "3 2 2 1", "65535 65535 65535", "4294967296 4294967296 4294967296", "-3 -2 2", "uint8",
    "double", "block", "int64", "big", "little", "gzip", "bzip2", "ascii", "hex", "raw",
    "LPS", "scanner-xyz", "LIST", "x%03d.raw 0 9 1", "../mask.raw", "mask.nhdr", "a:=b",
    "block size: 9" * 3,
    "data file: /etc/hostname", "data file: ../../outside/secret", "line skip: 1", "byte skip: -1",
)  # fmt: skip


def nrrd_changed(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.3:
        return bytes_changed(rng, content)
    header, blank, data = content.partition(b"\n\n")
    return lines_changed(rng, header, NRRD_VALUES, marks=":=") + blank + data
