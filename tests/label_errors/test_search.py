"""Label errors from predictions: planted errors are found, correct labels are not flagged, proposals fix them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trashkit.audit import audit
from trashkit.audit.fixes.fix_file import fix
from trashkit.audit.output.page import audit_page
from trashkit.audit.output.page_drawings import GREEN, RowLookup, draw_finding
from trashkit.audit.views.label_error_hits import _DESCRIBE, split_hits
from trashkit.coco import Coco
from trashkit.errors import TrashkitError
from trashkit.label_errors.error_injection import inject_errors
from trashkit.label_errors.image_view import ImageView
from trashkit.label_errors.leakage import trained_image_ids
from trashkit.label_errors.search import KINDS, LabelErrors, find_label_errors
from trashkit.predictions.store import Probabilities, create_store, open_store
from trashkit.raster.masks import label_map

SIDE, CLASSES = 96, ("Background", "Bottle", "Can", "Bag")
IMAGES = 60


def ring(x: float, y: float, rx: float, ry: float, corners: int = 24) -> list[float]:
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.round(np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1).ravel(), 1).tolist()


def truth(seed: int = 0) -> dict[str, Any]:
    """Images of four ellipses each, one in every quarter."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for n in range(IMAGES):
        images.append({"id": 100 + n, "file_name": f"{n}.jpg", "width": SIDE, "height": SIDE})
        for quarter in range(4):
            if rng.random() < 0.2:
                continue
            x, y = 24 + 48 * (quarter % 2) + rng.uniform(-4, 4), 24 + 48 * (quarter // 2) + rng.uniform(-4, 4)
            shape = ring(x, y, *rng.uniform(9, 17, 2))
            record = {"id": len(annotations) + 1, "image_id": 100 + n, "category_id": int(rng.integers(1, 4))}
            annotations.append({**record, "segmentation": [shape], "area": 300.0, "bbox": [], "iscrowd": 0})
    categories = [{"id": n, "name": name} for n, name in enumerate(CLASSES) if n]
    return {"images": images, "annotations": annotations, "categories": categories}


def predict(
    right: dict[str, Any], path: Path, *, manifest: dict[str, Any], seed: int = 1, blind: tuple[int, ...] = ()
) -> Probabilities:
    """Predictions of a decent model for correct annotations: blurred, uncertain, sometimes off.

    blind: classes that it never predicts; it predicts classes 1 and 2 at random for them.
    """
    rng = np.random.default_rng(seed)
    with create_store(
        path,
        image_ids=[image["id"] for image in right["images"]],
        file_names=[image["file_name"] for image in right["images"]],
        native_sizes=[(SIDE, SIDE)] * len(right["images"]),
        classes=CLASSES,
        size=(SIDE, SIDE),
        manifest=manifest,
    ) as writer:
        for n, image in enumerate(right["images"]):
            mine = [a for a in right["annotations"] if a["image_id"] == image["id"]]
            shown = [
                int(rng.choice([c for c in (1, 2, 3) if c not in blind]))
                if a["category_id"] in blind
                else a["category_id"]
                for a in mine
            ]
            labels = label_map([a["segmentation"] for a in mine], shown, SIDE, SIDE)
            planes = np.stack([(labels == c).astype(np.float32) for c in range(4)])
            noise = rng.normal(0, 1.2, (4, 8, 8)).astype(np.float32)
            logits = np.stack([
                cv2.GaussianBlur(plane, (9, 9), 0) * 5 + cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
                for plane, field in zip(planes, noise, strict=True)
            ])  # fmt: skip
            values = np.exp(logits - logits.max(axis=0))
            writer.write(n, values / values.sum(axis=0))
    return open_store(path)


def moved(segmentation: list[list[float]], by: float) -> list[list[float]]:
    return [[value + by * (n % 2 == 0) for n, value in enumerate(one)] for one in segmentation]


def empty_quarters(right: dict[str, Any], but: set[int]) -> list[tuple[int, tuple[int, int]]]:
    """Images and the middle of a quarter that holds nothing."""
    found = []
    for image in right["images"]:
        visible_boxes = [
            np.reshape(a["segmentation"][0], (-1, 2)) for a in right["annotations"] if a["image_id"] == image["id"]
        ]
        taken = {tuple((points.mean(axis=0) > 48).tolist()) for points in visible_boxes}
        free = [(x, y) for x in (24, 72) for y in (24, 72) if (x > 48, y > 48) not in taken]
        if free and image["id"] not in but:
            found.append((image["id"], free[0]))
    return found


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Coco, Probabilities, dict[str, list[int]]]:
    """A file with five errors of each kind, predictions for what is right, and the rows (images for "drop")."""
    right = truth()
    store = predict(right, tmp_path_factory.mktemp("store") / "oof", manifest={"kind": "out-of-fold"})
    wrong = json.loads(json.dumps(right))
    annotations = wrong["annotations"]
    rng = np.random.default_rng(7)
    order = rng.permutation(len(annotations)).tolist()
    rows = {"swap": order[:5], "shift": order[5:10], "coarse": order[10:15]}
    for row in rows["swap"]:
        annotations[row]["category_id"] = annotations[row]["category_id"] % 3 + 1
    for row in rows["shift"]:
        annotations[row]["segmentation"] = moved(annotations[row]["segmentation"], 9)
    for row in rows["coarse"]:
        points = np.reshape(annotations[row]["segmentation"][0], (-1, 2))
        annotations[row]["segmentation"] = [points[::8].ravel().tolist()]
    used = {annotations[row]["image_id"] for some in rows.values() for row in some}
    free = [n for n, a in enumerate(annotations) if a["image_id"] not in used]
    drop = {annotations[row]["image_id"]: row for row in free}
    gone = dict(list(drop.items())[:5])
    kept = [a for n, a in enumerate(annotations) if n not in gone.values()]
    rows = {kind: [kept.index(annotations[row]) for row in some] for kind, some in rows.items()}
    spurious = []
    for image, (x, y) in empty_quarters(right, used | set(gone))[:6]:
        spurious.append(len(kept))
        shape = {"segmentation": [ring(x, y, 12, 10)], "area": 370.0, "bbox": [], "iscrowd": 0}
        kept.append({"id": 1000 + image, "image_id": image, "category_id": 2, **shape})
    wrong["annotations"] = kept
    return Coco.of(wrong), store, {**rows, "spurious": spurious, "drop": [image - 100 for image in gone]}


