"""To which time a PET header says decay was corrected, and when the dose was injected."""

from __future__ import annotations

import math
from datetime import datetime, time, timedelta

from boneviz.errors import InputError
from boneviz.petheader import (
    ACQUIRED,
    AS_COUNTS,
    DECAY_FACTOR,
    FRAME_TIME,
    GE_SCAN,
    HALF_LIFE,
    INJECTED_AT,
    INJECTED_TIME,
    SERIES,
    ZONE,
    PetHeader,
)

__all__ = ["injected_after", "injection_of", "reference_of"]

# 1.6 % of the dose is left: later than anybody scans, and short of a day for fluorine-18
MOST_HALF_LIVES = 6.0
CLOCKS_APART_S = 60.0
LEAST_FRAME_S = 60.0
# SUV that differ by less are the same: 3 minutes of fluorine-18
SAME_SHARE = 0.02
# what may be wrong where nothing confirms the reference, half of what SUV differ by when a scan is
# repeated (about 10 %): 8 minutes of fluorine-18
UNSURE_SHARE = 0.05
_CORRECT = f"correct the times at their source, {AS_COUNTS}"


def reference_of(header: PetHeader, half_life_s: float) -> tuple[str, datetime, str]:
    """Return the tag of the time that decay was corrected to, that time, and what is unsure of it.

    The header's own words are weighed against each other. FrameReferenceTime is the offset of a
    slice from the series' reference time and DecayFactor what its values were multiplied by
    (PS3.3 C.8.9.4): both say how long after the reference the earliest slice was acquired.

    Raises
    ------
    InputError
        It is not known.
    """
    if header.ge_scan_at is not None:
        return GE_SCAN, header.ge_scan_at, ""
    if header.ge_scan_elsewhere is not None:
        raise _elsewhere(GE_SCAN)
    for name, at in ((SERIES, header.series_at), (ACQUIRED, header.acquired_at)):
        if at is None:
            raise InputError(
                f"{name} absent, or not a date with hours and minutes: expected both, since decay "
                f"is corrected to the earlier of series and acquisition; "
                f"fill it in at its source, {AS_COUNTS}"
            )
    assert header.series_at is not None and header.acquired_at is not None
    late_s = (header.acquired_at - header.series_at).total_seconds()
    said_s = _offsets(header, half_life_s)
    _require_one_offset(header, said_s, half_life_s)
    if late_s < 0:
        # a scan stored later, so that the earliest slice lies at the reference itself
        if max(said_s.values(), default=0.0) > _same_s(half_life_s):
            _require_offset(header, said_s, 0.0, ACQUIRED)
        return ACQUIRED, header.acquired_at, ""
    # where SUV are the same by either time, later beds under the first bed's AcquisitionTime are
    # let pass: Philips writes such
    if late_s > _same_s(half_life_s):
        _require_offset(header, said_s, late_s, SERIES)
    unsure = "" if said_s else _unconfirmed(late_s, half_life_s)
    return SERIES, header.series_at, unsure


def _offsets(header: PetHeader, half_life_s: float) -> dict[str, float]:
    """Return how long after the reference the earliest slice was acquired, by tag."""
    said_s = {}
    if header.frame_reference_s is not None:
        said_s[FRAME_TIME] = header.frame_reference_s
    if header.decay_factor is not None and header.decay_factor > 0:
        said_s[DECAY_FACTOR] = half_life_s * math.log2(header.decay_factor)
    return said_s


def _require_one_offset(header: PetHeader, said_s: dict[str, float], half_life_s: float) -> None:
    # decay within the frame is corrected too, and the frame's time may be its start or its middle
    apart_s = max(said_s.values(), default=0.0) - min(said_s.values(), default=0.0)
    if apart_s > max(_same_s(half_life_s), header.frame_duration_s or 0.0):
        raise InputError(
            f"{_in_words(said_s)} by {HALF_LIFE} of {half_life_s:g} s: expected one time after "
            f"that to which decay is corrected; {_CORRECT}"
        )


