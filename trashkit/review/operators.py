"""What a reviewer can do in the App, as FiftyOne operators: each writes to the edit log and says what it wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from trashkit.coco.edit import Edit
from trashkit.errors import TrashkitError
from trashkit.review import cases, decisions
from trashkit.review.desk import Desk, desk_of
from trashkit.review.room import Place

UNUSUAL = "unusual"
FACETS = ("code", "class_name", "decided")

Doing = Callable[[Any, Desk], "list[Edit] | None"]


def category_of(desk: Desk, name: Any) -> Any:
    """The id of the category that the App shows under a name. TrashkitError where there is none."""
    for key, known in desk.room.names.items():
        if known == name:
            return key
    raise TrashkitError(f"there is no class {name!r}", hint="choose one of the file's categories")


def accept(ctx: Any, desk: Desk) -> list[Edit]:
    """Make the proposed fix of the selected annotations, or of the finding in hand."""
    rows = desk.rows(ctx.selected_labels)
    meant = desk.additions(ctx.selected_labels) or desk.findings(rows, ctx.params.get("code"))
    found = [n for n in meant if n in desk.room.fixes]
    if not found:
        raise TrashkitError("nothing here has a proposed fix", hint="go to a finding with one, or change it by hand")
    return desk.decide(decisions.accept(found))


def accept_all(_ctx: Any, desk: Desk) -> list[Edit]:
    """Make all safe fixes of the check in hand, of the chosen class where there is one; one undo takes them back."""
    found = desk.safe_fixes()
    if not found:
        raise TrashkitError("no open finding of this check has a safe fix", hint="accept fixes one by one")
    return desk.decide(decisions.accept_all(found))


def choose(ctx: Any, desk: Desk) -> None:
    """Choose the check and class that Next stops at, and whether at decided findings too."""
    asked = (
        str(ctx.params.get(name) or "").split(" ")[0] if name == "code" else ctx.params.get(name) for name in FACETS
    )
    code, class_name, decided = asked
    desk.choose(code or "", str(class_name or ""), bool(decided))


def reject(ctx: Any, desk: Desk) -> list[Edit]:
    """Say that the selected annotations, or the finding in hand, are right as they are."""
    rows = desk.rows(ctx.selected_labels)
    in_hand = desk.room.findings[desk.current] if desk.current is not None else None
    if in_hand is not None and in_hand.block == "annotations" and rows == [in_hand.row] and not ctx.params.get("code"):
        rows = []  # the selected annotation may have other findings: the one in hand is meant
    found = desk.additions(ctx.selected_labels) or desk.findings(rows, ctx.params.get("code"))
    if not found:
        raise TrashkitError("there is no open finding to reject", hint="select an annotation with a finding")
    return desk.decide(decisions.reject(found, str(ctx.params.get("why") or "")))


def relabel(ctx: Any, desk: Desk) -> list[Edit]:
    """Give the selected annotations another class."""
    rows = desk.annotation_rows(desk.rows(ctx.selected_labels))
    category = category_of(desk, ctx.params.get("class"))
    return desk.decide(decisions.relabel(rows, category, finding=desk.current, note=_note(ctx)))


def delete(ctx: Any, desk: Desk) -> list[Edit]:
    """Delete the selected annotations."""
    rows = desk.annotation_rows(desk.rows(ctx.selected_labels))
    return desk.decide(decisions.remove(rows, finding=desk.current, note=_note(ctx)))


def merge(ctx: Any, desk: Desk) -> list[Edit]:
    """Join the selected annotations; with one or none selected, the pair that the finding in hand is about."""
    rows = desk.rows(ctx.selected_labels)
    if len(rows) < 2 and desk.current is not None:
        finding = desk.room.findings[desk.current]
        rows = desk.annotation_rows([]) + list(finding.related)
    return desk.decide(decisions.merge(rows, finding=desk.current, note=_note(ctx)))


def unusable(ctx: Any, desk: Desk) -> list[Edit]:
    """Mark the selected images, the open one, or that of the finding in hand as unusable."""
    return desk.decide(decisions.unusable(_images(ctx, desk), str(ctx.params.get("why") or "")))


def note(ctx: Any, desk: Desk) -> list[Edit]:
    """Leave a note on the selected annotations, else on the selected images, else on the row of the finding in hand."""
    return desk.decide(decisions.note(_places(ctx, desk), str(ctx.params.get("text") or "")))


def tag_case(ctx: Any, desk: Desk) -> list[Edit]:
    """Tag what `note` would leave a note on as an unusual case, with a note if there is one."""
    tag = str(ctx.params.get("tag") or UNUSUAL)
    return desk.decide(decisions.tag(_places(ctx, desk), tag, str(ctx.params.get("text") or "")))


def _places(ctx: Any, desk: Desk) -> list[Place]:
    rows = desk.rows(ctx.selected_labels)
    finding = desk.room.findings[desk.current] if desk.current is not None else None
    if rows:
        return [("annotations", row) for row in rows]
    if finding is not None and finding.row is not None and not ctx.selected:
        return [(finding.block, finding.row)]
    return [("images", row) for row in _images(ctx, desk)]


def share_cases(ctx: Any) -> dict[str, Any]:
    """Write the selected images, or with none selected all that has a note or tag, as a small file for a team mate.

    Returns ``{"edits": 0, "message": text, "path": file}``, or with the key ``error`` what is against it.
    """
    desk = desk_of(ctx.dataset)
    if desk is None:
        return _told(ctx, {"edits": 0, "message": "this data set is no review", "error": "no review"}, "error")
    room = desk.room
    name = str(ctx.params.get("file") or "").strip()
    path = room.log.parent / Path(name).expanduser() if name else room.log.with_name(f"{room.log.stem}-cases.json")
    try:
        places: list[Place] = [("images", row) for row in _images(ctx, desk)] if ctx.selected else []
        images = {row for _, row in places}
        for place in cases.noted(room):
            row = place[1] if place[0] == "images" else room.image_of(room.coco.record(*place))
            if not ctx.selected or row in images:
                places.append(place)
        title = str(ctx.params.get("title") or "")
        number = cases.share(room, path, places, title=title, overwrite=not name or bool(ctx.params.get("overwrite")))
    except TrashkitError as error:
        return _refused(ctx, error)
    told = f"{number} cases are in {path}: your team mate opens them with trashkit review ... --open {path.name}"
    return _told(ctx, {"edits": 0, "message": told, "path": str(path)}, "success")


def _refused(ctx: Any, error: TrashkitError) -> dict[str, Any]:
    text = f"{error.message} ({error.hint})" if error.hint else error.message
    return _told(ctx, {"edits": 0, "message": text, "error": error.message}, "error")


def undo(_ctx: Any, desk: Desk) -> list[Edit]:
    """Take the last decision back."""
    return desk.undo()


def forward(_ctx: Any, desk: Desk) -> None:
    """Go to the next open finding."""
    desk.step(True)


def back(_ctx: Any, desk: Desk) -> None:
    """Go to the open finding before."""
    desk.step(False)


def _note(ctx: Any) -> str:
    return str(ctx.params.get("note") or "")


def _images(ctx: Any, desk: Desk) -> list[int]:
    rows = desk.image_rows(ctx.selected) or desk.image_rows([ctx.current_sample] if ctx.current_sample else [])
    if not rows and ctx.selected:
        raise TrashkitError("the selected images are of the test set", hint="select images of the file under review")
    if not rows and desk.current is not None:
        image = desk.room.image_row_of(desk.room.findings[desk.current])
        rows = [image] if image is not None else []
    if not rows:
        raise TrashkitError("no image is selected", hint="select images, open one, or go to a finding")
    return rows


def perform(ctx: Any, doing: Doing) -> dict[str, Any]:
    """Do something at the desk of the open data set, show what came of it, and return it.

    Returns ``{"edits": number, "message": text}``; a refusal has the key ``error`` too. Users' errors are shown, not
    raised, since FiftyOne shows a raised one as a traceback.
    """
    desk = desk_of(ctx.dataset)
    if desk is None:
        return _told(ctx, {"edits": 0, "message": "this data set is no review", "error": "no review"}, "error")
    try:
        edits = doing(ctx, desk)
    except TrashkitError as error:
        return _refused(ctx, error)
    decided, number = desk.room.progress()
    if edits is None:
        go_to(ctx, desk)
        return {"edits": 0, "message": f"{decided} of {number} decided", "finding": desk.current}
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(edit.kind for edit in edits).items())
    what = "taken back" if doing is undo else "in the log"
    told = f"{kinds} {what}; {decided} of {number} decided" if edits else "nothing to do"
    if edits:
        ctx.ops.clear_selected_labels()
        ctx.ops.reload_samples()
    return _told(ctx, {"edits": len(edits), "message": told}, "success" if edits else "info")


def go_to(ctx: Any, desk: Desk) -> None:
    """Select the label of the finding in hand, and show its image where the viewer is open."""
    place = desk.place()
    if place is None:
        return
    if ctx.current_sample and ctx.current_sample != place["sample_id"]:
        ctx.ops.open_sample(place["sample_id"])
    ctx.ops.set_selected_labels([place] if "label_id" in place else [])


def _told(ctx: Any, result: dict[str, Any], variant: str) -> dict[str, Any]:
    ctx.ops.notify(result["message"], variant=variant)
    return result


class _Step(foo.Operator):  # type: ignore[misc]
    """An operator around one of the functions above."""

    label = name_ = icon = ""
    doing: Doing

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
        """Add what has to be asked."""

    def execute(self, ctx: Any) -> dict[str, Any]:
        return perform(ctx, type(self).doing)


def _why(name: str, label: str, required: bool = False) -> Callable[[Any, Any, Any], None]:
    def ask(_self: Any, _ctx: Any, inputs: Any) -> None:
        inputs.str(name, label=label, required=required)

    return ask


def _case(_self: Any, _ctx: Any, inputs: Any) -> None:
    inputs.str("tag", label="Tag", default=UNUSUAL)
    inputs.str("text", label="Note", required=False)


class ShareCases(_Step):
    """The operator around `share_cases`."""

    name_, label, icon = "share_cases", "share cases as a small file", "share"

    def ask(self, _ctx: Any, inputs: Any) -> None:
        inputs.str("file", label="File, beside the edit log; empty: LOG-cases.json", required=False)
        inputs.str("title", label="Title", required=False)
        inputs.bool("overwrite", label="Replace a file that exists", default=False)

    def execute(self, ctx: Any) -> dict[str, Any]:
        return share_cases(ctx)


def _classes(_self: Any, ctx: Any, inputs: Any) -> None:
    desk = desk_of(ctx.dataset)
    names = list(desk.room.names.values()) if desk else []
    inputs.enum("class", names, label="Class", required=True, view=types.AutocompleteView())
    inputs.str("note", label="Why", required=False)


def _operator(name: str, label: str, icon: str, doing: Doing, ask: Any = None) -> type[Any]:
    body: dict[str, Any] = {"name_": name, "label": label, "icon": icon, "doing": staticmethod(doing)}
    if ask is not None:
        body["ask"] = ask
    return type("".join(part.title() for part in name.split("_")), (_Step,), body)


def _facets(_self: Any, ctx: Any, inputs: Any) -> None:
    desk = desk_of(ctx.dataset)
    codes, classes = facets_of(desk) if desk else ([], [])
    inputs.enum("code", codes, label="Check", required=False, view=types.AutocompleteView())
    inputs.enum("class_name", classes, label="Class", required=False, view=types.AutocompleteView())
    inputs.bool("decided", label="Decided ones too", default=False)


def facets_of(desk: Desk) -> tuple[list[str], list[str]]:
    """Checks, code and name, and classes that the review has findings of."""
    codes = sorted({f"{f.code} {f.name}" for f in (desk.room.findings[n] for n in desk.room.order)})
    return codes, sorted({desk.class_of(n) for n in desk.room.order} - {""})


OPERATORS = (
    _operator("accept_fix", "accept the proposed fix", "check", accept),
    _operator("accept_all", "accept all safe fixes of this check", "done_all", accept_all),
    _operator("choose", "choose which findings Next stops at", "filter_alt", choose, _facets),
    _operator("reject_fix", "reject the finding", "block", reject, _why("why", "Reason")),
    _operator("relabel", "change the class", "label", relabel, _classes),
    _operator("delete_annotations", "delete the annotation", "delete", delete, _why("note", "Why")),
    _operator("merge_annotations", "merge annotations", "merge", merge, _why("note", "Why")),
    _operator("mark_unusable", "mark the image as unusable", "hide_image", unusable, _why("why", "Reason")),
    _operator("leave_note", "leave a note", "edit_note", note, _why("text", "Note", required=True)),
    _operator("tag_case", "tag as an unusual case", "sell", tag_case, _case),
    ShareCases,
    _operator("next_finding", "next finding", "arrow_forward", forward),
    _operator("previous_finding", "previous finding", "arrow_back", back),
    _operator("undo_decision", "undo the last decision", "undo", undo),
)
