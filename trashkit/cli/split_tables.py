"""What ``trashkit split`` tells: its tables, notes and the parts of its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.cli.output import note, table, warn

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.split.likeness import Likeness
    from trashkit.split.make import Made
    from trashkit.split.peers import Peer


def tell(
    made: Made, peers: list[Peer], seeds: int, alike: Likeness | None, dataset: Dataset, test: Path | None
) -> None:
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
        foreign = [dataset.images[n].file_name for n in alike.train.argsort(kind="stable")[:3]]
        note(f"least like {test}: {', '.join(foreign)}")


def search_tables(made: Made, peers: list[Peer]) -> list[Any]:
    quality, found = made.split.quality, made.found
    sizes = ", ".join(str(fold["images"]) for fold in quality["folds"])
    groups = quality["groups"]
    tried, took = quality["swaps_tried"], sum(f.seconds for f in found)
    trials = made.split.source["settings"]["trials"] * len(found)
    # Small folds have fewer swaps to look at than a look is counted for, so fewer can be tried than were granted.
    of = f" (of {trials / 1e6:g} million trials granted)" if tried < trials < 10**14 else ""
    noise = [fold["expected_miou_sd"] for fold in quality["folds"] if fold["expected_miou_sd"] is not None]
    human: list[Any] = [
        f"{quality['images']} images in {groups['groups']} groups; validation sets of {sizes}",
        f"{tried / 1e6:.0f} million swaps tried{of} in {took:.1f} s, "
        f"{tried / max(took, 1e-9) / 1e6:.0f} million a second",
        *quality_tables(quality),
    ]
    if noise:
        human.append(
            f"a fold's mIoU has an expected standard deviation of {min(noise):.3f} to {max(noise):.3f} "
            f"({quality['expected_sd_assumes']})"
        )
    if peers:
        human.append(_peer_table(quality, peers))
    return human


def _peer_table(quality: Any, peers: list[Peer]) -> Any:
    rows: list[list[object]] = []
    repeats = len(quality.get("repeats") or [quality])
    name = "trashkit" if repeats == 1 else f"trashkit, worst of {repeats} repeats"
    ours = {name: quality} | {peer.name: peer.quality or {"missing": peer.missing} for peer in peers}
    for name, one in ours.items():
        if "missing" in one:
            rows.append([name, one["missing"], *[None] * 7])
            continue
        spread = [
            None if one["criteria"][key][what] is None else 100 * one["criteria"][key][what]
            for key in ("pixel_share", "instances", "support")
            for what in ("worst", "mean")
        ]
        sizes = one["criteria"]["images"]["worst"]
        rows.append([name, one["groups"]["broken"], None if sizes is None else 100 * sizes, *spread])
    columns = ["splitter", "groups broken", "size %", "pixels worst %", "mean %", "instances worst %", "mean %"]
    return table([*columns, "images worst %", "mean %"], rows, title="beside other splitters, best of their seeds")


def peer_report(peer: Peer) -> dict[str, Any]:
    if peer.quality is None:
        return {"missing": peer.missing}
    kept = {key: peer.quality[key] for key in ("criteria", "folds", "groups")}
    return {"seeds": peer.seeds, **kept}


def likeness_report(alike: Likeness, dataset: Dataset) -> dict[str, Any]:
    return {
        "auc": alike.auc,
        "auc_sd": alike.auc_sd,
        "words": alike.words,
        "effective_images": alike.effective,
        "weights": [[image.id, round(float(w), 4)] for image, w in zip(dataset.images, alike.weights, strict=True)],
        "most_foreign_train": [dataset.images[n].file_name for n in alike.train.argsort(kind="stable")[:20]],
        "most_foreign_test": [int(n) for n in (-alike.test).argsort(kind="stable")[:20]],
    }


def quality_tables(quality: Any) -> list[Any]:
    """How far the folds are from the whole, and what each holds: a table of classes for each repeat."""
    from trashkit.split.page import class_rows, criteria_rows

    repeats = quality.get("repeats") or [quality]
    several = f", worst of {len(repeats)} repeats (mean: of all)" if len(repeats) > 1 else ""
    shown = [
        table(["criterion", "worst %", "mean %", "floor %"], criteria_rows(quality), title="off the whole by" + several)
    ]
    first = 0
    for number, one in enumerate(repeats):
        folds = [f"fold {first + k}" for k in range(len(one["folds"]))]
        title = "images of each class (its pixels, off their share)"
        title = f"repeat {number}: {title}" if several else title
        shown.append(table(["class", "images", *folds], class_rows(one), title=title))
        first += len(folds)
    return shown
