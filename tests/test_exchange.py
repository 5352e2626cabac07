"""What goes out comes back: the same voxels, patients, experts and folds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import EXPERT_A, EXPERT_B, limb, put_into_counts, write_tiny_cohort

import boneviz.exchange
from boneviz.case import Case
from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.errors import BonevizError, CohortError, ImageFileError, InputError
from boneviz.exchange import export_csv, export_monai, export_nnunet, folds_of
from boneviz.files import sha256_of
from boneviz.folds import Folds
from boneviz.harmonise import harmonise
from boneviz.nifti import read_case, read_mask
from boneviz.petrecord import PetRecord, pet_record_path, read_pet_record, write_pet_record


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Two sessions of one patient, one of them on LPS axes, and a patient on oblique ones."""
    limbs = [
        limb("P01", "S1"),
        limb("P01", "S2", axes="lps", place=1),
        limb("P02", axes="oblique", place=2),
    ]
    made = write_tiny_cohort(tmp_path / "tiny", limbs)
    Folds({"P01": 1, "P02": 0}, seed=5).save(made.root / "folds.json")
    return made


def require_same(back: Case, sent: Case) -> None:
    """Raise unless a case came back as it stood on one grid."""
    assert back.on_one_grid
    assert back.ct.grid.matches(sent.ct.grid)
    assert np.array_equal(back.ct.array, np.rint(sent.ct.array))
    # half a step of int16 from the largest value, and float32's seven digits
    top = float(sent.pet.array.max())
    assert np.abs(back.pet.array - sent.pet.array).max() <= top / 32767 / 2 + 1e-6 * top
    masks = {reader.name: mask for reader, mask in sent.masks.items()}
    assert {reader.name for reader in back.masks} == set(masks)
    for reader, mask in back.masks.items():
        assert mask.array.any()
        assert np.array_equal(mask.array, masks[reader.name].array)


