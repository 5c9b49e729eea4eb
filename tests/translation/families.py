"""Tiny models of every family that translates, with tokenizers of their own kind, made from made-up text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer, SentencePieceBPETokenizer, SentencePieceUnigramTokenizer
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    MT5Config,
    MT5ForConditionalGeneration,
    NllbTokenizer,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PegasusTokenizer,
    PreTrainedModel,
    RobertaTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from distiller.config.translation import Languages, Vocabulary
from distiller.translation.tokenizer import train_tokenizer
from translation.tiny import sentences

TEXT = [side for pair in sentences(200) for side in pair]
SIZES = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 64,
}
T5_SIZES = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2}


def _ids(tokenizer: Any) -> dict[str, Any]:
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    return {"vocab_size": len(tokenizer), "decoder_start_token_id": tokenizer.pad_token_id, **ids}


def _unigram(special: list[str], unknown: str) -> list[tuple[str, float]]:
    """Pieces with scores as a SentencePiece model of these special tokens has them."""
    made = SentencePieceUnigramTokenizer()
    made.train_from_iterator(TEXT, vocab_size=60, special_tokens=special, unk_token=unknown, show_progress=False)
    return [(piece, score) for piece, score in json.loads(made.to_str())["model"]["vocab"]]


def _merges(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    made = SentencePieceBPETokenizer()
    made.train_from_iterator(TEXT, vocab_size=80, special_tokens=special, show_progress=False)
    state = json.loads(made.to_str())["model"]
    return state["vocab"], [tuple(merge) for merge in state["merges"]]


def marian(folder: Path) -> tuple[PreTrainedModel, Any]:
    """As OPUS-MT: the end first, padding last."""
    tokenizer = train_tokenizer(TEXT, Vocabulary(size=48)).tokenizer
    config = MarianConfig(**SIZES, **_ids(tokenizer), decoder_vocab_size=48, scale_embedding=True)
    return MarianMTModel(config), tokenizer


def mbart(folder: Path) -> tuple[PreTrainedModel, Any]:
    """The decoder starts from the target language."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *_unigram(["<unk>"], "<unk>")[1:]]
    tokenizer = MBartTokenizer(vocab=pieces, src_lang="de_DE", tgt_lang="en_XX")
    config = MBartConfig(**SIZES, **_ids(tokenizer))
    return MBartForConditionalGeneration(config), tokenizer


def nllb(folder: Path) -> tuple[PreTrainedModel, Any]:
    """M2M100's network; the first token of a translation is its language."""
    vocab, merges = _merges(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer = NllbTokenizer(vocab=vocab, merges=merges, src_lang="deu_Latn", tgt_lang="eng_Latn")
    config = M2M100Config(**SIZES, **_ids(tokenizer) | {"decoder_start_token_id": tokenizer.eos_token_id})
    return M2M100ForConditionalGeneration(config), tokenizer


def m2m100(folder: Path) -> tuple[PreTrainedModel, Any]:
    """SentencePiece beside a vocabulary of its own order, and languages behind it."""
    trained = train_tokenizer(TEXT, Vocabulary(size=48)).tokenizer
    spm = folder / "made.spm"
    spm.write_bytes(trained.spm_source.serialized_model_proto())
    pieces = [piece for piece in trained.get_vocab() if piece not in ("</s>", "<unk>", "<pad>")]
    ids = {piece: index for index, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *sorted(pieces)])}
    (folder / "made.json").write_text(json.dumps(ids))
    tokenizer = M2M100Tokenizer(str(folder / "made.json"), str(spm), src_lang="de", tgt_lang="en")
    size = {"vocab_size": len(ids) + len(tokenizer.lang_code_to_id) + tokenizer.num_madeup_words}
    config = M2M100Config(**SIZES, **_ids(tokenizer) | size | {"decoder_start_token_id": tokenizer.eos_token_id})
    return M2M100ForConditionalGeneration(config), tokenizer


def t5(folder: Path) -> tuple[PreTrainedModel, Any]:
    """Relative positions in the first layer alone, tied tables, more rows than tokens."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *_unigram(["<unk>"], "<unk>")[1:]]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=5)
    config = T5Config(**T5_SIZES, **_ids(tokenizer) | {"vocab_size": len(tokenizer) + 11})
    return T5ForConditionalGeneration(config), tokenizer


def mt5(folder: Path) -> tuple[PreTrainedModel, Any]:
    """T5 with a gate and a head of its own."""
    _, tokenizer = t5(folder)
    config = MT5Config(**T5_SIZES, **_ids(tokenizer), tie_word_embeddings=False)
    return MT5ForConditionalGeneration(config), tokenizer


def bart(folder: Path) -> tuple[PreTrainedModel, Any]:
    """Bytes, and a start token before each text."""
    made = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made.train_from_iterator(TEXT, vocab_size=300, special_tokens=special, show_progress=False)
    state = json.loads(made.to_str())["model"]
    tokenizer = RobertaTokenizer(vocab=state["vocab"], merges=[tuple(merge) for merge in state["merges"]])
    config = BartConfig(**SIZES, **_ids(tokenizer) | {"decoder_start_token_id": tokenizer.eos_token_id})
    return BartForConditionalGeneration(config), tokenizer


def pegasus(folder: Path) -> tuple[PreTrainedModel, Any]:
    """Fixed positions and norms before each sublayer."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<mask_1>", 0.0), ("<mask_2>", 0.0)]
    special += [(f"<unk_{index}>", 0.0) for index in range(2, 5)]
    pieces = [*special, ("<unk>", 0.0), *_unigram(["<unk>"], "<unk>")[1:]]
    tokenizer = PegasusTokenizer(vocab=pieces, offset=5)
    return PegasusForConditionalGeneration(PegasusConfig(**SIZES, **_ids(tokenizer))), tokenizer


FAMILIES: dict[str, Callable[[Path], tuple[PreTrainedModel, Any]]] = {
    "marian": marian,
    "mbart": mbart,
    "nllb": nllb,
    "m2m100": m2m100,
    "t5": t5,
    "mt5": mt5,
    "bart": bart,
    "pegasus": pegasus,
}
LANGUAGES = {
    "mbart": Languages(source="de_DE", target="en_XX"),
    "nllb": Languages(source="deu_Latn", target="eng_Latn"),
    "m2m100": Languages(source="de", target="en"),
    "t5": Languages(prefix="rot: "),
}


def family_folder(name: str, folder: Path, *, seed: int = 0) -> Path:
    """A model folder as its makers would give it away: nothing in it knows this library."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, tokenizer = FAMILIES[name](folder)
        for table in model.parameters():
            if table.requires_grad and table.dim() > 1:
                torch.nn.init.normal_(table, std=0.3)  # far from uniform
    model.tie_weights()
    out = folder / name
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out
