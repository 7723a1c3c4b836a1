"""From a submission back to all that it came from: stores, runs, settings, data and the edits that made the data."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trashkit.coco import read
from trashkit.coco.edit_log import read_log
from trashkit.coco.edits import apply
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.run import Run, read_run
from trashkit.run_folder import is_run
from trashkit.store import is_store, open_store
from trashkit.submit.notes import digest_of, find_note

LARGEST = 200_000_000
"""Bytes of an annotation file up to which edit logs are applied again to prove where it came from."""


def trace(what: str | Path, folders: Iterable[Path] = ()) -> dict[str, Any]:
    """What a submission was made from, as its note says (see `trashkit.submit.notes.find_note`), and all behind that.

    Beside the note's own entries: `runs`, every run whose weights or labels went in, with its settings, data, seed,
    versions and hash of weights; `files`, every annotation file with the edit logs that lead to it; `stores`; `voters`,
    submissions that this one was voted from. Each says in `state` whether it is still as it was: ``same``, ``changed``,
    ``gone`` or, where no hash was kept, ``unknown``. A run's `parents` are those it continues or was taught by.
    """
    note = find_note(what, folders)
    if note.get("voters"):
        note = {**note, "voters": [_voter(one) for one in note["voters"]]}
    files: dict[str, dict[str, Any]] = {}
    stores: dict[str, dict[str, Any]] = {}
    found: dict[str, tuple[Mapping[str, Any], str | None]] = {}
    _walk_note(note, stores, found, files)
    runs = [_run(path, *entry) for path, entry in _all_runs(found).items()]
    for run in runs:
        _add_file(files, run.get("data"), run.get("data_sha256"))
    for entry in list(files.values()):
        entry["edits"] = _edits(entry, folders)
    return {**note, "stores": list(stores.values()), "runs": runs, "files": list(files.values())}


def _walk_note(
    note: Mapping[str, Any], stores: dict[str, dict[str, Any]], runs: dict[str, Any], files: dict[str, dict[str, Any]]
) -> None:
    """Gather stores (by fingerprint), runs (path and hash of the weights) and files of a note and those it quotes."""
    _add_file(files, note.get("data"), note.get("data_sha256"))
    if note.get("store"):
        fingerprint = str(note.get("store_fingerprint"))
        stores[fingerprint] = _store(Path(note["store"]), fingerprint)
        _walk_manifest(note.get("store_manifest") or {}, stores, runs)
    _add_file(files, note.get("annotations"), note.get("annotations_sha256"))
    for one in note.get("voters") or ():
        if one.get("note"):
            _walk_note(one["note"], stores, runs, files)


def _walk_manifest(manifest: Mapping[str, Any], stores: dict[str, dict[str, Any]], runs: dict[str, Any]) -> None:
    for one in manifest.get("members") or ():
        fingerprint = str(one.get("fingerprint"))
        stores.setdefault(fingerprint, _store(Path(one["path"]), fingerprint))
    for source in manifest.get("sources") or ():
        _walk_manifest(source, stores, runs)
    for entry in manifest.get("runs") or ():
        if isinstance(entry, Mapping) and entry.get("run"):
            runs[str(entry["run"])] = (entry, entry.get("checkpoint_sha256"))


def _store(path: Path, fingerprint: str) -> dict[str, Any]:
    state = "gone"
    if is_store(path):
        state = "same" if open_store(path).fingerprint == fingerprint else "changed"
    return {"path": str(path), "fingerprint": fingerprint, "state": state}


def _voter(one: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(str(one["path"]))
    state = "gone"
    if path.exists():
        state = "same" if digest_of(path) == one.get("sha256") else "changed"
    return {**one, "state": state}


def _all_runs(found: Mapping[str, tuple[Any, str | None]]) -> dict[str, tuple[Mapping[str, Any], str | None]]:
    """These runs and, behind them, those that they continue or whose labels they learned; each once.

    The hash of a parent's weights is what its child wrote down of it, or another child where that one did not.
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
        if is_run(Path(path)):
            waiting += [(parent, ({}, weights)) for parent, weights in _parents(read_run(Path(path))).items()]
    return every


