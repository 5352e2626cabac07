"""Who read which patient: `Reader`, `CaseRef` (paths), `Case` (volumes), `Cohort`, `Folds`.

A cohort on disk is a folder::

    cohort.toml                       name, readers with their intents, licence, provenance
    P001/ct.nii.gz  pet.nii.gz        CT in HU, PET in SUVbw, each on its own grid
    P001/expert_a.nii.gz  ...         one mask per expert, on the CT's grid
    P002/S1/ct.nii.gz  ...            several sessions of one patient: one folder each
    folds.json                        patient-level folds, once made
    models/*.safetensors, *.json      weights and their cards
    predictions/MODEL/P001.nii.gz     probabilities of a model, and P001.json beside it
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

import numpy as np
import pandas as pd
import tomli_w

from boneviz.errors import BonevizError, CohortError, InputError, LeakageError
from boneviz.files import write_whole
from boneviz.volume import Volume

__all__ = ["Case", "CaseRef", "Cohort", "Folds", "Intent", "Prediction", "Reader", "ReaderKind"]

ReaderKind = Literal["expert", "model"]
Intent = Literal["high-sensitivity", "high-specificity", "none"]
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Reader:
    """Someone or something that outlines lesions.

    Parameters
    ----------
    name : shown everywhere, unique within a cohort
    kind : ``expert`` or ``model``
    intent : ``high-sensitivity`` (nothing missed), ``high-specificity`` (only what is
        certain) or ``none``
    learned_from : for a model, the name of the expert whose outlines it was trained on
    """

    name: str
    kind: ReaderKind = "expert"
    intent: Intent = "none"
    learned_from: str | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("a reader without a name: give each reader a name")
        if self.kind not in get_args(ReaderKind):
            raise InputError(f"reader {self.name}: kind {self.kind!r}, expected expert or model")
        if self.intent not in get_args(Intent):
            raise InputError(
                f"reader {self.name}: intent {self.intent!r}, "
                f"expected one of {', '.join(get_args(Intent))}"
            )
        if self.learned_from is not None and self.kind != "model":
            raise InputError(f"reader {self.name}: only a model learns from an expert")

    @property
    def key(self) -> str:
        """The name as a file stem: lower case letters, digits and underscores."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_") or "reader"


