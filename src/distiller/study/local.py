"""Workers as processes of this machine, each with its own number of threads."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from distiller.processes import SHARERS
from distiller.study.config import Study
from distiller.study.memory import workers_that_fit
from distiller.study.worker import NO_ROOM

LOGS = "logs"


def environment(threads: int, cache_gb: float) -> dict[str, str]:
    """What determines how a worker computes: its threads, which sleep while they wait, and the room for shared work."""
    count = str(threads)
    return {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "DISTILLER_CACHE_GB": f"{cache_gb:g}",
    }


@dataclass
class LocalPool:
    """Worker processes that end with the process that started them."""

    study: Study
    execute: str
    running: dict[str, tuple[subprocess.Popen[bytes], Path]] = field(default_factory=dict)
    started: int = 0
    size: int = field(init=False)
    """Workers at a time, settled at the start."""

    def __post_init__(self) -> None:
        engine = self.study.engine
        if engine.workers is None and engine.gigabytes is not None:
            self.size = workers_that_fit(engine.gigabytes, engine.devices)
        else:
            self.size = engine.workers or 1

    def start(self, name: str) -> None:
        """Start a worker called `name`."""
        engine = self.study.engine
        threads = engine.threads or max(1, _cores() // self.size)
        variables = environment(threads, self.study.cache_gb)
        if engine.devices:
            variables["CUDA_VISIBLE_DEVICES"] = engine.devices[self.started % len(engine.devices)]
            variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # numbered as in `nvidia-smi`, which reports free memory
        variables[SHARERS] = str(math.ceil(self.size / max(1, len(engine.devices))))
        self.started += 1
        log = self.study.place / LOGS / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [str(self.study.place), name, str(os.getpid()), self.execute]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "distiller.study.worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
                start_new_session=True,  # a keyboard interrupt is for the engine alone
            )
        self.running[name] = (process, log)

    def ended(self) -> dict[str, str]:
        """Workers that ended since the last call: the reason in words, or `""` if nothing was left to do.

        Raises `RunError` if one could not store its results.
        """
        from distiller.errors import RunError

        found = {}
        for name, (process, log) in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[name]
            if code == NO_ROOM:
                raise RunError(_last_error(log), hint="make room, then: distiller study resume")
            found[name] = _words(code, log)
        return found

    def close(self) -> None:
        """End all workers, and the processes that they started."""
        for process, _ in self.running.values():
            _signal(process, signal.SIGTERM)
        for process, _ in self.running.values():
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()
        self.running.clear()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _words(code: int, log: Path) -> str:
    if code == 0:
        return ""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"its worker was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"its worker ended with exit code {code}: {_last_line(log)}"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _last_error(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    found = [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")]
    return found[-1] if found else _last_line(log)
