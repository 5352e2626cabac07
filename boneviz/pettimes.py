"""To which time a PET header says decay was corrected, and when the dose was injected."""

from __future__ import annotations

from datetime import datetime, timedelta

from boneviz.errors import InputError
from boneviz.petheader import (
    ACQUIRED,
    AS_COUNTS,
    GE_SCAN,
    HALF_LIFE,
    INJECTED_AT,
    INJECTED_TIME,
    SERIES,
    PetHeader,
)

__all__ = ["injected_after", "injection_of", "reference_of"]

# 1.6 % of the dose is left: later than anybody scans, and short of a day for fluorine-18
MOST_HALF_LIVES = 6.0
CLOCKS_APART_S = 60.0


def reference_of(header: PetHeader) -> tuple[str, datetime]:
    """Return the time that decay was corrected to, and the name of its tag.

    Raises
    ------
    InputError
        It is not known.
    """
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
    if at is not None:
        if clock is not None:
            apart_s = abs((at - datetime.combine(at, clock)).total_seconds())
            if min(apart_s, 86400 - apart_s) > CLOCKS_APART_S:
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
