"""SEG of a cohort: the source series found again by key and voxels, or refused with numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from studymade import A_BLOCK, SHIFTED, TALLER, Study, ct_stored, mask_of, write_study

from boneviz.case import Prediction, Reader
from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.dicomseg import read_segments
from boneviz.identity import Key, write_key
from boneviz.labels import on_grid
from boneviz.nifti import read_case, write_prediction
from boneviz.volume import Volume

KEY = Key(bytes(range(32)))
P1 = KEY.study_id("P1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a hospital of one patient, a key, and the cohort of both."""
    folder = tmp_path_factory.mktemp("seg")
    write_study(folder / "h", Study("P1", "one"))
    write_key(KEY, folder / "c.key")
    labels = ["--labels", "Expert A=*by A", "--labels", "Expert B=*by B"]
    assert main(["import", str(folder / "h"), "--out", str(folder / "c"), "--yes", *labels]) == 0
    return folder


def export(made: Path, out: Path, *more: str, source: Path | None = None) -> int:
    given = ["--dicom-seg", str(out), "--source", str(source or made / "h"), "--quiet", *more]
    return main(["export", str(made / "c"), *given])


@pytest.mark.parametrize(("threshold", "block"), [((), A_BLOCK), (("0.2",), TALLER)])
def test_models_go_out_by_their_threshold(
    made: Path, tmp_path: Path, threshold: tuple[str, ...], block: tuple[slice, slice, slice]
) -> None:
    shutil.copytree(made / "c", tmp_path / "c")
    shutil.copy(made / "c.key", tmp_path / "c.key")
    shutil.copytree(made / "h", tmp_path / "h")
    cohort = Cohort.open(tmp_path / "c")
    grid = read_case(cohort.cases[0]).ct.grid
    # 0.8 where A drew, 0.4 one slice further
    probable = np.where(mask_of(TALLER), np.float32(0.4), np.float32(0))
    probable[mask_of(A_BLOCK)] = 0.8
    model = Reader("Model A", "model", learned_from="Expert A")
    volume = Volume(probable, grid, "probability")
    write_prediction(
        Prediction(P1, "S1", model, 0, volume, "0" * 64, frozenset()),
        cohort.root / "predictions" / "model_a",
    )
    options = [word for value in threshold for word in ("--threshold", value)]
    assert export(tmp_path, tmp_path / "segs", "--pair", "Model A", "Expert A", *options) == 0
    names = {path.name for path in (tmp_path / "segs" / f"{P1}_S1").iterdir()}
    assert names == {"expert_a.dcm", "expert_b.dcm", "model_a.dcm", "model_a_vs_expert_a.dcm"}
    (segment,) = read_segments(tmp_path / "segs" / f"{P1}_S1" / "model_a.dcm")
    assert segment.name.algorithm == "AUTOMATIC"
    np.testing.assert_array_equal(on_grid(segment.volume, grid).volume.array, mask_of(block))


def test_identity_stays_out_unless_asked(made: Path, tmp_path: Path) -> None:
    assert export(made, tmp_path / "none") == 0
    assert export(made, tmp_path / "source", "--identity", "source") == 0
    found = [
        pydicom.dcmread(tmp_path / name / f"{P1}_S1" / "expert_a.dcm")
        for name in ("none", "source")
    ]
    assert [str(ds.PatientID) for ds in found] == [P1, "P1"]
    assert [ds.StudyDate for ds in found] == ["", "20240229"]
    assert found[0].StudyInstanceUID == found[1].StudyInstanceUID


def test_a_series_on_another_grid_is_refused_with_numbers(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "h", tmp_path / "h")
    (tmp_path / "h" / "ct" / "ct0009.dcm").unlink()
    assert export(made, tmp_path / "segs", source=tmp_path / "h") == 1
    said = capsys.readouterr().err
    assert f"patient {P1}_S1: CT on 16x14x10 voxels" in said and "on 16x14x9 voxels" in said
    assert not (tmp_path / "segs").exists()


