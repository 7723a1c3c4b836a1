"""The plugin that FiftyOne's server loads; it only registers what `trashkit.review.fiftyone_app` defines."""

from __future__ import annotations

from typing import Any

from trashkit.review.fiftyone_app.operators import OPERATORS
from trashkit.review.fiftyone_app.review_panel import ReviewPanel
from trashkit.review.fiftyone_app.statistics_panel import StatisticsPanel


def register(plugin: Any) -> None:
    """Register operators and panels. FiftyOne calls this when it loads the plugin."""
    for operator in (*OPERATORS, ReviewPanel, StatisticsPanel):
        plugin.register(operator)
