"""A whole run on tiny text, and the commands around it."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml
from safetensors.torch import load_file

import distiller
from distiller.cli import check, evaluate, predict, pseudo_label, recipes, show
from distiller.cli import run as run_command
from distiller.cli.show import _against
from distiller.config import Run, load_run, parse_run, to_yaml
from distiller.config.translation import Decoding, TranslationRun, Vocabulary
from distiller.deploy.translators import open_translator
from distiller.errors import ConfigError, DataError, DistillerError, ModelError, Notice, OutputError
from distiller.models.cost import parameter_count
from distiller.recipes import recipe_text, texts
from distiller.record import Record, load_record
from distiller.run import distil
from distiller.run.changed_data import changed_text, keep_to
from distiller.run.translation import useless
from distiller.run.verdict import Outcomes
from distiller.training.output_folder import MARK, _refuse_other
from distiller.translation import efficiency
from distiller.translation.pairs import Pairs
from distiller.translation.scores import sentence_counts
from distiller.translation.students import load_translator
from distiller.translation.translate import TextTranslator, translated_lines
from translation.families import family_folder
from translation.tiny import SHAPE, model, pace, sentences, tiny_run, translator, write_pairs

PLAIN = """
import json, sys
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
model, words = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForSeq2SeqLM, AutoTokenizer))
inputs = words(sys.argv[2:], return_tensors="pt", padding=True)
made = model.generate(**inputs, num_beams=4, length_penalty=0.6, max_new_tokens=20, max_length=None)
print(json.dumps(words.batch_decode(made, skip_special_tokens=True)))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[TranslationRun, Record]:
    """A hybrid: gold and pseudo-labels, word-level distillation and a cosine."""
    threads = torch.get_num_threads()
    run = tiny_run(
        tmp_path_factory.mktemp("run"),
        objective={"gamma1": 1.0, "beta1": 1.0, "cosine": 0.5},
        sequence={"gold_ratio": 0.5, "decoding": {"beam": 2, "max_length": 20}},
        training=pace(4) | {"threads": 1},
    )
    record = distil(run)
    torch.set_num_threads(threads)
    return run, record


def call(*arguments: object) -> None:
    app = typer.Typer()
    for module in (check, evaluate, predict, pseudo_label, recipes, run_command, show):
        name = module.__name__.rpartition(".")[2]
        app.command(name.replace("_", "-"))(getattr(module, name))
    app([str(argument) for argument in arguments], standalone_mode=False)


def test_the_record_says_what_was_done(done: tuple[TranslationRun, Record]) -> None:
    run, record = done
    folder = Path(run.output)
    assert load_record(folder) == record
    assert load_run(folder / "run.yaml") == run
    assert record.data.examples == {"train": 260, "seen": 260, "dev": 40, "pseudo": 260}
    assert record.baseline is not None
    assert record.teacher is not None
    assert record.compression == record.teacher.parameters / record.student.parameters > 1
    assert {"bleu", "chrf"} == set(record.student.scores) == set(record.signatures)
    exact, small, plain = "ctranslate2 float32", "ctranslate2 int8", "transformers float32"
    assert [(row.model, row.form) for row in record.efficiency] == [
        *(("teacher", form) for form in (exact, small, plain)),
        *(("student", form) for form in (exact, small, f"{small}, shortlist", plain)),
    ]
    assert record.efficiency[3].chrf == pytest.approx(record.student.scores["chrf"])
    for row in record.efficiency:
        assert row.latency_p50 is not None
        assert row.latency_p95 is not None
        assert 0 < row.latency_p50 <= row.latency_p95
    assert record.efficiency[0].bleu == pytest.approx(record.teacher.scores["bleu"])
    assert record.efficiency[1].megabytes < record.efficiency[0].megabytes
    assert record.comparison is not None
    gain = record.student.scores["bleu"] - record.baseline.scores["bleu"]
    assert record.comparison.difference == pytest.approx(gain)
    assert record.comparison.error >= 0
    assert "distilled student" in " ".join(record.verdict)
    assert record.teacher is not None
    assert ("has learnt nothing" in record.verdict[0]) == (record.teacher.scores["bleu"] < 0.05)
    assert "task.unlabelled" not in " ".join(record.verdict)
    assert "pipeline_tag: translation" in (folder / "student" / "README.md").read_text(encoding="utf-8")
    assert {"teacher", "student-0", "baseline-0"} == set(load_file(folder / "development.safetensors"))
    assert {"loss/label", "loss/prediction", "loss/encoder_cos"} <= set().union(*record.seeds[0].history)
    assert record.versions["sacrebleu"]


