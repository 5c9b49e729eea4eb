"""The teachers that translate text for a student: an encoder–decoder, a prompted language model, a server, a file.

All of them return hypotheses of each sentence, best first; pseudo-labelling does not depend on which of them is used.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from distiller.config import Config
from distiller.config.translation import Decoding, Teacher
from distiller.device import accelerator, seeded
from distiller.errors import DataError, ModelError, RunError
from distiller.models.folders import check_weights, explained, load_config, load_tokenizer, resolve, weights_fingerprint
from distiller.tasks.text_files import ending
from distiller.translation.engines import choose_engine, engine
from distiller.translation.pairs import Pairs, text_lines
from distiller.translation.tokenizer import TranslationTokenizer

PATIENCE = 120.0
"""Seconds after which a request to a server times out."""
ASKED_AT_ONCE = 8
PROMPTS_AT_ONCE = 16


class Scored(Config):
    """One translation."""

    text: str
    score: float
    """Log-probability divided by length to the power of the length penalty; 0 if the teacher gives none."""
    tokens: int


def by_words(text: str, score: float = 0.0) -> Scored:
    """A translation by a teacher whose tokens are unknown; its words are counted instead."""
    return Scored(text=text, score=score, tokens=len(text.split()))


class Labelled(Config):
    """One sentence and its translations, best first: one line of `hypotheses.jsonl`."""

    row: int
    source: str
    hypotheses: list[Scored]


Translate = Callable[[Sequence[str], int], list[list[Scored]]]
"""(sentences, seed for sampling) → hypotheses of each sentence, best first."""


@dataclass(frozen=True)
class Translator:
    """A teacher that translates."""

    facts: dict[str, Any]
    """Everything on which its translations depend: two with equal facts translate alike."""
    engine: str
    begin: Callable[[], AbstractContextManager[Translate]]


def model_translator(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, decoding: Decoding, *, n_best: int = 1
) -> Translator:
    """An encoder–decoder."""

    @contextmanager
    def begin() -> Iterator[Translate]:
        with engine(model, tokenizer, decoding, n_best=n_best) as run:

            def translate(sentences: Sequence[str], seed: int) -> list[list[Scored]]:
                found = run(tokenizer.encode(sentences), seed)
                texts = tokenizer.decode([one.tokens for hypotheses in found for one in hypotheses])
                said = iter(texts)
                return [
                    [Scored(text=next(said), score=one.score, tokens=len(one.tokens)) for one in hypotheses]
                    for hypotheses in found
                ]

            yield translate

    chosen = choose_engine(decoding.engine)
    facts = {
        "model": weights_fingerprint(model),
        "vocabulary": tokenizer.fingerprint,
        "decoding": decoding.model_dump(mode="json", exclude={"threads"}) | {"engine": chosen},
        "n_best": n_best,
    }
    return Translator(facts, chosen, begin)


# --- language models with a prompt -----------------------------------------------------------------------------------


def prompted_translator(teacher: Teacher, decoding: Decoding, *, n_best: int = 1) -> Translator:
    """A causal language model, run by `transformers` or by a server, as `teacher` says."""
    assert teacher.model is not None
    assert teacher.prompt is not None
    prompt = teacher.prompt
    facts = {
        "model": teacher.model,
        "prompt": prompt,
        "server": teacher.server,
        "decoding": decoding.model_dump(mode="json", exclude={"threads", "engine", "compute"}),
        "n_best": n_best,
    }

    def begin() -> AbstractContextManager[Translate]:
        if teacher.server is not None:
            answer: Translate = Server(teacher.server, str(teacher.model), decoding, n_best)
        else:
            answer = LanguageModel(str(teacher.model), decoding, n_best)
        return nullcontext(lambda texts, seed: answer([prompt.replace("{source}", text) for text in texts], seed))

    return Translator(facts, "transformers" if teacher.server is None else "server", begin)


def cleaned(answer: str) -> str:
    """A translation as one line: the first non-empty line of an answer, without quotes around it."""
    line = next((line.strip() for line in answer.strip().splitlines() if line.strip()), "")
    if len(line) > 1 and line[0] == line[-1] and line[0] in "\"'":
        line = line[1:-1].strip()
    return line


def causal_config(name: str) -> PretrainedConfig:
    """The configuration of a causal language model. Raises `ModelError` for an encoder, or an encoder–decoder."""
    config = load_config(name, quantized=True)  # it is only asked, not trained
    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False):
        raise ModelError(
            f"`{name}` is a `{config.model_type}` encoder, which writes no text",
            hint="name a causal language model, or an encoder–decoder without teacher.prompt",
        )
    if config.is_encoder_decoder:
        raise ModelError(f"`{name}` is an encoder–decoder, which needs no prompt", hint="leave teacher.prompt out")
    return config


class LanguageModel:
    """A causal language model that answers prompts, with its chat template if it has one."""

    def __init__(self, name: str, decoding: Decoding, n_best: int) -> None:
        config = causal_config(name)
        place = resolve(name)
        if isinstance(place, Path):
            check_weights(place, name)
        self.decoding, self.n_best = decoding, n_best
        self.tokenizer: Any = load_tokenizer(name)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        with explained(name):
            model: Any = AutoModelForCausalLM.from_pretrained(place, config=config, dtype="auto", use_safetensors=True)
        self.model: Any = nn.Module.to(model, torch.device(accelerator())).eval()

    @torch.inference_mode()
    def __call__(self, prompts: Sequence[str], seed: int) -> list[list[Scored]]:
        """Answers to each prompt, best first."""
        found: list[list[Scored]] = []
        with seeded(seed, self.model.device):
            for start in range(0, len(prompts), PROMPTS_AT_ONCE):
                found += self._answers(prompts[start : start + PROMPTS_AT_ONCE])
        return found

    def _answers(self, prompts: Sequence[str]) -> list[list[Scored]]:
        texts = list(prompts)
        if self.tokenizer.chat_template:
            messages = [[{"role": "user", "content": text}] for text in texts]
            texts = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = self.tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=not self.tokenizer.chat_template
        ).to(self.model.device)
        inputs.pop("token_type_ids", None)
        sampled = self.decoding.sampling_top_k is not None
        search: dict[str, Any] = {"do_sample": sampled, "num_beams": self.decoding.beam}
        if sampled:
            search |= {"top_k": self.decoding.sampling_top_k, "temperature": self.decoding.sampling_temperature}
        out = self.model.generate(
            **inputs,
            **search,
            max_new_tokens=self.decoding.max_length,
            num_return_sequences=self.n_best,
            pad_token_id=self.tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_scores=True,
        )
        made = out.sequences[:, inputs["input_ids"].shape[1] :]
        counts = (made != self.tokenizer.pad_token_id).sum(1).tolist()
        beams = getattr(out, "beam_indices", None)
        steps = self.model.compute_transition_scores(out.sequences, out.scores, beams, normalize_logits=beams is None)
        valid = made[:, : steps.shape[1]] != self.tokenizer.pad_token_id
        totals = steps.masked_fill(~valid, 0.0).sum(1) / valid.sum(1).clamp(min=1) ** self.decoding.length_penalty
        answers = self.tokenizer.batch_decode(made, skip_special_tokens=True)
        listed = [
            Scored(text=cleaned(answer), score=float(total), tokens=count)
            for answer, total, count in zip(answers, totals.tolist(), counts, strict=True)
        ]
        return [listed[start : start + self.n_best] for start in range(0, len(listed), self.n_best)]


class Server:
    """A server with OpenAI's protocol: `POST {address}/chat/completions`."""

    def __init__(self, address: str, model: str, decoding: Decoding, n_best: int) -> None:
        self.url = f"{address.rstrip('/')}/chat/completions"
        self.model, self.decoding, self.n_best = model, decoding, n_best

    def __call__(self, prompts: Sequence[str], seed: int) -> list[list[Scored]]:
        """Answers to each prompt, best first. Raises `RunError` if the server does not follow the protocol."""
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            return list(pool.map(lambda prompt: self._ask(prompt, seed), prompts))

    def _ask(self, prompt: str, seed: int) -> list[Scored]:
        sampled = self.decoding.sampling_top_k is not None
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self.decoding.max_length,
            "temperature": self.decoding.sampling_temperature if sampled else 0.0,
            "n": self.n_best,
            "seed": seed,
        }
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                answer = json.loads(reply.read())
            texts = [choice["message"]["content"] or "" for choice in answer["choices"]]
        except urllib.error.HTTPError as error:
            said = error.read().decode("utf-8", "replace").strip().partition("\n")[0]
            raise RunError(f"`{self.url}` answered {error.code}: {said:.160}", hint="see the server's log") from None
        except (OSError, ValueError) as error:
            raise RunError(
                f"`{self.url}` cannot be asked: {getattr(error, 'reason', error)}",
                hint="start the server, and name its address as teacher.server, up to /v1",
            ) from None
        except (KeyError, TypeError, IndexError):
            raise RunError(
                f"`{self.url}` does not answer as OpenAI's protocol says", hint="teacher.server ends in /v1"
            ) from None
        if len(texts) < self.n_best:
            raise RunError(
                f"`{self.url}` gave {len(texts)} of {self.n_best} answers", hint="this server knows no `n`: n_best=1"
            )
        return [by_words(cleaned(text)) for text in texts]


