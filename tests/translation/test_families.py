"""Promises over every family of encoder–decoders: read as its own forward pass, decoded alike, cut, sampled, taught."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, PreTrainedModel

from distiller.config.translation import Decoding, Languages, Student, TranslationRun
from distiller.errors import ConfigError, ModelError
from distiller.models.encoder_decoder import SIDES, check_reading, decoder_inputs, layers_of, read
from distiller.run import check, distil
from distiller.translation.batches import collate
from distiller.translation.cut import cut_vocabulary
from distiller.translation.engines import engine
from distiller.translation.students import load_translator, sampled_student, save_translator
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.translate import translated_lines
from translation.families import FAMILIES, LANGUAGES, family_folder
from translation.tiny import SHAPE, pace, sentences, tiny_run

PAIRS = sentences(6, seed=3)
SOURCES, TARGETS = [source for source, _ in PAIRS], [target for _, target in PAIRS]
Loaded = tuple[Path, PreTrainedModel, TranslationTokenizer]


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = family_folder(request.param, tmp_path_factory.mktemp(request.param))
    return folder, *load_translator(folder, LANGUAGES.get(request.param, Languages()))


def batch_of(tokenizer: TranslationTokenizer) -> dict[str, torch.Tensor]:
    rows = zip(tokenizer.encode(SOURCES), tokenizer.encode_targets(TARGETS), strict=True)
    features = [{"id": n, "source": source, "target": target} for n, (source, target) in enumerate(rows)]
    return collate(features, pad=tokenizer.pad)


@torch.no_grad()
def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Scores at the target tokens, by the model's own forward pass."""
    inputs = decoder_inputs(model, batch["labels"])
    out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], decoder_input_ids=inputs).logits
    return out[batch["output_mask"].bool()]


def test_layers_and_states_are_the_models_own(loaded: Loaded) -> None:
    _, model, tokenizer = loaded
    check_reading(model, "it")
    batch = batch_of(tokenizer)
    whole: Any = model
    with torch.no_grad():
        found = read(model, batch, hidden=True)
        wanted = whole(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            decoder_input_ids=decoder_inputs(model, batch["labels"]),
            output_hidden_states=True,
        )
    for side in SIDES:
        states, theirs = getattr(found, side), getattr(wanted, f"{side}_hidden_states")
        assert len(states) == len(theirs) == len(layers_of(model, side)) + 1
        kept = batch["attention_mask" if side == "encoder" else "output_mask"].bool()
        for one, other in zip(states, theirs, strict=True):
            torch.testing.assert_close(one[kept], other[kept])


def test_both_engines_say_the_same(loaded: Loaded) -> None:
    _, model, tokenizer = loaded
    bare = TranslationTokenizer(tokenizer.tokenizer, prefix=tokenizer.prefix)
    bare.__dict__["forced"] = tokenizer.forced
    bare.__dict__["special"] = frozenset()  # compare languages and ends too, which a random model says at random
    said = []
    for name in ("transformers", "ctranslate2"):
        wish = Decoding.model_validate({"engine": name, "beam": 1, "max_length": 8, "length_penalty": 0.0})
        with engine(model, bare, wish) as run:
            said.append([hypotheses[0] for hypotheses in run(tokenizer.encode(SOURCES), 0)])
    for one, other in zip(*said, strict=True):
        assert [t for t in one.tokens if t != tokenizer.end] == [t for t in other.tokens if t != tokenizer.end]
        assert one.score == pytest.approx(other.score, abs=1e-2)


def test_a_saved_model_needs_no_languages(loaded: Loaded, tmp_path: Path) -> None:
    _, model, tokenizer = loaded
    save_translator(model, tokenizer, tmp_path)
    again, words = load_translator(tmp_path)
    assert words.encode(SOURCES) == tokenizer.encode(SOURCES)
    assert words.encode_targets(TARGETS) == tokenizer.encode_targets(TARGETS)
    assert words.fingerprint == tokenizer.fingerprint
    batch = batch_of(tokenizer)
    torch.testing.assert_close(logits(again, batch), logits(model, batch))


