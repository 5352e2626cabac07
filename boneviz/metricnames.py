"""What the columns of scores are called, with their units, wherever people read them."""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["METRIC_NAMES", "metric_name"]

#: column -> name and unit
METRIC_NAMES = MappingProxyType(
    {
        "dice": "Dice",
        "surface_dice_2mm": "Surface Dice at 2 mm",
        "hd95_mm": "HD95 (mm)",
        "assd_mm": "ASSD (mm)",
        "sensitivity": "Sensitivity",
        "precision": "Precision",
        "lesion_f1": "Lesion F1",
        "fnv_ml": "Missed volume (mL)",
        "fpv_ml": "Extra volume (mL)",
        "volume_matched_dice": "Volume-matched Dice",
    }
)


def metric_name(metric: str) -> str:
    """Return what a column of the scores is called, or the column where it has no other name."""
    return METRIC_NAMES.get(metric, metric)
