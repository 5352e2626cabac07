"""Every kind of file that boneviz reads: small ones that are whole, and what reads them."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from small import EXPERT_A, EXPERT_B, MODEL_A, STRAIGHT, prediction_of, volume_of

from boneviz.case import CaseRef
from boneviz.cohort import Cohort
from boneviz.draft import read_draft, write_draft
from boneviz.drawing import Drawing
from boneviz.errors import BonevizError
from boneviz.folds import Folds
from boneviz.learnerfile import LearnerFile
from boneviz.ledger import Ledger, Row
from boneviz.nifti import read_case, read_predictions, read_volume, write_prediction, write_volume
from boneviz.nrrdfile import read_nrrd_mask
from boneviz.petrecord import read_pet_record
from boneviz.regionrows import read_regions
from boneviz.scoretable import csv_of, read_scores, write_scores

from .elements import dicom_changed
from .images import (
    compressed,
    enhanced,
    make_nrrd,
    make_rt,
    make_seg,
    make_seg_compressed,
    nrrd_changed,
    read_rt,
    read_seg,
    read_series,
    series_of,
)
from .mutations import (
    EVIL_TEXTS,
    bytes_changed,
    each_value_replaced,
    json_changed,
    json_of,
    lines_changed,
    nifti_changed,
    safetensors_changed,
    tree_changed,
)
from .refusals import tried

__all__ = ["TARGETS", "Target"]

Change = Callable[[random.Random, bytes], bytes]
Read = Callable[[Path], None]


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of file.

    Parameters
    ----------
    name : of the kind
    make : writes whole files into a folder and returns those that are changed
    change : gives other bytes
    read : reads the folder; raises what the reader raises
    each : every change that is tried in any case, before those that are drawn
    share : of the files of a run
    together : whether all files are changed in the same way at times
    """

    name: str
    make: Callable[[Path], Sequence[Path]]
    change: Change
    read: Read
    each: Callable[[bytes], Sequence[bytes]] = lambda _: ()
    share: float = 1.0
    together: bool = False


def each_json(content: bytes) -> Sequence[bytes]:
    return [json_of(tree) for tree in each_value_replaced(json.loads(content))]


# cohorts


def make_nifti(suffix: str, kind: int = 1) -> Callable[[Path], list[Path]]:
    import nibabel as nib

    def make(folder: Path) -> list[Path]:
        voxels = (np.arange(60).reshape(5, 4, 3) % 2).astype(np.int16)
        image = (nib.Nifti1Image if kind == 1 else nib.Nifti2Image)(voxels, STRAIGHT.affine_ras_mm)
        image.header.set_xyzt_units("mm")
        image.set_qform(STRAIGHT.affine_ras_mm, code=1)
        nib.save(image, folder / f"ct{suffix}")
        return [folder / f"ct{suffix}"]

    return make


def read_nifti(folder: Path) -> None:
    for path in folder.glob("ct.nii*"):
        tried(*(lambda p=path, u=unit: read_volume(p, u)
                for unit in ("label", "HU", "SUVbw", "counts", "probability")))  # fmt: skip


def write_small_case(folder: Path) -> CaseRef:
    masks = {reader: folder / f"{reader.key}.nii.gz" for reader in (EXPERT_A, EXPERT_B)}
    for unit, path in (("HU", folder / "ct.nii.gz"), ("SUVbw", folder / "pet.nii.gz")):
        write_volume(volume_of(1, STRAIGHT, unit), path)  # type: ignore[arg-type]
    for path in masks.values():
        write_volume(volume_of(1, STRAIGHT, "label"), path)
    return CaseRef(folder.name, "", folder / "ct.nii.gz", folder / "pet.nii.gz", masks)


def make_cohort(folder: Path) -> Cohort:
    root = folder / "cohort"
    refs = [write_small_case(root / name) for name in ("P01", "P02")]
    readers = (EXPERT_A, EXPERT_B, MODEL_A)
    cohort = Cohort("Tiny", root, readers, tuple(refs), "CC0", "made", synthetic=True, id="tiny")
    cohort.save()
    write_prediction(prediction_of(), root / "predictions" / "model_a")
    Folds({"P01": 0, "P02": 1}, 3).save(root / "folds.json")
    words = {"words": ["SUVbw = stored value x 2"], "factor": 2, "details": {"Weight": 70.5}}
    record = {"format": 1, "unit": "SUVbw", "derivation": words}
    (root / "P01" / "pet.json").write_text(json.dumps(record))
    return cohort


