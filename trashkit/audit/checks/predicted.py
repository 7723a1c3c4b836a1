"""Checks of labels against a model's out-of-fold predictions: with `audit --predictions`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trashkit.audit.registry import Hit, check
from trashkit.finding import Severity

if TYPE_CHECKING:
    # Stores need zarr, which takes half a second to import: only for audits with predictions.
    from trashkit.audit.views.prediction_table import PredictionTable


def _annotations(table: PredictionTable, kind: str) -> Iterator[Hit]:
    from trashkit.audit.views.label_error_hits import annotation_hits

    return annotation_hits(table.errors, kind, table.settings.predicted_probability)


@check("P001", "wrong-class", Severity.WARNING, on="predictions")
def wrong_class(table: PredictionTable) -> Iterator[Hit]:
    """An annotation most likely has the wrong class.

    Score: probability, from 0 to 1. It is estimated by injecting wrong classes into this file's own annotations, and
    comparing the model's predictions for these with those for the original annotations. Reported from a probability of
    0.3 (`predicted_probability`). Labels of classes that the model does not recognise out of fold are not assessed, and
    no label is changed to one of these (P010).

    Example::

        a glass bottle labelled Plastic

    Fix: check the photo, and relabel it (proposed as an unsafe fix).
    """
    return _annotations(table, "wrong-class")


@check("P002", "missing-object", Severity.WARNING, on="predictions")
def missing_object(table: PredictionTable) -> Iterator[Hit]:
    """The model sees an object where nothing is annotated.

    Score: probability, from 0 to 1; it is learned from the regions that appear when annotations are removed. The
    finding is about the image; its proposed fix adds the region that the model predicts.

    Example::

        a second bag behind an annotated one

    Fix: add the annotation (proposed as an unsafe fix), and draw its outline by hand where that matters.
    """
    from trashkit.audit.views.label_error_hits import missing_hits

    return missing_hits(table.errors, table.settings.predicted_probability)


@check("P003", "no-object", Severity.WARNING, on="predictions")
def no_object(table: PredictionTable) -> Iterator[Hit]:
    """The model sees no object where there is an annotation.

    Score: probability, from 0 to 1, see P001.

    Example::

        an outline left over from another photo

    Fix: delete it (proposed as an unsafe fix), unless the photo shows that the model missed the object.
    """
    return _annotations(table, "no-object")


@check("P004", "shifted-outline", Severity.INFO, on="predictions")
def shifted_outline(table: PredictionTable) -> Iterator[Hit]:
    """An outline is shifted relative to its object.

    Score: probability, from 0 to 1, see P001. The proposed fix is the predicted outline, if it is of about the same
    size as the annotated one; otherwise the finding says that there is no fix.

    Example::

        a can whose outline is shifted by a quarter of its width

    Fix: move the outline, or accept the proposed one (an unsafe fix).
    """
    return _annotations(table, "shifted-outline")


@check("P005", "coarse-outline-seen", Severity.INFO, on="predictions")
def coarse_outline_seen(table: PredictionTable) -> Iterator[Hit]:
    """An outline is coarser than the object that the model sees.

    Score: probability, from 0 to 1, see P001. The proposed fix is the predicted outline, if it is of about the same
    size as the annotated one; otherwise the finding says that there is no fix.

    Example::

        a crumpled bag outlined with four corners

    Fix: draw it again, or accept the proposed outline (an unsafe fix).
    """
    return _annotations(table, "coarse-outline")


@check("P006", "merged-objects", Severity.INFO, on="predictions")
def merged_objects(table: PredictionTable) -> Iterator[Hit]:
    """An annotation covers several objects.

    Score: probability, from 0 to 1, see P001. The proposed fix turns parts into separate annotations: the rings in
    which the model sees another class, or all rings if it sees one class everywhere; for a single ring, the regions of
    different predicted classes. The finding says if there is no fix.

    Example::

        a bottle and the paper next to it, annotated as one Plastic object

    Fix: split the annotation.
    """
    return _annotations(table, "merged-objects")


@check("P007", "split-object", Severity.INFO, on="predictions")
def split_object(table: PredictionTable) -> Iterator[Hit]:
    """Two annotations of one class share a long border along which the model sees the class.

    Score: length of the border over the square root of the smaller area, at most 1, times the class's probability along
    it; this is not a probability. Reported from 0.6. Separate objects that touch each other look the same.

    Example::

        a large bag annotated as its left and its right half

    Fix: merge the two if they are one object.
    """
    from trashkit.audit.views.label_error_hits import split_hits

    return split_hits(table.errors, 0.6)


@check("P008", "labels-disagree", Severity.INFO, on="predictions")
def labels_disagree(table: PredictionTable) -> Iterator[Hit]:
    """The labels of an image agree with the prediction far less than usual.

    Score: 1 minus the softmin (temperature 0.1) of the predicted probabilities of the labels of all pixels (Lad and
    Mueller 2023). Reported if its logit is more than 3 robust standard deviations below the median.

    Example::

        a photo whose annotations belong to another photo

    Fix: check the image; it may be mislabelled as a whole, or unlike all training images.
    """
    from trashkit.audit.views.label_error_hits import quality_hits

    return quality_hits(table.errors)


@check("P009", "predicted-in-training", Severity.WARNING, on="predictions")
def predicted_in_training(table: PredictionTable) -> Iterator[Hit]:
    """The predictions are from models that were trained on these images, or do not say whether they were.

    A model predicts the wrong labels that it was trained on, so they look right. Score: share of such images.

    Example::

        a store that `trashkit predict` made for the file that its run was trained on

    Fix: use out-of-fold predictions: `trashkit train --split SPLIT.json --fold all` writes them to RUN/RECIPE/oof.
    """
    if table.seen is None:
        message = "the predictions do not say which images their models were trained on: use out-of-fold predictions"
        yield Hit(None, message, None, None, (), "file")
    elif table.seen:
        total = len(table.errors.predictions.images)
        message = f"{table.seen} of {total} images were predicted by models that were trained on them"
        yield Hit(None, message, table.seen / total, None, (), "file")


@check("P010", "model-too-weak", Severity.WARNING, on="predictions")
def model_too_weak(table: PredictionTable) -> Iterator[Hit]:
    """The model does not recognise some classes out of fold: their labels are not assessed, or only in part.

    If a model never predicts a class, all labels of the class look wrong, including the right ones. The measure is the
    share of the class's annotations in which the class leads all other object classes (recall), minus the share of
    other annotations in which it leads. Below 0.2 the class's labels are not assessed for class, shift and merging, and
    no object of it is reported missing; up to 0.5 probabilities are reduced. If no object is seen in half of a class's
    annotations, the same holds for P003. Classes with few annotations are assessed by the model as a whole. Score:
    share of annotations not assessed.

    Example::

        Battery, which a model trained for an hour never predicts

    Fix: train longer, on more data or at a larger size, and audit with that model.
    """
    from trashkit.audit.views.label_error_hits import weakness_hits

    return weakness_hits(table.errors)
