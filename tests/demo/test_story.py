"""An interrupted demo continues; what had ended is not run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trashkit.demo import story
from trashkit.demo.story import MARKER, Size, run_demo
from trashkit.errors import TrashkitError


def stop_at(text: str, lines: list[str]) -> story.Log:
    """A log that is interrupted at the line that contains `text`."""

    def log(line: str) -> None:
        lines.append(line)
        if text in line:
            raise KeyboardInterrupt

    return log


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_interrupted_demo_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "QUICK", Size(images=40, side=64, network=32, epochs=1, shown=1))
    ran: list[str] = []
    result = story._Runner._result
    monkeypatch.setattr(
        story._Runner, "_result", lambda self, line, codes: (ran.append(line[0]), result(self, line, codes))[1]
    )
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "demo", full=False, seed=0, log=stop_at("finds ", lines))
    assert ran == ["data", "audit"]
    (tmp_path / "demo/fixed.json").write_text("left behind by a killed command")
    with pytest.raises(TrashkitError, match="other options"):
        run_demo(tmp_path / "demo", full=False, seed=1, log=lines.append, resume=True)

    resumed = run_demo(tmp_path / "demo", full=False, seed=0, log=lines.append, resume=True)
    assert ran.count("data") == 1
    assert "Continues after 2 commands" in "\n".join(lines)
    count = len(ran)
    again = run_demo(tmp_path / "demo", full=False, seed=0, log=lines.append, resume=True)
    assert len(ran) == count
    assert again == resumed
    assert len(json.loads((tmp_path / "demo" / MARKER).read_text(encoding="utf-8"))["steps"]) == count


def test_a_record_that_is_not_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text("[]")
    with pytest.raises(TrashkitError, match="cannot be resumed"):
        run_demo(tmp_path, full=False, seed=0, log=str, resume=True)