def test_text_that_changed_meanwhile_is_said(done: tuple[TranslationRun, Record], tmp_path: Path) -> None:
    run, record = done
    file = Path(run.task.train.source)
    before = file.read_text(encoding="utf-8")
    assert changed_text(record.data, run.task) is None
    try:
        file.write_text(before.replace("\n", " again\n", 1), encoding="utf-8")
        with pytest.warns(UserWarning, match="is finished, but the data have changed"):
            assert distil(run, resume=True) == record
        with pytest.warns(UserWarning, match="the data have changed since"):
            distiller.evaluate(run.output)
        source = open_translator(run.output)
        assert source is not None
        assert source.sentences is not None
        assert "the data have changed" in source.notes[0]
        again = run.model_copy(update={"output": str(tmp_path / "out")})
        (tmp_path / "out" / "seeds").mkdir(parents=True)
        (tmp_path / "out" / "run.yaml").write_text(MARK + to_yaml(again), encoding="utf-8")
        keep_to(record.data.fingerprint, tmp_path / "out" / "seeds")
        with pytest.raises(OutputError, match="was started with other data"):
            distil(again, resume=True)
    finally:
        file.write_text(before, encoding="utf-8")


def test_an_engine_that_translates_a_part_has_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficiency, "SINGLE", 3)
    source, target = map(list, zip(*sentences(4), strict=True))
    pairs, decoding = Pairs("few", source, target, lines=[1, 2, 3, 4]), Decoding(beam=1, max_length=4)
    found = efficiency.efficiency({"student": translator(tmp_path / "model")}, pairs, decoding)
    assert [(row.engine, row.bleu is None, row.chrf is None) for row in found if row.compute == "float32"] == [
        ("ctranslate2", False, False),
        ("transformers", True, True),
    ]
    plain = decoding.model_copy(update={"engine": "transformers"})
    (whole,) = efficiency.efficiency({"student": translator(tmp_path / "model")}, pairs.take(range(3)), plain)
    assert whole.bleu is not None


def test_the_student_is_a_model_folder(done: tuple[TranslationRun, Record]) -> None:
    run, record = done
    student, words = load_translator(Path(run.output) / "student")
    assert words.fingerprint == record.data.vocabulary
    stored = load_file(Path(run.output) / "student" / "model.safetensors")
    stored.pop("final_logits_bias")  # Marian's, which is no weight
    assert sum(weight.numel() for weight in stored.values()) == parameter_count(student) == record.student.parameters


def test_plain_transformers_translates_with_it(done: tuple[TranslationRun, Record], tmp_path: Path) -> None:
    """Loaded by a process that does not know this library; and CTranslate2's own converter takes it."""
    run, _ = done
    folder = Path(run.output) / "student"
    ours, words = load_translator(folder)
    lines = [source for source, _ in sentences(12, seed=7)]
    by_engine = {
        name: translated_lines(ours, words, lines, Decoding(beam=4, max_length=20, engine=name))
        for name in ("transformers", "ctranslate2")
    }
    found = subprocess.run(
        [sys.executable, "-c", PLAIN, str(folder), *lines],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert json.loads(found.stdout.splitlines()[-1]) == by_engine["transformers"]
    from ctranslate2 import Translator
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(folder)).convert(str(tmp_path / "converted"))
    pieces = [words.tokenizer.convert_ids_to_tokens(ids) for ids in words.encode(lines)]
    results = Translator(str(tmp_path / "converted")).translate_batch(
        pieces, beam_size=4, length_penalty=0.6, max_decoding_length=20, disable_unk=True
    )
    said = [words.tokenizer.convert_tokens_to_ids(result.hypotheses[0]) for result in results]
    assert words.decode(said) == by_engine["ctranslate2"]


def test_the_teacher_stands_beside_the_student(done: tuple[TranslationRun, Record]) -> None:
    run, record = done
    teacher, _ = load_translator(Path(run.output) / "teacher")
    assert record.teacher is not None
    assert parameter_count(teacher) == record.teacher.parameters
    (history,) = record.teacher.histories  # it was trained here, and the report draws how that went
    assert history
    assert record.teacher.steps[0] >= record.teacher.best_steps[0] > 0
    assert record.teacher.start == "random weights"


