"""What the report's numbers were made with: readers, folds, settings, versions, learning curves."""

from __future__ import annotations

import html
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from boneviz.case import Reader
from boneviz.cohort import Cohort
from boneviz.compare import cross_evaluate
from boneviz.errors import CheckpointError, InputError
from boneviz.folds import Folds
from boneviz.learninglog import read_logs
from boneviz.modelcards import read_cards
from boneviz.paths import inside
from boneviz.petrecord import NO_SUV
from boneviz.plots import Line, curve_plot
from boneviz.reportpage import Section, small, table_of
from boneviz.scoretable import CohortScores
from boneviz.version import __version__

__all__ = ["caveats", "cohort_section", "folds_section", "settings_sections"]

PACKAGES = ("numpy", "scipy", "pandas", "scikit-image", "nibabel", "pillow")
MOST_POINTS = 120  # of a curve that is drawn


def cohort_section(readers: Sequence[Reader], volumes_ml: Mapping[Reader, Sequence[float]]) -> str:
    """Return who reads, and how much.

    Parameters
    ----------
    readers : experts first
    volumes_ml : of each reader's outlines, one per case
    """
    rows = []
    for reader in readers:
        ml = pd.Series(volumes_ml.get(reader, ()), dtype=float)
        drawn = ml[ml > 0]
        rows.append(
            {
                "name": reader.name,
                "kind": reader.kind if not reader.variant else f"{reader.kind}, {reader.variant}",
                "intent": reader.intent if reader.kind == "expert" else "",
                "learned_from": reader.learned_from or "",
                "n": len(ml),
                "n_empty": int((ml == 0).sum()),
                "median": float(drawn.median()),
                "low": float(drawn.min()),
                "high": float(drawn.max()),
            }
        )
    names = {
        "name": "Reader",
        "kind": "Kind",
        "intent": "Intent",
        "learned_from": "Learned from",
        "n": "Cases read",
        "n_empty": "Nothing outlined",
        "median": "Median (mL)",
        "low": "from",
        "high": "to",
    }
    return table_of(
        pd.DataFrame(rows, columns=list(names)), names, digits=1, texts=("intent", "learned_from")
    ) + small("Volumes are of outlines that are not empty.")


def folds_section(cohort: Cohort, size_ml: Mapping[str, float]) -> str:
    """Return which patient is held out in which fold.

    Parameters
    ----------
    size_ml : patient -> lesion volume, the mean over experts and sessions

    Raises
    ------
    CohortError
        ``folds.json`` is damaged.
    """
    path = cohort.root / "folds.json"
    if not path.is_file():
        return "<p>No folds were dealt in this cohort: no model was cross-validated on it here.</p>"
    folds = Folds.load(path)
    rows = []
    for fold in range(folds.n_folds):
        held_out = sorted(folds.held_out(fold))
        sizes = [size_ml[patient] for patient in held_out if patient in size_ml]
        rows.append(
            {
                "fold": fold,
                "patients": ", ".join(held_out),
                "n": len(held_out),
                "n_training": len(folds.training(fold)),
                "low": min(sizes, default=float("nan")),
                "median": float(pd.Series(sizes, dtype=float).median()),
                "high": max(sizes, default=float("nan")),
            }
        )
    names = {
        "fold": "Fold",
        "patients": "Held out",
        "n": "n",
        "n_training": "Learned from",
        "low": "Lesion (mL) from",
        "median": "median",
        "high": "to",
    }
    table = table_of(pd.DataFrame(rows), names, digits=1)
    note = (
        "Folds are of patients, dealt once and shared by all models: those of a fold learned from "
        "the patients of the other folds and are scored on the patients held out. Lesion: mean "
        f"volume over experts and sessions, by which folds are stratified. Seed {folds.seed}."
    )
    strange = sorted(set(folds.of_patient) ^ set(cohort.patients))
    if strange:
        note += f" In folds or cohort, not in both: {', '.join(strange)}."
    return f'<div class="texts-second">{table}</div>{small(note)}'


