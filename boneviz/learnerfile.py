"""A learner's own folder: the log of a session and one mask per case, and a group's results.

The folder::

    ledger.jsonl     who reads what in which order, then one row per committed case: the SHA-256
                     of its drawing, and how the drawing compares with each expert
    P001.nii.gz ...  the drawings, one mask per committed case, on the CT's grid

A case is committed when its row is in the ledger: a mask without one was never committed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from boneviz.case import Case, Intent, Reader
from boneviz.comparison import Result, Reveal
from boneviz.drawing import Drawing
from boneviz.errors import BonevizError, CohortError, ImageFileError, InputError, LedgerError
from boneviz.files import sha256_of
from boneviz.ledger import Ledger, Seal
from boneviz.nifti import read_volume, write_volume
from boneviz.paths import inside, is_file
from boneviz.scorerow import Status
from boneviz.teaching import Committed, Session, commit, reveal
from boneviz.version import __version__

__all__ = ["LearnerFile", "group_table", "over_session"]

FORMAT = 1
LEDGER = "ledger.jsonl"
COLUMNS = [field.name for field in fields(Result)]
CLOSER = ("closer_by_dice", "closer_by_volume", "closer_by_boundary", "closer")
LESIONS = ("expert_lesions", "missed_lesions", "learner_lesions", "extra_lesions")


@dataclass(frozen=True, slots=True, eq=False)
class LearnerFile:
    """A session as it is on disk.

    Parameters
    ----------
    folder : the learner's own
    ledger : its log, found whole
    session : with all drawings that are committed
    results : one row per committed case and expert
    """

    folder: Path
    ledger: Ledger
    session: Session
    results: tuple[Result, ...] = ()

    @classmethod
    def start(cls, folder: str | Path, session: Session, *, utc: datetime) -> LearnerFile:
        """Make the folder for a session that has just begun.

        Raises
        ------
        InputError
            Something is committed already.
        LedgerError
            There is a session in the folder.
        """
        if session.committed:
            raise InputError(
                f"session of {session.learner}: {len(session.committed)} cases are committed; "
                "expected a new session, open the folder of this one"
            )
        ledger = Ledger.new(Path(folder) / LEDGER).append(
            {
                "event": "start",
                "format": FORMAT,
                "cohort": session.cohort_id,
                "learner": session.learner,
                "seed": session.seed,
                "cases": session.case_ids,
                "experts": [{"name": e.name, "intent": e.intent} for e in session.experts],
                "version": __version__,
            },
            utc=utc,
        )
        return cls(Path(folder), ledger, session)

    @classmethod
    def open(cls, folder: str | Path, *, sealed: Seal | None = None) -> LearnerFile:
        """Read a session, check the log's chain and every drawing against it.

        Parameters
        ----------
        sealed : where the ledger stood earlier, to tell whether rows were cut off since

        Raises
        ------
        LedgerError
            The log is missing, was tampered with, or is of another kind; a drawing is missing or
            is not the one that was committed.
        """
        folder = Path(folder)
        ledger = Ledger.open(_own(folder, LEDGER), sealed=sealed)
        if not ledger.rows:
            raise LedgerError(f"{ledger.path}: no rows, expected a session; start it again")
        session: Session | None = None
        results: list[Result] = []
        for row in ledger.rows:
            where = f"{ledger.path}: row {row.number}"
            try:
                if session is None:
                    session = _started(row.payload)
                    continue
                if row.payload["event"] != "commit":
                    raise ValueError(f"event {row.payload['event']!r}, expected commit")
                drawing = _drawing(folder, row.payload)
                done = Committed(str(row.payload["case"]), drawing)
                session = replace(session, committed=(*session.committed, done))
                results += [_result(each) for each in row.payload["results"]]
            except LedgerError:
                raise
            except (
                KeyError,
                TypeError,
                ValueError,
                AttributeError,
                OverflowError,
                BonevizError,
            ) as error:
                raise LedgerError(
                    f"{where} is no row of a teaching session ({error}); it was written by another "
                    "version of boneviz or by something else"
                ) from error
        assert session is not None  # the first row gave it
        return cls(folder, ledger, session, tuple(results))

    @classmethod
    def resume(cls, folder: str | Path, session: Session, *, utc: datetime) -> LearnerFile:
        """Go on with the session in the folder, or start this one where there is none.

        Parameters
        ----------
        session : as it begins, with nothing committed

        Raises
        ------
        InputError
            The folder holds another session: of another learner, cohort, seed or other cases.
        LedgerError
            As `open` and `start`.
        """
        if not (Path(folder) / LEDGER).exists():
            return cls.start(folder, session, utc=utc)
        kept = cls.open(folder)
        for what in ("learner", "cohort_id", "seed", "case_ids", "experts"):
            found, expected = getattr(kept.session, what), getattr(session, what)
            if found != expected:
                raise InputError(
                    f"{folder}: the session in it has the {what.replace('_', ' ')} {_said(found)}, "
                    f"expected {_said(expected)}; choose another folder, or start with the same"
                )
        return kept

    def commit(self, case: Case, drawing: Drawing, *, utc: datetime) -> tuple[LearnerFile, Reveal]:
        """Commit to a drawing of the current case, keep it, and see both experts.

        The mask is written first, whole, then the row that counts it as committed.

        Raises
        ------
        InputError, GridError
            As `boneviz.teaching.commit` and `boneviz.teaching.reveal`; nothing is written then.
        LedgerError
            The folder has changed since it was read.
        """
        session = commit(self.session, case, drawing)
        seen = reveal(session, case)
        path = _path(self.folder, case.case_id)
        # another page may have committed this case meanwhile: its drawing stays as it is
        if (there := Ledger.open(self.ledger.path).seal) != self.ledger.seal:
            raise LedgerError(
                f"{self.ledger.path}: {there.number} rows, {self.ledger.seal.number} when it was "
                "read; the session has gone on elsewhere, open it again"
            )
        write_volume(drawing.mask, path)
        ledger = self.ledger.append(
            {
                "event": "commit",
                "case": case.case_id,
                "sha256": sha256_of(path),
                "voxels": drawing.n_voxels,
                "volume_ml": drawing.volume_ml,
                "results": [_record(each) for each in seen.results],
            },
            utc=utc,
        )
        return LearnerFile(self.folder, ledger, session, (*self.results, *seen.results)), seen

    def table(self) -> pd.DataFrame:
        """Return one row per committed case and expert, in the order of reading.

        Columns are ``learner`` and those of `Result`; experts by their masked names.
        """
        table = pd.DataFrame([asdict(each) for each in self.results], columns=COLUMNS)
        table.insert(0, "learner", self.session.learner)
        return table


def group_table(folders: Sequence[str | Path]) -> pd.DataFrame:
    """Return the results of several learners in one table, each folder checked as it is opened.

    Parameters
    ----------
    folders : one per session, all of one cohort

    Returns
    -------
    DataFrame
        ``folder``, ``learner``, ``expert`` and the columns of `Result`, one row per committed case
        and expert. Experts' real names are given, as every session masks them in its own way.

    Raises
    ------
    InputError
        No folder, one twice, or sessions with different cohorts.
    LedgerError
        A folder's log or drawings are not what was committed.
    """
    resolved = [Path(folder).resolve() for folder in folders]
    twice = {str(path) for path in resolved if resolved.count(path) > 1}
    if not resolved or twice:
        raise InputError(
            f"folders of learners: {', '.join(sorted(twice)) or 'none'}"
            f"{' more than once' if twice else ''}; expected one or more, each once"
        )
    opened = [LearnerFile.open(folder) for folder in folders]
    cohorts = list(dict.fromkeys(each.session.cohort_id for each in opened))
    if len(cohorts) > 1:
        raise InputError(
            f"sessions with the cohorts {', '.join(cohorts)}: expected one; make a table of each"
        )
    tables = []
    for each in opened:
        table = each.table()
        real = {each.session.label_of(expert.name): expert.name for expert in each.session.experts}
        table.insert(0, "folder", str(each.folder))
        table.insert(2, "expert", [real[label] for label in table["reader"]])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def over_session(table: pd.DataFrame) -> pd.DataFrame:
    """Sum up a learner's table, or a group's: one row per learner and expert.

    Parameters
    ----------
    table : of `LearnerFile.table` or `group_table`

    Returns
    -------
    DataFrame
        ``n_cases``, of which ``n_defined`` have a Dice; ``n_missed``, ``n_false_alarm`` and
        ``n_both_empty`` by status; ``dice_mean`` over those defined and ``dice_worst_case_mean``,
        in which a false alarm counts 0; ``assd_mm_mean`` over the ``n_both`` cases in which both
        outlined something; lesions and mL in all; in how many cases the drawing was closer to
        this expert. A case is a session of a patient.
    """
    who = [each for each in ("folder", "learner", "expert") if each in table.columns]
    who = who if "expert" in who else [*who, "reader"]
    rows = []
    for values, part in table.groupby(who, sort=False):
        status = part["status"]
        dice = part["dice"].astype(float)
        rows.append(
            {
                **dict(zip(who, values, strict=True)),
                "intent": part["intent"].iloc[0],
                "n_cases": len(part),
                "n_defined": int(dice.notna().sum()),
                **{f"n_{each}": int((status == each).sum()) for each in get_args(Status)},
                "dice_mean": float(dice.mean()),
                "dice_worst_case_mean": float(dice[status != "both_empty"].fillna(0).mean()),
                "assd_mm_mean": float(part["assd_mm"].astype(float).mean()),
                **{each: int(part[each].sum()) for each in LESIONS},
                "expert_ml": float(part["expert_ml"].sum()),
                "learner_ml": float(part["learner_ml"].sum()),
                **{f"n_{each}": int(part[each].sum()) for each in CLOSER},
            }
        )
    return pd.DataFrame(rows)


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(each.name if isinstance(each, Reader) else str(each) for each in value)
    return str(value)


def _path(folder: Path, case_id: str) -> Path:
    # a ledger of somebody else's must not lead out of its folder
    if Path(case_id).name != case_id or case_id.startswith("."):
        raise InputError(f"case {case_id!r}: expected a name without slashes, not hidden")
    return folder / f"{case_id}.nii.gz"


def _own(folder: Path, name: str) -> Path:
    """Return a file of a learner's folder; a link that leads out of it is refused."""
    try:
        return inside(folder, name, what="folder of a learner")
    except CohortError as error:
        raise LedgerError(str(error)) from error


