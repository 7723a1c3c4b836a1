"""What each command writes, and the suffixes that fit: no page is written to a name that ends in .png."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trashkit.outputs import check_suffix

Form = tuple[str, tuple[str, ...]]
"""What is written, as messages call it, and its suffixes; a folder has none."""

PAGE: Form = ("an HTML page", (".html", ".htm"))
JSON: Form = ("JSON", (".json",))
EDIT_LOG: Form = ("JSON Lines", (".jsonl", ".ndjson"))
RUN: Form = ("a run folder", ())
STORE: Form = ("a probability store, a folder", ())
FOLDER: Form = ("a folder", ())
ANY: Form | None = None
"""The command checks the suffix itself: what it writes depends on its options."""

FORMS: Mapping[str, Mapping[str, Form | None]] = {
    "audit": {"html": PAGE, "baseline": JSON},
    "fix": {"out": JSON, "write_edits": EDIT_LOG},
    "review": {"html": PAGE, "edits": EDIT_LOG},
    "auto": {"out": FOLDER},
    "train": {"out": RUN, "preview": ANY},
    "pseudo": {"out": FOLDER},
    "sweep": {"out": FOLDER},
    "soup": {"out": RUN},
    "report": {"out": PAGE},
    "predict": {"out": STORE, "overlay": FOLDER},
    "ensemble": {"out": STORE},
    "presence": {"out": JSON},
    "postprocess": {"out": STORE},
    "sheets": {"out": FOLDER},
    "export": {"onnx": ("an ONNX file", (".onnx",))},
    "demo": {"out": FOLDER},
    "edits.apply": {"out": JSON},
    "edits.invert": {"out": EDIT_LOG},
    "edits.merge": {"out": EDIT_LOG},
    "edits.diff": {"out": EDIT_LOG},
    "data.synth": {"out": FOLDER},
    "data.import_": {"out": ANY},
    "data.export": {"out": FOLDER},
    "data.masks": {"out": FOLDER},
    "data.taco": {"out": FOLDER},
    "data_subsets.select": {"out": JSON},
    "data_subsets.list_": {"out": JSON},
    "split.search": {"out": JSON},
    "split.export": {"out": FOLDER},
    "split.show_split": {"html": PAGE},
    "submit.make": {"out": ANY},
    "submit.to_coco": {"out": JSON},
    "submit.from_coco": {"out": ANY},
    "submit_compare.diff": {"html": PAGE},
    "submit_compare.vote": {"out": ANY},
    "leaderboard.plot": {"out": PAGE},
}
"""By command, as `command_key` gives it, and parameter."""


def command_key(function: Callable[..., Any]) -> str:
    """Name of a command in `FORMS`: that of its module and function, once where they are the same."""
    module, name = function.__module__.rpartition(".")[2], function.__name__
    return name if module == name else f"{module}.{name}"


def check_suffixes(function: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Raise TrashkitError where the suffix of an output belongs to another form than the command writes."""
    for name, form in FORMS.get(command_key(function), {}).items():
        path = values.get(name)
        if not isinstance(path, Path) or form is None or (name == "baseline" and not values["write_baseline"]):
            continue
        if form is EDIT_LOG and name != "out" and path.exists():
            continue  # a log of any name is continued
        check_suffix(path, *form, option=f"--{name.replace('_', '-')}")
