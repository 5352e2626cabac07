"""Which way a metric is better, and what its worst value is where a reader outlined nothing."""

from __future__ import annotations

from boneviz.scorerow import Scores

__all__ = ["HIGHER_IS_BETTER", "PRIMARY", "higher_is_better", "surface_tolerance_mm", "worst_case"]

SHARES = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "volume_matched_dice",
    "lesion_f1",
    "surface_dice",
)
PRIMARY = "dice"
DISTANCES = ("hd_mm", "hd95_mm", "assd_mm", "masd_mm")
PER_LESION = ("lesion_hd95_mm", "lesion_surface_dice")
HIGHER_IS_BETTER: dict[str, bool] = {
    **dict.fromkeys(SHARES, True),
    **dict.fromkeys(DISTANCES, False),
    "lesion_hd95_mm": False,
    "lesion_surface_dice": True,
    **dict.fromkeys(("missed_lesions", "extra_lesions", "fpv_ml", "fnv_ml"), False),
}


def higher_is_better(metric: str) -> bool | None:
    """Return whether more is better; None for volumes and counts that are only described."""
    return HIGHER_IS_BETTER.get(_family(metric))


def surface_tolerance_mm(metric: str) -> float | None:
    """Return the tolerance in the name of a surface Dice, None for other metrics."""
    if _family(metric) not in ("surface_dice", "lesion_surface_dice"):
        return None
    return float(metric.rpartition("_")[2].removesuffix("mm"))


def _family(metric: str) -> str:
    """Return ``surface_dice`` for its columns at any tolerance, other names as they are."""
    for family in ("surface_dice", "lesion_surface_dice"):
        if metric.startswith(f"{family}_"):
            return family
    return metric


def worst_case(row: Scores, metric: str) -> float:
    """Return the metric, or its worst value where one reader outlined nothing."""
    family = _family(metric)
    worst = row.diagonal_mm if family in (*DISTANCES, "lesion_hd95_mm") else 0.0
    if family in PER_LESION:
        alone = row.missed_lesions + row.extra_lesions
        if not alone:
            return row.value(metric)
        matched = row.value(metric) * len(row.matches) if row.matches else 0.0
        return (matched + alone * worst) / (len(row.matches) + alone)
    if row.status in ("missed", "false_alarm") and family in (*SHARES, *DISTANCES):
        return worst
    return row.value(metric)
