"""The synthetic data set: clean labels have no errors, planted errors exist, and results are reproducible."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from trashkit.demo.drawing.outlines import polygons, remove_specks
from trashkit.demo.drawing.scenes import KINDS, compose, photograph
from trashkit.demo.plan import CLASS_MIX, CLASS_NAMES, make_plan
from trashkit.demo.synth import _planted, make
from trashkit.errors import TrashkitError

SHIPPED = Path(__file__).parents[2] / "data" / "synth"


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def raster(annotation: dict[str, Any], side: int) -> np.ndarray:
    rles = coco_mask.frPyObjects(annotation["segmentation"], side, side)
    return coco_mask.decode(coco_mask.merge(rles)).astype(bool)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "heavy"
    make(out, images=60, size=128, seed=3, noise="heavy")
    return out


@pytest.fixture(scope="module")
def clean(heavy: Path) -> dict[str, Any]:
    return load(heavy / "train_clean.json")


def test_clean_polygons_are_simple_inside_and_measured_exactly(clean: dict[str, Any]) -> None:
    assert len({a["id"] for a in clean["annotations"]}) == len(clean["annotations"]) > 200
    for annotation in clean["annotations"]:
        parts = [shapely.Polygon(np.reshape(ring, (-1, 2))) for ring in annotation["segmentation"]]
        assert all(part.is_valid and part.area > 0 for part in parts)
        union = shapely.union_all(parts)
        assert union.area == pytest.approx(sum(part.area for part in parts), abs=1e-9)
        assert annotation["area"] == pytest.approx(union.area, abs=1e-9)
        x0, y0, x1, y1 = union.bounds
        assert min(x0, y0) >= 0 and max(x1, y1) <= 128
        assert annotation["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert union.area * (512 / 128) ** 2 > 100


def test_clean_annotations_do_not_overlap_and_no_vertex_repeats(clean: dict[str, Any]) -> None:
    for image in clean["images"]:
        own = [a for a in clean["annotations"] if a["image_id"] == image["id"]]
        assert own
        shapes = [shapely.Polygon(np.reshape(ring, (-1, 2))) for a in own for ring in a["segmentation"]]
        assert sum(s.area for s in shapes) == pytest.approx(shapely.union_all(shapes).area, abs=1e-6)
        pixels = np.sum([raster(a, 128) for a in own], axis=0)
        assert pixels.max() == 1
        for annotation in own:
            for ring in annotation["segmentation"]:
                points = np.reshape(ring, (-1, 2))
                assert (np.abs(points - np.roll(points, 1, axis=0)).sum(axis=1) > 0).all()


@pytest.mark.parametrize("side", [64, 128, 256])
def test_polygons_cover_the_pixels_that_were_drawn(side: int) -> None:
    scores = []
    for k in range(8):
        rng = np.random.default_rng(k)
        shot = photograph(rng, compose(rng, [8, 2, 5, 6, 7, 9, 10, 3, 4, 1], side), first=k % 2 == 0)
        found = polygons(shot.objects, float(np.clip(side / 256, 0.7, 2.0)))
        assert set(found) == set(np.unique(shot.objects)) - {0}
        for n, rings in found.items():
            truth = shot.objects == n
            drawn = raster({"segmentation": [ring.ravel().tolist() for ring in rings]}, side)
            scores.append(((truth & drawn).sum() / (truth | drawn).sum(), int(truth.sum())))
    assert min(score for score, area in scores if area > 150) >= 0.97
    assert min(score for score, _ in scores) >= 0.88
    assert np.mean([score for score, _ in scores]) > 0.985


def test_holes_stay_holes_and_hidden_objects_come_in_parts() -> None:
    objects = np.zeros((60, 60), np.int32)
    cv2.circle(objects, (30, 30), 24, 1, -1)
    cv2.circle(objects, (25, 25), 6, 0, -1)
    cv2.circle(objects, (38, 38), 5, 2, -1)
    cv2.rectangle(objects, (46, 0), (49, 59), 3, -1)
    found = polygons(remove_specks(objects, 4, 16), 0.0)
    for n, rings in found.items():
        drawn = raster({"segmentation": [ring.ravel().tolist() for ring in rings]}, 60)
        assert np.array_equal(drawn, objects == n)
    assert len(found[1]) >= 4 and len(found[3]) == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.floats(0, 2))
def test_any_map_gives_simple_polygons_that_do_not_overlap(seed: int, labels: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, labels, (9, 9)).astype(np.uint8)
    objects = cv2.resize(coarse, (27, 27), interpolation=cv2.INTER_NEAREST).astype(np.int32)
    objects[rng.random((27, 27)) < 0.05] = 0
    found = polygons(objects, tolerance)
    assert set(found) == set(np.unique(objects)) - {0}
    shapes = [shapely.Polygon(ring) for rings in found.values() for ring in rings]
    assert all(s.is_valid for s in shapes)
    assert sum(s.area for s in shapes) == pytest.approx(shapely.union_all(shapes).area, abs=1e-6)
    if tolerance == 0:
        for n, rings in found.items():
            drawn = raster({"segmentation": [ring.ravel().tolist() for ring in rings]}, 27)
            assert np.array_equal(drawn, objects == n)


@pytest.mark.parametrize("class_index", sorted(KINDS))
@pytest.mark.parametrize("length", [40, 97, 300])
def test_every_object_is_drawn_within_its_canvas(class_index: int, length: int) -> None:
    for draw, _ in KINDS[class_index][0]:
        sprite = draw(np.random.default_rng(length), length)
        h, w = sprite.alpha.shape
        assert sprite.rgb.shape == (h, w, 3) and max(h, w) <= length
        for ring in sprite.rings:
            assert shapely.Polygon(ring).is_valid, draw.__name__
            assert ring.min() >= 0 and (ring.max(axis=0) <= (w, h)).all(), draw.__name__
        holes = [shapely.Polygon(ring) for ring in sprite.rings[1:]]
        assert all(shapely.Polygon(sprite.rings[0]).contains(hole) for hole in holes)


def area_off(a: dict[str, Any]) -> bool:
    return abs(a["area"] / union_of(a).area - 1) > 0.01


def union_of(a: dict[str, Any]) -> Any:
    return shapely.union_all([shapely.make_valid(shapely.Polygon(np.reshape(r, (-1, 2)))) for r in a["segmentation"]])


def box_off(a: dict[str, Any]) -> bool:
    x0, y0, x1, y1 = union_of(a).bounds
    return float(np.abs(np.subtract(a["bbox"], [x0, y0, x1 - x0, y1 - y0])).max()) > 1


def sibling_overlap(a: dict[str, Any]) -> bool:
    parts = [shapely.Polygon(np.reshape(r, (-1, 2))) for r in a["segmentation"]]
    return sum(p.area for p in parts) - shapely.union_all(parts).area > 1


def pair_iou(a: dict[str, Any], b: dict[str, Any]) -> float:
    one, two = union_of(a), union_of(b)
    return float(one.intersection(two).area / one.union(two).area)


# How each planted type shows in the record itself; side is 128.
SHOWS: dict[str, Any] = {
    "dangling-image": lambda a: a["image_id"] > 1000,
    "dangling-category": lambda a: a["category_id"] == 99,
    "wrong-area": area_off,
    "null-area": lambda a: a["area"] is None,
    "nan-area": lambda a: math.isnan(a["area"]),
    "wrong-bbox": box_off,
    "empty-segmentation": lambda a: a["segmentation"] == [],
    "odd-coordinates": lambda a: any(len(r) % 2 for r in a["segmentation"]),
    "too-few-points": lambda a: any(len(r) < 6 for r in a["segmentation"]),
    "repeated-vertices": lambda a: a["segmentation"][0][:2] == a["segmentation"][0][2:4],
    "self-intersecting-ring": lambda a: not shapely.Polygon(np.reshape(a["segmentation"][0], (-1, 2))).is_valid,
    "out-of-bounds": lambda a: max(max(r) for r in a["segmentation"]) >= 130 and not box_off(a) and not area_off(a),
    "ring-outside": lambda a: min(a["segmentation"][-1][::2]) > 128,
    "zero-area": lambda a: shapely.Polygon(np.reshape(a["segmentation"][0], (-1, 2))).area == 0,
    "overlapping-parts": sibling_overlap,
    "box-as-mask": lambda a: union_of(a).area == pytest.approx(a["bbox"][2] * a["bbox"][3]),
    "swapped-axes": lambda a: True,
    "other-scale": lambda a: True,
}


def test_planted_errors_are_where_the_ledger_says(heavy: Path) -> None:
    train = load(heavy / "train.json")
    seen = Counter()
    for entry in load(heavy / "planted.json"):
        seen[entry["type"]] += 1
        records = [train[entry["block"]][row] for row in entry["rows"]]
        if entry["block"] == "annotations" and entry["type"] != "dropped-object":
            assert [a["id"] for a in records] == entry["annotation_ids"]
            assert entry["image_ids"]
        if entry["type"] in SHOWS:
            assert records and all(SHOWS[entry["type"]](a) for a in records), entry
        elif entry["type"] in ("exact-duplicate", "near-duplicate"):
            iou = pair_iou(*records)
            assert iou == 1 if entry["type"] == "exact-duplicate" else 0.8 < iou < 1
        elif entry["type"] == "duplicate-annotation-id":
            assert records[0]["id"] == records[1]["id"] and records[0]["image_id"] != records[1]["image_id"]
    assert set(SHOWS) <= set(seen)
    scaled = [
        train["annotations"][r] for e in load(heavy / "planted.json") if e["type"] == "other-scale" for r in e["rows"]
    ]
    assert max(max(max(r) for r in a["segmentation"]) for a in scaled) > 140
    swapped = [
        train["annotations"][r] for e in load(heavy / "planted.json") if e["type"] == "swapped-axes" for r in e["rows"]
    ]
    assert sum(box_off(a) for a in swapped) > len(swapped) / 2


def test_everything_else_equals_the_clean_file(heavy: Path, clean: dict[str, Any]) -> None:
    train, planted = load(heavy / "train.json"), load(heavy / "planted.json")
    touched = {row for e in planted if e["block"] == "annotations" for row in e["rows"]}
    touched_images = {name for e in planted if e["block"] == "images" for name in e["file_names"]}
    by_id = {a["id"]: a for a in clean["annotations"]}
    names = {i["id"]: i["file_name"] for i in train["images"]}
    for row, annotation in enumerate(train["annotations"]):
        if row not in touched and names.get(annotation["image_id"]) not in touched_images:
            assert annotation == by_id[annotation["id"]]


@pytest.mark.slow
def test_large_files_are_planted_in_portions(clean: dict[str, Any]) -> None:
    images, annotations, step = [], [], clean["images"][-1]["id"] + 1
    for k in range(15):
        images += [{**i, "id": i["id"] + k * step, "file_name": f"b{k}/{k}_{i['id']}.jpg"} for i in clean["images"]]
        for a in clean["annotations"]:
            annotations.append({**a, "id": len(annotations) + 1, "image_id": a["image_id"] + k * step})
    draft = _planted(np.random.default_rng(0), {"train": (images, annotations), "test": ([], [])}, 128, "heavy", True)
    ledger = draft.ledger()
    counts = Counter(entry["type"] for entry in ledger)
    assert counts["missing-photo"] == counts["wrong-area"] == 3 * round(len(images) / 300)
    assert counts["unused-category"] == 1 and len(draft.categories) == 11
    ids = Counter(a["id"] for a in draft.annotations)
    assert sum(n - 1 for n in ids.values()) == counts["duplicate-annotation-id"]
    assert len({i["id"] for i in draft.images}) == len(draft.images)
    rows = Counter(row for e in ledger if e["block"] == "annotations" for row in e["rows"])
    assert max(rows.values()) == 1
    touched = set(rows)
    by_id = {a["id"]: a for a in annotations}
    assert all(
        a == by_id[a["id"]] for row, a in enumerate(draft.annotations) if row not in touched and a["id"] in by_id
    )


def test_photo_defects_are_on_disk(heavy: Path) -> None:
    test_names = {i["file_name"] for i in load(heavy / "test.json")["images"]}
    kinds = set()
    for entry in load(heavy / "planted.json"):
        if not entry["needs_photos"]:
            continue
        kinds.add(entry["type"])
        photos = [heavy / "images" / name for name in entry["file_names"]]
        if entry["type"] == "missing-photo":
            assert not photos[0].exists()
        elif entry["type"] == "truncated-photo":
            assert not photos[0].read_bytes().endswith(b"\xff\xd9")
        elif entry["type"] == "duplicate-photo":
            assert photos[0].read_bytes() == photos[1].read_bytes()
        elif entry["type"] == "test-leak":
            other = entry["detail"]["test_file_name"]
            assert other in test_names and (heavy / "images" / other).read_bytes() == photos[0].read_bytes()
    assert kinds == {"missing-photo", "truncated-photo", "duplicate-photo", "test-leak"}
    missing = {e["file_names"][0] for e in load(heavy / "planted.json") if e["type"] == "missing-photo"}
    for image in load(heavy / "train.json")["images"]:
        assert (heavy / "images" / image["file_name"]).exists() != (image["file_name"] in missing)


def test_the_test_part_hides_its_labels_and_scenes_stay_together(heavy: Path) -> None:
    test, hidden = load(heavy / "test.json"), load(heavy / "leaderboard" / "hidden.json")
    assert test["annotations"] == [] and len(test["images"]) == 12
    assert hidden["images"] == test["images"] and hidden["annotations"]
    public, private = (set(hidden["leaderboard"][half]) for half in ("public", "private"))
    assert public | private == {i["id"] for i in test["images"]} and not public & private
    scenes = load(heavy / "scenes.json")["train"]
    assert not {s["scene"] for s in scenes} & {s["scene"] for s in hidden["scenes"]}
    half_of = {s["scene"]: {s["image_id"] in public} for s in hidden["scenes"]}
    assert all((s["image_id"] in public) in half_of[s["scene"]] for s in hidden["scenes"])
    assert max(Counter(s["scene"] for s in scenes).values()) > 1
    folders = {i["file_name"].split("/")[0] for i in load(heavy / "train_clean.json")["images"]}
    assert {"batch 03", "배치_04"} < folders
    assert next(csv.reader([(heavy / "sample_submission.csv").read_text()])) == ["image_id", "PredictionString"]


@pytest.mark.parametrize("images", [20, 57, 400])
def test_class_mix_has_a_long_tail_and_a_floor(images: int) -> None:
    plans = make_plan(np.random.default_rng(images), images, 0.2, 0.15)
    assert sum(len(p.file_names) for p in plans) == images
    assert len({name for p in plans for name in p.file_names}) == images
    train = [p for p in plans if p.part == "train"]
    counts = Counter(c for p in train for c in p.classes)
    assert min(counts.values()) >= 10 and len(counts) == 10
    assert all(sum(c in p.classes for p in train) >= min(10, len(train) // 2) for c in range(1, 11))
    assert counts[2] > counts[8] > counts[9]
    if images == 400:
        share = np.array([counts[k] for k in range(1, 11)]) / sum(counts.values())
        assert np.abs(share - np.array(CLASS_MIX) / sum(CLASS_MIX)).max() < 0.02
        assert 6 < sum(counts.values()) / len(train) < 10


@pytest.mark.parametrize(("share", "tests"), [(0.0, 0), (0.05, 1), (0.9, 18)])
def test_test_part_of_any_size(share: float, tests: int) -> None:
    plans = make_plan(np.random.default_rng(0), 20, share, 0.15)
    assert sum(len(p.file_names) for p in plans if p.part == "test") == tests
    assert all(1 <= len(p.classes) <= 24 for p in plans)


def test_without_noise_both_files_are_equal(tmp_path: Path) -> None:
    result = make(tmp_path / "easy", images=20, size=64, noise="none")
    easy, clean = load(tmp_path / "easy" / "train.json"), load(tmp_path / "easy" / "train_clean.json")
    assert {k: v for k, v in easy.items() if k != "info"} == {k: v for k, v in clean.items() if k != "info"}
    assert [c["name"] for c in easy["categories"]] == list(CLASS_NAMES)
    assert load(tmp_path / "easy" / "planted.json") == [] and result["defects"] == 0
    for image in easy["images"]:
        assert cv2.imread(str(tmp_path / "easy" / "images" / image["file_name"])).shape == (64, 64, 3)


@pytest.mark.slow
def test_same_seed_same_files_whatever_the_workers(tmp_path: Path) -> None:
    done = []
    make(tmp_path / "one", images=20, size=64, seed=5)
    make(tmp_path / "two", images=20, size=64, seed=5, workers=2, progress=lambda *what: done.append(what))
    make(tmp_path / "other", images=20, size=64, seed=6)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert tree(tmp_path / "one")["train_clean.json"] != tree(tmp_path / "other")["train_clean.json"]
    assert done[-1] == ("drawing photos", 20, 20)


def test_photos_of_one_scene_are_similar_but_not_equal() -> None:
    rng = np.random.default_rng(1)
    scene = compose(rng, [2, 8, 6, 4], 128)
    first, second = photograph(rng, scene, first=True), photograph(rng, scene, first=False)
    assert first.classes == second.classes
    assert (first.objects != second.objects).mean() > 0.005
    small = [cv2.resize(s.photo.mean(axis=2), (8, 8), interpolation=cv2.INTER_AREA).ravel() for s in (first, second)]
    assert np.corrcoef(*small)[0, 1] > 0.7


def test_invalid_options_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    for wish in ({"images": 19}, {"size": 63}, {"noise": "much"}, {"test_share": 0.95}):
        with pytest.raises(TrashkitError):
            make(tmp_path / "out", **wish)  # type: ignore[arg-type]
    (tmp_path / "out").mkdir()
    with pytest.raises(TrashkitError, match="already exists"):
        make(tmp_path / "out", images=20, size=64)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_shipped_copy_matches_the_code(tmp_path: Path) -> None:
    make(tmp_path / "synth", images=40, size=128, seed=1, quality=70)
    made, shipped = tree(tmp_path / "synth"), tree(SHIPPED)
    assert set(made) == set(shipped)
    for name in made:
        # Photos may differ in their last bits between builds of OpenCV; the labels may not.
        if not name.lower().endswith(".jpg"):
            assert made[name] == shipped[name], name
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 900_000


def test_only_earlier_outputs_are_replaced(tmp_path: Path) -> None:
    made = tmp_path / "made"
    for seed in (0, 1):
        make(made, images=20, size=64, seed=seed, overwrite=True)
    (made / "run.json").touch()
    with pytest.raises(TrashkitError, match=r"holds run\.json"):
        make(made, images=20, overwrite=True)
    real = tmp_path / "real"
    (real / "images").mkdir(parents=True)
    (real / "train.json").write_text("{}")
    with pytest.raises(TrashkitError, match="real is not a synthetic data set"):
        make(real, images=20, overwrite=True)
    assert (real / "train.json").read_text() == "{}"
