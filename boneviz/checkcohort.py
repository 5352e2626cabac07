"""A cohort gone through file by file: what each case holds, and everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from boneviz.case import CaseRef, Reader
from boneviz.checkup import (
    Facts,
    Finding,
    check_ct,
    check_grids,
    check_mask,
    check_pair,
    check_pet,
    check_scans,
    check_spacing,
)
from boneviz.cohort import Cohort
from boneviz.duplicates import hash_of_voxels
from boneviz.errors import BonevizError
from boneviz.folds import Folds
from boneviz.nifti import prediction_files, read_mask, read_prediction, read_volume
from boneviz.paths import inside
from boneviz.patientfolders import other_images, passed_over
from boneviz.petrecord import read_pet_record
from boneviz.volume import Unit, Volume

__all__ = ["Checkup", "check_cohort"]


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found in a cohort.

    Parameters
    ----------
    facts : one per case that could be opened
    findings : errors first, each in the order of the cases
    """

    facts: tuple[Facts, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What is refused elsewhere."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What is to be looked at."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def with_errors(self, errors: Iterable[Finding]) -> Checkup:
        """Return it with further errors, which come first."""
        return replace(self, findings=(*errors, *self.findings))

    def to_table(self) -> pd.DataFrame:
        """Return one row per finding: case_id, severity, check, found, expected, do."""
        return pd.DataFrame(
            [(f.case_id, f.severity, f.check, f.what, f.expected, f.do) for f in self.findings],
            columns=["case_id", "severity", "check", "found", "expected", "do"],
        )


def check_cohort(cohort: Cohort, *, progress: bool = True) -> Checkup:
    """Read every file of a cohort and say what is wrong; never stops at the first.

    One case is in memory at a time.

    Parameters
    ----------
    cohort : opened with ``incomplete="set aside"``, so that cases that lack a file are told too
    progress : show a bar
    """
    facts: list[Facts] = []
    findings = [_error(f.case_id, "files", f.error) for f in cohort.failures]
    for ref in tqdm(
        cohort, total=len(cohort), desc="checking", unit="case", disable=not progress, leave=False
    ):
        fact, found = _case(cohort, ref)
        facts.append(fact)
        findings += found
    findings += [*check_scans(facts), *check_spacing(facts), *_folds(cohort)]
    findings += [*_readers(cohort), *_passed_over(cohort)]
    findings.sort(key=lambda finding: finding.severity)  # error, warning; stable
    return Checkup(tuple(facts), tuple(findings))


def _case(cohort: Cohort, ref: CaseRef) -> tuple[Facts, list[Finding]]:
    who = ref.case_id
    found: list[Finding] = []
    ct, pet = _read(ref.ct, "HU", who, found), _read_pet(ref, found)
    masks: dict[Reader, Volume] = {}
    for reader in ref.masks:
        try:
            masks[reader] = read_mask(ref, reader)
        except BonevizError as error:
            found.append(_error(who, "files", str(error)))
    if ct is not None:
        found += check_ct(who, ct)
    if pet is not None and pet.unit == "SUVbw":
        found += check_pet(who, pet)
    if ct is not None and pet is not None:
        found += check_grids(who, ct.grid, pet.grid)
    for reader, mask in masks.items():
        found += check_mask(who, reader, mask, ct, None if pet is None else pet.grid)
    found += check_pair(who, masks)
    found += _predictions(cohort, ref, ct)
    scans = {"CT": ct, "PET": pet}
    fact = Facts(
        who,
        ref.patient_id,
        "" if ct is None else ct.grid.describe(),
        None if ct is None else ct.grid.spacing_mm,
        float("nan") if pet is None or pet.unit != "SUVbw" else float(pet.array.max()),
        {reader.name: mask.volume_ml for reader, mask in masks.items()},
        {what: hash_of_voxels(scan) for what, scan in scans.items() if scan is not None},
    )
    return fact, found


def _read(path: Path, unit: Unit, who: str, found: list[Finding]) -> Volume | None:
    try:
        return read_volume(path, unit)
    except BonevizError as error:
        found.append(_error(who, "files", str(error)))
    return None


def _read_pet(ref: CaseRef, found: list[Finding]) -> Volume | None:
    """Read the PET in the unit that its record says."""
    try:
        unit = read_pet_record(ref.pet).unit
    except BonevizError as error:
        found.append(_error(ref.case_id, "files", str(error)))
        return None
    return _read(ref.pet, unit, ref.case_id, found)


def _predictions(cohort: Cohort, ref: CaseRef, ct: Volume | None) -> Iterator[Finding]:
    """Look whether models' predictions can be read and lie on the CT's grid."""
    try:
        files = prediction_files(cohort, ref)
    except BonevizError as error:
        yield _error(ref.case_id, "predictions", str(error))
        return
    for folder in dict.fromkeys(path.parent for path in files):
        try:
            prediction = read_prediction(folder, ref)
        except BonevizError as error:
            yield _error(ref.case_id, "predictions", str(error))
            continue
        grid = prediction.probability.grid
        if ct is not None and not grid.matches(ct.grid):
            yield Finding(
                ref.case_id,
                "error",
                "predictions",
                f"prediction of {prediction.reader.name} lies on {grid.describe()}",
                f"the CT's grid, {ct.grid.describe()}",
                "predict again",
            )


def _folds(cohort: Cohort) -> Iterator[Finding]:
    """Look whether folds are about the patients that there are."""
    try:
        path = inside(cohort.root, "folds.json", what=f"cohort {cohort.name}")
        folds = Folds.load(path) if path.is_file() else cohort.folds
    except BonevizError as error:
        yield _error("", "folds", str(error))
        return
    if folds is None:
        return
    patients = {*cohort.patients, *(failure.patient_id for failure in cohort.failures)}
    do = "put the patients back, or move folds.json, models/ and predictions/ away to deal anew"
    for what, lost in (
        ("in the folds and not in the cohort", set(folds.of_patient) - patients),
        ("in the cohort and in no fold", patients - set(folds.of_patient)),
    ):
        if lost:
            names = ", ".join(sorted(lost)[:8]) + (", ..." if len(lost) > 8 else "")
            expected = "folds of the cohort's own patients"
            yield Finding(
                "", "error", "folds", f"{len(lost)} patients {what}: {names}", expected, do
            )


def _readers(cohort: Cohort) -> Iterator[Finding]:
    """Look whether anybody's outlines are read at all."""
    if not cohort.experts:
        yield Finding(
            "",
            "warning",
            "readers",
            "no expert is named, and no outline was read",
            "one or more experts",
            "name them under [[readers]] of cohort.toml, a mask each in every patient's folder",
        )


def _passed_over(cohort: Cohort) -> Iterator[Finding]:
    """Look for patients and outlines that lie there and that nothing is made from."""
    root = cohort.root
    if (root / "cohort.toml").is_file() and all(ref.ct.is_relative_to(root) for ref in cohort):
        passed = passed_over(root, cohort.readers)
    elif len(cohort) == 1 and cohort.cases[0].ct.parent == root:  # one patient's folder
        passed = other_images(root, case_id=cohort.cases[0].case_id)
    else:
        return  # a dataset or table says itself which files it means
    for each in passed:
        check = "folders" if each.folder else "passed over"
        yield Finding(each.case_id, "warning", check, each.what, each.expected, each.do)


def _error(case_id: str, check: str, message: str) -> Finding:
    return Finding(case_id, "error", check, message.removeprefix(f"patient {case_id}: "))
