import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from boneviz.cohort import Cohort
from boneviz.errors import CohortError, InputError
from boneviz.files import sha256_of, write_whole
from boneviz.nifti import read_case
from boneviz.phantom import PhantomConfig, make_cohort, make_phantom, write

TINY = PhantomConfig(size="tiny")


def make(out: Path, n_patients: int = 2, **options: object) -> Cohort:
    return make_cohort(out, n_patients=n_patients, **{"config": TINY, "progress": False, **options})


def hashes(out: Path) -> dict[str, str]:
    return {str(p.relative_to(out)): sha256_of(p) for p in sorted(out.rglob("*")) if p.is_file()}


def test_a_cohort_on_disk_opens_and_holds_what_was_made(tmp_path: Path) -> None:
    made = make(tmp_path / "c")
    opened = Cohort.open(tmp_path / "c")
    assert opened.patients == made.patients == ("P001", "P002")
    assert [reader.name for reader in opened.experts] == ["Expert A", "Expert B"]
    assert opened.synthetic and "not for diagnosis" in opened.provenance
    read = read_case(opened.cases[0])
    phantom = make_phantom("P001", kind="osteomyelitis", region="leg", seed=0, config=TINY)
    assert (read.ct.array == phantom.case.ct.array).all()
    assert np.allclose(read.pet.array, phantom.case.pet.array, atol=1e-3)
    assert read.pet.grid.matches(phantom.case.pet.grid)
    for reader, mask in phantom.case.masks.items():
        assert (read.masks[reader].array == mask.array).all()
    plant = json.loads((tmp_path / "c/P001/plant.json").read_text())
    assert plant == json.loads(json.dumps(phantom.plant.to_dict()))


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two")
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_a_larger_cohort_begins_with_the_smaller(tmp_path: Path) -> None:
    make(tmp_path / "c", 1)
    before = hashes(tmp_path / "c")
    stamp = (tmp_path / "c/P001/ct.nii.gz").stat().st_mtime_ns
    assert len(make(tmp_path / "c", 3)) == 3
    after = hashes(tmp_path / "c")
    assert {name: after[name] for name in before} == before
    # it was kept, not made again
    assert (tmp_path / "c/P001/ct.nii.gz").stat().st_mtime_ns == stamp


def test_the_id_tells_cohorts_with_other_voxels_apart(tmp_path: Path) -> None:
    one, grown = make(tmp_path / "c", 1), make(tmp_path / "c", 2)
    # P001 of both is one patient; P001 of another seed or style is not
    assert one.id == grown.id == Cohort.open(tmp_path / "c").id
    others = [
        make(tmp_path / "seed", 1, seed=1),
        make(tmp_path / "style", 1, config=PhantomConfig(style="null", size="tiny")),
    ]
    assert len({one.id, *(other.id for other in others)}) == 3


def test_a_smaller_cohort_does_not_hide_patients_that_are_there(tmp_path: Path) -> None:
    make(tmp_path / "c", 3)
    with pytest.raises(CohortError, match=r"phantoms beyond the 2 asked for \(P003\)"):
        make(tmp_path / "c", 2)
    # nor one whose number alone is too high
    shutil.rmtree(tmp_path / "c/P001")
    before = hashes(tmp_path / "c")
    with pytest.raises(CohortError, match=r"phantoms beyond the 2 asked for \(P003\)"):
        make(tmp_path / "c", 2)
    assert hashes(tmp_path / "c") == before


FILES = ("ct.nii.gz", "pet.nii.gz", "expert_a.nii.gz", "expert_b.nii.gz", "plant.json")


