"""Settings from trashkit.toml."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from trashkit.audit import Settings, audit, read_settings
from trashkit.audit.example import clean_file, octagon
from trashkit.audit.reference import reference_page
from trashkit.coco import Coco
from trashkit.errors import TrashkitError


def written(folder: Path, text: str) -> Path:
    path = folder / "trashkit.toml"
    path.write_text(text)
    return path


def test_every_setting_can_be_set(tmp_path: Path) -> None:
    text = "[audit]\n"
    for field in fields(Settings):
        if field.name in ("parts", "extend_parts"):
            text += f'{field.name} = [["*cap*", "*bottle*"]]\n'
        elif field.name != "waivers":
            text += f"{field.name} = {7 if isinstance(field.default, int) else 0.7}\n"
    text += '[[audit.waivers]]\ncode = "G003"\nannotation_id = 4\nreason = "as drawn"\n'
    made = read_settings(written(tmp_path, text))
    assert made.parts == (("*cap*", "*bottle*"),) and made.waivers[0]["annotation_id"] == 4
    for field in fields(Settings):
        if field.name not in ("parts", "extend_parts", "waivers"):
            value = getattr(made, field.name)
            assert value == (7 if isinstance(field.default, int) else 0.7) and type(value) is type(field.default)


def test_all_mistakes_are_reported_at_once_with_suggestions(tmp_path: Path) -> None:
    path = written(
        tmp_path, '[audit]\narea_shar = 1\noutside = "far"\nparts = [["cap"]]\ntiny_area = -1\nbbox_edge = nan'
    )
    with pytest.raises(TrashkitError) as error:
        read_settings(path)
    for word in ("area_share", "outside", "parts", "tiny_area", "bbox_edge"):
        assert word in error.value.message


def test_without_file_or_table_settings_have_their_defaults(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, "[train]\nepochs = 3")) == read_settings(None) == Settings()


@pytest.mark.parametrize("text", ["[audit", "audit = 3"])
def test_invalid_settings_files_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(TrashkitError):
        read_settings(written(tmp_path, text))
    with pytest.raises(TrashkitError):
        read_settings(tmp_path / "none.toml")


def test_the_page_lists_every_setting_and_its_example_is_read(tmp_path: Path) -> None:
    page = reference_page()
    for field in fields(Settings):
        assert f"| `{field.name}` |" in page
    example, default = page.split("```toml\n")[1:]
    made = read_settings(written(tmp_path, example.partition("```")[0]))
    assert made.extend_parts == (("*sticker*", "*box*"),) and made.parts == Settings().parts and made.waivers
    assert read_settings(written(tmp_path, "[audit]\n" + default.partition("```")[0])) == Settings()


def test_pairs_of_parts_extend_or_replace_the_default() -> None:
    coco = clean_file()
    inner = {**coco["annotations"][0], "id": 900, "category_id": 2, "segmentation": [octagon(111, 91, 20)]}
    coco["annotations"].append(inner)

    def contained(settings: Settings) -> bool:
        return any(f.code == "L006" for f in audit(Coco.of(coco), settings=settings, select=["L"], workers=1).findings)

    assert contained(Settings()) and not contained(Settings(extend_parts=(("can", "bot*"),)))
