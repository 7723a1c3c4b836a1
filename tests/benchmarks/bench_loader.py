"""Data loading and a training step, compared with the usual way in one run.

    python tests/benchmarks/bench_loader.py [ANN.json IMAGES_DIR]

The usual way, as in published code: cv2 decodes each epoch, the photo becomes float32 first, each annotation is
rasterised again by pycocotools' ``annToMask``, and albumentations augments and normalises floats. Ours: photos and
label maps come from a memory-mapped file, the same augmentations run on uint8, and the network normalises. Without a
file: drawn photos of 512 px, 8 polygons each. One thread, no workers, CPU time; our time is that of the second epoch,
and the time to build the cache is shown next to it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from pycocotools.coco import COCO

from trashkit.coco import read_dataset
from trashkit.nn.data.augment import Augment, Crop, Preset, make_augment
from trashkit.nn.data.cache import JoinedCaches, open_cache, train_layout
from trashkit.nn.data.datasets import TrainDataset, make_dataset, make_loader
from trashkit.nn.data.sampler import EpochBatchSampler
from trashkit.settings.data import CopyPasteSettings, DataSettings

SIZE = 512
IMAGES = 48

cv2.setNumThreads(1)
torch.set_num_threads(1)


def transforms() -> list[Any]:
    """The same for both: crop, mirror, brightness, colour."""
    return [
        A.RandomResizedCrop((SIZE, SIZE), scale=(0.5, 1.0), ratio=(0.75, 4 / 3)),
        A.HorizontalFlip(p=0.5),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        A.HueSaturationValue(12, 40, 15, p=0.5),
    ]


def draw(folder: Path) -> Path:
    """Smooth noise as photos, stars as annotations."""
    generator = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for n in range(IMAGES):
        photo = cv2.resize(generator.integers(0, 256, (64, 64, 3), dtype=np.uint8), (512, 512))
        name = f"{n:04d}.jpg"
        (folder / name).write_bytes(cv2.imencode(".jpg", photo)[1].tobytes())
        images.append({"id": n, "file_name": name, "width": 512, "height": 512})
        for _ in range(8):
            angle = np.linspace(0, 2 * np.pi, 70, endpoint=False)
            radius = generator.uniform(20, 120) * generator.uniform(0.8, 1.2, 70)
            ring = generator.uniform(120, 390, 2) + np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
            flat = np.clip(ring, 0, 512).round(1).ravel().tolist()
            box = [float(flat[0]), float(flat[1]), 1.0, 1.0]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": n, "category_id": int(generator.integers(1, 11)),
                 "segmentation": [flat], "area": float(radius.mean() ** 2 * 3.14), "bbox": box, "iscrowd": 0}
            )  # fmt: skip
    names = ["General trash", "Paper", "Paper pack", "Metal", "Glass", "Plastic", "Styrofoam", "Plastic bag",
             "Battery", "Clothing"]  # fmt: skip
    categories = [{"id": n + 1, "name": name} for n, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "ann.json").write_text(json.dumps(content))
    return folder / "ann.json"


class Peer(torch.utils.data.Dataset):
    """Data set as in common baselines."""

    def __init__(self, annotations: Path, folder: Path) -> None:
        self.coco = COCO(str(annotations))
        self.ids = sorted(self.coco.getImgIds())[:IMAGES]
        self.folder = folder
        self.transform = A.Compose([*transforms(), A.Normalize(max_pixel_value=1.0)])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        info = self.coco.loadImgs(self.ids[n])[0]
        photo = cv2.cvtColor(cv2.imread(str(self.folder / info["file_name"])), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
        photo = photo.astype(np.float32) / 255.0
        annotations = self.coco.loadAnns(self.coco.getAnnIds(imgIds=info["id"]))
        labels = np.zeros((info["height"], info["width"]))
        for annotation in sorted(annotations, key=lambda a: a["area"], reverse=True):
            labels[self.coco.annToMask(annotation) == 1] = annotation["category_id"]
        made = self.transform(image=photo, mask=labels)
        return torch.from_numpy(made["image"].transpose(2, 0, 1).copy()), torch.from_numpy(made["mask"]).long()


def milliseconds(loader: Any, images: int) -> float:
    """CPU time of one pass, per image: not affected by other programs on the machine."""
    start = time.process_time()
    for _ in loader:
        pass
    return (time.process_time() - start) / images * 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        annotations, folder = (Path(sys.argv[1]), Path(sys.argv[2])) if len(sys.argv) > 2 else (draw(place), place)
        dataset = read_dataset(annotations)
        images = dataset.images[:IMAGES]
        peer = Peer(annotations, folder)
        theirs = milliseconds(torch.utils.data.DataLoader(peer, batch_size=8, shuffle=True), len(peer))

        start = time.process_time()
        cache = open_cache(
            dataset, images, folder, train_layout(SIZE, "area"), place, content="", budget=10**10, threads=1
        )
        made = (time.process_time() - start) / len(images) * 1000
        same = Augment(Preset(Crop(0.5, (0.75, 4 / 3)), lambda: transforms()[1:]), SIZE)
        rows = [("peers: decode, annToMask, float32", theirs)]
        paste = DataSettings(size=SIZE, copy_paste=CopyPasteSettings(p=0.5))
        whole = JoinedCaches([cache])
        ways = [
            ("trashkit, the same augmentations", TrainDataset(cache, same, 0)),
            ("trashkit, preset light", TrainDataset(cache, make_augment("light", SIZE), 0)),
            ("trashkit, light and copy-paste", make_dataset(paste, dataset, whole, 0)),
        ]
        for title, photos in ways:
            batches = EpochBatchSampler(len(images), 8, seed=0)
            loader = make_loader(photos, batches, workers=0, pin=False)
            milliseconds(loader, len(images))
            batches.epoch = 1
            rows.append((title, milliseconds(loader, len(images))))
        print(f"{len(images)} photos at {SIZE} px, one thread; the cache was made in {made:.1f} ms a photo, once")
        for title, value in rows:
            print(f"{title:36s} {value:7.2f} ms/photo   {theirs / value:5.1f}x")


if __name__ == "__main__":
    main()
