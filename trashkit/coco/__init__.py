"""COCO data sets as immutable values: read, check, change, write."""

from trashkit.coco.classes import OFFICIAL_COLORS, OFFICIAL_NAMES, ClassMap, class_map
from trashkit.coco.dataset import Coco
from trashkit.coco.merge import merge
from trashkit.coco.read import read
from trashkit.coco.strict import Annotation, Dataset, Image, Segmentation, read_dataset
from trashkit.coco.write import write

__all__ = [
    "OFFICIAL_COLORS",
    "OFFICIAL_NAMES",
    "Annotation",
    "ClassMap",
    "Coco",
    "Dataset",
    "Image",
    "Segmentation",
    "class_map",
    "merge",
    "read",
    "read_dataset",
    "write",
]
