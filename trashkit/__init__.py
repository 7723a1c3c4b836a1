"""From a folder of trash photos with noisy COCO annotations to a segmentation model you can trust."""

__version__ = "0.1.0"