def test_a_finished_run_is_found_and_another_refused(done: tuple[TranslationRun, Record]) -> None:
    run, record = done
    assert distil(run, resume=True) == record
    with pytest.raises(OutputError, match="holds a finished run"):
        distil(run)
    other = run.model_copy(update={"seeds": [1]})
    with pytest.raises(OutputError, match="differs in `seeds`"):
        distil(other, resume=True)
    encoders = Run.model_validate({"task": {"train": "x.csv"}, "output": run.output})
    with pytest.raises(OutputError, match="was started with another run"):
        _refuse_other(Path(run.output), run, encoders)
    with pytest.raises(OutputError, match=r"differs in `task`, .*`vocabulary`"):
        _refuse_other(Path(run.output), encoders, run)


def test_what_cannot_be_read_takes_the_place_of_nothing(done: tuple[TranslationRun, Record]) -> None:
    run, record = done
    named = parse_run(run.model_dump(mode="json"), ["task.train.source=none.de"])
    with pytest.raises(DataError, match="there is no file"):
        distil(named, overwrite=True)
    with pytest.raises(ConfigError, match="nothing"):
        parse_run(run.model_dump(mode="json"), ["objective.intermediate=[{loss: nothing}]"])
    assert load_record(run.output) == record


def test_that_nothing_is_translated_right_is_said() -> None:
    right = sentence_counts(["a dog runs in the park"] * 4, ["a dog runs in the park"] * 4)
    wrong = sentence_counts(["cat cat"] * 4, ["a dog runs in the park"] * 4)
    task = {"train": {"source": "x.de", "target": "x.en"}}
    run = parse_run({"task": task, "training": {"epochs": 2}})
    named = parse_run({"task": task, "teacher": {"model": "opus"}})
    assert isinstance(run, TranslationRun)
    assert isinstance(named, TranslationRun)
    assert useless(Outcomes(right, [], [right], None), run) == []
    (line,) = useless(Outcomes(wrong, [], [wrong], None), run)
    assert "The teacher has learnt nothing: 0.0." in line
    assert "`teacher.training`" in line
    (line,) = useless(Outcomes(wrong, [], [wrong], None), named)  # which is not trained
    assert "teacher.training" not in line
    (line,) = useless(Outcomes(right, [], [wrong, wrong], None), run)
    assert "Train it longer (`training.epochs`)" in line
    assert useless(Outcomes(None, [], [wrong, right], None), run) == []


def test_gains_are_points_of_bleu(done: tuple[TranslationRun, Record]) -> None:
    _, record = done
    assert record.comparison is not None
    shown = _against("student, distilled", record)
    assert shown == f"{record.comparison.difference:+.1f} ± {record.comparison.error:.1f}"
    points = record.student.scores["bleu"] - record.models["student, fine-tuned"].scores["bleu"]
    assert float(shown.split()[0]) == pytest.approx(points, abs=0.1)


def test_a_text_that_no_run_describes_is_checked_and_limited(
    done: tuple[TranslationRun, Record], tmp_path: Path
) -> None:
    run, _ = done
    write_pairs(tmp_path, "few", [*sentences(6, seed=8), ("", "empty")])
    text = [f"task.dev.source={tmp_path / 'few.de'}", f"task.dev.target={tmp_path / 'few.en'}", "evaluation.beam=1"]
    student = str(Path(run.output) / "student")
    with pytest.raises(DataError, match="the source is empty"):
        TextTranslator(student, changed=text).split_scores("dev")
    usable = TextTranslator(student, changed=[*text, "task.skip_bad=true", "task.dev.limit=2"])
    seen: list[int] = []
    usable.scores = lambda pairs: seen.append(len(pairs))  # type: ignore[method-assign, return-value, assignment]
    usable.split_scores("dev")
    assert seen == [2]