@pytest.fixture(scope="module")
def found(planted: tuple[Coco, Probabilities, dict[str, list[int]]]) -> LabelErrors:
    return find_label_errors(planted[0], [planted[1]])


@pytest.mark.parametrize(
    ("kind", "name"), [("swap", "wrong-class"), ("shift", "shifted-outline"), ("spurious", "no-object")]
)
def test_planted_errors_rank_first(planted: Any, found: LabelErrors, kind: str, name: str) -> None:
    score = found.probability[:, KINDS.index(name)]
    first = found.rows[np.argsort(-score)][:8].tolist()
    assert len(set(planted[2][kind]) & set(first)) >= 4, f"{kind}: {sorted(planted[2][kind])}, ranked {first}"


def test_missing_objects_rank_first(planted: Any, found: LabelErrors) -> None:
    ranked = sorted(found.missing, key=lambda one: -one.probability)
    first = [found.predictions.images[one.image_index].image.row for one in ranked[:6]]
    assert len(set(planted[2]["drop"]) & set(first)) >= 4


def test_probabilities_are_about_right(planted: Any, found: LabelErrors) -> None:
    """As many errors are expected as were planted, within a factor of two; each row's kinds exclude each other."""
    wrong = {row for kind in ("swap", "shift", "coarse", "spurious") for row in planted[2][kind]}
    assert len(wrong) / 2 <= found.probability.sum() <= 2 * len(wrong)
    assert (found.probability >= 0).all() and (found.probability.sum(axis=1) <= 1).all()


def test_the_same_input_gives_the_same_result(planted: Any, found: LabelErrors) -> None:
    again = find_label_errors(planted[0], [planted[1]])
    np.testing.assert_array_equal(again.probability, found.probability)
    assert [one.probability for one in again.missing] == [one.probability for one in found.missing]


def test_correct_labels_are_not_flagged(planted: Any) -> None:
    clean = find_label_errors(Coco.of(truth()), [planted[1]])
    assert (clean.probability > 0.5).sum() <= 2
    assert sum(one.probability > 0.5 for one in clean.missing) <= 1


