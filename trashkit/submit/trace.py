"""Trace a submission back to what it was made from: stores, runs, settings, data and the edits of the data."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from trashkit.coco import read
from trashkit.edits.apply import apply
from trashkit.edits.log import read_log
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.metrics.summary import miou_text
from trashkit.predictions.header import entries
from trashkit.predictions.store import is_store, open_store
from trashkit.readers import decode_json, read_bytes
from trashkit.runs.folder import is_run
from trashkit.runs.run import Run, read_run
from trashkit.submit.notes import SubmissionNote, Voter, digest_of, find_note

LARGEST = 200_000_000
"""Largest annotation file, in bytes, to which edit logs are applied again to prove its origin."""


class TracedStore(TypedDict):
    """A store that went into the submission."""

    path: str
    fingerprint: str
    state: str


class EditStep(TypedDict):
    """An edit log, the file that it was applied to, and how many edits it holds."""

    log: str
    source: str
    source_sha256: str
    edits: int
    by_reason: dict[str, int]


class TracedFile(TypedDict):
    """An annotation file, and the edit logs that lead to it, the first applied first."""

    path: str
    sha256: str | None
    state: str
    edits: NotRequired[list[EditStep]]


class TracedRun(TypedDict, total=False):
    """A run whose weights or labels went into the submission; a missing run has `path`, `state` and its hash only."""

    path: str
    state: str
    checkpoint_sha256: str | None
    command: str | None
    recipe: str | None
    fold: int | None
    seed: int | None
    miou: float | None
    iou: Mapping[str, float | None] | None
    data: str | None
    data_sha256: str | None
    images: str | None
    training_images: int | None
    validation_images: int | None
    starts_from: str | None
    parents: list[str]
    pseudo: dict[str, Any] | None
    settings: dict[str, Any] | None
    versions: dict[str, Any] | None
    git: Any


class Trace(SubmissionNote):
    """The note of a submission with the state of everything behind it."""

    stores: list[TracedStore]
    runs: list[TracedRun]
    files: list[TracedFile]


def trace(what: str | Path, folders: Iterable[Path] = ()) -> Trace:
    """Return what a submission was made from: its note (see `trashkit.submit.notes.find_note`), and all behind that.

    `runs` are the runs whose weights or labels went in, `files` the annotation files with their edit logs, `voters` the
    submissions of a vote. The `state` of each is ``same``, ``changed``, ``gone`` or, where no hash was kept,
    ``unknown``. A run's `parents` are the runs that it continues or that taught it.
    """
    note = find_note(what, folders)
    if note.get("voters"):
        note["voters"] = [_voter(one) for one in note["voters"]]
    files: dict[str, TracedFile] = {}
    stores: dict[str, TracedStore] = {}
    found: dict[str, tuple[Mapping[str, Any], str | None]] = {}
    _walk_note(note, stores, found, files)
    runs = [_run(path, *entry) for path, entry in _all_runs(found).items()]
    for run in runs:
        _add_file(files, run.get("data"), run.get("data_sha256"))
    for file in list(files.values()):
        file["edits"] = _edits(file, folders)
    return {**note, "stores": list(stores.values()), "runs": runs, "files": list(files.values())}


def _walk_note(
    note: SubmissionNote, stores: dict[str, TracedStore], runs: dict[str, Any], files: dict[str, TracedFile]
) -> None:
    """Collect stores (by fingerprint), runs (path and hash of weights) and files of a note and its voters' notes."""
    _add_file(files, note.get("data"), note.get("data_sha256"))
    if note.get("store"):
        fingerprint = str(note.get("store_fingerprint"))
        stores[fingerprint] = _store(Path(note["store"]), fingerprint)
        _walk_manifest(note.get("store_manifest") or {}, stores, runs)
    _add_file(files, note.get("annotations"), note.get("annotations_sha256"))
    for one in note.get("voters") or ():
        if own := one.get("note"):
            _walk_note(own, stores, runs, files)


def _walk_manifest(manifest: Mapping[str, Any], stores: dict[str, TracedStore], runs: dict[str, Any]) -> None:
    for one in entries(manifest, "members"):
        fingerprint = str(one.get("fingerprint"))
        stores.setdefault(fingerprint, _store(Path(str(one.get("path"))), fingerprint))
    for source in entries(manifest, "sources"):
        _walk_manifest(source, stores, runs)
    for entry in entries(manifest, "runs"):
        digest = entry.get("checkpoint_sha256")
        if isinstance(entry.get("run"), str):
            runs[entry["run"]] = (entry, digest if isinstance(digest, str) else None)


