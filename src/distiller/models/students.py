"""Builds students: from pretrained weights, from layers of the teacher, or at random."""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distiller.config import Student
from distiller.device import seeded
from distiller.errors import ConfigError, ModelError, did_you_mean
from distiller.models.architectures import ARCHITECTURES as ARCHITECTURES
from distiller.models.architectures import architecture
from distiller.models.cutting import (
    BUILD_ERRORS,
    check_order,
    copy_weights,
    decoder_layers,
    layer_lists,
    on_meta,
    origins,
    unbuildable,
)
from distiller.models.folders import load_config, load_tokenizer
from distiller.models.heads import HEADS, supported_attention, with_labels
from distiller.models.layouts import (
    DECODER_LAYERS,
    LISTS,
    PickedLayers,
    check_known,
    check_trainable,
    cut_config,
    decoder_field,
    layout,
    with_fields,
)
from distiller.models.load import follow_tokenizer, load_model, token_count
from distiller.models.vocabulary import Vocabulary, copy_cut, with_vocabulary

P = TypeVar("P")

DROPOUT = (
    *("hidden_dropout_prob", "dropout", "hidden_dropout", "dropout_rate", "resid_pdrop", "embd_pdrop"),
    *("resid_dropout", "embed_dropout", "embedding_dropout", "mlp_dropout"),
)
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
SETTLED = (
    "num_labels",
    "id2label",
    "label2id",
    "problem_type",
    "vocab_size",
    "pad_token_id",
    "model_type",
    "architectures",
    "return_dict",
    "output_hidden_states",
    "output_attentions",
    "chunk_size_feed_forward",
    "is_decoder",
    "is_encoder_decoder",
    "dtype",
    "transformers_version",
)
"""Fields of a configuration that nobody chooses for a student."""
PROBE = "The Quick, brown FÖX didn't jump: naïve 2,000 tests!"


