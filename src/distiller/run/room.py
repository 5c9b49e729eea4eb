"""Whether a training will fit into the memory that is free: a system that runs out of it kills without a word."""

import torch

from distiller import memory
from distiller.device import accelerator
from distiller.errors import warn
from distiller.models.cost import parameter_count, training_memory
from distiller.run.jobs import machine
from distiller.run.plan import RunPlan
from distiller.tasks.tokens import Tokens


def check_room(plan: RunPlan, tokens: Tokens) -> None:
    """Warn, with fields that mend it, where the largest training of `plan` takes more memory than is free."""
    run, shape, training = plan.run, plan.student, plan.run.training
    role, batch, accumulate = "the student", training.batch_size, training.accumulate
    if run.teacher is not None and plan.teacher is not None and plan.tunes():
        own = run.teacher.training
        if parameter_count(plan.teacher) > parameter_count(shape):
            role, shape = "the teacher", plan.teacher
            batch, accumulate = own.batch_size, own.accumulate
    longest = max(max(split.lengths) for split in tokens.values())
    half = machine(run).precision != "fp32"
    needed, free = training_memory(shape, length=longest, batch=batch, half=half), _free()
    if needed > free and batch > 1:
        field = "teacher.training" if role == "the teacher" else "training"
        warn(
            f"training {role} takes about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free here: "
            f"{field}.batch_size={batch // 2} with {field}.accumulate={2 * accumulate} learns the same in less"
        )


def _free() -> float:
    """Bytes that are free on the accelerator, or else of this machine."""
    if accelerator() == "cuda":
        return torch.cuda.mem_get_info()[0]
    return memory.free()
