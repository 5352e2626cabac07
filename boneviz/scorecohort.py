"""Score every case of a cohort: on all cores, a patient a core in memory, resumed where cut off."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import joblib

from boneviz.bars import passing_bar
from boneviz.case import CaseRef, Failure, Reader
from boneviz.cohort import Cohort
from boneviz.errors import MALFORMED, BonevizError, InputError
from boneviz.files import sha256_of, write_whole
from boneviz.nifti import prediction_files, predictions_folder
from boneviz.petrecord import pet_record_path
from boneviz.processes import as_done
from boneviz.readings import read_readings
from boneviz.score import ScoreSettings, default_pairs
from boneviz.scorerow import Scores
from boneviz.scoretable import (
    CohortScores,
    is_scores,
    read_scores,
    require_suffix,
    row_of,
    scores_of_rows,
    write_scores,
)
from boneviz.version import __version__

__all__ = ["content_hash", "score_cohort"]

# raised where the same inputs would give other rows, so that no row of before is taken for new
SCORING = 3
# processes take some seconds to start: less work than this is done sooner without
WORTH_PROCESSES_S = 6.0


def score_cohort(
    cohort: Cohort,
    *,
    predictions: str | Path | None = None,
    settings: ScoreSettings | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    keep_going: bool = False,
    progress: bool = True,
) -> CohortScores:
    """Score the readers of every case against each other, in the pairs of `default_pairs`.

    Every process holds one case at a time. With `out` the table is written there, whole, and what
    an earlier run had scored is taken over where files and settings are the same (`content_hash`);
    cut off, a run leaves ``.NAME.journal`` beside it and goes on from there the next time.

    Parameters
    ----------
    predictions : folder with a folder per model, by default ``predictions/`` of the cohort
    settings : threshold, tolerances, surface
    out : ``.parquet``, with a ``.csv`` of the same beside it, or ``.csv`` alone
    workers : processes, by default one per core where there is enough to do
    keep_going : leave out a case that cannot be read or scored and say so in the result; otherwise
        its error ends the run
    progress : show a bar

    Raises
    ------
    BonevizError
        A case cannot be scored, and `keep_going` is not set. A case that only one reader outlined
        is no error; it is among the failures of the result.
    InputError
        One reader's predictions come from demonstration models and from others, `out` has another
        suffix, or `workers` is below 1.
    """
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers: expected 1 or more")
    if cohort.failures and not keep_going:
        raise InputError(f"{cohort.failures[0].error} (or leave such cases out with keep_going)")
    predictions_folder(cohort, predictions)  # refuses one that holds none
    # without its cases, which would travel to the processes with every one of them
    task = _Task(replace(cohort, cases=(), failures=()), predictions, settings or ScoreSettings())
    journal = _Journal(None if out is None else Path(out))
    known = journal.read()
    done: dict[str, CohortScores] = {
        failure.case_id: CohortScores((), (failure,)) for failure in cohort.failures
    }
    with passing_bar(len(cohort), "scoring", unit="case", progress=progress) as bar:
        todo = [(ref, _Known.of(known.get(ref.case_id, ()))) for ref in cohort]
        for case_id, found, error in _each(task, todo, workers):
            if error is not None and not keep_going:
                raise error
            if found is None:
                done[case_id] = CohortScores(known[case_id])
            else:
                done[case_id] = found
                journal.add(found)
            bar.update()
    scored = CohortScores(
        tuple(row for case_id in sorted(done) for row in done[case_id]),
        tuple(failure for case_id in sorted(done) for failure in done[case_id].failures),
    )
    _require_one_origin(scored)
    journal.finish(scored)
    return scored


def content_hash(
    cohort: Cohort, ref: CaseRef, *, predictions: str | Path | None, settings: ScoreSettings
) -> str:
    """Return a SHA-256 over all that the rows of a case depend on, in hexadecimal.

    The bytes of CT, PET, the PET's record, masks, predictions and their records; readers;
    settings; the version.
    """
    files = prediction_files(cohort, ref, folder=predictions)
    record = pet_record_path(ref.pet)
    content = {
        "scoring": [SCORING, __version__],
        "settings": asdict(settings),
        "case": [ref.patient_id, ref.session],
        "images": [sha256_of(ref.ct), sha256_of(ref.pet)],
        # a cohort without records keeps the hashes that it had
        **({"pet_record": sha256_of(record)} if record.is_file() else {}),
        # in their order, which decides who is called reference
        "experts": [[asdict(reader), sha256_of(path)] for reader, path in ref.masks.items()],
        **({} if ref.label is None else {"label": asdict(ref.label)}),
        "predictions": [[path.parent.name, path.name, sha256_of(path)] for path in files],
        "models": [asdict(model) for model in cohort.models],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# of a case: its id, its rows (None: those that are known hold), and what went wrong
Outcome = tuple[str, CohortScores | None, BonevizError | None]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the rows of an earlier run say of a case.

    Parameters
    ----------
    content : their hash; empty where they differ in it, or a pair of their readers is lacking
    n_readers : how many readers they are about, which tells whether one is gone with all its rows
    """

    content: str
    n_readers: int

    @classmethod
    def of(cls, rows: Sequence[Scores]) -> _Known:
        """Gather it from the rows of one case."""
        hashes = {row.content_hash for row in rows}
        pairs = [(row.reference.name, row.candidate.name) for row in rows]
        readers = {reader for row in rows for reader in (row.reference, row.candidate)}
        expected = {frozenset(pair) for pair in default_pairs(readers)}
        whole = len(rows) == len(expected) and {frozenset(pair) for pair in pairs} == expected
        return cls(hashes.pop() if whole and len(hashes) == 1 else "", len(readers))


