"""The split that ``trashkit leaderboard`` weighs images by: given or recorded, and of the right data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.cli.output import note

if TYPE_CHECKING:
    from trashkit.leaderboard.ledger import Ledger
    from trashkit.split.files import Split


def likeness_weights(split: Split) -> dict[Any, float]:
    """Test-likeness of the images by id; empty where the split has none, or none that means anything."""
    from trashkit.split.likeness import told_apart

    alike = split.quality.get("test_likeness") or {}
    if "auc" in alike and not told_apart(float(alike["auc"]), float(alike.get("auc_sd") or 0)):
        note(f"train and test photos cannot be told apart (AUC {alike['auc']:.3f}): images weigh the same")
        return {}
    return {image_id: float(weight) for image_id, weight in alike.get("weights", [])}


def given_split(ledger: Ledger, path: Path) -> Split:
    """The split of --split; TrashkitError where it is of other images than the submissions were validated on."""
    from trashkit.errors import TrashkitError
    from trashkit.files import sha256
    from trashkit.leaderboard.standing import standing
    from trashkit.split.files import load_split

    loaded, held = load_split(path), standing(ledger)
    truths = {str(entry.validation.get("truth")): entry.validation.get("truth_sha256") for entry in held.entries}
    hint = f"give the split of {', '.join(truths)}, or leave --split out"
    known = {image_id for fold in loaded.folds for image_id in (*fold.train, *fold.val)}
    absent = [image_id for image_id in held.image_ids if image_id not in known]
    if absent:
        raise TrashkitError(
            f"{path} is of another data set: it lacks {len(absent)} of the {len(held.image_ids)} validated images, "
            f"such as image id {absent[0]}",
            hint=hint,
        )
    made_of = loaded.source.get("sha256")
    recorded = any(entry.split.get("sha256") == sha256(path) for entry in held.entries)
    if made_of and all(truths.values()) and made_of not in truths.values() and not recorded:
        raise TrashkitError(
            f"{path} was made from {loaded.source.get('path')}, which is not the file that the submissions were "
            f"validated on ({', '.join(truths)})",
            hint=hint,
        )
    if not loaded.quality.get("test_likeness"):
        note(f"{path} holds no test-likeness (trashkit split --test): images weigh the same")
    return loaded


def recorded_split(ledger: Ledger) -> Split | None:
    """The latest split that add --split recorded, where it is unchanged and has a test-likeness."""
    from trashkit.errors import TrashkitError
    from trashkit.files import sha256
    from trashkit.split.files import load_split

    for entry in reversed(ledger.entries):
        path = Path(str(entry.split.get("path", "")))
        if not path.is_file() or sha256(path) != entry.split.get("sha256"):
            continue
        try:
            loaded = load_split(path)
            if loaded.quality.get("test_likeness"):
                loaded = given_split(ledger, path)
                note(f"images are weighed by the test-likeness in {path}, the split recorded with {entry.name}")
                return loaded
        except TrashkitError as error:
            note(f"the split recorded with {entry.name} is not used: {error.message}")
    return None
