"""A folder that Hugging Face ``datasets`` loads as an imagefolder: photos, PNG label maps, ``metadata.jsonl``.

``load_dataset("imagefolder", data_dir=OUT)`` gives the columns image, label_map, image_id, width, height and objects
(class, box and area of each annotation as it was). What is seen comes back exactly from the label maps.

Format: https://huggingface.co/docs/datasets/image_dataset
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.interop.draft import Draft, Imported, box_of
from trashkit.interop.folders import class_names, files_in, read_text, stems, suffix_of
from trashkit.interop.job import Job
from trashkit.interop.label_png import read_label_png, write_label_png
from trashkit.photos import photo_path
from trashkit.progress import Progress, silent

SPLITS = {"val": "validation"}


def write(job: Job, out: Path) -> None:
    """Write ``PART/images``, ``PART/label_maps``, ``PART/metadata.jsonl``, ``classes.txt`` and a card."""
    names = stems(job.images)
    lines: dict[str, list[str]] = {SPLITS.get(part, part): [] for part in job.parts}
    for part, image in job.each():
        folder = SPLITS.get(part, part)
        photo = f"images/{names[image.row]}{suffix_of(image)}"
        label = f"label_maps/{names[image.row]}.png"
        write_label_png(out / folder / label, job.label_map(image), job.dataset.classes.colors)
        job.photo(image, out / folder / photo)
        annotations = job.dataset.annotations_of(image.row)
        job.shapes += len(annotations)
        objects: dict[str, list[Any]] = {
            "bbox": [box_of(a.segmentation) if not a.bbox else list(a.bbox) for a in annotations],
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
    source: Path, *, images: Path | None = None, names: str | None = None, progress: Progress = silent
) -> Imported:
    """Read every ``metadata.jsonl`` below a folder whose rows name a photo and a label map.

    The column of the label map ends with ``_file_name``. Class names come from `names` or ``classes.txt``. Raises
    TrashkitError naming file and line for anything else.
    """
    known = class_names(names, source, "classes.txt")
    if known is None:
        raise TrashkitError(f"{source} has no classes.txt", hint="name the classes with --names A,B,C or --names FILE")
    draft = Draft(known[1:])
    folder = images or source
    files = [path for path in files_in(source, [".jsonl"]) if path.name == "metadata.jsonl"]
    if not files:
        raise TrashkitError(f"{source} has no metadata.jsonl", hint="give the folder that load_dataset takes")
    for relative in files:
        path = source / relative
        rows = [(n, line) for n, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]
        for done, (line, text) in enumerate(rows):
            place = f"{path}, line {line}"
            photo, label = _row(text, place)
            label_path = photo_path(path.parent, label)
            pixels = read_label_png(label_path)
            name = (relative.parent / photo).as_posix()
            photo_path(folder, name)
            image = draft.image(name, pixels.shape[1], pixels.shape[0])
            draft.add_label_map(image, pixels, known, str(label_path))
            progress("reading label maps", done + 1, len(rows))
    return draft.finish(folder)


def _row(text: str, place: str) -> tuple[str, str]:
    """File names of photo and label map."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrashkitError(f"{place} is not JSON: {error}", hint="write one object a line") from error
    photo = row.get("file_name") if isinstance(row, dict) else None
    others = [v for k, v in row.items() if k.endswith("_file_name")] if isinstance(row, dict) else []
    if not isinstance(photo, str) or len(others) != 1 or not isinstance(others[0], str):
        raise TrashkitError(
            f"{place}: it must name file_name and one column that ends with _file_name", hint="name the label map there"
        )
    return photo, others[0]
