"""A learner's folder comes back as it was, or says what was done to it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import EXPERT_A, EXPERT_B, VOXEL_ML, case_of
from test_teaching import GRID, A, B, case_called, drawing_at, mask_at

from boneviz.case import Case
from boneviz.drawing import Drawing
from boneviz.errors import BonevizError, InputError, LedgerError
from boneviz.learnerfile import LearnerFile, group_table, over_session
from boneviz.ledger import Ledger, Seal
from boneviz.nifti import write_volume
from boneviz.teaching import Session
from boneviz.volume import Volume

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
# P3: expert B outlines nothing
CASES = {
    "P1": case_called("P1"),
    "P2": case_called("P2"),
    "P3": case_of({EXPERT_A: mask_at(A), EXPERT_B: mask_at(())}, patient_id="P3"),
}
#   x:         0 1 2 3 4 5 6 7 8
#   expert A   # # # . # . # # .      expert B   . # . . . . . . .
#   P2         # # # . . . . . .
#   P1         . # . . . . . . .
#   P3         . . . . # . . . #
DRAWN = {"P2": (0, 1, 2), "P1": (1,), "P3": (4, 8)}


def session_of(learner: str = "Kim", *, cohort_id: str = "tiny") -> Session:
    return Session(cohort_id, learner, 5, ("P2", "P1", "P3"), (EXPERT_B, EXPERT_A))


def write_session(folder: Path, learner: str = "Kim", *, cohort_id: str = "tiny") -> LearnerFile:
    """Go through all three cases, an hour apart."""
    file = LearnerFile.start(folder, session_of(learner, cohort_id=cohort_id), utc=NOON)
    for hour, (case_id, where) in enumerate(DRAWN.items(), start=1):
        utc = NOON + timedelta(hours=hour)
        file, _ = file.commit(CASES[case_id], drawing_at(where), utc=utc)
    return file


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> LearnerFile:
    return write_session(tmp_path_factory.mktemp("learners") / "kim")


@pytest.fixture
def folder(original: LearnerFile, tmp_path: Path) -> Path:
    """Return a copy to be spoiled."""
    return Path(shutil.copytree(original.folder, tmp_path / "kim"))


def test_a_session_comes_back(original: LearnerFile) -> None:
    again = LearnerFile.open(original.folder, sealed=Seal.parse(str(original.ledger.seal)))
    assert again.ledger == original.ledger
    for name in ("cohort_id", "learner", "seed", "case_ids", "experts", "current"):
        assert getattr(again.session, name) == getattr(original.session, name)
    for case_id, where in DRAWN.items():
        drawing = again.session.committed_drawing(case_id)
        assert drawing is not None
        assert drawing.grid.matches(GRID)
        np.testing.assert_array_equal(drawing.mask.array, mask_at(where))
    pd.testing.assert_frame_equal(again.table(), original.table())
    assert sorted(path.name for path in original.folder.iterdir()) == [
        "P1.nii.gz",
        "P2.nii.gz",
        "P3.nii.gz",
        "ledger.jsonl",
    ]


def test_a_session_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = LearnerFile.start(tmp_path / "kim", session_of(), utc=NOON)
    for n, (case_id, where) in enumerate(DRAWN.items()):
        again = LearnerFile.open(file.folder)
        assert (again.session.current, len(again.session.committed)) == (case_id, n)
        file, seen = again.commit(CASES[case_id], drawing_at(where), utc=NOON)
        assert seen.results == file.results[-2:]
    assert LearnerFile.open(file.folder).session.current is None


def test_a_folder_is_gone_on_with_only_by_its_own_session(tmp_path: Path) -> None:
    file = LearnerFile.resume(tmp_path, session_of(), utc=NOON)
    assert file.session.current == "P2"
    file.commit(CASES["P2"], drawing_at(DRAWN["P2"]), utc=NOON)
    again = LearnerFile.resume(tmp_path, session_of(), utc=NOON)
    assert again.session.current == "P1"
    assert len(again.ledger.rows) == 2
    for other, message in (
        (session_of("Lee"), "the learner Kim, expected Lee; choose another folder"),
        (session_of(cohort_id="big"), "the cohort id tiny, expected big"),
        (replace(session_of(), seed=6), "the seed 5, expected 6"),
        (replace(session_of(), case_ids=("P2", "P1")), "the case ids P2, P1, P3, expected P2, P1"),
        (
            replace(session_of(), experts=(EXPERT_A, EXPERT_B)),
            "the experts Expert B, Expert A, expected Expert A, Expert B",
        ),
    ):
        with pytest.raises(InputError, match=message):
            LearnerFile.resume(tmp_path, other, utc=NOON)


def test_what_is_logged_says_when_what_and_how(original: LearnerFile) -> None:
    start, first, *_ = original.ledger.rows
    assert start.payload["learner"] == "Kim"
    assert start.payload["cases"] == ["P2", "P1", "P3"]
    assert first.utc == "2026-11-24T13:00:00.000Z"
    assert first.payload["voxels"] == 3
    assert first.payload["volume_ml"] == pytest.approx(3 * VOXEL_ML)
    assert [result["reader"] for result in first.payload["results"]] == ["Reader 1", "Reader 2"]
    # expert B is empty in P3: Dice is undefined, which JSON holds as null
    assert original.ledger.rows[-1].payload["results"][0]["dice"] is None
    assert math.isnan(original.results[4].dice)


def test_a_mask_without_its_row_was_never_committed(folder: Path) -> None:
    path = folder / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:40])  # killed while it wrote the row of P1
    file = LearnerFile.open(folder)
    assert (file.session.current, file.ledger.torn) == ("P1", 40)
    file, _ = file.commit(CASES["P1"], drawing_at([2]), utc=NOON)
    drawing = LearnerFile.open(folder).session.committed_drawing("P1")
    assert drawing is not None
    np.testing.assert_array_equal(drawing.mask.array, mask_at([2]))


def redraw(folder: Path) -> None:
    write_volume(Volume(mask_at(A), GRID, "label"), folder / "P1.nii.gz")


def exchange(folder: Path) -> None:
    shutil.copy(folder / "P2.nii.gz", folder / "P1.nii.gz")


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "P1.nii.gz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "P1.nii.gz").write_bytes(bytes(content))


@pytest.mark.parametrize("spoil", [redraw, exchange, flip_a_byte])
def test_a_drawing_that_is_not_the_one_committed_is_found(
    folder: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(folder)
    with pytest.raises(LedgerError, match=r"P1\.nii\.gz: not the drawing that was committed"):
        LearnerFile.open(folder)


def test_a_better_result_written_into_the_log_is_found(folder: Path) -> None:
    path = folder / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert '"missed_lesions":2' in lines[1]
    lines[1] = lines[1].replace('"missed_lesions":2', '"missed_lesions":0')
    path.write_text("".join(lines))
    with pytest.raises(LedgerError, match=r"ledger\.jsonl: row 2 was changed"):
        LearnerFile.open(folder)


def test_a_case_taken_back_shows_against_the_seal(folder: Path, original: LearnerFile) -> None:
    path = folder / "ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert LearnerFile.open(folder).session.current == "P3"
    with pytest.raises(LedgerError, match="row 4 was removed"):
        LearnerFile.open(folder, sealed=original.ledger.seal)


def test_a_refused_commit_writes_nothing(tmp_path: Path) -> None:
    file = LearnerFile.start(tmp_path / "kim", session_of(), utc=NOON)
    without_b = Case(
        "P2", "", CASES["P2"].ct, CASES["P2"].pet, {EXPERT_A: CASES["P2"].masks[EXPERT_A]}
    )
    for case in (CASES["P1"], without_b):
        with pytest.raises(InputError):
            file.commit(case, drawing_at([1]), utc=NOON)
    assert [path.name for path in file.folder.iterdir()] == ["ledger.jsonl"]
    assert len(LearnerFile.open(file.folder).ledger.rows) == 1


def test_the_table_by_hand(original: LearnerFile) -> None:
    table = original.table().set_index(["case_id", "reader"])
    assert list(table.index) == [
        (case, reader) for case in ("P2", "P1", "P3") for reader in ("Reader 1", "Reader 2")
    ]
    assert set(table["learner"]) == {"Kim"}
    # P2: A's first lesion of three voxels out of six, B's voxel and two more
    assert table.loc[("P2", "Reader 2"), "dice"] == pytest.approx(2 * 3 / (6 + 3))
    assert table.loc[("P2", "Reader 1"), "dice"] == pytest.approx(2 * 1 / (1 + 3))
    assert table.loc[("P2", "Reader 2"), "missed_lesions"] == 2
    # P1: exactly B
    assert table.loc[("P1", "Reader 1"), "dice"] == 1
    assert table.loc[("P1", "Reader 1"), "closer"]
    assert table.loc[("P3", "Reader 1"), "status"] == "false_alarm"


def test_over_the_session_by_hand(original: LearnerFile) -> None:
    summed = over_session(original.table()).set_index("reader")
    a, b = summed.loc["Reader 2"], summed.loc["Reader 1"]
    # with A: 6/9, 2/7 and 2/8; all defined
    assert (a["n_cases"], a["n_defined"], a["n_both"], a["n_missed"]) == (3, 3, 3, 0)
    assert a["dice_mean"] == pytest.approx((6 / 9 + 2 / 7 + 2 / 8) / 3)
    assert a["dice_worst_case_mean"] == pytest.approx(a["dice_mean"])
    # three lesions in each case: 2, 2 and 2 missed; the voxel at 8 abuts none of A's, as it shares
    # no voxel with one
    assert (a["expert_lesions"], a["missed_lesions"]) == (9, 6)
    assert (a["learner_lesions"], a["extra_lesions"]) == (4, 1)
    assert a["expert_ml"] == pytest.approx(18 * VOXEL_ML)
    assert a["learner_ml"] == pytest.approx(6 * VOXEL_ML)
    # with B: 2/4 and 1; undefined in P3, which counts 0 in the worst case
    assert (b["n_cases"], b["n_defined"], b["n_both"], b["n_false_alarm"]) == (3, 2, 2, 1)
    assert b["dice_mean"] == pytest.approx((2 / 4 + 1) / 2)
    assert b["dice_worst_case_mean"] == pytest.approx((2 / 4 + 1 + 0) / 3)
    assert (b["intent"], b["n_closer_by_dice"]) == ("high-specificity", 1)


def test_a_group_in_one_table(original: LearnerFile, tmp_path: Path) -> None:
    other = LearnerFile.start(
        tmp_path / "lee", Session("tiny", "Lee", 6, ("P1",), (EXPERT_A, EXPERT_B)), utc=NOON
    )
    other, _ = other.commit(CASES["P1"], drawing_at(A), utc=NOON)
    table = group_table([original.folder, other.folder])
    assert len(table) == 3 * 2 + 1 * 2
    # each session masks the experts in its own way
    lee = table[table["learner"] == "Lee"].set_index("expert")
    assert lee.loc["Expert A", "reader"] == "Reader 1"
    assert lee.loc["Expert A", "dice"] == 1
    kim = table[(table["learner"] == "Kim") & (table["case_id"] == "P1")].set_index("expert")
    assert kim.loc["Expert B", "reader"] == "Reader 1"
    summed = over_session(table)
    assert list(zip(summed["learner"], summed["expert"], strict=True)) == [
        ("Kim", "Expert B"),
        ("Kim", "Expert A"),
        ("Lee", "Expert A"),
        ("Lee", "Expert B"),
    ]
    assert summed["n_cases"].tolist() == [3, 3, 1, 1]


def test_a_session_without_a_case_has_an_empty_table(tmp_path: Path) -> None:
    file = LearnerFile.start(tmp_path / "kim", session_of(), utc=NOON)
    assert file.table().empty
    assert list(file.table()) == ["learner", *asdict(write_result())]
    assert over_session(group_table([file.folder])).empty


def write_result():
    from boneviz.teaching import commit, reveal

    session = commit(session_of(), CASES["P2"], drawing_at([1]))
    return reveal(session, CASES["P2"]).results[0]


def start_with(payload: dict[str, object], folder: Path) -> Path:
    Ledger.new(folder / "ledger.jsonl").append(payload, utc=NOON)
    return folder


def committed_with(changes: dict[str, object], original: LearnerFile, folder: Path) -> Path:
    """Write the first two rows of a session anew, the second changed."""
    ledger = Ledger.new(folder / "ledger.jsonl")
    start, first, *_ = (json.loads(row.line)["payload"] for row in original.ledger.rows)
    ledger.append(start, utc=NOON).append({**first, **changes}, utc=NOON)
    shutil.copy(original.folder / "P2.nii.gz", folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"event": "draw"}, "row 2 is no row of a teaching session .*event 'draw'"),
        ({"case": "../kim/P2"}, r"row 2 .*'\.\./kim/P2': expected a name without slashes"),
        ({"case": "P1"}, r"P1\.nii\.gz: no such drawing, but it was committed"),
        ({"results": [{}]}, "row 2 is no row .*expected case_id, reader"),
        ({"results": 3}, "row 2 is no row"),
        ({"sha256": "0" * 64}, r"P2\.nii\.gz: not the drawing .* the ledger says 000000000000"),
    ],
)
def test_what_is_no_session_is_named(
    tmp_path: Path, original: LearnerFile, changes: dict[str, object], message: str
) -> None:
    folder = committed_with(changes, original, tmp_path / "other")
    with pytest.raises(LedgerError, match=message):
        LearnerFile.open(folder)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda path, _: LearnerFile.open(path / "none"), r"ledger\.jsonl: cannot", id="none"
        ),
        pytest.param(
            lambda path, _: LearnerFile.open(Ledger.new(path / "ledger.jsonl").path.parent),
            "no rows, expected a session",
            id="empty",
        ),
        pytest.param(
            lambda path, _: LearnerFile.open(start_with({"event": "vote"}, path)),
            "row 1 is no row of a teaching session",
            id="another log",
        ),
        pytest.param(
            lambda _, file: LearnerFile.start(file.folder, session_of(), utc=NOON),
            "never written over",
            id="a session there",
        ),
        pytest.param(
            lambda path, file: LearnerFile.start(path, file.session, utc=NOON),
            "3 cases are committed; expected a new session",
            id="begun already",
        ),
        pytest.param(lambda *_: group_table([]), "none; expected one or more", id="no folder"),
        pytest.param(
            lambda _, file: group_table([file.folder] * 2), "kim more than once", id="twice"
        ),
        pytest.param(
            lambda path, file: group_table(
                [file.folder, write_session(path / "lee", "Lee", cohort_id="other").folder]
            ),
            "cohorts tiny, other: expected one",
            id="two cohorts",
        ),
    ],
)
def test_bad_input_is_named(
    tmp_path: Path,
    original: LearnerFile,
    call: Callable[[Path, LearnerFile], object],
    message: str,
) -> None:
    with pytest.raises(BonevizError, match=message):
        call(tmp_path, original)


def test_an_empty_drawing_is_kept_too(tmp_path: Path) -> None:
    file = LearnerFile.start(tmp_path / "kim", session_of(), utc=NOON)
    file, seen = file.commit(CASES["P2"], Drawing.blank(GRID), utc=NOON)
    assert {result.status for result in seen.results} == {"missed"}
    drawing = LearnerFile.open(file.folder).session.committed_drawing("P2")
    assert drawing is not None
    assert drawing.n_voxels == 0
    assert B  # the expert who outlined least has a voxel here


@pytest.mark.parametrize("name", ["ledger.jsonl", "P1.nii.gz"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(LedgerError, match=f"folder of a learner: {name} leads out of"):
        LearnerFile.open(folder)