def _store(path: Path, fingerprint: str) -> TracedStore:
    state = "gone"
    if is_store(path):
        try:
            state = "same" if open_store(path).fingerprint == fingerprint else "changed"
        except TrashkitError:  # it is damaged
            state = "changed"
    return {"path": str(path), "fingerprint": fingerprint, "state": state}


def _voter(one: Voter) -> Voter:
    path = Path(str(one["path"]))
    state = "gone"
    if path.exists():
        state = "same" if digest_of(path) == one.get("sha256") else "changed"
    return {**one, "state": state}


def _all_runs(found: Mapping[str, tuple[Any, str | None]]) -> dict[str, tuple[Mapping[str, Any], str | None]]:
    """These runs and, behind them, those that they continue or whose labels they were trained with; each once.

    The hash of a parent's weights is the one that its child recorded, or another child where that one did not.
    """
    every: dict[str, tuple[Mapping[str, Any], str | None]] = {}
    waiting = list(found.items())
    while waiting:
        path, entry = waiting.pop(0)
        if path in every:
            if every[path][1] is None:
                every[path] = (every[path][0], entry[1])
            continue
        every[path] = entry
        run = _intact(path)
        if run is not None:
            waiting += [(parent, ({}, weights)) for parent, weights in _parents(run).items()]
    return every


def _intact(path: str) -> Run | None:
    """The run at `path`; None where there is none or it is damaged."""
    try:
        return read_run(Path(path)) if is_run(Path(path)) else None
    except TrashkitError:
        return None


def _parents(run: Run) -> dict[str, str | None]:
    """Runs that a run continues or that taught it, with the hash that their weights had then, if recorded."""
    about = run.manifest.get("pseudo") or {}
    hashes = {**_of_round(about), **(about.get("checkpoints") or {})}
    found: dict[str, str | None] = {}
    weights = str(run.manifest.get("settings", {}).get("model", {}).get("weights", ""))
    start = about.get("start")
    digest = run.manifest.get("inputs", {}).get("weights_sha256")  # runs of earlier versions did not keep it
    for path in (weights if digest or is_run(Path(weights)) else None, start):
        if path:
            found[str(path)] = digest or hashes.get(str(path))
    for path in about.get("teachers", ()):
        found[str(path)] = hashes.get(str(path)) or found.get(str(path))
    return found


