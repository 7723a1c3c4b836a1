"""What ``trashkit split`` tells: its tables, notes and the parts of its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trashkit.cli.output import console, note, short, table, warn

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.split.likeness import Likeness
    from trashkit.split.make import Made
    from trashkit.split.peers import Peer


FOREIGN = 5
"""Photos of each side that are listed in the terminal; the split file holds 20."""


def tell(made: Made, peers: list[Peer], seeds: int, alike: Likeness | None) -> None:
    """Notes and warnings, on stderr."""
    from trashkit.split.peers import STOPPED

    if made.found[-1].interrupted:
        note("stopped: the best split so far is kept")
    if any(peer.missing == STOPPED or (peer.quality and peer.seeds < seeds) for peer in peers):
        note("stopped: the comparison holds what was tried until then; the split itself is complete")
    for line in made.split.quality["warnings"]:
        warn(line)
    if alike is not None and not alike.told:
        note(f"{alike.words} (AUC {alike.auc:.3f} ± {alike.auc_sd:.3f}): every training photo weighs 1")
    elif alike is not None:
        note(
            f"{alike.words}: AUC {alike.auc:.3f} ± {alike.auc_sd:.3f}; weighted by likeness, {len(alike.weights)} "
            f"training photos count as {alike.effective:.0f}"
        )


def search_tables(made: Made, peers: list[Peer]) -> list[Any]:
    quality, found = made.split.quality, made.found
    sizes = ", ".join(str(fold["images"]) for fold in quality["folds"])
    groups = quality["groups"]
    tried, took = quality["swaps_tried"], sum(f.seconds for f in found)
    noise = [fold["expected_miou_sd"] for fold in quality["folds"] if fold["expected_miou_sd"] is not None]
    human: list[Any] = [
        f"{quality['images']} images in {groups['groups']} groups; validation sets of {sizes}",
        f"{_count(tried)} swaps tried in {took:.1f} s, from {sum(f.rounds for f in found)} starts; {found[-1].ended}",
        *quality_tables(quality),
        *quality.get("explained", []),
    ]
    if noise:
        human.append(
            f"a fold's mIoU has an expected standard deviation of {min(noise):.3f}"
            f"{f' to {max(noise):.3f}' if len(noise) > 1 else ''} "
            f"({quality['expected_sd_assumes']})"
        )
    if any(peer.quality for peer in peers):
        human.append(_peer_table(quality, peers))
    human += [f"{peer.name}: {peer.missing}" for peer in peers if peer.missing]
    return human


def _count(number: int) -> str:
    """In millions from two million on: fewer are written out."""
    return f"{number / 1e6:,.0f} million" if number >= 2_000_000 else f"{number:,}"


def _uncounted(quality: Any) -> str:
    """Which classes the worst and mean leave out; empty where they leave out none."""
    left = [name for name, row in quality["per_class"].items() if not row.get("counted", True)]
    if not left:
        return ""
    names = ", ".join(left[:8]) + (f" and {len(left) - 8} more" if len(left) > 8 else "")
    return f"worst and mean of pixels, instances and images leave out classes in fewer than 5 images per fold: {names}"


HEADS = {"StratifiedGroupKFold": "Stratified\nGroupKFold", "MultilabelStratifiedKFold": "Multilabel\nStratifiedKFold"}
"""Names broken where they may be, for a terminal of 80 columns."""


def _peer_table(quality: Any, peers: list[Peer]) -> Any:
    """Splitters side by side; a line for each that could not be tried."""
    repeats = len(quality.get("repeats") or [quality])
    ours = "trashkit" if repeats == 1 else f"trashkit,\nworst of\n{repeats} repeats"
    columns = {ours: (quality, 0, 0.0)}
    columns |= {HEADS.get(p.name, p.name): (p.quality, p.seeds, p.seconds) for p in peers if p.quality}
    rows: list[list[object]] = [["groups broken", *(f"{one['groups']['broken']:8}" for one, _, _ in columns.values())]]
    for key, words in (
        ("images", "size"),
        ("pixel_share", "pixels"),
        ("instances", "instances"),
        ("support", "images"),
    ):
        for what in ("worst", "mean") if key != "images" else ("worst",):
            cells = [one["criteria"][key][what] for one, _, _ in columns.values()]
            rows.append([f"{words}, {what} %", *("–" if v is None else f"{100 * v:8.2f}" for v in cells)])
    for words, choose in (("least", min), ("most", max)):
        noise = [[f["expected_miou_sd"] for f in one["folds"]] for one, _, _ in columns.values()]
        known = [[v for v in fold if v is not None] for fold in noise]
        rows.append([f"fold's mIoU, {words} sd", *(f"{choose(v):8.3f}" if v else "–" for v in known)])
    rows.append(["best of seeds", "", *(f"{seeds:8}" for _, seeds, _ in list(columns.values())[1:])])
    rows.append(["seconds", "", *(f"{seconds:8.1f}" for _, _, seconds in list(columns.values())[1:])])
    return table(["", *columns], rows, title="beside other splitters, best of their seeds")


def peer_report(peer: Peer) -> dict[str, Any]:
    if peer.quality is None:
        return {"missing": peer.missing}
    kept = {key: peer.quality[key] for key in ("criteria", "folds", "groups")}
    return {"seeds": peer.seeds, **kept}


def likeness_report(alike: Likeness, dataset: Dataset, test: Dataset, told_by: str) -> dict[str, Any]:
    """What SPLIT.json holds of it: weights by image id, and the photos most foreign to the other side, worst first."""
    return {
        "told_by": told_by,
        "auc": alike.auc,
        "auc_sd": alike.auc_sd,
        "words": alike.words,
        "effective_images": alike.effective,
        "weights": [[image.id, round(float(w), 4)] for image, w in zip(dataset.images, alike.weights, strict=True)],
        "most_foreign_train": [dataset.images[n].file_name for n in alike.train.argsort(kind="stable")[:20]],
        "most_foreign_test": [test.images[n].file_name for n in (-alike.test).argsort(kind="stable")[:20]],
    }


def foreign_table(quality: Any) -> list[Any]:
    """The photos most foreign to the other side, where the split was made with test photos."""
    from trashkit.split.page import foreign_rows

    alike = quality.get("test_likeness")
    if not alike:
        return []
    columns = ["", "training photo least like test", "test photo least like training"]
    return [table(columns, foreign_rows(alike, FOREIGN), title=f"most foreign photos ({alike['words']})")]


def quality_tables(quality: Any) -> list[Any]:
    """How far the folds are from the whole, and what each holds: tables of classes for each repeat."""
    from trashkit.split.page import CRITERIA_COLUMNS, class_rows, criteria_rows, instance_rows

    repeats = quality.get("repeats") or [quality]
    several = f", worst of {len(repeats)} repeats (mean: of all)" if len(repeats) > 1 else ""
    shown: list[Any] = [table(CRITERIA_COLUMNS, _percent(criteria_rows(quality)), title="off the whole by" + several)]
    if line := _uncounted(quality):
        shown.append(line)
    first = 0
    for number, one in enumerate(repeats):
        folds = [f"fold {first + k}" for k in range(len(one["folds"]))]
        before = f"repeat {number}: " if several else ""
        title = before + "images of each class (its pixels, % off their share)"
        shown += _fold_tables(["class", "images"], folds, class_rows(one), title)
        if rows := instance_rows(one):
            title = before + "instances of each class (% off their share)"
            shown += _fold_tables(["class", "all"], folds, rows, title)
        first += len(folds)
    return shown


def _fold_tables(heads: list[str], folds: list[str], rows: list[list[object]], title: str) -> list[Any]:
    """Tables of a class and its total with as many folds beside them as the terminal is wide, the rest below."""
    from rich.cells import cell_len

    gap = 2
    rows = [[short(str(row[0])), *row[1:]] for row in rows]
    columns = [max(map(cell_len, map(str, cells))) + gap for cells in zip([*heads, *folds], *rows, strict=True)]
    first = columns[0] + columns[1]
    fits = max(1, (console().width - first) // max(columns[2:], default=1))
    shown: list[Any] = []
    for start in range(0, len(folds), fits):
        cells = [[*row[:2], *row[2 + start : 2 + start + fits]] for row in rows]
        shown.append(table([*heads, *folds[start : start + fits]], cells, title=title if not start else "", tight=True))
    return shown


def _percent(rows: list[list[object]]) -> list[list[object]]:
    return [[f"{cell:8.2f}" if isinstance(cell, float) else cell for cell in row] for row in rows]
