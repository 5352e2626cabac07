from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from boneviz.dicomvalues import moment_of
from boneviz.errors import InputError
from boneviz.petheader import PetHeader, one_header
from boneviz.suv import derive_suv

MADE = datetime(2024, 2, 29, 10)
#: 70 kg; 350 MBq, injected one half-life of an hour before the scan
HEADER = PetHeader(
    units="BQML",
    corrections=("ATTN", "DECY"),
    decay_correction="START",
    weight_kg=70.0,
    dose_bq=350e6,
    half_life_s=3600.0,
    injected_at=MADE - timedelta(hours=1),
    injected_time=time(9),
    series_at=MADE,
    acquired_at=MADE,
    manufacturer="SIEMENS",
)


def header(**changes: Any) -> PetHeader:
    return replace(HEADER, **changes)


@dataclass(frozen=True)
class Rule:
    name: str
    changes: dict[str, Any]
    factor: float
    reference: str = "SeriesTime (0008,0031)"


EARLIER, LATER = MADE - timedelta(minutes=30), MADE + timedelta(minutes=30)
ROOT2 = 2**0.5
RULES = (
    # 1000 g/kg x 70 kg / (350e6 Bq / 2) = 4e-4
    Rule("a half-life", {}, 4e-4),
    # half an hour earlier, a factor of 2^-0.5 less has decayed
    Rule("acquired earlier", {"acquired_at": EARLIER}, 4e-4 / ROOT2, "AcquisitionTime (0008,0032)"),
    # half an hour of a half-life of one hour: values times 2^0.5
    Rule(
        "acquired later, as all tags say",
        {"acquired_at": LATER, "frame_reference_s": 1800.0, "decay_factor": ROOT2},
        4e-4,
    ),
    # the middle of a frame of ten minutes
    Rule(
        "acquired later, within its frame",
        {"acquired_at": LATER, "frame_reference_s": 2100.0, "frame_duration_s": 600.0},
        4e-4,
    ),
    # log2(1.05) x 3600 s = 253.4 s
    Rule("acquired a little later", {"acquired_at": MADE + timedelta(seconds=253)}, 4e-4),
    # all beds under the first one's time: 20 minutes at log2(1.02) x 3600 s = 102.8 s or less
    Rule(
        "a later bed of Philips",
        {"acquired_at": MADE + timedelta(seconds=102), "frame_reference_s": 1200.0},
        4e-4,
    ),
    # 2 % of zirconium-89 are 2.2 hours
    Rule(
        "long-lived",
        {"acquired_at": LATER, "frame_reference_s": 0.0, "half_life_s": 78.4 * 3600.0},
        2e-4 * 2 ** (1 / 78.4),
    ),
    Rule(
        "acquired earlier, first frame",
        {"acquired_at": EARLIER, "frame_reference_s": 300.0, "frame_duration_s": 600.0},
        4e-4 / ROOT2,
        "AcquisitionTime (0008,0032)",
    ),
    Rule("GE's own time wins", {"ge_scan_at": LATER}, 4e-4 * ROOT2, "GE scan date and time"),
    # decay corrected to injection: the dose as it was, 70e3 / 350e6
    Rule("ADMIN", {"decay_correction": "ADMIN"}, 2e-4, ""),
    Rule(
        "ADMIN needs no time",
        {
            "decay_correction": "ADMIN",
            "half_life_s": None,
            "injected_at": None,
            "injected_time": None,
        },
        2e-4,
        "",
    ),
    Rule("time alone", {"injected_at": None}, 4e-4),
    # 23:30 the evening before to 00:30 is one hour; 23:30 of the same day would be after the scan
    Rule(
        "over midnight, by time alone",
        {
            "injected_at": None,
            "injected_time": time(23, 30),
            "series_at": datetime(2024, 3, 1, 0, 30),
            "acquired_at": datetime(2024, 3, 1, 0, 30),
        },
        4e-4,
    ),
    Rule(
        "over midnight, by date and time",
        {
            "injected_at": datetime(2024, 2, 29, 23, 30),
            "injected_time": time(23, 30),
            "series_at": datetime(2024, 3, 1, 0, 30),
            "acquired_at": datetime(2024, 3, 1, 0, 30),
        },
        4e-4,
    ),
    # of another clock, which the time alone shows to be the scan's
    Rule(
        "an offset from UTC and a time that agrees",
        {"injected_at": None, "injected_elsewhere": MADE - timedelta(hours=1)},
        4e-4,
    ),
    # one hour of 6588 s, written by Philips, 0.03 % off
    Rule(
        "fluorine-18 by its code",
        {"nuclide": "C-111A1", "half_life_s": 6588.0},
        2e-4 * 2 ** (3600 / 6588),
    ),
    Rule("a nuclide of no known half-life", {"nuclide": "C-155A1"}, 4e-4),
    Rule("GML that is BW", {"units": "GML", "suv_type": "BW", "weight_kg": None}, 1.0, ""),
    Rule("Philips CNTS", {"units": "CNTS", "philips_suv_factor": 0.0005}, 0.0005, ""),
    # 0 means unknown; 3 Bq/mL per count x 4e-4
    Rule(
        "Philips CNTS by activity",
        {"units": "CNTS", "philips_suv_factor": 0.0, "philips_activity_factor": 3.0},
        1.2e-3,
    ),
    Rule(
        "Philips BQML ignores both",
        {"philips_suv_factor": 0.5, "philips_activity_factor": 3.0},
        4e-4,
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_gives_its_factor(rule: Rule) -> None:
    derivation = derive_suv(header(**rule.changes))
    assert derivation.factor == pytest.approx(rule.factor, rel=1e-12)
    assert rule.reference in derivation.reference
    assert bool(rule.reference) == bool(derivation.reference)


LONG = 78.4 * 3600.0  # zirconium-89

REFUSALS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("no units", {"units": None}, r"Units \(0054,1001\) is absent"),
    ("PROPCNTS", {"units": "PROPCNTS"}, r"Units \(0054,1001\) is PROPCNTS"),
    ("other units", {"units": "CM2ML"}, r"Units \(0054,1001\) is CM2ML"),
    ("a name for units", {"units": "DOE^JOHN"}, r"Units \(0054,1001\) is not a code"),
    ("CNTS without factors", {"units": "CNTS"}, r"\(7053,1000\) or a .*\(7053,1009\) above 0"),
    ("GML of lean mass", {"units": "GML", "suv_type": "LBM"}, r"SUVType \(0054,1006\) is LBM"),
    ("GML of any type", {"units": "GML"}, r"SUVType \(0054,1006\) is absent"),
    ("no attenuation", {"corrections": ("DECY",)}, r"\(0028,0051\) is DECY, without ATTN"),
    ("no decay", {"corrections": ("ATTN",)}, r"\(0028,0051\) is ATTN, without DECY"),
    ("no corrections", {"corrections": ()}, r"\(0028,0051\) is absent or empty, without ATTN"),
    ("GML uncorrected", {"units": "GML", "suv_type": "BW", "corrections": ()}, "without ATTN"),
    ("decay NONE", {"decay_correction": "NONE"}, r"DecayCorrection \(0054,1102\) is NONE"),
    ("decay absent", {"decay_correction": None}, r"DecayCorrection \(0054,1102\) is absent"),
    ("decay odd", {"decay_correction": "END"}, r"DecayCorrection \(0054,1102\) is not a code"),
    ("no weight", {"weight_kg": None}, r"PatientWeight \(0010,1030\) is absent"),
    ("weight 0", {"weight_kg": 0.0}, r"PatientWeight \(0010,1030\) is 0 kg: expected 0.5 to 400"),
    ("weight in g", {"weight_kg": 70e3}, r"PatientWeight \(0010,1030\) is 70000 kg"),
    ("weight NaN", {"weight_kg": float("nan")}, r"PatientWeight \(0010,1030\) is nan kg"),
    ("no dose", {"dose_bq": None}, r"RadionuclideTotalDose \(0018,1074\) is absent"),
    ("dose 0", {"dose_bq": 0.0}, r"RadionuclideTotalDose \(0018,1074\) is 0 Bq"),
    ("dose in MBq", {"dose_bq": 350.0}, "is 350 Bq: .* written in MBq or kBq"),
    ("dose of a source", {"dose_bq": 1e12}, r"\(0018,1074\) is 1e\+12 Bq"),
    ("no half-life", {"half_life_s": None}, r"RadionuclideHalfLife \(0018,1075\) is absent"),
    ("half-life 0", {"half_life_s": 0.0}, r"RadionuclideHalfLife \(0018,1075\) is 0 s"),
    # an hour is 33 half-lives of 109.8 s
    ("half-life in minutes", {"half_life_s": 109.8}, r"32\.8 half-lives of 109\.8 s .*at most 6"),
    # of gallium-68
    (
        "half-life of another nuclide",
        {"half_life_s": 4057.7, "nuclide": "77004003"},
        r"\(0018,1075\) is 4057\.7 s and RadionuclideCodeSequence \(0054,0300\) says fluorine-18, "
        r"which has 6586\.2 s: expected them within 2%",
    ),
    # 6586.2 x 1.02 = 6717.9
    ("half-life 2 % off", {"half_life_s": 6718.0, "nuclide": "C-111A1"}, "says fluorine-18"),
    ("no injection", {"injected_at": None, "injected_time": None}, r"\(0018,1078\) nor .*1072\)"),
    ("no series time", {"series_at": None}, r"SeriesTime \(0008,0031\) absent"),
    ("no acquisition time", {"acquired_at": None}, r"AcquisitionTime \(0008,0032\) absent"),
    (
        "injected after",
        {"injected_at": MADE + timedelta(seconds=90), "injected_time": None},
        r"StartDateTime \(0018,1078\) lies 90 s after the scan began",
    ),
    (
        "injected after, ADMIN",
        {"injected_at": MADE + timedelta(seconds=90), "decay_correction": "ADMIN"},
        "lies 90 s after the scan began",
    ),
    # 10:01 today is after 10:00; yesterday's would be 24 half-lives ago
    (
        "time alone, after",
        {"injected_at": None, "injected_time": time(10, 1)},
        r"StartTime \(0018,1072\) lies 60 s after the scan began",
    ),
    # yesterday and today are both plausible
    (
        "time alone, long-lived",
        {"injected_at": None, "half_life_s": LONG},
        "the day of injection is not known",
    ),
    (
        "time alone, long-lived, after",
        {"injected_at": None, "injected_time": time(11), "half_life_s": LONG},
        "lies 3600 s after the scan began",
    ),
    # a series opened 55 minutes early: 09:05, one hour less 2^(55/60) in the factor
    (
        "series opened early",
        {
            "series_at": MADE - timedelta(minutes=55),
            "frame_reference_s": 0.0,
            "decay_factor": 1.0,
        },
        r"SeriesTime \(0008,0031\) lie 3300 s before .*\(0054,1300\) says 0 s and "
        r"DecayFactor \(0054,1321\) says 0 s: expected 3240 to 3360 s",
    ),
    (
        "series opened early, by its factor alone",
        {"acquired_at": LATER, "decay_factor": 1.0},
        r"\(0054,1300\) says nothing and .*\(0054,1321\) says 0 s: expected 1740 to 1860 s",
    ),
    (
        "series opened early, by as much as a long frame",
        {"acquired_at": LATER, "frame_reference_s": 1739.0, "frame_duration_s": 1800.0},
        r"\(0054,1300\) says 1739 s .* expected 1740 to 3600 s",
    ),
    (
        "a frame of later",
        {"acquired_at": LATER, "frame_reference_s": 2401.0, "frame_duration_s": 600.0},
        r"\(0054,1300\) says 2401 s .* expected 1740 to 2400 s",
    ),
    (
        "series opened early, and nothing said",
        {"acquired_at": MADE + timedelta(seconds=254)},
        r"\(0054,1300\) says nothing and .*\(0054,1321\) says nothing: expected at most 253 s",
    ),
    # corrected to injection whatever DecayCorrection says: 2 is one half-life
    (
        "time and factor of a frame disagree",
        {"frame_reference_s": 0.0, "decay_factor": 2.0},
        r"\(0054,1300\) says 0 s and DecayFactor \(0054,1321\) says 3600 s .* one time",
    ),
    # a later half of a scan, stored anew
    (
        "acquired earlier, not the first frame",
        {"acquired_at": EARLIER, "frame_reference_s": 900.0, "frame_duration_s": 600.0},
        r"AcquisitionTime \(0008,0032\) are earlier than Series.*says 900 s .* expected -60 to "
        "600 s",
    ),
    (
        "an offset from UTC alone",
        {
            "injected_at": None,
            "injected_time": None,
            "injected_elsewhere": MADE - timedelta(hours=2),
        },
        r"\(0018,1078\) is written with an offset .*expected TimezoneOffsetFromUTC \(0008,0201\)",
    ),
    (
        "an offset from UTC and a time that does not agree",
        {"injected_at": None, "injected_elsewhere": MADE - timedelta(hours=2)},
        r"expected TimezoneOffsetFromUTC \(0008,0201\), or Radiopharm.*\(0018,1072\) that agrees",
    ),
    (
        "GE's scan time with an offset from UTC",
        {"ge_scan_elsewhere": MADE},
        r"\(0009,100D\) is written with an offset .*TimezoneOffsetFromUTC \(0008,0201\)",
    ),
    ("clocks disagree", {"injected_time": time(8, 58)}, r"\(0018,1072\) are 120 s apart"),
    ("another day", {"injected_at": MADE - timedelta(days=1, hours=1)}, r"25\.0 half-lives"),
)


@pytest.mark.parametrize(
    ("changes", "says"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS]
)
def test_what_is_not_known_is_refused_with_its_tag(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        derive_suv(header(**changes))
    assert "counts" in str(refused.value), "says what to do"
    assert "DOE" not in str(refused.value)


def test_a_derivation_holds_offsets_and_no_dates() -> None:
    derivation = derive_suv(
        header(acquired_at=LATER, manufacturer="DOE", frame_reference_s=1800.0, decay_factor=ROOT2)
    )
    kept = json.dumps(derivation.as_dict())
    assert json.loads(kept)["seconds_after_injection"] == {
        "SeriesDate (0008,0021) and SeriesTime (0008,0031)": 3600.0,
        "AcquisitionDate (0008,0022) and AcquisitionTime (0008,0032)": 5400.0,
    }
    assert json.loads(kept)["tags"]["RadionuclideTotalDose (0018,1074)"] == 350e6
    assert json.loads(kept)["tags"]["FrameReferenceTime (0054,1300)"] == 1800.0
    assert json.loads(kept)["factor"] == derivation.factor
    for text in (kept, derivation.in_words(), repr(derivation), repr(HEADER)):
        assert not any(each in text for each in ("2024", "DOE", "datetime"))
    assert "from RadiopharmaceuticalStartDateTime (0018,1078) to Series" in derivation.in_words()


def test_a_gap_that_nothing_confirms_is_said() -> None:
    a_little = {"acquired_at": MADE + timedelta(seconds=200)}
    rule = derive_suv(header(**a_little)).rule
    assert "acquired 200 s later, and FrameReferenceTime (0054,1300) says nothing" in rule
    assert "later" not in derive_suv(header(**a_little, frame_reference_s=200.0)).rule
    assert "later" not in derive_suv(HEADER).rule


def test_slices_make_one_header_with_the_earliest_acquisition() -> None:
    slices = [header(acquired_at=at) for at in (LATER, EARLIER, MADE)]
    assert one_header(slices) == header(acquired_at=EARLIER)
    # of beds under one time the first
    beds = [header(frame_reference_s=s, decay_factor=1 + s / 1e4) for s in (300.0, 60.0, 180.0)]
    assert one_header(beds) == beds[1]
    # one slice without a time may be the earliest
    assert one_header([HEADER, header(acquired_at=None)]).acquired_at is None
    with pytest.raises(InputError, match=r"disagree about PatientWeight \(0010,1030\)"):
        one_header([HEADER, HEADER, header(weight_kg=71.0)])
    with pytest.raises(InputError, match="no slice has a PET header"):
        one_header([])


@pytest.mark.parametrize(
    ("written", "zone", "expected"),
    [
        ("20240229090000.5", "", datetime(2024, 2, 29, 9, 0, 0, 500000)),
        ("202402290900", "", datetime(2024, 2, 29, 9)),
        # 09:00 at +01:00 is 08:00 in UTC, and 03:00 at -05:00
        ("20240229090000+0100", "+0000", datetime(2024, 2, 29, 8)),
        ("20240229090000+0100", "-0500", datetime(2024, 2, 29, 3)),
        # the file's zone is not known, or not one
        ("20240229090000+0100", "", None),
        ("20240229090000+0100", "+0100\\+0200", None),
        ("20240229090000", "+0100", datetime(2024, 2, 29, 9)),
        ("20240229", "", None),
        ("2024022909", "", None),
        ("20230229090000", "", None),
        ("20240229250000", "", None),
        ("", "", None),
    ],
)
def test_moments_have_hours_and_minutes(written: str, zone: str, expected: datetime) -> None:
    assert moment_of(written, zone) == expected


def _published(path: Path) -> list[PetHeader]:
    return [
        PetHeader(
            units=each["Units"],
            corrections=tuple(each["CorrectedImage"]),
            decay_correction=each["DecayCorrection"],
            weight_kg=each["PatientWeight"],
            dose_bq=each["RadionuclideTotalDose"],
            half_life_s=each["RadionuclideHalfLife"],
            injected_at=moment_of(each.get("RadiopharmaceuticalStartDateTime", "").strip()),
            injected_time=moment_of("20240229" + each["RadiopharmaceuticalStartTime"]).time(),
            series_at=moment_of(each["SeriesDate"] + each["SeriesTime"]),
            acquired_at=moment_of(each["AcquisitionDate"] + each["AcquisitionTime"]),
            frame_reference_s=each["FrameReferenceTime"] / 1000,
            frame_duration_s=each["ActualFrameDuration"] / 1000,
            philips_suv_factor=_number(each, "SUVScaleFactor"),
            philips_activity_factor=_number(each, "ActivityConcentrationScaleFactor"),
        )
        for each in json.loads(path.read_text())
    ]


def _number(each: dict[str, Any], name: str) -> float | None:
    text = each["PhilipsPETPrivateGroup"].get(name)
    return None if text is None else float(text)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("SIEMENS", "to SeriesDate"),
        ("GE_MEDICAL_AND_BQML", "to SeriesDate"),
        ("PHILIPS_BQML", "to SeriesDate"),
        ("PHILIPS_CNTS_AND_BQML_SUV", "Philips' own SUV factor"),
        ("BQML_AC_DT_lessThan_S_DT_SIEMENS", "to AcquisitionDate"),
    ],
)
def test_the_published_factor_of_a_real_header(realdata: Path, name: str, rule: str) -> None:
    folder = realdata / "suv_headers"
    expected = json.loads((folder / "expected.json").read_text())["suvbw_factor"]
    derivation = derive_suv(one_header(_published(folder / "metadata" / f"{name}.json")))
    # to 1e-6 of the factor, which is itself below 1e-3
    assert derivation.factor == pytest.approx(expected[name], rel=1e-6)
    assert rule in derivation.rule
