"""The two forms of run that a study can try: of encoders, and of translation models.

Their Records have the same score, teacher, baseline, student and cost; a translation run has a corpus for a task.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from distiller.config import Run, parse_run
from distiller.translation.config import TranslationRun, parse_translation

if TYPE_CHECKING:
    from distiller.record import Record
    from distiller.translation.record import TranslationRecord

AnyRun = Run | TranslationRun
Report = Callable[[int, float], None]
"""Hears of (optimisation step, development score)."""


def is_translation(run: Mapping[str, Any]) -> bool:
    """Whether plain data is that of a translation run."""
    return "corpus" in run


def task_field(run: Mapping[str, Any]) -> str:
    """The field of `run` that says on what it learns: `task` or `corpus`."""
    return "corpus" if is_translation(run) else "task"


def parse_any(run: Mapping[str, Any], *, where: str = "run") -> AnyRun:
    """The run in plain data. Raises `ConfigError` that names the field."""
    return parse_translation(run, where=where) if is_translation(run) else parse_run(run, where=where)


def carry_out(run: AnyRun, report: Report | None) -> "Record | TranslationRecord":
    """Distil; what an earlier attempt at the same point finished is kept."""
    if isinstance(run, TranslationRun):
        from distiller.translation.run import distil_translator

        return distil_translator(run, resume=True, on_evaluation=report)
    from distiller.run import distil

    return distil(run, resume=True, on_evaluation=report)


def check_run(run: AnyRun) -> None:
    """Resolve a run against its data and models. Raises the `DistillerError` that it would end with; trains nothing."""
    if isinstance(run, TranslationRun):
        from distiller.translation.setup import check

        check(run)
    else:
        from distiller.run.plan import make_plan

        make_plan(run)
