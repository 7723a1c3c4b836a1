"""The public API: its page lists all of it, and the page's examples run."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reference" / "python-api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for example in EXAMPLES:
        exec(compile(example, "python-api.md", "exec"), names)
    assert (tmp_path / "submission.csv").is_file()


def test_what_the_page_imports_is_public() -> None:
    imported = re.findall(r"^from (trashkit[\w.]*) import (.+)$", "".join(EXAMPLES), re.MULTILINE)
    assert len(imported) >= 8
    for module, names in imported:
        public = importlib.import_module(module).__all__
        assert {name.strip() for name in names.split(",")} <= set(public), module
