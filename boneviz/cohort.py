"""Patients and their readers as a folder on disk, `Cohort`.

The folder::

    cohort.toml                       name, readers with their intents, licence, provenance
    P001/ct.nii.gz  pet.nii.gz        CT in HU, PET in SUVbw, each on its own grid
    P001/pet.json                     where the PET comes from, or that it is in counts
    P001/expert_a.nii.gz  ...         one mask per expert, on the CT's grid
    P002/S1/ct.nii.gz  ...            several sessions of one patient: one folder each
    folds.json                        patient-level folds, once made
    models/*.safetensors, *.json      weights and their cards
    predictions/MODEL/P001.nii.gz     probabilities of a model, and P001.json beside it
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
import tomli_w

from boneviz.case import Case, CaseRef, Failure, Prediction, Reader
from boneviz.datalist import LISTS, read_datalist
from boneviz.dataset import Dataset, folds_in
from boneviz.errors import BonevizError, CohortError
from boneviz.files import write_whole
from boneviz.folds import Folds
from boneviz.nnunet import is_nnunet, read_nnunet
from boneviz.paths import inside, is_file
from boneviz.patientfolders import one_patient, patients_in
from boneviz.petrecord import pet_record_path

__all__ = ["Case", "CaseRef", "Cohort", "Folds", "Prediction", "Reader"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Cohort:
    """Patients and their readers, as paths.

    Parameters
    ----------
    name : shown as a title
    root : the folder that also holds folds, models and predictions
    readers : the experts, and the models where known; names and file stems are unique
    cases : one `CaseRef` per session
    licence, provenance : free text, shown with the data
    synthetic : whether the patients are phantoms
    id : tells this cohort's patient ids from those of another; empty where nobody gave one
    failures : cases of the folder that lack a file, where it was opened all the same
    folds : those that a dataset came with; ``folds.json`` in `root`, where there is one, holds
    """

    name: str
    root: Path
    readers: tuple[Reader, ...]
    cases: tuple[CaseRef, ...]
    licence: str = ""
    provenance: str = ""
    synthetic: bool = False
    id: str = ""
    failures: tuple[Failure, ...] = ()
    folds: Folds | None = None

    def __post_init__(self) -> None:
        for what in ("name", "licence", "provenance", "id"):
            if not getattr(self, what).replace("\n", " ").isprintable():
                raise CohortError(
                    f"cohort {self.name!r}: control characters in its {what}; take them out"
                )
        for reader in self.readers:
            if reader.kind == "learner":
                raise CohortError(
                    f"cohort {self.name}: reader {reader.name} is a learner, expected experts and "
                    "models; a learner's drawings are kept in a folder of their own"
                )
        for what, values in (
            ("reader name", [reader.name for reader in self.readers]),
            ("reader file stem", [reader.key for reader in self.readers]),
            ("case", [case.case_id for case in self.cases]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise CohortError(
                    f"cohort {self.name}: {what} {', '.join(twice)} appears more than once; "
                    "rename all but one"
                )

    def __iter__(self) -> Iterator[CaseRef]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def experts(self) -> tuple[Reader, ...]:
        """The readers that are people."""
        return tuple(reader for reader in self.readers if reader.kind == "expert")

    @property
    def models(self) -> tuple[Reader, ...]:
        """The readers that are networks."""
        return tuple(reader for reader in self.readers if reader.kind == "model")

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient ids, each once, in order."""
        return tuple(dict.fromkeys(case.patient_id for case in self.cases))

    def __getitem__(self, case_id: str) -> CaseRef:
        for case in self.cases:
            if case.case_id == case_id:
                return case
        known = ", ".join(case.case_id for case in self.cases[:8])
        raise CohortError(f"cohort {self.name} has no case {case_id!r}; it has {known}, ...")

    def reader(self, name: str) -> Reader:
        """Return the reader of that name, or raise `CohortError` naming those there are."""
        for reader in self.readers:
            if reader.name == name:
                return reader
        known = ", ".join(reader.name for reader in self.readers)
        raise CohortError(f"cohort {self.name} has no reader {name!r}; it has {known}")

    def only(self, case_ids: Iterable[str]) -> Cohort:
        """Return the cohort with these cases alone, in the order given."""
        return replace(self, cases=tuple(self[case_id] for case_id in case_ids))

    @classmethod
    def open(
        cls, folder: str | Path, *, incomplete: Literal["refuse", "set aside"] = "refuse"
    ) -> Self:
        """Open a cohort folder, or a folder with one patient's CT, PET and masks.

        A raw dataset of nnU-Net and a MONAI datalist (a ``.json`` file) are opened too, with what
        `from_nnunet` and `from_monai_datalist` take for granted. Nothing outside of the folder is
        read: `from_table` is for files that lie elsewhere.

        Parameters
        ----------
        incomplete : what becomes of a patient who lacks CT, PET or an expert's mask. Set aside,
            such a patient is in `failures` instead of `cases`.

        Raises
        ------
        CohortError
            The folder is missing or empty, a patient is refused, or a link leads out of it.
        """
        root = Path(folder)
        if root.is_file() and root.suffix == ".json":
            return cls.from_monai_datalist(root)
        if not root.is_dir():
            raise CohortError(f"{root}: no such folder; give the folder that holds cohort.toml")
        if (root / "cohort.toml").is_file():
            return cls._open_cohort(root, incomplete)
        if is_nnunet(root):
            return cls.from_nnunet(root)
        ref, note = one_patient(root)
        return cls(ref.patient_id, root, tuple(ref.masks), (ref,), provenance=note)

    @classmethod
    def from_table(
        cls,
        table: pd.DataFrame,
        *,
        name: str,
        root: str | Path,
        experts: Sequence[str] | None = None,
        paths: Literal["anywhere", "inside"] = "anywhere",
    ) -> Self:
        """Make a cohort from a table of paths.

        Parameters
        ----------
        table : one row per session with the columns ``patient_id``, ``ct``, ``pet``, optionally
            ``session`` and ``fold``, and one column per expert, named as the expert, of mask paths
        name : of the cohort
        root : folder for folds, models and predictions; relative paths start there
        experts : the columns of masks; by default all others are
        paths : ``anywhere``, as the table is the caller's own; ``inside`` refuses a path that
            leads out of `root`, links followed, for a table that somebody else wrote

        Raises
        ------
        CohortError
            A column is missing, a cell is empty, a file does not exist or lies outside, or a
            patient is in two folds.
        """
        root = Path(root)
        fixed = ("patient_id", "session", "fold", "ct", "pet")
        chosen = [c for c in table.columns if c not in fixed] if experts is None else experts
        lacking = [c for c in ("patient_id", "ct", "pet", *chosen) if c not in table.columns]
        if lacking:
            raise CohortError(f"table without the column {', '.join(lacking)}: add it")
        readers = tuple(Reader(str(c)) for c in chosen)
        cases = []
        for row in table.to_dict("records"):
            if pd.isna(row["patient_id"]):
                raise CohortError("a row of the table has no patient_id: fill it in")
            who = str(row["patient_id"])
            files = {column: row[column] for column in ("ct", "pet", *chosen)}
            for column, value in files.items():
                if isinstance(value, str | Path) and paths == "inside":
                    inside(root, value, what=f"patient {who}, {column}")
                if not isinstance(value, str | Path) or not is_file(root / value):
                    raise CohortError(
                        f"patient {who}: column {column} gives {value!r}, expected an existing file"
                    )
                if paths == "inside" and column == "pet":
                    inside(root, pet_record_path(value), what=f"patient {who}, record of its PET")
            session = row.get("session")
            cases.append(
                CaseRef(
                    who,
                    "" if pd.isna(session) else str(session),
                    root / files["ct"],
                    root / files["pet"],
                    {r: root / files[c] for r, c in zip(readers, chosen, strict=True)},
                )
            )
        if not cases:
            raise CohortError("the table has no rows: expected one per session")
        return cls(name, root, readers, tuple(cases), folds=folds_in(table))

    @classmethod
    def from_nnunet(
        cls,
        folder: str | Path,
        *,
        labels: Mapping[str, str] | None = None,
        label: str | None = None,
        patients: Mapping[str, str] | None = None,
        root: str | Path | None = None,
    ) -> Self:
        """Make a cohort from a raw dataset of nnU-Net v2, as it lies on disk.

        ``channel_names`` of ``dataset.json`` say which channel is the CT (HU) and which the PET
        (SUVbw). ``splits_final.json`` beside it, where there is one, gives the folds.

        Parameters
        ----------
        folder : with ``dataset.json``, ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``
        labels : expert -> folder of that expert's labels, such as ``{"Expert A": "labelsTr",
            "Expert B": "labelsTr_b"}``; by default as the dataset says, else ``labelsTr`` alone
        label : the structure to look at, by its name in ``dataset.json``; needed where there are
            several
        patients : case -> patient id, where one patient has several cases; by default as the
            dataset says, else every case is a patient
        root : folder for folds, models and predictions; by default `folder`

        Raises
        ------
        CohortError
            No such dataset, channels other than one CT and one PET, files of another format, cases
            or labels missing, several structures of which none is chosen, a path that leads out.
        """
        dataset = read_nnunet(Path(folder), labels=labels, label=label, patients=patients)
        return cls._of_dataset(dataset, Path(folder), root, "inside")

    @classmethod
    def from_monai_datalist(
        cls,
        path: str | Path,
        *,
        base: str | Path | None = None,
        labels: Mapping[str, str] | None = None,
        lists: Sequence[str] = LISTS,
        root: str | Path | None = None,
        paths: Literal["anywhere", "inside"] = "inside",
    ) -> Self:
        """Make a cohort from a MONAI datalist, a JSON file with lists of images and labels.

        An item names its scans as ``ct`` and ``pet``, or as ``image: [CT, PET]`` where ``modality``
        of the datalist or the files' names say which is which. ``fold`` of the items, where all
        have it, gives the folds.

        Parameters
        ----------
        path : the ``.json`` file
        base : the folder in which relative paths start; by default that of the file
        labels : expert -> key of the items; by default as the datalist says, else every key that
            begins with ``label``. Items without any of them are left out, as `provenance` says
        lists : the lists to take items from
        root : folder for folds, models and predictions; by default that of the file
        paths : ``inside`` refuses a path that leads out of `base`, links followed; ``anywhere``
            is for a datalist that you trust

        Raises
        ------
        CohortError
            Not a datalist, scans that cannot be told apart, files missing or outside, patients that
            cannot be told apart or are in two folds.
        """
        home = Path(path).parent
        dataset = read_datalist(Path(path), labels=labels, lists=lists)
        return cls._of_dataset(dataset, home if base is None else Path(base), root or home, paths)

    @classmethod
    def _of_dataset(
        cls,
        dataset: Dataset,
        base: Path,
        root: str | Path | None,
        paths: Literal["anywhere", "inside"],
    ) -> Self:
        made = cls.from_table(
            dataset.table, name=dataset.name, root=base, experts=dataset.experts, paths=paths
        )
        return replace(
            made,
            root=base if root is None else Path(root),
            cases=tuple(replace(ref, label=dataset.label) for ref in made.cases),
            licence=dataset.licence,
            provenance=dataset.note,
        )

    def save(self) -> None:
        """Write ``cohort.toml`` into the cohort's folder, whole or not at all."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            **({"id": self.id} if self.id else {}),
            "licence": self.licence,
            "provenance": self.provenance,
            "synthetic": self.synthetic,
            "readers": [
                {
                    "name": reader.name,
                    "kind": reader.kind,
                    "intent": reader.intent,
                    **({"learned_from": reader.learned_from} if reader.learned_from else {}),
                    **({"variant": reader.variant} if reader.variant else {}),
                }
                for reader in self.readers
            ],
        }
        write_whole(self.root / "cohort.toml", tomli_w.dumps(content).encode())

    @classmethod
    def _open_cohort(cls, root: Path, incomplete: Literal["refuse", "set aside"]) -> Self:
        path = inside(root, "cohort.toml", what=str(root))
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            if content.get("format") != FORMAT:
                raise CohortError(
                    f"{path}: format {content.get('format')!r}, expected {FORMAT}; "
                    "it was written by another version of boneviz"
                )
            readers = tuple(Reader(**reader) for reader in content.get("readers", []))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise CohortError(f"{path}: not a readable cohort file: {error}") from error
        except CohortError:
            raise
        except BonevizError as error:
            raise CohortError(f"{path}: {error}") from error
        experts = tuple(reader for reader in readers if reader.kind == "expert")
        cases, failures = patients_in(root, experts, incomplete=incomplete)
        return cls(
            name=str(content.get("name", root.name)),
            root=root,
            readers=readers,
            cases=cases,
            licence=str(content.get("licence", "")),
            provenance=str(content.get("provenance", "")),
            synthetic=bool(content.get("synthetic", False)),
            id=str(content.get("id", "")),
            failures=failures,
        )
