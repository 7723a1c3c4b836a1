"""What a reviewer can do in the App, as FiftyOne operators: each writes to the edit log and reports what it wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from trashkit.edits.edit import Edit
from trashkit.edits.working_copy import Place
from trashkit.errors import TrashkitError
from trashkit.review import decisions, shared_cases
from trashkit.review.fiftyone_app.controller import ReviewController, controller_of

UNUSUAL = "unusual"
FILTERS = ("code", "class_name", "decided")

Action = Callable[[Any, ReviewController], "list[Edit] | None"]
"""Takes FiftyOne's execution context. Returns the edits written, or None if it only moves to another finding."""


# ------------------------------------------------------------ actions
def accept(ctx: Any, controller: ReviewController) -> list[Edit]:
    """Apply the proposed fix of the selected annotations, or of the current finding."""
    rows = controller.rows(ctx.selected_labels)
    numbers = controller.additions(ctx.selected_labels) or controller.findings(rows, ctx.params.get("code"))
    fixable = [n for n in numbers if n in controller.session.fixes]
    if not fixable:
        raise TrashkitError("there is no proposed fix here", hint="go to a finding with a fix, or edit by hand")
    return controller.decide(decisions.accept(fixable))


def accept_all(_ctx: Any, controller: ReviewController) -> list[Edit]:
    """Apply all safe fixes of the current finding's check and the filter's class. One undo reverts them."""
    found = controller.safe_fixes()
    if not found:
        raise TrashkitError("no open finding of this check has a safe fix", hint="accept fixes one by one")
    return controller.decide(decisions.accept_all(found))


def choose(ctx: Any, controller: ReviewController) -> None:
    """Set the filter: the check and class of the findings to go through, and whether to include decided ones."""
    code, class_name, decided = (ctx.params.get(name) for name in FILTERS)
    controller.choose(str(code or "").split(" ", maxsplit=1)[0], str(class_name or ""), bool(decided))


def reject(ctx: Any, controller: ReviewController) -> list[Edit]:
    """Reject the findings of the selected annotations, or the current finding: they are correct as they are."""
    rows = controller.rows(ctx.selected_labels)
    current = controller.finding
    if current is not None and current.block == "annotations" and rows == [current.row] and not ctx.params.get("code"):
        rows = []  # the selected annotation may have other findings: only the current one is rejected
    found = controller.additions(ctx.selected_labels) or controller.findings(rows, ctx.params.get("code"))
    if not found:
        raise TrashkitError("there is no open finding to reject", hint="select an annotation with a finding")
    return controller.decide(decisions.reject(found, str(ctx.params.get("why") or "")))


def relabel(ctx: Any, controller: ReviewController) -> list[Edit]:
    """Change the class of the selected annotations."""
    rows = controller.annotation_rows(controller.rows(ctx.selected_labels))
    category_id = _category_id(controller, ctx.params.get("class"))
    return controller.decide(decisions.relabel(rows, category_id, finding=controller.current, note=_note(ctx)))


def delete(ctx: Any, controller: ReviewController) -> list[Edit]:
    """Delete the selected annotations."""
    rows = controller.annotation_rows(controller.rows(ctx.selected_labels))
    return controller.decide(decisions.remove(rows, finding=controller.current, note=_note(ctx)))


def merge(ctx: Any, controller: ReviewController) -> list[Edit]:
    """Merge the selected annotations, or with fewer than two selected, those that the current finding is about."""
    rows = controller.rows(ctx.selected_labels)
    if len(rows) < 2 and controller.finding is not None:
        rows = controller.annotation_rows([]) + list(controller.finding.related)
    return controller.decide(decisions.merge(rows, finding=controller.current, note=_note(ctx)))


def unusable(ctx: Any, controller: ReviewController) -> list[Edit]:
    """Mark the selected images, the open one, or that of the current finding as unusable."""
    return controller.decide(decisions.unusable(_images(ctx, controller), str(ctx.params.get("why") or "")))


def note(ctx: Any, controller: ReviewController) -> list[Edit]:
    """Leave a note on the selected annotations, else the selected images, else the current finding's row."""
    return controller.decide(decisions.note(_places(ctx, controller), str(ctx.params.get("text") or "")))


def tag_case(ctx: Any, controller: ReviewController) -> list[Edit]:
    """Tag the same rows that `note` would leave a note on as an unusual case, with an optional note."""
    tag = str(ctx.params.get("tag") or UNUSUAL)
    return controller.decide(decisions.tag(_places(ctx, controller), tag, str(ctx.params.get("text") or "")))


def undo(_ctx: Any, controller: ReviewController) -> list[Edit]:
    """Undo the last decision."""
    return controller.undo()