def _parents(run: Run) -> dict[str, str | None]:
    """Runs that a run continues or was taught by, with the hash that their weights had then, where it was kept."""
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
    """Hashes of the teachers' weights by path, from the record of the round that a run belongs to."""
    try:
        record = json.loads((Path(str(about["folder"])) / "pseudo.json").read_bytes())
        teachers = record["identity"]["teachers"]
        return {str(path): str(digest) for path, digest in teachers.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # the folder went, or was never a round: then nothing is known


def _run(path: str, entry: Mapping[str, Any], weights: str | None) -> dict[str, Any]:
    """What a run says of itself, and whether its weights are those that were used."""
    if not is_run(Path(path)):
        return {"path": path, "state": "gone", "checkpoint_sha256": weights, **_known(entry)}
    run = read_run(Path(path))
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


def _add_file(files: dict[str, dict[str, Any]], path: Any, digest: Any) -> None:
    if path and str(path) not in files:
        place = Path(str(path))
        state = "gone"
        if place.is_file():
            state = "unknown" if not digest else "same" if sha256(place) == digest else "changed"
        files[str(path)] = {"path": str(path), "sha256": digest, "state": state}


def _edits(entry: Mapping[str, Any], folders: Iterable[Path]) -> list[dict[str, Any]]:
    """The edit logs that make this very file from another one, the first applied first.

    Logs and files are looked for in its folder and in `folders`. A log is only named where applying it to the file that
    its edits name gives these very bytes again, so that this is proof and no guess.
    """
    wanted = entry["sha256"]
    places = dict.fromkeys([Path(entry["path"]).parent, *(Path(folder) for folder in folders)])
    logs = [path for place in places for path in sorted(place.glob("*.jsonl"))]
    by_hash: dict[str, Path] = {}
    for path in (path for place in places for path in sorted(place.glob("*.json"))):
        if logs and path.stat().st_size <= LARGEST:
            by_hash.setdefault(sha256(path), path)
    chain: list[dict[str, Any]] = []
    while wanted and len(chain) < 20:
        step = next((one for log in logs if (one := _leads_to(log, wanted, by_hash))), None)
        if step is None:
            break
        chain.insert(0, step)
        wanted = step["source_sha256"]
    return chain


def _leads_to(log: Path, wanted: str, by_hash: Mapping[str, Path]) -> dict[str, Any] | None:
    """The step from a source of the log's edits to the file of hash `wanted`; None where none leads there."""
    try:
        every = read_log(log).edits
    except TrashkitError:
        return None
    # A log may be two logs joined, each counting rows in its own source.
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


def describe(origin: Mapping[str, Any], *, settings: bool = False) -> list[tuple[str, str]]:
    """The trace in lines for people: (what, said); runs as a tree, parents below their child. settings: of each too."""
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


def _tree(runs: Iterable[Mapping[str, Any]], *, settings: bool) -> list[tuple[str, str]]:
    """One line per run, below its first child and moved in; a run that several others need is named once."""
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
                    told = run[key] if key == "command" else "settings " + json.dumps(run[key], ensure_ascii=False)
                    rows.append(("", f"{margin}  {told}"))
        for parent in run.get("parents") or ():
            if parent in by_path:
                show(parent, depth + 1)

    for path in [*(path for path in by_path if path not in below), *by_path]:
        show(path, 0)
    return rows


def _reasons(counts: Mapping[str, int]) -> str:
    named = list(counts.items())[:5]
    return f": {', '.join(f'{count} {reason}' for reason, count in named)}" if named else ""


def _run_line(run: Mapping[str, Any]) -> str:
    parts = [f"{run['path']} ({run['state']})"]
    for key, name in (("recipe", "recipe"), ("fold", "fold"), ("seed", "seed"), ("training_images", "images")):
        if run.get(key) is not None:
            parts.append(f"{name} {run[key]}")
    if run.get("pseudo"):
        parts.append(f"round {run['pseudo']['round']}, stage {run['pseudo']['stage']}")
    if run.get("miou") is not None:
        parts.append(f"validation mIoU {run['miou']:.4f}")
    return ", ".join(parts)
