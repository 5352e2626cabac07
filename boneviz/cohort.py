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

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
import tomli_w

from boneviz.case import Case, CaseRef, Failure, Prediction, Reader
from boneviz.errors import BonevizError, CohortError
from boneviz.files import write_whole
from boneviz.folds import Folds

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

        Parameters
        ----------
        incomplete : what becomes of a patient who lacks CT, PET or an expert's mask. Set aside,
            such a patient is in `failures` instead of `cases`.

        Raises
        ------
        CohortError
            The folder is missing or empty, or a patient is refused.
        """
        root = Path(folder)
        if not root.is_dir():
            raise CohortError(f"{root}: no such folder; give the folder that holds cohort.toml")
        if (root / "cohort.toml").is_file():
            return cls._open_cohort(root, incomplete)
        return cls._open_patient(root)

    @classmethod
    def from_table(cls, table: pd.DataFrame, *, name: str, root: str | Path) -> Self:
        """Make a cohort from a table of paths.

        Parameters
        ----------
        table : one row per session with the columns ``patient_id``, ``ct``, ``pet``, optionally
            ``session``, and one further column per expert, named as the expert, of mask paths
        name : of the cohort
        root : folder for folds, models and predictions; relative paths start there

        Raises
        ------
        CohortError
            A column is missing, a cell is empty, or a file does not exist.
        """
        root = Path(root)
        fixed = ("patient_id", "session", "ct", "pet")
        lacking = [c for c in ("patient_id", "ct", "pet") if c not in table.columns]
        if lacking:
            raise CohortError(f"table without the column {', '.join(lacking)}: add it")
        experts = tuple(Reader(str(c)) for c in table.columns if c not in fixed)
        cases = []
        for row in table.to_dict("records"):
            if pd.isna(row["patient_id"]):
                raise CohortError("a row of the table has no patient_id: fill it in")
            who = str(row["patient_id"])
            files = {column: row[column] for column in ("ct", "pet", *(e.name for e in experts))}
            for column, value in files.items():
                if not isinstance(value, str | Path) or not (root / value).is_file():
                    raise CohortError(
                        f"patient {who}: column {column} gives {value!r}, expected an existing file"
                    )
            session = row.get("session")
            cases.append(
                CaseRef(
                    who,
                    "" if pd.isna(session) else str(session),
                    root / files["ct"],
                    root / files["pet"],
                    {expert: root / files[expert.name] for expert in experts},
                )
            )
        if not cases:
            raise CohortError("the table has no rows: expected one per session")
        return cls(name, root, experts, tuple(cases))

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
        path = root / "cohort.toml"
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            if content.get("format") != FORMAT:
                raise CohortError(
                    f"{path}: format {content.get('format')!r}, expected {FORMAT}; "
                    "it was written by another version of boneviz"
                )
            readers = tuple(Reader(**reader) for reader in content.get("readers", []))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
            raise CohortError(f"{path}: not a readable cohort file: {error}") from error
        except CohortError:
            raise
        except BonevizError as error:
            raise CohortError(f"{path}: {error}") from error
        experts = tuple(reader for reader in readers if reader.kind == "expert")
        found = sorted({*root.glob("*/ct.nii*"), *root.glob("*/*/ct.nii*")})
        # folders with a dot are being written
        with_ct = [ct.parent for ct in found if not _hidden(ct, root)]
        pets = [*root.glob("*/pet.nii*"), *root.glob("*/*/pet.nii*")]
        pets = [pet for pet in pets if not _hidden(pet, root)]
        folders = sorted({*with_ct, *(pet.parent for pet in pets), *_of_other_names(root)})
        if not folders:
            raise CohortError(f"{root}: no patient folder with ct.nii.gz and pet.nii.gz")
        cases: list[CaseRef] = []
        failures: list[Failure] = []
        for folder in folders:
            inside = folder.relative_to(root).parts
            session = inside[1] if len(inside) == 2 else ""
            try:
                if folder not in with_ct and not _holds(folder, "pet"):
                    names = ", ".join(sorted(f.name for f in folder.glob("*.nii*")))
                    raise CohortError(
                        f"patient {inside[0]}: no ct.nii.gz and no pet.nii.gz in {folder}, found "
                        f"{names}: expected these names, in small letters; rename the files"
                    )
                if folder not in with_ct:
                    raise CohortError(
                        f"patient {inside[0]}: PET without CT in {folder}: "
                        "expected ct.nii.gz beside pet.nii.gz"
                    )
                files = {stem: _nifti(folder, stem, inside[0]) for stem in ("ct", "pet")}
                masks = {expert: _nifti(folder, expert.key, inside[0]) for expert in experts}
                cases.append(CaseRef(inside[0], session, files["ct"], files["pet"], masks))
            except CohortError as error:
                if incomplete == "refuse":
                    raise
                failures.append(Failure(inside[0], session, str(error)))
        return cls(
            name=str(content.get("name", root.name)),
            root=root,
            readers=readers,
            cases=tuple(cases),
            licence=str(content.get("licence", "")),
            provenance=str(content.get("provenance", "")),
            synthetic=bool(content.get("synthetic", False)),
            id=str(content.get("id", "")),
            failures=tuple(failures),
        )

    @classmethod
    def _open_patient(cls, root: Path) -> Self:
        """Open a folder of one patient: one CT, one PET, and masks, told apart by file name."""
        files = sorted({*root.glob("*.nii"), *root.glob("*.nii.gz")})
        if not files:
            raise CohortError(
                f"{root}: neither a cohort.toml nor a NIfTI file (.nii, .nii.gz) here; "
                "give a cohort folder, or a folder with one patient's CT and PET"
            )
        marked = [f for f in files if _says(f, "mask", "seg", "label", "gtv", "roi")]
        images = {
            "CT": [f for f in files if f not in marked and _says(f, "ct")],
            "PET": [f for f in files if f not in marked and _says(f, "pet", "suv", "pt")],
        }
        for what, found in images.items():
            if len(found) != 1:
                names = ", ".join(f.name for f in found) or "none"
                raise CohortError(
                    f"{root}: {what} files found: {names}; expected exactly one "
                    f"whose name says {what} (all files: {', '.join(f.name for f in files)})"
                )
        ct, pet = images["CT"][0], images["PET"][0]
        # whatever is neither CT nor PET is somebody's outline; one drawn on the PET's grid is a
        # second copy of a contour, and the CT's is the one shown
        outlines = [f for f in files if f not in (ct, pet)]
        on_ct = [f for f in outlines if not _says(f, "pet", "suv", "pt")]
        readers = {Reader(f.name.removesuffix(".gz").removesuffix(".nii")): f for f in on_ct}
        left_out = [f.name for f in outlines if f not in on_ct]
        ref = CaseRef(root.resolve().name, "", ct, pet, readers)
        note = f"Left out, as drawn on the PET: {', '.join(left_out)}." if left_out else ""
        return cls(ref.patient_id, root, tuple(readers), (ref,), provenance=note)


def _of_other_names(root: Path) -> set[Path]:
    """Return folders of images of which none is called CT or PET: somebody's patients, unseen."""
    images = [*root.glob("*/*.nii*"), *root.glob("*/*/*.nii*")]
    inside = {image.parent for image in images if not _hidden(image, root)}
    return {
        folder
        for folder in inside
        if folder.relative_to(root).parts[0] not in ("models", "predictions")
        and not any(folder in (other, *other.parents) for other in inside if _holds(other, "ct"))
        and not _holds(folder, "pet")
    }


def _holds(folder: Path, stem: str) -> bool:
    return any((folder / (stem + suffix)).is_file() for suffix in (".nii.gz", ".nii"))


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _says(path: Path, *words: str) -> bool:
    """Whether a file's name has one of these as a word of its own: PET does, Peter does not."""
    pattern = "|".join(words)
    return bool(re.search(rf"(?<![a-z])({pattern})(?![a-z])", path.name, re.IGNORECASE))


def _nifti(folder: Path, stem: str, patient_id: str) -> Path:
    for suffix in (".nii.gz", ".nii"):
        path = folder / (stem + suffix)
        if path.is_file():
            return path
    raise CohortError(
        f"patient {patient_id}: no {stem}.nii.gz in {folder}; every patient needs "
        "ct, pet and one mask per expert (an expert who saw no lesion gives an empty mask)"
    )
