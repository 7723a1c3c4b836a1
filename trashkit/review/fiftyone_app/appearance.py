"""Appearance of a review in the App: colours, the layout of its panels, and the classes of the Annotate tab."""

from __future__ import annotations

from typing import Any

import fiftyone as fo

from trashkit.review.fiftyone_app.sample_documents import ANNOTATIONS, ORIGINAL, PROPOSED
from trashkit.review.session import ReviewSession

REVIEW_PANEL, STATISTICS_PANEL, WORKSPACE = "review_panel", "looks_panel", "review"
"""Names of panels and workspace, which the database keeps with each review."""
OUTLINE_KINDS = ("polygon", "rle", "damaged", "box")


def save_appearance(dataset: Any, session: ReviewSession) -> None:
    """Save class colours, the workspace with the review panel next to the images, and the classes to annotate with."""
    _save_colors(dataset, session)
    schema = dataset.generate_label_schemas(ANNOTATIONS, scan_samples=False)
    schema["classes"] = list(session.category_names.values())
    dataset.set_label_schemas({ANNOTATIONS: {**schema, "component": "dropdown"}})
    dataset.activate_label_schemas([ANNOTATIONS])
    panels = (fo.Panel(type="Samples", pinned=True), fo.Panel(type=REVIEW_PANEL))
    columns = [fo.Space(children=[one], active_child=one.component_id) for one in panels]
    columns[1].children.append(fo.Panel(type=STATISTICS_PANEL))
    workspace = fo.Space(orientation="horizontal", children=columns, sizes=[0.62, 0.38])
    dataset.save_workspace(WORKSPACE, workspace)
    dataset.save()


def _save_colors(dataset: Any, session: ReviewSession) -> None:
    classes = [{"value": name, "color": hex_color(color)} for name, color in session.class_colors.items()]
    dataset.app_config.color_scheme = fo.ColorScheme(
        color_by="value",
        opacity=0.35,
        fields=[
            {"path": ANNOTATIONS, "fieldColor": "#4a90d9", "colorByAttribute": "label", "valueColors": classes},
            _one_color(PROPOSED, "#00c853"),
            _one_color(ORIGINAL, "#e53935"),
        ],
    )


def _one_color(path: str, color: str) -> dict[str, Any]:
    values = [{"value": form, "color": color} for form in OUTLINE_KINDS]
    return {"path": path, "fieldColor": color, "colorByAttribute": "form", "valueColors": values}


def hex_color(color: tuple[int, int, int]) -> str:
    """An RGB colour as ``#rrggbb``."""
    return "#" + "".join(f"{channel:02x}" for channel in color)
