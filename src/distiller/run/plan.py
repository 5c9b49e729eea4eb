"""What a run means in full: what it leaves open filled in, options checked, consecutive trainings spelt out."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from distiller import config
from distiller.augment import build_policy, check_policy
from distiller.config import Run
from distiller.device import compute
from distiller.errors import ConfigError, did_you_mean, warn
from distiller.models.cutting import check_scores, check_sizes, on_meta, takes_embeddings
from distiller.models.heads import head_differs
from distiller.models.layers import check_states
from distiller.models.layouts import check_known, check_trainable, finds_end, incomparable
from distiller.models.load import (
    HEADS,
    check_vocabulary,
    check_weights,
    contradicts_itself,
    has_head_for,
    head_names,
    load_config,
    load_tokenizer,
    longest_input,
    with_labels,
)
from distiller.models.load import (
    resolve as model_folder,
)
from distiller.models.students import (
    check_copy,
    initialisation,
    same_vocabulary,
    source_of,
    student_config,
    student_tokenizer,
)
from distiller.models.vocabulary import Vocabulary, with_vocabulary
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.run.vocabulary import task_vocabulary
from distiller.tasks import load_task
from distiller.tasks.crossover import usual_crossovers, with_crossed
from distiller.tasks.data import QuestionSplit, TaskData
from distiller.tasks.encode import Collator
from distiller.tasks.soft_labels import with_gold_as_soft
from distiller.training.defaults import filled_in
from distiller.training.objective import DistillationObjective
from distiller.training.pace import learning_rate
from distiller.training.trackers import check_trackers
from distiller.training.trainer import model_shape

OF_ALL_STAGES = ("threads", "attention")
"""Fields of `training` that a process or a model has once."""


@dataclass(frozen=True)
class Stage:
    """One training of a run with everything filled in."""

    name: str
    objective: config.Objective
    training: config.Training


def stages_of(run: Run) -> list[Stage]:
    """The consecutive trainings of a run: its stages, or the one training that it is."""
    if not run.stages:
        return [Stage("distil", run.objective, run.training)]
    fields = run.training.model_dump()
    return [
        Stage(
            stage.name,
            stage.objective,
            config.parse(config.Training, {**fields, **stage.training}, where=f"stage `{stage.name}`, training"),
        )
        for stage in run.stages
    ]


@dataclass(frozen=True)
class RunPlan:
    """A resolved run and the shapes of its models: everything that can be known without large weights."""

    run: Run
    data: TaskData
    teacher: PretrainedConfig | None
    """`None`: rows bring along what is to be imitated."""
    student: PretrainedConfig
    teacher_tokenizer: PreTrainedTokenizerBase
    student_tokenizer: PreTrainedTokenizerBase
    shared_tokens: bool
    """Whether teacher and student read the same tokens, under the same ids."""
    token_by_token: bool
    """Whether token t of the student is token t of the teacher in every training text."""
    vocabulary: Vocabulary | None = None
    """What is left of the student's vocabulary, where it was cut."""

    @property
    def labels(self) -> list[str] | None:
        """Class or tag names, or `None` where a label is none of a set."""
        return self.data.label_names

    def objective(self, stage: Stage) -> DistillationObjective:
        """The objective of `stage` for these models, to ask it what fits and what it reads; draws no random state."""
        with torch.random.fork_rng(devices=[]):
            return DistillationObjective(
                stage.objective,
                student=model_shape(self.student),
                teacher=None if self.teacher is None else model_shape(self.teacher),
                kind=self.data.kind,
            )