def test_a_model_without_a_run_is_told_its_languages_and_reads_no_more_than_it_can(tmp_path: Path) -> None:
    folder = str(family_folder("mbart", tmp_path / "m"))
    config = Path(folder, "tokenizer_config.json")
    plain = {name: value for name, value in json.loads(config.read_text()).items() if not name.endswith("_lang")}
    config.write_text(json.dumps(plain))
    write_pairs(tmp_path, "text", [*sentences(3, seed=8), ("eins " * 70, "one")])
    text = [f"task.dev.source={tmp_path / 'text.de'}", f"task.dev.target={tmp_path / 'text.en'}", "evaluation.beam=1"]
    told = ["teacher.languages.source=de_DE", "teacher.languages.target=en_XX", "evaluation.max_length=8"]
    with pytest.raises(ConfigError, match="has to be told which"):
        TextTranslator(folder)
    with pytest.raises(DataError, match="more than 64") as error:
        TextTranslator(folder, changed=[*text, *told]).split_scores("dev")
    assert "max_length" not in str(error.value.hint)  # which would not make it longer
    with pytest.warns(Notice, match="left out 1 bad row"):
        TextTranslator(folder, changed=[*text, *told, "task.skip_bad=true"]).split_scores("dev")


def test_commands(
    done: tuple[TranslationRun, Record],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, record = done
    monkeypatch.setenv("COLUMNS", "200")
    call("show", run.output)
    shown = capsys.readouterr().out
    assert f"{record.teacher.parameters:,}" in shown
    assert "ctranslate2 int8" in shown
    dev = run.task.dev
    assert dev is not None
    student = Path(run.output) / "student"
    text = [f"task.dev.source={dev.source}", f"task.dev.target={dev.target}"]
    call("evaluate", student, *text, "evaluation.beam=2", "evaluation.max_length=20", "--json")
    assert json.loads(capsys.readouterr().out) == pytest.approx(record.student.scores)
    call("pseudo-label", student, dev.source, "-o", tmp_path / "labels", "--beam", "2", "--n-best", "2", "-q")
    assert "40 sentences" in capsys.readouterr().out


def test_a_run_is_checked_before_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wish = tiny_run(tmp_path, task=tiny_run(tmp_path).task.model_dump(mode="json") | {"fraction": 0.5})
    file = tmp_path / "run.yaml"
    file.write_text(to_yaml(wish), encoding="utf-8")
    call("check", file, "vocabulary.size=50")
    out, said = capsys.readouterr()
    assert parse_run(yaml.safe_load(out)) == wish.model_copy(update={"vocabulary": Vocabulary(size=50)})
    assert "260 training pairs, 40 development pairs; the student sees 130" in said
    teacher, student = (model(50, encoder_layers=layers) for layers in (2, 1))
    assert f"teacher {parameter_count(teacher):,} parameters, student {parameter_count(student):,}: " in said
    assert not Path(wish.output).exists()
    with pytest.raises(ConfigError, match="does not divide"):
        call(
            "check",
            file,
            "student.init=teacher",
            "teacher.shape.encoder_layers=3",
            "student.shape.encoder_layers=2",
        )


def test_a_named_vocabulary_must_be_the_teachers(done: tuple[TranslationRun, Record]) -> None:
    run, _ = done
    folder = Path(run.output).parent
    teacher = {"model": str(Path(run.output) / "student")}
    other = tiny_run(folder / "other", teacher=teacher, vocabulary={"model": str(folder / "foreign.model")})
    (folder / "foreign.model").write_bytes(b"no model")
    with pytest.raises(ModelError, match="not a SentencePiece model"):
        distil(other)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"task": {"kind": "translation", "train": {"source": "none.de", "target": "none.en"}}},
            DataError,
            "there is no file",
        ),
        ({"task.max_length": 3}, DataError, "tokens, more than 3"),
        ({"vocabulary": {"size": 9000}}, DataError, "no vocabulary of 9000"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, change: dict[str, Any], error: type[DistillerError], message: str
) -> None:
    overrides = [f"{key}={value}" for key, value in change.items() if "." in key]
    fields = {key: value for key, value in change.items() if "." not in key}
    run = parse_run(tiny_run(tmp_path, **fields).model_dump(mode="json"), overrides)
    with pytest.raises(error, match=message) as caught:
        distil(run)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sequence.n_best=9", "need a beam"),
        ("objective.gamma1=0", "nothing would teach"),
        ("task.monolingual=[x.de]", "needs `sequence`"),
        ("seeds=[1,1]", "seeds must be distinct"),
        ("student.shape.heads=7", "divisible by its 7 heads"),
        ("evaluation.sampling_top_k=3", "exclude each other"),
        ("objective.word_kt=1", "no field is called `objective.word_kt`"),
        ("task.max_length=9000", "less than or equal to 510"),
        ("student.encoder_layers=2", "cut a teacher"),
    ],
)
def test_impossible_runs_are_refused_in_words(tmp_path: Path, override: str, message: str) -> None:
    base = tiny_run(tmp_path, objective={"beta1": 0.0}).model_dump(mode="json")
    with pytest.raises(ConfigError, match=message):
        parse_run(base, [override])


