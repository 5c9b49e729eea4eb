"""Cutting a vocabulary: tokenizers of every kind and models of every architecture say what the whole ones say."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertTokenizer,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizer,
    CLIPTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerBase,
    RobertaTokenizer,
    T5Tokenizer,
    TokenizersBackend,
    XLMRobertaTokenizer,
)

from distiller.errors import ConfigError, ModelError
from distiller.models.vocabulary import Vocabulary, copy_cut, cut_tokenizer, token_ids, with_vocabulary
from models.test_architectures import batch
from models.zoo import VOCABULARY, tiny_classifier, tiny_config

SYLLABLES = ["ba", "ne", "ki", "lor", "shu", "tam", "ve", "xo", "pri", "stu", "ing", "ed"]
ODD = ["café", "naïve", "ΩΔ", "好", "a-b", "1,024", "don't"]


def texts(count: int, seed: int) -> list[str]:
    """Made-up words with a long tail of rare ones."""
    rng = random.Random(seed)
    common = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(60)]
    found = []
    for _ in range(count):
        words = rng.choices(common, k=rng.randint(3, 9))
        words.append("".join(rng.choices(SYLLABLES, k=rng.randint(2, 5))))
        if rng.random() < 0.2:
            words.append(rng.choice(ODD))
        found.append(" ".join(words))
    return found


CORPUS = texts(400, seed=1)
FAMILIES = (
    *("bert", "roberta", "distilbert", "electra", "albert", "deberta-v2", "mpnet", "modernbert", "xlm-roberta"),
    *("ibert", "funnel", "esm", "gpt2", "bart", "t5", "llama", "xlnet", "xlm"),
)


def wordpiece() -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    return BertTokenizer(vocab=tokenizer.get_vocab())


def unigram_pieces(special: list[str]) -> list[tuple[str, float]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=260, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator(CORPUS, trainer)
    return [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def byte_level(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=480, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def roberta() -> PreTrainedTokenizerBase:
    vocab, merges = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return RobertaTokenizer(vocab=vocab, merges=merges)


def gpt2() -> PreTrainedTokenizerBase:
    vocab, merges = byte_level(["<|endoftext|>"])
    last = max(vocab.values())
    swapped = {vocab_piece(vocab, last): 0, "<|endoftext|>": last}  # as in GPT-2, where it is the last piece
    vocab = {**vocab, **swapped}
    return GPT2Tokenizer(vocab=vocab, merges=merges, pad_token="<|endoftext|>")


def vocab_piece(vocab: dict[str, int], number: int) -> str:
    return next(piece for piece, place in vocab.items() if place == number)


def llama() -> PreTrainedTokenizerBase:
    """BPE of characters with bytes for those that are no piece, as SentencePiece makes it."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=560, special_tokens=special))
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return LlamaTokenizer(vocab=model["vocab"], merges=merges, pad_token="</s>")