def make_plan(run: Run) -> RunPlan:
    """Check `run` against its data and models, before anything is trained. Raises `DistillerError`."""
    spec = run.teacher
    teacher = None if spec is None else load_config(spec.model, trust_remote_code=spec.trust_remote_code)
    data = load_task(run.task, head=[] if teacher is None else head_names(teacher))
    if teacher is None:
        data = with_gold_as_soft(data)
    labels = data.label_names
    if teacher is not None:
        check_known(teacher)
    read = None if spec is None else load_tokenizer(spec.model, trust_remote_code=spec.trust_remote_code)
    tokenizer = student_tokenizer(run.student, read)
    student = student_config(run.student, teacher=teacher, tokenizer=tokenizer)
    run = run.model_copy(update={"crossovers": _crossovers(run, data, teacher, student)})
    data = with_crossed(data, run.crossovers or 0, seed=run.task.split_seed)
    token_by_token = read is None or same_vocabulary(tokenizer, read)
    vocabulary = None
    if run.student.vocabulary is not None:
        check_vocabulary(tokenizer, student, "student")
        vocabulary, covers = task_vocabulary(run, data, tokenizer, student)
        tokenizer, student = vocabulary.tokenizer, with_vocabulary(student, vocabulary)
        token_by_token = token_by_token and covers
    teacher_tokenizer = read or tokenizer
    states = not any(shape is not None and incomparable(shape) for shape in (teacher, student))
    run = resolve(run, data, token_by_token=token_by_token, states=states)
    made = RunPlan(
        run=_with_rates(run, teacher=teacher, student=student),
        data=data,
        teacher=None if teacher is None else with_labels(teacher, kind=data.kind, labels=labels),
        student=student,
        teacher_tokenizer=teacher_tokenizer,
        student_tokenizer=tokenizer,
        shared_tokens=read is None or (vocabulary is None and token_by_token),
        token_by_token=token_by_token,
        vocabulary=vocabulary,
    )
    _check_labels(made)
    _check_class_weights(made)
    for one in teachers_of(made.run.teacher) if made.run.teacher is not None else ():
        _check_head(made, one)
    _check_others(made)
    _check_length(made)
    _check_models(made)
    _check_baseline(made)
    _check_segments(made)
    _check_mixup(made)
    _check_parts(made)
    compute(made.run.training.precision, made.run.training.attention)  # refuses what this machine does not have
    build_policy(made.run.augmentation).prepare()  # likewise what operators need
    return made


def resolve(run: Run, data: TaskData, *, token_by_token: bool = True, states: bool = True) -> Run:
    """`run` with what it leaves open filled in for this task, checked for options that contradict each other.

    `token_by_token`: token t of the student is token t of the teacher. `states`: layers of both can be compared.
    """
    _check_stages(run)
    task = run.task.model_copy(update={"max_length": run.task.max_length or data.default_max_length})
    if (data.unlabelled or data.soft) and task.name == "custom" and data.labels:  # they may be those of the teacher
        task = task.model_copy(update={"labels": list(data.labels)})
    operators = list(check_policy(run.augmentation))
    labelled = data.labelled > 0
    fill_in = partial(
        filled_in,
        kind=data.kind,
        operators=operators,
        labelled=labelled,
        layers=run.teacher is not None and states,
        tokens=token_by_token,
        recipe=run.recipe,
    )
    stages = [stage.model_copy(update={"objective": fill_in(stage.objective)}) for stage in run.stages]
    objective = run.objective if stages else fill_in(run.objective)
    update = {"task": task, "objective": objective, "stages": stages, "baseline": run.baseline if labelled else False}
    resolved = run.model_copy(update=update)
    if run.teacher is not None:
        _check_pace(run.teacher.training, "teacher.training")
    for stage in stages_of(resolved):
        check_trackers(stage.training.report_to)
        _check_pace(stage.training, "training")
        _check_objective(stage.objective, stage.training)
        _check_views(stage.objective, operators)
    return resolved


def _check_stages(run: Run) -> None:
    """What no stage reads is not said beside or in them."""
    if run.stages and run.objective != config.Objective():
        raise ConfigError(
            "`objective` is read by no training: each of `stages` has its own",
            hint="leave it out, or set stages.0.objective",
        )
    for stage in run.stages:
        field = next((name for name in OF_ALL_STAGES if name in stage.training), None)
        if field is not None:
            raise ConfigError(f"stage `{stage.name}`: `{field}` is that of the whole run", hint=f"set training.{field}")


def _crossovers(run: Run, data: TaskData, teacher: PretrainedConfig | None, student: PretrainedConfig) -> int:
    """Crossed texts for each training text. Raises `ConfigError` where some are wished for and cannot be."""
    if run.crossovers and data.kind == "qa":
        raise ConfigError(
            "contexts of question answering cannot be crossed: an answer may be lost", hint="crossovers=0"
        )
    if run.crossovers and run.teacher is None:
        raise ConfigError("`crossovers` makes texts that a teacher answers, and the run has none", hint="crossovers=0")
    if run.crossovers and not any(objective.beta1 for objective in run.objectives):
        raise ConfigError("objective.beta1 is 0: nobody would say what the crossed texts are", hint="crossovers=0")
    if run.crossovers is not None:
        return run.crossovers
    ours = all(objective.defaults == "distiller" and objective.beta1 for objective in run.objectives)
    said = any(stage.training.epochs or stage.training.max_steps for stage in stages_of(run))
    if teacher is None or run.augmentation or said or not ours:
        return 0
    layers = student.num_hidden_layers + 1  # what the default objective reads of the teacher, in numbers of 4 bytes
    room = run.training.cache_gb * 1e9 / (4 * teacher.hidden_size * layers)
    return usual_crossovers(data, tokens=room if run.training.cache_teacher == "auto" else math.inf)


