"""Loading and saving translation models; students, initialised at random or from every n-th layer of the teacher."""

import copy
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distiller.config.translation import Languages, Student
from distiller.errors import ConfigError, ModelError
from distiller.models.encoder_decoder import (
    SIDES,
    Side,
    decoder_inputs,
    encoder_decoder_config,
    layers_of,
    load_encoder_decoder,
)
from distiller.models.vocabulary import cut_table, renumber_ids
from distiller.translation.model import TokenIds, build_model
from distiller.translation.tokenizer import PLAIN, TranslationTokenizer, check_fit, load_translation_tokenizer

SIZES = ("d_model", "encoder_ffn_dim", "encoder_attention_heads")


def load_translator(
    name: str | Path, languages: Languages = PLAIN, *, otherwise: Languages = PLAIN
) -> tuple[PreTrainedModel, TranslationTokenizer]:
    """An encoder–decoder in float32 and eval mode, and its tokenizer, from a folder, package or hub id.

    `otherwise` are the languages of a multilingual model if `languages` names none. Raises `ModelError` if there is no
    such model, if it is of another kind, or if its tokenizer does not fit; `ConfigError` for languages that it does not
    know.
    """
    prefix = getattr(encoder_decoder_config(name), "prefix", None)
    try:
        tokenizer = load_translation_tokenizer(name, languages, prefix=prefix)
    except ConfigError:
        if otherwise == PLAIN:
            raise
        tokenizer = load_translation_tokenizer(name, otherwise, prefix=prefix)
    model = load_encoder_decoder(name)
    check_fit(tokenizer, model.config.vocab_size, f"the model in `{name}`")
    return model, tokenizer


def save_translator(model: PreTrainedModel, tokenizer: TranslationTokenizer, folder: Path) -> None:
    """Write a folder that `load_translator` and the Auto classes of `transformers` read; the weights come last.

    Languages and prefix are stored with it, so that they need not be given again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder)
    if tokenizer.prefix:
        model.config.prefix = tokenizer.prefix
    generation: Any = model.generation_config
    if tokenizer.forced is not None:
        generation.forced_bos_token_id = tokenizer.forced
    generation.decoder_start_token_id = start_of(model, tokenizer)
    if not generation.do_sample:  # `save_pretrained` refuses sampling options without sampling
        generation.temperature = generation.top_k = generation.top_p = None
    model.save_pretrained(folder)


def start_of(model: PreTrainedModel, tokenizer: TranslationTokenizer) -> int:
    """The first token that the decoder reads: a start token, or the target language of mBART-25."""
    return int(decoder_inputs(model, torch.tensor(tokenizer.encode_targets(["a", "a"])))[0, 0])


def token_ids(tokenizer: TranslationTokenizer, teacher: PreTrainedModel | None = None) -> TokenIds:
    """Size and special ids of `tokenizer` for a student's configuration; with `teacher`, as that model uses them."""
    if teacher is None:
        return TokenIds(len(tokenizer), tokenizer.pad, tokenizer.end, start=tokenizer.pad)
    return TokenIds(
        teacher.config.vocab_size, tokenizer.pad, tokenizer.end, start_of(teacher, tokenizer), tokenizer.forced
    )


def build_student(
    wish: Student, teacher: PreTrainedModel | None, *, tokens: TokenIds, seed: int, rows: Tensor | None = None
) -> PreTrainedModel:
    """The student that `wish` describes, in training mode.

    Copied weights are bit-identical to the teacher's; the rest is drawn from `seed`. `rows` are the ids of the
    teacher's vocabulary that the student keeps, all by default. Raises `ConfigError` where the student's layers do
    not divide the teacher's, `ModelError` where sizes differ.
    """
    if wish.init == "random":
        return build_model(wish.shape, tokens=tokens, seed=seed).train()
    if teacher is None:
        raise ConfigError("student.init=teacher needs a teacher", hint="name teacher.model, or student.init=random")
    return sampled_student(wish, teacher, rows=rows).train()


