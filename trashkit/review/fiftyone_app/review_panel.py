"""The panel next to the images: the current finding, before and after its fix, with a button for each decision."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from trashkit.errors import TrashkitError
from trashkit.review import drawing
from trashkit.review.app_text import as_markdown
from trashkit.review.fiftyone_app import operators
from trashkit.review.fiftyone_app.appearance import REVIEW_PANEL
from trashkit.review.fiftyone_app.controller import ReviewController, controller_of
from trashkit.review.fiftyone_app.sample_documents import ANNOTATIONS


class ReviewPanel(foo.Panel):  # type: ignore[misc]
    """Findings one by one, worst first, with buttons to decide on them."""

    @property
    def config(self) -> Any:
        return foo.PanelConfig(name=REVIEW_PANEL, label="trashkit review", icon="fact_check", surfaces="grid modal")

    # ------------------------------------------------------------ events
    def on_load(self, ctx: Any) -> None:
        controller = controller_of(ctx.dataset)
        if controller is not None and controller.current is None:
            controller.step()
        if controller is not None:  # a reloaded page shows the same filter as before
            names = {name.split(" ")[0]: name for name in operators.filter_choices(controller)[0]}
            ctx.panel.set_state("code", names.get(controller.code))
            ctx.panel.set_state("class_name", controller.class_name or None)
            ctx.panel.set_state("decided", controller.decided)
        self._draw(ctx, controller)

    def on_change_selected_labels(self, ctx: Any) -> None:
        """Make the worst open finding of the annotation that was clicked the current one."""
        controller = controller_of(ctx.dataset)
        if controller is None:
            return
        try:
            rows = controller.rows(ctx.selected_labels)
        except TrashkitError:
            rows = []
        before = controller.current
        controller.current = next(iter(controller.additions(ctx.selected_labels)), controller.current)
        finding, session = controller.finding, controller.session
        if rows and (finding is None or finding.block != ANNOTATIONS or finding.row not in rows):
            mine = [n for row in rows for n in session.findings_of.get((ANNOTATIONS, row), ())]
            still_open = (n for n in mine if session.status(n) == "open")
            controller.current = next(still_open, mine[0] if mine else controller.current)
        if controller.current != before:
            ctx.panel.set_state("text", "")
        self._draw(ctx, controller)

    def on_change_current_sample(self, ctx: Any) -> None:
        self._draw(ctx, controller_of(ctx.dataset))

    def next(self, ctx: Any) -> None:
        self._perform(ctx, operators.forward)

    def previous(self, ctx: Any) -> None:
        self._perform(ctx, operators.back)

    def accept(self, ctx: Any) -> None:
        self._perform(ctx, operators.accept, advance=True)

    def accept_all(self, ctx: Any) -> None:
        self._perform(ctx, operators.accept_all, advance=True)

    def choose(self, ctx: Any) -> None:
        for name in operators.FILTERS:
            ctx.params[name] = ctx.panel.get_state(name)
        self._perform(ctx, operators.choose)

    def reject(self, ctx: Any) -> None:
        ctx.params["why"] = ctx.panel.get_state("text")
        self._perform(ctx, operators.reject, advance=True)

    def relabel(self, ctx: Any) -> None:
        ctx.params["class"] = ctx.panel.get_state("class")
        ctx.params["note"] = ctx.panel.get_state("text")
        self._perform(ctx, operators.relabel, advance=True)

    def delete(self, ctx: Any) -> None:
        ctx.params["note"] = ctx.panel.get_state("text")
        self._perform(ctx, operators.delete, advance=True)

    def merge(self, ctx: Any) -> None:
        ctx.params["note"] = ctx.panel.get_state("text")
        self._perform(ctx, operators.merge, advance=True)

    def unusable(self, ctx: Any) -> None:
        ctx.params["why"] = ctx.panel.get_state("text")
        self._perform(ctx, operators.unusable, advance=True)

    def note(self, ctx: Any) -> None:
        ctx.params["text"] = ctx.panel.get_state("text")
        self._perform(ctx, operators.note)

    def tag(self, ctx: Any) -> None:
        ctx.params["text"] = ctx.panel.get_state("text")
        self._perform(ctx, operators.tag_case)

    def share(self, ctx: Any) -> None:
        """Write the tagged and noted cases to a file in the log's folder."""
        if "error" not in operators.share_cases(ctx):
            ctx.panel.set_state("text", "")

    def undo(self, ctx: Any) -> None:
        self._perform(ctx, operators.undo)

    def open(self, ctx: Any) -> None:
        """Show the finding's image in the viewer."""
        controller = controller_of(ctx.dataset)
        label = controller.label_of_finding() if controller else None
        if label:
            ctx.ops.open_sample(label["sample_id"])
            ctx.ops.set_selected_labels([label] if "label_id" in label else [])

    def _perform(self, ctx: Any, action: operators.Action, advance: bool = False) -> None:
        """Perform an action. advance: go to the next finding if the current one is decided by it."""
        result = operators.perform(ctx, action)
        controller = controller_of(ctx.dataset)
        if advance and controller is not None and result["edits"] and not controller.is_open:
            controller.step()
        if "error" not in result:  # the text was about what was just decided, or about the previous finding
            ctx.panel.set_state("text", "")
        self._draw(ctx, controller)

    # ------------------------------------------------------------ contents
    def _draw(self, ctx: Any, controller: ReviewController | None) -> None:
        """Put the picture of the current finding into the panel's state."""
        drawn = None
        if controller is not None and controller.current is not None:
            drawn = drawing.picture(controller.session, controller.current)
        ctx.panel.set_state("picture", drawing.data_url(drawn) if drawn is not None else None)

    def render(self, ctx: Any) -> Any:
        panel = types.Object()
        controller = controller_of(ctx.dataset)
        if controller is None:
            panel.md("This data set was not opened by `trashkit review`.", name="none")
            return types.Property(panel)
        panel.md(summary(controller), name="summary")
        if controller.current is not None:
            if ctx.panel.get_state("picture"):
                panel.img("picture", height="320px", alt_text="before in red, after in green")
            panel.md("before **red**, after **green**, related **blue**", name="legend")
            self._add_buttons(panel, controller)
            if controller.session.working_copy().edits:
                panel.md(history(controller), name="history")
        self._add_filter(panel, controller)
        return types.Property(panel, view=types.GridView(orientation="vertical", gap=1, padding=2))

    def _add_buttons(self, panel: Any, controller: ReviewController) -> None:
        row = panel.h_stack("going", gap=1, align_x="left")
        row.btn("previous", label="Previous", icon="arrow_back", on_click=self.previous)
        row.btn("next", label="Next", icon="arrow_forward", on_click=self.next)
        row.btn("open", label="Open", icon="open_in_full", on_click=self.open)
        row = panel.h_stack("fixing", gap=1, align_x="left")
        disabled = controller.current not in controller.session.fixes or not controller.is_open
        row.btn(
            "accept", label="Accept fix", icon="check", on_click=self.accept, disabled=disabled, variant="contained"
        )
        row.btn("reject", label="Reject", icon="block", on_click=self.reject, variant="outlined")
        row.btn("undo", label="Undo", icon="undo", on_click=self.undo)
        safe, finding = len(controller.safe_fixes()), controller.finding
        if safe > 1 and finding is not None:
            label = f"Accept all {safe} safe fixes of {finding.code}"
            panel.btn("accept_all", label=label, icon="done_all", on_click=self.accept_all, variant="outlined")
        panel.str("text", label="Reason or note", required=False)
        names = list(controller.session.category_names.values())
        panel.enum("class", names, label="Class", required=False, view=types.AutocompleteView(label="Class"))
        row = panel.h_stack("changing", gap=1, align_x="left")
        row.btn("relabel", label="Change class", icon="label", on_click=self.relabel)
        row.btn("delete", label="Delete", icon="delete", on_click=self.delete)
        row.btn("merge", label="Merge", icon="merge", on_click=self.merge)
        row = panel.h_stack("noting", gap=1, align_x="left")
        row.btn("unusable", label="Image unusable", icon="hide_image", on_click=self.unusable)
        row.btn("note", label="Leave note", icon="edit_note", on_click=self.note)
        row = panel.h_stack("sharing", gap=1, align_x="left")  # a separate row: four would not fit a small screen
        row.btn("tag", label="Unusual case", icon="sell", on_click=self.tag)
        row.btn("share", label="Share cases", icon="share", on_click=self.share)

    def _add_filter(self, panel: Any, controller: ReviewController) -> None:
        """The checks and classes of the findings that Previous and Next go through."""
        codes, classes = operators.filter_choices(controller)
        for name, label, values in (("code", "Only this check", codes), ("class_name", "Only this class", classes)):
            view = types.AutocompleteView(label=label)
            panel.enum(name, values, label=label, required=False, view=view, on_change=self.choose)
        panel.bool("decided", label="Include decided findings", default=False, on_change=self.choose)