def build_student(
    student: Student,
    *,
    teacher_model: PreTrainedModel | None,
    teacher_tokenizer: PreTrainedTokenizerBase | None,
    kind: str,
    labels: Sequence[str] | None,
    seed: int,
    attention: str | None = None,
    vocabulary: Vocabulary | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The student that `student` describes, in float32 and training mode, with its tokenizer.

    Copied weights are bit-identical to their source's; the rest is initialised from `seed`, without touching the global
    random state. With `vocabulary`, each table of tokens has only its rows. Raises `ModelError` when the source does
    not fit, `ConfigError` for an unknown architecture or configuration field.
    """
    tokenizer = student_tokenizer(student, teacher_tokenizer)
    config = student_config(student, teacher=teacher_model and teacher_model.config, tokenizer=tokenizer)
    with_labels(config, kind=kind, labels=labels)

    def fresh(shape: PretrainedConfig) -> PreTrainedModel:
        with seeded(seed):
            try:
                return HEADS[kind].from_config(
                    shape, dtype=torch.float32, attn_implementation=supported_attention(shape, kind, attention)
                )
            except BUILD_ERRORS as error:
                raise unbuildable(shape, error) from None

    model = fresh(config)
    source = None
    if initialisation(student) == "teacher":
        source = _given(teacher_model)
    elif initialisation(student) == "pretrained":
        name, trust = _start(student), student.trust_remote_code
        source = load_model(name, kind=kind, labels=labels, trust_remote_code=trust, seed=seed)
    if source is not None:
        picked = _picked(student, source.config, config)
        copy_weights(model, source, picked, layer_lists(HEADS[kind], source.config))
    if vocabulary is not None:
        whole, tokenizer = model, vocabulary.tokenizer
        model = fresh(with_vocabulary(whole.config, vocabulary))
        copy_cut(model, whole, vocabulary)
    return follow_tokenizer(model, tokenizer).train(), tokenizer


def student_config(
    student: Student, *, teacher: PretrainedConfig | None, tokenizer: PreTrainedTokenizerBase | None = None
) -> PretrainedConfig:
    """The configuration of the student that `student` describes; reads no weights, so it is quick.

    With `tokenizer`, a student that starts at random is given its vocabulary. Raises as `build_student` does.
    """
    start = initialisation(student)
    base = _base(student, teacher)
    settled = next((name for name in student.config if name in SETTLED), None)
    if settled is not None:
        raise ConfigError(f"student.config: `{settled}` follows from task, tokenizer and model", hint="leave it out")
    check_known(base)
    check_trainable(base, "student")
    early, late = _by_time(student, base)
    source = base
    if start == "teacher":
        source = _given(teacher)
    elif start == "pretrained":
        source = load_config(_start(student), trust_remote_code=student.trust_remote_code)
    keep, behind = _depths(student, base)
    if keep != base.num_hidden_layers and "num_hidden_layers" not in {*base.to_dict(), *base.attribute_map}:
        why = layout(base).no_cut or "names no number of layers"
        raise ModelError(
            f"no student can be cut from a `{base.model_type}` model: it {why}",
            hint="student.layers=null keeps all of its layers",
        )
    if start == "random" and keep > base.num_hidden_layers:  # not cut: its fields must name every layer
        return _shaped(with_fields(base, {**student.config, "num_hidden_layers": keep}), student, tokenizer)
    config = with_fields(base, early)
    if start == "random":
        picked = PickedLayers(list(range(keep)), list(range(behind)))
    else:
        check_family(config, source)
        picked = picked_from(student, source, keep=keep, behind=behind)
        check_order(source, picked)
    return _shaped(with_fields(cut_config(config, picked), late), student, tokenizer if start == "random" else None)


def check_copy(student: Student, config: PretrainedConfig, *, teacher: PretrainedConfig | None, kind: str) -> None:
    """Raises `ModelError` where the weights of the student's source would not fit it; reads no weights."""
    if initialisation(student) == "random":
        return
    if initialisation(student) == "pretrained":
        source = load_config(_start(student), trust_remote_code=student.trust_remote_code)
    else:
        source = _given(teacher)
    head, picked = HEADS[kind], _picked(student, source, config)
    origins(on_meta(head, config), on_meta(head, source), picked, layer_lists(head, source))


def student_tokenizer(student: Student, teacher_tokenizer: PreTrainedTokenizerBase | None) -> PreTrainedTokenizerBase:
    """The student's own tokenizer if it starts from pretrained weights, else the teacher's.

    A student with the teacher's tokenizer may be compared with it token by token. Raises `ConfigError` where there is
    neither.
    """
    if initialisation(student) == "pretrained":
        return load_tokenizer(_start(student), trust_remote_code=student.trust_remote_code)
    return _given(teacher_tokenizer)


def source_of(student: Student) -> str | None:
    """The pretrained model whose weights the student starts from; `None` for the teacher's, or for none."""
    return _start(student) if initialisation(student) == "pretrained" else None


def initialisation(student: Student) -> Literal["pretrained", "teacher", "random"]:
    """Where the student's weights come from. Raises `ConfigError` for `pretrained` without a model to start from."""
    if student.init == "pretrained" and not (student.model or student.architecture):
        raise ConfigError("student.init is `pretrained` without pretrained weights", hint="name student.model")
    if student.init:
        return student.init
    if student.model:
        return "pretrained"
    return "random" if student.architecture or student.config else "teacher"


def picked_from(student: Student, source: PretrainedConfig, *, keep: int, behind: int) -> PickedLayers:
    """The layers of a model with configuration `source` that a student with `keep` layers starts from.

    `behind` is the student's number of decoder layers, 0 where there is no decoder. Raises as `picked_layers` does.
    """
    layers, others = source.num_hidden_layers, decoder_layers(source)
    picked = picked_layers(student.pick, source=layers, keep=keep)
    if not others:
        return PickedLayers(picked, [])
    if isinstance(student.pick, str):
        return PickedLayers(picked, picked_layers(student.pick, source=others, keep=behind))
    if (layers, keep) != (others, behind):
        raise ModelError(
            f"student.pick names layers, but the source has {layers} in its encoder and {others} in its decoder",
            hint="student.pick=every cuts both in proportion",
        )
    return PickedLayers(picked, picked)


def picked_layers(pick: str | Sequence[int], *, source: int, keep: int) -> list[int]:
    """The 0-based layers of a source with `source` layers that a student with `keep` layers starts from.

    `every` takes the last of each block: floor((j+1)·source/keep) - 1. Raises `ModelError` when there are too few.
    """
    if not isinstance(pick, str):
        wrong = [layer for layer in pick if not 0 <= layer < source]
        if wrong:
            raise ModelError(f"the source has no layer {wrong[0]}", hint=f"its layers are 0 to {source - 1}")
        if len(pick) != keep:
            raise ModelError(f"student.pick names {len(pick)} layers for a student of {keep}", hint="leave out layers")
        return list(pick)
    if keep > source:
        raise ModelError(
            f"a student of {keep} layers cannot start from a source of {source}",
            hint=f"student.layers={source} or fewer, or student.init=random",
        )
    rules = {
        "first": range(keep),
        "last": range(source - keep, source),
        "every": [(layer + 1) * source // keep - 1 for layer in range(keep)],
    }
    if pick not in rules:
        raise ConfigError(f"student.pick is `{pick}`", hint=did_you_mean(pick, list(rules)))
    return list(rules[pick])


def check_family(student: PretrainedConfig, source: PretrainedConfig) -> None:
    """Raises `ModelError` unless layers of a `source` model work in a `student` one."""
    if student.model_type != source.model_type:
        raise ModelError(
            f"a `{student.model_type}` student cannot take the weights of a `{source.model_type}` source",
            hint="student.init=random, or a source of the same family",
        )
    if student.hidden_size != source.hidden_size:
        raise ModelError(
            f"a student {student.hidden_size} wide cannot take layers that are {source.hidden_size} wide",
            hint="student.init=random, or keep the width of the source",
        )
    heads, others = (getattr(one, "num_attention_heads", None) for one in (student, source))
    if heads != others:  # the same weights, read differently
        raise ModelError(
            f"a student with {heads} attention heads cannot take layers with {others}",
            hint="student.init=random, or keep the heads of the source",
        )


def same_vocabulary(first: PreTrainedTokenizerBase, second: PreTrainedTokenizerBase) -> bool:
    """Whether both tokenizers give a text the same tokens, so that token t of one model is token t of the other."""
    return (
        first.get_vocab() == second.get_vocab()
        and first.all_special_ids == second.all_special_ids
        and first(PROBE)["input_ids"] == second(PROBE)["input_ids"]
    )


def _base(student: Student, teacher: PretrainedConfig | None) -> PretrainedConfig:
    """The configuration that `student` starts from, before it is changed and cut."""
    if student.architecture:
        return architecture(student.architecture).config()
    if student.model:
        return load_config(student.model, trust_remote_code=student.trust_remote_code)
    return _given(teacher)


def _by_time(student: Student, base: PretrainedConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The student's own fields that are set before layers are cut, and those that describe what is left."""
    aliases = base.attribute_map
    after = {aliases.get(name, name) for name in ("num_hidden_layers", *LISTS, *DECODER_LAYERS)}
    early, late = {}, {}
    for name, value in student.config.items():
        (late if aliases.get(name, name) in after else early)[name] = value
    return early, late


def _depths(student: Student, base: PretrainedConfig) -> tuple[int, int]:
    """How many layers the student has, and how many in a decoder beside the encoder, in proportion by default."""
    aliases = base.attribute_map
    own = {aliases.get(name, name): value for name, value in student.config.items()}
    layers, others = base.num_hidden_layers, decoder_layers(base)
    said = own.get(aliases.get("num_hidden_layers", "num_hidden_layers"))
    if student.layers and said is not None and said != student.layers:
        raise ConfigError(
            f"student.layers is {student.layers}, and the number of layers in student.config is {said!r}",
            hint="leave one of them out",
        )
    keep = student.layers or said or layers
    if student.layers is None and isinstance(student.pick, list):
        keep = len(student.pick)
    if not isinstance(keep, int) or keep < 1:
        raise ConfigError(f"student.config: the number of layers is {keep!r}", hint="student.layers=2")
    share = max(1, round(keep * others / layers)) if others else 0
    return keep, own.get(decoder_field(base) or "", share)


def _picked(student: Student, source: PretrainedConfig, config: PretrainedConfig) -> PickedLayers:
    """The layers that a student with configuration `config` starts from."""
    return picked_from(student, source, keep=config.num_hidden_layers, behind=decoder_layers(config))


def _given(part: P | None) -> P:
    """What a student takes from its teacher."""
    if part is None:
        raise ConfigError(
            "the run has no teacher, so the student needs weights and a tokenizer of its own",
            hint="student.model=MODEL, perhaps with student.layers",
        )
    return part


def _start(student: Student) -> str:
    """The pretrained weights that the student starts from."""
    return student.model or architecture(student.architecture or "").hub_id


def _shaped(
    config: PretrainedConfig, student: Student, tokenizer: PreTrainedTokenizerBase | None = None
) -> PretrainedConfig:
    """`config` with the student's dropouts and, for a model initialised at random, the ids and types of its tokens.

    Raises `ConfigError` for a dropout that the architecture does not have.
    """
    fields: dict[str, Any] = {}
    wishes = (
        ("dropout", DROPOUT, student.dropout),
        ("attention_dropout", ATTENTION_DROPOUT, student.attention_dropout),
    )
    for wish, names, value in wishes:
        known = [name for name in names if hasattr(config, name)]
        if value and not known:
            raise ConfigError(
                f"student.{wish}: a `{config.model_type}` model has no such dropout", hint=f"leave out student.{wish}"
            )
        if value is not None:
            fields |= dict.fromkeys(known, value)
    if tokenizer is not None:
        fields |= {"pad_token_id": tokenizer.pad_token_id}
        if hasattr(config, "vocab_size"):  # CANINE reads characters
            fields["vocab_size"] = token_count(tokenizer)
        if "token_type_ids" in tokenizer.model_input_names and hasattr(config, "type_vocab_size"):
            fields["type_vocab_size"] = max(config.type_vocab_size, 2)
    return with_fields(config, fields)
