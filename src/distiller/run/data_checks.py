"""Requests of a run that contradict each other or its data, refused before anything is loaded or trained."""

from typing import TYPE_CHECKING

from distiller import config
from distiller.config import Run
from distiller.errors import ConfigError, did_you_mean
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.run.stages import OF_ALL_STAGES, finetune_hint, stages_of, teachers_of

if TYPE_CHECKING:
    from distiller.run.plan import RunPlan


def check_data(plan: "RunPlan") -> None:
    """Raise `ConfigError` where a plan needs something that its data do not have."""
    _check_labels(plan)
    _check_class_weights(plan)


def check_stages(run: Run) -> None:
    """Refuse settings beside or in the stages that no stage reads."""
    if run.stages and run.objective != config.Objective():
        raise ConfigError(
            "`objective` is read by no training: each of `stages` has its own",
            hint="leave it out, or set stages.0.objective",
        )
    for stage in run.stages:
        field = next((name for name in OF_ALL_STAGES if name in stage.training), None)
        if field is not None:
            raise ConfigError(f"stage `{stage.name}`: `{field}` is that of the whole run", hint=f"set training.{field}")


def check_objective(objective: config.Objective, training: config.Training) -> None:
    """Something must be learnt, and every loss needs its inputs from a batch and from its mapping."""
    active = [term for term in objective.terms if term.active and objective.intermediate_weight > 0]
    if not active and objective.beta1 == 0 and not objective.gamma1:
        raise ConfigError(
            "every weight of the objective is 0, so there is nothing to learn",
            hint="set objective.beta1 (teacher) or objective.gamma1 (gold labels)",
        )
    if any(INTERMEDIATE[term.loss].traits["head"] == "critic" for term in active) and training.batch_size < 3:
        raise ConfigError("mutual information needs at least three examples in a batch", hint="training.batch_size=16")
    for term in active:
        if term.mapping.options.get("update_weights") and INTERMEDIATE[term.loss].traits.get("signed", False):
            raise ConfigError(
                f"mapping `emd` cannot update its weights by `{term.loss}`, which may be negative",
                hint="leave out update_weights, or use another loss",
            )


def check_pace(training: config.Optimisation, where: str) -> None:
    """A training has a number of epochs, or ends when it stops improving; each way has its own fields."""
    if training.epochs is None and training.schedule != "linear":
        raise ConfigError(
            f"{where}.schedule says how the rate moves through a number of epochs, and none is given",
            hint=f"{where}.epochs=5, or leave the schedule out",
        )
    if training.epochs is not None and training.min_steps is not None:
        raise ConfigError(
            f"{where}.min_steps is for a training that ends by itself, and {where}.epochs says when",
            hint="leave one of them out",
        )


def check_views(objective: config.Objective, operators: list[str]) -> None:
    """What weighs or labels the augmented view, and what makes one, must go together."""
    weighed = bool(objective.beta2 or objective.gamma2)
    if not operators and objective.augmented_label != "teacher_soft":  # the meaning of an open field
        raise ConfigError(
            "objective.augmented_label is for an augmented view, but no operator makes one",
            hint="name operators under `augmentation`, or leave it out",
        )
    if weighed and not operators:
        raise ConfigError(
            "objective.beta2 and gamma2 weigh an augmented view, but no operator makes one",
            hint="name operators under `augmentation`, or leave out both weights",
        )
    if operators and not weighed and not (objective.terms and objective.intermediate_weight):
        raise ConfigError(
            f"nothing reads what `{'`, `'.join(operators)}` make{'s' if len(operators) == 1 else ''} of the examples",
            hint="set objective.beta2 (teacher) or objective.gamma2 (labels), or leave out `augmentation`",
        )


def _check_labels(plan: "RunPlan") -> None:
    """A weight for gold labels needs gold labels; rows without any need a teacher to learn from."""
    data, spec = plan.data, plan.run.teacher
    for stage in stages_of(plan.run):
        objective = stage.objective
        weighed = _gold_weight(objective)
        if weighed and not data.labelled:
            raise ConfigError(
                f"objective.{weighed} weighs gold labels, and no training row has one",
                hint=f"objective.{weighed}=0, or label some rows",
            )
        if data.soft and objective.prediction and objective.prediction.name == "mse":
            raise ConfigError(
                "prediction objective `mse` compares logits, and rows bring probabilities along",
                hint="objective.prediction=kl, or ce",
            )
        if spec is None and any(term.active for term in objective.terms) and objective.intermediate_weight:
            raise ConfigError(
                f"`{objective.terms[0].loss}` compares layers, and the run has no teacher",
                hint="objective.intermediate=[], or name teacher.model",
            )
        if data.unlabelled and not plan.objective(stage).needs_teacher:
            raise ConfigError(
                f"{data.unlabelled} training rows have no label, and this objective learns nothing from the teacher",
                hint="set objective.beta1, or leave out rows without labels",
            )
    for one in teachers_of(spec) if spec is not None and not data.labelled else ():
        if one.finetune == "always":
            which = f" of `{one.model}`" if spec is not None and spec.others else ""
            raise ConfigError(
                f"teacher.finetune{which} is `always`, and no training row has a label",
                hint=f"{finetune_hint(plan.run, one, 'never')}, or label some rows",
            )


def _gold_weight(objective: config.Objective) -> str | None:
    """The weight that gold labels have in an objective, if they have one."""
    if objective.gamma1:
        return "gamma1"
    return "gamma2" if objective.gamma2 and objective.augmented_label == "gold" else None


def _check_class_weights(plan: "RunPlan") -> None:
    """Class weights need classes with these names, and a training on gold labels."""
    data, spec, objectives = plan.data, plan.run.teacher, plan.run.objectives
    wishes = [one.class_weights for one in objectives if one.class_weights is not None or _gold_weight(one)]
    if any(wish != wishes[0] for wish in wishes):  # a stage without gold labels has nothing to weigh
        raise ConfigError("objective.class_weights differ between stages", hint="say the same in every stage")
    for wish in wishes:
        if wish is None:
            continue
        if data.kind not in ("classification", "tagging"):
            raise ConfigError(
                f"objective.class_weights is for classes, and `{data.name}` is a {data.kind} task", hint="leave it out"
            )
        if not data.labelled:
            raise ConfigError(
                "objective.class_weights weighs gold labels, and no training row has one", hint="leave it out"
            )
        if isinstance(wish, dict):
            strange = next((name for name in wish if name not in data.labels), None)
            if strange is not None:
                raise ConfigError(
                    f"objective.class_weights: no class is called `{strange}`",
                    hint=did_you_mean(strange, list(data.labels)),
                )
            if not any(wish.get(label, 1.0) for label in data.labels):
                raise ConfigError("objective.class_weights: every class has the weight 0", hint="leave some out")
        tuned = spec is not None and any(plan.tunes(one) for one in teachers_of(spec))
        if not (tuned or plan.run.baseline or any(map(_gold_weight, objectives))):
            raise ConfigError(
                "objective.class_weights weighs gold labels, and nothing is trained on them here",
                hint="objective.gamma1=0.5, or leave it out",
            )
