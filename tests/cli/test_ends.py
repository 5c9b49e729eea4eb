"""Texts that hold the token by which a BART finds its end: `--skip-bad` leaves them out wherever data are read."""

from pathlib import Path

import pytest
from transformers import BartConfig, BartForSequenceClassification, BertTokenizerFast, PreTrainedTokenizerFast

from cli.conftest import Command
from distiller.config import Run
from distiller.run import distil
from run.tiny import BAD, FILLER, GOOD, SPECIAL, Workshop

WORDS = [*SPECIAL, *FILLER, *GOOD, *BAD]


def test_texts_whose_end_is_not_found_are_left_out_by_every_command(
    shop: Workshop, tmp_path: Path, distiller: Command
) -> None:
    """Two rows of train, one of dev, one of new texts; a BART is asked and measured without them."""
    end = WORDS.index("[SEP]")
    sizes = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 32}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": end, "decoder_start_token_id": end}
    labels = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}, "forced_eos_token_id": None}
    folder = tmp_path / "bart"
    shape = BartConfig(vocab_size=len(WORDS), **sizes, **heads, **special, **labels)
    BartForSequenceClassification(shape).save_pretrained(folder)
    words = BertTokenizerFast(vocab={word: place for place, word in enumerate(WORDS)}).backend_tokenizer
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "eos_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    for source, file, ends in ((shop.reviews, train, (2, 4)), (shop.dev, dev, (3,))):
        lines = Path(source).read_text("utf-8").splitlines()
        ended = [line.replace(" ", " [SEP] ", 1) if row in ends else line for row, line in enumerate(lines)]
        file.write_text("\n".join(ended), encoding="utf-8")
    given = shop.run(
        tmp_path,
        task={"train": str(train), "dev": str(dev), "max_length": 16, "skip_bad": True},
        teacher={"model": str(folder), "finetune": "never"},
        student={"layers": 1},
        crossovers=0,
        cache=str(tmp_path / "c"),
    )
    wish = Run.model_validate(given)
    with pytest.warns(UserWarning, match=r"train`: left out 2 bad row\(s\), the first: split `train`, row 2: a text"):
        record = distil(wish)
    assert record.data.skipped == {"train": 2, "dev": 1}
    out = wish.output
    assert len((Path(out) / "left_out.txt").read_text("utf-8").splitlines()) == 3
    scored = distiller("evaluate", out)
    assert (scored.code, "changed" in scored.err) == (0, False), scored.err
    assert "left out 1 bad row(s)" in " ".join(scored.err.split())
    for command in (("predict", out, dev), ("label", out, dev, "-o", tmp_path / "labelled")):
        refused = distiller(*command)
        assert (refused.code, "--skip-bad" in refused.err) == (2, True)
        answer = distiller(*command, "--skip-bad")
        assert answer.code == 0, answer.err
        assert "left out 1 bad row(s)" in " ".join(answer.err.split())
    assert len((tmp_path / "labelled" / "left_out.txt").read_text("utf-8").splitlines()) == 1
    assert len(distiller("predict", out, dev, "--skip-bad").out.splitlines()) == 1 + 59
    measured = distiller("bench", out)
    assert measured.code == 0, measured.err
