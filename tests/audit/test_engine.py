"""The audit of whole files: compared with independent counts, in several processes, on damaged files."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from trashkit.audit import Settings, audit
from trashkit.audit.example import annotation, clean_file, octagon
from trashkit.audit.output.findings_json import json_pieces
from trashkit.audit.views import parallel
from trashkit.coco import Coco, read
from trashkit.coco.segmentation import check_segmentation
from trashkit.errors import TrashkitError
from trashkit.finding import Severity


def codes(coco: dict[str, Any], **options: Any) -> Counter[str]:
    return Counter(finding.code for finding in audit(Coco.of(coco), **options).findings)


def rows_of(result: Any, code: str) -> set[int]:
    return {finding.row for finding in result.findings if finding.code == code}


def polygons(rings: list[list[float]]) -> list[Any]:
    made = [shapely.make_valid(shapely.Polygon(np.reshape(ring, (-1, 2)))) for ring in rings]
    return [
        shapely.union_all([part for part in shapely.get_parts(one) if part.geom_type in ("Polygon", "MultiPolygon")])
        for one in made
    ]


def test_real_file_against_a_plain_count(real_data: Path) -> None:
    """Compare with a plain loop over all annotations of TACO that uses shapely."""
    path = real_data / "taco" / "annotations.json"
    data = json.loads(path.read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in data["images"]}
    want: dict[str, set[int]] = {code: set() for code in ("G003", "G005", "G010", "G022", "G024", "G030")}
    for row, one in enumerate(data["annotations"]):
        width, height = sizes[one["image_id"]]
        rings = one["segmentation"]
        points = [list(zip(ring[0::2], ring[1::2], strict=True)) for ring in rings]
        if not all(shapely.Polygon(ring).is_valid for ring in points):
            want["G003"].add(row)
        if any(a == b for ring in points for a, b in pairwise(ring)):
            want["G005"].add(row)
        if any(not (0 <= x <= width and 0 <= y <= height) for ring in points for x, y in ring):
            want["G010"].add(row)
        parts = polygons(rings)
        area = shapely.union_all(parts).area
        if abs(one["area"] - area) > 0.01 * area:
            want["G022"].add(row)
        if 0 < area * (min(512 / max(width, height), 1)) ** 2 < 4:
            want["G024"].add(row)
        if any(a.intersection(b).area > 1 for n, a in enumerate(parts) for b in parts[:n]):
            want["G030"].add(row)
    result = audit(read(path))
    assert {code: rows_of(result, code) for code in want} == want
    assert {code: len(rows) for code, rows in want.items()} == {
        "G003": 84, "G005": 12, "G010": 6, "G022": 11, "G024": 45, "G030": 2,
    }  # fmt: skip
    ids = [one["id"] for one in data["annotations"]]
    assert rows_of(result, "S011") == {row for row, one in enumerate(ids) if one in ids[:row]}


def test_real_file_has_no_false_structure_errors(real_data: Path) -> None:
    result = audit(read(real_data / "taco" / "annotations.json"), settings=Settings(parts=()))
    structure = {f.code for f in result.findings if f.code.startswith("S") and f.severity is Severity.ERROR}
    assert structure == {"S011"}
    by_code = result.summary["by_code"]
    assert (by_code["S018"], by_code["S020"], by_code["S021"], by_code["S022"]) == (26, 1, 1, 18)
    assert (by_code["L003"], by_code["L004"], by_code["L005"]) == (1, 19, 2)
    assert (by_code["L006"], by_code["S033"]) == (231, 125)
    assert [f.related_count for f in result.findings if f.code in ("S016", "S017")] == [715, 785]


def test_a_field_that_all_annotations_lack_is_one_finding() -> None:
    coco = clean_file()
    for one in coco["annotations"]:
        del one["iscrowd"]
    del coco["annotations"][4]["area"]
    found = audit(Coco.of(coco)).findings
    assert [(f.code, f.row, f.related_count) for f in found] == [("S006", None, 108), ("S006", 4, 0)]


def test_crowds_may_overlap_single_objects() -> None:
    coco = clean_file()
    coco["annotations"].append({**annotation(500, 1, 2, octagon(111, 91, 41)), "iscrowd": 1})
    assert not codes(coco, select=["L"])


def test_results_do_not_depend_on_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    coco = clean_file()
    coco["annotations"][5]["segmentation"][0][0] = -40
    coco["annotations"][50]["area"] = 3
    coco["annotations"].append({**coco["annotations"][20], "id": 900})
    monkeypatch.setattr(parallel, "CHUNK", 10)
    monkeypatch.setattr(parallel, "SMALL", 0)
    one = audit(Coco.of(coco), workers=1)
    several = audit(Coco.of(coco), workers=3)
    assert one.findings == several.findings
    assert {f.code for f in one.findings} >= {"G010", "G022", "L001"}


def test_chunks_have_whole_images_and_all_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    from trashkit.audit.views.table import read_table

    coco = clean_file()
    coco["annotations"].reverse()
    coco["annotations"][3]["image_id"] = 999
    monkeypatch.setattr(parallel, "CHUNK", 7)
    table = read_table(Coco.of(coco), Settings())
    cut = parallel.chunks_of(table)
    assert sorted(np.concatenate(cut).tolist()) == list(range(len(coco["annotations"])))
    seen = [set(table.image_row[rows][table.image_row[rows] >= 0].tolist()) for rows in cut]
    assert sum(map(len, seen)) == len(set().union(*seen))


def test_rle_measures_agree_with_pycocotools() -> None:
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(3)
    from trashkit.audit.views.run_lengths import run_length_mask

    for _ in range(50):
        height, width = rng.integers(1, 40, 2).tolist()
        pixels = np.asfortranarray(rng.random((height, width)) < rng.random(), dtype=np.uint8)
        rle = coco_mask.encode(pixels)
        made = run_length_mask({"size": [height, width], "counts": rle["counts"].decode()}, height, width)
        assert (made.size_problem, made.counts_problem) == ("", "")
        assert made.area == coco_mask.area(rle)
        if made.area:
            x, y, w, h = coco_mask.toBbox(rle)
            assert made.box == (x, y, x + w, y + h)


def test_parts_and_holes_of_a_mask_agree_with_opencv() -> None:
    import cv2
    from pycocotools import mask as coco_mask

    from trashkit.audit.views.run_lengths import hole_sizes, part_sizes, run_length_mask

    rng = np.random.default_rng(4)
    for _ in range(200):
        height, width = rng.integers(1, 30, 2).tolist()
        pixels = np.asfortranarray(rng.random((height, width)) < rng.random(), dtype=np.uint8)
        counts = coco_mask.encode(pixels)["counts"].decode()
        mask = run_length_mask({"size": [height, width], "counts": counts}, height, width)
        parts = cv2.connectedComponentsWithStats(pixels, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
        assert sorted(part_sizes(mask)) == sorted(parts)
        around = np.pad(1 - pixels, 1, constant_values=1)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(around, connectivity=4)
        holes = [stats[n, cv2.CC_STAT_AREA] for n in range(1, len(stats)) if n != labels[0, 0]]
        assert sorted(hole_sizes(mask)) == sorted(holes)


def test_masks_and_polygons_are_compared_by_their_pixels() -> None:
    from pycocotools import mask as coco_mask

    coco = clean_file()
    first = coco["annotations"][0]
    rle = coco_mask.merge(coco_mask.frPyObjects(first["segmentation"], 480, 640))
    copy = {**first, "id": 900, "segmentation": {"size": [480, 640], "counts": rle["counts"].decode()}}
    copy["category_id"] = 2
    coco["annotations"].append(copy)
    found = [f for f in audit(Coco.of(coco)).findings if f.code == "L005"]
    assert [(f.row, f.related) for f in found] == [(108, (0,))]
    assert found[0].score is not None and found[0].score > 0.97


def test_closed_rings_and_half_pixel_boxes_are_not_reported() -> None:
    coco = clean_file()
    for one in coco["annotations"]:
        ring = one["segmentation"][0]
        ring += ring[:2]
        one["bbox"] = [one["bbox"][0] - 0.5, one["bbox"][1] + 0.5, one["bbox"][2] + 0.5, one["bbox"][3] - 0.5]
    assert not codes(coco)


def test_one_finding_for_an_annotation_with_several_bad_rings() -> None:
    coco = clean_file()
    bow = [20, 20, 60, 60, 60, 20, 20, 70]
    coco["annotations"][0]["segmentation"] = [bow, [v + 100 for v in bow]]
    assert codes(coco, select=["G003"]) == {"G003": 1}


def test_whole_images_at_another_scale_and_with_axes_swapped() -> None:
    coco = clean_file()
    coco["images"][0].update(width=160, height=120)
    coco["images"][1].update(width=480, height=640)
    found = {(f.code, f.row) for f in audit(Coco.of(coco), select=["G012", "G013"]).findings}
    assert found == {("G013", 0), ("G012", 1)}


def test_polygons_at_another_scale_than_their_boxes() -> None:
    coco = clean_file()
    for one in coco["annotations"][:9]:
        one["segmentation"] = [[v / 2 for v in ring] for ring in one["segmentation"]]
        one["area"] /= 4
    found = audit(Coco.of(coco), select=["G01"]).findings
    assert [(f.code, f.row) for f in found] == [("G013", 0)]
    assert found[0].score == pytest.approx(2, rel=0.02)


def test_boxes_of_exchanged_polygons_are_not_changed() -> None:
    from trashkit.audit.fixes.fix_file import fix

    coco = clean_file()
    for one in coco["annotations"][:9]:
        ring = one["segmentation"][0]
        ring[0::2], ring[1::2] = ring[1::2], ring[0::2]
    assert fix(Coco.of(coco)).edits == []
    assert set(codes(coco, select=["G01", "G023"])) == {"G010", "G014", "G023"}


def test_settings_move_the_thresholds() -> None:
    coco = clean_file()
    coco["annotations"][0]["area"] *= 1.03
    assert codes(coco, select=["G022"]) == {"G022": 1}
    assert not codes(coco, select=["G022"], settings=Settings(area_share=0.05))
    coco["annotations"].append(annotation(500, 1, 2, octagon(111, 91, 20)))
    assert codes(coco, select=["L006"]) == {"L006": 1}
    assert not codes(coco, select=["L006"], settings=Settings(parts=(("can", "BOT*"),)))


@pytest.mark.slow
def test_many_copies_of_one_annotation_take_little_time_and_memory() -> None:
    coco = clean_file()
    coco["annotations"] = [annotation(n, 1, 1 + n % 3, octagon(111, 91, 40)) for n in range(600)]
    found = codes(coco)
    assert found["L001"] > 150


@pytest.mark.parametrize(
    ("segmentation", "code"),
    [
        ([10, 10, 50, 10, 50, 50], "G002"),
        ([[[10, 10], [50, 10], [50, 50]]], "G002"),
        ([["10", 10, 50, 10, 50, 50]], "G002"),
        ([[True, 10, 50, 10, 50, 50]], "G002"),
        ([[10, 10, 50, 10, 50, 2**70]], "G004"),
        ([[10, 10, 50, 10, 50, 10**400]], "G004"),
        ([[10, 10, 50, 10, 50, math.nan]], "G004"),
        ([[10, 10, 50, 10, 50, 1e308]], "G004"),
        (None, "S007"),
        ("none", "S007"),
        ({}, "G001"),
        ({"size": [480, 640], "counts": "!!"}, "G041"),
        ({"size": [480, 640], "counts": [-5, 2]}, "G041"),
        ({"size": [2**40, 2**40], "counts": []}, "G040"),
        ({"size": [480, 640], "counts": None}, "G041"),
    ],
)
def test_damaged_segmentations_are_found(segmentation: Any, code: str) -> None:
    coco = clean_file()
    coco["annotations"][0]["segmentation"] = segmentation
    found = [f for f in audit(Coco.of(coco)).findings if f.code == code]
    assert [f.row for f in found] == [0]


def test_valid_masks_pass_the_check_of_strict_reading() -> None:
    for one in clean_file()["annotations"]:
        assert check_segmentation(one["segmentation"], 480, 640) is None


def test_duplicate_top_level_keys_are_found(tmp_path: Path) -> None:
    path = tmp_path / "twice.json"
    text = json.dumps(clean_file())
    path.write_text('{"images": [], ' + text[1:])
    found = [f for f in audit(read(path)).findings if f.code == "S002"]
    assert len(found) == 1 and '"images"' in found[0].message and found[0].block == "file"


def test_ids_keep_their_type() -> None:
    coco = clean_file()
    coco["images"][0]["id"] = "1"
    found = codes(coco)
    assert found["S013"] == 9 and found["S010"] == 0


def test_json_output_takes_any_ids_and_names() -> None:
    coco = clean_file()
    coco["annotations"][0].update(id=2**80, area=-5)
    coco["annotations"][1].update(id=[1], area=-5)
    coco["annotations"][2].update(id="<b>", area=-5)
    coco["images"][0]["file_name"] = "\ud800.jpg"
    made = json.loads(b"".join(json_pieces(audit(Coco.of(coco)))))
    by_row = {f["row"]: f for f in made["findings"] if f["code"] == "G022"}
    assert [by_row[row]["annotation_id"] for row in (0, 1, 2)] == [2**80, None, "<b>"]
    assert by_row[0]["file_name"] == "\ud800.jpg"
    keys = {"code", "name", "severity", "block", "row", "annotation_id", "image_id", "file_name", "message", "score"}
    assert keys | {"fix", "related"} <= set(by_row[0])


def test_empty_files_can_be_audited() -> None:
    assert codes({}) == {"S003": 3}
    assert codes({"images": None, "annotations": {}, "categories": 3}) == {"S003": 3}
    assert not codes({"images": [], "annotations": [], "categories": []})


def test_fail_on_compares_severities() -> None:
    result = audit(Coco.of({"images": [], "annotations": [], "categories": [{"id": 0, "name": "a"}]}))
    assert [f.severity for f in result.findings] == [Severity.WARNING]
    assert not result.fails("error") and result.fails("warning") and not result.fails("never")


def test_repeated_keys_are_found_in_all_blocks(tmp_path: Path) -> None:
    text = json.dumps(clean_file())
    text = text.replace('"description": "an example"', '"year": 1, "year": 2')
    text = text.replace('"name": "CC BY 4.0"', '"name": "a", "name": "b"')
    path = tmp_path / "twice.json"
    path.write_text(text[:-1] + ', "annotations": []}')
    messages = [f.message for f in audit(read(path), select=["S002"]).findings]
    assert [word in " ".join(messages) for word in ('"info"', '"licenses"[0]', 'top-level key "annotations"')] == [
        True
    ] * 3
    assert len(messages) == 3


def test_references_in_other_blocks_are_checked() -> None:
    coco = clean_file()
    coco["videos"] = [{"id": 1}, {"id": 1}]
    coco["images"][0]["video_id"], coco["images"][1]["video_id"], coco["images"][2]["video_id"] = 1, 2, None
    coco["relations"] = [
        {"id": 1, "annotation_ids": [1, 2], "category_id": 3, "image_id": 4, "video_id": 1, "other_id": 99},
        {"id": 2, "annotation_ids": [1, 2000], "category_id": 30, "image_id": 40, "relation_id": 7},
    ]
    found = [f for f in audit(Coco.of(coco), workers=1).findings if f.code in ("S018", "S019")]
    assert [(f.code, f.block, f.row, f.score) for f in found] == [
        ("S018", "images", 1, 1.0),
        ("S018", "relations", 1, 4.0),
        ("S019", "videos", 1, 2.0),
    ]


@pytest.mark.parametrize(("outside", "found"), [(4, 0), (8, 1)])
def test_swapped_axes_are_found_from_a_few_pixels_outside(outside: int, found: int) -> None:
    coco = clean_file()
    coco["annotations"] = [annotation(n, 1, 1, octagon(x, 90, 40)) for n, x in ((1, 100), (2, 440 + outside))]
    right = max(coco["annotations"][1]["segmentation"][0][0::2])
    coco["images"][0].update(width=int(right) - outside, height=640)
    assert codes(coco)["G012"] == found


def test_one_string_selects_like_a_list(tmp_path: Path) -> None:
    coco = Coco.of(clean_file())
    assert audit(coco, select="G003").summary["checks"] == ["G003"]
    assert audit(coco, select="G003,G004", ignore="G004").summary["checks"] == ["G003"]
    with pytest.raises(TrashkitError) as one:
        audit(coco, predictions=tmp_path / "none")
    with pytest.raises(TrashkitError) as several:
        audit(coco, predictions=[tmp_path / "none"])
    assert one.value.message == several.value.message