def settings_sections(cohort: Cohort, scores: CohortScores, *, today: str) -> list[Section]:
    """Return settings and versions, and how the fits went where their logs are there."""
    rows = [*_score_settings(scores), *_versions(), ("Report of", today)]
    table = pd.DataFrame(rows, columns=["what", "value"])
    body = "<div class=texts>" + table_of(table, {"what": "Setting", "value": ""}) + "</div>"
    cards = read_cards(inside(cohort.root, "models", what=f"cohort {cohort.name}"))
    if not cards.empty:
        body += "<h3>Models</h3>" + _cards(cards)
    sections = [Section("settings", "Settings and versions", body)]
    if curves := _curves(cohort, cards):
        sections.append(Section("learning", "How the fits went", curves))
    return sections


def _score_settings(scores: CohortScores) -> list[tuple[str, str]]:
    if not scores:
        return []
    first = scores[0]
    tolerances = ", ".join(f"{tolerance:g}" for tolerance in first.tolerance_mm)
    grids = sorted({row.spacing_mm for row in scores})
    spacings = [" x ".join(f"{side:.3g}" for side in spacing) for spacing in grids]
    spacings = list(dict.fromkeys(spacings))
    more = f" and {len(spacings) - 4} more" if len(spacings) > 4 else ""
    surface = {"grid": "surface elements of the voxel grid", "mesh": "triangle meshes"}
    coarse = "; below two voxels, so low values say little"
    return [
        ("Threshold of models' probabilities", f"{first.threshold:g}"),
        (
            "Tolerances of surface Dice (mm)",
            tolerances + coarse * any(row.tolerance_below_two_voxels for row in scores),
        ),
        ("Distances between", surface[first.surface]),
        ("Voxels of the CT (mm)", "; ".join(spacings[:4]) + more),
        *_pet_units(scores),
        ("Scored by", f"boneviz {first.version}"),
    ]


def _pet_units(scores: CohortScores) -> list[tuple[str, str]]:
    """Return which cases have no SUV; nothing where all have."""
    cases = list(dict.fromkeys(row.case_id for row in scores if row.pet_unit == "counts"))
    if not cases:
        return []
    return [("PET", f"{NO_SUV} of {', '.join(cases)}; every SUV figure of theirs is left out")]


def _versions() -> list[tuple[str, str]]:
    found = [("boneviz", __version__), ("Python", platform.python_version())]
    for package in PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            found.append((package, "not installed as a package"))
    return [("Versions", ", ".join(f"{name} {number}" for name, number in found))]


def _cards(cards: pd.DataFrame) -> str:
    """Return one row per model, its folds together where all else is the same."""
    names = {
        "model": "Model",
        "input": "Input",
        "fold": "Folds held out",
        "network": "Network",
        "spacing_mm": "Voxels (mm)",
        "patch": "Patch",
        "steps": "Steps",
        "batch": "Batch",
        "rate": "Rate",
        "seed": "Seed",
        "trained_on": "Patients",
        "made_by": "Made by",
    }
    whole = cards[cards["error"] == ""]
    whole = whole.assign(made_by="boneviz " + whole["boneviz"] + ", torch " + whole["torch"])
    same = [name for name in names if name not in ("fold", "trained_on")]
    merged = whole.groupby(same, sort=False, as_index=False).agg(
        {"fold": ", ".join, "trained_on": _from_to}
    )
    table = f"<div class=texts>{table_of(merged, names)}</div>" if not merged.empty else ""
    broken = cards[cards["error"] != ""]
    lines = [f"{row['file']}.json: {row['error']}" for row in broken.to_dict("records")]
    return (
        table
        + small("As on the cards beside the weights.")
        + "".join(small(line) for line in lines)
    )