@pytest.mark.slow
def test_fixing_corrects_planted_errors(planted: Any) -> None:
    coco, store, rows = planted
    right = {record["id"]: record for record in truth()["annotations"]}
    result = fix(coco, select=["P"], unsafe=True, predictions=[store.path])
    relabelled = [edit for edit in result.edits if edit.kind == "relabel"]
    good = [edit for edit in relabelled if edit.after["category_id"] == right[edit.id]["category_id"]]
    assert len(good) >= 4
    deleted = {edit.row for edit in result.edits if edit.kind == "delete"}
    assert len(deleted & set(rows["spurious"])) >= 2
    added = [edit.after for edit in result.edits if edit.kind == "add"]
    assert {record["image_id"] - 100 for record in added} & set(rows["drop"])
    ids = [record["id"] for record in result.coco.records("annotations")]
    assert len(ids) == len(set(ids))
    assert fix(coco, select=["P"], predictions=[store.path]).edits == [], "none of it is safe"


def test_findings_carry_their_proposal(planted: Any) -> None:
    findings = audit(planted[0], predictions=[planted[1].path], select=["P"]).findings
    by_code = {code: [f for f in findings if f.code == code] for code in ("P001", "P002", "P003")}
    assert all("category_id" in f.proposal["set"] for f in by_code["P001"])
    assert all(f.block == "images" and f.proposal["add"][0]["image_id"] == f.image_id for f in by_code["P002"])
    assert all(f.proposal == {"delete": True} for f in by_code["P003"])
    scores = [f.score for f in by_code["P001"]]
    assert scores == sorted(scores, reverse=True) and all(0.3 <= score <= 1 for score in scores)
    json.dumps([f.proposal for f in findings])
    assert not [f for f in findings if f.code == "P009"], "out-of-fold predictions are what they should be"


@pytest.mark.slow
def test_damaged_rows_are_skipped(planted: Any) -> None:
    coco, store, _ = planted
    damaged = coco.replace("annotations", append=[
        {"id": 9001, "image_id": 100, "category_id": 1, "segmentation": [[1, 2]]}, "text",
        {"id": 9002, "image_id": None, "category_id": 1, "segmentation": []},
    ])  # fmt: skip
    result = find_label_errors(damaged, [store])
    assert result.predictions.undrawable == 3 and len(result.rows) == coco.count("annotations")


def test_other_files_are_refused(planted: Any, tmp_path: Path) -> None:
    coco, store, _ = planted
    renamed = coco.replace("images", {0: {**coco.record("images", 0), "file_name": "other.jpg"}})
    with pytest.raises(TrashkitError, match=r"other\.jpg"):
        find_label_errors(renamed, [store])
    with pytest.raises(TrashkitError, match="both predict"):
        find_label_errors(coco, [store, store])
    foreign = Coco.of({**truth(), "images": [{"id": 1, "file_name": "x.jpg", "width": 9, "height": 9}]})
    with pytest.raises(TrashkitError, match="no image"):
        find_label_errors(foreign, [store])


@pytest.mark.slow
def test_predictions_of_training_images_are_reported(planted: Any, tmp_path: Path) -> None:
    coco, _, _ = planted
    run = tmp_path / "run"
    run.mkdir()
    identity = {"data": "abc", "training images": [100, 101, 102]}
    (run / "manifest.json").write_text(json.dumps({"format": "trashkit run", "version": 1, "identity": identity}))
    manifest = {"runs": [{"run": str(run)}], "data_sha256": "abc"}
    seen = predict(truth(), tmp_path / "seen", manifest=manifest)
    assert trained_image_ids(seen) == {100, 101, 102}
    finding = next(f for f in audit(coco, predictions=[seen.path], select=["P009"]).findings)
    assert "3 of 60" in finding.message
    unknown = predict(truth(), tmp_path / "unknown", manifest={"runs": [{"run": "gone"}], "data_sha256": "abc"})
    assert trained_image_ids(unknown) is None
    inject_errors = predict(truth(), tmp_path / "mixed", manifest={"sources": [{"kind": "out-of-fold"}, manifest]})
    assert trained_image_ids(inject_errors) == {100, 101, 102}


