"""No identity gets out: canaries in every text of a study, sought in whatever boneviz writes."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from dicommade import uid
from ipywidgets.embed import embed_data
from PIL import Image, PngImagePlugin
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from studymade import Study, write_study

import boneviz
from boneviz.cli import main
from boneviz.cohort import Cohort

TEXTS = ("PN", "LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE", "CS")
#: what is left alone, since a study could not be told or read without it
NEEDED = {"SpecificCharacterSet", "Modality", "ImageType", "Units", "CorrectedImage"}
NEEDED |= {"DecayCorrection", "PhotometricInterpretation", "SegmentationType"}
NEEDED |= {"TimezoneOffsetFromUTC", "SUVType", "PatientSex"}
DATE, TIME, AGE = "19110203", "031723.654321", "087Y"
SCANS = ("20240229", "20240320", "20240401")
#: texts, dates as DICOM and people write them, a time of day, an age, a uid of a planted tag
PATTERNS = {
    "text": rb"kanari",
    "date": rb"19110203|1911-02-03",
    "time": rb"031723|03:17:23",
    "age": rb"087Y",
    "date of a scan": b"|".join(f"{d}|{d[:4]}-{d[4:6]}-{d[6:]}".encode() for d in SCANS),
    "planted uid": rb"3680043\.10\.777",
}
FOUND = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in PATTERNS.items()}
SQ = ("OtherPatientIDsSequence", "RequestAttributesSequence", "ReferencedPatientSequence")


def canary(vr: str, tag: int) -> str | None:
    """Return a canary that the VR can hold; None where it holds no text."""
    if vr in TEXTS:
        word = f"Kanari{tag:08X}"
        return {"PN": f"{word}^Given", "CS": word.upper(), "UR": f"http://{word}"}.get(vr, word)
    return {
        "DA": DATE,
        "TM": TIME,
        "DT": DATE + TIME,
        "AS": AGE,
        "UI": f"1.2.826.0.1.3680043.10.777.{tag}",
    }.get(vr)


def plant(ds: Dataset) -> None:
    """Put a canary into every text tag of the dictionary that the data set does not have."""
    for tag, (vr, vm, _, _, keyword) in DicomDictionary.items():
        group = tag >> 16
        if not keyword or keyword in NEEDED or group < 8 or tag in ds or vm == "0":
            continue
        value = canary(vr, tag)
        # what decides where a frame lies, or of how many slices a series is
        if value is not None and not (vr == "UI" and group == 0x0020) and "Frame" not in keyword:
            ds.add_new(tag, vr, value)
    for keyword in SQ:
        item = Dataset()
        item.PatientID, item.PatientName = "Kanari-inner", "Kanari^Inner"
        item.PatientBirthDate = DATE
        setattr(ds, keyword, [item])
    block = ds.private_block(0x0011, "Kanari private", create=True)
    block.add_new(1, "LO", "Kanari private")
    block.add_new(2, "DA", DATE)
    block.add_new(3, "UN", b"Kanari unknown ")


def planted(n: int, ds: Dataset) -> None:
    """Rename the patient in every file, and fill the first of each series."""
    ds.PatientName, ds.PatientID = "Kanari^Name", "KANARI-" + str(ds.PatientID)
    ds.SeriesDescription = "Kanari description"
    for keyword in ("Manufacturer", "ConvolutionKernel", "ReconstructionMethod"):
        if keyword in ds:
            setattr(ds, keyword, "Kanari")
    for item in ds.get("RadiopharmaceuticalInformationSequence", []):
        item.Radiopharmaceutical = "Kanari tracer"
        item.RadiopharmaceuticalRoute = "Kanari"
    for item in ds.get("StructureSetROISequence", []):
        item.ROIName = "Kanari ROI of A"
        item.ROIDescription = "Kanari"
    for item in ds.get("SegmentSequence", []):
        item.SegmentLabel = "Kanari segment of B"
        item.SegmentDescription = "Kanari"
    if n == 0:
        plant(ds)


def write_hospital(folder: Path) -> None:
    """Write two sessions and another patient that can be read, and one of each kind that cannot."""

    def without_weight(n: int, ds: Dataset) -> None:
        planted(n, ds)
        if "PatientWeight" in ds:
            del ds.PatientWeight

    def in_other_units(n: int, ds: Dataset) -> None:
        planted(n, ds)
        if "Units" in ds:
            ds.Units = "KANARI"
            ds.DecayCorrection = "KANARI"

    def two_names(n: int, ds: Dataset) -> None:
        planted(n, ds)
        if ds.Modality == "CT":
            ds.PatientName = "Kanari^Other"

    def bad_labels(n: int, ds: Dataset) -> None:
        planted(n, ds)
        if ds.Modality == "SEG":
            ds.SegmentationType = "KANARI"
        if ds.Modality == "RTSTRUCT":
            ds.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "KANARI"

    write_study(folder / "1", Study("P1", "one", SCANS[0], edit=planted))
    write_study(folder / "2", Study("P1", "two", SCANS[1], edit=planted))
    write_study(folder / "3", Study("P2", "three", SCANS[2], edit=planted))
    write_study(folder / "4", Study("P3", "four", edit=without_weight))
    write_study(folder / "5", Study("P4", "five", edit=in_other_units))
    write_study(folder / "6", Study("P5", "six", edit=two_names))
    write_study(folder / "7", Study("P6", "seven", edit=planted))
    (folder / "7" / "ct" / "ct0004.dcm").unlink()
    write_study(folder / "8", Study("P7", "eight", edit=bad_labels))
    damaged = folder / "7" / "ct" / "ct0005.dcm"
    damaged.write_bytes(damaged.read_bytes()[:3000])


def canaries_in(content: bytes, *, but: tuple[str, ...] = ()) -> set[str]:
    """Return which kinds of canaries a file holds, also packed, encoded or within pictures."""
    return {
        kind
        for part in unpacked(content)
        for kind, pattern in FOUND.items()
        if kind not in but and pattern.search(part)
    }


def unpacked(content: bytes, depth: int = 0) -> Iterator[bytes]:
    yield content
    # UTF-16, and texts that JSON or HTML write letter by letter
    yield content.replace(b"\0", b"")
    assert depth < 6
    if content[:2] == b"\x1f\x8b":
        yield from unpacked(gzip.decompress(content), depth + 1)
    if content[:4] == b"PAR1":
        yield pd.read_parquet(io.BytesIO(content)).to_csv().encode()
        import pyarrow.parquet as parquet

        yield repr(parquet.read_schema(io.BytesIO(content)).metadata).encode()
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        yield repr(Image.open(io.BytesIO(content)).info).encode()
    if content[128:132] == b"DICM":
        yield str(pydicom.dcmread(io.BytesIO(content))).encode()
    for found in re.finditer(rb"[A-Za-z0-9+/]{64,}={0,2}", content):
        packed = found[0][: len(found[0]) // 4 * 4]
        inner = base64.b64decode(packed)
        yield from unpacked(inner, depth + 1)
        if inner[:2] in (b"x\x9c", b"x\xda", b"x\x01"):
            yield from unpacked(zlib.decompress(inner), depth + 1)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("privacy") / "hospital"
    write_hospital(folder)
    return folder


def test_the_search_finds_what_it_looks_for(hospital: Path, tmp_path: Path) -> None:
    first = pydicom.dcmread(hospital / "1" / "ct" / "ct0000.dcm")
    texts = [e for e in first if canary(e.VR, int(e.tag)) == e.value]
    # in PS3.6 there are some 1800 of these kinds besides those that the study has of itself
    assert len(texts) > 1700
    assert {e.VR for e in texts} == {*TEXTS, "DA", "TM", "DT", "AS", "UI"}
    for kind in ("ct/ct0000", "pet/pt0000", "a/rt", "b/seg"):
        assert canaries_in((hospital / "1" / f"{kind}.dcm").read_bytes()) == set(PATTERNS), kind

    header = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    header.header["descrip"] = b"Kanari"
    nib.save(header, tmp_path / "a.nii.gz")
    assert canaries_in((tmp_path / "a.nii.gz").read_bytes()) == {"text"}
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "Kanari " * 9, zip=True)
    stream = io.BytesIO()
    Image.new("L", (9, 9)).save(stream, "png", pnginfo=note)
    page = b'<img src="data:image/png;base64,' + base64.b64encode(stream.getvalue()) + b'">'
    assert canaries_in(page) == {"text"}
    pd.DataFrame({"a": [f"on {DATE}"]}).to_parquet(tmp_path / "a.parquet")
    assert canaries_in((tmp_path / "a.parquet").read_bytes()) == {"date"}


def test_no_canary_in_anything_that_is_written_or_said(
    hospital: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, segs = tmp_path / "out", tmp_path / "segs"
    cohort = out / "cohort"
    labels = ["--labels", "Expert A=*of A", "--labels", "Expert B=*of B"]
    given = ["import", str(hospital), "--out", str(cohort), "--key", str(tmp_path / "key"), *labels]
    assert main(given) == 1  # nobody to ask
    assert main([*given, "--yes"]) == 1  # five are refused
    opened = Cohort.open(cohort)
    assert len(opened) == 3
    assert main([*given, "--yes", "--as-counts"]) == 1
    opened = Cohort.open(cohort)
    assert len(opened) == 5  # without weight, in other units
    case_id = opened.cases[0].case_id
    where = str(cohort)
    assert main(["check", where, "--csv", str(out / "check.csv")]) in (0, 1)
    assert main(["score", where, "--out", str(out / "scores.csv")]) == 0
    assert main(["score", where, "--out", str(out / "scores.parquet")]) == 0
    assert main(["regions", where, "--patient", case_id, "--out", str(out / "regions.csv")]) == 0
    assert main(["report", where, "--out", str(out / "report.html")]) == 0
    assert main(["export", where, "--nnunet", str(out / "Dataset501_Bone")]) == 0
    assert main(["export", where, "--monai", str(out / "monai")]) == 0
    assert main(["export", where, "--csv", str(out / "table.csv")]) == 0
    source = ["--source", str(hospital), "--key", str(tmp_path / "key")]
    pair = ["--pair", "Expert A", "Expert B"]
    assert main(["export", where, "--dicom-seg", str(segs), *source, *pair]) == 0
    explorer = boneviz.explore(opened)
    # what a saved notebook holds: the still picture, and the state of every widget
    widgets = embed_data(views=[explorer], drop_defaults=False)["manager_state"]
    (out / "bundle.json").write_text(json.dumps(explorer._repr_mimebundle_()))
    (out / "widgets.json").write_text(json.dumps(widgets))
    (out / "case_info.json").write_text(json.dumps(explorer.viewer.case_info, default=str))
    explorer.close()
    ipywidgets.Widget.close_all()

    said = capfd.readouterr()
    assert case_id in said.out and "refused" in said.out
    for text in (said.out, said.err):
        assert canaries_in(text.encode()) == set()
    written = files_of(out)
    kinds = {path.suffix for path in written}
    assert kinds >= {".gz", ".json", ".toml", ".csv", ".parquet", ".html"}
    uids = re.compile(b"|".join(re.escape(u.encode()) for u in uids_of_one()))
    for path in written:
        assert canaries_in(path.read_bytes()) == set(), path
        assert not any(uids.search(part) for part in unpacked(path.read_bytes())), path
        assert not FOUND["text"].search(str(path).encode()), path


def uids_of_one() -> set[str]:
    """Return study, series, frame and some images' uids of the first study."""
    names = [("one",), ("one", "ct"), ("one", "pet"), ("frame one",), ("one", "ct", "3")]
    return {uid(*name) for name in names}


def test_a_seg_holds_the_uids_of_its_source_and_nothing_else_of_it(
    hospital: Path, tmp_path: Path
) -> None:
    given = ["--key", str(tmp_path / "key"), "--quiet"]
    labels = ["--labels", "Expert A=*of A", "--labels", "Expert B=*of B"]
    cohort = tmp_path / "cohort"
    assert main(["import", str(hospital), "--out", str(cohort), "--yes", *labels, *given]) == 1
    source = ["--source", str(hospital), *given]
    assert main(["export", str(cohort), "--dicom-seg", str(tmp_path / "none"), *source]) == 0
    kept = [*source, "--identity", "source"]
    assert main(["export", str(cohort), "--dicom-seg", str(tmp_path / "kept"), *kept]) == 0
    for path in files_of(tmp_path / "none"):
        assert canaries_in(path.read_bytes()) == set(), path
    whole = b"".join(path.read_bytes() for path in files_of(tmp_path / "none"))
    assert all(u.encode() in whole for u in uids_of_one() - {uid("one", "pet")})
    # asked for, the patient's name and the study's date are there
    for path in files_of(tmp_path / "kept"):
        assert canaries_in(path.read_bytes()) >= {"text", "date of a scan"}, path
