"""Workers on a Ray cluster: the processors of this machine, or of many."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distiller.errors import ConfigError, RunError, importing
from distiller.study.config import Study, parse_study
from distiller.study.local import environment
from distiller.study.storage import is_file, storage_of


def load_ray() -> Any:
    """The module `ray`. Raises `MissingPackageError`."""
    with importing("engine `ray` needs", extra="study,ray"):
        import ray
    return ray


@dataclass
class RayPool:
    """Workers as Ray tasks, each with the CPUs and GPUs of one trial; they end with the engine's process."""

    study: Study
    execute: str
    running: dict[str, Any] = field(default_factory=dict)
    ours: bool = False

    def __post_init__(self) -> None:
        ray, engine = load_ray(), self.study.engine
        if not ray.is_initialized():
            try:
                ray.init(address=engine.address, include_dashboard=False, log_to_driver=False, logging_level="error")
            except (ConnectionError, ValueError) as error:
                raise ConfigError(
                    f"no Ray cluster answers at `{engine.address}`: {str(error).splitlines()[0]}",
                    hint="start one with `ray start --head`, or leave out engine.address",
                ) from None
            self.ours = True
        hosts = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
        if len(hosts) > 1 and is_file(storage_of(self.study)) and not storage_of(self.study).endswith(".journal"):
            raise ConfigError(
                f"the Ray cluster has {len(hosts)} machines, and SQLite is a file of one of them",
                hint="name a database they all reach: storage=postgresql://…",
            )
        if self.size == 0:
            have = ray.cluster_resources()
            raise ConfigError(
                f"the Ray cluster has {have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs, "
                f"and a trial asks for {engine.cpus:g} and {engine.gpus:g}",
                hint="lower engine.cpus or engine.gpus",
            )

    @property
    def size(self) -> int:
        """The number of workers at a time: as requested, or as the cluster has room for, also when it grows."""
        engine, have = self.study.engine, load_ray().cluster_resources()
        room = have.get("CPU", 0) // engine.cpus
        if engine.gpus:
            room = min(room, have.get("GPU", 0) // engine.gpus)
        return int(min(room, engine.workers or room))

    def start(self, name: str) -> None:
        """Ask Ray for a worker called `name`."""
        ray, engine = load_ray(), self.study.engine
        variables = environment(engine.threads or max(1, int(engine.cpus)), self.study.cache_gb)
        task = ray.remote(num_cpus=engine.cpus, num_gpus=engine.gpus, max_retries=0, max_calls=1)(_work)
        if "PYTHONPATH" in os.environ:
            variables["PYTHONPATH"] = os.environ["PYTHONPATH"]
        task = task.options(runtime_env={"env_vars": variables})
        self.running[name] = task.remote(
            self.study.model_dump(mode="json"), str(self.study.place.absolute()), os.getcwd(), name, self.execute
        )

    def ended(self) -> dict[str, str]:
        """Workers that ended since the last call: the reason in words, or `""` if nothing was left to do.

        Raises `RunError` if one could not store its results.
        """
        ray = load_ray()
        done, _ = (
            ray.wait(list(self.running.values()), num_returns=len(self.running), timeout=0)
            if self.running
            else ([], [])
        )
        found = {}
        for name in [name for name, task in self.running.items() if task in done]:
            try:
                ray.get(self.running.pop(name))
                found[name] = ""
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, RunError):
                    raise RunError(error.cause.message, hint=error.cause.hint) from None
                words = str(error.cause).splitlines() or [type(error.cause).__name__]
                found[name] = f"its worker ended: {words[0]}"
            except ray.exceptions.RayError as error:
                found[name] = f"its worker died: {type(error).__name__}"
        return found

    def close(self) -> None:
        """End all workers."""
        ray = load_ray()
        for task in self.running.values():
            ray.cancel(task, force=True)
        self.running.clear()
        if self.ours:
            ray.shutdown()


def _work(study: dict[str, Any], folder: str, directory: str, name: str, execute: str) -> None:
    """Runs on the cluster, in the engine's working directory if that machine has it."""
    from distiller.study.worker import work

    if Path(directory).is_dir():
        os.chdir(directory)
    work(parse_study({**study, "folder": folder}), name, execute)