@dataclass(frozen=True, slots=True)
class CaseRef:
    """One session of one patient as paths; nothing is read.

    Parameters
    ----------
    patient_id : study id, shared by the sessions of one patient
    session : name of the session, empty where there is only one
    ct, pet : NIfTI files, HU and SUVbw
    masks : expert -> NIfTI mask on the CT's grid
    """

    patient_id: str
    session: str
    ct: Path
    pet: Path
    masks: Mapping[Reader, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.patient_id.strip():
            raise CohortError("a case without a patient id: name its folder or table row")
        object.__setattr__(self, "masks", MappingProxyType(dict(self.masks)))

    @property
    def case_id(self) -> str:
        """Patient id, with the session where there is one."""
        return f"{self.patient_id}_{self.session}" if self.session else self.patient_id


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One session of one patient in memory: volumes, each on its own grid.

    Parameters
    ----------
    ct : HU; pet : SUVbw; masks : reader -> label volume
    notes : what was done to the volumes on the way, in words, oldest first
    """

    patient_id: str
    session: str
    ct: Volume
    pet: Volume
    masks: Mapping[Reader, Volume] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        who = f"patient {self.patient_id}"
        if self.ct.unit != "HU":
            raise InputError(f"{who}: CT in {self.ct.unit}, expected HU")
        if self.pet.unit != "SUVbw":
            raise InputError(f"{who}: PET in {self.pet.unit}, expected SUVbw")
        for reader, mask in self.masks.items():
            if mask.unit != "label":
                raise InputError(
                    f"{who}: mask of {reader.name} holds {mask.unit}, expected a label"
                )
        object.__setattr__(self, "masks", MappingProxyType(dict(self.masks)))

    @property
    def case_id(self) -> str:
        """Patient id, with the session where there is one."""
        return f"{self.patient_id}_{self.session}" if self.session else self.patient_id

    @property
    def on_one_grid(self) -> bool:
        """Whether CT, PET and every mask share the CT's grid."""
        others = (self.pet, *self.masks.values())
        return all(self.ct.grid.matches(volume.grid) for volume in others)

    def with_masks(self, masks: Mapping[Reader, Volume]) -> Case:
        """Return the case with more readers, or other masks for readers it has."""
        return replace(self, masks={**self.masks, **masks})


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says of one case, and whether the model had learned from that patient.

    Parameters
    ----------
    patient_id, session : the case
    reader : the model
    fold : the fold that was held out when the model was trained
    probability : probability of infection, on the CT's grid
    checkpoint_id : sha256 of the model's weights
    trained_on : the patients that the model learned from
    """

    patient_id: str
    session: str
    reader: Reader
    fold: int
    probability: Volume
    checkpoint_id: str
    trained_on: frozenset[str]

    def __post_init__(self) -> None:
        if self.probability.unit != "probability":
            raise InputError(
                f"prediction of {self.reader.name} for patient {self.patient_id} holds "
                f"{self.probability.unit}, expected a probability"
            )

    @property
    def held_out(self) -> bool:
        """Whether the model never saw this patient."""
        return self.patient_id not in self.trained_on

    def require_held_out(self) -> None:
        """Raise `LeakageError` where the model had learned from this patient."""
        if not self.held_out:
            raise LeakageError(
                f"patient {self.patient_id}: {self.reader.name} (fold {self.fold}) was trained "
                "on this patient, so its outline here says nothing about new patients; "
                "use the prediction of the fold that held the patient out"
            )

    def mask(self, threshold: float = 0.5) -> Volume:
        """Return the voxels whose probability is at least `threshold`, 0 < threshold <= 1."""
        if not 0 < threshold <= 1:
            raise InputError(f"threshold {threshold}: expected above 0 and at most 1")
        return Volume(self.probability.array >= threshold, self.probability.grid, "label")


@dataclass(frozen=True, slots=True)
class Folds:
    """Which fold each patient is held out in; the same for every model.

    Parameters
    ----------
    of_patient : patient id -> fold, folds numbered from 0
    seed : the seed that dealt them
    """

    of_patient: Mapping[str, int]
    seed: int

    def __post_init__(self) -> None:
        found = sorted(set(self.of_patient.values()))
        if found != list(range(len(found))) or len(found) < 2:
            raise CohortError(
                f"folds {found}: expected at least two, numbered from 0 without a gap"
            )
        object.__setattr__(self, "of_patient", MappingProxyType(dict(self.of_patient)))

    @classmethod
    def deal(cls, size_of_patient: Mapping[str, float], *, n_folds: int, seed: int) -> Folds:
        """Split patients into folds of like size, each with small and large lesions.

        Parameters
        ----------
        size_of_patient : patient id -> lesion volume (any unit), the stratum
        n_folds : at least 2, at most the number of patients
        seed : of the shuffle within strata

        Raises
        ------
        CohortError
            Fewer patients than folds, or fewer than two folds.
        """
        if not 2 <= n_folds <= len(size_of_patient):
            raise CohortError(
                f"{n_folds} folds for {len(size_of_patient)} patients: "
                "expected at least 2 folds and at least one patient for each"
            )
        rng = np.random.default_rng(seed)
        ranked = sorted(size_of_patient, key=lambda patient: (size_of_patient[patient], patient))
        fold_of: dict[str, int] = {}
        for start in range(0, len(ranked), n_folds):
            stratum = ranked[start : start + n_folds]
            fold_of.update(zip(stratum, rng.permutation(n_folds).tolist(), strict=False))
        return cls(dict(sorted(fold_of.items())), seed)

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(set(self.of_patient.values()))

    def held_out(self, fold: int) -> frozenset[str]:
        """Return the patients of one fold, on which its models are tested."""
        self._require(fold)
        return frozenset(p for p, f in self.of_patient.items() if f == fold)

    def training(self, fold: int) -> frozenset[str]:
        """Return the patients of all other folds, from which its models learn."""
        self._require(fold)
        return frozenset(p for p, f in self.of_patient.items() if f != fold)

    def save(self, path: Path) -> None:
        """Write the folds as JSON, whole or not at all."""
        content = {"format": FORMAT, "seed": self.seed, "of_patient": dict(self.of_patient)}
        write_whole(path, json.dumps(content, indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> Folds:
        """Read folds that `save` wrote.

        Raises
        ------
        CohortError
            The file is missing or is not a folds file.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls({str(p): int(f) for p, f in content["of_patient"].items()}, content["seed"])
        except FileNotFoundError as error:
            raise CohortError(f"{path}: no such folds file; run `boneviz crossval` first") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CohortError(f"{path}: not a folds file ({error}); delete it and run again") from error

    def _require(self, fold: int) -> None:
        if not 0 <= fold < self.n_folds:
            raise CohortError(f"fold {fold}: expected 0 to {self.n_folds - 1}")


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
    """

    name: str
    root: Path
    readers: tuple[Reader, ...]
    cases: tuple[CaseRef, ...]
    licence: str = ""
    provenance: str = ""
    synthetic: bool = False

    def __post_init__(self) -> None:
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
    def open(cls, folder: str | Path) -> Self:
        """Open a cohort folder, or a folder with one patient's CT, PET and masks.

        Raises
        ------
        CohortError
            The folder is missing or empty, a patient lacks CT, PET or an expert's mask.
        """
        root = Path(folder)
        if not root.is_dir():
            raise CohortError(f"{root}: no such folder; give the folder that holds cohort.toml")
        if (root / "cohort.toml").is_file():
            return cls._open_cohort(root)
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
                    session if isinstance(session, str) else "",
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
            "licence": self.licence,
            "provenance": self.provenance,
            "synthetic": self.synthetic,
            "readers": [
                {
                    "name": reader.name,
                    "kind": reader.kind,
                    "intent": reader.intent,
                    **({"learned_from": reader.learned_from} if reader.learned_from else {}),
                }
                for reader in self.readers
            ],
        }
        write_whole(self.root / "cohort.toml", tomli_w.dumps(content).encode())

    @classmethod
    def _open_cohort(cls, root: Path) -> Self:
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
        folders = [ct.parent for ct in sorted({*root.glob("*/ct.nii*"), *root.glob("*/*/ct.nii*")})]
        half = [pet.parent for pet in root.glob("*/pet.nii*") if pet.parent not in folders]
        if half:
            raise CohortError(f"{half[0]}: PET without CT: expected ct.nii.gz beside pet.nii.gz")
        if not folders:
            raise CohortError(f"{root}: no patient folder with ct.nii.gz and pet.nii.gz")
        cases = []
        for folder in folders:
            inside = folder.relative_to(root).parts
            session = inside[1] if len(inside) == 2 else ""
            files = {stem: _nifti(folder, stem, inside[0]) for stem in ("ct", "pet")}
            masks = {expert: _nifti(folder, expert.key, inside[0]) for expert in experts}
            cases.append(CaseRef(inside[0], session, files["ct"], files["pet"], masks))
        return cls(
            name=str(content.get("name", root.name)),
            root=root,
            readers=readers,
            cases=tuple(cases),
            licence=str(content.get("licence", "")),
            provenance=str(content.get("provenance", "")),
            synthetic=bool(content.get("synthetic", False)),
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
        masks = [f for f in files if re.search(r"mask|seg|label|gtv|roi", f.name, re.IGNORECASE)]
        images = {
            what: [
                f
                for f in files
                if f not in masks and re.search(pattern, f.name, re.IGNORECASE)
            ]
            for what, pattern in (("CT", r"(?<![a-z])ct(?![a-z])"), ("PET", r"pet|suv|(?<![a-z])pt(?![a-z])"))
        }
        for what, found in images.items():
            if len(found) != 1:
                names = ", ".join(f.name for f in found) or "none"
                raise CohortError(
                    f"{root}: {what} files found: {names}; expected exactly one "
                    f"whose name says {what} (all files: {', '.join(f.name for f in files)})"
                )
        # a mask drawn on the PET's grid is a second copy of a contour, and the CT's is the one shown
        on_ct = [f for f in masks if not re.search(r"pet|suv", f.name, re.IGNORECASE)]
        readers = {Reader(f.name.removesuffix(".gz").removesuffix(".nii")): f for f in on_ct}
        ref = CaseRef(root.resolve().name, "", images["CT"][0], images["PET"][0], readers)
        left_out = [f.name for f in masks if f not in on_ct]
        note = f"left out, as drawn on the PET: {', '.join(left_out)}" if left_out else ""
        return cls(ref.patient_id, root, tuple(readers), (ref,), provenance=note)


def _nifti(folder: Path, stem: str, patient_id: str) -> Path:
    for suffix in (".nii.gz", ".nii"):
        path = folder / (stem + suffix)
        if path.is_file():
            return path
    raise CohortError(
        f"patient {patient_id}: no {stem}.nii.gz in {folder}; every patient needs "
        "ct, pet and one mask per expert (an expert who saw no lesion gives an empty mask)"
    )
