"""The commands `trashkit fix` and `trashkit edits`."""

from __future__ import annotations

import copy
import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from trashkit.audit.example import clean_file, octagon
from trashkit.cli.app import app

runner = CliRunner()


@pytest.fixture
def ann(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = clean_file()
    value["annotations"][3]["area"] *= 2
    value["annotations"][4]["id"] = 4
    value["annotations"].append(
        {**copy.deepcopy(value["annotations"][0]), "id": 900, "segmentation": [octagon(111.4, 91, 41)]}
    )
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(value, indent=1))
    return path


def trashkit(*words, code=0):
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def test_fix_undo_and_redo(ann, tmp_path):
    before = ann.read_bytes()
    result = trashkit("fix", ann, "--out", "fixed.json", "--write-edits", "log.jsonl")
    assert "2 edits, 1 more with --unsafe" in result.stdout and "wrote fixed.json" in result.stdout
    assert ann.read_bytes() == before
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
    trashkit("fix", ann, "--out", "fixed.json", code=2)
    trashkit("fix", ann, "--out", "fixed.json", "--overwrite", "--write-edits", "log.jsonl")
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2, "the same edits are not written again"
    again = json.loads(trashkit("fix", "fixed.json", "--out", "again.json", "--json").stdout)
    assert again["summary"] == {"edits": 0, "kept_back": 1, "rejected": 0}
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "fixed.json").read_bytes()
    trashkit("edits", "invert", "fixed.json", "log.jsonl", "--out", "undo.jsonl")
    trashkit("edits", "apply", "fixed.json", "undo.jsonl", "--out", "back.json")
    assert json.loads((tmp_path / "back.json").read_text()) == json.loads(before)
    trashkit("fix", ann, "--edits", "log.jsonl", "--out", "redone.json")
    assert (tmp_path / "redone.json").read_bytes() == (tmp_path / "fixed.json").read_bytes()


def test_diff_writes_nothing(ann, tmp_path):
    there = set(tmp_path.iterdir())
    result = trashkit("fix", ann, "--diff")
    assert "annotations[3] (id 4) change by G022 (area-mismatch)" in result.stdout
    assert result.stdout.index(" edits") < result.stdout.index("annotations[3]"), "the summary comes first"
    assert "  - id: 4\n  + id: 901" in result.stdout
    shown = json.loads(trashkit("fix", ann, "--diff", "--json", "--unsafe", "--out", "never.json").stdout)
    assert shown["summary"]["edits"] == 3 and shown["edits"][-1]["kind"] in ("delete", "change", "renumber")
    assert set(tmp_path.iterdir()) == there


def test_errors_are_one_line(ann, tmp_path):
    assert "no output file given" in trashkit("fix", ann, code=2).stderr
    assert "is an input" in trashkit("fix", ann, "--out", ann, "--overwrite", code=2).stderr
    assert "no check" in trashkit("fix", ann, "--diff", "--select", "G999", code=2).stderr
    assert "takes 3 or 5" in trashkit("fix", ann, "--diff", "--despeckle", "4", code=2).stderr
    trashkit("fix", ann, "--out", "fixed.json", "--write-edits", "log.jsonl")
    refused = trashkit("edits", "apply", "fixed.json", "log.jsonl", "--out", "twice.json", code=2)
    assert "annotations[4] (id 4) has changed" in refused.stderr and not (tmp_path / "twice.json").exists()
    (tmp_path / "notes.txt").write_text("kept")
    for log, words in (("notes.txt", "notes.txt line 1 is not JSON"), ("new.json", "new.json is an input")):
        refused = trashkit("fix", ann, "--out", "new.json", "--write-edits", log, code=2)
        assert words in refused.stderr and not (tmp_path / "new.json").exists()
    assert (tmp_path / "notes.txt").read_text() == "kept"
    assert "no kind" in trashkit("edits", "show", "log.jsonl", "--kind", "paint", code=2).stderr


def test_show_stats_and_filters(ann):
    trashkit("fix", ann, "--out", "fixed.json", "--write-edits", "log.jsonl")
    assert json.loads(trashkit("edits", "stats", "log.jsonl", "--json").stdout)["authors"] == {"S011": 1, "G022": 1}
    assert len(json.loads(trashkit("edits", "log.jsonl", "--author", "G022", "--json").stdout)["edits"]) == 1
    trashkit("edits", "apply", ann, "log.jsonl", "--author", "G022", "--out", "areas.json")
    assert "2 edits of 2 rows" in trashkit("edits", "stats", "log.jsonl").stdout


def bow_tie(shift, *, repeated):
    first = [10 + shift, 10]
    return [[*first, *(first if repeated else []), 50 + shift, 50, 50 + shift, 10, 10 + shift, 50]]