def test_all_of_its_layers_are_the_teacher_and_half_of_them_a_student(loaded: Loaded) -> None:
    _, model, tokenizer = loaded
    batch = batch_of(tokenizer)
    same = sampled_student(Student(init="teacher", encoder_layers=2, decoder_layers=2), model).eval()
    torch.testing.assert_close(logits(same, batch), logits(model, batch))
    half = sampled_student(Student(init="teacher", encoder_layers=1, decoder_layers=1, pick="last"), model)
    for side in SIDES:
        (ours,), (_, last) = layers_of(half, side), layers_of(model, side)
        stored = last.state_dict()
        assert all(torch.equal(weight, stored[name]) for name, weight in ours.state_dict().items() if name in stored)


def test_a_cut_vocabulary_keeps_pieces_and_scores(loaded: Loaded) -> None:
    _, model, tokenizer = loaded
    smaller, rows = cut_vocabulary(tokenizer, SOURCES, TARGETS)
    assert len(smaller) <= len(rows) < model.config.vocab_size
    assert [[int(rows[i]) for i in ids] for ids in smaller.encode(SOURCES)] == tokenizer.encode(SOURCES)
    assert smaller.decode(smaller.encode_targets(TARGETS)) == TARGETS
    assert all(smaller.encode(["vier baum rot haus eins"]))  # unseen words are cut into what is left
    wish = Student(init="teacher", encoder_layers=2, decoder_layers=2)
    student = sampled_student(wish, model, rows=rows).eval()
    torch.testing.assert_close(
        logits(student, batch_of(smaller)), logits(model, batch_of(tokenizer))[:, rows], atol=1e-4, rtol=1e-4
    )


PLAIN = """
import json, sys
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
model, words = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForSeq2SeqLM, AutoTokenizer))
inputs = words(sys.argv[2:], return_tensors="pt", padding=True)
made = model.generate(**inputs, num_beams=1, do_sample=False, max_new_tokens=6, max_length=None)
print(json.dumps(len(made)))
"""


def taught(name: str, folder: Path, **fields: Any) -> TranslationRun:
    teacher = {"model": str(family_folder(name, folder)), "languages": LANGUAGES.get(name, Languages()).model_dump()}
    base = {
        "teacher": teacher,
        "student": {"init": "teacher", "encoder_layers": 1, "decoder_layers": 1},
        "vocabulary": {"cut": True},
        "objective": {"gamma1": 1.0, "beta1": 1.0, "cosine": 0.5},
        "sequence": {"gold_ratio": 0.5, "decoding": {"beam": 1, "max_length": 8, "engine": "transformers"}},
        "training": pace(1) | {"max_steps": 2, "evaluations": 1},
        "evaluation": {"beam": 1, "max_length": 8, "engine": "transformers"},
        "baseline": False,
        "efficiency": False,
    }
    return tiny_run(folder, **base | fields)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_teaches_a_student_cut_from_it(name: str, tmp_path: Path) -> None:
    run = taught(name, tmp_path)
    outline = check(run)
    assert "word-level and hidden states, over the" in outline.possible
    record = distil(run)
    assert record.teacher is not None
    assert record.student.parameters < record.teacher.parameters
    assert {"loss/label", "loss/prediction", "loss/encoder_cos"} <= set().union(*record.seeds[0].history)
    student, words = load_translator(Path(run.output) / "student")
    assert len(translated_lines(student, words, ["eins zwei", "", "haus"], run.evaluation)) == 3


def test_plain_transformers_loads_a_student_cut_from_nllb(tmp_path: Path) -> None:
    run = taught("nllb", tmp_path)
    distil(run)
    command = [sys.executable, "-c", PLAIN, str(Path(run.output) / "student"), "eins zwei", "haus"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""})
    assert json.loads(found.stdout.splitlines()[-1]) == 2


