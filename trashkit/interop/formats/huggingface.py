"""Hugging Face ``datasets`` imagefolder: photos, PNG label maps and ``metadata.jsonl``.

``load_dataset("imagefolder", data_dir=OUT)`` gives the columns image, label_map, image_id, width, height and objects
(class, box and area of each original annotation). An import reads the label maps.

Format: https://huggingface.co/docs/datasets/image_dataset
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import is_file
from trashkit.images.photos import photo_path
from trashkit.interop.coco_builder import CocoBuilder, ImportedAnnotations
from trashkit.interop.export_job import ExportJob
from trashkit.interop.folders import check_size, files_in, label_stems, read_json_lines, suffix_of
from trashkit.interop.format import Format
from trashkit.interop.label_map_folders import finish_label_maps, label_map_table
from trashkit.interop.label_png import DamagedLabelError, label_png_size, read_label_png, write_label_png
from trashkit.interop.names.lists import find_names
from trashkit.interop.names.table import NOT_GIVEN, GivenNames
from trashkit.progress import Progress, silent
from trashkit.raster.measures import bounding_box
from trashkit.readers import ContentError, iterate_csv

SPLITS = {"val": "validation"}


def write(job: ExportJob, out: Path) -> None:
    """Write ``PART/images``, ``PART/label_maps``, ``PART/metadata.jsonl``, ``classes.txt`` and a dataset card."""
    names = label_stems(job.images)
    lines: dict[str, list[str]] = {SPLITS.get(part, part): [] for part in job.parts}
    for part, image in job.images_by_part():
        folder = SPLITS.get(part, part)
        photo = f"images/{names[image.row]}{suffix_of(image)}"
        label = f"label_maps/{names[image.row]}.png"
        write_label_png(out / folder / label, job.label_map(image), job.dataset.classes.colors)
        job.photo(image, out / folder / photo)
        annotations = job.dataset.annotations_of(image.row)
        job.shapes += len(annotations)
        objects: dict[str, list[Any]] = {
            "bbox": [bounding_box(a.segmentation) if not a.bbox else list(a.bbox) for a in annotations],
            "category": [job.dataset.classes.names[a.class_index] for a in annotations],
            "area": [a.area if a.area == a.area else None for a in annotations],
        }
        record: dict[str, Any] = {"file_name": photo, "label_map_file_name": label, "image_id": str(image.id)}
        record |= {"width": image.width, "height": image.height, "objects": objects}
        lines[folder].append(json.dumps(record, ensure_ascii=False) + "\n")
    for folder, text in lines.items():
        (out / folder).mkdir(parents=True, exist_ok=True)
        (out / folder / "metadata.jsonl").write_text("".join(text), encoding="utf-8")
    classes = job.dataset.classes.names
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    (out / "README.md").write_text(_card(classes, list(lines)), encoding="utf-8")


def _card(classes: tuple[str, ...], folders: list[str]) -> str:
    splits = "".join(f"  - split: {folder}\n    path: {folder}/**\n" for folder in folders)
    table = "".join(f"| {index} | {name} |\n" for index, name in enumerate(classes))
    return (
        "---\ntask_categories:\n- image-segmentation\nconfigs:\n- config_name: default\n  data_files:\n"
        f"{splits}---\n\nPixel values of `label_map`; 255 is ignored.\n\n| value | class |\n|---|---|\n{table}"
    )


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read every ``metadata.jsonl`` or ``metadata.csv`` below a folder. Each row must name a photo and a label map.

    The name of the label map's column ends with ``_file_name``. Class names come from `names` or ``classes.txt``.
    Raises TrashkitError, naming file and line, for anything else.
    """
    known = find_names(names.text, [source], "classes.txt")
    if known is None:
        raise TrashkitError(
            f"{source} has no classes.txt", hint="give the class names as --names A,B,C or --names FILE"
        )
    folder = images or source
    files = [path for path in files_in(source, [".jsonl", ".csv"]) if path.stem == "metadata"]
    if not files:
        raise TrashkitError(f"{source} has no metadata.jsonl", hint="give the folder that load_dataset loads")
    found: list[tuple[str, Path]] = []
    unusable = CocoBuilder()
    for relative in files:
        path = source / relative
        for line, row in _csv_rows(path) if path.suffix.lower() == ".csv" else read_json_lines(path):
            place = f"{path}, line {line}"
            photo, label = (_as_here(name, path.parent) for name in _names(row, place))
            label_path = photo_path(path.parent, label)
            name = (relative.parent / photo).as_posix()
            photo_path(folder, name)
            with unusable.picture(str(label_path), 1):
                check_size(folder, name, label_png_size(label_path), str(label_path))
                found.append((name, label_path))
    if not found:
        return unusable.finish(folder)  # raises, with the reason
    table, _ = label_map_table(known, "unknown", names.zero, [path for _, path in found])
    builder = CocoBuilder(table)
    builder.take_counts(unusable)
    for done, (name, path) in enumerate(found):
        try:
            pixels = read_label_png(path)
        except DamagedLabelError as error:
            builder.skip("label maps that are damaged", error.message)
            continue
        image = builder.image(name, pixels.shape[1], pixels.shape[0])
        builder.add_label_map(image, pixels, table, str(path))
        progress("reading label maps", done + 1, len(found))
    return finish_label_maps(builder, table, folder)


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields of each row of a ``metadata.csv``, without empty ones."""
    header: list[str] = []
    try:
        for line, row in iterate_csv(path):
            if header and row:
                yield line, {key: value for key, value in zip(header, row, strict=False) if value}
            header = header or row
    except (OSError, ContentError) as error:
        raise TrashkitError(f"{path} cannot be read: {read_error_reason(error)}", hint="export it again") from error


def _as_here(name: str, folder: Path) -> str:
    """A path with "/" for Windows' backslashes, unless they are part of the name of a file."""
    return name if is_file(photo_path(folder, name)) else name.replace("\\", "/")


def _names(row: Any, place: str) -> tuple[str, str]:
    """File names of the photo and the label map of a row."""
    photo = row.get("file_name") if isinstance(row, dict) else None
    others = [v for k, v in row.items() if k.endswith("_file_name")] if isinstance(row, dict) else []
    if not isinstance(photo, str) or len(others) != 1 or not isinstance(others[0], str):
        raise TrashkitError(
            f"{place} must have file_name and one other column that ends with _file_name",
            hint="put the name of the label map there",
        )
    return photo, others[0]


FORMATS = (Format("huggingface", read, write, zero="unknown"),)
