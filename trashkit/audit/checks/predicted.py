"""Labels that a model's out-of-fold predictions speak against: with `audit --predictions`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trashkit.audit.registry import Hit, check
from trashkit.finding import Severity

if TYPE_CHECKING:
    # Stores need zarr, which takes half a second to import: only for audits that have one.
    from trashkit.audit.predicted_table import PredictedTable


def _annotations(table: PredictedTable, kind: str) -> Iterator[Hit]:
    from trashkit.audit.label_report import annotation_hits

    return annotation_hits(table.errors, kind, table.settings.predicted_probability)


@check("P001", "wrong-class", Severity.WARNING, on="predictions")
def wrong_class(table: PredictedTable) -> Iterator[Hit]:
    """An annotation most likely has the class of something else.

    Score: probability, from 0 to 1. Wrong classes were planted into this file's own annotations, and the model's
    predictions for those compared with its predictions for the annotations as they stand; reported from a
    probability of 0.3 (`predicted_probability`). Labels of classes that the model does not recognise out of fold are
    not judged, and no label is changed to one of these (P010).

    Example::

        a glass bottle annotated as Plastic

    Cure: relabel it (proposed as an unsafe fix) after looking at the photo.
    """
    return _annotations(table, "wrong-class")


@check("P002", "missing-object", Severity.WARNING, on="predictions")
def missing_object(table: PredictedTable) -> Iterator[Hit]:
    """An object is seen where nothing is annotated.

    Score: probability, from 0 to 1; the regions that show when annotations are taken away are what it is learned from.
    The finding is about the image; its proposed fix adds the region as the model sees it.

    Example::

        a second bag, behind the one that was outlined

    Cure: add the annotation (proposed as an unsafe fix), with an outline drawn by hand where it matters.
    """
    from trashkit.audit.label_report import missing_hits

    return missing_hits(table.errors, table.settings.predicted_probability)


@check("P003", "no-object", Severity.WARNING, on="predictions")
def no_object(table: PredictedTable) -> Iterator[Hit]:
    """An annotation lies where no object is seen.

    Score: probability, from 0 to 1, see P001.

    Example::

        an outline left over from another photo

    Cure: delete it (proposed as an unsafe fix) unless the photo shows what the model overlooked.
    """
    return _annotations(table, "no-object")


@check("P004", "shifted-outline", Severity.INFO, on="predictions")
def shifted_outline(table: PredictedTable) -> Iterator[Hit]:
    """An outline lies beside its object.

    Score: probability, from 0 to 1, see P001. The proposed fix is the outline that the model sees, where it sees about
    as much of the object as was outlined; the finding says where it does not.

    Example::

        a can whose outline is moved by a quarter of its width

    Cure: move the outline, or take the proposed one (an unsafe fix).
    """
    return _annotations(table, "shifted-outline")


@check("P005", "coarse-outline-seen", Severity.INFO, on="predictions")
def coarse_outline_seen(table: PredictedTable) -> Iterator[Hit]:
    """An outline is coarser than the object that is seen.

    Score: probability, from 0 to 1, see P001. The proposed fix is the outline that the model sees, where it sees about
    as much of the object as was outlined; the finding says where it does not.

    Example::

        a crumpled bag outlined with four corners

    Cure: draw it anew, or take the proposed outline (an unsafe fix).
    """
    return _annotations(table, "coarse-outline")


@check("P006", "merged-objects", Severity.INFO, on="predictions")
def merged_objects(table: PredictedTable) -> Iterator[Hit]:
    """An annotation covers several objects.

    Score: probability, from 0 to 1, see P001. The proposed fix makes parts annotations of their own: rings in which
    another class is seen, or all where one class is seen throughout; of a single ring, regions in which the prediction
    sees different classes. The finding says where there is none.

    Example::

        a bottle and the paper beside it, annotated as one Plastic

    Cure: split the annotation.
    """
    return _annotations(table, "merged-objects")


@check("P007", "split-object", Severity.INFO, on="predictions")
def split_object(table: PredictedTable) -> Iterator[Hit]:
    """Two annotations of one class share a long border across which the class is seen.

    Score: length of the border over the root of the smaller one's area, at most 1, times the class's probability along
    it; no probability. Reported from 0.6. Things that lie against each other look the same.

    Example::

        a large bag annotated as its left and its right half

    Cure: join the two where they are one object.
    """
    from trashkit.audit.label_report import split_hits

    return split_hits(table.errors, 0.6)


@check("P008", "labels-disagree", Severity.INFO, on="predictions")
def labels_disagree(table: PredictedTable) -> Iterator[Hit]:
    """The labels of an image agree with the prediction far worse than usual.

    Score: 1 less the softmin (temperature 0.1) of the probabilities that the prediction gives to the labels of all
    pixels (Lad and Mueller 2023). Reported where its logit lies 3 robust standard deviations below the median.

    Example::

        a photo whose annotations belong to another photo

    Cure: look at the image; it may be mislabelled as a whole, or of a kind that the model never met.
    """
    from trashkit.audit.label_report import quality_hits

    return quality_hits(table.errors)


@check("P009", "predicted-in-training", Severity.WARNING, on="predictions")
def predicted_in_training(table: PredictedTable) -> Iterator[Hit]:
    """The predictions are from models that saw these images in training, or do not say whether they did.

    A model that learned a wrong label predicts it, so the label looks right. Score: share of the images.

    Example::

        a store that `trashkit predict` made for the file that its run was trained on

    Cure: use out-of-fold predictions: `trashkit train --split SPLIT.json --fold all` writes them to RUN/RECIPE/oof.
    """
    if table.seen is None:
        message = "the predictions do not say which images their models were trained on: use out-of-fold predictions"
        yield Hit(None, message, None, None, (), "file")
    elif table.seen:
        total = len(table.errors.gallery.pictures)
        message = f"{table.seen} of {total} images were predicted by models that were trained on them"
        yield Hit(None, message, table.seen / total, None, (), "file")


@check("P010", "model-too-weak", Severity.WARNING, on="predictions")
def model_too_weak(table: PredictedTable) -> Iterator[Hit]:
    """The model does not recognise some classes out of fold: their labels are not judged, or in part.

    Beside a model that never predicts a class, all labels of the class look wrong, the right ones too. What counts is
    in how many of a class's annotations it leads all other object classes (recall), less in how many of the others it
    leads. Below 0.2 its labels are not judged for class, shift and merging, nor are objects of it said to be missing;
    up to 0.5 probabilities are reduced. Where no object is seen in half of a class's annotations, the same holds for
    P003. Classes with few annotations are judged by the model as a whole. Score: share of annotations not judged.

    Example::

        Battery, which a model trained for an hour never predicts

    Cure: train longer, on more data or at a larger size, and audit with that model.
    """
    from trashkit.audit.label_report import weakness_hits

    return weakness_hits(table.errors)
