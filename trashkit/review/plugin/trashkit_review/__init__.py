"""The plugin that FiftyOne's server loads; what it does lies in `trashkit.review`."""

from __future__ import annotations

from typing import Any

from trashkit.review.looks_panel import LooksPanel
from trashkit.review.operators import OPERATORS
from trashkit.review.panel import ReviewPanel


def register(plugin: Any) -> None:
    """Called by FiftyOne for each plugin."""
    for operator in (*OPERATORS, ReviewPanel, LooksPanel):
        plugin.register(operator)
