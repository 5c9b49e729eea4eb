"""Two ways to run a translation model: CTranslate2, and `transformers` where it is not installed."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel

from distiller.config.translation import Decoding
from distiller.device import accelerator, seeded
from distiller.errors import MissingPackageError, ModelError
from distiller.files import write_json
from distiller.models.encoder_decoder import longest_text
from distiller.translation.converted import ORDER, Bounds, Engine, Hypothesis, loaded
from distiller.translation.model import POSITIONS, Sinusoids, TranslationConfig, sinusoids
from distiller.translation.shortlist import Shortlist, write_vmap
from distiller.translation.students import start_of
from distiller.translation.tokenizer import TranslationTokenizer


def choose_engine(wish: str) -> str:
    """`ctranslate2` if `wish` says so, or with `auto` if it is installed; else `transformers`.

    Raises `MissingPackageError`.
    """
    if wish == "transformers":
        return wish
    try:
        import ctranslate2  # noqa: F401
    except ImportError:
        if wish == "auto":
            return "transformers"
        raise MissingPackageError(
            "decoding.engine=ctranslate2 needs the package `ctranslate2`",
            hint='pip install "distiller-nlp[translation]", or decoding.engine=transformers',
        ) from None
    return "ctranslate2"


@contextmanager
def engine(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, decoding: Decoding, *, n_best: int = 1
) -> Iterator[Engine]:
    """An engine that translates with the present weights of `model`; CTranslate2 uses a converted copy.

    With `decoding.engine` = `auto`, a model that CTranslate2 cannot convert is run by `transformers`.
    """
    chosen = choose_engine(decoding.engine)
    with TemporaryDirectory(prefix="distiller-ctranslate2-") as folder:
        if chosen == "ctranslate2":
            try:
                convert(model, tokenizer, Path(folder) / "model", compute=decoding.compute)
            except ModelError:
                if decoding.engine == "ctranslate2" or decoding.compute == "int8":
                    raise
                chosen = "transformers"
        if chosen == "transformers":
            nn.Module.to(model, torch.device(accelerator()))
            yield generating(model, tokenizer, decoding, n_best=n_best)
            return
        with converted(Path(folder) / "model", bounds_of(model, tokenizer, decoding), decoding, n_best=n_best) as run:
            yield run


def converted(folder: Path, bounds: Bounds, decoding: Decoding, *, n_best: int = 1) -> AbstractContextManager[Engine]:
    """An engine for the converted model in `folder`, on this machine and with torch's number of threads."""
    import ctranslate2

    on_gpu = accelerator() == "cuda" and ctranslate2.get_cuda_device_count() > 0
    device = "cuda" if on_gpu else "cpu"
    return loaded(folder, bounds, decoding, n_best=n_best, threads=torch.get_num_threads(), device=device)


def bounds_of(model: PreTrainedModel, tokenizer: TranslationTokenizer, decoding: Decoding) -> Bounds:
    """What `model` may generate: the forced first token first, and no id for which the tokenizer has no token."""
    start, unknown = start_of(model, tokenizer), tokenizer.tokenizer.unk_token_id
    nameless = set(range(model.config.vocab_size)) - tokens_by_id(tokenizer.tokenizer).keys()
    silent = {tokenizer.pad, start, *([] if unknown is None else [unknown]), *nameless}
    silent -= {tokenizer.end, tokenizer.forced}
    held = longest_text(model)
    return Bounds(
        first=[start] if tokenizer.forced is None else [start, tokenizer.forced],
        silent=sorted(silent),
        special=sorted(tokenizer.special),
        longest=decoding.max_length if held is None else min(decoding.max_length, held - 1),
    )


# --- CTranslate2 -----------------------------------------------------------------------------------------------------