def _n_readers(cohort: Cohort, ref: CaseRef, predictions: str | Path | None) -> int:
    """Return how many readers a case has: experts by their masks, models by their two files."""
    return len(ref.masks) + len(prediction_files(cohort, ref, folder=predictions)) // 2


@dataclass(frozen=True, slots=True)
class _Task:
    """What scores one case, here or in another process."""

    cohort: Cohort
    predictions: str | Path | None
    settings: ScoreSettings

    def __call__(self, ref: CaseRef, known: _Known) -> Outcome:
        """Score a case, unless all its rows are known and nothing has changed since."""
        cohort, predictions, settings = self.cohort, self.predictions, self.settings
        try:
            content = content_hash(cohort, ref, predictions=predictions, settings=settings)
            if known == _Known(content, _n_readers(cohort, ref, predictions)):
                return ref.case_id, None, None
            rows = read_readings(cohort, ref, predictions=predictions).scores(settings)
        except (BonevizError, OSError, MemoryError) as error:
            told = _named(error, ref)
            return ref.case_id, CohortScores((), (_failure(ref, str(told)),)), told
        hashed = tuple(replace(row, content_hash=content) for row in rows)
        if not rows:
            who = ", ".join(reader.name for reader in ref.masks) or "nobody"
            alone = f"patient {ref.case_id}: read by {who} alone; expected two readers to compare"
            return ref.case_id, CohortScores((), (_failure(ref, alone),)), None
        return ref.case_id, CohortScores(hashed), None


def _failure(ref: CaseRef, error: str) -> Failure:
    return Failure(ref.patient_id, ref.session, error.encode("utf-8", "replace").decode())


def _named(error: BonevizError | OSError | MemoryError, ref: CaseRef) -> BonevizError:
    """Return the error as one that names the patient and says what to do."""
    if isinstance(error, BonevizError):
        return error
    if isinstance(error, MemoryError):
        return InputError(
            f"patient {ref.case_id}: not enough memory for its volumes; expected room for all of "
            "them in every process: take fewer with --workers 1, or a larger machine"
        )
    return InputError(
        f"patient {ref.case_id}: {error.strerror or error}: {error.filename or 'unknown file'}; "
        "expected a file that can be read: look whether it is still there"
    )


