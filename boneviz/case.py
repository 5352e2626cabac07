"""Who read what: readers, one session of one patient as paths or in memory, and predictions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from boneviz.errors import CohortError, InputError, LeakageError
from boneviz.petrecord import PetUnit
from boneviz.volume import Volume

__all__ = [
    "DEFAULT_THRESHOLD",
    "Case",
    "CaseRef",
    "Failure",
    "Intent",
    "LabelChoice",
    "Prediction",
    "Reader",
    "ReaderKind",
    "experts_first",
]

ReaderKind = Literal["expert", "model", "learner"]
# the variants of models that learned from one modality, as `boneviz.train.model_of` names them
CT_ONLY, PET_ONLY = "CT only", "PET only"
# stems of what lies beside an expert's KEY.nii.gz in a patient's folder: ct.nii.gz, pet.nii.gz with
# pet.json, and import.json
STEMS_OF_A_CASE = ("ct", "pet", "import")
# patient, session and a suffix make one name, of which no file's is longer than 255
MOST_BYTES_OF_NAME = 100
#: from which probability on a voxel is inside a model's outline, where nobody says otherwise
DEFAULT_THRESHOLD = 0.5
Intent = Literal["high-sensitivity", "high-specificity", "none"]


@dataclass(frozen=True, slots=True)
class Reader:
    """Someone or something that outlines lesions.

    Parameters
    ----------
    name : shown everywhere, unique within a cohort; an expert's is none of ``ct``, ``pet`` and
        ``import``, after which files of the scan itself are named
    kind : ``expert``, ``model``, or ``learner``: a person whose drawing nobody is measured by
    intent : ``high-sensitivity`` (nothing missed), ``high-specificity`` (only what is
        certain) or ``none``
    learned_from : for a model, the name of the expert whose outlines it was trained on
    variant : for a model that is not the study's own, what sets it apart, such as ``CT only`` or
        ``seed 1``
    """

    name: str
    kind: ReaderKind = "expert"
    intent: Intent = "none"
    learned_from: str | None = None
    variant: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise InputError(
                f"a reader named {self.name!r}: expected a text, not blank, without control "
                "characters"
            )
        if len(self.key.encode()) > MOST_BYTES_OF_NAME:
            raise InputError(
                f"a reader named {self.name!r}: expected a name of at most {MOST_BYTES_OF_NAME} "
                "bytes, as files are named after it"
            )
        if self.kind not in get_args(ReaderKind):
            raise InputError(
                f"reader {self.name}: kind {self.kind!r}, "
                f"expected one of {', '.join(get_args(ReaderKind))}"
            )
        if self.kind == "expert" and self.key in STEMS_OF_A_CASE:
            raise InputError(
                f"an expert named {self.name!r}: the outline would be stored over the scan's own "
                f"file, or beside it under its name ({self.key} in a patient's folder); choose "
                f"another name, such as 'Reader {self.name.strip()}'"
            )
        if self.intent not in get_args(Intent):
            raise InputError(
                f"reader {self.name}: intent {self.intent!r}, "
                f"expected one of {', '.join(get_args(Intent))}"
            )
        if self.learned_from is not None and self.kind != "model":
            raise InputError(f"reader {self.name}: only a model learns from an expert")
        if self.variant and self.kind != "model":
            raise InputError(f"reader {self.name}: only a model is a variant of another")

    @property
    def modality(self) -> Literal["fused", "ct", "pet"]:
        """What a model learned from; ``ct`` or ``pet`` where its variant says that alone."""
        parts = self.variant.split(", ")
        return "ct" if CT_ONLY in parts else "pet" if PET_ONLY in parts else "fused"

    @property
    def repeat(self) -> str:
        """What sets a variant apart besides its modality, such as ``seed 1``."""
        return ", ".join(p for p in self.variant.split(", ") if p not in (CT_ONLY, PET_ONLY))

    @property
    def key(self) -> str:
        """The name as a file stem: letters of any script in lower case, digits, underscores."""
        return re.sub(r"[\W_]+", "_", self.name.casefold()).strip("_") or "reader"


def experts_first(readers: Iterable[Reader]) -> tuple[Reader, ...]:
    """Return the readers each once, people before networks, else in their order."""
    return tuple(sorted(dict.fromkeys(readers), key=lambda reader: reader.kind == "model"))


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """Which values of a mask file are the lesion, where files hold several structures.

    Parameters
    ----------
    name : of the structure, for messages
    values : of its voxels, whole numbers above 0
    known : all values that the files may hold besides 0; another one is refused
    """

    name: str
    values: tuple[int, ...]
    known: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.values or min(self.values) < 1 or not set(self.values) <= set(self.known):
            raise InputError(
                f"label {self.name!r} of the values {self.values}: expected one or more whole "
                f"numbers above 0 among those there are, {self.known}"
            )


@dataclass(frozen=True, slots=True)
class CaseRef:
    """One session of one patient as paths; nothing is read.

    Parameters
    ----------
    patient_id : study id, shared by the sessions of one patient
    session : name of the session, empty where there is only one
    ct, pet : NIfTI files, HU and SUVbw (or counts, where `boneviz.petrecord` says so)
    masks : expert -> NIfTI mask on the CT's grid
    label : which values of the masks are the lesion; by default 0 and one other are expected
    """

    patient_id: str
    session: str
    ct: Path
    pet: Path
    masks: Mapping[Reader, Path] = field(default_factory=dict)
    label: LabelChoice | None = None

    def __post_init__(self) -> None:
        if not self.patient_id.strip():
            raise CohortError("a case without a patient id: name its folder or table row")
        for what, name in (("patient id", self.patient_id), ("session", self.session)):
            # they become names of files, and must not lead out of the cohort's folder
            if (
                re.search(r"[/\\]", name)
                or not name.isprintable()
                or name.startswith(".")
                or len(name.encode()) > MOST_BYTES_OF_NAME
            ):
                raise CohortError(
                    f"{what} {name!r}: expected a name without slashes and control characters "
                    f"that does not start with a dot, of at most {MOST_BYTES_OF_NAME} bytes; "
                    "rename it"
                )
        object.__setattr__(self, "masks", MappingProxyType(dict(self.masks)))

    def __reduce__(self) -> tuple[Any, ...]:
        # a read-only mapping cannot be pickled, and references travel between processes
        masks = dict(self.masks)
        return type(self), (
            self.patient_id,
            self.session,
            self.ct,
            self.pet,
            masks,
            self.label,
        )

    @property
    def case_id(self) -> str:
        """Patient id, with the session where there is one."""
        return f"{self.patient_id}_{self.session}" if self.session else self.patient_id


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that could not be used, and why."""

    patient_id: str
    session: str
    error: str

    @property
    def case_id(self) -> str:
        """Patient id, with the session where there is one."""
        return f"{self.patient_id}_{self.session}" if self.session else self.patient_id


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One session of one patient in memory: volumes, each on its own grid.

    Parameters
    ----------
    ct : HU; pet : SUVbw, or counts, which gives no SUV figure; masks : reader -> label volume
    notes : what was done to the volumes on the way, in words, oldest first
    pet_origin : how the PET's SUV were found, or why it has none, in words; empty where it was
        made here
    """

    patient_id: str
    session: str
    ct: Volume
    pet: Volume
    masks: Mapping[Reader, Volume] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pet_origin: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        who = f"patient {self.patient_id}"
        if self.ct.unit != "HU":
            raise InputError(f"{who}: CT in {self.ct.unit}, expected HU")
        if self.pet.unit not in get_args(PetUnit):
            raise InputError(f"{who}: PET in {self.pet.unit}, expected SUVbw or counts")
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
    def has_suv(self) -> bool:
        """Whether the PET is in SUVbw; in counts every SUV figure is absent."""
        return self.pet.unit == "SUVbw"

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
    trained_on : the patients of this cohort that the model learned from
    demonstration : whether the model learned from phantoms only
    """

    patient_id: str
    session: str
    reader: Reader
    fold: int
    probability: Volume
    checkpoint_id: str
    trained_on: frozenset[str]
    demonstration: bool = False

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

    def mask(self, threshold: float = DEFAULT_THRESHOLD) -> Volume:
        """Return the voxels whose probability is at least `threshold`, 0 < threshold <= 1."""
        if not 0 < threshold <= 1:
            raise InputError(f"threshold {threshold}: expected above 0 and at most 1")
        return Volume(self.probability.array >= threshold, self.probability.grid, "label")