def forward(_ctx: Any, controller: ReviewController) -> None:
    """Go to the next open finding."""
    controller.step(True)


def back(_ctx: Any, controller: ReviewController) -> None:
    """Go to the previous open finding."""
    controller.step(False)


def share_cases(ctx: Any) -> dict[str, Any]:
    """Write the selected images, or without a selection everything with a note or tag, as a small file to share.

    Returns ``{"edits": 0, "message": text, "path": file}``, or with the key ``error`` if it could not be written.
    """
    controller = controller_of(ctx.dataset)
    if controller is None:
        return _not_a_review(ctx)
    session = controller.session
    name = str(ctx.params.get("file") or "").strip()
    overwrite = not name or bool(ctx.params.get("overwrite"))
    try:
        path = shared_cases.path_beside(session.log, name or f"{session.log.stem}-cases.json")
        places: list[Place] = [("images", row) for row in _images(ctx, controller)] if ctx.selected else []
        images = {row for _, row in places}
        for place in shared_cases.noted(session):
            row = place[1] if place[0] == "images" else session.image_of(session.coco.record(*place))
            if not ctx.selected or row in images:
                places.append(place)
        title = str(ctx.params.get("title") or "")
        number = shared_cases.share(session, path, places, title=title, overwrite=overwrite)
    except TrashkitError as error:
        return _refused(ctx, error)
    message = f"{number} cases are in {path}: open them with trashkit review ... --open {path.name}"
    return _notify(ctx, {"edits": 0, "message": message, "path": str(path)}, "success")


# ------------------------------------------------------------ what an action is about
def _category_id(controller: ReviewController, name: Any) -> Any:
    for key, known in controller.session.category_names.items():
        if known == name:
            return key
    raise TrashkitError(f"there is no class {name!r}", hint="choose a category of the file")


def _note(ctx: Any) -> str:
    return str(ctx.params.get("note") or "")


def _places(ctx: Any, controller: ReviewController) -> list[Place]:
    rows = controller.rows(ctx.selected_labels)
    finding = controller.finding
    if rows:
        return [("annotations", row) for row in rows]
    if finding is not None and finding.row is not None and not ctx.selected:
        return [(finding.block, finding.row)]
    return [("images", row) for row in _images(ctx, controller)]


def _images(ctx: Any, controller: ReviewController) -> list[int]:
    current = [ctx.current_sample] if ctx.current_sample else []
    rows = controller.image_rows(ctx.selected) or controller.image_rows(current)
    if not rows and ctx.selected:
        raise TrashkitError("the selected images belong to the test set", hint="select images of the file under review")
    if not rows and controller.finding is not None:
        image = controller.session.image_row_of(controller.finding)
        rows = [image] if image is not None else []
    if not rows:
        raise TrashkitError("no image is selected", hint="select images, open one, or go to a finding")
    return rows


# ------------------------------------------------------------ carrying out an action
def perform(ctx: Any, action: Action) -> dict[str, Any]:
    """Run an action on the open data set, notify the user of its result, and return it.

    Returns ``{"edits": number, "message": text}``, with the key ``error`` if it was refused. User errors are shown, not
    raised, since FiftyOne shows a raised error as a traceback.
    """
    controller = controller_of(ctx.dataset)
    if controller is None:
        return _not_a_review(ctx)
    try:
        edits = action(ctx, controller)
    except TrashkitError as error:
        return _refused(ctx, error)
    decided, number = controller.session.progress()
    if edits is None:
        go_to_finding(ctx, controller)
        return {"edits": 0, "message": f"{decided} of {number} decided", "finding": controller.current}
    if not edits:
        return _notify(ctx, {"edits": 0, "message": "nothing to do"}, "info")
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(edit.kind for edit in edits).items())
    what = "undone" if action is undo else "written to the log"
    ctx.ops.clear_selected_labels()
    ctx.ops.reload_samples()
    message = f"{kinds} {what}; {decided} of {number} decided"
    return _notify(ctx, {"edits": len(edits), "message": message}, "success")


def go_to_finding(ctx: Any, controller: ReviewController) -> None:
    """Select the label of the current finding, and show its image if the viewer is open."""
    label = controller.label_of_finding()
    if label is None:
        return
    if ctx.current_sample and ctx.current_sample != label["sample_id"]:
        ctx.ops.open_sample(label["sample_id"])
    ctx.ops.set_selected_labels([label] if "label_id" in label else [])


def _not_a_review(ctx: Any) -> dict[str, Any]:
    message = "this data set was not opened by trashkit review"
    return _notify(ctx, {"edits": 0, "message": message, "error": "not a review"}, "error")