def _each(
    task: _Task, todo: Sequence[tuple[CaseRef, _Known]], workers: int | None
) -> Iterator[Outcome]:
    """Score the cases, in this process until it shows that others would pay."""
    cores = workers or joblib.cpu_count()
    started = time.perf_counter()
    n_here = 0
    while n_here < len(todo):
        took_s = time.perf_counter() - started
        left_s = took_s / n_here * (len(todo) - n_here) if n_here else 0.0
        if cores > 1 and (workers or left_s > WORTH_PROCESSES_S):
            break
        yield task(*todo[n_here])
        n_here += 1
    killed = InputError(
        f"one of {cores} processes was ended from outside, mostly for want of memory; "
        "run again to go on where it stopped, with fewer at a time: --workers 1"
    )
    if n_here < len(todo):
        left = (partial(task, *each) for each in todo[n_here:])
        yield from as_done(left, workers=cores, killed=killed)


class _Journal:
    """The rows of every case as soon as they are there, in a file beside the table.

    One line per case. A line that was cut off in writing is the last, and is left out.
    """

    def __init__(self, table: Path | None) -> None:
        self.table = table
        if table is not None:
            require_suffix(table)
            for path in self.tables:
                _require_ours(path)
            self.path = table.with_name(f".{table.name}.journal")

    @property
    def tables(self) -> tuple[Path, ...]:
        """What is written in the end: the table, and a CSV beside a Parquet file."""
        if self.table is None:
            return ()
        beside = () if self.table.suffix == ".csv" else (self.table.with_suffix(".csv"),)
        return (self.table, *beside)

    def read(self) -> dict[str, tuple[Scores, ...]]:
        """Return the rows of earlier runs by case; none where their table is of another version."""
        if self.table is None:
            return {}
        rows: list[Scores] = []
        if self.table.is_file():
            try:
                rows += read_scores(self.table)
            except InputError:
                rows = []
        by_case = _by_case(rows)
        if self.path.is_file():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(
                keepends=True
            )
            whole = [line for line in lines if line.endswith("\n")]
            for line in whole:
                by_case |= _by_case(_rows_of_line(line))
            write_whole(self.path, "".join(whole).encode())
        return by_case

    def add(self, found: CohortScores) -> None:
        """Append the rows of a case."""
        if self.table is None or not found.scores:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([row_of(row) for row in found]) + "\n")

    def finish(self, scored: CohortScores) -> None:
        """Write the table, and the journal has done its work."""
        if self.table is None:
            return
        for path in self.tables:
            write_scores(scored, path)
        self.path.unlink(missing_ok=True)


def _require_ours(path: Path) -> None:
    """Raise where another file would be overwritten, so before hours of scoring."""
    if path.is_dir():
        raise InputError(f"{path}: a folder, expected a file name for the table of scores")
    if path.is_file() and not is_scores(path):
        raise InputError(
            f"{path}: there already, and no table of scores; move it away or choose another name"
        )


def _rows_of_line(line: str) -> Iterable[Scores]:
    try:
        return scores_of_rows(json.loads(line))
    except (BonevizError, *MALFORMED):
        return ()  # of another version: the case is scored anew


def _by_case(rows: Iterable[Scores]) -> dict[str, tuple[Scores, ...]]:
    by_case: dict[str, tuple[Scores, ...]] = {}
    for row in rows:
        by_case[row.case_id] = (*by_case.get(row.case_id, ()), row)
    return by_case


def _require_one_origin(scored: CohortScores) -> None:
    """Raise where one model is a demonstration in some cases and the user's own in others."""
    origin: dict[Reader, bool] = {}
    for row in scored:
        models = [r for r in (row.reference, row.candidate) if r.kind == "model"]
        if (
            len(models) == 1
            and origin.setdefault(models[0], row.demonstration) != row.demonstration
        ):
            raise InputError(
                f"patient {row.case_id}: {models[0].name} is a demonstration model in some cases "
                "and one of your own in others; delete its folder of predictions and predict "
                "again with one of them"
            )