RECIPES = {name: text for name, text in texts().items() if "kind: translation" in text}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_run_that_survives_yaml(name: str) -> None:
    run = parse_run(yaml.safe_load(RECIPES[name]), where=name)
    assert run.recipe == name
    assert run.output == f"outputs/{name}"
    first = RECIPES[name].splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")
    for text in (to_yaml(run), to_yaml(run, exclude_defaults=True)):
        assert parse_run(yaml.safe_load(text)) == run


def test_every_recipe_of_the_slides_is_there() -> None:
    named = ("word-kd", "distilbert", "sequence-kd", "interpolation", "hybrid", "low-data", "noisy-student")
    assert set(RECIPES) == {"demo-translation", *(f"nmt-{name}" for name in named)}
    with pytest.raises(ConfigError, match="no recipe is called `nmt-hybird`"):
        recipe_text("nmt-hybird")


def test_monolingual_text_and_low_data(tmp_path: Path, done: tuple[TranslationRun, Record]) -> None:
    """A tenth of the pairs, and the teacher's translations of them and of text without translations."""
    run, _ = done
    lines = Pairs("extra", [source for source, _ in sentences(30, seed=5)], None, [])
    extra = write_pairs(tmp_path, "extra", [(line, "") for line in lines.source])["source"]
    teacher = {"model": str(Path(run.output) / "student")}
    fields = {"teacher": teacher, "vocabulary": {}, "baseline": False, "efficiency": False}
    wish = tiny_run(
        tmp_path,
        **fields,
        student={"shape": SHAPE},
        sequence={"gold_ratio": 0.34, "n_best": 2, "decoding": {"beam": 2, "max_length": 10}},
        training=pace(1) | {"max_steps": 2},
    )
    corpus = wish.task.model_copy(update={"fraction": 0.1, "monolingual": [extra]})
    record = distil(wish.model_copy(update={"task": corpus}))
    assert record.data.examples["seen"] == 26
    assert record.data.examples["monolingual"] == 30
    assert 26 < record.data.examples["pseudo"] <= 2 * 56