def _with_rates(run: Run, *, teacher: PretrainedConfig | None, student: PretrainedConfig) -> Run:
    """`run` with the learning rates that it leaves open, which follow from the kind of model."""
    random = initialisation(run.student) == "random"
    rate = run.training.learning_rate or learning_rate(student, pretrained=not random)
    run = run.model_copy(update={"training": run.training.model_copy(update={"learning_rate": rate})})
    if run.teacher is None or teacher is None:
        return run
    rate = run.teacher.training.learning_rate or learning_rate(teacher, pretrained=True)
    tuning = run.teacher.training.model_copy(update={"learning_rate": rate})
    others: list[config.OtherTeacher] = []
    for one in run.teacher.others:
        shape = load_config(one.model, trust_remote_code=one.trust_remote_code)
        rate = one.learning_rate or run.teacher.training.learning_rate or learning_rate(shape, pretrained=True)
        others.append(one.model_copy(update={"learning_rate": rate}))
    return run.model_copy(update={"teacher": run.teacher.model_copy(update={"training": tuning, "others": others})})


def teachers_of(spec: config.Teacher) -> list[config.Teacher]:
    """Every teacher of a run: the first, and the others as if each were alone."""
    found = [spec.model_copy(update={"others": []})]
    for one in spec.others:
        training = spec.training.model_copy(update={"learning_rate": one.learning_rate})
        found.append(config.Teacher(**one.model_dump(exclude={"learning_rate"}), training=training))
    return found


def _check_objective(objective: config.Objective, training: config.Training) -> None:
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


def _check_pace(training: config.Optimisation, where: str) -> None:
    """A training has a number of epochs, or ends when nothing more is learnt; each has fields of its own."""
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


def _check_views(objective: config.Objective, operators: list[str]) -> None:
    """What weighs or labels the augmented view, and what makes one, must go together."""
    weighed = bool(objective.beta2 or objective.gamma2)
    if not operators and objective.augmented_label != "teacher_soft":  # which is what it means where it is open
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


def _check_labels(plan: RunPlan) -> None:
    """What weighs gold labels needs some; rows without any need a teacher to learn from."""
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
                hint=f"{_finetune(plan, one, 'never')}, or label some rows",
            )


def _gold_weight(objective: config.Objective) -> str | None:
    """The weight that gold labels have in an objective, if they have one."""
    if objective.gamma1:
        return "gamma1"
    return "gamma2" if objective.gamma2 and objective.augmented_label == "gold" else None


def _check_class_weights(plan: RunPlan) -> None:
    """Weights of classes need classes that are known by these names, and a training on gold labels."""
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
        tuned = spec is not None and any(will_be_tuned(plan, one) for one in teachers_of(spec))
        if not (tuned or plan.run.baseline or any(map(_gold_weight, objectives))):
            raise ConfigError(
                "objective.class_weights weighs gold labels, and nothing is trained on them here",
                hint="objective.gamma1=0.5, or leave it out",
            )


