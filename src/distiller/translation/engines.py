"""Two ways to run a translation model: CTranslate2, and `transformers` where it is not installed."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from distiller.device import accelerator
from distiller.errors import MissingPackageError
from distiller.translation.config import Decoding
from distiller.translation.model import END, PAD, POSITIONS, START, UNKNOWN, TranslationModel, sinusoids
from distiller.translation.vocabulary import SharedVocabulary


@dataclass(frozen=True)
class Hypothesis:
    """One translation as tokens without special ones, and its length-normalised log-probability."""

    tokens: list[int]
    score: float


Engine = Callable[[Sequence[list[int]], int], list[list[Hypothesis]]]
"""Token ids of sentences, each with its end token, and the seed of samples → hypotheses of each, best first."""


def choose_engine(wish: str) -> str:
    """`ctranslate2` where it is wished for or found, else `transformers`. Raises `MissingPackageError`."""
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
    model: TranslationModel, vocabulary: SharedVocabulary, decoding: Decoding, *, n_best: int = 1
) -> Iterator[Engine]:
    """What translates with `model`, as it is now, as `decoding` says. CTranslate2 works with a converted copy."""
    if choose_engine(decoding.engine) == "transformers":
        yield lambda sentences, seed: generate(model, sentences, decoding, n_best=n_best, seed=seed)
        return
    with TemporaryDirectory(prefix="distiller-ctranslate2-") as folder:
        convert(model, vocabulary, Path(folder) / "model", compute=decoding.compute)
        with loaded(Path(folder) / "model", vocabulary, decoding, n_best=n_best) as run:
            yield run


# --- CTranslate2 -----------------------------------------------------------------------------------------------------


def convert(model: TranslationModel, vocabulary: SharedVocabulary, folder: Path, *, compute: str) -> Path:
    """Write `model` in the format of CTranslate2, with weights as `compute` (`float32`, `int8`) says.

    Its own loader of MBart knows all the parts; positions and ids are ours.
    """
    from ctranslate2.converters.converter import Converter
    from ctranslate2.converters.transformers import MBartLoader

    class Loader(MBartLoader):
        def set_position_encodings(self, spec: Any, module: Any) -> None:
            spec.encodings = sinusoids(torch.arange(POSITIONS), module.width)

        def set_config(self, config: Any, model: Any, tokenizer: Any) -> None:
            pieces = vocabulary.pieces
            config.bos_token = config.decoder_start_token = pieces[START]
            config.eos_token, config.unk_token = pieces[END], pieces[UNKNOWN]

        def get_vocabulary(self, model: Any, tokenizer: Any) -> list[str]:
            return vocabulary.pieces

    class FromMemory(Converter):
        def _load(self) -> Any:
            plain = nn.Module.to(copy.deepcopy(model), "cpu").float().requires_grad_(False)
            return Loader()(plain, None)

    FromMemory().convert(str(folder), quantization=compute)
    return folder


@contextmanager
def loaded(folder: Path, vocabulary: SharedVocabulary, decoding: Decoding, *, n_best: int = 1) -> Iterator[Engine]:
    """What translates with a converted model."""
    import ctranslate2

    on_gpu = accelerator() == "cuda" and ctranslate2.get_cuda_device_count() > 0

    def start() -> Any:
        return ctranslate2.Translator(
            str(folder),
            device="cuda" if on_gpu else "cpu",
            compute_type="default" if decoding.compute == "int8" else decoding.compute,
            inter_threads=1,
            intra_threads=decoding.threads or torch.get_num_threads(),
        )

    pieces = vocabulary.pieces
    ids = {piece: index for index, piece in enumerate(pieces)}
    sampled = decoding.sampling_top_k is not None
    kept = None if sampled else start()

    def run(sentences: Sequence[list[int]], seed: int) -> list[list[Hypothesis]]:
        ctranslate2.set_random_seed(seed)
        translator = kept or start()  # a worker takes its seed when it starts, and never again
        results = translator.translate_batch(
            [[pieces[index] for index in sentence] for sentence in sentences],
            beam_size=decoding.beam,
            num_hypotheses=n_best,
            length_penalty=decoding.length_penalty,
            min_decoding_length=0,
            max_decoding_length=decoding.max_length,
            max_batch_size=decoding.batch_tokens,
            batch_type="tokens",
            return_scores=True,
            sampling_topk=decoding.sampling_top_k if sampled else 1,
            sampling_temperature=decoding.sampling_temperature if sampled else 1.0,
            disable_unk=True,
            suppress_sequences=[[pieces[PAD]], [pieces[START]]],
        )
        return [
            [
                Hypothesis([ids[piece] for piece in found], score)
                for found, score in zip(result.hypotheses, result.scores, strict=True)
            ]
            for result in results
        ]

    try:
        yield run
    finally:
        if kept is not None:
            kept.unload_model()


# --- transformers ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def generate(
    model: TranslationModel, sentences: Sequence[list[int]], decoding: Decoding, *, n_best: int = 1, seed: int = 0
) -> list[list[Hypothesis]]:
    """The same with `generate` of `transformers`, longest sentences first. The model's mode is as before afterwards."""
    mode, device = model.training, next(model.parameters()).device
    found: dict[int, list[Hypothesis]] = {}
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for rows in _by_tokens([len(sentence) for sentence in sentences], decoding.batch_tokens):
                ids = nn.utils.rnn.pad_sequence(
                    [torch.tensor(sentences[row]) for row in rows], batch_first=True, padding_value=PAD
                ).to(device)
                out: Any = model.generate(  # type: ignore[operator]
                    input_ids=ids,
                    attention_mask=(ids != PAD).long(),
                    num_beams=decoding.beam,
                    num_return_sequences=n_best,
                    max_new_tokens=decoding.max_length,
                    **_search(decoding),
                    suppress_tokens=[PAD, UNKNOWN, START],
                    return_dict_in_generate=True,
                    output_scores=True,
                )
                found |= dict(zip(rows, _hypotheses(model, out, decoding, n_best), strict=True))
    finally:
        model.train(mode)
    return [found[row] for row in range(len(sentences))]


def _search(decoding: Decoding) -> dict[str, Any]:
    """What `generate` takes for this kind of search; it warns of what another kind would take."""
    if decoding.sampling_top_k is not None:
        return {
            "do_sample": True,
            "top_k": decoding.sampling_top_k,
            "temperature": decoding.sampling_temperature,
        }
    return {"do_sample": False} | ({"length_penalty": decoding.length_penalty} if decoding.beam > 1 else {})


def _hypotheses(model: Any, out: Any, decoding: Decoding, n_best: int) -> list[list[Hypothesis]]:
    """What `generate` returned, by sentence."""
    kept: Tensor = out.sequences[:, 1:]
    scores = getattr(out, "sequences_scores", None)
    if scores is None:  # greedy and sampling have no beam scores: add up those of the tokens
        steps = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        valid = kept[:, : steps.shape[1]] != PAD
        total = steps.masked_fill(~valid, 0.0).sum(1)
        scores = total / valid.sum(1).clamp(min=1) ** decoding.length_penalty
    listed = [
        Hypothesis([index for index in row if index not in (PAD, START, END)], score)
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
