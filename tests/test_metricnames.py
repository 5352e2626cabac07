"""Names of metrics."""

from __future__ import annotations

from boneviz.compare import higher_is_better
from boneviz.metricnames import METRIC_NAMES, metric_name
from boneviz.show.tables import METRICS


def test_metrics_are_called_as_the_menu_calls_them() -> None:
    assert METRICS["Extra volume (mL)"] == "fpv_ml"
    assert {metric: metric_name(metric) for metric in METRICS.values()} == {
        metric: label for label, metric in METRICS.items()
    }
    # what has a unit says so: 5 mm is no share, 5 mL no distance
    assert all("(mm)" in name for metric, name in METRIC_NAMES.items() if metric.endswith("_mm"))
    assert all("(mL)" in name for metric, name in METRIC_NAMES.items() if metric.endswith("_ml"))
    assert all(higher_is_better(metric) is not None for metric in METRIC_NAMES)


def test_a_column_without_another_name_keeps_its_own() -> None:
    assert metric_name("masd_mm") == "masd_mm"
