"""What the models of a run cannot do, as far as configurations and tokenizers tell without weights."""

from typing import TYPE_CHECKING

from distiller import config
from distiller.augment import check_policy
from distiller.errors import ConfigError, ModelError, warn
from distiller.models.cutting import check_scores, check_sizes, on_meta, takes_embeddings
from distiller.models.folders import load_config, load_tokenizer
from distiller.models.heads import HEADS, contradicts_itself, has_head_for, head_differs
from distiller.models.layers import check_states
from distiller.models.layouts import check_known, check_trainable, finds_end
from distiller.models.load import check_length, check_loads, check_vocabulary
from distiller.models.students import check_copy, initialisation, same_vocabulary, source_of, student_config
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.run.stages import finetune_hint, stages_of, teachers_of
from distiller.tasks.data import QuestionSplit
from distiller.tasks.encode import Collator
from distiller.tasks.windows import NO_NULL, null_before_text
from distiller.training.objective import DistillationObjective

if TYPE_CHECKING:
    from distiller.run.plan import RunPlan


def check_models(plan: "RunPlan") -> None:
    """Raise `ConfigError` or `ModelError` for what would fail when the models are loaded, trained or compared."""
    if plan.run.teacher is not None:
        for one in teachers_of(plan.run.teacher):
            _check_head(plan, one)
    _check_others(plan)
    _check_length(plan)
    _check_tokens_and_weights(plan)
    _check_baseline(plan)
    _check_segments(plan)
    _check_mixup(plan)
    _check_parts(plan)


def _check_others(plan: "RunPlan") -> None:
    """Teachers whose outputs are averaged read the same tokens, and what is compared with them can be averaged."""
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
        if plan.tunes(one):
            check_trainable(shape, f"teacher `{one.model}`")
        check_loads(one.model, kind=plan.data.kind, labels=plan.labels, trust_remote_code=one.trust_remote_code)
        check_length(plan.max_length, shape, f"teacher `{one.model}`")
    for stage in stages_of(plan.run):
        prediction = stage.objective.prediction
        if plan.data.kind != "regression" and prediction is not None and prediction.name == "mse":
            raise ConfigError(
                "prediction objective `mse` compares logits, and several teachers are averaged as probabilities",
                hint="objective.prediction=kl, or ce; or one teacher",
            )


def _check_head(plan: "RunPlan", spec: config.Teacher) -> None:
    """A teacher's head is kept; if it cannot be, its loss is reported."""
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
            hint=(differs and differs.keep) or f"{finetune_hint(plan.run, spec, 'auto')}, or name a fine-tuned teacher",
        )
    if differs:
        keep = f"; {differs.keep}" if differs.keep else ""
        warn(f"the head of teacher `{spec.model}` is thrown away and the teacher fine-tuned anew: {differs.what}{keep}")


def _check_length(plan: "RunPlan") -> None:
    """The longest input must fit both models."""
    for role, shape in (("the teacher", plan.teacher), ("the student", plan.student)):
        if shape is not None:
            check_length(plan.max_length, shape, role)


def _check_tokens_and_weights(plan: "RunPlan") -> None:
    """What needs no weights: every token has an embedding, every weight of the student a source."""
    run, kind = plan.run, plan.data.kind
    for role, tokenizer, shape in (
        ("teacher", plan.teacher_tokenizer, plan.teacher),
        ("student", plan.student_tokenizer, plan.student),
    ):
        if shape is None:
            continue
        Collator(tokenizer)  # refuses a tokenizer that cannot pad
        check_vocabulary(tokenizer, shape, role)
        train = plan.data.splits["train"]
        causal = finds_end(shape) and not shape.is_encoder_decoder
        if causal and isinstance(train, QuestionSplit) and train.null_answers and null_before_text(tokenizer):
            raise ModelError(
                f"a `{shape.model_type}` {role} reads from left to right, and its tokenizer puts the token that stands "
                "for no answer before the text",
                hint=NO_NULL,
            )
        tokenizer.model_max_length = run.task.max_length  # nothing is padded, or read later, beyond the trained length
    if plan.teacher is not None:
        on_meta(HEADS[kind], plan.teacher)
    whole = plan.student
    if plan.vocabulary is not None:  # which is cut after its weights are copied
        whole = student_config(run.student, teacher=plan.teacher, tokenizer=plan.teacher_tokenizer)
    check_copy(run.student, whole, teacher=plan.teacher, kind=kind)
    if run.student.config:
        check_sizes(HEADS[kind], plan.student)
    teacher, student = run.teacher, run.student
    if teacher is not None:
        check_loads(teacher.model, kind=kind, labels=plan.labels, trust_remote_code=teacher.trust_remote_code)
    if (source := source_of(student)) is not None:
        check_loads(source, kind=kind, labels=plan.labels, trust_remote_code=student.trust_remote_code)
    if plan.teacher is not None and plan.tunes():
        check_trainable(plan.teacher, "teacher")


def _check_baseline(plan: "RunPlan") -> None:
    """A second baseline must differ from the first."""
    tuned = plan.tunes()
    if plan.run.baseline != "both" or (initialisation(plan.run.student) == "teacher" and tuned):
        return
    raise ConfigError(
        "baseline is `both`, and there is but one: this student does not start from layers of a teacher that is "
        "fine-tuned here",
        hint="baseline: true",
    )


def _check_mixup(plan: "RunPlan") -> None:
    """Mixed examples are embeddings without ids, and some classifiers find the end of a text by its id."""
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


def _check_segments(plan: "RunPlan") -> None:
    """What is to be aligned must exist and be distinguishable."""
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


def _check_parts(plan: "RunPlan") -> None:
    """Build every stage's objective once, so that unsuitable names, options, layers and widths are reported now."""
    for stage in stages_of(plan.run):
        _check_reading(plan, plan.objective(stage))
        if plan.teacher is None or (plan.token_by_token and not plan.by_characters):
            continue
        other = "but teacher and student have different tokenizers"
        keep = "a student with the teacher's tokenizer"
        if plan.vocabulary is not None:
            other = "but some training texts have other pieces in the student's vocabulary than in the teacher's"
            keep = "student.vocabulary=task without augmentation that rewrites text"
        if plan.data.kind in ("tagging", "qa") and not plan.by_characters:
            raise ConfigError(f"a {plan.data.kind} task compares outputs token by token, {other}", hint=f"use {keep}")
        prediction = stage.objective.prediction
        if plan.data.kind == "qa" and prediction is not None and prediction.name == "mse":
            raise ConfigError(
                f"prediction objective `mse` compares the score of every token, {other}",
                hint="objective.prediction=kl, or ce",
            )
        for term in stage.objective.terms:
            traits = INTERMEDIATE[term.loss].traits
            pooled = traits.get("pooled", False) and term.options.get("tokens") != "all"
            if not pooled and not (plan.by_characters and traits["reads"] == "hidden_states"):
                states = "`mse`, `pkd` or `mi_alpha`" if plan.by_characters else "`pkd` or `mi_alpha`"
                raise ConfigError(f"`{term.loss}` compares tokens, {other}", hint=f"use {states}, or {keep}")


def _check_reading(plan: "RunPlan", objective: DistillationObjective) -> None:
    """Everything that an objective reads must exist in both models."""
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
