"""Old reviews are removed by age and size, and never one that is in use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from trashkit.review import stored_reviews
from trashkit.review.session import ReviewSession
from trashkit.review.stored_reviews import AUDITS, DAY, LABEL_MAPS, in_use, remove_old, session_file

pytestmark = pytest.mark.slow

NOW = 1_800_000_000.0


def store(home: Path, name: str, days: float, size: int = 100) -> str:
    name = f"trashkit-{name}"
    path = session_file(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}")
    os.utime(path, (NOW - days * DAY,) * 2)
    maps = home / LABEL_MAPS / name / "truth-0"
    maps.mkdir(parents=True)
    (maps / "0.png").write_bytes(bytes(size))
    return name


def names(home: Path) -> set[str]:
    return {path.stem.removeprefix("trashkit-") for path in home.glob("rooms/*.json")}


def test_reviews_that_nobody_opened_for_long_are_removed(tmp_path: Path) -> None:
    old, new = store(tmp_path, "old", 61), store(tmp_path, "new", 59)
    deleted: list[str] = []
    stored = {old: 1000, new: 1000, "another data set": 1 << 40, "trashkit-left": 10}
    assert remove_old(tmp_path, stored, deleted.append, now=NOW) == (2, 1000 + 2 + 100 + 10)
    assert sorted(deleted) == ["trashkit-left", old]
    assert names(tmp_path) == {"new"}
    assert [path.name for path in (tmp_path / LABEL_MAPS).iterdir()] == [new]
    assert remove_old(tmp_path, {new: 1000}, deleted.append, now=NOW) == (0, 0)


def test_the_oldest_are_removed_while_all_take_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_reviews, "KEEP_BYTES", 250)
    for name, days in (("a", 5), ("b", 4), ("c", 3), ("today", 0.5)):
        store(tmp_path, name, days)
    assert remove_old(tmp_path, {}, lambda _: None, now=NOW)[0] == 2
    assert names(tmp_path) == {"c", "today"}


def test_a_review_in_use_is_kept(tmp_path: Path) -> None:
    name = store(tmp_path, "used", 100)
    with in_use(tmp_path, name), in_use(tmp_path, name):
        assert remove_old(tmp_path, {name: 5}, pytest.fail, now=NOW) == (0, 0)
    assert names(tmp_path) == {"used"}
    assert remove_old(tmp_path, {}, pytest.fail, now=NOW)[0] == 1


def test_old_cached_audits_are_removed(tmp_path: Path) -> None:
    for name, days in (("old", 61), ("new", 59)):
        path = tmp_path / AUDITS / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        os.utime(path, (NOW - days * DAY,) * 2)
    assert remove_old(tmp_path, {}, pytest.fail, now=NOW) == (0, 2)
    assert [path.name for path in (tmp_path / AUDITS).iterdir()] == ["new.json"]


def test_a_link_among_the_label_maps_is_removed_but_not_followed(tmp_path: Path) -> None:
    name = store(tmp_path, "old", 61)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(bytes(10))
    (tmp_path / LABEL_MAPS / name / "link").symlink_to(tmp_path / "photos")
    (tmp_path / LABEL_MAPS / "trashkit-linked").symlink_to(tmp_path / "photos")
    remove_old(tmp_path, {}, pytest.fail, now=NOW)
    assert (tmp_path / "photos" / "a.jpg").exists()
    assert not list((tmp_path / LABEL_MAPS).iterdir())


def test_an_empty_folder_has_nothing_to_remove(tmp_path: Path) -> None:
    assert remove_old(tmp_path / "none", {}, pytest.fail, now=NOW) == (0, 0)
    assert not (tmp_path / "none").exists()


def test_an_old_review_leaves_the_database(enter: Any, session: ReviewSession, home: Path) -> None:
    import fiftyone as fo

    from trashkit.review.fiftyone_app.app import remove_old_reviews, review_in_use

    name = enter(session).dataset.name
    assert remove_old_reviews(home) == ""
    os.utime(session_file(home, name), (0, 0))
    with review_in_use(session, home):
        assert remove_old_reviews(home) == ""
    assert remove_old_reviews(home).startswith("removed 1 old review session (")
    assert not fo.dataset_exists(name)
    assert enter(session).built
