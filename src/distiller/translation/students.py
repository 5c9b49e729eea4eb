"""Translation models in folders, and students: drawn at random, or from every n-th layer of the teacher."""

import json
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from transformers.utils import logging

from distiller.errors import ConfigError, ModelError
from distiller.translation.config import Student
from distiller.translation.model import TranslationConfig, TranslationModel, build_model
from distiller.translation.vocabulary import SharedVocabulary, check_fit, load_vocabulary


def load_translator(folder: str | Path) -> tuple[TranslationModel, SharedVocabulary]:
    """A model in float32 and eval mode, and its vocabulary, from a folder that this library wrote.

    Raises `ModelError` when there is none, when it is of another kind, or when its vocabulary does not fit.
    """
    place = Path(folder).expanduser()
    try:
        kind = json.loads((place / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise ModelError(
            f"`{folder}` is no model folder: it holds no config.json", hint="e.g. outputs/translation/student"
        ) from None
    if kind != TranslationConfig.model_type:
        raise ModelError(
            f"`{folder}` holds a `{kind}` model, not a translation model of this library",
            hint="train one with `distiller translate run`",
        )
    vocabulary = load_vocabulary(place)
    logging.disable_progress_bar()
    try:
        model = TranslationModel.from_pretrained(place, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelError(f"`{folder}` cannot be loaded: {first}", hint="copy it again: it may be truncated") from None
    check_fit(vocabulary, model.config.vocab_size, f"the model in `{folder}`")
    return model.eval(), vocabulary


def save_translator(model: TranslationModel, vocabulary: SharedVocabulary, folder: Path) -> None:
    """Write a folder that `load_translator` reads; the weights come last."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary.save(folder)
    model.save_pretrained(folder)


def build_student(wish: Student, teacher: TranslationModel | None, *, vocabulary: int, seed: int) -> TranslationModel:
    """The student that `wish` describes, in training mode.

    Copied weights are bit-identical to the teacher's; the rest is drawn from `seed`. Raises `ConfigError` where the
    student's layers do not divide the teacher's, `ModelError` where sizes differ.
    """
    model = build_model(wish.shape, vocabulary=vocabulary, seed=seed)
    if wish.init == "teacher":
        if teacher is None:
            raise ConfigError("student.init=teacher needs a teacher")
        copy_layers(model, teacher, pick=wish.pick)
    return model.train()


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
def copy_layers(model: TranslationModel, teacher: TranslationModel, *, pick: Literal["first", "last"]) -> None:
    """Copy embeddings, norms, softmax and the sampled layers of encoder and decoder. Raises as `build_student`."""
    ours, theirs = model.config, teacher.config
    for name in ("d_model", "encoder_ffn_dim", "encoder_attention_heads"):
        if getattr(ours, name) != getattr(theirs, name):
            raise ModelError(
                f"the student's {name} is {getattr(ours, name)}, the teacher's {getattr(theirs, name)}: "
                "its layers cannot be copied",
                hint="student.init=random, or the teacher's width, ffn and heads",
            )
    stored = teacher.state_dict()
    origin = {}
    for side in ("encoder", "decoder"):
        picked = sampled_layers(getattr(theirs, f"{side}_layers"), getattr(ours, f"{side}_layers"), pick=pick)
        origin |= {f"model.{side}.layers.{j}.": f"model.{side}.layers.{i}." for j, i in enumerate(picked)}
    for name, weight in model.state_dict().items():
        prefix = next((prefix for prefix in origin if name.startswith(prefix)), "")
        weight.copy_(stored[origin.get(prefix, "") + name.removeprefix(prefix)])
