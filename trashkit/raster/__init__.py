"""Polygons and RLE to label maps and back: pixel rules and paint order."""

from trashkit.raster.masks import PaintOrder, dataset_label_map, label_map

__all__ = [
    "PaintOrder",
    "dataset_label_map",
    "label_map",
]