def _started(payload: Mapping[str, Any]) -> Session:
    if payload["event"] != "start" or payload["format"] != FORMAT:
        raise ValueError(f"expected the start of a session, format {FORMAT}")
    return Session(
        cohort_id=payload["cohort"],
        learner=payload["learner"],
        seed=int(payload["seed"]),
        case_ids=tuple(map(str, payload["cases"])),
        experts=tuple(
            Reader(expert["name"], intent=expert["intent"]) for expert in payload["experts"]
        ),
    )


def _drawing(folder: Path, payload: Mapping[str, Any]) -> Drawing:
    path = _own(folder, _path(folder, str(payload["case"])).name)
    if not is_file(path):
        raise LedgerError(f"{path}: no such drawing, but it was committed; copy it back")
    found, expected = sha256_of(path), str(payload["sha256"])
    if found != expected:
        raise LedgerError(
            f"{path}: not the drawing that was committed: its SHA-256 is {found[:12]}..., the "
            f"ledger says {expected[:12]}...; copy the original back"
        )
    try:
        return Drawing.of(read_volume(path, "label"))
    except ImageFileError as error:
        raise LedgerError(f"{path}: {error}") from error


def _record(result: Result) -> dict[str, Any]:
    """Return a result as JSON holds it: null for what is undefined."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(result).items()
    }


def _result(record: Mapping[str, Any]) -> Result:
    """Return the result that `_record` wrote."""
    if set(record) != set(COLUMNS):
        raise ValueError(f"a result of {', '.join(record)}; expected {', '.join(COLUMNS)}")
    if record["status"] not in get_args(Status) or record["intent"] not in get_args(Intent):
        raise ValueError(f"status {record['status']!r}, intent {record['intent']!r}")
    values = dict(record)
    for field in fields(Result):
        if field.type == "float":
            value = values[field.name]
            values[field.name] = math.nan if value is None else float(value)
    return Result(**values)