def test_mixed_errors_change_only_the_named_annotations() -> None:
    """Other annotations are unchanged, except for pixels that are now covered."""
    right = truth(4)
    planted = set()
    for n in range(30):
        mine = [a for a in right["annotations"] if a["image_id"] == 100 + n]
        labels = label_map([a["segmentation"] for a in mine], list(range(1, len(mine) + 1)), SIDE, SIDE)
        instance_map = labels.astype(np.int32) - 1
        classes = np.array([a["category_id"] for a in mine])
        values = np.full((4, SIDE, SIDE), 0.25, np.float32)
        view = ImageView.build(values, instance_map, classes, np.zeros(len(mine)))
        wrong, by_kind = inject_errors(np.random.default_rng(n), view, np.array([1, 2, 3]))
        named = [k for chosen in by_kind.values() for k in chosen]
        assert len(named) == len(set(named))
        planted |= {kind for kind, chosen in by_kind.items() if chosen}
        for k in set(range(len(mine))) - set(named):
            assert ((wrong.instance_map == k) <= (instance_map == k)).all() and wrong.classes[k] == classes[k]
        for k in by_kind["wrong-class"]:
            assert wrong.classes[k] != classes[k]
        for k in by_kind["no-object"]:
            assert not ((wrong.instance_map == k) & (instance_map >= 0)).any()
    assert planted == set(KINDS)


def with_blind_model(path: Path, blind: tuple[int, ...]) -> Probabilities:
    return predict(truth(), path, manifest={"kind": "out-of-fold"}, blind=blind)


def test_labels_of_a_class_that_the_model_never_predicts_are_not_judged(planted: Any, tmp_path: Path) -> None:
    """All labels of the class disagree with the prediction, and nearly all of them are right."""
    coco, _, rows = planted
    store = with_blind_model(tmp_path / "blind", (3,))
    found = find_label_errors(coco, [store])
    given = np.array([coco.record("annotations", int(row))["category_id"] for row in found.rows])
    assert [found.reliability.recall[c] > 0.8 for c in (1, 2, 3)] == [True, True, False]
    assert found.reliability.unreliable_classes() == [3]
    for kind in ("wrong-class", "shifted-outline", "merged-objects"):
        assert (found.probability[given == 3, KINDS.index(kind)] == 0).all()
    assert (found.probability[found.other == 3, 0] == 0).all()
    assert all(one.probability == 0 for one in found.missing if one.region.class_index == 3)
    swapped = [row for row in rows["swap"] if coco.record("annotations", row)["category_id"] != 3]
    known = [row for row in swapped if truth_class(coco, row) != 3]
    ranked = found.rows[np.argsort(-found.probability[:, 0])][: len(known) + 4].tolist()
    assert set(known) & set(ranked), "other classes are judged as before"


def truth_class(coco: Coco, row: int) -> int:
    wanted = coco.record("annotations", row)["id"]
    return next(int(one["category_id"]) for one in truth()["annotations"] if one["id"] == wanted)


@pytest.mark.slow
def test_a_weak_model_is_reported_with_its_classes(planted: Any, tmp_path: Path) -> None:
    coco, good, _ = planted
    store = with_blind_model(tmp_path / "blind", (3,))
    findings = audit(coco, predictions=[store.path], select=["P"]).findings
    (told,) = [f for f in findings if f.code == "P010"]
    assert "not assessed: Bag 0.0" in told.message and told.block == "file" and 0.2 < (told.score or 0) < 0.5
    wrong = [f for f in findings if f.code == "P001"]
    assert wrong and all(coco.record("annotations", f.row or 0)["category_id"] != 3 for f in wrong)
    assert not [f for f in audit(coco, predictions=[good.path], select=["P"]).findings if f.code == "P010"]
    result = fix(coco, select=["P001"], unsafe=True, predictions=[store.path])
    assert len(result.prediction_notes) == 1 and "Bag" in result.prediction_notes[0], "fix reports it too"


def test_a_model_that_cannot_distinguish_classes_finds_no_wrong_class(planted: Any, tmp_path: Path) -> None:
    """A model that sees all objects as one class once gave dozens of findings of wrong classes."""
    found = find_label_errors(planted[0], [with_blind_model(tmp_path / "blind", (2, 3))])
    assert set(found.reliability.unreliable_classes()) == {1, 2, 3}, "a class that is always predicted is unreliable"
    assert found.probability[:, KINDS.index("wrong-class")].sum() == 0


@pytest.mark.slow
def test_findings_without_a_fix_say_so(planted: Any) -> None:
    coco, store, _ = planted
    findings = [f for f in audit(coco, predictions=[store.path], select=["P"]).findings if f.code < "P007"]
    for finding in findings:
        assert (finding.fix is None) == ("no fix: " in finding.message)
    result = fix(coco, select=["P"], unsafe=True, predictions=[store.path])
    assert sum(result.without_fix.values()) == sum(f.fix is None for f in findings)


