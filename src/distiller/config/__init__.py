"""A distillation pipeline as data: `Run` and its parts, and how they are made from what was written.

The parts that differ for a translation are in `distiller.config.translation`; YAML and `a.b=value` overrides, which are
independent of the parts, in `distiller.config.plain`; messages about wrong fields in `distiller.config.field_errors`.
The classes here say what may be written; options of components are checked against the families by
`distiller.run.plan.make_plan`, which needs torch. Reading a run does not.
"""

from distiller.config.base import Component, Config, parse
from distiller.config.models import Student, Teacher
from distiller.config.objective import Critic, Objective, Projection, Share, Term
from distiller.config.plain import apply_override, load_yaml, read_yaml, to_yaml
from distiller.config.run import Run, Stage, load_run, parse_run
from distiller.config.task import Task
from distiller.config.training import Optimisation, Training

__all__ = [
    "Component",
    "Config",
    "Critic",
    "Objective",
    "Optimisation",
    "Projection",
    "Run",
    "Share",
    "Stage",
    "Student",
    "Task",
    "Teacher",
    "Term",
    "Training",
    "apply_override",
    "load_run",
    "load_yaml",
    "parse",
    "parse_run",
    "read_yaml",
    "to_yaml",
]
