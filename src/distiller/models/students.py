"""Students: building one from pretrained weights, from layers of the teacher, or at random."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distiller.config import Student
from distiller.errors import ConfigError, ModelError, did_you_mean
from distiller.models.architectures import ARCHITECTURES as ARCHITECTURES
from distiller.models.architectures import architecture
from distiller.models.layers import layer_list
from distiller.models.load import HEADS, load_config, load_model, load_tokenizer, supported_attention, with_labels

DROPOUT = ("hidden_dropout_prob", "dropout")
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")
PROBE = "The Quick, brown FÖX didn't jump: naïve 2,000 tests!"


def build_student(
    student: Student,
    *,
    teacher_model: PreTrainedModel,
    teacher_tokenizer: PreTrainedTokenizerBase,
    kind: str,
    labels: Sequence[str] | None,
    seed: int,
    attention: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The student that `student` describes, in float32 and training mode, with its tokenizer.

    Copied weights are bit-identical to their source's; the rest is drawn from `seed`, and the global random state
    stays as it was. Raises `ModelError` when the source does not fit, `ConfigError` for an unknown architecture or
    configuration field.
    """
    tokenizer = student_tokenizer(student, teacher_tokenizer)
    config = student_config(student, teacher=teacher_model.config, tokenizer=tokenizer)
    with_labels(config, kind=kind, labels=labels)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            model = HEADS[kind].from_config(
                config, dtype=torch.float32, attn_implementation=supported_attention(config, kind, attention)
            )
        except ValueError as error:
            first = str(error).partition("\n")[0]
            raise ModelError(f"the student cannot be built: {first}", hint="see student.config") from None
    source = None
    if initialisation(student) == "teacher":
        source = teacher_model
    elif initialisation(student) == "pretrained":
        name, trust = _start(student), student.trust_remote_code
        source = load_model(name, kind=kind, labels=labels, trust_remote_code=trust, seed=seed)
    if source is not None:
        layers = source.config.num_hidden_layers
        copy_weights(model, source, picked_layers(student.pick, source=layers, keep=config.num_hidden_layers))
    return model.train(), tokenizer


def student_config(
    student: Student, *, teacher: PretrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None
) -> PretrainedConfig:
    """The configuration of the student that `student` describes; reads no weights, so it can be asked for early.

    With `tokenizer`, a student that starts at random is made to take its tokens. Raises as `build_student` does.
    """
    start = initialisation(student)
    if student.architecture:
        config = architecture(student.architecture).config()
    elif student.model:
        config = load_config(student.model, trust_remote_code=student.trust_remote_code)
    else:
        config = teacher
    config = _with_fields(config, student.config)
    keep = student.layers or config.num_hidden_layers
    if start == "random":
        return _shaped(config, student, list(range(keep)), tokenizer)
    if student.layers is None and isinstance(student.pick, list):
        keep = len(student.pick)
    source = teacher
    if start == "pretrained":
        source = load_config(_start(student), trust_remote_code=student.trust_remote_code)
    check_family(config, source)
    return _shaped(config, student, picked_layers(student.pick, source=source.num_hidden_layers, keep=keep))


