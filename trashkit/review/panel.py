"""The panel beside the pictures: the finding in hand, before and after, and a button for each decision."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from trashkit.errors import TrashkitError
from trashkit.review import drawing
from trashkit.review import operators as work
from trashkit.review.board import PANEL
from trashkit.review.desk import Desk, desk_of
from trashkit.review.documents import ANNOTATIONS


class ReviewPanel(foo.Panel):  # type: ignore[misc]
    """Findings one by one, worst first, with their decisions."""

    @property
    def config(self) -> Any:
        return foo.PanelConfig(name=PANEL, label="trashkit review", icon="fact_check", surfaces="grid modal")

    # ------------------------------------------------------------ events
    def on_load(self, ctx: Any) -> None:
        desk = desk_of(ctx.dataset)
        if desk is not None and desk.current is None:
            desk.step()
        if desk is not None:  # a page that is loaded again shows what was chosen before
            names = {name.split(" ")[0]: name for name in work.facets_of(desk)[0]}
            ctx.panel.set_state("code", names.get(desk.code))
            ctx.panel.set_state("class_name", desk.class_name or None)
            ctx.panel.set_state("decided", desk.decided)
        self._show(ctx, desk)

    def on_change_selected_labels(self, ctx: Any) -> None:
        """A click on an annotation takes its worst open finding in hand."""
        desk = desk_of(ctx.dataset)
        if desk is None:
            return
        try:
            rows = desk.rows(ctx.selected_labels)
        except TrashkitError:
            rows = []
        before = desk.current
        desk.current = next(iter(desk.additions(ctx.selected_labels)), desk.current)
        finding = desk.room.findings[desk.current] if desk.current is not None else None
        if rows and (finding is None or finding.block != ANNOTATIONS or finding.row not in rows):
            mine = [n for row in rows for n in desk.room.findings_of.get((ANNOTATIONS, row), ())]
            desk.current = next((n for n in mine if desk.room.status(n) == "open"), mine[0] if mine else desk.current)
        if desk.current != before:
            ctx.panel.set_state("text", "")
        self._show(ctx, desk)

    def on_change_current_sample(self, ctx: Any) -> None:
        self._show(ctx, desk_of(ctx.dataset))

    def next(self, ctx: Any) -> None:
        self._do(ctx, work.forward)

    def previous(self, ctx: Any) -> None:
        self._do(ctx, work.back)

    def accept(self, ctx: Any) -> None:
        self._do(ctx, work.accept, onward=True)

    def accept_all(self, ctx: Any) -> None:
        self._do(ctx, work.accept_all, onward=True)

    def choose(self, ctx: Any) -> None:
        for name in work.FACETS:
            ctx.params[name] = ctx.panel.get_state(name)
        self._do(ctx, work.choose)

    def reject(self, ctx: Any) -> None:
        ctx.params["why"] = ctx.panel.get_state("text")
        self._do(ctx, work.reject, onward=True)

    def relabel(self, ctx: Any) -> None:
        ctx.params["class"] = ctx.panel.get_state("class")
        ctx.params["note"] = ctx.panel.get_state("text")
        self._do(ctx, work.relabel, onward=True)

    def delete(self, ctx: Any) -> None:
        ctx.params["note"] = ctx.panel.get_state("text")
        self._do(ctx, work.delete, onward=True)

    def merge(self, ctx: Any) -> None:
        ctx.params["note"] = ctx.panel.get_state("text")
        self._do(ctx, work.merge, onward=True)

    def unusable(self, ctx: Any) -> None:
        ctx.params["why"] = ctx.panel.get_state("text")
        self._do(ctx, work.unusable, onward=True)

    def note(self, ctx: Any) -> None:
        ctx.params["text"] = ctx.panel.get_state("text")
        self._do(ctx, work.note)

    def tag(self, ctx: Any) -> None:
        ctx.params["text"] = ctx.panel.get_state("text")
        self._do(ctx, work.tag_case)

    def share(self, ctx: Any) -> None:
        """Write the cases beside the log."""
        if "error" not in work.share_cases(ctx):
            ctx.panel.set_state("text", "")

    def undo(self, ctx: Any) -> None:
        self._do(ctx, work.undo)

    def open(self, ctx: Any) -> None:
        """Show the finding's image in the viewer."""
        desk = desk_of(ctx.dataset)
        place = desk.place() if desk else None
        if place:
            ctx.ops.open_sample(place["sample_id"])
            ctx.ops.set_selected_labels([place] if "label_id" in place else [])

    def _do(self, ctx: Any, doing: work.Doing, onward: bool = False) -> None:
        result = work.perform(ctx, doing)
        desk = desk_of(ctx.dataset)
        if onward and desk is not None and result["edits"]:
            still_open = desk.current is not None and desk.room.status(desk.current) == "open"
            if not still_open:
                desk.step()
        if "error" not in result:  # what was typed is about what was just decided, or about the finding before
            ctx.panel.set_state("text", "")
        self._show(ctx, desk)

    # ------------------------------------------------------------ what is shown
    def _show(self, ctx: Any, desk: Desk | None) -> None:
        """Put the picture of the finding in hand into the panel's state."""
        drawn = drawing.picture(desk.room, desk.current) if desk and desk.current is not None else None
        ctx.panel.set_state("picture", drawing.data_url(drawn) if drawn is not None else None)

    def render(self, ctx: Any) -> Any:
        panel = types.Object()
        desk = desk_of(ctx.dataset)
        if desk is None:
            panel.md("This data set was not opened by `trashkit review`.", name="none")
            return types.Property(panel)
        panel.md(summary(desk), name="summary")
        if desk.current is None:
            return self._filter(panel, desk)
        if ctx.panel.get_state("picture"):
            panel.img("picture", height="320px", alt_text="before in red, after in green")
        panel.md("before **red**, after **green**, related **blue**", name="legend")
        rows = panel.h_stack("going", gap=1, align_x="left")
        rows.btn("previous", label="Previous", icon="arrow_back", on_click=self.previous)
        rows.btn("next", label="Next", icon="arrow_forward", on_click=self.next)
        rows.btn("open", label="Open", icon="open_in_full", on_click=self.open)
        fixable = desk.current in desk.room.fixes and desk.room.status(desk.current) == "open"
        first = panel.h_stack("fixing", gap=1, align_x="left")
        first.btn(
            "accept", label="Accept fix", icon="check", on_click=self.accept, disabled=not fixable, variant="contained"
        )
        first.btn("reject", label="Reject", icon="block", on_click=self.reject, variant="outlined")
        first.btn("undo", label="Undo", icon="undo", on_click=self.undo)
        safe = len(desk.safe_fixes())
        if safe > 1:
            code = desk.room.findings[desk.current].code
            label = f"Accept all {safe} safe fixes of {code}"
            panel.btn("accept_all", label=label, icon="done_all", on_click=self.accept_all, variant="outlined")
        panel.str("text", label="Reason or note", required=False)
        names = list(desk.room.names.values())
        panel.enum("class", names, label="Class", required=False, view=types.AutocompleteView(label="Class"))
        more = panel.h_stack("changing", gap=1, align_x="left")
        more.btn("relabel", label="Change class", icon="label", on_click=self.relabel)
        more.btn("delete", label="Delete", icon="delete", on_click=self.delete)
        more.btn("merge", label="Merge", icon="merge", on_click=self.merge)
        last = panel.h_stack("noting", gap=1, align_x="left")
        last.btn("unusable", label="Image unusable", icon="hide_image", on_click=self.unusable)
        last.btn("note", label="Leave note", icon="edit_note", on_click=self.note)
        last = panel.h_stack("sharing", gap=1, align_x="left")  # a row of its own: four would not fit a small screen
        last.btn("tag", label="Unusual case", icon="sell", on_click=self.tag)
        last.btn("share", label="Share cases", icon="share", on_click=self.share)
        if desk.room.standing().edits:
            panel.md(history(desk), name="history")
        return self._filter(panel, desk)

    def _filter(self, panel: Any, desk: Desk) -> Any:
        """The checks and classes that Next stops at; the panel is complete then."""
        codes, classes = work.facets_of(desk)
        for name, label, values in (("code", "Only this check", codes), ("class_name", "Only this class", classes)):
            view = types.AutocompleteView(label=label)
            panel.enum(name, values, label=label, required=False, view=view, on_change=self.choose)
        panel.bool("decided", label="Decided ones too", default=False, on_change=self.choose)
        return types.Property(panel, view=types.GridView(orientation="vertical", gap=1, padding=2))