def test_a_finished_student_translates_a_text_a_file_and_stdin(
    done: tuple[TranslationRun, Record],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, _ = done
    lines = [source for source, _ in sentences(3, seed=8)]
    greedy = "evaluation.beam=1"
    (tmp_path / "text.de").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    call("predict", run.output, tmp_path / "text.de", greedy)
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 3
    call("predict", run.output, tmp_path / "text.de", "-o", tmp_path / "text.en", greedy)
    assert (tmp_path / "text.en").read_text(encoding="utf-8") == said
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{lines[0]}\n\n"))
    call("predict", Path(run.output) / "student", "-", greedy, "evaluation.max_length=20")
    assert capsys.readouterr().out == f"{said.splitlines()[0]}\n\n"
    call("predict", run.output, lines[0], "evaluation.compute=int8", "--json", "--keep")
    assert json.loads(capsys.readouterr().out).keys() == {"text", "translation"}
    with pytest.raises(DataError, match=r"line 1 has \d+ tokens, the model takes 512"):
        call("predict", run.output, " ".join(["eins"] * 600))
    rows = distiller.Predictor(run.output, overrides=[greedy])(lines)
    assert [row["translation"] for row in rows] == said.splitlines()


def test_progress_is_visible_without_a_terminal(
    done: tuple[TranslationRun, Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = done
    dev = run.task.dev
    assert dev is not None
    call("pseudo-label", Path(run.output) / "teacher", dev.source, "-o", tmp_path / "labels", "--shard-size", 10)
    assert re.search(r"pseudo-label: (\d+) of \1 sentences, [\d,]+ tokens/s, ", capsys.readouterr().err)


def test_show_evaluate_and_predict_take_a_translation_output(
    done: tuple[TranslationRun, Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, record = done
    show.show([run.output])
    assert "distilled" in capsys.readouterr().out
    show.show([run.output], json=True)
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(record.score)
    evaluate.evaluate(run.output, json=True)
    assert json.loads(capsys.readouterr().out) == pytest.approx(record.student.scores)
    with pytest.raises(ConfigError, match="has no `test` text"):
        evaluate.evaluate(run.output, split="test")
    assert run.task.dev is not None
    predict.predict([run.output, run.task.dev.source])
    assert len(capsys.readouterr().out.splitlines()) == 40


def test_what_earlier_versions_wrote_still_loads(done: tuple[TranslationRun, Record], tmp_path: Path) -> None:
    """Run files with a `corpus`, `nll` and `word_kd`, and the Records of such runs."""
    run, record = done
    data = record.model_dump(mode="json")
    task, objective = data["run"].pop("task"), data["run"].pop("objective")
    names = {"max_length": "max_tokens", "split_seed": "seed"}
    corpus = {names.get(name, name): value for name, value in task.items() if name != "kind"}
    earlier = {name: value for name, value in data["run"].items() if name not in ("augmentation", "stages")}
    earlier.pop("augmentation_refresh")
    weights = {"nll": 1.0, "word_kd": 1.0, "cosine": 0.5, "prediction": objective["prediction"]}
    earlier |= {"corpus": corpus, "objective": weights}
    with pytest.warns(Notice, match="`corpus` is now a `task`"):
        assert parse_run(earlier) == run
    facts = {name: data["data"][name] for name in ("skipped", "fingerprint", "vocabulary", "vocabulary_size")}
    data |= {"run": earlier, "data": facts | {"pairs": data["data"]["examples"]}, "compression": 2.0}
    (tmp_path / "record.json").write_text(json.dumps(data), encoding="utf-8")
    found = load_record(tmp_path)
    assert found.run == run
    assert found.data.examples == record.data.examples
    assert found.compression == record.compression
    weights.pop("word_kd")
    with pytest.warns(Notice):
        assert parse_run(earlier | {"objective": weights}).objective.beta1 == 0
    with pytest.raises(ConfigError, match="no field is called `corpus`"):
        parse_run(run.model_dump(mode="json"), ["corpus.fraction=0.5"])
    with pytest.raises(ConfigError, match="beta2 has no meaning where the task is a translation"):
        parse_run(run.model_dump(mode="json"), ["objective.beta2=1"])


def test_the_kind_of_the_task_decides_what_a_run_is() -> None:
    sides = {"source": "a.de", "target": "a.en"}
    made = [
        Run(task={"kind": "translation", "train": sides}),  # type: ignore[arg-type]
        Run.model_validate({"task": {"train": sides}}),
        parse_run({"task": {"train": sides}}),
    ]
    assert all(type(one) is TranslationRun and one == made[0] for one in made)
    assert type(Run(task={"name": "rte"})) is Run  # type: ignore[arg-type]
    said = parse_run({"task": {"train": sides}, "teacher": {"translations": "a.tsv"}, "sequence": {}})
    assert said.objective.beta1 == 0


def test_a_student_that_was_rounded_has_the_scores_of_its_folder(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, training=pace(5) | {"threads": 1, "quantization_aware": True, "evaluations": 5})
    record = distil(run)
    one = record.seeds[0]
    assert "eight_bits_bleu" in one.history[-1]
    assert one.best_step > 0.8 * one.steps
    assert distiller.evaluate(run.output)["bleu"] == pytest.approx(record.student.scores["bleu"])
    plain = distil(tiny_run(tmp_path / "plain", training=pace(5) | {"threads": 1, "evaluations": 5}))
    assert "eight_bits_bleu" not in plain.seeds[0].history[-1]


@pytest.mark.parametrize("lasts", [{"max_steps": 4}, {"epochs": 2}])
@pytest.mark.parametrize("model", ["student", "teacher"])
def test_a_training_of_given_length_has_no_fewest_steps(tmp_path: Path, model: str, lasts: dict[str, int]) -> None:
    training = {"min_steps": 9, "max_steps": None, **lasts}
    fields = {"training": training} if model == "student" else {"teacher": {"training": training}}
    with pytest.raises(ConfigError, match=f"min_steps is for a training .* {min(lasts)} says when"):
        tiny_run(tmp_path, **fields)


@pytest.mark.parametrize("lasts", [{"max_steps": 4}, {"epochs": 2}])
def test_patience_may_not_end_a_training_before_it_is_rounded(tmp_path: Path, lasts: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="before `quantization_aware` begins"):
        tiny_run(tmp_path, training={"quantization_aware": True, "patience": 1, "max_steps": None, **lasts})