def student_tokenizer(student: Student, teacher_tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The student's own tokenizer if it starts from pretrained weights, else the teacher's.

    A student that reads the teacher's tokens may be compared with it token by token.
    """
    if initialisation(student) == "pretrained":
        return load_tokenizer(_start(student), trust_remote_code=student.trust_remote_code)
    return teacher_tokenizer


def initialisation(student: Student) -> Literal["pretrained", "teacher", "random"]:
    """Where the student's weights come from. Raises `ConfigError` for `pretrained` without a model to start from."""
    if student.init == "pretrained" and not (student.model or student.architecture):
        raise ConfigError("student.init is `pretrained` without pretrained weights", hint="name student.model")
    if student.init:
        return student.init
    if student.model:
        return "pretrained"
    return "random" if student.architecture or student.config else "teacher"


def picked_layers(pick: str | Sequence[int], *, source: int, keep: int) -> list[int]:
    """The 0-based layers of a source of `source` layers that a student of `keep` layers starts from.

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


def copy_weights(model: PreTrainedModel, source: PreTrainedModel, picked: Sequence[int]) -> None:
    """Copy embeddings, the `picked` layers, pooler and (where its shape fits) the head of `source` into `model`.

    What `model` has no place for is left out, e.g. the first norm of a ModernBERT layer that becomes layer 0.
    Raises `ModelError` when the two are of different families or sizes.
    """
    check_family(model.config, source.config)
    prefix = layer_list(model)[0] + "."
    stored, weights = source.state_dict(), model.state_dict()
    for name, weight in weights.items():
        origin = name
        if name.startswith(prefix):
            layer, _, rest = name.removeprefix(prefix).partition(".")
            origin = f"{prefix}{picked[int(layer)]}.{rest}"
        found = stored.get(origin)
        if found is not None and found.shape == weight.shape:
            weight.copy_(found)
        elif name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name:
            shape = "is missing" if found is None else f"has shape {list(found.shape)}"
            raise ModelError(
                f"`{origin}` {shape} in the source; the student needs {list(weight.shape)}",
                hint="student.init=random, or keep the sizes of the source",
            )


def check_family(student: PretrainedConfig, source: PretrainedConfig) -> None:
    """Raises `ModelError` unless layers of a `source` model could serve in a `student` one."""
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


def same_vocabulary(first: PreTrainedTokenizerBase, second: PreTrainedTokenizerBase) -> bool:
    """Whether both tokenizers give a text the same tokens, so that token t of one model is token t of the other."""
    return (
        first.get_vocab() == second.get_vocab()
        and first.all_special_ids == second.all_special_ids
        and first(PROBE)["input_ids"] == second(PROBE)["input_ids"]
    )


def _start(student: Student) -> str:
    """The pretrained weights that the student starts from."""
    return student.model or architecture(student.architecture or "").hub_id


def _with_fields(config: PretrainedConfig, fields: Mapping[str, Any]) -> PretrainedConfig:
    """A copy of `config` with `fields` set. Raises `ConfigError` for an unknown field or a value it refuses."""
    aliases = config.attribute_map
    known = config.to_dict()
    for name in fields:
        if name not in known and name not in aliases:
            raise ConfigError(
                f"student.config: `{config.model_type}` has no field `{name}`",
                hint=did_you_mean(name, [*known, *aliases]),
            )
    try:
        return type(config).from_dict({**known, **{aliases.get(name, name): value for name, value in fields.items()}})
    except (TypeError, ValueError, StrictDataclassError) as error:
        reason = str(error).strip().rpartition("\n")[2].strip()
        raise ConfigError(f"student.config: {reason}") from None


def _shaped(
    config: PretrainedConfig, student: Student, picked: list[int], tokenizer: PreTrainedTokenizerBase | None = None
) -> PretrainedConfig:
    """`config` with the student's layers and dropouts, and for a fresh model the ids and types of its tokens."""
    fields: dict[str, Any] = {"num_hidden_layers": len(picked)}
    kinds = getattr(config, "layer_types", None)
    if kinds and len(picked) <= len(kinds):  # e.g. ModernBERT: local and global attention in turn
        fields["layer_types"] = [kinds[layer] for layer in picked]
    for names, value in ((DROPOUT, student.dropout), (ATTENTION_DROPOUT, student.attention_dropout)):
        fields |= {name: value for name in names if value is not None and hasattr(config, name)}
    if tokenizer is not None:
        fields |= {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        if "token_type_ids" in tokenizer.model_input_names and hasattr(config, "type_vocab_size"):
            fields["type_vocab_size"] = max(config.type_vocab_size, 2)
    return _with_fields(config, fields)