def _from_to(numbers: Iterable[str]) -> str:
    ordered = sorted(set(numbers), key=int)
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _curves(cohort: Cohort, cards: pd.DataFrame) -> str:
    try:
        logs = read_logs(cohort.root / "models")
    except CheckpointError as error:
        return f"<p>{html.escape(str(error))}</p>"
    if logs.empty:
        return ""
    known = {row["file"]: row for row in cards.to_dict("records") if not row["error"]}
    by_model: dict[str, dict[str, pd.DataFrame]] = {}
    for stem, log in logs.groupby("model", sort=False):
        card = known.get(str(stem))
        name, fold = (card["model"], f"fold {card['fold']}") if card else (str(stem), "unfinished")
        by_model.setdefault(name, {})[fold] = log
    high = max(1.0, float(logs["recent_loss"].quantile(0.99)))
    figures = []
    for name, fits in by_model.items():
        lines = [_line(fold, log, "recent_loss") for fold, log in fits.items()]
        watched = [
            _line(fold, log.dropna(subset="watched_dice"), "watched_dice", marked=True)
            for fold, log in fits.items()
            if log["watched_dice"].notna().any()
        ]
        for what, drawn, top in (
            ("loss, mean of the last 50 steps", lines, high),
            ("Dice of patients set aside to watch", watched, 1.0),
        ):
            if drawn:
                plot = curve_plot(
                    drawn,
                    title=f"{name}: {what}",
                    x_label="step",
                    y_label=what,
                    y_low=0.0,
                    y_high=top,
                )
                figures.append(
                    f"<figure><figcaption>{html.escape(name)}</figcaption>{plot}</figure>"
                )
    return f"<div class=curves>{''.join(figures)}</div>"


def _line(name: str, log: pd.DataFrame, column: str, *, marked: bool = False) -> Line:
    every = -(-len(log) // MOST_POINTS)
    # counted from the end, so that the last point is there
    thinned = log.iloc[::-1].iloc[::every].iloc[::-1]
    return Line(
        name,
        [float(step) for step in thinned["step"]],
        [float(value) for value in thinned[column]],
        "#17202b",
        marked,
    )


def caveats(cohort: Cohort, scores: CohortScores) -> list[str]:
    """Return what this report cannot show, in plain words, the weightiest first."""
    told = []
    if cohort.synthetic:
        told.append(
            "The patients are phantoms with planted expert styles. That the software finds what "
            "was planted says nothing about what it would find in patients."
        )
    if any(row.demonstration for row in scores):
        told.append(
            "Models that learned from phantoms are for demonstration: what they draw shows how the "
            "tool works, not where disease is."
        )
    told.append(
        "Neither expert is truth. Reference and candidate are places in a comparison; a model that "
        "agrees with an expert shares that expert's errors too."
    )
    if any(row.candidate.kind == "model" for row in scores):
        told.append(
            "Only held-out predictions are compared. Cross-validated models share most of their "
            "training patients, so that patients and folds are not quite independent and p values "
            "somewhat too small."
        )
    if scores:
        told.append(_about_n(scores))
    told.append(
        "One run with one seed per model is one draw: another seed would give other numbers, by "
        "about as much as the control by seed shows where it was run."
    )
    told.append("For research and teaching. Not a medical device, not for diagnosis.")
    return told


def _about_n(scores: CohortScores) -> str:
    n = len({row.patient_id for row in scores})
    try:
        n = cross_evaluate(scores).interaction().test.n_nonzero
        what = "patients in whom the models' styles differ"
    except InputError:
        what = "patients"
    if not n:
        return f"There are no {what}: there is nothing to test."
    smallest = min(1.0, 2.0 / 2.0**n)
    text = f"With n = {n} {what} the smallest p that a sign-flip test can give is {smallest:.2g}"
    if smallest > 0.05:
        return f"{text}: no p below 0.05 is possible, whatever the truth."
    return (
        f"{text}. Small differences can go unseen, and a p above 0.05 does not say that there is "
        "none."
    )
