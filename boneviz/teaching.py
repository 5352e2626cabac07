"""A teaching session: labels hidden, the learner draws and commits, then sees both experts.

A `Session` is a frozen value. `commit` gives the next one, and `reveal` compares the drawing of a
case with every expert only once it is committed. Experts are called Reader 1, Reader 2, in an
order that the seed decides, as the cases are: this keeps names from leading the eye. It is no
secret, as whoever has the seed or the cohort can work it out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from boneviz.case import Case, Reader
from boneviz.cohort import Cohort
from boneviz.comparison import Comparison, Reveal, closeness_of
from boneviz.drawing import Drawing
from boneviz.errors import GridError, InputError
from boneviz.regions import regions
from boneviz.score import score_case

__all__ = ["Committed", "Session", "commit", "reveal", "shown", "start_session"]


@dataclass(frozen=True, slots=True, eq=False)
class Committed:
    """What a learner stands by for one case."""

    case_id: str
    drawing: Drawing


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One learner's way through the cases of a cohort.

    Parameters
    ----------
    cohort_id : of the cohort
    learner : the name that the learner goes by
    seed : of the order of cases and of the experts' masked names
    case_ids : in the order in which they are read
    experts : Reader 1, Reader 2, ... in this order
    committed : of the first cases, in that order

    Raises
    ------
    InputError
        No case, no expert, one of them twice, or a learner's name that is empty or an expert's.
    """

    cohort_id: str
    learner: str
    seed: int
    case_ids: tuple[str, ...]
    experts: tuple[Reader, ...]
    committed: tuple[Committed, ...] = ()

    def __post_init__(self) -> None:
        names = [expert.name for expert in self.experts]
        for what, found in (("case", self.case_ids), ("expert", names)):
            if not found or len(set(found)) < len(found):
                raise InputError(
                    f"session of {self.learner}: {what}s {', '.join(found) or 'none'}; "
                    "expected one or more, each once"
                )
        masked = [self.label_of(name) for name in names]
        if self.reader.name in (*names, *masked):
            raise InputError(
                f"learner {self.learner!r}: an expert goes by this name; type another one"
            )
        done = tuple(each.case_id for each in self.committed)
        if done != self.case_ids[: len(done)]:
            raise InputError(
                f"session of {self.learner}: committed {', '.join(done)}; expected the first of "
                f"{', '.join(self.case_ids)}"
            )

    @property
    def reader(self) -> Reader:
        """The learner, as a reader that scores and contours can be of."""
        return Reader(self.learner, "learner")

    @property
    def current(self) -> str | None:
        """The case to be read now; None where all are committed."""
        done = len(self.committed)
        return self.case_ids[done] if done < len(self.case_ids) else None

    def label_of(self, expert: str) -> str:
        """Return the masked name of an expert, such as ``Reader 1``.

        Raises
        ------
        InputError
            No expert of the session has this name.
        """
        for number, each in enumerate(self.experts, start=1):
            if each.name == expert:
                return f"Reader {number}"
        raise InputError(
            f"no expert {expert!r} in this session; there is "
            f"{', '.join(each.name for each in self.experts)}"
        )

    def committed_drawing(self, case_id: str) -> Drawing | None:
        """Return what was committed for a case, None where nothing is yet."""
        for each in self.committed:
            if each.case_id == case_id:
                return each.drawing
        return None


def start_session(
    cohort: Cohort, learner: str, *, seed: int, case_ids: Iterable[str] | None = None
) -> Session:
    """Deal the cases of a cohort in an order that the seed decides, and mask the experts' names.

    Parameters
    ----------
    cohort : with one expert or more
    learner : the name that the learner goes by
    seed : 0 or more; the same seed gives the same order and masked names
    case_ids : to read these alone; all by default

    Raises
    ------
    InputError
        A seed below 0, no such case, no expert, or a learner's name that is empty or an expert's.
    """
    if seed < 0:
        raise InputError(f"seed {seed}: expected 0 or more")
    chosen = cohort if case_ids is None else cohort.only(case_ids)
    rng = np.random.default_rng(seed)
    cases = sorted(case.case_id for case in chosen)
    experts = sorted(cohort.experts, key=lambda expert: expert.name)
    return Session(
        cohort_id=cohort.id or cohort.name,
        learner=learner,
        seed=seed,
        case_ids=tuple(cases[n] for n in rng.permutation(len(cases))),
        experts=tuple(experts[n] for n in rng.permutation(len(experts))),
    )


def commit(session: Session, case: Case, drawing: Drawing) -> Session:
    """Stand by a drawing of the current case, which may be empty; it cannot be taken back.

    Raises
    ------
    InputError
        The case is committed already, or another one is to be read now.
    GridError
        The drawing is not on the CT's grid.
    """
    who = f"session of {session.learner}, case {case.case_id}"
    if session.committed_drawing(case.case_id) is not None:
        raise InputError(f"{who}: committed already, and stays as it is; go on to the next case")
    if case.case_id != session.current:
        raise InputError(
            f"{who}: expected {session.current or 'none, as all are committed'}; "
            "cases are read in the order of the session"
        )
    if not drawing.grid.matches(case.ct.grid):
        raise GridError(
            f"{who}: the drawing is on {drawing.grid.describe()}, expected the CT's grid, "
            f"{case.ct.grid.describe()}; draw on this case's CT"
        )
    done = Committed(case.case_id, drawing.finished())
    return replace(session, committed=(*session.committed, done))


def shown(session: Session, case: Case) -> Case:
    """Return the case as the learner may see it: without any mask until it is committed.

    Notes that name a reader are left out with the masks, as they tell how large these are.
    Afterwards the case has its notes, the experts' masks and the learner's drawing.
    """
    drawing = session.committed_drawing(case.case_id)
    if drawing is None:
        names = [reader.name for reader in case.masks]
        notes = [note for note in case.notes if not any(name in note for name in names)]
        return replace(case, masks={}, notes=tuple(notes))
    masks = {expert: case.masks[expert] for expert in _experts_of(session, case)}
    return replace(case, masks={**masks, session.reader: drawing.mask})


def reveal(session: Session, case: Case) -> Reveal:
    """Compare what was committed for a case with every expert.

    Distances are between surface elements of the grid, as in `score_case`.

    Raises
    ------
    InputError
        The case is not committed, or lacks an expert's mask.
    GridError
        The grid is sheared.
    """
    if session.committed_drawing(case.case_id) is None:
        raise InputError(
            f"session of {session.learner}, case {case.case_id}: not committed yet, so the experts "
            "stay hidden; commit a drawing first, which may be empty"
        )
    case = shown(session, case)
    pairs = [(expert.name, session.learner) for expert in session.experts]
    comparisons = tuple(
        Comparison(
            session.label_of(scores.reference.name),
            scores,
            regions(case, scores.reference.name, session.learner),
        )
        for scores in score_case(case, pairs=pairs)
    )
    return Reveal(case, comparisons, closeness_of([each.scores for each in comparisons]))


def _experts_of(session: Session, case: Case) -> tuple[Reader, ...]:
    lacking = [expert.name for expert in session.experts if expert not in case.masks]
    if lacking:
        raise InputError(
            f"session of {session.learner}, case {case.case_id}: no mask of {', '.join(lacking)}; "
            "open the cohort that the session was started with"
        )
    return session.experts
