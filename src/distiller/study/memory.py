"""Memory for trials: how many fit into what is free, and turns for those that did not fit."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from distiller import memory

T = TypeVar("T")

OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError")
"""Names of the exceptions that mean it, in torch and in Python; torch need not be imported to know them."""


def workers_that_fit(gigabytes: float, devices: Sequence[str]) -> int:
    """How many trials of `gigabytes` (10^9 bytes) fit at a time into what is free on `devices` or this machine.

    At least one; with several devices, which get workers in turn, as many on each as on the fullest.
    """
    free = [free_on_device(device) for device in devices] if devices else [free_here()]
    each = min(int(room / gigabytes) for room in free)
    return max(1, each * len(free))


def free_on_device(device: str) -> float:
    """Free memory in 10^9 bytes of the GPU that `CUDA_VISIBLE_DEVICES` calls `device`; 0 if unknown.

    The driver's own tool is asked: a process that asked torch would itself take half a gigabyte there.
    """
    ask = ["nvidia-smi", f"--id={device}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=30, check=True).stdout
        return float(answer.split()[0]) * 2**20 / 1e9
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0.0


def free_here() -> float:
    """Available memory of this machine, in 10^9 bytes."""
    return memory.free() / 1e9


def out_of_memory(error: BaseException | None) -> bool:
    """Whether too little memory caused `error`."""
    while error is not None:
        if type(error).__name__ in OUT_OF_MEMORY:
            return True
        error = error.__cause__ or error.__context__
    return False


class Turns:
    """Trials on one machine that run side by side, unless one of them needs to be alone.

    A trial holds its own lock while it runs. One that needs to be alone closes the gate, through which all others must
    pass first, and waits until those inside have ended. Locks end with their processes.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.own = folder / f"{name}.lock"
        self.gate = folder / ".gate"
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def beside_others(self) -> Iterator[None]:
        """Within it no other trial is alone."""
        with FileLock(self.gate):
            running = FileLock(self.own)
            running.acquire()
        try:
            yield
        finally:
            running.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other trial runs; within it none starts."""
        with FileLock(self.gate):
            for other in sorted(self.folder.glob("*.lock")):
                if other != self.own:
                    with FileLock(other):
                        pass
            yield


def with_room(turns: Turns, attempt: Callable[[], T], again: Callable[[], None]) -> T:
    """What `attempt` returns; if it runs out of memory beside others, it is repeated alone after `again`."""
    try:
        with turns.beside_others():
            return attempt()
    except Exception as error:
        if not out_of_memory(error):
            raise
    again()
    with turns.alone():
        return attempt()