def convert(
    model: PreTrainedModel,
    tokenizer: TranslationTokenizer,
    folder: Path,
    *,
    compute: str,
    shortlist: Shortlist | None = None,
) -> Path:
    """Write `model` in the format of CTranslate2, with weights as `compute` (`float32`, `int8`) says.

    With a `shortlist`, the tokens that a search refers to come first in the converted vocabulary: CTranslate2 (4.8)
    reuses their positions among the candidates of one batch for the next, so these must never change. Raises
    `ModelError` for an architecture that CTranslate2 does not know.
    """
    from ctranslate2.converters import transformers as converters
    from ctranslate2.converters.converter import Converter

    plain: Any = nn.Module.to(copy.deepcopy(model), "cpu").float().requires_grad_(False)
    known = {**converters._MODEL_LOADERS, TranslationConfig.__name__: converters.MBartLoader()}
    loader = known.get(type(plain.config).__name__)
    if loader is None:
        raise ModelError(
            f"CTranslate2 does not know the architecture `{plain.config.model_type}`",
            hint="decoding.engine=transformers",
        )
    named = sorted({tokenizer.end, *bounds_of(model, tokenizer, Decoding()).named})
    order = list(range(plain.config.vocab_size))
    if shortlist is not None:
        order = [*named, *(index for index in order if index not in set(named))]

    class FromMemory(Converter):
        def _load(self) -> Any:
            return _loader(type(loader), order)(plain, tokenizer.tokenizer)

    encoder = plain.get_encoder()
    plain.config.normalize_before = hasattr(encoder, "layer_norm")  # what BART's loader asks, and few say
    plain.config.normalize_embedding = hasattr(encoder, "layernorm_embedding")
    try:
        FromMemory().convert(str(folder), quantization=compute)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"CTranslate2 cannot convert this `{plain.config.model_type}` model: {reason:.160}",
            hint="decoding.engine=transformers",
        ) from error
    if shortlist is not None:
        write_json(folder / ORDER, order)
        write_vmap(shortlist, folder, always=named)
    return folder


def _loader(kind: type[Any], order: list[int]) -> Any:
    """A CTranslate2 loader of this `kind` that keeps every row, including padding, in the `order` of these ids.

    The decoder starts as the model does.
    """
    from ctranslate2.specs.model_spec import OPTIONAL

    moved = order != sorted(order)

    class Loader(kind):
        def _remove_pad_weights(self, spec: Any) -> None:
            pass

        def get_model_spec(self, model: Any) -> Any:
            spec = super().get_model_spec(model)
            if hasattr(self, "set_stack"):  # T5 says itself whether it scales; its loader goes by the tied tables
                scaled = getattr(model.config, "scale_decoder_outputs", False)
                factor = np.dtype("float32").type(model.config.d_model**-0.5)
                spec.decoder.scale_outputs = factor if scaled else OPTIONAL
            for layer in tables_of(spec) if moved else ():
                layer.weight = layer.weight[order]
                if isinstance(getattr(layer, "bias", None), Tensor | np.ndarray):
                    layer.bias = layer.bias[order]
            return spec

        def set_decoder(self, spec: Any, decoder: Any) -> None:
            super().set_decoder(spec, decoder)
            if getattr(spec, "start_from_zero_embedding", False):  # Marian's: it has a row for the start, perhaps zero
                spec.start_from_zero_embedding = False

        def set_position_encodings(self, spec: Any, module: Any) -> None:
            if isinstance(module, Sinusoids):
                spec.encodings = sinusoids(torch.arange(POSITIONS), module.width)
            else:
                super().set_position_encodings(spec, module)

        def get_vocabulary(self, model: Any, tokenizer: Any) -> list[str]:
            pieces = pieces_of(tokenizer, model.config.vocab_size)
            return [pieces[index] for index in order]

        def set_config(self, config: Any, model: Any, tokenizer: Any) -> None:
            config.eos_token, config.unk_token = tokenizer.eos_token, tokenizer.unk_token
            config.bos_token = tokenizer.bos_token or tokenizer.eos_token
            config.decoder_start_token = None  # said for each sentence

    return Loader()


def tables_of(spec: Any) -> list[Any]:
    """The layers of a converted model that have one row per piece, each once."""
    embeddings = [spec.encoder.embeddings, spec.decoder.embeddings, spec.decoder.projection]
    listed = [one for part in embeddings for one in (part if isinstance(part, list) else [part])]
    return list({id(one): one for one in listed}.values())


def tokens_by_id(tokenizer: Any) -> dict[int, str]:
    """Every token of a tokenizer by id; M2M100's vocabulary does not list its languages."""
    found = {index: token for token, index in tokenizer.get_vocab().items()}
    return found | (getattr(tokenizer, "id_to_lang_token", None) or {})


