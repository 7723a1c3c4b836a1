"""All uses of FiftyOne's undocumented internals. Nothing else in trashkit relies on them.

They are needed because writing documents directly fills a data set several times faster than FiftyOne's importer, and
because its server needs a guard in front of it. `tests/review/test_private_api.py` checks each of them and
names what changed when a new version of FiftyOne breaks one. Importing this module does not import FiftyOne.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from bson import ObjectId

Document = dict[str, Any]

SERVER_ENVIRONMENT = {"FIFTYONE_SERVER": "1", "FIFTYONE_ALLOWED_ORIGINS": ""}
"""Says that a process is the App's server, and that no other page may call it."""
ENVIRONMENT = {
    "FIFTYONE_DO_NOT_TRACK": "1",
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    "FIFTYONE_LOGGING_LEVEL": "ERROR",
    "FIFTYONE_DATABASE_VALIDATION": "false",
}
"""Settings for FiftyOne and its server; some of them are not in FiftyOne's documentation."""
_DATABASE = "fiftyone.core.odm.database"
_CLEANUP = "_delete_non_persistent_datasets_if_allowed"


# ------------------------------------------------------------ documents of samples
def insert_samples(dataset: Any, documents: Sequence[Document]) -> None:
    """Insert documents made by `sample_document`."""
    if documents:
        with _one_line_errors():
            dataset._sample_collection.insert_many(documents)


def find_samples(dataset: Any, query: Mapping[str, Any], fields: Iterable[str] | None = None) -> list[Document]:
    """The stored documents that match a MongoDB query, with these fields or all."""
    projection = dict.fromkeys(fields, 1) if fields is not None else None
    return list(dataset._sample_collection.find(query, projection))


def delete_samples(dataset: Any, query: Mapping[str, Any]) -> None:
    """Delete the samples that match a MongoDB query."""
    dataset._sample_collection.delete_many(query)


def set_fields(dataset: Any, fields_by_id: Mapping[ObjectId, Document]) -> None:
    """Set fields of samples. Sample objects that are loaded do not notice, and `last_modified_at` stays."""
    if fields_by_id:
        with _one_line_errors():
            dataset._sample_collection.bulk_write(_updates(fields_by_id))


def set_fields_and_reload(dataset: Any, fields_by_id: Mapping[ObjectId, Document]) -> None:
    """Set fields of samples as FiftyOne's own bulk edits do, so that loaded sample objects reload."""
    if fields_by_id:
        with _one_line_errors():
            dataset._bulk_write(_updates(fields_by_id), ids=[str(key) for key in fields_by_id])


@contextmanager
def _one_line_errors() -> Iterator[None]:
    from bson.errors import InvalidDocument
    from pymongo.errors import DocumentTooLarge

    try:
        yield
    except (DocumentTooLarge, InvalidDocument) as error:
        many = "its outlines or texts take more than 16 MB" if isinstance(error, DocumentTooLarge) else str(error)[:160]
        raise TrashkitError(
            f"the App cannot show an image: {many}", hint="simplify its annotations, or write a page with --html"
        ) from error


def _updates(fields_by_id: Mapping[ObjectId, Document]) -> list[Any]:
    from pymongo import UpdateOne

    return [UpdateOne({"_id": key}, {"$set": fields}) for key, fields in fields_by_id.items()]


def dataset_bytes(dataset: Any) -> int:
    """The bytes that a data set's samples take up on disk."""
    return int(dataset._sample_collection.database.command("collStats", dataset._sample_collection_name)["storageSize"])


def sample_document(dataset: Any, document: Document, label_fields: Iterable[str]) -> Document:
    """A document as the database stores it.

    document: fields of the sample, with its id as text under ``_id``. label_fields: those of its fields that hold
    polylines, ``{"polylines": [...]}``, whose ids are texts as well. Fields that are None are left out.
    """
    from bson import ObjectId

    stored = {key: value for key, value in document.items() if value is not None}
    stored["_id"] = ObjectId(document["_id"])
    stored["_dataset_id"] = dataset._doc.id
    for field in label_fields:
        labels = [{**label, "_id": ObjectId(label["_id"])} for label in document[field]["polylines"]]
        stored[field] = {"_cls": "Polylines", "polylines": labels}
    return stored


def address_of_view(name: str) -> str:
    """What addresses call a saved view, its ASCII letters and digits; empty if it cannot have one."""
    to_slug: Any = import_module("fiftyone.core.utils").to_slug
    try:
        return str(to_slug(name))
    except ValueError:
        return ""


# ------------------------------------------------------------ the server and the database
def mongod_path(package: Path) -> Path:
    """The mongod that comes with FiftyOne. package: the folder in which FiftyOne is installed."""
    return package / "db" / "bin" / "mongod"


def server_app(port: int, may_execute: Callable[[str], bool]) -> Any:
    """FiftyOne's server as an ASGI app. Only in a process of its own, with `SERVER_ENVIRONMENT`.

    may_execute: whether an operator may be executed; others are not offered either.
    """
    from fiftyone.operators.permissions import ManagedOperators
    from fiftyone.server.app import app
    from fiftyone.server.events import set_port

    set_port(port)
    ManagedOperators.has_operator = lambda _self, uri: may_execute(uri)
    _restrict_classes()
    return app


def _restrict_classes() -> None:
    """Let requests name what views are made of only, and let no view write to the database.

    FiftyOne's server makes the stages of a view with whatever class or function a request names: ``subprocess.Popen``,
    or its own ``ServerService``, which starts a second server without a guard. And MongoDB stages such as ``$out``
    replace any collection.
    """
    utils: Any = import_module("eta.core.utils")
    get_class = utils.get_class
    bases = tuple(getattr(import_module(module), name) for module, name in _BASES)

    def get_own_class(class_name: str, module_name: str | None = None) -> Any:
        if not f"{module_name or class_name}.".startswith(_CLASSES):
            raise ImportError(f"{class_name} is not a class of FiftyOne")
        found = get_class(class_name, module_name)
        if not (isinstance(found, type) and issubclass(found, bases)):
            raise ImportError(f"{class_name} is not a class of FiftyOne that views need")
        return found

    utils.get_class = get_own_class
    mongo: Any = import_module("fiftyone.core.stages").Mongo
    made = mongo.__init__

    def make(self: Any, pipeline: Any, *args: Any, **more: Any) -> None:
        if any(name in _WRITING for stage in pipeline if isinstance(stage, Mapping) for name in stage):
            raise ValueError("a view may not write to the database")
        made(self, pipeline, *args, **more)

    mongo.__init__ = make


_CLASSES = ("fiftyone.core.", "fiftyone.server.")
_BASES = (
    ("fiftyone.core.stages", "ViewStage"),
    ("fiftyone.core.aggregations", "Aggregation"),
    ("fiftyone.core.fields", "Field"),
    ("fiftyone.core.odm.embedded_document", "BaseEmbeddedDocument"),
    ("fiftyone.core.session.events", "Event"),
)
"""What requests and stored data sets name: stages, aggregations, the types of fields, events."""
_WRITING = ("$out", "$merge")


def cancel_cleanup_at_exit() -> None:
    """Keep FiftyOne from cleaning its database up when Python exits.

    By then our mongod has ended, and FiftyOne would wait half a minute for it.
    """
    cleanup = getattr(sys.modules.get(_DATABASE), _CLEANUP, None)
    if cleanup is not None:
        atexit.unregister(cleanup)
