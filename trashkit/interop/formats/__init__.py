"""Annotation formats of other tools, found by the tuple ``FORMATS`` with which each file here ends.

`trashkit.interop.coco_builder.CocoBuilder` makes the result of a format's ``read``;
`trashkit.interop.export_job.ExportJob` gives its ``write`` the images, shapes, label maps and photos.
"""