def pieces_of(tokenizer: Any, size: int) -> list[str]:
    """The token of each id below `size`, each once; ids without a token get a made-up one."""
    found = tokens_by_id(tokenizer)
    pieces, seen = [], set()
    for index in range(size):
        token = found.get(index)
        if token is None or token in seen:
            token = f"<distiller-unused-{index}>"
        seen.add(token)
        pieces.append(token)
    return pieces


# --- transformers ----------------------------------------------------------------------------------------------------


def generating(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, decoding: Decoding, *, n_best: int = 1
) -> Engine:
    """An engine that calls `generate` of `transformers`, longest sentences first. The model's mode is not changed."""
    asked = search_of(model, tokenizer, decoding, n_best)  # once: it looks through the whole vocabulary
    asked.update(return_dict_in_generate=True, output_scores=True)

    @torch.no_grad()
    def run(sentences: Sequence[list[int]], seed: int) -> list[list[Hypothesis]]:
        mode, device = model.training, next(model.parameters()).device
        kept: Any = model.generation_config
        model.generation_config = asked  # `generate` fills what is not asked for from here: a forced end, n-gram rules
        found: dict[int, list[Hypothesis]] = {}
        model.eval()
        try:
            with seeded(seed, device):
                for rows in _by_tokens([len(sentence) for sentence in sentences], decoding.batch_tokens):
                    ids = nn.utils.rnn.pad_sequence(
                        [torch.tensor(sentences[row]) for row in rows], batch_first=True, padding_value=tokenizer.pad
                    ).to(device)
                    lengths = torch.tensor([len(sentences[row]) for row in rows], device=device)
                    out: Any = model.generate(  # type: ignore[operator]
                        input_ids=ids,
                        attention_mask=(torch.arange(ids.shape[1], device=device) < lengths[:, None]).long(),
                        generation_config=asked,
                    )
                    found |= dict(zip(rows, _hypotheses(model, tokenizer, out, decoding, n_best), strict=True))
        finally:
            model.train(mode)
            model.generation_config = kept
        return [found[row] for row in range(len(sentences))]

    return run


def search_of(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, decoding: Decoding, n_best: int = 1
) -> GenerationConfig:
    """The complete settings of a search; nothing is taken from the generation config in the model's folder."""
    bounds = bounds_of(model, tokenizer, decoding)
    asked: dict[str, Any] = {"do_sample": decoding.sampling_top_k is not None}
    if decoding.sampling_top_k is not None:
        asked |= {"top_k": decoding.sampling_top_k, "temperature": decoding.sampling_temperature}
    elif decoding.beam > 1:
        asked["length_penalty"] = decoding.length_penalty
    return GenerationConfig(
        num_beams=decoding.beam,
        num_return_sequences=n_best,
        max_new_tokens=bounds.longest + len(bounds.first) - 1,
        decoder_start_token_id=bounds.first[0],
        eos_token_id=tokenizer.end,
        pad_token_id=tokenizer.pad,
        forced_bos_token_id=tokenizer.forced,
        suppress_tokens=bounds.silent,
        **asked,
    )


def _hypotheses(
    model: Any, tokenizer: TranslationTokenizer, out: Any, decoding: Decoding, n_best: int
) -> list[list[Hypothesis]]:
    """The hypotheses in the output of `generate`, by sentence."""
    kept: Tensor = out.sequences[:, 1:]
    scores = getattr(out, "sequences_scores", None)
    if scores is None:  # greedy and sampling have no beam scores: add up those of the tokens
        steps = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        valid = kept[:, : steps.shape[1]] != tokenizer.pad
        total = steps.masked_fill(~valid, 0.0).sum(1)
        scores = total / valid.sum(1).clamp(min=1) ** decoding.length_penalty
    listed = [
        Hypothesis([index for index in row if index not in tokenizer.special], score)
        for row, score in zip(kept.tolist(), scores.tolist(), strict=True)
    ]
    return [listed[start : start + n_best] for start in range(0, len(listed), n_best)]


def _by_tokens(lengths: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Rows in batches of at most `limit` tokens with padding, longest first."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > limit:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