def _require_offset(header: PetHeader, said_s: dict[str, float], late_s: float, name: str) -> None:
    # the time that a frame's values are true at lies within the frame, whose start is the
    # acquisition's
    first_s = late_s - LEAST_FRAME_S
    last_s = late_s + max(header.frame_duration_s or 0.0, LEAST_FRAME_S)
    if all(first_s <= offset_s <= last_s for offset_s in said_s.values()):
        return
    found = f"lie {late_s:.0f} s before the earliest {ACQUIRED}"
    raise InputError(
        f"{name} {found if name == SERIES else f'are earlier than {SERIES}'}, but "
        f"{_in_words(said_s)}: expected {first_s:.0f} to {last_s:.0f} s, within the slice's frame, "
        f"else it is not known to which time decay is corrected; {_CORRECT}"
    )


def _unconfirmed(late_s: float, half_life_s: float) -> str:
    """Return what is to be said of a series time that no other tag confirms."""
    most_s = half_life_s * math.log2(1 + UNSURE_SHARE)
    if late_s > most_s:
        raise InputError(
            f"{SERIES} lie {late_s:.0f} s before the earliest {ACQUIRED}, and {_in_words({})}: "
            f"expected at most {most_s:.0f} s, by which SUV change by {UNSURE_SHARE:.0%}, else it "
            f"is not known to which of the two decay is corrected; {_CORRECT}"
        )
    if late_s < 1:
        return ""
    return (
        f"the earliest slice was acquired {late_s:.0f} s later, and {_in_words({})} on which of "
        "the two it is"
    )


def _in_words(said_s: dict[str, float]) -> str:
    return " and ".join(
        f"{tag} says {f'{said_s[tag]:.0f} s' if tag in said_s else 'nothing'}"
        for tag in (FRAME_TIME, DECAY_FACTOR)
    )


def _same_s(half_life_s: float) -> float:
    return half_life_s * math.log2(1 + SAME_SHARE)


def injection_of(
    header: PetHeader, name: str, reference: datetime, half_life_s: float
) -> tuple[str, datetime]:
    """Return when the dose was injected; by a time without date only where the day is certain.

    Raises
    ------
    InputError
        It is not known, after the reference, or too long before it.
    """
    most = timedelta(seconds=MOST_HALF_LIVES * half_life_s)
    at, clock = header.injected_at, header.injected_time
    if header.injected_elsewhere is not None:
        # the time alone is on the clock of the scan
        at = header.injected_elsewhere
        if clock is None or _apart_s(at, clock) > CLOCKS_APART_S:
            raise _elsewhere(INJECTED_AT, unless=INJECTED_TIME)
    if at is not None:
        if clock is not None:
            apart_s = _apart_s(at, clock)
            if apart_s > CLOCKS_APART_S:
                raise InputError(
                    f"{INJECTED_AT} and {INJECTED_TIME} are {apart_s:.0f} s apart: expected one "
                    f"time of day; correct the header at its source, {AS_COUNTS}"
                )
        if at > reference:
            raise injected_after(at - reference, INJECTED_AT, name)
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
    raise injected_after(same_day - reference, INJECTED_TIME, name)


def _apart_s(at: datetime, clock: time) -> float:
    """Return how far a moment is from the nearest such time of day."""
    apart_s = abs((at - datetime.combine(at, clock)).total_seconds())
    return min(apart_s, 86400 - apart_s)


def _elsewhere(tag: str, *, unless: str = "") -> InputError:
    agrees = f", or {unless} that agrees with it" if unless else ""
    return InputError(
        f"{tag} is written with an offset from UTC, and the file does not say its own: expected "
        f"{ZONE}{agrees}, else the hours between them are not known; fill it in at its source, "
        f"{AS_COUNTS}"
    )


def injected_after(by: timedelta, injection: str, reference: str) -> InputError:
    """Return the error of an injection that lies after the scan."""
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