def test_a_teacher_of_another_vocabulary_teaches_by_its_translations_alone(tmp_path: Path) -> None:
    own = {"vocabulary": {"of": "corpus", "size": 48}, "student": {"shape": SHAPE}}
    run = taught("marian", tmp_path, **own, objective={"gamma1": 1.0})
    assert check(run).possible.startswith("sequence-level (word-level and hidden states need")
    record = distil(run)
    assert record.data.examples["pseudo"] > 0
    for refused in ({"objective": {"beta1": 1.0}}, {"student": {"init": "teacher", "encoder_layers": 1}}):
        with pytest.raises(ConfigError, match="need its vocabulary") as caught:
            check(taught("marian", tmp_path, **own | {"objective": {"gamma1": 1.0}} | refused))
        assert "vocabulary.of=teacher" in str(caught.value.hint)


def test_a_new_student_may_take_the_teachers_whole_vocabulary(tmp_path: Path) -> None:
    shape = {"student": {"shape": SHAPE}, "vocabulary": {}, "objective": {"beta1": 1.0}, "sequence": None}
    record = distil(taught("t5", tmp_path, **shape))
    assert "loss/prediction" in set().union(*record.seeds[0].history)


@pytest.mark.parametrize(
    ("name", "languages", "message"),
    [
        ("nllb", {}, "between many languages"),
        ("nllb", {"source": "de", "target": "eng_Latn"}, "knows no language `de`"),
        ("m2m100", {"source": "de", "target": "eng_Latn"}, "knows no language `eng_Latn`"),
        ("mbart", {"source": "de_DE", "target": "xx_XX"}, "knows no language `xx_XX`"),
        ("t5", {"source": "de"}, "has no codes of languages"),
    ],
)
def test_languages_that_a_model_does_not_know(
    name: str, languages: dict[str, str], message: str, tmp_path: Path
) -> None:
    folder = family_folder(name, tmp_path)
    if not languages and name == "nllb":
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"src_lang": None, "tgt_lang": None}))
    with pytest.raises(ConfigError, match=message) as caught:
        load_translator(folder, Languages(**languages))
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_models_that_cannot_translate_are_refused_in_one_line(tmp_path: Path) -> None:
    BertConfig(vocab_size=20, hidden_size=8).save_pretrained(tmp_path / "bert")
    with pytest.raises(ModelError, match="no encoder–decoder"):
        load_translator(tmp_path / "bert")
    folder = family_folder("marian", tmp_path)
    (folder / "source.spm").unlink()
    with pytest.raises(ModelError, match=r"holds no source\.spm"):
        load_translator(folder)
    for file in ("vocab.json", "target.spm", "tokenizer_config.json"):
        (folder / file).unlink()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load_translator(folder)


def test_kept_states_of_a_larger_vocabulary_teach_the_same(tmp_path: Path) -> None:
    """What a student with a cut vocabulary learns from the teacher's cache is what it learns from the teacher."""
    history = []
    for kept in ("never", "always"):
        fields = {"objective": {"gamma1": 1.0, "beta1": 1.0}, "output": str(tmp_path / kept)}
        training = pace(1) | {"max_steps": 3, "evaluations": 1, "log_every": 1, "precision": "fp32"}
        run = taught("nllb", tmp_path, **fields, training=training | {"cache_teacher": kept})
        history.append([entry for entry in distil(run).seeds[0].history if "loss/prediction" in entry])
    for asked, read_again in zip(*history, strict=True):
        assert read_again["loss/prediction"] == pytest.approx(asked["loss/prediction"], rel=1e-4)


def test_files_called_the_other_way_round_are_noticed(tmp_path: Path) -> None:
    straight = taught("nllb", tmp_path)
    assert check(straight).odd == []
    train = straight.task.train
    assert train.target is not None
    crossed = {"train": {"source": train.target, "target": train.source}, "held_out": 20}
    assert any("look swapped" in word for word in check(taught("nllb", tmp_path, task=crossed)).odd)
