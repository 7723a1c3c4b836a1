"""The order of steps, what is done again and what is not; the commands themselves are replaced by short stand-ins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import Coco, read, write
from trashkit.errors import TrashkitError
from trashkit.workflows.auto import opening, run
from trashkit.workflows.auto.commands import CommandError
from trashkit.workflows.auto.inputs import AutoRequest
from trashkit.workflows.auto.opening import open_plan, request_to_resume
from trashkit.workflows.auto.plan import Plan
from trashkit.workflows.auto.run import AutoResult, in_words, run_plan
from trashkit.workflows.project.derived import mark

from .conftest import CHOICES, plan_of, write_coco

OUTPUTS = ("--out", "--html", "--write-edits")


class Commands:
    """Stands in for the commands: each writes a file with its words; comparisons gain as much as `gains` says."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.gains: dict[str, float] = {"presence": 0.05}
        self.before: Callable[[str], None] = lambda _: None

    def __call__(self, words: Sequence[str], **_: object) -> dict[str, Any]:
        name = " ".join(words[:1]) + "".join(f" {Path(words[n + 1]).name}" for n in _outs(words))
        self.before(name)
        for n in _outs(words):
            path = Path(words[n + 1])
            if words[0] == "train":
                path = path / "tiny" / "oof"
            if path.exists() and "--resume" not in words:
                raise CommandError(f"{path} already exists", hint="choose another name")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(" ".join(words), encoding="utf-8")
        self.ran.append(name)
        if words[0] == "report":
            (Path(words[1]) / "index.html").write_text("page", encoding="utf-8")
        if words[0] == "compare":
            stores = list(words[2 : words.index("--data")])
            last = Path(stores[0]).name.split("-")[-2] if stores[0][-1].isdigit() else "views"
            gain = self.gains.get(last, -0.01)
            return {
                "a": {"miou": 0.5},
                "candidates": [{"path": store, "miou": 0.5 + gain} for store in stores],
                "best": stores[-1],
                "gain": gain,
                "interval": [gain - 0.01, gain + 0.01],
                "evidence": gain > 0.01,
            }
        scores = {"miou_in_truth": 0.5, "miou_without_background": 0.4}
        return {**scores, "miou": 0.5, "interval": [0.4, 0.6], "edits": 1, "summary": {}}


def _outs(words: Sequence[str]) -> list[int]:
    return [n for n, word in enumerate(words) if word in OUTPUTS]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands()
    monkeypatch.setattr(run, "run_command", made)
    monkeypatch.setattr(opening, "make_plan", lambda request, inputs, **_: _plan(request))
    return made


def _plan(request: AutoRequest) -> Plan:
    return plan_of(request, CHOICES)


def done(request: AutoRequest, **options: Any) -> AutoResult:
    return run_plan(open_plan(request, **options))


def contents(folder: Path) -> dict[str, str]:
    """All files but the two that hold times."""
    files = [path for path in folder.rglob("*") if path.is_file() and "earlier" not in path.parts]
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in files
        if path.name not in ("plan.json", "record.json", ".auto")
    }


LAST = [
    "predict test",
    "presence presence-test.json",
    "postprocess test-presence-3",
    "sheets overlays",
    "submit submission.csv",
    "submit",
    "report",
]
FIRST = ["audit audit.html", "fix fixed.json edits.jsonl", "split split.json", "train auto", "score"]


def test_all_steps_are_run_in_order_and_what_gains_is_taken(request_: AutoRequest, commands: Commands) -> None:
    found = done(request_)
    assert commands.ran[:5] == FIRST
    assert found.decided == {"views": None, "presence": "3", "touching": None}
    assert commands.ran[-7:] == LAST
    assert [step.name for step in found.steps][-1] == "page"
    assert {step.name for step in found.steps} <= set(found.record)


def test_nothing_is_done_twice(request_: AutoRequest, commands: Commands) -> None:
    done(request_)
    before, commands.ran = contents(request_.out), []
    done(request_, resume=True)
    assert commands.ran == []
    assert contents(request_.out) == before


