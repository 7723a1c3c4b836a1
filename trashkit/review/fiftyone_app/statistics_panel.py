"""The panel with charts of the data set: classes, sizes, positions, co-occurrence and photo colours."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from trashkit.coco import read
from trashkit.report.html import rgb
from trashkit.review.app_text import as_chart_text
from trashkit.review.fiftyone_app.appearance import STATISTICS_PANEL
from trashkit.review.fiftyone_app.controller import ReviewController, controller_of
from trashkit.review.fiftyone_app.photo_samples import STATISTICS
from trashkit.review.session import ReviewSession
from trashkit.review.statistics import (
    Charts,
    Statistics,
    annotation_statistics,
    charts,
    comparison_charts,
    photo_charts,
)


class StatisticsPanel(foo.Panel):  # type: ignore[misc]
    """Charts of the file under review as its log leaves it, compared with the test set if there is one."""

    @property
    def config(self) -> Any:
        return foo.PanelConfig(name=STATISTICS_PANEL, label="trashkit stats", icon="bar_chart", surfaces="grid")

    def on_load(self, ctx: Any) -> None:
        """Nothing to prepare: `render` draws the charts from the log as it is now."""

    def update(self, ctx: Any) -> None:
        """Nothing to do: any event makes FiftyOne call `render`."""

    def render(self, ctx: Any) -> Any:
        panel = types.Object()
        controller = controller_of(ctx.dataset)
        if controller is None:
            panel.md("This data set was not opened by `trashkit review`.", name="none")
            return types.Property(panel)
        panel.btn("again", label="Update", icon="refresh", on_click=self.update)
        for n, (title, (traces, layout)) in enumerate(all_charts(controller).items()):
            plain = {
                "title": {"text": title},
                "margin": {"t": 40, "b": 90, "l": 60, "r": 20},
                "height": 320,
                "autosize": True,
                **layout,
            }
            panel.plot(
                f"chart{n}", data=as_chart_text(traces), layout=as_chart_text(plain), config={"displayModeBar": False}
            )
        return types.Property(panel)


def all_charts(controller: ReviewController) -> Charts:
    """Charts of the file under review, of it compared with the test set, and of the photos."""
    session, info = controller.session, controller.dataset.info
    colors = {name: rgb(color) for name, color in session.class_colors.items()}
    statistics = annotation_statistics(session)
    made = charts(statistics, colors)
    if info.get("test"):
        path, images = info["test"]
        names = [session.coco.path.name if session.coco.path else "this file", Path(path).name]
        made |= comparison_charts(statistics, _test_statistics(path, images), names)
    return made | photo_charts(_photo_values(controller.dataset))


@lru_cache(maxsize=2)
def _test_statistics(path: str, images: str) -> Statistics:
    return annotation_statistics(ReviewSession.without_findings(read(Path(path)), images=Path(images)))


def _photo_values(dataset: Any) -> dict[str, dict[str, list[float | None]]]:
    """Statistics of all photos, by statistic and file."""
    if "file" not in dataset.get_field_schema():
        return {}
    files, *columns = dataset.values(["file", *STATISTICS])
    found: dict[str, dict[str, list[float | None]]] = {name: {} for name in STATISTICS}
    for name, column in zip(STATISTICS, columns, strict=True):
        for file, value in zip(files, column, strict=True):
            found[name].setdefault(str(file), []).append(value)
    return found