def history(controller: ReviewController, most: int = 5) -> str:
    """The last decisions, newest first, as Markdown."""
    edits = list(controller.session.working_copy().edits)[-most:][::-1]
    lines = [
        " · ".join(
            part
            for part in (
                f"**{as_markdown(edit.kind)}** {as_markdown(edit.place)}",
                *map(as_markdown, (edit.reason, edit.by, edit.note[:60])),
            )
            if part
        )
        for edit in edits
    ]
    return "\n\n".join(["last decisions", *lines]) if lines else ""


def summary(controller: ReviewController) -> str:
    """The progress and the current finding, as Markdown."""
    session, finding, n = controller.session, controller.finding, controller.current
    decided, number = session.progress()
    text = f"**{decided} of {number} findings decided**"
    if finding is None or n is None:
        filtered = " that passes the filter" if controller.code or controller.class_name else ""
        return f"{text}\n\nThere is no open finding{filtered}."
    position = session.order.index(n) + 1 if n in session.order else 0
    lines = [
        f"{text} · finding {position}: **{session.status(n)}**",
        f"**{as_markdown(f'{finding.code} {finding.name}')}** ({finding.severity.value})",
        as_markdown(finding.message),
    ]
    details = [as_markdown(finding.file_name or ""), as_markdown(f"{finding.block}[{finding.row}]")]
    if finding.block == ANNOTATIONS and finding.row is not None:
        record = session.record(ANNOTATIONS, finding.row)
        name = session.class_name(record) if record is not None else "deleted"
        details += [f"annotation {as_markdown(finding.annotation_id)}", f"**{as_markdown(name)}**"]
    if n in session.fixes:
        fix = session.fixes[n]
        details.append("fix: " + ", ".join(dict.fromkeys(edit.kind for edit in (*fix.edits, *fix.additions))))
    return "\n\n".join([*lines, " · ".join(part for part in details if part)])
