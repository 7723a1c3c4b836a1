"""The undocumented parts of FiftyOne that trashkit uses are unchanged. A failure names what changed."""

from __future__ import annotations

import importlib
import inspect
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from trashkit.review.fiftyone_app import private_api
from trashkit.review.session import ReviewSession

FOLDER = Path(private_api.__file__).parent


@pytest.fixture(scope="module")
def package(home: Path) -> Path:
    spec = find_spec("fiftyone")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@pytest.fixture
def dataset(home: Path) -> Any:
    import fiftyone as fo

    made = fo.Dataset()
    yield made
    made.delete()


def changed(what: str) -> str:
    return f"FiftyOne {version('fiftyone')} changed {what}: adapt review/fiftyone_app/private_api.py"


@pytest.mark.parametrize(
    "method", ["insert_many", "find", "delete_many", "bulk_write"], ids=lambda name: f"_sample_collection.{name}"
)
def test_a_dataset_has_its_collection(dataset: Any, method: str) -> None:
    assert callable(getattr(getattr(dataset, "_sample_collection", None), method, None)), changed(
        f"Dataset._sample_collection.{method}"
    )


def test_a_dataset_has_its_own_document(dataset: Any) -> None:
    assert isinstance(getattr(getattr(dataset, "_doc", None), "id", None), ObjectId), changed("Dataset._doc.id")


def test_bulk_writes_take_ids(dataset: Any) -> None:
    taken = list(inspect.signature(dataset._bulk_write).parameters)
    assert taken[0] == "ops" and "ids" in taken, changed("the parameters of Dataset._bulk_write")


def test_stored_fields_are_those_that_fiftyone_writes(dataset: Any) -> None:
    import fiftyone as fo

    label = fo.Polyline(label="Glass", points=[[(0.1, 0.1), (0.2, 0.1), (0.2, 0.2)]], closed=True, filled=True)
    sample = fo.Sample("photo.jpg", labels=fo.Polylines(polylines=[label]))
    dataset.add_sample(sample)
    (theirs,) = private_api.find_samples(dataset, {})
    polyline = theirs["labels"]["polylines"][0]
    written = {"_id", "_media_type", "_rand", "_dataset_id", "filepath", "created_at", "last_modified_at"}
    assert written <= set(theirs), changed("the fields of stored samples")
    assert theirs["labels"]["_cls"] == "Polylines" and polyline["_cls"] == "Polyline", changed("how labels are stored")
    assert {"_id", "attributes", "tags", "label", "points", "closed", "filled"} <= set(polyline), changed(
        "the fields of stored polylines"
    )


def test_fields_are_set_and_loaded_samples_reload(dataset: Any) -> None:
    import fiftyone as fo

    dataset.add_sample_field("note", fo.StringField)
    dataset.add_sample(fo.Sample("photo.jpg"))
    sample = dataset.first()
    key = ObjectId(sample.id)
    before = sample.last_modified_at
    private_api.set_fields(dataset, {key: {"note": "silent"}})
    (stored,) = private_api.find_samples(dataset, {"_id": key}, ("note", "last_modified_at"))
    assert (stored["note"], stored["last_modified_at"]) == ("silent", before)
    private_api.set_fields_and_reload(dataset, {key: {"note": "loud"}})
    assert sample.note == "loud", changed("what Dataset._bulk_write does to loaded samples")
    private_api.delete_samples(dataset, {"note": "loud"})
    assert private_api.find_samples(dataset, {}) == []


@pytest.mark.usefixtures("home")
def test_the_server_can_be_had_as_an_asgi_app(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = importlib.import_module("eta.core.utils")
    permissions = importlib.import_module("fiftyone.operators.permissions")
    stages = importlib.import_module("fiftyone.core.stages")
    monkeypatch.setattr(classes, "get_class", classes.get_class)
    monkeypatch.setattr(stages.Mongo, "__init__", stages.Mongo.__init__)
    monkeypatch.setattr(permissions.ManagedOperators, "has_operator", permissions.ManagedOperators.has_operator)
    app = private_api.server_app(5151, lambda uri: uri == "mine")
    assert list(inspect.signature(app.__call__).parameters) == ["scope", "receive", "send"], changed("server.app.app")
    registry = permissions.PermissionedOperatorRegistry(permissions.ManagedOperators())
    assert (registry.can_execute("mine"), registry.can_execute("other")) == (True, False), changed("ManagedOperators")
    stage = {"_cls": "fiftyone.core.stages.Limit", "kwargs": [["limit", 3]]}
    assert stages.ViewStage._from_dict(stage).limit == 3
    for name in (
        *("subprocess.Popen", "os.system", "fiftyone.core.utils.os", "fiftyone.core.utils.run_sync_task"),
        *("fiftyone.core.service.ServerService", "fiftyone.core.dataset.Dataset"),
        *("fiftyone.core.storage.FileCollection", "fiftyone.core.session.session.Session"),
    ):
        with pytest.raises(ImportError, match="not a class of FiftyOne"):
            stages.ViewStage._from_dict({"_cls": name, "kwargs": [["args", "true"]]})
    for write in ({"$out": "datasets"}, {"$merge": {"into": "datasets"}}):
        with pytest.raises(ValueError, match="may not write"):
            stages.ViewStage._from_dict({"_cls": "fiftyone.core.stages.Mongo", "kwargs": [["pipeline", [write]]]})
    skip = {"_cls": "fiftyone.core.stages.Mongo", "kwargs": [["pipeline", [{"$skip": 1}]]]}
    assert stages.ViewStage._from_dict(skip).pipeline == [{"$skip": 1}]


def test_views_have_addresses() -> None:
    addresses = [private_api.address_of_view(name) for name in ("class PET (2)", "class \uc885\uc774", "!", "a" * 5000)]
    assert addresses == ["class-pet-2", "class", "", ""], changed("fiftyone.core.utils.to_slug")


def test_the_environment_is_read(package: Path) -> None:
    sources = "".join(path.read_text() for path in (package / "core").rglob("*.py"))
    for name in (*private_api.ENVIRONMENT, *private_api.SERVER_ENVIRONMENT):
        assert name in sources, changed(f"the environment variable {name}")


def test_the_cleanup_at_exit_has_its_name(package: Path) -> None:
    database = importlib.import_module(private_api._DATABASE)
    assert callable(getattr(database, private_api._CLEANUP, None)), changed(
        f"{private_api._DATABASE}.{private_api._CLEANUP}"
    )


def test_mongod_is_where_it_is_looked_for(package: Path) -> None:
    assert private_api.mongod_path(package).is_file(), changed("where mongod lies")


def test_raw_documents_are_samples(session: ReviewSession, enter: Any) -> None:
    """What trashkit writes into the database is what FiftyOne reads, filters and saves."""
    review = enter(session)
    sample = review.dataset.first()
    (stored,) = private_api.find_samples(review.dataset, {"_id": ObjectId(sample.id)})
    assert set(stored) - {"_rand"} <= set(sample.to_mongo_dict(include_id=True)) | {"_dataset_id"}, changed(
        "the fields of stored samples"
    )


def test_internals_are_used_in_one_file_only() -> None:
    internal = re.compile(r"\b(?:dataset|view|sample)\._[a-z]\w*|fiftyone\.(?:core|server|service)\b")
    wrong = [
        f"{path.name}: {found}"
        for path in FOLDER.rglob("*.py")
        if path.name != "private_api.py"
        for found in internal.findall(path.read_text())
    ]
    assert not wrong, wrong
