"""The CLI reference is up to date, every command has a working example, and links have targets."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer.main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def load_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_reference()
COMMANDS = list(reference.commands())
PROGRAM = typer.main.get_command(reference.app)
"""Built once, as the program does at every start; showing help changes it, so the page is made from another."""


def test_every_command_is_explained_with_working_examples() -> None:
    assert not reference.problems()


def test_the_reference_page_is_up_to_date() -> None:
    is_current = reference.PAGE.read_text(encoding="utf-8") == reference.page()
    assert is_current, "run python scripts/reference.py"


@pytest.mark.parametrize("words", [words for words, _ in COMMANDS], ids=lambda words: " ".join(words) or "trashkit")
def test_help_works_and_shows_the_examples(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real entry point, so that nothing between docstring and terminal swallows an example."""
    monkeypatch.setattr(sys, "argv", ["trashkit", *words, "--help"])
    monkeypatch.setenv("COLUMNS", "250")
    with pytest.raises(SystemExit) as end:
        PROGRAM(prog_name="trashkit")
    assert not end.value.code
    shown = " ".join(capsys.readouterr().out.split())
    command = next(command for name, command in COMMANDS if name == words)
    for example in reference.parts(command)[1]:
        assert " ".join(example.split()) in shown.replace("\\ ", "")


def test_examples_that_cannot_run_are_noticed() -> None:
    assert list(reference.wrong_example("trashkit doctr"))
    assert list(reference.wrong_example("trashkit doctor --ofline"))
    assert not list(reference.wrong_example("trashkit doctor --offline --json > doctor.json"))


def anchors(text: str) -> set[str]:
    """GitHub's anchors of a page's headings."""
    found = set()
    for heading in re.findall(r"^#+\s+(.*)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_have_targets(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    broken = []
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        reads = anchor and there.suffix == ".md"
        if not there.exists() or (reads and anchor not in anchors(there.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken


def test_paths_on_the_architecture_page_exist() -> None:
    """Every path in backticks is in the package, or the end of one that is."""
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_/]+(?:\.py|/))`", text))
    here = [f"{path.as_posix()}{'/' if path.is_dir() else ''}" for path in (ROOT / "trashkit").rglob("*")]
    assert len(named) > 60
    missing = {
        name for name in named if not any(path.endswith(f"/{name}") for path in here) and not (ROOT / name).exists()
    }
    assert not missing, sorted(missing)


@pytest.mark.parametrize("page", ["train", "other-tools", "pseudo-labels"])
def test_pages_name_every_loss_format_and_strategy(page: str) -> None:
    from trashkit.interop.registry import FORMATS
    from trashkit.nn.training.losses import LOSSES
    from trashkit.pseudo.strategies import STRATEGIES

    tables: dict[str, list[str]] = {
        "train": list(LOSSES),
        "other-tools": list(FORMATS),
        "pseudo-labels": list(STRATEGIES),
    }
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    assert not [name for name in tables[page] if f"`{name}`" not in text], f"add them to docs/how-to/{page}.md"