def _check_others(plan: RunPlan) -> None:
    """Teachers whose answers are averaged read the same tokens, and what is compared with them can be averaged."""
    spec = plan.run.teacher
    if spec is None or not spec.others:
        return
    for one in teachers_of(spec)[1:]:
        shape = load_config(one.model, trust_remote_code=one.trust_remote_code)
        check_known(shape)
        tokenizer = load_tokenizer(one.model, trust_remote_code=one.trust_remote_code)
        if not same_vocabulary(tokenizer, plan.teacher_tokenizer):
            raise ConfigError(
                f"teachers `{one.model}` and `{spec.model}` read different tokens, so a step cannot ask both",
                hint=f"distiller label {spec.model} FILE --also {one.model} -o labels, and task.unlabelled=labels",
            )
        check_vocabulary(plan.teacher_tokenizer, shape, f"teacher `{one.model}`")
        if will_be_tuned(plan, one):
            check_trainable(shape, f"teacher `{one.model}`")
        if isinstance(folder := model_folder(one.model), Path):
            check_weights(folder, one.model)
        wanted, limit = plan.run.task.max_length or 0, longest_input(shape)
        if wanted > limit:
            raise ConfigError(
                f"task.max_length is {wanted}, but teacher `{one.model}` takes {limit} tokens",
                hint=f"task.max_length={limit}",
            )
    for stage in stages_of(plan.run):
        prediction = stage.objective.prediction
        if plan.data.kind != "regression" and prediction is not None and prediction.name == "mse":
            raise ConfigError(
                "prediction objective `mse` compares logits, and several teachers are averaged as probabilities",
                hint="objective.prediction=kl, or ce; or one teacher",
            )


def _check_head(plan: RunPlan, spec: config.Teacher) -> None:
    """A head that a teacher has is kept, or its loss is said."""
    if spec.finetune == "always" and plan.data.labelled:
        return
    there = load_config(spec.model, trust_remote_code=spec.trust_remote_code)
    if has_head_for(spec.model, kind=plan.data.kind, labels=plan.labels, trust_remote_code=spec.trust_remote_code):
        if plan.labels is not None and contradicts_itself(there):
            warn(f"id2label and label2id of teacher `{spec.model}` contradict each other; its outputs follow id2label")
        return
    differs = head_differs(spec.model, there, kind=plan.data.kind, labels=plan.labels)
    if not plan.data.labelled:
        raise ConfigError(
            f"teacher `{spec.model}` has no head for this task, and no training row has a label to fine-tune it on"
            + (f": {differs.what}" if differs else ""),
            hint=(differs and differs.keep) or "name a fine-tuned teacher, or label some rows",
        )
    if spec.finetune == "never":
        raise ConfigError(
            f"teacher `{spec.model}` has no head for this task, and its finetune is `never`"
            + (f": {differs.what}" if differs else ""),
            hint=(differs and differs.keep) or f"{_finetune(plan, spec, 'auto')}, or name a fine-tuned teacher",
        )
    if differs:
        keep = f"; {differs.keep}" if differs.keep else ""
        warn(f"the head of teacher `{spec.model}` is thrown away and the teacher fine-tuned anew: {differs.what}{keep}")


def _finetune(plan: RunPlan, spec: config.Teacher, value: str) -> str:
    """How `finetune` of a teacher is set: a field of the run, or of one entry among several."""
    if plan.run.teacher is not None and plan.run.teacher.others:
        return f"`finetune: {value}` in the entry of `{spec.model}`"
    return f"teacher.finetune={value}"


def _check_length(plan: RunPlan) -> None:
    """The longest input must fit both models."""
    wanted = plan.run.task.max_length or 0
    for role, shape in (("teacher", plan.teacher), ("student", plan.student)):
        if shape is None:
            continue
        limit = longest_input(shape)
        if wanted > limit:
            raise ConfigError(
                f"task.max_length is {wanted}, but the {role} takes {limit} tokens", hint=f"task.max_length={limit}"
            )


def _check_models(plan: RunPlan) -> None:
    """What can be known without weights: every token has an embedding, every weight of the student a source."""
    run, kind = plan.run, plan.data.kind
    for role, tokenizer, shape in (
        ("teacher", plan.teacher_tokenizer, plan.teacher),
        ("student", plan.student_tokenizer, plan.student),
    ):
        if shape is None:
            continue
        Collator(tokenizer)  # refuses one that cannot pad
        check_vocabulary(tokenizer, shape, role)
        tokenizer.model_max_length = run.task.max_length  # nothing is padded, or later read, beyond what is trained
    if plan.teacher is not None:
        on_meta(HEADS[kind], plan.teacher)
    whole = plan.student
    if plan.vocabulary is not None:  # which is cut after its weights are copied
        whole = student_config(run.student, teacher=plan.teacher, tokenizer=plan.teacher_tokenizer)
    check_copy(run.student, whole, teacher=plan.teacher, kind=kind)
    if run.student.config:
        check_sizes(HEADS[kind], plan.student)
    for name in (run.teacher and run.teacher.model, source_of(run.student)):
        if name is not None and isinstance(folder := model_folder(name), Path):
            check_weights(folder, name)
    if plan.teacher is not None and will_be_tuned(plan):
        check_trainable(plan.teacher, "teacher")