def test_dependent_edits_are_listed_and_can_be_skipped(ann, tmp_path):
    value = json.loads(ann.read_text())
    for row, repeated in ((0, True), (1, False), (2, False)):
        measures = {"bbox": [10 + 10 * row, 10, 40, 40], "area": 800}
        value["annotations"][row].update(segmentation=bow_tie(10 * row, repeated=repeated), **measures)
    ann.write_text(json.dumps(value))
    trashkit("fix", ann, "--out", "fixed.json", "--write-edits", "log.jsonl")
    only = ("edits", "apply", ann, "log.jsonl", "--out", "rings.json", "--author", "G003")
    refused = trashkit(*only, code=2)
    assert not (tmp_path / "rings.json").exists()
    words = " ".join(refused.stderr.split())
    assert "1 of the 3 selected edits depend on edits that are not selected" in words
    assert "annotations[0] (id 1) by G003 (invalid-ring) needs G005 (repeated-vertex)" in words
    assert "--author G005" in words
    result = json.loads(trashkit(*only, "--skip-dependent", "--json").stdout)
    assert result["edits"] == 2
    assert [(one["edit"]["row"], one["needs"][0]["author"]) for one in result["skipped"]] == [(0, "G005")]
    rings, fixed = (json.loads((tmp_path / name).read_text())["annotations"] for name in ("rings.json", "fixed.json"))
    assert rings[0] == value["annotations"][0]
    assert [rings[n]["segmentation"] for n in (1, 2)] == [fixed[n]["segmentation"] for n in (1, 2)]
    both = json.loads(trashkit(*only, "--author", "G005", "--overwrite", "--json").stdout)
    assert both["edits"] == 4 and both["skipped"] == []


def test_selecting_no_edit_lists_the_available_ones(ann):
    trashkit("fix", ann, "--out", "fixed.json", "--write-edits", "log.jsonl")
    apply = ("edits", "apply", ann, "log.jsonl", "--out", "some.json")
    reasons = trashkit(*apply, "--reason", "nope", code=2).stderr
    assert "area-mismatch" in reasons and "duplicate-annotation-id" in reasons
    assert "G022" in trashkit(*apply, "--author", "nobody", code=2).stderr
    assert "renumber by S011" in " ".join(trashkit(*apply, "--kind", "relabel", code=2).stderr.split())


def test_a_partial_export_without_part_warns(ann, tmp_path):
    value = json.loads(ann.read_text())
    value["images"] = value["images"][:1]
    value["annotations"] = [one for one in value["annotations"] if one["image_id"] == value["images"][0]["id"]]
    (tmp_path / "one.json").write_text(json.dumps(value))
    words = ("edits", "diff", ann, "one.json", "--out", "one.jsonl", "--overwrite")
    assert "add --part" in " ".join(trashkit(*words).stderr.split())
    assert "add --part" not in " ".join(trashkit(*words, "--part").stderr.split())
    assert "add --part" not in " ".join(trashkit("edits", "diff", ann, ann, "--out", "no.jsonl").stderr.split())


def test_diff_of_two_files_and_merge_of_two_people(ann, tmp_path):
    value = json.loads(ann.read_text())
    for name, category in (("anna", 2), ("ben", 3)):
        edited = copy.deepcopy(value)
        edited["annotations"][0]["category_id"] = category
        edited["annotations"][category]["category_id"] = 1
        (tmp_path / f"{name}.json").write_text(json.dumps(edited))
        trashkit("edits", "diff", ann, f"{name}.json", "--out", f"{name}.jsonl", "--author", name)
    clash = trashkit("edits", "merge", "anna.jsonl", "ben.jsonl", "--out", "both.jsonl", code=1)
    assert (
        'annotations[0] (id 1): two values for "category_id": relabel (category_id 2) by anna in anna' in clash.stdout
    )
    assert not (tmp_path / "both.jsonl").exists()
    trashkit("edits", "merge", "anna.jsonl", "ben.jsonl", "--out", "both.jsonl", "--prefer-first")
    trashkit("edits", "apply", ann, "both.jsonl", "--out", "both.json")
    made = json.loads((tmp_path / "both.json").read_text())["annotations"]
    assert [made[n]["category_id"] for n in (0, 2, 3)] == [2, 1, 1]


def test_a_rejected_fix_is_respected(ann, tmp_path):
    from trashkit.coco import read
    from trashkit.edits.edit import decide
    from trashkit.edits.log import write_log

    write_log("review.jsonl", [decide(read(ann), "reject", "annotations", 3, reason="G022", author="anna")])
    summary = json.loads(trashkit("fix", ann, "--diff", "--json", "--respect", "review.jsonl").stdout)["summary"]
    assert summary == {"edits": 1, "kept_back": 1, "rejected": 1}


def test_a_wrong_photo_folder_is_refused_with_the_right_one(ann, tmp_path):
    value = json.loads(ann.read_text())
    (tmp_path / "photos").mkdir()
    for image in value["images"]:
        image["file_name"] = "photos/" + image["file_name"]
        Image.new("RGB", (640, 480)).save(tmp_path / image["file_name"])
    ann.write_text(json.dumps(value))
    result = trashkit("fix", ann, "--unsafe", "--images", "photos", "--out", "fixed.json", code=2)
    assert "12 of 12 photos are not in photos" in result.stderr and "use --images ." in result.stderr
    assert not (tmp_path / "fixed.json").exists()
    result = runner.invoke(app, ["audit", str(ann), "--images", "photos", "--select", "I"])
    assert result.stderr.count("use --images .") == 1
    (tmp_path / "photos" / "photo_01.jpg").unlink()
    trashkit("fix", ann, "--unsafe", "--select", "I", "--images", ".", "--out", "fixed.json")
    assert len(json.loads((tmp_path / "fixed.json").read_text())["images"]) == 11