def _of_round(about: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the teachers' weights by path, from the record of the run's round."""
    try:
        record = decode_json(read_bytes(Path(str(about["folder"])) / "pseudo.json"))
        teachers = record["identity"]["teachers"]
        return {str(path): str(digest) for path, digest in teachers.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # the folder is missing, or is not a round


def _run(path: str, entry: Mapping[str, Any], weights: str | None) -> TracedRun:
    """What a run records, and whether its weights are those that were used."""
    run = _intact(path)
    if run is None:
        state = "changed" if is_run(Path(path)) else "gone"
        return cast(TracedRun, {"path": path, "state": state, "checkpoint_sha256": weights, **_known(entry)})
    manifest, inputs = run.manifest, run.manifest.get("inputs", {})
    now = sha256(run.checkpoint) if run.checkpoint.is_file() else None
    state = "unknown" if weights is None else "same" if now == weights else "changed"
    return {
        "path": path,
        "state": state,
        "checkpoint_sha256": weights or now,
        "command": manifest.get("command"),
        "recipe": manifest.get("recipe"),
        "fold": manifest.get("fold"),
        "seed": manifest.get("seed"),
        "miou": run.scores.get("miou"),
        "iou": run.scores.get("iou"),
        "data": inputs.get("data"),
        "data_sha256": inputs.get("data_sha256"),
        "images": inputs.get("images"),
        "training_images": inputs.get("training_images"),
        "validation_images": inputs.get("validation_images"),
        "starts_from": next((one for one in _parents(run)), None),
        "parents": list(_parents(run)),
        "pseudo": manifest.get("pseudo"),
        "settings": manifest.get("settings"),
        "versions": manifest.get("versions"),
        "git": manifest.get("git"),
    }


def _known(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ("run", "checkpoint_sha256")}


def _add_file(files: dict[str, TracedFile], path: Any, digest: Any) -> None:
    if path and str(path) not in files:
        place = Path(str(path))
        state = "gone"
        if place.is_file():
            state = "unknown" if not digest else "same" if sha256(place) == digest else "changed"
        files[str(path)] = {"path": str(path), "sha256": digest, "state": state}


def _edits(entry: TracedFile, folders: Iterable[Path]) -> list[EditStep]:
    """The edit logs that make this file from another one, the first applied first.

    Logs and files are searched in its folder and in `folders`. A log is listed only if applying it to its source gives
    exactly these bytes, so the result is certain.
    """
    wanted = entry["sha256"]
    places = dict.fromkeys([Path(entry["path"]).parent, *(Path(folder) for folder in folders)])
    logs = [path for place in places for path in sorted(place.glob("*.jsonl"))]
    by_hash: dict[str, Path] = {}
    for path in (path for place in places for path in sorted(place.glob("*.json"))):
        if logs and path.is_file() and path.stat().st_size <= LARGEST:
            by_hash.setdefault(sha256(path), path)
    chain: list[EditStep] = []
    while wanted and len(chain) < 20:
        step = next((one for log in logs if (one := _leads_to(log, wanted, by_hash))), None)
        if step is None:
            break
        chain.insert(0, step)
        wanted = step["source_sha256"]
    return chain


def _leads_to(log: Path, wanted: str, by_hash: Mapping[str, Path]) -> EditStep | None:
    """The step from a source of the log's edits to the file of hash `wanted`; None if it does not lead there."""
    try:
        every = read_log(log).edits
    except TrashkitError:
        return None
    # A log may join several logs, each with its own source.
    for source in dict.fromkeys(edit.source for edit in every):
        edits = [edit for edit in every if edit.source == source]
        if source not in by_hash or source == wanted:
            continue
        try:
            made = hashlib.sha256(b"".join(apply(read(by_hash[source]), edits).pieces())).hexdigest()
        except TrashkitError:
            continue
        if made == wanted:
            reasons = Counter(edit.reason for edit in edits if not edit.is_decision)
            return {
                "log": str(log),
                "source": str(by_hash[source]),
                "source_sha256": source,
                "edits": reasons.total(),
                "by_reason": dict(reasons.most_common()),
            }
    return None


def describe(origin: Trace, *, settings: bool = False) -> list[tuple[str, str]]:
    """Return the trace as lines (kind, text); runs as a tree, parents below their child. settings: also of each run."""
    rows: list[tuple[str, str]] = [("submission", f"sha256 {origin['sha256']}, trashkit {origin.get('trashkit')}")]
    rows += [
        ("voter", f"{one['path']} ({one['state']}), sha256 {one['sha256'][:12]}") for one in origin.get("voters") or ()
    ]
    rows += [("store", f"{one['path']} ({one['state']})") for one in origin["stores"]]
    manifest = origin.get("store_manifest") or {}
    if manifest.get("made_by") == "ensemble":
        rows.append(
            ("ensemble", ", ".join(f"{key} {manifest[key]}" for key in ("method", "weights") if key in manifest))
        )
    rows += _tree(origin["runs"], settings=settings)
    for file in origin["files"]:
        rows.append(("annotations", f"{file['path']} ({file['state']}), sha256 {str(file['sha256'])[:12]}"))
        for step in file["edits"]:
            rows.append(
                ("", f"= {step['source']} + {step['edits']} edits of {step['log']}{_reasons(step['by_reason'])}")
            )
    return rows


def _tree(runs: Iterable[TracedRun], *, settings: bool) -> list[tuple[str, str]]:
    """One line per run, indented below its first child; a run with several children is listed once."""
    by_path = {run["path"]: run for run in runs}
    below = {parent for run in by_path.values() for parent in run.get("parents") or () if parent != run["path"]}
    rows: list[tuple[str, str]] = []
    shown: set[str] = set()

    def show(path: str, depth: int) -> None:
        if path in shown:
            return
        shown.add(path)
        run, margin = by_path[path], "  " * depth
        rows.append(("run" if depth == 0 else "from", margin + _run_line(run)))
        if settings:
            for key in ("command", "settings"):
                if run.get(key):
                    text = run[key] if key == "command" else "settings " + json.dumps(run[key], ensure_ascii=False)
                    rows.append(("", f"{margin}  {text}"))
        for parent in run.get("parents") or ():
            if parent in by_path:
                show(parent, depth + 1)

    for path in [*(path for path in by_path if path not in below), *by_path]:
        show(path, 0)
    return rows


def _reasons(counts: Mapping[str, int]) -> str:
    named = list(counts.items())[:5]
    return f": {', '.join(f'{count} {reason}' for reason, count in named)}" if named else ""


def _run_line(run: TracedRun) -> str:
    parts = [f"{run['path']} ({run['state']})"]
    values: Mapping[str, Any] = run
    for key, name in (("recipe", "recipe"), ("fold", "fold"), ("seed", "seed"), ("training_images", "images")):
        if values.get(key) is not None:
            parts.append(f"{name} {values[key]}")
    pseudo = run.get("pseudo")
    if isinstance(pseudo, Mapping):
        parts.append(f"round {pseudo.get('round')}, stage {pseudo.get('stage')}")
    miou = run.get("miou")
    if isinstance(miou, int | float):
        iou = run.get("iou") or {}
        parts.append(f"validation mIoU {miou_text(miou, iou.values(), digits=4)}")
    return ", ".join(parts)