def test_nnunet_comes_back(cohort: Cohort, tmp_path: Path) -> None:
    out = export_nnunet(cohort, tmp_path / "Dataset501_Bone", progress=False)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "dataset.json",
        *(f"imagesTr/{c}_000{n}.nii.gz" for c in ("P01_S1", "P01_S2", "P02") for n in (0, 1)),
        *(f"labelsTr/{c}.nii.gz" for c in ("P01_S1", "P01_S2", "P02")),
        *(f"labelsTr_expert_b/{c}.nii.gz" for c in ("P01_S1", "P01_S2", "P02")),
        "splits_final.json",
    ]
    content = json.loads((out / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "CT", "1": "PET"}
    assert content["labels"] == {"background": 0, "infection": 1}
    assert (content["numTraining"], content["file_ending"]) == (3, ".nii.gz")
    assert json.loads((out / "splits_final.json").read_text()) == [
        {"train": ["P01_S1", "P01_S2"], "val": ["P02"]},
        {"train": ["P02"], "val": ["P01_S1", "P01_S2"]},
    ]
    back = Cohort.from_nnunet(out)
    assert [(ref.patient_id, ref.session) for ref in back] == [
        (ref.patient_id, ref.session) for ref in cohort
    ]
    assert back.folds is not None
    assert dict(back.folds.of_patient) == {"P01": 1, "P02": 0}
    for ref in cohort:
        require_same(read_case(back[ref.case_id]), harmonise(read_case(ref)))


@pytest.mark.parametrize("tool", ["nnunet", "monai"])
def test_counts_come_back_as_counts(cohort: Cohort, tmp_path: Path, tool: str) -> None:
    put_into_counts(cohort["P02"])
    derived = PetRecord("SUVbw", ("weight of 70 kg",), 0.5, {"PatientWeight (0010,1030)": 70})
    write_pet_record(derived, cohort["P01_S1"].pet)
    export = {"nnunet": export_nnunet, "monai": export_monai}[tool]
    export(cohort, tmp_path / "Dataset501_Bone", progress=False)
    folder = tmp_path / "Dataset501_Bone"
    back = Cohort.open(folder if tool == "nnunet" else folder / "datalist.json")
    case = read_case(back["P02"])
    assert (case.pet.unit, case.has_suv) == ("counts", False)
    assert case.pet_origin == ("PatientWeight (0010,1030) is absent",)
    # an uptake of 8 in the lesion, at 20 000 counts each, as stored in float32
    assert float(case.pet.array.max()) > 100_000
    sent = harmonise(read_case(cohort["P02"])).pet.array
    assert np.array_equal(case.pet.array, sent.astype(np.float32))
    # a derivation goes with its PET too, and where nothing was recorded nothing is added
    assert read_pet_record(back["P01_S1"].pet) == derived
    assert read_pet_record(back["P01_S2"].pet) == PetRecord()
    assert len(list(folder.rglob("*.json"))) == (4 if tool == "nnunet" else 3)


@pytest.mark.parametrize("first", ["counts", "SUVbw"])
def test_a_record_that_changed_in_between_is_written_anew(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    record = pet_record_path(cohort["P02"].pet)
    if first == "counts":
        write_pet_record(PetRecord("counts"), cohort["P02"].pet)
    out = tmp_path / "monai"
    with monkeypatch.context() as patch:
        patch.setattr(boneviz.exchange, "_json", {}.pop)  # just before the end
        with pytest.raises(KeyError):
            export_monai(cohort, out, progress=False)
    if first == "counts":
        record.unlink()
    else:
        write_pet_record(PetRecord("counts"), cohort["P02"].pet)
    back = Cohort.open(export_monai(cohort, out, progress=False))
    assert read_case(back["P02"]).pet.unit != first


def test_what_came_back_goes_out_the_same(cohort: Cohort, tmp_path: Path) -> None:
    once = export_nnunet(cohort, tmp_path / "Dataset501_Bone", progress=False)
    again = export_nnunet(Cohort.open(once), tmp_path / "Dataset502_Bone", progress=False)
    images = sorted(path.relative_to(once) for path in once.rglob("*.nii.gz"))
    assert len(images) == 12
    for path in images:
        assert sha256_of(once / path) == sha256_of(again / path), path


def test_the_expert_to_learn_from_comes_first(cohort: Cohort, tmp_path: Path) -> None:
    out = export_nnunet(
        cohort, tmp_path / "Dataset502_B", experts=["Expert B", "Expert A"], progress=False
    )
    assert not (out / "labelsTr_expert_b").exists()
    back = Cohort.open(out)
    assert [reader.name for reader in back.experts] == ["Expert B", "Expert A"]
    (b, _a), ref = back.experts, cohort["P02"]
    sent = harmonise(read_case(ref)).masks[EXPERT_B]
    assert np.array_equal(read_mask(back["P02"], b).array, sent.array)


def test_one_expert_alone(cohort: Cohort, tmp_path: Path) -> None:
    out = export_nnunet(cohort, tmp_path / "Dataset502_B", experts=["Expert B"], progress=False)
    assert [path.name for path in out.glob("labels*")] == ["labelsTr"]


def test_monai_comes_back(cohort: Cohort, tmp_path: Path) -> None:
    path = export_monai(cohort, tmp_path / "monai", progress=False)
    item = json.loads(path.read_text())["training"][0]
    assert item == {
        "image": ["images/P01_S1_ct.nii.gz", "images/P01_S1_pet.nii.gz"],
        "ct": "images/P01_S1_ct.nii.gz",
        "pet": "images/P01_S1_pet.nii.gz",
        "label": "labels/P01_S1_expert_a.nii.gz",
        "label_expert_a": "labels/P01_S1_expert_a.nii.gz",
        "label_expert_b": "labels/P01_S1_expert_b.nii.gz",
        "patient_id": "P01",
        "session": "S1",
        "fold": 1,
    }
    back = Cohort.open(path)
    assert [reader.name for reader in back.experts] == ["Expert A", "Expert B"]
    assert back.folds is not None
    assert dict(back.folds.of_patient) == {"P01": 1, "P02": 0}
    for ref in cohort:
        require_same(read_case(back[ref.case_id]), harmonise(read_case(ref)))


def test_monai_reads_its_datalist(cohort: Cohort, tmp_path: Path) -> None:
    from monai.data import load_decathlon_datalist

    path = export_monai(cohort, tmp_path / "monai", progress=False)
    items = load_decathlon_datalist(str(path), is_segmentation=True)
    assert len(items) == 3
    assert items[0]["image"] == [
        str(path.parent / f"images/P01_S1_{s}.nii.gz") for s in ("ct", "pet")
    ]
    assert items[0]["label"] == str(path.parent / "labels/P01_S1_expert_a.nii.gz")


def test_a_table_comes_back(cohort: Cohort, tmp_path: Path) -> None:
    path = export_csv(cohort, tmp_path / "lists" / "bone.csv", progress=False)
    table = pd.read_csv(path)
    assert list(table.columns) == [
        *("patient_id", "session", "fold", "ct", "pet"),
        *("Expert A", "Expert B", "Expert A mL", "Expert B mL"),
    ]
    assert table["ct"][0] == "../tiny/P01/S1/ct.nii.gz"
    # the box from (-34, -4, -28) to (-2, 28, 4) mm holds the voxel centres -31.5 ... -4.5,
    # -1.5 ... 25.5 and -27 ... 3: 10 x 10 x 6 of 54 mm3
    assert table["Expert A mL"][0] == 32.4
    experts = ["Expert A", "Expert B"]
    back = Cohort.from_table(table, name="Back", root=path.parent, experts=experts)
    assert back.folds is not None
    assert dict(back.folds.of_patient) == {"P01": 1, "P02": 0}
    assert [ref.case_id for ref in back] == ["P01_S1", "P01_S2", "P02"]
    assert read_mask(back["P02"], back.reader("Expert B")).array.any()
    with pytest.raises(CohortError, match=r"patient P01, ct: \.\./tiny.* leads out of .*lists"):
        Cohort.from_table(table, name="Back", root=path.parent, experts=experts, paths="inside")


def test_a_spreadsheet_runs_no_patient(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("=1+1")])
    path = export_csv(cohort, tmp_path / "bone.csv", progress=False)
    assert path.read_text(encoding="utf-8-sig").splitlines()[1].startswith("'=1+1,")


def test_a_cut_off_export_goes_on_where_it_was(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "Dataset501_Bone"
    written: list[str] = []
    real = boneviz.exchange.write_volume

    def write(volume: object, path: Path) -> None:
        if len(written) == 5:  # the first case has four files
            raise KeyboardInterrupt
        written.append(path.name)
        real(volume, path)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(boneviz.exchange, "write_volume", write)
        with pytest.raises(KeyboardInterrupt):
            export_nnunet(cohort, out, progress=False)
    assert not out.exists()
    done = tmp_path / ".exporting-Dataset501_Bone" / "imagesTr" / "P01_S1_0000.nii.gz"
    before = done.stat().st_mtime_ns
    export_nnunet(cohort, out, progress=False)
    assert (out / "imagesTr" / "P01_S1_0000.nii.gz").stat().st_mtime_ns == before
    assert len(list(out.rglob("*.nii.gz"))) == 12
    assert not done.exists()


def test_a_case_that_changed_in_between_is_written_anew(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boneviz.nifti import write_volume

    out = tmp_path / "monai"
    with monkeypatch.context() as patch:
        patch.setattr(boneviz.exchange, "_json", {}.pop)  # just before the end
        with pytest.raises(KeyError):
            export_monai(cohort, out, progress=False)
    mask = read_mask(cohort["P01_S1"], EXPERT_A)
    array = mask.array.copy()
    array[0, 0, 0] = True
    write_volume(replace(mask, array=array), cohort["P01_S1"].masks[EXPERT_A])
    back = Cohort.open(export_monai(cohort, out, progress=False))
    assert read_mask(back["P01_S1"], back.experts[0]).array[0, 0, 0]


def test_nothing_is_written_over(cohort: Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "Dataset501_Bone"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    (tmp_path / "bone.csv").write_text("mine")
    with pytest.raises(InputError, match="Dataset501_Bone: there already, expected a new folder"):
        export_nnunet(cohort, folder, progress=False)
    with pytest.raises(InputError, match="there already, expected a new folder"):
        export_monai(cohort, folder, progress=False)
    with pytest.raises(InputError, match=r"bone\.csv: there already, expected a new file"):
        export_csv(cohort, tmp_path / "bone.csv", progress=False)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert (tmp_path / "bone.csv").read_text() == "mine"


@pytest.mark.parametrize("name", ["bone", "Dataset1_Bone", "Dataset501", "Dataset501_B one"])
def test_a_name_that_nnunet_does_not_find_is_refused(
    cohort: Cohort, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match="expected a folder that nnU-Net finds"):
        export_nnunet(cohort, tmp_path / name, progress=False)


@pytest.mark.parametrize(
    ("experts", "says"),
    [
        (["Expert C"], "no reader 'Expert C'; it has Expert A, Expert B"),
        ([], "outlines of nobody: expected one or more experts"),
        (["Expert A", "Expert A"], "outlines of Expert A, Expert A: .* each once"),
    ],
)
def test_experts_that_cannot_be_are_refused(
    cohort: Cohort, tmp_path: Path, experts: list[str], says: str
) -> None:
    with pytest.raises(BonevizError, match=says):
        export_monai(cohort, tmp_path / "out", experts=experts, progress=False)
    assert not (tmp_path / "out").exists()


def test_folds_that_lack_a_patient_are_refused(cohort: Cohort) -> None:
    Folds({"P01": 1, "P09": 0}, seed=5).save(cohort.root / "folds.json")
    with pytest.raises(CohortError, match="patient P02 is in no fold, expected every patient"):
        folds_of(cohort)


def test_a_damaged_case_leaves_nothing_under_the_name(cohort: Cohort, tmp_path: Path) -> None:
    cohort["P02"].pet.write_bytes(b"junk")
    with pytest.raises(ImageFileError, match=r"patient P02: .*pet\.nii\.gz"):
        export_monai(cohort, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_command(cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", str(cohort.root), "--quiet"]
    out = tmp_path / "Dataset501_Bone"
    assert main([*command, "--nnunet", str(out), "--expert", "Expert B"]) == 0
    said = capsys.readouterr().out
    assert (
        said
        == f"3 cases in {out}\ncopy {out}/splits_final.json into nnUNet_preprocessed/{out.name}\n"
    )
    assert main([*command, "--monai", str(tmp_path / "monai")]) == 0
    assert main([*command, "--csv", str(tmp_path / "bone.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "bone.csv")) == 3
    # every command reads what was made
    assert main(["check", str(out), "--quiet"]) == 0
    assert main(["check", str(tmp_path / "monai" / "datalist.json"), "--quiet"]) == 0
    assert main([*command, "--csv", str(tmp_path / "bone.csv")]) == 1
    assert "there already" in capsys.readouterr().err


@pytest.mark.realdata
def test_a_real_patient_comes_back(realdata: Path, tmp_path: Path) -> None:
    cohort = Cohort.open(realdata / "petct" / "STS_001")
    back = Cohort.open(export_nnunet(cohort, tmp_path / "Dataset501_Sts", progress=False))
    require_same(read_case(back["STS_001"]), harmonise(read_case(cohort["STS_001"])))
