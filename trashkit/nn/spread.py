"""Several trainings: one after the other, or each in a process of its own, on a GPU of its own where there are GPUs."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trashkit.config import TrainConfig
from trashkit.errors import TrashkitError
from trashkit.nn.follow import AfterEpoch
from trashkit.nn.record import TrainData
from trashkit.nn.train import train
from trashkit.progress import Progress
from trashkit.run import Run, read_run

Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """One call of `trashkit.nn.train.train`; the fields are its arguments."""

    config: TrainConfig
    data: TrainData
    out: Path
    about: Mapping[str, Any]
    cache: Path
    device: str
    what: str
    shard: bool = False
    trackers: tuple[str, ...] = ()
    after_epoch: AfterEpoch | None = None

    def run(self, *, resume: bool, overwrite: bool, say: Say, progress: Progress) -> Run:
        """Train it here."""
        return train(
            self.config,
            self.data,
            self.out,
            about=self.about,
            cache=self.cache,
            device=self.device,
            resume=resume,
            overwrite=overwrite,
            what=self.what,
            shard=self.shard,
            trackers=self.trackers,
            after_epoch=self.after_epoch or (lambda _: None),
            say=say,
            progress=progress,
        )


def train_tasks(
    tasks: Sequence[Task],
    *,
    at_once: int,
    gpus: int,
    resume: bool,
    overwrite: bool,
    say: Say,
    progress: Progress,
) -> list[Run]:
    """Train all tasks, `at_once` of them at a time, and return their runs in order.

    gpus: how many there are; with several tasks at once each process computes on one of them, in turn, and without any
    each gets its share of the CPU cores. The first task that fails ends the others, which can be continued.
    """
    if at_once <= 1 or len(tasks) == 1:
        return [task.run(resume=resume, overwrite=overwrite, say=say, progress=progress) for task in tasks]
    at_once = min(at_once, len(tasks))
    threads = max(1, torch.get_num_threads() // at_once)
    where = f"on {gpus} GPUs" if gpus else f"with {threads} CPU threads each"
    say(f"{len(tasks)} runs, {at_once} at a time {where}")
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    messages = context.Queue()
    waiting = list(range(len(tasks)))
    running: dict[int, Any] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                place = min(set(range(at_once)) - set(running))
                number = waiting.pop(0)
                gpu = place % gpus if gpus else None
                options = {
                    "gpu": gpu, "threads": threads, "resume": resume, "overwrite": overwrite, "messages": messages,
                }  # fmt: skip
                running[place] = context.Process(target=_work, args=(tasks[number], place), kwargs=options)
                with _no_interrupt():
                    running[place].start()
            _listen(messages, running, say, progress)
    finally:
        for process in running.values():
            process.terminate()
            process.join()
    return [read_run(task.out) for task in tasks]


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C waits until the end, and processes that are started inside never have it.

    Their imports would be cut off with a traceback each. Blocked signals are inherited; the handler is there because
    other threads of this process still take them.
    """
    here = hasattr(signal, "pthread_sigmask") and threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    pressed: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if pressed:
        raise KeyboardInterrupt


def _listen(messages: Any, running: dict[int, Any], say: Say, progress: Progress) -> None:
    """Pass on what the processes say; forget one that is done. Raises TrashkitError where one failed."""
    try:
        kind, place, content = messages.get(timeout=1.0)
    except queue.Empty:
        for place, process in running.items():
            if process.exitcode not in (None, 0):
                del running[place]
                raise TrashkitError(
                    f"a training process ended with code {process.exitcode}", hint="go on with --resume"
                ) from None
        return
    if kind == "say":
        say(content)
    elif kind == "progress":
        progress(*content)
    elif kind == "done":
        running.pop(place).join()
    else:
        message, hint = content
        raise TrashkitError(message, hint=hint)


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, however it ended: nobody else would stop the training."""
    while os.getppid() == parent:
        time.sleep(0.5)
    signal.raise_signal(signal.SIGTERM)


def _work(
    task: Task, place: int, *, gpu: int | None, threads: int, resume: bool, overwrite: bool, messages: Any
) -> None:
    """What a process of its own does: train one task, and say how it goes."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all of a terminal's processes; the parent ends this one
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if gpu is not None:
        torch.cuda.set_device(gpu)  # what "cuda" without a number means here
    torch.set_num_threads(threads)
    try:
        task.run(
            resume=resume,
            overwrite=overwrite,
            say=lambda text: messages.put(("say", place, text)),
            progress=lambda *news: messages.put(("progress", place, news)),
        )
    except TrashkitError as error:
        messages.put(("failed", place, (f"{task.what}: {error.message}", error.hint)))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{task.what}: {type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"
        messages.put(("failed", place, (" ".join(text.split())[:400], "go on with --resume")))
    else:
        messages.put(("done", place, None))
