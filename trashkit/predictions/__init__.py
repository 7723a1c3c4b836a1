"""Class probabilities and label maps predicted for a data set: stores, submission files, post-processing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trashkit.predictions.reading import Predictions, open_predictions
    from trashkit.predictions.store import Probabilities, create_store, open_store

__all__ = [
    "Predictions",
    "Probabilities",
    "create_store",
    "open_predictions",
    "open_store",
]

_MODULES = {"Predictions": "reading", "open_predictions": "reading"}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line loads modules of this package at its start, without cv2 and zarr."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'store')}"), name)
