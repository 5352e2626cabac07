"""Sessions of a plan written as a cohort, one by one, each whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from boneviz.bars import passing_bar
from boneviz.case import Reader
from boneviz.cohort import Cohort
from boneviz.dicom import read_ct, read_pet
from boneviz.errors import BonevizError, CohortError, GridError, InputError
from boneviz.files import write_whole
from boneviz.identity import Key
from boneviz.importplan import Plan, Row, Session
from boneviz.importrecord import RECORD, Origin, origin_of, patients_out_of_place, read_origins
from boneviz.labelobject import LabelObject
from boneviz.labelsource import (
    LabelSource,
    Outline,
    outlines_of,
    read_outline,
    source_series,
)
from boneviz.nifti import write_volume
from boneviz.paths import inside
from boneviz.petrecord import PetRecord, write_pet_record
from boneviz.version import __version__

__all__ = [
    "ImportSettings",
    "Imported",
    "import_sessions",
    "is_import",
    "match_outlines",
    "out_of_place",
    "require_importable",
]

JOURNAL = ".boneviz-import.json"
WRITING = ".importing-"
FORMAT = 2
LETTERS = 400  # of a line in a PET's record


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """How a cohort is made.

    Parameters
    ----------
    resample_labels : lay outlines of other grids on the CT by nearest neighbour
    label_threshold : from which fraction on a voxel of a fractional SEG is inside
    """

    resample_labels: bool = False
    label_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import.

    Parameters
    ----------
    written, there : cases that were written, and that were there from an earlier run
    refused : case -> why
    notes : what was done to outlines, a line each
    """

    written: tuple[str, ...]
    there: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def is_import(out: Path) -> bool:
    """Whether a folder was begun by an import."""
    return (out / JOURNAL).is_file()


def require_importable(out: Path, key: Key, experts: Sequence[Reader]) -> None:
    """Refuse a folder that an import cannot be written into, or go on in.

    Raises
    ------
    InputError
        It is no folder, holds something else than an import, or one by another key or with other
        experts.
    """
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise InputError(f"{out}: not a folder; choose another name")
    if not any(out.iterdir()):
        return
    try:
        record = json.loads((out / JOURNAL).read_text(encoding="utf-8"))
        made_by, readers = record["key"], record["experts"]
    except FileNotFoundError as error:
        raise InputError(
            f"{out}: there already, and no import that could go on; choose another folder"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out / JOURNAL}: damaged; import into another folder") from error
    if made_by != key.mark("key"):
        raise InputError(
            f"{out}: imported with another key, by which its patients have other ids; give that "
            "key (--key), or choose another folder"
        )
    names = [reader.name for reader in experts]
    if readers != names:
        raise InputError(
            f"{out}: imported with the experts {', '.join(readers) or 'nobody'}, now "
            f"{', '.join(names) or 'nobody'}; give the same --labels, or choose another folder"
        )


def match_outlines(
    plan: Plan, sources: Sequence[LabelSource], objects: Sequence[LabelObject]
) -> tuple[dict[str, tuple[Outline, ...]], tuple[tuple[str, str], ...]]:
    """Return the outlines of each case, and case -> why for those that lack one.

    Raises
    ------
    InputError
        A single mask for several sessions.
    """
    # those that are refused too: a mask named after a patient may be of any session
    sessions = {
        (row.study_id, row.session): row.series.patient_id.strip()
        for row in plan.rows
        if row.session
    }
    several = [source for source in sources if "" in source.files]
    if several and len(sessions) > 1:
        raise InputError(
            f"--labels {several[0].reader.name}={several[0].said}: one mask for "
            f"{len(sessions)} sessions; give a folder of masks, or a table"
        )
    count = Counter(study_id for study_id, _ in sessions)
    outlines: dict[str, tuple[Outline, ...]] = {}
    refused = []
    claims = [_claims(source, plan.rows) for source in sources]
    for session in plan.sessions:
        try:
            mine = outlines_of(
                session, sources, objects, sessions_of_patient=count[session.study_id]
            )
            for outline, whose in zip(mine, claims, strict=True):
                _require_one_claim(outline, whose.get(outline.path, set()))
            outlines[session.case_id] = mine
        except BonevizError as error:
            refused.append((session.case_id, str(error)))
    return outlines, tuple(refused)


def _claims(source: LabelSource, rows: Sequence[Row]) -> dict[Path, set[str]]:
    """Return mask -> the sessions, or patients without study id, that its name or table names."""
    claims: dict[Path, set[str]] = defaultdict(set)
    for row in rows:
        if row.session or not row.study_id:
            patient = row.series.patient_id.strip()
            who = row.case_id if row.session else patient
            for path in source.masks_named(row.study_id, row.session, patient, alone=True):
                claims[path].add(who)
    return claims


def _require_one_claim(outline: Outline, claims: Collection[str]) -> None:
    if len(claims) > 1:
        raise InputError(
            f"{outline.path}: it is called after {len(claims)} sessions or patients, by their "
            "study_id and PatientID (0010,0020) or in a table: whose it is is not known; give a "
            "table that says it (study_id, session, mask)"
        )


def out_of_place(plan: Plan, out: Path, key: Key) -> tuple[tuple[str, str], ...]:
    """Return case -> why for the sessions of patients that contradict the cases there are."""
    barred = patients_out_of_place(plan.rows, read_origins(out), key)
    return tuple((s.case_id, barred[s.study_id]) for s in plan.sessions if s.study_id in barred)