def test_other_voxels_on_the_same_grid_are_another_scan(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not np.array_equal(ct_stored(Study("P1", "one")), ct_stored(Study("P1", "other")))
    write_study(tmp_path / "h", Study("P1", "other"))
    assert export(made, tmp_path / "segs", source=tmp_path / "h") == 1
    assert "1 CT series of the patient on its grid, 0 with its voxels" in capsys.readouterr().err
    # beside the right one it does no harm
    shutil.copytree(made / "h", tmp_path / "h" / "right")
    assert export(made, tmp_path / "segs", source=tmp_path / "h") == 0
    (segment,) = read_segments(tmp_path / "segs" / f"{P1}_S1" / "expert_b.dcm")
    assert segment.volume.volume_ml == pytest.approx(1.152)


def give_model(cohort: Cohort) -> Path:
    """Write a model's prediction of the one case; return its folder."""
    model = Reader("Model A", "model", learned_from="Expert A")
    probable = mask_of(A_BLOCK).astype(np.float32)
    volume = Volume(probable, read_case(cohort.cases[0]).ct.grid, "probability")
    prediction = Prediction(P1, "S1", model, 0, volume, "0" * 64, frozenset())
    return write_prediction(prediction, cohort.root / "predictions" / "model_a").parent


def lose_predictions(copy: Path) -> None:
    shutil.rmtree(copy / "c" / "predictions")


def rename_expert(copy: Path) -> None:
    (folder,) = {path.parent for path in (copy / "c").rglob("expert_b.nii.gz")}
    (folder / "expert_b.nii.gz").rename(folder / "berta.nii.gz")
    toml = copy / "c" / "cohort.toml"
    toml.write_text(toml.read_text().replace("Expert B", "Berta"))


def nothing(copy: Path) -> None:
    pass


AB, BERTA = {"expert_a.dcm", "expert_b.dcm"}, {"expert_a.dcm", "berta.dcm"}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (nothing, AB | {"model_a.dcm"}),
        (lose_predictions, AB),
        (rename_expert, BERTA | {"model_a.dcm"}),
    ],
)
def test_a_resumed_export_mixes_no_two_states(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    names: set[str],
) -> None:
    copy = cut_off_export(made, tmp_path, monkeypatch)
    folder = copy / ".exporting-segs" / f"{P1}_S1"
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert set(before) == AB | {"model_a.dcm"}
    change(copy)
    assert export(copy, copy / "segs") == 0
    after = {path.name: path.stat().st_ino for path in (copy / "segs" / f"{P1}_S1").iterdir()}
    assert set(after) == names
    # what did not change is not written again
    assert (after == before) == (change is nothing)


@pytest.mark.parametrize("what", ["series", "cohort"])
def test_a_resumed_export_lies_over_one_source(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    copy = cut_off_export(made, tmp_path, monkeypatch)
    if what == "series":  # the archive gave the same voxels under other UIDs
        for path in (copy / "h" / "ct").iterdir():
            ds = pydicom.dcmread(path)
            ds.SeriesInstanceUID, ds.SOPInstanceUID = "2.25.7", f"2.25.7{path.stem[2:]}"
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.save_as(path)
    else:
        toml = copy / "c" / "cohort.toml"
        cohort = Cohort.open(copy / "c")
        toml.write_text(toml.read_text().replace(cohort.id, "another"))
    folder = copy / ".exporting-segs" / f"{P1}_S1"
    before = {path.name: pydicom.dcmread(path) for path in folder.iterdir()}
    assert export(copy, copy / "segs") == 0
    assert len(before) == 3
    for name, old in before.items():
        new = pydicom.dcmread(copy / "segs" / f"{P1}_S1" / name)
        assert new.SOPInstanceUID != old.SOPInstanceUID
        (series,) = new.ReferencedSeriesSequence
        assert (series.SeriesInstanceUID == "2.25.7") == (what == "series")


def cut_off_export(made: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of everything, a model's prediction with it, whose export was cut off."""
    for name in ("c", "h"):
        shutil.copytree(made / name, folder / name)
    shutil.copy(made / "c.key", folder / "c.key")
    give_model(Cohort.open(folder / "c"))

    class Killed(BaseException):
        pass

    def kill(_path: Path, _target: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", kill)  # the last step
        with pytest.raises(Killed):
            export(folder, folder / "segs")
    return folder


def test_without_the_patient_or_the_key_nothing_goes_out(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "h", Study("P2", "one"))
    assert export(made, tmp_path / "segs", source=tmp_path / "h") == 1
    assert f"{P1}_S1: no CT series of this patient in the source" in capsys.readouterr().err
    assert export(made, tmp_path / "segs", "--key", str(tmp_path / "none")) == 1
    assert "no such file; give the key" in capsys.readouterr().err
    # the table of the import does as well
    (tmp_path / "ids.csv").write_text(f"patient_id,study_id\nP1,{P1}\n")
    assert export(made, tmp_path / "segs", "--ids", str(tmp_path / "ids.csv")) == 0


def test_disagreement_is_of_readers_there_are(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(made, tmp_path / "x", "--pair", "Expert A", "Nobody") == 1
    said = capsys.readouterr().err
    assert "no outline of 'Nobody'; there are Expert A, Expert B" in said
    assert export(made, tmp_path / "y", "--pair", "Expert A", "Expert B") == 0
    path = tmp_path / "y" / f"{P1}_S1" / "expert_a_vs_expert_b.dcm"
    a, b = mask_of(A_BLOCK), mask_of(SHIFTED)
    ml = [segment.volume.volume_ml for segment in read_segments(path)]
    expected = [float(np.count_nonzero(m)) * 0.024 for m in (a & ~b, b & ~a, a & b)]
    # 36 - 18, 48 - 18 and 18 voxels of 24 mm3
    assert expected == pytest.approx([0.432, 0.72, 0.432])
    assert ml == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--dicom-seg", "x"], "needs the series that it is to lie over; give --source"),
        (["--csv", "x.csv", "--source", "h"], "--source belongs to --dicom-seg"),
        (["--csv", "x.csv", "--identity", "source"], "--identity belongs to --dicom-seg"),
        (["--dicom-seg", "x", "--source", "h", "--expert", "Expert A"], "--expert belongs to"),
    ],
)
def test_options_that_do_not_belong_together(
    made: Path, given: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(made / "c"), *given]) == 1
    assert says in capsys.readouterr().err
