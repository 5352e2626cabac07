"""SUVbw from what a PET header says, with where every number came from; nothing is read here.

    SUVbw = value x 1000 x weight_kg / (dose_bq x 2^(-t / half_life_s))

with the stored value in Bq/mL, 1 mL weighing 1 g, and t the seconds from injection to the time
that the scanner corrected decay to. Which time that is follows the QIBA FDG-PET profile and its
vendor-neutral pseudo-code (qibawiki.rsna.org, "Standardized Uptake Value"): SeriesTime, except
that AcquisitionTime wins where it is earlier, and GE's own scan time wins where it is given.
FrameReferenceTime and DecayFactor must not contradict it (`boneviz.pettimes`).
What cannot be known from the header is refused, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from boneviz.errors import InputError
from boneviz.nuclides import nuclide_of
from boneviz.petheader import (
    ACQUIRED,
    AS_COUNTS,
    CORRECTED,
    DECAY,
    DECAY_FACTOR,
    DOSE,
    FRAME_TIME,
    GE_SCAN,
    HALF_LIFE,
    INJECTED_AT,
    NUCLIDE,
    PHILIPS_ACTIVITY,
    PHILIPS_SUV,
    SERIES,
    SUV_TYPE,
    UNITS,
    WEIGHT,
    PetHeader,
)
from boneviz.pettimes import injected_after, injection_of, reference_of

__all__ = ["AS_COUNTS", "SuvDerivation", "derive_suv"]

# the terms of Units, SUVType, CorrectedImage and DecayCorrection, PS3.3 C.8.9.1 and C.8.9.4
CODES = (
    "CNTS NONE CM2 CM2ML PCNT CPS BQML MGMINML UMOLMINML MLMING MLG 1CM UMOLML PROPCNTS PROPCPS "
    "MLMINML MLML GML STDDEV BSA BW LBM LBMJAMES128 LBMJANMA IBW DECY ATTN SCAT DTIM MOTN PMOT CLN "
    "RAN RADL DCAL NORM START ADMIN"
)
WEIGHT_KG = (0.5, 400.0)
DOSE_BQ = (1e6, 1e10)  # 370 written in MBq falls far below, and so does 370000 in kBq
HALF_LIFE_S = (60.0, 1e6)  # rubidium-82 has 76 s, iodine-124 361 000 s
HALF_LIFE_SHARE = 0.02  # vendors' values differ by up to 1.3 %, those of rubidium-82


@dataclass(frozen=True, slots=True)
class SuvDerivation:
    """How SUVbw was derived; holds neither dates nor identity.

    Parameters
    ----------
    factor : SUVbw of one unit of the stored, rescaled value
    rule : what was done, in words
    tags : tag -> the number or code that was used
    seconds : moment -> seconds after injection, for those that are known
    reference : the moment decay was corrected to, empty where no time was needed
    """

    factor: float
    rule: str
    tags: Mapping[str, float | str]
    seconds: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", MappingProxyType(dict(self.tags)))
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))

    def as_dict(self) -> dict[str, object]:
        """Return the derivation as JSON can hold it."""
        return {
            "unit": "SUVbw",
            "factor": self.factor,
            "rule": self.rule,
            "reference": self.reference,
            "seconds_after_injection": dict(self.seconds),
            "tags": dict(self.tags),
        }

    def in_words(self) -> str:
        """Return the derivation as a few lines of text."""
        lines = [f"SUVbw = stored value x {self.factor:.6g}: {self.rule}."]
        lines += [f"{tag}: {value}" for tag, value in self.tags.items()]
        lines += [f"{moment}: {s:.3f} s after injection" for moment, s in self.seconds.items()]
        return "\n".join(lines)


def derive_suv(header: PetHeader) -> SuvDerivation:
    """Return the SUVbw factor that a PET header gives, with its derivation.

    BQML: decay correction START decays the dose to the reference time, ADMIN leaves it as it was.
    GML: taken as it is where SUVType says BW. CNTS: Philips only, by (7053,1000), or by
    (7053,1009) to Bq/mL and on from there.

    Raises
    ------
    InputError
        Something needed is missing, zero or implausible, or says that the voxels are not
        quantitative; the message names the tag.
    """
    units = _units(header)
    _require_corrections(header)
    tags: dict[str, float | str] = {UNITS: units}
    if units == "GML":
        if header.suv_type != "BW":
            found = "is absent" if not header.suv_type else f"is {_short(header.suv_type)}"
            raise InputError(
                f"{UNITS} is GML and {SUV_TYPE} {found}: expected BW, SUV by body weight; "
                f"export the PET in BQML, {AS_COUNTS}"
            )
        return SuvDerivation(1.0, "stored as SUV by body weight", {**tags, SUV_TYPE: "BW"})
    tags[DECAY] = header.decay_correction or ""
    if units == "CNTS":
        if _positive(header.philips_suv_factor):
            assert header.philips_suv_factor is not None
            return SuvDerivation(
                header.philips_suv_factor,
                "counts times Philips' own SUV factor",
                {**tags, PHILIPS_SUV: header.philips_suv_factor},
            )
        if not _positive(header.philips_activity_factor):
            raise InputError(
                f"{UNITS} is CNTS, without a {PHILIPS_SUV} or a {PHILIPS_ACTIVITY} above 0: "
                f"counts have no known scale; export the PET in BQML, {AS_COUNTS}"
            )
        assert header.philips_activity_factor is not None
        tags[PHILIPS_ACTIVITY] = header.philips_activity_factor
    return _from_activity(header, tags, header.philips_activity_factor if units == "CNTS" else None)


def _from_activity(
    header: PetHeader, tags: dict[str, float | str], bq_per_count: float | None
) -> SuvDerivation:
    weight_kg = _within(header.weight_kg, WEIGHT_KG, WEIGHT, "kg")
    dose_bq = _dose(header.dose_bq)
    tags |= {WEIGHT: weight_kg, DOSE: dose_bq}
    start = "counts to Bq/mL by Philips' factor, then " if bq_per_count else ""
    scale = 1000 * weight_kg / dose_bq * (bq_per_count or 1.0)
    if header.decay_correction == "ADMIN":
        rule = f"{start}grams of body over the dose as injected: decay is corrected to injection"
        if header.injected_at and header.series_at and header.series_at < header.injected_at:
            raise injected_after(header.injected_at - header.series_at, INJECTED_AT, SERIES)
        return SuvDerivation(scale, rule, tags)
    half_life_s = _half_life(header)
    tags[HALF_LIFE] = half_life_s
    name, reference, unsure = reference_of(header, half_life_s)
    injection, injected = injection_of(header, name, reference, half_life_s)
    elapsed_s = (reference - injected).total_seconds()
    seconds = {
        moment: (at - injected).total_seconds()
        for moment, at in (
            (SERIES, header.series_at),
            (ACQUIRED, header.acquired_at),
            (GE_SCAN, header.ge_scan_at),
        )
        if at is not None
    }
    rule = f"{start}grams of body over the dose decayed from {injection} to {name}"
    rule += f"; {unsure}" if unsure else ""
    for tag, value in (
        (FRAME_TIME, header.frame_reference_s),
        (DECAY_FACTOR, header.decay_factor),
    ):
        if value is not None:
            tags[tag] = value
    return SuvDerivation(scale * 2 ** (elapsed_s / half_life_s), rule, tags, seconds, name)


def _units(header: PetHeader) -> str:
    if not header.units:
        raise InputError(
            f"{UNITS} is absent: what the voxels measure is not known, expected BQML, GML or "
            f"Philips' CNTS; export the PET anew, {AS_COUNTS}"
        )
    if header.units == "PROPCNTS":
        raise InputError(
            f"{UNITS} is PROPCNTS, proportional to counts by an unknown factor: expected BQML; "
            f"export the PET in BQML, {AS_COUNTS}"
        )
    if header.units not in ("BQML", "GML", "CNTS"):
        raise InputError(
            f"{UNITS} is {_short(header.units)}: expected BQML, GML or Philips' CNTS; "
            f"export the PET in BQML, {AS_COUNTS}"
        )
    return header.units


def _require_corrections(header: PetHeader) -> None:
    for code, what in (("ATTN", "attenuation"), ("DECY", "decay")):
        if code not in header.corrections:
            found = " ".join(_short(each) for each in header.corrections) or "absent or empty"
            raise InputError(
                f"{CORRECTED} is {found}, without {code}: the PET is not corrected for {what}; "
                f"choose the corrected series, {AS_COUNTS}"
            )
    if header.decay_correction == "NONE":
        raise InputError(
            f"{DECAY} is NONE: expected START or ADMIN; "
            f"choose a series that is corrected for decay, {AS_COUNTS}"
        )
    if header.decay_correction not in ("START", "ADMIN"):
        found = f"is {_short(header.decay_correction)}" if header.decay_correction else "is absent"
        raise InputError(
            f"{DECAY} {found}: expected START or ADMIN, else it is not known to which time decay "
            f"is corrected; export the PET anew, {AS_COUNTS}"
        )


def _dose(dose_bq: float | None) -> float:
    low, high = DOSE_BQ
    if _positive(dose_bq) and dose_bq is not None and dose_bq < low:
        raise InputError(
            f"{DOSE} is {dose_bq:g} Bq: expected {low:g} to {high:g} Bq; "
            f"it seems to be written in MBq or kBq, correct it at its source, {AS_COUNTS}"
        )
    return _within(dose_bq, DOSE_BQ, DOSE, "Bq")


def _half_life(header: PetHeader) -> float:
    half_life_s = _within(header.half_life_s, HALF_LIFE_S, HALF_LIFE, "s")
    nuclide = nuclide_of(header.nuclide)
    if nuclide and abs(half_life_s / nuclide.half_life_s - 1) > HALF_LIFE_SHARE:
        raise InputError(
            f"{HALF_LIFE} is {half_life_s:g} s and {NUCLIDE} says {nuclide.name}, which has "
            f"{nuclide.half_life_s:.6g} s: expected them within {HALF_LIFE_SHARE:.0%}; correct the "
            f"wrong one at its source, {AS_COUNTS}"
        )
    return half_life_s


def _within(value: float | None, limits: tuple[float, float], tag: str, unit: str) -> float:
    low, high = limits
    if value is None:
        raise InputError(
            f"{tag} is absent or not a number: expected {low:g} to {high:g} {unit}; "
            f"fill it in at its source, {AS_COUNTS}"
        )
    if not low <= value <= high:  # false for NaN too
        raise InputError(
            f"{tag} is {value:g} {unit}: expected {low:g} to {high:g} {unit}; "
            f"correct it at its source, {AS_COUNTS}"
        )
    return value


def _positive(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _short(code: str) -> str:
    """Return a code for a message: what DICOM does not define may be anything, a name included."""
    return code if code in CODES.split() else "not a code that DICOM defines"
