"""Whether a training will fit into the free memory: a system that runs out of it kills processes without a message."""

from functools import partial

import torch

from distiller import memory
from distiller.device import accelerator
from distiller.errors import warn
from distiller.models.cost import parameter_count, training_memory
from distiller.run.jobs import machine
from distiller.run.plan import RunPlan
from distiller.tasks.tokens import Tokens


def check_room(plan: RunPlan, tokens: Tokens) -> None:
    """Warn, naming fields that help, if the largest training of `plan` needs more memory than is free."""
    run, shape, training = plan.run, plan.student, plan.run.training
    role, batch, accumulate = "the student", training.batch_size, training.accumulate
    if run.teacher is not None and plan.teacher is not None and plan.tunes():
        own = run.teacher.training
        if parameter_count(plan.teacher) > parameter_count(shape):
            role, shape = "the teacher", plan.teacher
            batch, accumulate = own.batch_size, own.accumulate
    longest = max(max(split.lengths) for split in tokens.values())
    need = partial(training_memory, shape, length=longest, half=machine(run).precision != "fp32")
    free, parts = _free(), 1
    if need(batch=batch) <= free:
        return
    while batch > parts and need(batch=batch // parts) > free:
        parts *= 2
    field = "teacher.training" if role == "the teacher" else "training"
    mend = f"{field}.batch_size={batch // parts} with {field}.accumulate={parts * accumulate} learns the same in less"
    if batch <= parts:
        mend = "a smaller model, or a shorter task.max_length, takes less"
    warn(f"training {role} takes about {need(batch=batch) / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free here: {mend}")


def _free() -> float:
    """Free bytes of the accelerator, or else of this machine."""
    if accelerator() == "cuda":
        return torch.cuda.mem_get_info()[0]
    return memory.free()