def history(desk: Desk, most: int = 5) -> str:
    """The last decisions, the newest first, as Markdown."""
    edits = desk.room.standing().edits[-most:][::-1]
    lines = [
        " · ".join(part for part in (f"**{edit.kind}** {edit.place}", edit.reason, edit.author, edit.note[:60]) if part)
        for edit in edits
    ]
    return "\n\n".join(["last decisions", *lines]) if lines else ""


def summary(desk: Desk) -> str:
    """The progress count and the finding in hand, as Markdown."""
    decided, number = desk.room.progress()
    text = f"**{decided} of {number} findings decided**"
    if desk.current is None:
        return (
            text + "\n\nThere is nothing to decide" + (" of what was chosen." if desk.code or desk.class_name else ".")
        )
    finding, status = desk.room.findings[desk.current], desk.room.status(desk.current)
    at = desk.room.order.index(desk.current) + 1 if desk.current in desk.room.order else 0
    lines = [f"{text} · finding {at}: **{status}**", f"**{finding.code} {finding.name}** ({finding.severity.value})"]
    lines.append(finding.message)
    where = [finding.file_name or "", f"{finding.block}[{finding.row}]"]
    if finding.block == ANNOTATIONS and finding.row is not None:
        record = desk.room.record(ANNOTATIONS, finding.row)
        name = desk.room.class_name(record) if record is not None else "deleted"
        where += [f"annotation {finding.annotation_id}", f"**{name}**"]
    if desk.current in desk.room.fixes:
        fix = desk.room.fixes[desk.current]
        where.append("fix: " + ", ".join(dict.fromkeys(edit.kind for edit in (*fix.alone, *fix.added))))
    return "\n\n".join([*lines, " · ".join(part for part in where if part)])