@pytest.mark.parametrize("stopped_at", FILES)
def test_an_interrupted_run_leaves_whole_patients_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: str
) -> None:
    make(tmp_path / "whole", 3)
    make(tmp_path / "c", 1)

    def stop_in_p002(write: Callable[..., None]) -> Callable[..., None]:
        def stopping(*arguments: object) -> None:
            (path,) = (each for each in arguments if isinstance(each, Path))
            # the hidden folder of a patient on the way says whose it is
            if path.parent.name.endswith("P002") and path.name == stopped_at:
                raise KeyboardInterrupt
            write(*arguments)

        return stopping

    with monkeypatch.context() as patched:
        patched.setattr(write, "write_volume", stop_in_p002(write.write_volume))
        patched.setattr(write, "write_whole", stop_in_p002(write.write_whole))
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "c", 3)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["P001", "cohort.toml"]
    assert Cohort.open(tmp_path / "c").patients == ("P001",)
    make(tmp_path / "c", 3)
    assert hashes(tmp_path / "c") == hashes(tmp_path / "whole")


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    make(tmp_path / "c", 2)
    complete = hashes(tmp_path / "c")
    # killed while P002 was on the way, and before that with P001 just replaced
    (tmp_path / "c/P002").rename(tmp_path / "c/.writing-P002")
    (tmp_path / "c/.writing-P002/plant.json").unlink()
    shutil.copytree(tmp_path / "c/P001", tmp_path / "c/.replaced-P001")
    (tmp_path / "c/.replaced-P001/pet.nii.gz").unlink()
    assert Cohort.open(tmp_path / "c").patients == ("P001",)
    make(tmp_path / "c", 2)
    assert hashes(tmp_path / "c") == complete


def test_half_a_patient_of_an_older_version_is_made_whole(tmp_path: Path) -> None:
    make(tmp_path / "c")
    complete = hashes(tmp_path / "c")
    for lost in FILES[2:]:
        (tmp_path / "c/P002" / lost).unlink()
    (tmp_path / "c/P002/.writing-abc-expert_a.nii.gz").write_bytes(b"cut short")
    make(tmp_path / "c")
    assert hashes(tmp_path / "c") == complete


def test_images_under_a_phantoms_name_are_left_alone(tmp_path: Path) -> None:
    # a patient of the clinic's own who happens to be called P001, in a folder without cohort.toml
    mine = tmp_path / "P001/ct.nii.gz"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(CohortError, match=r"P001/ct\.nii\.gz: in the place of phantom P001"):
        make(tmp_path)
    assert hashes(tmp_path) == {"P001/ct.nii.gz": sha256_of(mine)}
    assert mine.read_bytes() == b"mine"


def test_files_that_vanish_while_they_are_written_make_no_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_ct(path: Path, content: bytes) -> None:
        # as a second run in the same folder would, clearing away what it takes for left over
        (path.parent / "ct.nii.gz").unlink()
        write_whole(path, content)

    monkeypatch.setattr(write, "write_whole", lose_the_ct)
    with pytest.raises(CohortError, match=r"files went missing .* one run at a time"):
        make(tmp_path, 1)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 5}, "seed 0, .* expected seed 5"),
        ({"config": PhantomConfig(style="null", size="tiny")}, "expected seed 0, style null"),
        ({"config": PhantomConfig()}, "expected seed 0, style two-styles, size full"),
    ],
)
def test_phantoms_of_other_options_are_left_alone(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    make(tmp_path / "c", 1)
    before = hashes(tmp_path / "c")
    with pytest.raises(CohortError, match=words):
        make(tmp_path / "c", 1, **options)
    assert hashes(tmp_path / "c") == before


def test_another_cohort_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cohort.toml").write_text('format = 1\nname = "Clinic"\n')
    with pytest.raises(CohortError, match="holds another cohort; give a new folder"):
        make(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["cohort.toml"]


def test_other_images_and_files_are_left_alone(tmp_path: Path) -> None:
    for place in ("P7/ct.nii.gz", "patient8/S1/pet.nii.gz"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(b"mine")
    with pytest.raises(CohortError, match=r"holds other images \(P7, patient8\)"):
        make(tmp_path)
    with pytest.raises(CohortError, match="is a file; give a folder"):
        make(tmp_path / "P7/ct.nii.gz")


def test_a_damaged_plant_is_named(tmp_path: Path) -> None:
    make(tmp_path / "c", 1)
    (tmp_path / "c/P001/plant.json").write_text("{")
    with pytest.raises(CohortError, match=r"P001/plant\.json: not readable"):
        make(tmp_path / "c", 1)


@pytest.mark.parametrize("n", [0, 1000])
def test_number_of_patients_is_checked(tmp_path: Path, n: int) -> None:
    with pytest.raises(InputError, match=f"{n} phantom patients: expected 1 to 999"):
        make(tmp_path, n)
    assert not any(tmp_path.iterdir())
