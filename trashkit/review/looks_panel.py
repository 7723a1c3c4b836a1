"""The panel of charts: look at the data before training on it."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from trashkit.report.html import rgb
from trashkit.report.overlay import shown_color
from trashkit.review.board import LOOKS
from trashkit.review.desk import desk_of
from trashkit.review.looks import charts, look


class LooksPanel(foo.Panel):  # type: ignore[misc]
    """Class balance, sizes, places and co-occurrence, as the review's log leaves them."""

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
        colors = {name: rgb(shown_color(color)) for name, color in desk.room.colors.items()}
        panel.btn("again", label="Count again", icon="refresh", on_click=self.again)
        for n, (title, (traces, layout)) in enumerate(charts(look(desk.room), colors).items()):
            plain = {
                "title": {"text": title},
                "margin": {"t": 40, "b": 90, "l": 60, "r": 20},
                "height": 320,
                "autosize": True,
                **layout,
            }
            panel.plot(f"chart{n}", data=traces, layout=plain, config={"displayModeBar": False})
        return types.Property(panel)
