"""Confusion matrix, argmax and bootstrap, compared with the usual ways in one run.

    python tests/benchmarks/bench_scores.py

512 x 512 label maps, 11 classes, one thread. The torch rows need torch and torchmetrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
from sklearn.metrics import confusion_matrix

from trashkit.metrics import scores

CLASSES = 11
Row = tuple[str, Callable[[], object]]


def milliseconds(call: Callable[[], object], seconds: float = 1.0) -> float:
    """Best time of one call, in about a second of repetitions."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best * 1000


def table(work: str, rows: list[Row]) -> None:
    """Print a Markdown row for each way, compared with the first."""
    first = None
    for name, call in rows:
        spent = milliseconds(call)
        first = first or spent
        print(f"| {work} | {name} | {spent:.2f} | {first / spent:.1f}x |")


def label_maps() -> tuple[np.ndarray, np.ndarray]:
    """A truth of patches, and a prediction that is wrong at a tenth of the pixels."""
    generator = np.random.default_rng(0)
    patches = generator.integers(0, CLASSES, (20, 20), dtype=np.uint8)
    truth = cv2.resize(patches, (512, 512), interpolation=cv2.INTER_NEAREST)
    wrong = generator.random(truth.shape) < 0.1
    return truth, np.where(wrong, generator.integers(0, CLASSES, truth.shape, dtype=np.uint8), truth)


def masked_bincount(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The usual ``fast_hist``."""
    kept = (truth >= 0) & (truth < CLASSES)
    counts = np.bincount(CLASSES * truth[kept].astype(int) + prediction[kept], minlength=CLASSES**2)
    return counts.reshape(CLASSES, CLASSES)


def matrix_rows(truth: np.ndarray, prediction: np.ndarray) -> list[Row]:
    whole = truth.astype(np.int64), prediction.astype(np.int64)  # the dtype of argmax in torch
    rows: list[Row] = [
        ("masked bincount of int64", lambda: masked_bincount(*whole)),
        ("masked bincount of uint8", lambda: masked_bincount(truth, prediction)),
        (
            "scikit-learn confusion_matrix",
            lambda: confusion_matrix(truth.ravel(), prediction.ravel(), labels=range(CLASSES)),
        ),
    ]
    try:
        import torch
        from torchmetrics.functional.classification import multiclass_confusion_matrix
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        pair = [torch.from_numpy(labels) for labels in whole]
        rows.append(
            (
                "torchmetrics",
                lambda: multiclass_confusion_matrix(pair[1][None], pair[0][None], CLASSES, ignore_index=255),
            )
        )
        packed = [torch.from_numpy(labels) for labels in (truth, prediction)]
        rows.append(
            (
                "torch.bincount of packed uint8",
                lambda: torch.bincount((packed[0] << 4 | packed[1]).view(-1), minlength=256),
            )
        )
    rows.append(("trashkit confusion", lambda: scores.confusion(truth, prediction, CLASSES)))
    return rows


def argmax_rows() -> list[Row]:
    values = np.random.default_rng(0).random((CLASSES, 512, 512), dtype=np.float32)
    last = np.ascontiguousarray(values.transpose(1, 2, 0))

    rows: list[Row] = [
        ("numpy, [C, H, W]", lambda: values.argmax(axis=0)),
        ("numpy, [H, W, C]", lambda: last.argmax(axis=2)),
    ]
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        planes = torch.from_numpy(values)
        rows.append(("torch argmax, [C, H, W]", lambda: planes.argmax(0)))
        rows.append(("torch max, [C, H, W]", lambda: planes.max(0)[1]))
    rows.append(("running maximum, [C, H, W] to uint8", lambda: running_argmax(values)))
    return rows


def running_argmax(values: np.ndarray) -> np.ndarray:
    """One pass over each class plane; the lowest class wins a tie, as in argmax."""
    best = values[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for number in range(1, len(values)):
        higher = values[number] > best
        np.copyto(best, values[number], where=higher)
        np.copyto(labels, number, where=higher)
    return labels


def loop_bootstrap(matrices: np.ndarray, resamples: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(resamples):
        drawn = generator.integers(0, len(matrices), len(matrices))
        found.append(scores.Confusion(matrices[drawn].sum(axis=0), ("",) * CLASSES).miou())
    return np.array(found)


def main() -> None:
    cv2.setNumThreads(1)
    truth, prediction = label_maps()
    assert np.array_equal(scores.confusion(truth, prediction, CLASSES), masked_bincount(truth, prediction))
    print("| work | way | ms | against the first |\n|---|---|---|---|")
    table("confusion matrix, 512 px", matrix_rows(truth, prediction))
    table("argmax over 11 classes, 512 px", argmax_rows())
    matrices = np.random.default_rng(0).integers(0, 1000, (819, CLASSES, CLASSES))
    table(
        "bootstrap of mIoU, 819 images, 1,000 resamples",
        [
            ("draw and add up matrices in a loop", lambda: loop_bootstrap(matrices, 1000)),
            ("trashkit bootstrap_miou", lambda: scores.bootstrap_miou(matrices, 1000)),
        ],
    )


if __name__ == "__main__":
    main()
