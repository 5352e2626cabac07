"""What a PET header says about activity, dose and time, of one slice or of a series."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, time

from boneviz.errors import InputError

__all__ = ["PetHeader", "one_header"]

UNITS = "Units (0054,1001)"
SUV_TYPE = "SUVType (0054,1006)"
CORRECTED = "CorrectedImage (0028,0051)"
DECAY = "DecayCorrection (0054,1102)"
WEIGHT = "PatientWeight (0010,1030)"
DOSE = "RadionuclideTotalDose (0018,1074)"
HALF_LIFE = "RadionuclideHalfLife (0018,1075)"
NUCLIDE = "RadionuclideCodeSequence (0054,0300)"
INJECTED_AT = "RadiopharmaceuticalStartDateTime (0018,1078)"
INJECTED_TIME = "RadiopharmaceuticalStartTime (0018,1072)"
SERIES = "SeriesDate (0008,0021) and SeriesTime (0008,0031)"
ACQUIRED = "AcquisitionDate (0008,0022) and AcquisitionTime (0008,0032)"
FRAME_TIME = "FrameReferenceTime (0054,1300)"
DECAY_FACTOR = "DecayFactor (0054,1321)"
ZONE = "TimezoneOffsetFromUTC (0008,0201)"
GE_SCAN = "GE scan date and time (0009,100D)"
PHILIPS_SUV = "Philips SUV factor (7053,1000)"
PHILIPS_ACTIVITY = "Philips activity factor (7053,1009)"

AS_COUNTS = "or load the PET without SUV, as counts"


@dataclass(frozen=True, slots=True)
class PetHeader:
    """What a PET header says about activity, dose and time; None where absent or unreadable.

    Parameters
    ----------
    units, suv_type, decay_correction : the codes of these tags, such as BQML, BW, START
    corrections : codes of CorrectedImage, such as ATTN and DECY
    weight_kg, dose_bq, half_life_s : patient's weight, injected activity, of its nuclide
    nuclide : code of the nuclide, such as 77004003 or C-111A1 for fluorine-18
    injected_at : date and time of injection, on the clock of the scan
    injected_time : time of injection where only that is given
    series_at, acquired_at, ge_scan_at : start of the series, of the earliest slice, and GE's own
    frame_reference_s, decay_factor, frame_duration_s : of the earliest slice, how long after the
        series' reference time its values are true, by what they were multiplied to correct decay
        to that time, and how long it was acquired
    injected_elsewhere, ge_scan_elsewhere : as written with an offset from UTC, where the scan's own
        is not known and the moment on its clock is none of the above
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
    nuclide: str | None = field(default=None, repr=False)
    injected_at: datetime | None = field(default=None, repr=False)
    injected_time: time | None = field(default=None, repr=False)
    series_at: datetime | None = field(default=None, repr=False)
    acquired_at: datetime | None = field(default=None, repr=False)
    ge_scan_at: datetime | None = field(default=None, repr=False)
    injected_elsewhere: datetime | None = field(default=None, repr=False)
    ge_scan_elsewhere: datetime | None = field(default=None, repr=False)
    frame_reference_s: float | None = None
    decay_factor: float | None = None
    frame_duration_s: float | None = None
    manufacturer: str = ""
    philips_suv_factor: float | None = None
    philips_activity_factor: float | None = None


def one_header(headers: list[PetHeader]) -> PetHeader:
    """Return the header of a series from those of its slices, the earliest acquisition in it.

    Raises
    ------
    InputError
        The slices disagree about anything but their acquisition, or there are none.
    """
    if not headers:
        raise InputError("no slice has a PET header: expected at least one")
    first = _shared(headers[0])
    for other in {_shared(header) for header in headers} - {first}:
        name = next(
            f.name for f in fields(first) if getattr(first, f.name) != getattr(other, f.name)
        )
        raise InputError(
            f"slices of one PET series disagree about {_TAG_OF[name]}: expected one value for all; "
            f"export the series anew, {AS_COUNTS}"
        )
    # a slice without a time may be the earliest: then no earliest is known
    if any(header.acquired_at is None for header in headers):
        return first
    return min(headers, key=_earliness)


def _shared(header: PetHeader) -> PetHeader:
    """Return a header without what each slice has of its own."""
    return replace(
        header, acquired_at=None, frame_reference_s=None, decay_factor=None, frame_duration_s=None
    )


def _earliness(header: PetHeader) -> tuple[datetime, float, float]:
    """Return when a slice was acquired; some scanners write one time for all beds."""
    assert header.acquired_at is not None
    frame_s, factor = header.frame_reference_s, header.decay_factor
    return (
        header.acquired_at,
        math.inf if frame_s is None else frame_s,
        math.inf if factor is None else factor,
    )


_TAG_OF = {
    "units": UNITS,
    "suv_type": SUV_TYPE,
    "corrections": CORRECTED,
    "decay_correction": DECAY,
    "weight_kg": WEIGHT,
    "dose_bq": DOSE,
    "half_life_s": HALF_LIFE,
    "nuclide": NUCLIDE,
    "injected_at": INJECTED_AT,
    "injected_time": INJECTED_TIME,
    "series_at": SERIES,
    "ge_scan_at": GE_SCAN,
    "injected_elsewhere": INJECTED_AT,
    "ge_scan_elsewhere": GE_SCAN,
    "manufacturer": "Manufacturer (0008,0070)",
    "philips_suv_factor": PHILIPS_SUV,
    "philips_activity_factor": PHILIPS_ACTIVITY,
}
