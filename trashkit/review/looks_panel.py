"""The panel of charts: look at the data before training on it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from trashkit.coco import read
from trashkit.report.html import rgb
from trashkit.report.overlay import shown_color
from trashkit.review.board import LOOKS
from trashkit.review.desk import Desk, desk_of
from trashkit.review.looks import Charts, Looks, beside_charts, charts, look, photo_charts
from trashkit.review.photo_board import STATISTICS
from trashkit.review.room import Room


class LooksPanel(foo.Panel):  # type: ignore[misc]
    """Class balance, sizes, places, co-occurrence and colours, as the review's log leaves them; the test set beside."""

    @property
    def config(self) -> Any:
        return foo.PanelConfig(name=LOOKS, label="trashkit look", icon="bar_chart", surfaces="grid")

    def on_load(self, ctx: Any) -> None:
        """Nothing is kept: charts are drawn from the log as it is."""

    def again(self, ctx: Any) -> None:
        """Drawing again is what every event does."""

    def render(self, ctx: Any) -> Any:
        panel = types.Object()
        desk = desk_of(ctx.dataset)
        if desk is None:
            panel.md("This data set was not opened by `trashkit review`.", name="none")
            return types.Property(panel)
        panel.btn("again", label="Count again", icon="refresh", on_click=self.again)
        for n, (title, (traces, layout)) in enumerate(all_charts(desk).items()):
            plain = {
                "title": {"text": title},
                "margin": {"t": 40, "b": 90, "l": 60, "r": 20},
                "height": 320,
                "autosize": True,
                **layout,
            }
            panel.plot(f"chart{n}", data=traces, layout=plain, config={"displayModeBar": False})
        return types.Property(panel)


def all_charts(desk: Desk) -> Charts:
    """Charts of the file under review as its log leaves it, then of both files, then of the photos."""
    colors = {name: rgb(shown_color(color)) for name, color in desk.room.colors.items()}
    mine, info = look(desk.room), desk.dataset.info
    made = charts(mine, colors)
    if info.get("test"):
        path, images = info["test"]
        names = [desk.room.coco.path.name if desk.room.coco.path else "this file", Path(path).name]
        made |= beside_charts(mine, _test_looks(path, images), names)
    return made | photo_charts(_statistics(desk.dataset))


@lru_cache(maxsize=2)
def _test_looks(path: str, images: str) -> Looks:
    file = Path(path)
    return look(Room(read(file), [], {}, file.with_suffix(".no-edits"), reviewer="", images=Path(images)))


def _statistics(dataset: Any) -> dict[str, dict[str, list[float | None]]]:
    """Brightness and so on of all photos, by statistic and file."""
    if "file" not in dataset.get_field_schema():
        return {}
    files, *columns = dataset.values(["file", *STATISTICS])
    found: dict[str, dict[str, list[float | None]]] = {name: {} for name in STATISTICS}
    for name, column in zip(STATISTICS, columns, strict=True):
        for file, value in zip(files, column, strict=True):
            found[name].setdefault(str(file), []).append(value)
    return found