# --- files -----------------------------------------------------------------------------------------------------------


def read_translations(name: str, text: Pairs) -> list[Labelled]:
    """The translations in a file (see `Teacher.translations`); `text` is the source of line-by-line files.

    Raises `DataError` that names file and line.
    """
    lines, written = text_lines(name), ending(name)
    if written == ".jsonl":
        return [_from_json(name, row, line) for row, line in enumerate(lines) if line.strip()]
    if written == ".tsv":
        return [_from_tsv(name, row, line) for row, line in enumerate(lines) if line.strip()]
    last = max(text.lines, default=0)
    if len(lines) < last:
        raise DataError(
            f"`{name}` has {len(lines)} lines, `{text.name}` at least {last}: the translations of another text?",
            hint="line i must be the translation of line i; or a .tsv file with source and translation",
        )
    labels = []
    for row, (source, number) in enumerate(zip(text.source, text.lines, strict=True)):
        labels.append(Labelled(row=row, source=source, hypotheses=[by_words(lines[number - 1].strip())]))
    return labels


def _from_json(name: str, row: int, line: str) -> Labelled:
    try:
        held = json.loads(line)
        texts = held.get("translations") or [held["translation"]]
        scores = held.get("scores") or ([held["score"]] if "score" in held else [0.0] * len(texts))
        hypotheses = [by_words(str(text), float(score)) for text, score in zip(texts, scores, strict=True)]
        return Labelled(row=row, source=str(held["source"]), hypotheses=hypotheses)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"`{name}` line {row + 1} is no translation",
            hint='{"source": "…", "translation": "…", "score": -0.3}, or lists `translations` and `scores`',
        ) from None


def _from_tsv(name: str, row: int, line: str) -> Labelled:
    source, *rest = line.split("\t")
    try:
        text, score = rest[0], float(rest[1]) if len(rest) > 1 else 0.0
    except (IndexError, ValueError):
        raise DataError(
            f"`{name}` line {row + 1} is no translation", hint="columns: source, translation, and perhaps a score"
        ) from None
    return Labelled(row=row, source=source, hypotheses=[by_words(text, score)])
