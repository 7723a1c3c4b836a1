"""What is chosen for which data, device and time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from trashkit.errors import TrashkitError
from trashkit.workflows.auto import budget
from trashkit.workflows.auto.budget import CPU, GPU, Measure, Task, choose
from trashkit.workflows.auto.plan import Choices
from trashkit.workflows.auto.speed import Speed


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "cores", lambda: 2)


def task(minutes: float, labelled: int = 287, **more: object) -> Task:
    values = {"extra": 0, "others": lambda _: 240.0, **more}
    return Task(labelled=labelled, deadline=time.monotonic() + 60 * minutes, **values)  # type: ignore[arg-type]


def machine(rate: float, calls: list[str] | None = None) -> Measure:
    """A machine that trains cpu-medium at 192 px with this many photos per second."""

    def measure(recipes: Sequence[str], settings: Sequence[str], jobs: int) -> Speed:
        size = next((int(one.partition("=")[2]) for one in settings if one.startswith("data.size")), None)
        rungs = [one for one in CPU if one.recipes == tuple(recipes) and size in (None, one.size)]
        rung = next(one for one in rungs if size is not None or one.size in (96, 192))
        if calls is not None:
            calls.append(f"{recipes[0]} {rung.size}")
        return Speed(rate / rung.cost, 6.0)

    return measure


def chosen(found: Choices) -> str:
    return f"{'+'.join(found.recipes)} {found.size}"


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        pytest.param(45, "cpu-medium 192", id="45 minutes"),
        pytest.param(240, "cpu-medium 256", id="four hours"),
        pytest.param(20, "cpu-small 192", id="20 minutes"),
        pytest.param(11, "cpu-small 128", id="11 minutes"),
        pytest.param(6.5, "tiny 96", id="six minutes"),
    ],
)
def test_more_time_gives_larger_networks(minutes: float, expected: str) -> None:
    assert chosen(choose(task(minutes), machine(12))) == expected


def test_the_data_that_it_was_made_for_gets_what_was_best_there() -> None:
    found = choose(task(45, extra=36), machine(12))
    assert (found.recipes, found.size, found.folds, found.jobs) == (("cpu-medium",), 192, 4, 2)
    assert 15 <= found.epochs <= 30
    assert found.settings == ("threads=1", "validate_every=3")
    assert [one.what for one in found.reasons] == ["recipe", "folds", "epochs", "side by side", "speed"]


def test_a_faster_machine_trains_longer_but_not_for_ever() -> None:
    slow, fast = (choose(task(44), machine(rate)) for rate in (12, 40))
    assert slow.epochs < fast.epochs == 31


def test_what_is_chosen_fits_into_the_budget() -> None:
    for minutes in (8, 12, 25, 45, 90):
        for rate in (4, 12, 60):
            try:
                found = choose(task(minutes), machine(rate))
            except TrashkitError:
                continue
            val = -(-287 // found.folds)
            speed = Speed(found.rate, found.start)
            took = speed.train(found.epochs, found.folds, found.jobs, train=287 - val, val=val)
            assert took + 240 <= 60 * minutes


def test_rungs_that_cannot_fit_are_not_timed() -> None:
    calls: list[str] = []
    choose(task(11), machine(12, calls))
    assert calls == ["tiny 96", "cpu-small 128"]


def test_few_photos_are_seen_more_often() -> None:
    found = choose(task(45, labelled=24), machine(12))
    assert found.epochs == budget.EPOCHS[1]
    assert chosen(found) in ("cpu-medium 192", "cpu-medium 256")


def test_a_budget_that_is_too_small_names_one_that_is_not() -> None:
    for minutes in (4.5, 0.1):
        with pytest.raises(TrashkitError, match="the budget is too small: even tiny with 2 folds takes about") as error:
            choose(task(minutes), machine(12))
    wanted = float(error.value.hint.removeprefix("--minutes "))
    assert chosen(choose(task(wanted), machine(12))) == "tiny 96"


def test_own_recipes_are_used_for_however_few_epochs() -> None:
    found = choose(task(7, recipes=("cpu-medium",)), machine(12))
    assert chosen(found) == "cpu-medium 192"
    assert found.epochs < 15


def test_a_gpu_gets_several_recipes_and_falls_back_where_weights_are_missing() -> None:
    def measure(recipes: Sequence[str], settings: Sequence[str], jobs: int) -> Speed:
        return Speed(300.0, 8.0)

    def offline(recipes: Sequence[str], settings: Sequence[str], jobs: int) -> Speed:
        if recipes[0] != "cpu-medium":
            raise TrashkitError("weights cannot be fetched")
        return measure(recipes, settings, jobs)

    found = choose(task(180, labelled=3000, gpus=1), measure)
    assert found.recipes == GPU[0].recipes
    assert not any(one.startswith("threads") for one in found.settings)
    told: list[str] = []
    fallen = choose(task(60, labelled=3000, gpus=2), offline, log=told.append)
    assert chosen(fallen) == "cpu-medium 384"
    assert fallen.jobs == 0
    assert any("cannot be trained here: weights cannot be fetched" in line for line in told)


def test_too_few_photos_for_folds() -> None:
    with pytest.raises(TrashkitError, match="3 labelled photos are too few"):
        choose(task(45, labelled=3), machine(12))