@pytest.mark.slow
def test_merged_objects_are_split(tmp_path: Path) -> None:
    """Two objects as rings of one annotation, and as one ring over both: parts become annotations of their own."""
    right = truth()
    store = predict(right, tmp_path / "oof", manifest={"kind": "out-of-fold"})
    mine = [a for a in right["annotations"] if a["image_id"] == 100]
    first = mine[0]
    second = next(a for a in mine if a["category_id"] != first["category_id"])
    same = [a for a in right["annotations"] if a["image_id"] != 100]
    two = {**first, "segmentation": [*first["segmentation"], *second["segmentation"]]}
    hull = cv2.convexHull(np.float32(two["segmentation"][0] + two["segmentation"][1]).reshape(-1, 2)).ravel().tolist()
    for record, parts in ((two, 2), ({**first, "segmentation": [hull]}, 1)):
        coco = Coco.of({**right, "annotations": [record, *same]})
        errors = find_label_errors(coco, [store])
        message, proposal = _DESCRIBE["merged-objects"](errors, errors.rows.tolist().index(0))
        assert "covers several objects" in message
        if parts == 1 and proposal is None:
            continue
        assert proposal is not None
        assert [one["category_id"] for one in proposal["add"]] == [second["category_id"]]
        kept = label_map([proposal["set"]["segmentation"]], [1], SIDE, SIDE)
        whole = label_map([first["segmentation"]], [1], SIDE, SIDE)
        assert (kept & whole).sum() / (kept | whole).sum() > 0.6


def test_merged_objects_of_one_class_are_split(planted: Any) -> None:
    right = truth()
    first, second = next(
        (a, b)
        for a in right["annotations"]
        for b in right["annotations"]
        if a["id"] < b["id"] and (a["image_id"], a["category_id"]) == (b["image_id"], b["category_id"])
    )
    two = {**first, "segmentation": [*first["segmentation"], *second["segmentation"]]}
    others = [a for a in right["annotations"] if a not in (first, second)]
    errors = find_label_errors(Coco.of({**right, "annotations": [two, *others]}), [planted[1]])
    _, proposal = _DESCRIBE["merged-objects"](errors, errors.rows.tolist().index(0))
    assert proposal is not None
    shapes = [proposal["set"]["segmentation"], *(one["segmentation"] for one in proposal["add"])]
    assert sorted(shapes) == sorted([first["segmentation"], second["segmentation"]])
    assert [one["category_id"] for one in proposal["add"]] == [first["category_id"]]


def test_proposed_outlines_are_drawn(planted: Any) -> None:
    """A missing object is outlined in green on its card; a new class is named on its colour."""
    coco, store, _ = planted
    result = audit(coco, predictions=[store.path], select=["P001", "P002"])
    facts = RowLookup(coco, None)
    missing = next(f for f in result.findings if f.code == "P002")
    drawn = draw_finding(facts, missing)
    assert drawn is not None and (np.abs(drawn.astype(int) - GREEN).max(axis=2) < 30).sum() > 50
    wrong = next(f for f in result.findings if f.code == "P001")
    new = facts.relabelled(wrong)
    assert new is not None and new[0] == CLASSES[wrong.proposal["set"]["category_id"]]
    card = draw_finding(facts, wrong)
    assert card is not None and (np.abs(card.astype(int) - new[1]).max(axis=2) < 30).sum() > 50
    assert f">{new[0]}</span>" in audit_page(coco, result)


def test_scores_that_are_not_probabilities_are_labelled_so(planted: Any) -> None:
    coco = Coco.of(truth())
    double = coco.record("annotations", 0)
    points = np.reshape(double["segmentation"][0], (-1, 2))
    middle = points[:, 0].mean()
    left, right = (np.clip(points, lo, hi) for lo, hi in (((0, 0), (middle, 999)), ((middle, 0), (999, 999))))
    halves = coco.replace(
        "annotations",
        {0: {**double, "segmentation": [left.ravel().tolist()]}},
        append=[{**double, "id": 7777, "segmentation": [right.ravel().tolist()]}],
    )
    hits = list(split_hits(find_label_errors(halves, [planted[1]]), 0.4))
    assert {0, coco.count("annotations")} in [{hit.row, *hit.related} for hit in hits]
    assert all("no probability" in hit.message for hit in hits)