def _refused(ctx: Any, error: TrashkitError) -> dict[str, Any]:
    text = f"{error.message} ({error.hint})" if error.hint else error.message
    return _notify(ctx, {"edits": 0, "message": text, "error": error.message}, "error")


def _notify(ctx: Any, result: dict[str, Any], variant: str) -> dict[str, Any]:
    ctx.ops.notify(result["message"], variant=variant)
    return result


# ------------------------------------------------------------ FiftyOne operators
class _ActionOperator(foo.Operator):  # type: ignore[misc]
    """An operator that asks for its inputs and performs an action."""

    label = name_ = icon = ""
    action: Action

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(
            name=self.name_, label=f"trashkit: {self.label}", icon=self.icon, dynamic=True, view_target=False
        )

    def resolve_input(self, ctx: Any) -> Any:
        inputs = types.Object()
        self.ask(ctx, inputs)
        return types.Property(inputs, view=types.View(label=self.label))

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Add the inputs of the form; none by default."""

    def execute(self, ctx: Any) -> dict[str, Any]:
        return perform(ctx, type(self).action)


class ShareCases(_ActionOperator):
    """The operator of `share_cases`."""

    name_, label, icon = "share_cases", "share cases as a small file", "share"

    def ask(self, _ctx: Any, inputs: Any) -> None:
        inputs.str("file", label="File name, beside the edit log; default: LOG-cases.json", required=False)
        inputs.str("title", label="Title", required=False)
        inputs.bool("overwrite", label="Overwrite an existing file", default=False)

    def execute(self, ctx: Any) -> dict[str, Any]:
        return share_cases(ctx)


def _ask_text(name: str, label: str, required: bool = False) -> Callable[[Any, Any, Any], None]:
    def ask(_self: Any, _ctx: Any, inputs: Any) -> None:
        inputs.str(name, label=label, required=required)

    return ask


def _ask_case(_self: Any, _ctx: Any, inputs: Any) -> None:
    inputs.str("tag", label="Tag", default=UNUSUAL)
    inputs.str("text", label="Note", required=False)


def _ask_class(_self: Any, ctx: Any, inputs: Any) -> None:
    controller = controller_of(ctx.dataset)
    names = list(controller.session.category_names.values()) if controller else []
    inputs.enum("class", names, label="Class", required=True, view=types.AutocompleteView())
    inputs.str("note", label="Reason", required=False)


def _ask_filter(_self: Any, ctx: Any, inputs: Any) -> None:
    controller = controller_of(ctx.dataset)
    codes, classes = filter_choices(controller) if controller else ([], [])
    inputs.enum("code", codes, label="Check", required=False, view=types.AutocompleteView())
    inputs.enum("class_name", classes, label="Class", required=False, view=types.AutocompleteView())
    inputs.bool("decided", label="Include decided findings", default=False)


def filter_choices(controller: ReviewController) -> tuple[list[str], list[str]]:
    """The checks (code and name) and classes that the review has findings of."""
    session = controller.session
    codes = sorted({f"{f.code} {f.name}" for f in (session.findings[n] for n in session.order)})
    return codes, sorted({session.finding_class(n) for n in session.order} - {""})


def _operator(name: str, label: str, icon: str, action: Action, ask: Any = None) -> type[Any]:
    body: dict[str, Any] = {"name_": name, "label": label, "icon": icon, "action": staticmethod(action)}
    if ask is not None:
        body["ask"] = ask
    return type("".join(part.title() for part in name.split("_")), (_ActionOperator,), body)


OPERATORS = (
    _operator("accept_fix", "accept the proposed fix", "check", accept),
    _operator("accept_all", "accept all safe fixes of this check", "done_all", accept_all),
    _operator("choose", "filter the findings to go through", "filter_alt", choose, _ask_filter),
    _operator("reject_fix", "reject the finding", "block", reject, _ask_text("why", "Reason")),
    _operator("relabel", "change the class", "label", relabel, _ask_class),
    _operator("delete_annotations", "delete the annotation", "delete", delete, _ask_text("note", "Reason")),
    _operator("merge_annotations", "merge annotations", "merge", merge, _ask_text("note", "Reason")),
    _operator("mark_unusable", "mark the image as unusable", "hide_image", unusable, _ask_text("why", "Reason")),
    _operator("leave_note", "leave a note", "edit_note", note, _ask_text("text", "Note", required=True)),
    _operator("tag_case", "tag as an unusual case", "sell", tag_case, _ask_case),
    ShareCases,
    _operator("next_finding", "next finding", "arrow_forward", forward),
    _operator("previous_finding", "previous finding", "arrow_back", back),
    _operator("undo_decision", "undo the last decision", "undo", undo),
)
