"""trashkit.toml as a project file: where it is found, what it names, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trashkit.errors import TrashkitError
from trashkit.settings.project import FILE_NAME, find_project, read_project

WHOLE = """version = 1
[project]
data = "labels/train.json"
images = "../photos"
test = "/data/test.json"
sample = "sample.csv"
classes = "classes.json"
runs = "results"
groups = ["folder", "file:groups.csv"]
[auto]
extra = ["other.json:pictures", "other/b.json:.:0.5"]
[audit]
tiny_area = 2
"""


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file() -> None:
    folder = Path("below")
    path = written(folder, WHOLE)
    found = read_project(path)
    assert found.data == folder / "labels/train.json"
    assert found.images == folder / "../photos"
    assert found.test == Path("/data/test.json")
    assert found.sample == folder / "sample.csv"
    assert found.classes == "below/classes.json"
    assert found.runs == folder / "results"
    assert found.groups == ("folder", "file:below/groups.csv")
    assert found.auto.extra == ("below/other.json:below/pictures", "below/other/b.json:below:0.5")
    assert found.has_audit and found.folder == folder


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_nearest_file_above_is_used_and_shown_from_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    written(Path(), '[project]\ndata = "train.json"\n')
    deep = Path("사진/b")
    deep.mkdir(parents=True)
    found = find_project()
    assert found is not None and (found.path, found.data) == (Path(FILE_NAME), Path("train.json"))
    monkeypatch.chdir(deep)
    found = find_project()
    assert found is not None and (found.path, found.data) == (Path("../../trashkit.toml"), Path("../../train.json"))
    written(Path(".."), "[audit]\ntiny_area = 2\n")  # nearer, with audit settings only
    found = find_project()
    assert found is not None and found.data is None and found.has_audit
    (Path() / FILE_NAME).mkdir()  # a folder of that name is not a project file
    again = find_project()
    assert again is not None and again.path == Path("../trashkit.toml")


def test_a_file_above_that_belongs_to_another_user_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(Path(), '[project]\ndata = "train.json"\n')
    below = Path("mine")
    below.mkdir()
    real = Path.stat

    class Foreign:
        st_uid = 12345

    monkeypatch.setattr(
        Path, "stat", lambda self, **o: Foreign() if self == Path.cwd() / FILE_NAME else real(self, **o)
    )
    monkeypatch.setattr("trashkit.settings.project.is_file", os.path.isfile)
    told: list[str] = []
    assert find_project(below, warn=told.append) is None
    assert len(told) == 1 and told[0].endswith("--project mine/../trashkit.toml uses it")
    assert read_project(path).data == Path("train.json")
    assert find_project(warn=told.append) is not None  # in the working folder itself
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param('[project]\nimagse = "a"', "imagse is not a known key of [project] (did you mean image", id="key"),
        pytest.param('[auto]\nextras = ["a"]', "extras is not a known key of [auto] (did you mean ext", id="auto-key"),
        pytest.param('[projekt]\ndata = "a"', "[projekt] is not a known table (did you mean [project]?)", id="table"),
        pytest.param('[project]\n[tool]\nx = 1', "[tool] is not a known table", id="foreign-table"),
        pytest.param('versoin = 1\n[project]', "versoin is not a known table (did you mean", id="top-key"),
        pytest.param("[project]\ndata = 3", "data = 3 is not a text", id="number"),
        pytest.param('[project]\ndata = ""', "data =  is empty", id="empty"),
        pytest.param('[project]\ndata = "a\\u0000b"', "has control characters", id="zero-byte"),
        pytest.param('[project]\ndata = ["a"]', "data = ['a'] is not a text", id="list"),
        pytest.param("[project]\ngroups = [3]", "groups = 3 is not a text", id="groups"),
        pytest.param('project = "a"', "project is not a table", id="not-a-table"),
        pytest.param('[auto]\nextra = ["a.json"]', "extra = a.json is not JSON:DIR[:WEIGHT]", id="extra"),
        pytest.param('[auto]\nextra = "a.json:b"', "extra is not a list", id="extra-text"),
        pytest.param("version = 2\n[new]\nx = 1", "is of version 2, written for a newer trashkit", id="newer"),
        pytest.param('version = "x"', "version = x is not a version", id="version"),
        pytest.param("[project", "is not TOML", id="toml"),
    ],
)  # fmt: skip
def test_mistakes_are_one_clear_line(text: str, words: str) -> None:
    path = written(Path(), text)
    with pytest.raises(TrashkitError) as caught:
        read_project(path)
    assert words in caught.value.message and "\n" not in caught.value.message
    assert FILE_NAME in caught.value.message and caught.value.hint


def test_all_mistakes_are_named_at_once() -> None:
    path = written(Path(), '[project]\ndata = 3\ntset = "a"\n[auto]\nextra = [1]\n')
    with pytest.raises(TrashkitError, match=r"data = 3.*did you mean test.*extra = 1"):
        read_project(path)


def test_a_file_of_other_programs_has_no_project() -> None:
    path = written(Path(), "[tool]\nx = 3\n")
    assert read_project(path).data is None


def test_a_folder_and_a_missing_file_are_refused() -> None:
    with pytest.raises(TrashkitError, match="is a folder"):
        read_project(Path())
    with pytest.raises(TrashkitError, match="cannot be read: no such file"):
        read_project(Path("none.toml"))


@pytest.mark.parametrize("runs", ["..", "../elsewhere", "/tmp/elsewhere", "link", "link/b"])
def test_nothing_is_written_outside_of_the_folder_of_the_file(tmp_path: Path, runs: str) -> None:
    folder = tmp_path / "a"
    path = written(folder, f'[project]\nruns = "{runs}"\n')
    (folder / "link").symlink_to(tmp_path)
    found = read_project(path)
    with pytest.raises(TrashkitError, match="outside of the folder of the file") as caught:
        found.output("split.json")
    assert "--out" in caught.value.hint


def test_outputs_lie_below_runs() -> None:
    found = read_project(written(Path("a"), "[project]\n"))
    assert found.output("split.json") == Path("a/runs/split.json")
    assert found.output() == Path("a/runs")
