"""Tables and notes of ``trashkit split``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trashkit.cli.output import console, note, short, stacked, table, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trashkit.split.make import SplitResult
    from trashkit.split.peers import PeerResult
    from trashkit.workflows.split import MadeSplit

OUTLIERS = 5
"""Photos of each set that the terminal lists; the split file holds 20."""


def show_notes(made: MadeSplit, seeds: int) -> None:
    """Print notes and warnings to stderr. seeds: how many each other splitter was to try."""
    from trashkit.split.peers import STOPPED

    if made.result.searches[-1].interrupted:
        note("stopped: the best split so far is kept")
    if any(peer.missing == STOPPED or (peer.quality and peer.seeds < seeds) for peer in made.peers):
        note("stopped: the comparison is incomplete; the split itself is complete")
    for line in made.split.quality["warnings"]:
        warn(line)
    if made.test is None:
        return
    test = made.test.result
    if not test.distinguishable:
        note(f"{test.summary} (AUC {test.auc:.3f} ± {test.auc_sd:.3f}): every training photo has weight 1")
    else:
        note(
            f"{test.summary}: AUC {test.auc:.3f} ± {test.auc_sd:.3f}; weighted by similarity to the test photos, "
            f"{len(test.weights)} training photos count as {test.effective:.0f}"
        )


def search_tables(made: SplitResult, peers: Sequence[PeerResult]) -> list[Any]:
    """Summary of the search, quality tables, and the comparison with other splitters."""
    quality, found = made.split.quality, made.searches
    sizes = ", ".join(str(fold["images"]) for fold in quality["folds"])
    groups = quality["groups"]
    tried, took = quality["swaps_tried"], sum(f.seconds for f in found)
    noise = [fold["expected_miou_sd"] for fold in quality["folds"] if fold["expected_miou_sd"] is not None]
    human: list[Any] = [
        f"{quality['images']} images in {groups['groups']} groups; validation sets of {sizes}",
        f"{_count(tried)} swaps tried in {took:.1f} s, from {sum(f.restarts for f in found)} starts; {found[-1].ended}",
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
    """A number, in millions from two million on."""
    return f"{number / 1e6:,.0f} million" if number >= 2_000_000 else f"{number:,}"


def _uncounted(quality: Any) -> str:
    """Names the classes that worst and mean leave out; empty if there are none."""
    left = [name for name, row in quality["per_class"].items() if not row.get("counted", True)]
    if not left:
        return ""
    names = ", ".join(left[:8]) + (f" and {len(left) - 8} more" if len(left) > 8 else "")
    return f"worst and mean of pixels, instances and images leave out classes in fewer than 5 images per fold: {names}"


HEADS: dict[str, tuple[str, ...]] = {
    "StratifiedGroupKFold": ("Stratified", "GroupKFold"),
    "MultilabelStratifiedKFold": ("Multilabel", "StratifiedKFold"),
}
"""Line breaks in long names, for a terminal of 80 columns."""


def _peer_table(quality: Any, peers: Sequence[PeerResult]) -> Any:
    """Quality of all splitters side by side."""
    repeats = len(quality.get("repeats") or [quality])
    ours: tuple[str, ...] = ("trashkit",) if repeats == 1 else ("trashkit,", "worst of", f"{repeats} repeats")
    columns: dict[tuple[str, ...], tuple[Any, int, float]] = {ours: (quality, 0, 0.0)}
    columns |= {HEADS.get(p.name, (p.name,)): (p.quality, p.seeds, p.seconds) for p in peers if p.quality}
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
    return table(
        ["", *(stacked(*lines) for lines in columns)], rows, title="compared with other splitters, best of their seeds"
    )


def outlier_table(quality: Any) -> list[Any]:
    """The photos least like the other set, if the split was made with test photos."""
    from trashkit.split.page import outlier_rows

    alike = quality.get("test_likeness")
    if not alike:
        return []
    columns = ["", "training photo least like test", "test photo least like training"]
    return [table(columns, outlier_rows(alike, OUTLIERS), title=f"least similar photos ({alike['words']})")]


def quality_tables(quality: Any) -> list[Any]:
    """Deviations of the folds from the data set, and tables of the classes in each fold, for each repeat."""
    from trashkit.split.page import CRITERIA_COLUMNS, class_rows, criteria_rows, instance_rows

    repeats = quality.get("repeats") or [quality]
    several = f", worst of {len(repeats)} repeats (mean: of all)" if len(repeats) > 1 else ""
    shown: list[Any] = [
        table(CRITERIA_COLUMNS, _percent(criteria_rows(quality)), title="deviation from the data set" + several)
    ]
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
    """Tables with a row for each class and as many folds as fit the terminal; the other folds follow below."""
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
