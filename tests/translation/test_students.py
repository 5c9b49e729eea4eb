"""Layer-sampled students: which layers are kept, that they are copied bit by bit, and what is refused."""

from pathlib import Path

import pytest
import torch

from distiller.config import parse
from distiller.config.translation import Shape, Student
from distiller.errors import ConfigError, ModelError
from distiller.models.encoder_decoder import check_reading
from distiller.translation.model import TokenIds, build_model
from distiller.translation.students import build_student, load_translator, sampled_layers, save_translator, start_of
from distiller.translation.tokenizer import EARLIER
from translation.tiny import SHAPE, model, sentences, translator, vocabulary


def test_one_of_every_n_layers_is_kept() -> None:
    assert sampled_layers(24, 3) == [0, 8, 16]
    assert sampled_layers(6, 3) == [0, 2, 4]
    assert sampled_layers(24, 3, pick="last") == [7, 15, 23]
    assert sampled_layers(6, 3, pick="last") == [1, 3, 5]
    assert sampled_layers(3, 3) == sampled_layers(3, 3, pick="last") == [0, 1, 2]
    with pytest.raises(ConfigError, match="4 does not divide 6"):
        sampled_layers(6, 4)


@pytest.mark.parametrize(("pick", "encoder", "decoder"), [("first", [0, 2], [0]), ("last", [1, 3], [2])])
def test_copied_weights_are_bit_identical(pick: str, encoder: list[int], decoder: list[int]) -> None:
    teacher = model(20, encoder_layers=4, decoder_layers=3)
    wish = parse(Student, {"shape": SHAPE | {"encoder_layers": 2}, "init": "teacher", "pick": pick}, where="test")
    student = build_student(wish, teacher, tokens=TokenIds.own(20), seed=5)
    theirs = teacher.state_dict()
    for name, weight in student.state_dict().items():
        parts = name.split(".")
        if parts[2:3] == ["layers"]:
            parts[3] = str({"encoder": encoder, "decoder": decoder}[parts[1]][int(parts[3])])
        assert torch.equal(weight, theirs[".".join(parts)]), name


def test_a_random_student_depends_on_its_seed_alone() -> None:
    wish = parse(Student, {"shape": SHAPE}, where="test")
    torch.manual_seed(1)
    first = build_student(wish, None, tokens=TokenIds.own(20), seed=0).state_dict()
    torch.manual_seed(2)
    second, other = (build_student(wish, None, tokens=TokenIds.own(20), seed=seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_layers_of_another_width_are_refused() -> None:
    wish = parse(Student, {"shape": SHAPE | {"width": 16}, "init": "teacher"}, where="test")
    with pytest.raises(ModelError, match="d_model is 16, the teacher's 32"):
        build_student(wish, model(20), tokens=TokenIds.own(20), seed=0)


def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    save_translator(model(20), vocabulary(), tmp_path)
    with pytest.raises(ModelError, match=r"the vocabulary has 48 pieces, the model in .* has 20"):
        load_translator(tmp_path)


def test_folders_that_hold_no_translation_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_translator(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="no encoder–decoder"):
        load_translator(tmp_path)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    translator(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="is truncated"):
        load_translator(tmp_path)


def test_outputs_of_earlier_versions_still_load(tmp_path: Path) -> None:
    """They have the slides' network, and a SentencePiece model with padding 0, unknown 1, start 2 and end 3."""
    import sentencepiece

    with (tmp_path / EARLIER).open("wb") as written:
        sentencepiece.SentencePieceTrainer.train(  # type: ignore[attr-defined]
            sentence_iterator=iter(side for pair in sentences(200) for side in pair),
            model_writer=written,
            vocab_size=36,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            minloglevel=2,
        )
    shape = Shape.model_validate(SHAPE | {"network": "slides"})
    build_model(shape, tokens=TokenIds(36, pad=0, end=3, start=2), seed=0).save_pretrained(tmp_path)
    model, tokenizer = load_translator(tmp_path)
    assert (tokenizer.pad, tokenizer.end, start_of(model, tokenizer)) == (0, 3, 2)
    text = [source for source, _ in sentences(5)]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    check_reading(model, "it")