def clip() -> PreTrainedTokenizerBase:
    """BPE whose pieces say where a word ends."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, end_of_word_suffix="</w>")
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return CLIPTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


def generic() -> PreTrainedTokenizerBase:
    """A tokenizer.json without a class of its own, with words that were added behind its pieces."""
    tokenizer = Tokenizer(models.Unigram(unigram_pieces(["<unk>", "<pad>"]), unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<sep>"])
    tokenizer.add_tokens(["zzyzx"])
    sep = tokenizer.token_to_id("<sep>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <sep>", pair="$A <sep> $B <sep>", special_tokens=[("<sep>", sep)]
    )
    return TokenizersBackend(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", sep_token="<sep>")


MAKERS: dict[str, Any] = {
    "wordpiece": wordpiece,
    "roberta": roberta,
    "gpt2": gpt2,
    "llama": llama,
    "clip": clip,
    "unigram": generic,
    "t5": lambda: T5Tokenizer(vocab=unigram_pieces(["<pad>", "</s>", "<unk>"]), extra_ids=5),
    "albert": lambda: AlbertTokenizer(vocab=unigram_pieces(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])),
    "xlm-roberta": lambda: XLMRobertaTokenizer(vocab=unigram_pieces(["<s>", "<pad>", "</s>", "<unk>"])),
}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedTokenizerBase]:
    """Each as a model folder has it."""
    found = {}
    for name, make in MAKERS.items():
        folder = tmp_path_factory.mktemp(name)
        make().save_pretrained(folder)
        found[name] = AutoTokenizer.from_pretrained(folder)
    return found


def counts(tokenizer: PreTrainedTokenizerBase, some: list[str]) -> np.ndarray:
    tokens = np.concatenate([np.asarray(ids) for ids in tokenizer(some)["input_ids"]])
    return np.bincount(tokens, minlength=max(tokenizer.get_vocab().values()) + 1)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("size", [None, "half"])
def test_a_text_of_kept_pieces_is_read_as_before(tokenizers: Any, name: str, size: str | None, tmp_path: Path) -> None:
    whole = tokenizers[name]
    learnt, new = CORPUS[:150], [*CORPUS[150:], *texts(200, seed=2), *ODD, "zzyzx ba"]
    seen = counts(whole, learnt)
    smallest = len(cut_tokenizer(whole, np.zeros_like(seen)))
    vocabulary = cut_tokenizer(whole, seen, None if size is None else (smallest + len(whole)) // 2)
    assert smallest < len(vocabulary) < len(whole)
    vocabulary.tokenizer.save_pretrained(tmp_path)
    smaller = AutoTokenizer.from_pretrained(tmp_path)
    assert smaller.get_vocab() == vocabulary.tokenizer.get_vocab()
    assert smaller.all_special_tokens == whole.all_special_tokens
    covered = 0
    for text in (*learnt, *new):
        before, after = (np.asarray(one(text, "ba ne")["input_ids"]) for one in (whole, smaller))
        if np.isin(before, vocabulary.kept).all():
            covered += 1
            assert vocabulary.same(after, before), text
        else:
            assert not vocabulary.same(after, before)
            assert smaller.decode(after) == whole.decode(before), text
    assert len(learnt) <= covered if size is None else covered > 0
    assert covered < len(learnt) + len(new)


@pytest.fixture(scope="module")
def cut(tokenizers: dict[str, PreTrainedTokenizerBase]) -> list[tuple[PreTrainedTokenizerBase, Vocabulary]]:
    chosen = [tokenizers[name] for name in ("wordpiece", "roberta", "llama", "unigram")]
    return [(whole, cut_tokenizer(whole, counts(whole, CORPUS[:20]))) for whole in chosen]


@settings(deadline=None)
@given(st.text(alphabet="banekilorshu ,.éTX", max_size=40))
def test_any_text_is_read_from_pieces_of_the_same_characters(cut: Any, text: str) -> None:
    for whole, vocabulary in cut:
        before, after = (np.asarray(one(text)["input_ids"], dtype=np.int64) for one in (whole, vocabulary.tokenizer))
        assert vocabulary.same(after, before) == bool(np.isin(before, vocabulary.kept).all())
        assert vocabulary.tokenizer.decode(after) == whole.decode(before)


def test_more_pieces_are_those_that_occur_most_and_then_the_first(tokenizers: Any) -> None:
    whole = tokenizers["wordpiece"]
    seen = counts(whole, [text for text in CORPUS if text.isascii()])
    least = set(cut_tokenizer(whole, np.zeros_like(seen)).kept.tolist())
    more = cut_tokenizer(whole, seen, len(least) + 10)
    by_count = [number for number in np.argsort(-seen, kind="stable").tolist() if number not in least]
    assert set(more.kept.tolist()) - least == set(by_count[:10])
    none = cut_tokenizer(whole, np.zeros_like(seen), len(least) + 10)
    first = [number for number in range(len(whole)) if number not in least]
    assert set(none.kept.tolist()) - least == set(first[:10])


def test_too_few_pieces_and_other_tokenizers_are_refused(tokenizers: Any) -> None:
    whole = tokenizers["wordpiece"]
    with pytest.raises(ConfigError, match="pieces must stay"):
        cut_tokenizer(whole, counts(whole, CORPUS), 20)
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(ModelError, match="WordLevel"):
        cut_tokenizer(TokenizersBackend(tokenizer_object=words, unk_token="[UNK]"), np.ones(2, dtype=np.int64))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_model_with_fewer_rows_says_the_same(model_type: str) -> None:
    model = tiny_classifier(tiny_config(model_type))
    kept = np.asarray([*range(6), *range(6, VOCABULARY, 2)])
    tokenizer: Any = None
    vocabulary = Vocabulary(tokenizer, tokenizer, kept, VOCABULARY)
    smaller = AutoModelForSequenceClassification.from_config(with_vocabulary(model.config, vocabulary)).eval()
    copy_cut(smaller, model, vocabulary)
    assert sum(one.numel() for one in smaller.parameters()) < sum(one.numel() for one in model.parameters())
    example = batch(model.config)
    ids, mask = example["input_ids"], example["attention_mask"]
    rng = torch.Generator().manual_seed(3)
    inner = torch.randint(6, len(kept), ids.shape, generator=rng)
    ours = torch.where(ids <= 2, ids, inner)  # what pads and what ends a text stays in its place
    theirs = torch.from_numpy(kept)[ours]
    with torch.no_grad():
        found = [one(input_ids=row, attention_mask=mask).logits for one, row in ((smaller, ours), (model, theirs))]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


def test_ids_that_the_configuration_names_follow_their_tokens() -> None:
    config = tiny_config("bart")
    config.eos_token_id, config.pad_token_id = 50, 1
    kept = np.asarray([0, 1, 2, *range(40, 60)])
    tokenizer: Any = None
    found = with_vocabulary(config, Vocabulary(tokenizer, tokenizer, kept, VOCABULARY))
    assert found.vocab_size == len(kept)
    assert kept[found.eos_token_id] == 50
    assert kept[found.pad_token_id] == 1
    assert set(token_ids(found)) == set(token_ids(config))


def test_a_table_of_something_else_is_not_cut() -> None:
    model = tiny_classifier(tiny_config("bert"))
    tokenizer: Any = None
    vocabulary = Vocabulary(tokenizer, tokenizer, np.arange(40), VOCABULARY)
    config = with_vocabulary(model.config, vocabulary)
    config.hidden_size = 64
    with pytest.raises(ModelError, match="no table of tokens"):
        copy_cut(AutoModelForSequenceClassification.from_config(config), model, vocabulary)
