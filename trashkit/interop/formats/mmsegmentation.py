"""mmsegmentation 1.x: images, label maps, splits, and a data set config to use in its model configs.

Its predictions are imported by `trashkit.interop.predictions`.
"""

from __future__ import annotations

import json
from pathlib import Path

from trashkit.interop.coco_builder import ImportedAnnotations
from trashkit.interop.export_job import ExportJob
from trashkit.interop.folders import suffix_of
from trashkit.interop.format import Format
from trashkit.interop.label_map_folders import Layout, read_layout, write_layout
from trashkit.interop.names.table import NOT_GIVEN, GivenNames
from trashkit.progress import Progress, silent

LAYOUT = Layout("img_dir/PART", "ann_dir/PART", flat=True, zero="unknown")

CONFIG = """\
# Data set for mmsegmentation 1.x, written by trashkit. Use it in a model's config:
#
#     _base_ = ["dataset.py", "../configs/_base_/models/upernet_convnext.py",
#               "../configs/_base_/default_runtime.py", "../configs/_base_/schedules/schedule_80k.py"]
#     data_preprocessor = dict(size=crop_size)
#     model = dict(data_preprocessor=data_preprocessor, decode_head=dict(num_classes={count}),
#                  auxiliary_head=dict(num_classes={count}))
#
# Label maps: pixel value = class index, 0 is background and counts as a class, 255 is ignored.
dataset_type = "BaseSegDataset"
data_root = {root!r}
metainfo = dict(
    classes={classes},
    palette={palette},
)
crop_size = ({crop}, {crop})

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=({crop} * 4, {crop}), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
# Whole photos at their own size; labels are loaded after, so that they are never resized.
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]


{loaders}
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
# Predictions as PNG label maps, for: trashkit data import predictions
test_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"], output_dir="predictions", format_only=True)
"""


LOADER = """\
{name}_dataloader = dict(
    batch_size={batch},
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type={sampler!r}, shuffle={shuffle}),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file="splits/{part}.txt",
        data_prefix=dict(img_path="img_dir/{part}", seg_map_path="ann_dir/{part}"),
        img_suffix={suffix!r},
        seg_map_suffix=".png",
        reduce_zero_label=False,
        pipeline={pipeline},
    ),
)"""


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read a folder with ``img_dir`` and ``ann_dir``."""
    return read_layout(source, LAYOUT, images=images, names=names, progress=progress)


def write(job: ExportJob, out: Path) -> None:
    """Write ``img_dir``, ``ann_dir``, ``splits/PART.txt``, ``dataset.py`` and ``names.json``.

    mmsegmentation expects one suffix for all photos: the common one, or .jpg if they differ (readers look at the
    content). It names predictions after the photo without its folder, so names are flat and unique; ``names.json`` maps
    them to the original file names.
    """
    found = {suffix_of(image).lower() for image in job.images}
    suffix = found.pop() if len(found) == 1 else ".jpg"
    names = write_layout(job, out, LAYOUT, photo_suffix=suffix)
    (out / "splits").mkdir()
    for part, images in job.parts.items():
        lines = "".join(f"{names[image.row]}\n" for image in images)
        (out / "splits" / f"{part}.txt").write_text(lines, encoding="utf-8")
    origins = {names[image.row]: image.file_name for image in job.images}
    (out / "names.json").write_text(json.dumps(origins, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (out / "dataset.py").write_text(_config(job, suffix), encoding="utf-8")
    if job.folder is None or job.photos == "none":
        job.extra_notes.append("photos were not written: put them into img_dir under the names in splits/")


def _config(job: ExportJob, suffix: str) -> str:
    parts = list(job.parts)
    train = "train" if "train" in parts else parts[0]
    val = "val" if "val" in parts else train
    sides = sorted(min(image.width, image.height) for image in job.images)
    crop = max(32, min(512, sides[len(sides) // 2]) // 32 * 32)
    classes = job.dataset.classes
    sides_of = {"train": train, "val": val, "test": "test" if "test" in parts else val}
    loaders = [
        LOADER.format(
            name=name,
            part=part,
            suffix=suffix,
            batch=4 if name == "train" else 1,
            sampler="InfiniteSampler" if name == "train" else "DefaultSampler",
            shuffle=name == "train",
            pipeline="train_pipeline" if name == "train" else "test_pipeline",
        )
        for name, part in sides_of.items()
    ]
    return CONFIG.format(
        root=job.target.absolute().as_posix(),
        count=len(classes),
        classes="(" + "".join(f"\n        {name!r}," for name in classes.names) + "\n    )",
        palette="[" + "".join(f"\n        {list(color)}," for color in classes.colors) + "\n    ]",
        crop=crop,
        loaders="\n".join(loaders),
    )


FORMATS = (Format("mmsegmentation", read, write, zero=LAYOUT.zero, marks=("ann_dir",)),)