def _check_baseline(plan: RunPlan) -> None:
    """A second baseline must be another one than the first."""
    tuned = will_be_tuned(plan)
    if plan.run.baseline != "both" or (initialisation(plan.run.student) == "teacher" and tuned):
        return
    raise ConfigError(
        "baseline is `both`, and there is but one: this student does not start from layers of a teacher that is "
        "fine-tuned here",
        hint="baseline: true",
    )


def will_be_tuned(plan: RunPlan, spec: config.Teacher | None = None) -> bool:
    """Whether a teacher, by default the run's first, is fine-tuned before it teaches."""
    spec = plan.run.teacher if spec is None else spec
    if spec is None:
        return False
    return spec.finetune == "always" or not has_head_for(
        spec.model, kind=plan.data.kind, labels=plan.labels, trust_remote_code=spec.trust_remote_code
    )


def _check_mixup(plan: RunPlan) -> None:
    """Mixed examples are embeddings without ids, and some classifiers look for the end of a text by its id."""
    if "mixup" not in check_policy(plan.run.augmentation):
        return
    for role, shape in (("teacher", plan.teacher), ("student", plan.student)):
        if shape is not None and finds_end(shape):
            raise ConfigError(
                f"augmentation: `mixup` has no token ids, by which a `{shape.model_type}` {role} finds its last token",
                hint="leave out `mixup`",
            )
        if shape is not None and not takes_embeddings(HEADS[plan.data.kind], shape):
            raise ConfigError(
                f"augmentation: `mixup` has no token ids, and a `{shape.model_type}` {role} takes nothing else",
                hint="leave out `mixup`",
            )


def _check_segments(plan: RunPlan) -> None:
    """What is to be aligned must be there, and be told apart."""
    if not check_policy(plan.run.augmentation).get("mixup", {}).get("align_segments"):
        return
    train = plan.data.splits["train"]
    if not isinstance(train, QuestionSplit) and getattr(train, "pairs", None) is None:
        raise ConfigError(
            "augmentation: `mixup` aligns the segments of pairs, and this task has single texts",
            hint="leave out `align_segments`",
        )
    for role, tokenizer in (("teacher", plan.teacher_tokenizer), ("student", plan.student_tokenizer)):
        if tokenizer.sep_token_id is None or tokenizer.padding_side != "right":
            raise ConfigError(
                f"augmentation: `mixup` cannot align segments for the {role}, whose tokenizer has no separator "
                "or pads on the left",
                hint="leave out `align_segments`",
            )


def _check_parts(plan: RunPlan) -> None:
    """Build every stage's objective once, so that names, options, layers and widths that do not fit are said now."""
    for stage in stages_of(plan.run):
        _check_reading(plan, plan.objective(stage))
        if plan.token_by_token or plan.teacher is None:
            continue
        other = "but teacher and student have different tokenizers"
        keep = "a student with the teacher's tokenizer"
        if plan.vocabulary is not None:
            other = "but some training texts have other pieces in the student's vocabulary than in the teacher's"
            keep = "student.vocabulary=task without augmentation that rewrites text"
        if plan.data.kind in ("tagging", "qa"):
            raise ConfigError(f"a {plan.data.kind} task compares outputs token by token, {other}", hint=f"use {keep}")
        for term in stage.objective.terms:
            pooled = INTERMEDIATE[term.loss].traits.get("pooled", False) and term.options.get("tokens") != "all"
            if not pooled:
                raise ConfigError(f"`{term.loss}` compares tokens, {other}", hint=f"use `pkd` or `mi_alpha`, or {keep}")


def _check_reading(plan: RunPlan, objective: DistillationObjective) -> None:
    """What an objective reads must be there in both models."""
    scores = False
    for side, shape in (("teacher", plan.teacher), ("student", plan.student)):
        if shape is None:
            continue
        if objective.layers(side):
            check_states(shape)
        if objective.layers(side, "attention_scores"):
            check_scores(HEADS[plan.data.kind], shape)
            scores = True
    teacher, student = (getattr(shape, "num_attention_heads", None) for shape in (plan.teacher, plan.student))
    if scores and teacher != student:
        raise ConfigError(
            f"the student has {student} attention heads and the teacher {teacher}",
            hint="choose a student with the teacher's number of heads, or a loss on hidden states",
        )