def import_sessions(
    plan: Plan,
    outlines: dict[str, tuple[Outline, ...]],
    out: Path,
    *,
    key: Key,
    experts: Sequence[Reader],
    settings: ImportSettings,
    progress: bool = True,
) -> Imported:
    """Write sessions as cases of a cohort; cut off, the next run goes on.

    A case that is refused does not stop the others. ``cohort.toml`` is written at the end, by the
    first run that gets there; one that is there already is left as it is.

    Parameters
    ----------
    plan : whose sessions are to be written
    outlines : case -> one for each expert; a case without is passed over
    out : new folder, or one that `require_importable` lets pass

    Raises
    ------
    OSError
        The disk is full, or cannot be written.
    """
    require_importable(out, key, experts)
    out.mkdir(parents=True, exist_ok=True)
    journal = {"format": FORMAT, "key": key.mark("key"), "experts": [r.name for r in experts]}
    write_whole(out / JOURNAL, json.dumps(journal).encode())
    for cut_off in out.glob(f"{WRITING}*"):
        shutil.rmtree(cut_off)
    written, there, notes = [], [], []
    refused: list[tuple[str, str]] = []
    origins = read_origins(out)
    barred = dict(out_of_place(plan, out, key))
    todo = [session for session in plan.sessions if session.case_id in outlines]
    with passing_bar(len(todo), "importing", unit="case", progress=progress) as bar:
        for session in todo:
            mine = outlines[session.case_id]
            try:
                if session.case_id in barred:
                    raise CohortError(barred[session.case_id])
                origin = _origin(session, mine, settings, key)
                if (session.study_id, session.name) in origins:
                    _require_same(origins[session.study_id, session.name], origin)
                    there.append(session.case_id)
                else:
                    with _whole_case(out, session) as folder:
                        notes += _write(session, mine, folder, settings, origin, progress)
                    written.append(session.case_id)
            except BonevizError as error:
                refused.append((session.case_id, str(error)))
            bar.update()
    if (written or there) and not (out / "cohort.toml").exists():
        _cohort(out, key, experts, settings).save()
    return Imported(tuple(written), tuple(there), tuple(refused), tuple(notes))


def _origin(
    session: Session, outlines: Sequence[Outline], settings: ImportSettings, key: Key
) -> Origin:
    try:
        return origin_of(session, outlines, repr(settings), key)
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be read ({type(error).__name__}); give it again from its "
            "source"
        ) from error


def _require_same(there: Origin | None, origin: Origin) -> None:
    if there != origin:
        raise CohortError(
            "imported already, from other series or outlines, with other values in their headers "
            "or with other options; nothing is written over: choose another folder, or take this "
            "case's away"
        )


@contextmanager
def _whole_case(out: Path, session: Session) -> Iterator[Path]:
    """Give a hidden folder that becomes the case's when the block ends well."""
    place = inside(out, Path(session.study_id, session.name), what=f"patient {session.case_id}")
    hidden = out / f"{WRITING}{session.case_id}"
    hidden.mkdir()
    try:
        yield hidden
        place.parent.mkdir(exist_ok=True)
        hidden.rename(place)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _write(
    session: Session,
    outlines: Sequence[Outline],
    folder: Path,
    settings: ImportSettings,
    origin: Origin,
    progress: bool,
) -> list[str]:
    """Write CT, PET, their records and the outlines; return what was done to outlines."""
    ct = read_ct(session.ct, progress=progress)
    if not ct.grid.matches(session.ct_grid):
        raise GridError("the CT changed while it was imported; run the import again")
    rt = any(outline.kind == "RTSTRUCT" for outline in outlines)
    source = source_series(session.ct, ct.grid) if rt else None
    notes = {}
    # first what is most likely to be refused, before minutes of compression
    for outline in outlines:
        laid = read_outline(
            outline,
            ct.grid,
            source,
            resample=settings.resample_labels,
            threshold=settings.label_threshold,
        )
        parts = f", {len(outline.only)} regions joined" if len(outline.only) > 1 else ""
        notes[outline.reader.name] = f"{outline.kind}{parts}: {laid.note}"
        write_volume(laid.volume, folder / f"{outline.reader.key}.nii.gz")
    write_volume(ct, folder / "ct.nii.gz")
    pet = read_pet(session.pet, as_counts=session.suv is None, progress=progress)
    write_volume(pet, folder / "pet.nii.gz")
    write_pet_record(_pet_record(session), folder / "pet.nii.gz")
    record = {
        "format": FORMAT,
        "boneviz": __version__,
        **asdict(origin),
        "days_after_first_session": session.days,
        "lossy": {"ct": session.ct.lossy, "pet": session.pet.lossy},
        "outlines": notes,
    }
    content = json.dumps(record, indent=1, ensure_ascii=False).encode()
    write_whole(folder / RECORD, content)
    return [f"{session.case_id}, {name}: {note}" for name, note in notes.items()]


def _pet_record(session: Session) -> PetRecord:
    suv = session.suv
    if suv is None:
        why = [session.without_suv[n : n + LETTERS] for n in range(0, 4 * LETTERS, LETTERS)]
        return PetRecord("counts", tuple(part for part in why if part.strip()))
    words = tuple(suv.in_words().splitlines())
    return PetRecord("SUVbw", words, suv.factor, dict(suv.tags))


def _cohort(out: Path, key: Key, experts: Sequence[Reader], settings: ImportSettings) -> Cohort:
    laid = (
        " Outlines of other grids were laid on the CT by nearest neighbour: volumes before and "
        "after are in import.json of each case."
        if settings.resample_labels
        else ""
    )
    name = out.resolve().name
    return Cohort(
        name if name.isprintable() else "imported",
        out,
        tuple(experts),
        (),
        provenance=f"Imported from DICOM by boneviz {__version__}; patients have study ids, dates "
        f"are days after the first session.{laid}",
        id=key.cohort_id,
    )