def test_an_existing_folder_is_not_touched_without_resume(request_: AutoRequest, commands: Commands) -> None:
    done(request_)
    with pytest.raises(TrashkitError, match="has a plan already"):
        open_plan(request_)
    shutil.rmtree(request_.out)
    request_.out.mkdir(parents=True)
    (request_.out / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(TrashkitError, match="not a folder of trashkit auto"):
        open_plan(request_, overwrite=True)
    assert (request_.out / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_overwrite_keeps_earlier_results(request_: AutoRequest, commands: Commands) -> None:
    done(request_)
    before = contents(request_.out)
    done(request_, overwrite=True)
    kept = request_.out / "earlier/1"
    assert set(before) <= {path.relative_to(kept).as_posix() for path in kept.rglob("*")}
    assert contents(request_.out) == before


@pytest.mark.parametrize("position", range(0, 22, 3))
def test_a_failure_at_any_step_is_continued_to_the_same_result(
    request_: AutoRequest, commands: Commands, position: int
) -> None:
    """The step that fails leaves half of its output, as a killed process does."""
    done(request_)
    wanted, names = contents(request_.out), list(commands.ran)
    shutil.rmtree(request_.out)
    commands.ran = []

    def fail(name: str) -> None:
        if name == names[min(position, len(names) - 1)]:
            for word in name.split()[1:]:
                if word != "auto":
                    (request_.out / word).write_text("half", encoding="utf-8")
            raise CommandError("no space left on device", hint="free some space")

    commands.before = fail
    with pytest.raises(TrashkitError, match="no space left on device") as error:
        done(request_)
    assert error.value.hint == "free some space; then continue with --resume"
    commands.before = lambda _: None
    done(request_, resume=True)
    assert contents(request_.out) == wanted
    assert sorted(commands.ran) == sorted(names)


def test_new_photos_without_labels_cost_only_their_prediction(request_: AutoRequest, commands: Commands) -> None:
    done(request_)
    write_coco(Path("test.json"), Path("photos"), [f"test{n}.png" for n in range(5)], labels=False)
    commands.ran = []
    found = done(request_, resume=True)
    assert commands.ran == ["audit audit.html", *LAST]
    assert found.plan.inputs.unlabelled == 5
    assert (request_.out / "earlier/1/test").exists()
    assert (request_.out / "earlier/1/submission.csv").exists()
    assert not (request_.out / "earlier/2").exists()


def test_photos_that_came_after_init_are_told(request_: AutoRequest, commands: Commands) -> None:
    listed = Coco.of({"images": read(Path("test.json")).records("images"), "annotations": [], "categories": []})
    Path("test.json").unlink()
    write(mark(listed, []), Path("test.json"))
    told: list[str] = []
    open_plan(request_, log=told.append)
    assert not told
    shutil.copy("photos/0.png", "photos/new.png")
    Path("photos/overlays").mkdir()
    shutil.copy("photos/0.png", "photos/overlays/0.overlay.jpg")
    open_plan(request_, resume=True, log=told.append)
    assert "are left out: 1 in photos" in told[0] and "`trashkit init --overwrite`" in told[0]


def test_photos_to_predict_can_be_named_later(request_: AutoRequest, commands: Commands) -> None:
    for n in range(3):
        Path(f"photos/test{n}.png").rename(f"test{n}.png")
    alone = replace(request_, test=None, sample=None)
    assert not [name for name in (step.name for step in done(alone).steps) if name.startswith("predict test")]
    Path("more").mkdir()
    for n in range(3):
        Path(f"test{n}.png").rename(f"more/test{n}.png")
    commands.ran = []
    done(request_to_resume(request_.out, {"photos": Path("more")}), resume=True)
    assert commands.ran[:2] == ["data photos.json", "predict test"]
    assert "train auto" not in commands.ran


def test_new_labels_make_everything_anew_and_keep_what_was(request_: AutoRequest, commands: Commands) -> None:
    done(request_)
    write_coco(Path("train.json"), Path("photos"), [f"{n}.png" for n in range(13)], labels=True)
    commands.ran, told = [], []
    found = run_plan(open_plan(request_, resume=True, log=told.append))
    assert commands.ran[:5] == FIRST
    assert found.plan.inputs.labelled == 13
    assert told[0].startswith("the labels have changed since the plan was made")
    assert (request_.out / "earlier/1/tiny/oof").exists()
    assert (request_.out / "earlier/1/submission.csv").exists()


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_a_labelled_photo_that_changed_is_refused(request_: AutoRequest, commands: Commands, what: str) -> None:
    done(request_)
    before = contents(request_.out)
    if what == "gone":
        Path("photos/3.png").unlink()
    else:
        shutil.copy("photos/4.png", "photos/3.png")
    with pytest.raises(TrashkitError, match=r"photos/3\.png (is gone|has changed) since the plan was made"):
        open_plan(request_, resume=True)
    assert contents(request_.out) == before


def test_other_options_do_not_continue_a_plan(request_: AutoRequest, commands: Commands) -> None:
    done(request_)
    with pytest.raises(TrashkitError, match="was made with --minutes 45"):
        request_to_resume(request_.out, {"minutes": 90.0})
    with pytest.raises(TrashkitError, match="was made with no --recipe"):
        request_to_resume(request_.out, {"recipes": ("tiny",)})
    assert request_to_resume(request_.out, {"data": Path("./train.json"), "recipes": ()}) == request_


def test_a_dry_run_writes_nothing(request_: AutoRequest, commands: Commands) -> None:
    open_plan(request_, dry_run=True)
    assert not request_.out.exists()
    done(request_)
    before = {path: path.read_bytes() for path in request_.out.rglob("*") if path.is_file()}
    write_coco(Path("test.json"), Path("photos"), ["test0.png"], labels=False)
    open_plan(request_, resume=True, dry_run=True)
    assert {path: path.read_bytes() for path in request_.out.rglob("*") if path.is_file()} == before


def test_two_cannot_work_in_one_folder(request_: AutoRequest, commands: Commands) -> None:
    plan = open_plan(request_)

    def again(name: str) -> None:
        with pytest.raises(TrashkitError, match="is being worked on already"):
            run_plan(plan)
        commands.before = lambda _: None

    commands.before = again
    run_plan(plan)


def test_a_damaged_record_is_told(request_: AutoRequest, commands: Commands) -> None:
    done(request_)
    (request_.out / "record.json").write_text(json.dumps({"audit": 3}), encoding="utf-8")
    with pytest.raises(TrashkitError, match=r"record\.json is damaged"):
        open_plan(request_, resume=True)


@pytest.mark.parametrize(
    ("step", "key", "value"),
    [
        ("audit", "summary", []),
        ("audit", "summary", {"by_code": {"G003": "many"}}),
        ("judge views", "interval", [0.1]),
        ("judge views", "candidates", None),
        ("decided: presence", "gain", float("nan")),
        ("decided: presence", "taken", "yes"),
        ("page", "interval", None),
    ],
)
def test_results_of_other_types_are_told(
    request_: AutoRequest, commands: Commands, step: str, key: str, value: object
) -> None:
    done(request_)
    path = request_.out / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record[step]["result"][key] = value
    path.write_text(json.dumps(record), encoding="utf-8")
    if value != value:  # NaN is a number
        assert done(request_, resume=True).decided["presence"] is not None
        return
    with pytest.raises(TrashkitError, match=rf"record\.json is damaged: at .*{key}"):
        open_plan(request_, resume=True)


def test_values_that_are_not_tried_are_chosen_anew(request_: AutoRequest, commands: Commands) -> None:
    """A record may be of another version, or name a place elsewhere as the value of an option."""
    first = done(request_)
    path = request_.out / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["decided: presence"]["result"]["value"] = "../../elsewhere"
    record["judge presence"]["result"]["best"] = "../elsewhere"
    path.write_text(json.dumps(record), encoding="utf-8")
    commands.ran.clear()
    assert done(request_, resume=True).decided == first.decided
    assert not any("elsewhere" in name for name in commands.ran)
    assert "elsewhere" not in path.read_text(encoding="utf-8")


def test_a_plan_starts_no_program_by_itself(request_: AutoRequest, commands: Commands) -> None:
    done(replace(request_, launch="accelerate launch"))
    with pytest.raises(TrashkitError, match="starts trainings with another program: accelerate launch") as caught:
        request_to_resume(request_.out, {"launch": None})
    assert caught.value.hint.endswith("--launch 'accelerate launch'")
    assert request_to_resume(request_.out, {"launch": "accelerate launch"}).launch == "accelerate launch"
    with pytest.raises(TrashkitError, match="was made with --launch"):
        request_to_resume(request_.out, {"launch": "sh -c true"})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (40, "40 s"), (130, "2 min"), (5300, "88 min"), (7500, "2 h 5 min")],
    ids=["short", "seconds", "minutes", "long", "hours"],
)
def test_times_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text
