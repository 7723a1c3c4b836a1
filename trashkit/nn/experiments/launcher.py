"""Several trainings: one after the other, or in parallel, each in its own process and on its own GPU."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trashkit.errors import TrashkitError
from trashkit.nn.training.tracking import AfterEpoch
from trashkit.nn.training.train import TrainOptions, train
from trashkit.nn.training.train_data import TrainData
from trashkit.progress import Log, Progress
from trashkit.runs.run import Run, read_run
from trashkit.settings.training import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TrainTask:
    """The arguments of one call of `trashkit.nn.training.train.train`; can be pickled without `after_epoch`."""

    config: TrainConfig
    data: TrainData
    out: Path
    options: TrainOptions
    cache: Path
    about: Mapping[str, Any]
    name: str
    after_epoch: AfterEpoch | None = None

    def run(self, *, log: Log, progress: Progress) -> Run:
        """Train in this process."""
        return train(
            self.config,
            self.data,
            self.out,
            self.options,
            cache=self.cache,
            about=self.about,
            name=self.name,
            after_epoch=self.after_epoch,
            log=log,
            progress=progress,
        )


def run_tasks(tasks: Sequence[TrainTask], *, at_once: int, gpus: int, log: Log, progress: Progress) -> list[Run]:
    """Run all tasks, at most `at_once` in parallel, and return their runs in order.

    gpus: number of GPUs. Parallel processes use one GPU each, in turn; without GPUs they share the CPU cores. The first
    task that fails stops the others, which can be resumed.
    """
    if at_once <= 1 or len(tasks) == 1:
        return [task.run(log=log, progress=progress) for task in tasks]
    at_once = min(at_once, len(tasks))
    threads = max(1, torch.get_num_threads() // at_once)
    where = f"on {gpus} GPUs" if gpus else f"with {threads} CPU threads each"
    log(f"{len(tasks)} runs, {at_once} in parallel {where}")
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    messages = context.Queue()
    waiting = list(range(len(tasks)))
    running: dict[int, Any] = {}  # processes by slot
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                slot = min(set(range(at_once)) - set(running))
                gpu = slot % gpus if gpus else None
                arguments = (tasks[waiting.pop(0)], slot, gpu, threads, messages)
                running[slot] = context.Process(target=_work, args=arguments)
                with _delay_interrupt():
                    running[slot].start()
            _handle_message(messages, running, log, progress)
    finally:
        for process in running.values():
            process.terminate()
            process.join()
    return [read_run(task.out) for task in tasks]


@contextmanager
def _delay_interrupt() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block; processes started inside never receive it.

    Otherwise it would interrupt their imports with a traceback each. Blocked signals are inherited; the handler is
    needed because other threads of this process still receive them.
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


def _handle_message(messages: Any, running: dict[int, Any], log: Log, progress: Progress) -> None:
    """Pass on one message of a process, and forget a process that is done. Raises TrashkitError if one failed."""
    try:
        kind, slot, content = messages.get(timeout=1.0)
    except queue.Empty:
        for slot, process in running.items():
            if process.exitcode not in (None, 0):
                del running[slot]
                raise TrashkitError(
                    f"a training process ended with exit code {process.exitcode}", hint="continue with --resume"
                ) from None
        return
    if kind == "log":
        log(content)
    elif kind == "progress":
        progress(*content)
    elif kind == "done":
        running.pop(slot).join()
    else:
        message, hint = content
        raise TrashkitError(message, hint=hint)


def _end_with(parent: int) -> None:
    """End this process when its parent has exited, even if killed; nothing else would stop the training."""
    while os.getppid() == parent:
        time.sleep(0.5)
    signal.raise_signal(signal.SIGTERM)


def _work(task: TrainTask, slot: int, gpu: int | None, threads: int, messages: Any) -> None:
    """Entry point of a process: train one task and send messages about it."""
    # Ctrl-C reaches all processes of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if gpu is not None:
        torch.cuda.set_device(gpu)  # the meaning of "cuda" without a number
    torch.set_num_threads(threads)
    try:
        task.run(
            log=lambda text: messages.put(("log", slot, text)),
            progress=lambda *news: messages.put(("progress", slot, news)),
        )
    except TrashkitError as error:
        messages.put(("failed", slot, (f"{task.name}: {error.message}", error.hint)))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{task.name}: {type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {error}"
        messages.put(("failed", slot, (" ".join(text.split())[:400], "continue with --resume")))
    else:
        messages.put(("done", slot, None))