def sampled_layers(teacher: int, student: int, *, pick: Literal["first", "last"] = "first") -> list[int]:
    """The first (or last) layer of each block of n = teacher / student, 0-based: 0, 8, 16 for 3 of 24.

    Raises `ConfigError` unless the one number divides the other. Source: Sanh et al. 2019, arXiv:1910.01108;
    "NMT Distillation" (NVIDIA NeMo, 2021).
    """
    if teacher % student:
        raise ConfigError(
            f"layer-sampled initialisation keeps 1 of every n layers: {student} does not divide {teacher}",
            hint="choose student layers that divide the teacher's, or student.init=random",
        )
    block = teacher // student
    return [block * layer + (block - 1 if pick == "last" else 0) for layer in range(student)]


@torch.no_grad()
def sampled_student(wish: Student, teacher: PreTrainedModel, *, rows: Tensor | None = None) -> PreTrainedModel:
    """The teacher with some of its layers and, with `rows`, a part of its vocabulary.

    Raises as `build_student` does.
    """
    wanted = _layers(wish, teacher)
    picked: dict[Side, list[int]] = {}
    for side, count in wanted.items():
        picked[side] = sampled_layers(len(layers_of(teacher, side)), count, pick=wish.pick)
    config = copy.deepcopy(teacher.config)
    for side, name in zip(SIDES, _layer_fields(config), strict=True):
        setattr(config, name, len(picked[side]))
    generation = copy.deepcopy(teacher.generation_config)
    if rows is not None:
        renumber_ids(config, rows)
        renumber_ids(generation, rows)
    student: PreTrainedModel = type(teacher)(config)
    student.generation_config = generation
    for side in SIDES:
        if len(layers_of(student, side)) != len(picked[side]):
            raise ModelError(
                f"a `{config.model_type}` model with other layers cannot be made", hint="student.init=random"
            )
    origin = _origin(student, teacher, picked)
    stored = teacher.state_dict()
    for name, weight in student.state_dict().items():
        prefix = next((prefix for prefix in origin if name.startswith(prefix)), "")
        source = stored.get(origin.get(prefix, "") + name.removeprefix(prefix))
        if source is None:  # only T5's first layer holds the position biases of all
            source = stored[name]
        weight.copy_(source if rows is None else cut_table(source, weight.shape, rows, name=name))
    return student


def _layers(wish: Student, teacher: PreTrainedModel) -> dict[Side, int]:
    """Number of layers kept on each side. Raises `ModelError` if the other sizes of the shape are not the teacher's."""
    if wish.encoder_layers is not None or wish.decoder_layers is not None:
        return {
            "encoder": wish.encoder_layers or len(layers_of(teacher, "encoder")),
            "decoder": wish.decoder_layers or len(layers_of(teacher, "decoder")),
        }
    sizes = wish.shape.sizes()
    ours = dict(zip(SIZES, (sizes["width"], sizes["ffn"], sizes["heads"]), strict=True))
    for name, number in ours.items():
        theirs = getattr(teacher.config, name, number if name != "d_model" else None)
        if number != theirs:
            raise ModelError(
                f"the student's {name} is {number}, the teacher's {theirs}: its layers cannot be copied",
                hint="student.encoder_layers and .decoder_layers take the teacher's sizes; or student.init=random",
            )
    return {"encoder": sizes["encoder_layers"], "decoder": sizes["decoder_layers"]}


def _layer_fields(config: Any) -> tuple[str, str]:
    """The configuration fields with the number of encoder and decoder layers."""
    if hasattr(config, "num_decoder_layers"):
        return "num_layers", "num_decoder_layers"
    return "encoder_layers", "decoder_layers"


def _origin(student: PreTrainedModel, teacher: PreTrainedModel, picked: dict[Side, list[int]]) -> dict[str, str]:
    """Name prefix of each layer of the student → prefix of the teacher's layer from which it is copied."""
    names = {id(module): name for name, module in student.named_modules()}
    theirs = {id(module): name for name, module in teacher.named_modules()}
    found: dict[str, str] = {}
    for side in SIDES:
        ours_list, theirs_list = layers_of(student, side), layers_of(teacher, side)
        for position, origin in enumerate(picked[side]):
            found[names[id(ours_list[position])] + "."] = theirs[id(theirs_list[origin])] + "."
    return found