def cohort_file(*names: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        root = make_cohort(folder).root
        return [root / name for name in names]

    return make


def read_cohort(folder: Path) -> None:
    root = folder / "cohort"
    tried(
        lambda: Cohort.open(root, incomplete="set aside"),
        lambda: Cohort.open(root),
    )


def read_case_of_cohort(folder: Path) -> None:
    read_case(Cohort.open(folder / "cohort")["P01"])


def read_predicted(folder: Path) -> None:
    from boneviz.nifti import has_prediction

    cohort = Cohort.open(folder / "cohort")
    has_prediction(cohort.root / "predictions" / "model_a", cohort["P01"], checkpoint_id="c0ffee")
    read_predictions(cohort, cohort["P01"])


def checked_cohort(folder: Path) -> None:
    from boneviz.checkcohort import check_cohort

    check_cohort(Cohort.open(folder / "cohort", incomplete="set aside"), progress=False)


TOML_VALUES = (
    *(json.dumps(text) for text in EVIL_TEXTS), "nan", "-inf", "0", "-1", "2147483648",
    "9" * 400, "1e999", "true", "[]", "{}", "[[]]", '{a = 1}', "1979-05-27T07:32:00Z", "07:32:00",
    "'''", '"""', "0x" + "f" * 400, "[" * 3000, "{a=" * 3000, '"\\u0000"', '"\\ud800"',
    "[[readers]]", "[readers]", "[name]", "a." * 3000 + "a = 1", "name = 1", '["a", 1]', "9" * 5000,
)  # fmt: skip


def each_toml(content: bytes) -> Sequence[bytes]:
    import tomllib

    made = []
    for tree in each_value_replaced(tomllib.loads(content.decode())):
        with suppress(TypeError, ValueError, AttributeError):
            made.append(tomli_w.dumps(tree).encode())
    lines = content.decode().split("\n")
    for at, line in enumerate(lines):
        name, mark, _ = line.partition("=")
        made += [
            "\n".join([*lines[:at], f"{name}= {value}", *lines[at + 1 :]]).encode()
            for value in TOML_VALUES
            if mark
        ]
    return made


def toml_changed(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.3:
        return bytes_changed(rng, content)
    return lines_changed(rng, content, TOML_VALUES, marks="=")


def make_nnunet(folder: Path) -> list[Path]:
    root = folder / "Dataset501_Bone"
    names = [f"imagesTr/{c}_000{n}.nii.gz" for c in "ab" for n in range(2)]
    for name in (*names, "labelsTr/a.nii.gz", "labelsTr/b.nii.gz"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    content = {
        "channel_names": {"0": "PET", "1": "CT"},
        "labels": {"background": 0, "infection": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "name": "Bone",
        "boneviz": {
            "experts": {"Expert A": "labelsTr"},
            "cases": {"a": ["P1", "S1"], "b": ["P2", ""]},
        },
        "dataset": {
            c: {
                "images": [f"imagesTr/{c}_0000.nii.gz", f"imagesTr/{c}_0001.nii.gz"],
                "label": f"labelsTr/{c}.nii.gz",
            }
            for c in "ab"
        },
    }
    splits = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
    (root / "dataset.json").write_text(json.dumps(content))
    (root / "splits_final.json").write_text(json.dumps(splits))
    return [root / "dataset.json", root / "splits_final.json"]


def make_datalist(folder: Path) -> list[Path]:
    for name in ("a_ct", "a_pet", "a", "b_ct", "b_pet", "b"):
        (folder / f"{name}.nii.gz").touch()
    content = {
        "name": "Bone",
        "modality": {"0": "CT", "1": "PET"},
        "boneviz": {"experts": {"Expert A": "label"}},
        "training": [
            {
                "image": ["a_ct.nii.gz", "a_pet.nii.gz"],
                "label": "a.nii.gz",
                "fold": 0,
                "patient_id": "a",
                "session": "S1",
            },
            {"ct": "b_ct.nii.gz", "pet": "b_pet.nii.gz", "label": "b.nii.gz", "fold": 1},
        ],
        "test": ["a_ct.nii.gz"],
    }
    path = folder / "bone.json"
    path.write_text(json.dumps(content))
    return [path]


# models


def make_model(folder: Path) -> list[Path]:
    from test_checkpoint import saved

    saved(folder)
    return [folder / "model_a_fold2.json"]


def make_weights(folder: Path) -> list[Path]:
    return [make_model(folder)[0].with_suffix(".safetensors")]


def read_model(folder: Path) -> None:
    from boneviz.checkpoint import finished_models, load_checkpoint
    from boneviz.modelcards import read_cards

    read_cards(folder)
    (weights,) = finished_models(folder)
    load_checkpoint(weights).network()


def read_weights(folder: Path) -> None:
    """Read weights whose card says that they are the right ones, as one who writes both can."""
    from boneviz.checkpoint import load_checkpoint, load_tensors

    path = folder / "model_a_fold2.safetensors"

    def built() -> None:
        from boneviz.files import sha256_of

        kept = load_checkpoint(path.with_name("kept.safetensors"))
        dataclasses.replace(kept, weights=path, checkpoint_id=sha256_of(path)).network()

    tried(lambda: load_tensors(path), built)


def make_weights_with_kept(folder: Path) -> list[Path]:
    paths = make_weights(folder)
    for suffix in (".safetensors", ".json"):
        shutil.copy(paths[0].with_suffix(suffix), folder / f"kept{suffix}")
    return paths


def make_log(folder: Path) -> list[Path]:
    path = folder / "model_a_fold2.log.json"
    path.write_text(json.dumps({"loss": [1.0, 0.5, 0.25], "watched": [[1, 0.5], [3, 0.75]]}))
    return [path]


def read_log(folder: Path) -> None:
    from boneviz.learninglog import LearningLog, read_logs

    tried(lambda: LearningLog(folder / "model_a_fold2.log.json"), lambda: read_logs(folder))


# learners

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def make_learner(folder: Path) -> list[Path]:
    from test_learnerfile import write_session

    write_session(folder / "kim")
    return [folder / "kim" / "ledger.jsonl"]


def ledger_changed(rng: random.Random, content: bytes) -> bytes:
    """Change a payload and make all hashes anew, as one who means harm would, or the bytes."""
    if rng.random() < 0.3:
        return bytes_changed(rng, content)
    payloads = [json.loads(line)["payload"] for line in content.splitlines()]
    at = rng.randrange(len(payloads))
    payloads[at] = tree_changed(rng, payloads[at])
    return _ledger_of(payloads)


def each_ledger(content: bytes) -> Sequence[bytes]:
    payloads = [json.loads(line)["payload"] for line in content.splitlines()]
    return [
        _ledger_of([*payloads[:at], changed, *payloads[at + 1 :]])
        for at in range(2)
        for changed in each_value_replaced(payloads[at])
    ]


def _ledger_of(payloads: Sequence[Any]) -> bytes:
    rows: list[Row] = []
    for n, payload in enumerate(payloads, start=1):
        previous = rows[-1].hash if rows else "0" * 64
        with suppress(BonevizError, TypeError, ValueError):
            rows.append(Row.of(n, NOON, payload, previous))
    return b"".join(row.line for row in rows)


def read_learner(folder: Path) -> None:
    tried(
        lambda: Ledger.open(folder / "kim" / "ledger.jsonl"),
        lambda: LearnerFile.open(folder / "kim"),
    )


def make_draft(folder: Path) -> list[Path]:
    drawn = Drawing.blank(STRAIGHT).brush(STRAIGHT.to_mm((2, 2, 2)), radius_mm=3)
    write_draft(folder, "P01", drawn)
    return [folder / "P01.draft.npz"]


def make_link(folder: Path) -> list[Path]:
    from show.test_link import LOOK, STATE, link_of

    (folder / "link.txt").write_text(link_of(STATE, LOOK))
    return [folder / "link.txt"]


def read_a_link(folder: Path) -> None:
    from show.test_link import STATE

    from boneviz.show.link import read_link

    read_link((folder / "link.txt").read_bytes().decode(errors="replace"), on=STATE)


def make_scores(suffix: str) -> Callable[[Path], list[Path]]:
    from test_scoretable import ROWS

    def make(folder: Path) -> list[Path]:
        write_scores(ROWS, folder / f"scores{suffix}")
        return [folder / f"scores{suffix}"]

    return make


def make_regions(folder: Path) -> list[Path]:
    from test_regionrows import FOUND

    from boneviz.regions import regions_table

    (folder / "starred.csv").write_bytes(csv_of(regions_table(FOUND)))
    return [folder / "starred.csv"]


CSV_VALUES = (*(t for t in EVIL_TEXTS if len(t) < 2000), "0", "-1", "1e308", "9" * 400, "[]", "{}",
              "null", '"', '""', "'=1", "True", "[[1,2,3]]", "[1]")  # fmt: skip


def csv_changed(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.2:
        return bytes_changed(rng, content)
    lines = content.decode().split("\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        cells = lines[at].split(",")
        where, kind = rng.randrange(len(cells)), rng.randrange(6)
        if kind < 4:
            cells[where] = rng.choice(CSV_VALUES)
        elif kind == 4:
            del cells[where]
        else:
            cells[where : where + 1] = [cells[where]] * 2
        lines[at] = ",".join(cells)
    return "\n".join(lines).encode("utf-8", errors="replace")


E_LE, I_LE, B_E, DEFLATED = (f"1.2.840.10008.1.2{s}" for s in (".1", "", ".2", ".1.99"))
RLE, JPEG, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2{s}" for s in (".5", ".4.70", ".4.80", ".4.90"))

TARGETS = (
    Target("dicom-ct", series_of("CT"), dicom_changed, read_series, share=2, together=True),
    Target("dicom-pet", series_of("PT"), dicom_changed, read_series, share=1.6, together=True),
    Target("dicom-implicit", series_of("PT", I_LE), dicom_changed, read_series, share=0.5),
    Target("dicom-deflated", series_of("CT", DEFLATED), bytes_changed, read_series, share=0.3),
    Target("dicom-enhanced", enhanced, dicom_changed, read_series),
    Target("dicom-rle", compressed(RLE), dicom_changed, read_series, share=0.03),
    Target("dicom-jpeg", compressed(JPEG), dicom_changed, read_series, share=0.03),
    Target("dicom-jpeg-ls", compressed(JPEG_LS), dicom_changed, read_series, share=0.03),
    Target("dicom-jpeg-2000", compressed(JPEG_2000), dicom_changed, read_series, share=0.03),
    Target("seg-binary", make_seg("BINARY"), dicom_changed, read_seg),
    Target("seg-fractional", make_seg("FRACTIONAL"), dicom_changed, read_seg, share=0.5),
    Target("seg-label-map", make_seg("LABELMAP"), dicom_changed, read_seg, share=0.5),
    Target("seg-rle", make_seg_compressed, dicom_changed, read_seg, share=0.1),
    Target("rtstruct", make_rt, dicom_changed, read_rt),
    Target("nifti", make_nifti(".nii"), nifti_changed, read_nifti, share=2),
    Target("nifti-gz", make_nifti(".nii.gz"), nifti_changed, read_nifti, share=2),
    Target("nifti-2", make_nifti(".nii.gz", 2), nifti_changed, read_nifti),
    Target("nrrd", make_nrrd(), nrrd_changed, lambda f: tried(
        lambda: read_nrrd_mask(f / "mask.nrrd", choose="lesion"),
        lambda: read_nrrd_mask(f / "mask.nrrd")), share=3),
    Target("nrrd-gzip", make_nrrd(encoding="gzip"), nrrd_changed,
           lambda f: read_nrrd_mask(f / "mask.nrrd") and None),
    Target("nhdr", make_nrrd(data_file="mask.raw"), nrrd_changed,
           lambda f: read_nrrd_mask(f / "mask.nhdr") and None),
    Target("cohort.toml", cohort_file("cohort.toml"), toml_changed, read_cohort, each_toml),
    Target("folds.json", cohort_file("folds.json"), json_changed,
           lambda f: Folds.load(f / "cohort" / "folds.json") and None, each_json),
    Target("pet.json", cohort_file("P01/pet.json"), json_changed,
           lambda f: read_pet_record(f / "cohort" / "P01" / "pet.nii.gz") and None, each_json),
    Target("prediction.json", cohort_file("predictions/model_a/P01.json"), json_changed,
           read_predicted, each_json),
    Target("dataset.json", make_nnunet, json_changed,
           lambda f: Cohort.open(f / "Dataset501_Bone") and None, each_json),
    Target("datalist", make_datalist, json_changed,
           lambda f: Cohort.open(f / "bone.json") and None, each_json),
    Target("check", cohort_file("folds.json", "predictions/model_a/P01.json", "P01/pet.json"),
           json_changed, checked_cohort, share=0.1),
    Target("case", cohort_file("P01/pet.json", "P01/ct.nii.gz", "P01/expert_a.nii.gz"),
           bytes_changed, read_case_of_cohort, share=0.5),
    Target("card", make_model, json_changed, read_model, each_json, share=1.6),
    Target("weights", make_weights_with_kept, safetensors_changed, read_weights),
    Target("log.json", make_log, json_changed, read_log, each_json, share=0.5),
    Target("ledger", make_learner, ledger_changed, read_learner, each_ledger),
    Target("draft", make_draft, bytes_changed,
           lambda f: read_draft(f, "P01", STRAIGHT) and None, share=0.5),
    Target("link", make_link, json_changed, read_a_link),
    Target("scores.csv", make_scores(".csv"), csv_changed,
           lambda f: read_scores(f / "scores.csv") and None, share=0.3),
    Target("scores.parquet", make_scores(".parquet"), bytes_changed,
           lambda f: read_scores(f / "scores.parquet") and None, share=0.3),
    Target("starred.csv", make_regions, csv_changed,
           lambda f: read_regions(f / "starred.csv") and None, share=0.3),
)  # fmt: skip
