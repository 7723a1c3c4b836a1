"""Checks on photos: each finds its broken photo, and none reports valid ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from trashkit.audit import Settings, audit
from trashkit.audit.registry import checks
from trashkit.audit.views.photo_table import photo_table
from trashkit.audit.views.table import read_table
from trashkit.coco import Coco, read
from trashkit.demo.synth import make
from trashkit.errors import TrashkitError
from trashkit.finding import Finding
from trashkit.progress import silent

SIDE = 120


def picture(seed: int, width: int = SIDE, height: int = SIDE) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def file_of(names: list[str], width: int = SIDE, height: int = SIDE) -> dict[str, Any]:
    rows = [{"id": n, "file_name": name, "width": width, "height": height} for n, name in enumerate(names)]
    return {"images": rows, "annotations": [], "categories": []}


def sound(folder: Path, count: int = 6) -> dict[str, Any]:
    names = [f"{n}.png" for n in range(count)]
    for n, name in enumerate(names):
        Image.fromarray(picture(n)).save(folder / name)
    return file_of(names)


def found(coco: dict[str, Any], folder: Path, **more: Any) -> list[Finding]:
    return audit(Coco.of(coco), images=folder, select=["I"], **more).findings


def save(folder: Path, seed: int = 0, turn: int = 1, size: tuple[int, int] = (SIDE, SIDE), **options: Any) -> Any:
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(picture(seed, *size)).save(folder / "0.png", exif=exif, **options)


BREAKERS: dict[str, Callable[[Path, dict[str, Any]], Any]] = {
    "I001": lambda folder, coco: (folder / "0.png").unlink(),
    "I002": lambda folder, coco: (folder / "0.png").write_text("<html>not found</html>"),
    "I003": lambda folder, coco: (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:300]),
    "I004": lambda folder, coco: coco["images"][0].update(file_name="../0.png"),
    "I005": lambda folder, coco: coco["images"][0].update(width=SIDE + 1),
    "I006": lambda folder, coco: (
        save(folder, turn=6, size=(SIDE, SIDE - 20)),
        coco["images"][0].update(height=SIDE - 20),
    ),
    "I007": lambda folder, coco: (
        save(folder, turn=6, size=(SIDE, SIDE - 20)),
        coco["images"][0].update(width=SIDE - 20),
    ),
    "I008": lambda folder, coco: Image.fromarray(picture(0)).convert("P").save(folder / "0.png"),
    "I009": lambda folder, coco: (folder / "0.png").write_bytes((folder / "1.png").read_bytes()),
    "I010": lambda folder, coco: Image.fromarray((picture(1) * 0.95).astype(np.uint8)).save(folder / "0.png"),
    "I012": lambda folder, coco: Image.fromarray(picture(0) // 6).save(folder / "0.png"),
    "I013": lambda folder, coco: Image.fromarray(picture(0) // 9 + 227).save(folder / "0.png"),
    "I014": lambda folder, coco: Image.fromarray(
        np.asarray(cv2.resize(picture(0, 4, 4), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
    ).save(folder / "0.png"),
    "I015": lambda folder, coco: Image.new("RGB", (SIDE, SIDE), (90, 100, 80)).save(folder / "0.png"),
    "I016": lambda folder, coco: Image.fromarray(picture(0)).convert("L").convert("RGB").save(folder / "0.png"),
    "I017": lambda folder, coco: (save(folder, size=(60, 50)), coco["images"][0].update(width=60, height=50)),
}


def test_every_check_on_photos_has_a_breaker() -> None:
    assert {c.code for c in checks().values() if c.on == "photos"} == {*BREAKERS, "I011"}


def test_valid_photos_have_no_findings(tmp_path: Path) -> None:
    assert found(sound(tmp_path), tmp_path) == []


@pytest.mark.parametrize("code", BREAKERS)
def test_a_check_finds_its_broken_photo_and_nothing_else(code: str, tmp_path: Path) -> None:
    coco = sound(tmp_path, 20)
    BREAKERS[code](tmp_path, coco)
    findings = found(coco, tmp_path)
    mine = [finding for finding in findings if finding.code == code]
    assert [(one.block, one.row in (0, 1), one.image_id == one.row) for one in mine] == [("images", True, True)]
    # An even photo is grey as well, and one of another shape may be odd.
    allowed = {"I006": {"I017"}, "I007": {"I017"}, "I015": {"I016"}}.get(code, set())
    assert {finding.code for finding in findings} - {code} <= allowed


def test_exact_and_near_leaks_are_found_with_the_row_of_the_other_file(tmp_path: Path) -> None:
    coco = sound(tmp_path)
    for n, photo in enumerate([picture(50), picture(3), (picture(4) * 0.9).astype(np.uint8)]):
        Image.fromarray(photo).save(tmp_path / f"test{n}.png")
    test = Coco.of(file_of([f"test{n}.png" for n in range(3)]))
    leaks = [finding for finding in found(coco, tmp_path, against=test) if finding.code == "I011"]
    assert [(one.row, one.related, one.score) for one in leaks] == [(3, (1,), 1.0), (4, (2,), 0.5)]


def test_names_that_differ_in_case_are_proposed(tmp_path: Path) -> None:
    (tmp_path / "Batch").mkdir()
    Image.fromarray(picture(0)).save(tmp_path / "Batch" / "A.PNG", format="PNG")
    for name, meant in (("batch/a.png", "Batch/A.PNG"), ("Batch/A.jpg", "Batch/A.PNG"), ("Batch/b.png", None)):
        (finding,) = found(file_of([name]), tmp_path)
        assert finding.code == "I001"
        assert (f"{meant} is there and has its size" in finding.message) if meant else ("there" not in finding.message)
        assert finding.proposal == ({"set": {"file_name": meant}} if meant else None)
    other = file_of(["a.png"])
    Image.fromarray(picture(0)[:50]).save(tmp_path / "A.PNG", format="PNG")
    (finding,) = found(other, tmp_path)
    assert "did you mean A.PNG?" in finding.message
    assert finding.proposal is None


def as_16_bit(path: Path) -> None:
    cv2.imwrite(str(path.with_suffix(".png")), picture(1)[..., 0].astype(np.uint16) * 256)
    path.with_suffix(".png").rename(path)


@pytest.mark.parametrize(
    ("mode", "options"),
    [("L", {}), ("RGBA", {}), ("CMYK", {"format": "JPEG"}), ("P", {}), ("1", {}), ("LA", {}), ("I;16", {})],
)
def test_photos_of_all_modes_are_read(mode: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if mode == "I;16":
        as_16_bit(path)
    else:
        Image.fromarray(picture(1)).convert(mode).save(path, **options)
    findings = found(file_of(["a.png"]), tmp_path)
    assert [finding.code for finding in findings] == ["I008"]
    assert mode in findings[0].message


def test_each_photo_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trashkit.images import photos

    read_photo, read_names = photos.read_photo, []

    def counted(path: Path, size: tuple[int, int] | None = None) -> Any:
        read_names.append(path.name)
        return read_photo(path, size)

    monkeypatch.setattr(photos, "read_photo", counted)
    found(sound(tmp_path), tmp_path)
    assert sorted(read_names) == [f"{n}.png" for n in range(6)]


def test_thresholds_are_settings(tmp_path: Path) -> None:
    coco = sound(tmp_path)
    strict = Settings(dark_photo=256, bright_photo=-1, blurred_photo=1e9, grey_photo=256, small_photo=200)
    codes = {finding.code for finding in found(coco, tmp_path, settings=strict)}
    assert {"I012", "I013", "I014", "I017"} <= codes
    assert {finding.code for finding in found(coco, tmp_path, settings=Settings(empty_photo=200))} == {"I015"}


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match="does not exist"):
        found(file_of(["a.png"]), tmp_path / "none")


def test_rows_without_a_usable_name_or_size_are_skipped(tmp_path: Path) -> None:
    sound(tmp_path, 1)
    rows: list[Any] = [{"id": 1}, 7, None, {"id": 2, "file_name": 3}, {"id": 3, "file_name": "0.png", "width": "wide"}]
    table = read_table(Coco.of({"images": rows, "annotations": [], "categories": []}), Settings())
    assert [one.state for one in photo_table(table, tmp_path, silent).photos] == ["nameless"] * 4 + ["ok"]


PLANTED = {"missing-photo": "I001", "truncated-photo": "I003", "duplicate-photo": "I009", "test-leak": "I011"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_planted_photo_defects_are_found_and_nothing_else(tmp_path: Path, seed: int) -> None:
    out = tmp_path / "set"
    make(out, images=60, size=128, seed=seed, noise="light")
    result = audit(
        read(out / "train.json"), images=out / "images", against=read(out / "test.json"), select=list(PLANTED.values())
    )
    planted = [one for one in json.loads((out / "planted.json").read_text(encoding="utf-8")) if one["type"] in PLANTED]
    assert {one["type"] for one in planted} == set(PLANTED)
    wanted = {(PLANTED[one["type"]], one["rows"][-1]) for one in planted}
    assert {(finding.code, finding.row) for finding in result.findings} == wanted


def test_photos_of_a_set_without_damage_are_clean(tmp_path: Path) -> None:
    """Only the intended near-duplicates are found."""
    out = tmp_path / "set"
    make(out, images=60, size=128, seed=3, noise="light", damage_photos=False)
    result = audit(read(out / "train.json"), images=out / "images", against=read(out / "test.json"), select=["I"])
    assert {finding.code for finding in result.findings} <= {"I010"}


def test_real_photos(real_data: Path) -> None:
    """Six litter photos have EXIF orientation 6, and one of them fits the file only without rotation."""
    folder = real_data / "litter"
    by_code = audit(read(folder / "annotations.json"), images=folder, select=["I"]).summary["by_code"]
    assert by_code == {"I006": 1, "I007": 5}


def test_near_duplicates_are_named_with_their_agreement_and_weak_pairs_of_groups(tmp_path: Path) -> None:
    """Two groups of two photos, joined by one weak pair."""
    sound(tmp_path)
    first, second = picture(11), picture(12)
    between = np.roll(first, 12, axis=1)
    between[:36, :36] = second[:36, :36]
    photos = {"a": first, "b": (first * 0.93).astype(np.uint8), "c": between, "d": (between * 0.93).astype(np.uint8)}
    for name, photo in photos.items():
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    coco = file_of([f"{n}.png" for n in range(6)] + [f"{name}.png" for name in photos])
    by_matching = {
        matching: [one for one in found(coco, tmp_path, near_duplicate_matching=matching) if one.code == "I010"]
        for matching in ("normal", "strict", "off")
    }
    assert by_matching["off"] == []
    assert [one.row for one in by_matching["strict"]] == [7, 9]
    assert [one.row for one in by_matching["normal"]] == [7, 8, 9]
    for finding in by_matching["normal"]:
        assert isinstance(finding.score, float)
        assert "nearly the same photo as " in finding.message
        assert f"agreement {finding.score:.2f}" in finding.message
    assert "nearly the same photo as a.png" in by_matching["normal"][0].message
    remarks = [
        one.message for one in by_matching["normal"] if "this pair alone joins 2 photos with 2 others" in one.message
    ]
    assert len(remarks) == 1
