"""SUVbw from what a PET header says, with where every number came from; nothing is read here.

    SUVbw = value x 1000 x weight_kg / (dose_bq x 2^(-t / half_life_s))

with the stored value in Bq/mL, 1 mL weighing 1 g, and t the seconds from injection to the time
that the scanner corrected decay to. Which time that is follows the QIBA FDG-PET profile and its
vendor-neutral pseudo-code (qibawiki.rsna.org, "Standardized Uptake Value"): SeriesTime, except
that AcquisitionTime wins where it is earlier, and GE's own scan time wins where it is given.
What cannot be known from the header is refused, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, time, timedelta
from types import MappingProxyType

from boneviz.errors import InputError

__all__ = ["PetHeader", "SuvDerivation", "derive_suv", "one_header"]

UNITS = "Units (0054,1001)"
SUV_TYPE = "SUVType (0054,1006)"
CORRECTED = "CorrectedImage (0028,0051)"
DECAY = "DecayCorrection (0054,1102)"
WEIGHT = "PatientWeight (0010,1030)"
DOSE = "RadionuclideTotalDose (0018,1074)"
HALF_LIFE = "RadionuclideHalfLife (0018,1075)"
INJECTED_AT = "RadiopharmaceuticalStartDateTime (0018,1078)"
INJECTED_TIME = "RadiopharmaceuticalStartTime (0018,1072)"
SERIES = "SeriesDate (0008,0021) and SeriesTime (0008,0031)"
ACQUIRED = "AcquisitionDate (0008,0022) and AcquisitionTime (0008,0032)"
GE_SCAN = "GE scan date and time (0009,100D)"
PHILIPS_SUV = "Philips SUV factor (7053,1000)"
PHILIPS_ACTIVITY = "Philips activity factor (7053,1009)"

# the terms of Units, SUVType, CorrectedImage and DecayCorrection, PS3.3 C.8.9.1 and C.8.9.4
CODES = (
    "CNTS NONE CM2 CM2ML PCNT CPS BQML MGMINML UMOLMINML MLMING MLG 1CM UMOLML PROPCNTS PROPCPS "
    "MLMINML MLML GML STDDEV BSA BW LBM LBMJAMES128 LBMJANMA IBW DECY ATTN SCAT DTIM MOTN PMOT CLN "
    "RAN RADL DCAL NORM START ADMIN"
)
WEIGHT_KG = (0.5, 400.0)
DOSE_BQ = (1e6, 1e10)  # 370 written in MBq falls far below, and so does 370000 in kBq
HALF_LIFE_S = (60.0, 1e6)  # rubidium-82 has 76 s, iodine-124 361 000 s
# 1.6 % of the dose is left: later than anybody scans, and short of a day for fluorine-18
MOST_HALF_LIVES = 6.0
CLOCKS_APART_S = 60.0
AS_COUNTS = "or load the PET without SUV, as counts"


@dataclass(frozen=True, slots=True)
class PetHeader:
    """What a PET header says about activity, dose and time; None where absent or unreadable.

    Parameters
    ----------
    units, suv_type, decay_correction : the codes of these tags, such as BQML, BW, START
    corrections : codes of CorrectedImage, such as ATTN and DECY
    weight_kg, dose_bq, half_life_s : patient's weight, injected activity, of its nuclide
    injected_at : date and time of injection, on the clock of the scan
    injected_time : time of injection where only that is given
    series_at, acquired_at, ge_scan_at : start of the series, of the earliest slice, and GE's own
    manufacturer : as written
    philips_suv_factor, philips_activity_factor : (7053,1000) and (7053,1009)
    """

    units: str | None = None
    suv_type: str | None = None
    corrections: tuple[str, ...] = ()
    decay_correction: str | None = None
    weight_kg: float | None = None
    dose_bq: float | None = None
    half_life_s: float | None = None
    injected_at: datetime | None = field(default=None, repr=False)
    injected_time: time | None = field(default=None, repr=False)
    series_at: datetime | None = field(default=None, repr=False)
    acquired_at: datetime | None = field(default=None, repr=False)
    ge_scan_at: datetime | None = field(default=None, repr=False)
    manufacturer: str = ""
    philips_suv_factor: float | None = None
    philips_activity_factor: float | None = None


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


def one_header(headers: list[PetHeader]) -> PetHeader:
    """Return the header of a series from those of its slices, the earliest acquisition in it.

    Raises
    ------
    InputError
        The slices disagree about anything but their acquisition, or there are none.
    """
    if not headers:
        raise InputError("no slice has a PET header: expected at least one")
    first = replace(headers[0], acquired_at=None)
    for other in {replace(header, acquired_at=None) for header in headers} - {first}:
        name = next(
            f.name for f in fields(first) if getattr(first, f.name) != getattr(other, f.name)
        )
        raise InputError(
            f"slices of one PET series disagree about {_TAG_OF[name]}: expected one value for all; "
            f"export the series anew, {AS_COUNTS}"
        )
    times = [header.acquired_at for header in headers]
    known = [at for at in times if at is not None]
    # a slice without a time may be the earliest: then no earliest is known
    return replace(first, acquired_at=min(known) if len(known) == len(times) else None)


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
            raise _injected_after(header.injected_at - header.series_at, INJECTED_AT, SERIES)
        return SuvDerivation(scale, rule, tags)
    half_life_s = _within(header.half_life_s, HALF_LIFE_S, HALF_LIFE, "s")
    tags[HALF_LIFE] = half_life_s
    name, reference = _reference(header)
    injection, injected = _injection(header, name, reference, half_life_s)
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


def _reference(header: PetHeader) -> tuple[str, datetime]:
    """Return the time that decay was corrected to, and the name of its tag."""
    if header.ge_scan_at is not None:
        return GE_SCAN, header.ge_scan_at
    for name, at in ((SERIES, header.series_at), (ACQUIRED, header.acquired_at)):
        if at is None:
            raise InputError(
                f"{name} absent, or not a date with hours and minutes: expected both, since decay "
                f"is corrected to the earlier of series and acquisition; "
                f"fill it in at its source, {AS_COUNTS}"
            )
    assert header.series_at is not None and header.acquired_at is not None
    if header.acquired_at < header.series_at:
        return ACQUIRED, header.acquired_at
    return SERIES, header.series_at


def _injection(
    header: PetHeader, name: str, reference: datetime, half_life_s: float
) -> tuple[str, datetime]:
    """Return when the dose was injected; by a time without date only where the day is certain."""
    most = timedelta(seconds=MOST_HALF_LIVES * half_life_s)
    at, clock = header.injected_at, header.injected_time
    if at is not None:
        if clock is not None:
            apart_s = abs((at - datetime.combine(at, clock)).total_seconds())
            if min(apart_s, 86400 - apart_s) > CLOCKS_APART_S:
                raise InputError(
                    f"{INJECTED_AT} and {INJECTED_TIME} are {apart_s:.0f} s apart: expected one "
                    f"time of day; correct the header at its source, {AS_COUNTS}"
                )
        if at > reference:
            raise _injected_after(at - reference, INJECTED_AT, name)
        if reference - at > most:
            raise _too_late(reference - at, half_life_s, INJECTED_AT, name)
        return INJECTED_AT, at
    if clock is None:
        raise InputError(
            f"neither {INJECTED_AT} nor {INJECTED_TIME} gives hours and minutes: expected the time "
            f"of injection; fill it in at its source, {AS_COUNTS}"
        )
    same_day = datetime.combine(reference, clock)
    day_before = same_day - timedelta(days=1)
    if reference - day_before <= most and same_day <= reference:
        raise InputError(
            f"{INJECTED_TIME} without a date and {HALF_LIFE} of {half_life_s:g} s: the day of "
            f"injection is not known; fill in {INJECTED_AT}, {AS_COUNTS}"
        )
    if same_day <= reference:
        if reference - same_day > most:
            raise _too_late(reference - same_day, half_life_s, INJECTED_TIME, name)
        return INJECTED_TIME, same_day
    # the scan began after midnight: known only where a day later would be too late to scan
    if reference - day_before <= most < reference - day_before + timedelta(days=1):
        return f"{INJECTED_TIME} of the day before", day_before
    raise _injected_after(same_day - reference, INJECTED_TIME, name)


def _injected_after(by: timedelta, injection: str, reference: str) -> InputError:
    return InputError(
        f"{injection} lies {by.total_seconds():.0f} s after the scan began by {reference}: "
        f"expected injection before the scan; correct the times at their source, {AS_COUNTS}"
    )


def _too_late(elapsed: timedelta, half_life_s: float, injection: str, reference: str) -> InputError:
    return InputError(
        f"{elapsed.total_seconds():.0f} s from {injection} to {reference} are "
        f"{elapsed.total_seconds() / half_life_s:.1f} half-lives of {half_life_s:g} s "
        f"({HALF_LIFE}): expected at most {MOST_HALF_LIVES:g}; "
        f"correct dates and half-life at their source, {AS_COUNTS}"
    )


def _dose(dose_bq: float | None) -> float:
    low, high = DOSE_BQ
    if _positive(dose_bq) and dose_bq is not None and dose_bq < low:
        raise InputError(
            f"{DOSE} is {dose_bq:g} Bq: expected {low:g} to {high:g} Bq; "
            f"it seems to be written in MBq or kBq, correct it at its source, {AS_COUNTS}"
        )
    return _within(dose_bq, DOSE_BQ, DOSE, "Bq")


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


_TAG_OF = {
    "units": UNITS,
    "suv_type": SUV_TYPE,
    "corrections": CORRECTED,
    "decay_correction": DECAY,
    "weight_kg": WEIGHT,
    "dose_bq": DOSE,
    "half_life_s": HALF_LIFE,
    "injected_at": INJECTED_AT,
    "injected_time": INJECTED_TIME,
    "series_at": SERIES,
    "ge_scan_at": GE_SCAN,
    "manufacturer": "Manufacturer (0008,0070)",
    "philips_suv_factor": PHILIPS_SUV,
    "philips_activity_factor": PHILIPS_ACTIVITY,
}
