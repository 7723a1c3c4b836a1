"""Settings, waivers and baselines of strangers: a result or one line, and nothing in between."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest

from trashkit.audit import audit, read_settings
from trashkit.audit.baseline import FORMAT, read_baseline
from trashkit.audit.example import clean_file
from trashkit.audit.settings import Settings
from trashkit.coco import Coco
from trashkit.errors import TrashkitError
from trashkit.workflows.audit import audit_file

DIGITS, LEVELS = "9" * 5000, 5000
SETTINGS = {
    "key of 20,000 dots": "a." * 20_000 + "b = 1",
    "table of 20,000 dots": "[" + "a." * 20_000 + "b]",
    "dots between quoted keys": '"a" . ' * 20_000 + "b = 1",
    "deep list": "[audit]\nparts = " + "[" * LEVELS + "]" * LEVELS,
    "list of 150 levels": "[audit]\nparts = " + "[" * 150 + "]" * 150,
    "deep table": "x = " + "{a=" * 300 + "1" + "}" * 300,
    "5,000 digits": f"[audit]\nrare_category = {DIGITS}",
    "5,000 hexadecimal digits": "[audit]\nrare_category = 0x" + "f" * 5000,
    "5,000 hexadecimal digits in a waiver": "[[audit.waivers]]\nimage_id = 0x" + "f" * 5000,
    "400 digits": "[audit]\nrare_category = " + "9" * 400,
    "1e300": "[audit]\ntraining_side = 1e300",
    "NaN": "[audit]\ntiny_area = nan",
    "infinity": "[audit]\ntiny_area = inf",
    "1e999": "[audit]\ntiny_area = 1e999",
    "boolean": "[audit]\ntiny_area = true",
    "negative": "[audit]\ntiny_area = -1",
    "number for a table": "audit = 1",
    "list of tables": "[[audit]]\ntiny_area = 1",
    "table for a number": "[audit.tiny_area]\nx = 1",
    "numbers for names": "[audit]\nparts = [[1, 2]]",
    "number for waivers": "[audit]\nwaivers = 3",
    "null byte": "[audit]\nparts = 1\0",
    "half an assignment": "[audit]\ntiny_area =",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_hostile_settings(tmp_path: Path, name: str) -> None:
    path = tmp_path / "trashkit.toml"
    path.write_text(SETTINGS[name])
    with pytest.raises(TrashkitError) as error:
        read_settings(path)
    assert str(path) in error.value.message and "\n" not in error.value.message
    assert len(error.value.message) < 400


@pytest.mark.parametrize("line", ["code = 1", "code = []", "reason = {}", "image_id = {}", "image_id = [[1]]", "x = 1"])
def test_waivers_of_wrong_types(tmp_path: Path, line: str) -> None:
    settings, ann = tmp_path / "trashkit.toml", tmp_path / "ann.json"
    given = {"code": '"G003"', "image_id": "1", "reason": '"on purpose"'}
    given |= dict([line.split(" = ")])
    settings.write_text("[[audit.waivers]]\n" + "\n".join(f"{key} = {value}" for key, value in given.items()))
    ann.write_text(json.dumps(clean_file()))
    try:
        found = audit_file(ann, settings=read_settings(settings))
    except TrashkitError as error:
        assert "waiver 1" in error.message
    else:
        assert "no longer matches any finding" in found.warnings[0]


def test_the_largest_settings_work() -> None:
    """Whatever passes as a setting must not overflow in a check."""
    numbers = {f.name: type(f.default)(1e12) for f in fields(Settings) if isinstance(f.default, int | float)}
    assert numbers
    audit(Coco.of(clean_file()), settings=replace(Settings(), **numbers), workers=1)


BASELINES = {
    "empty": b"",
    "list": b"[]",
    "deep": b"[" * 100_000,
    "deep value": b'{"format": "trashkit audit baseline", "known": ' + b"[" * 500 + b"]" * 500 + b"}",
    "5,000 digits": b'{"format": "trashkit audit baseline", "known": {"a": ' + b"9" * 5000 + b"}}",
    "text for a count": json.dumps({"format": FORMAT, "known": {"a": "1"}}).encode(),
    "boolean for a count": json.dumps({"format": FORMAT, "known": {"a": True}}).encode(),
    "list for counts": json.dumps({"format": FORMAT, "known": [1]}).encode(),
    "other format": b'{"format": [], "known": {}}',
    "not UTF-8": b"\xff\xfe\xff",
    "null bytes": b"\0\0\0\0",
}


@pytest.mark.parametrize("name", BASELINES)
def test_hostile_baselines(tmp_path: Path, name: str) -> None:
    path = tmp_path / "known.json"
    path.write_bytes(BASELINES[name])
    with pytest.raises(TrashkitError) as error:
        read_baseline(path)
    assert str(path) in error.value.message and "\n" not in error.value.message


@pytest.mark.parametrize("read", [read_settings, read_baseline])
def test_folders_and_pipes(tmp_path: Path, read: object) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in ((tmp_path, "it is a folder"), (tmp_path / "pipe", "it is a pipe or a device")):
        with pytest.raises(TrashkitError, match=reason):
            read(path)  # type: ignore[operator]
