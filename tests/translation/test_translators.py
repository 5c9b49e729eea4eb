"""Teachers that are no encoder–decoder: a file, a causal model with a prompt, a server on this machine."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import typer
from tokenizers import ByteLevelBPETokenizer
from transformers import BertConfig, GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

from distiller.cli.pseudo_label import pseudo_label as command
from distiller.config.decoding import Filter
from distiller.config.translation import Decoding, Teacher, TranslationRun
from distiller.errors import ConfigError, DataError, DistillerError, RunError
from distiller.run import check, distil
from distiller.translation.beginning import wrong_way
from distiller.translation.corpus import read_corpus
from distiller.translation.doubts import oddities
from distiller.translation.pairs import Pairs
from distiller.translation.pseudo_labels import filtered, pseudo_label, read_labels
from distiller.translation.translators import Labelled, Scored, cleaned, prompted_translator, read_translations
from translation.tiny import SHAPE, WORDS, pace, sentences, tiny_run, translator, write_pairs


class Fake(BaseHTTPRequestHandler):
    """OpenAI's protocol, answering word by word; `failing` makes it break."""

    failing: ClassVar[str] = ""
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Fake.asked.append(body | {"path": self.path})
        if Fake.failing == "status":
            self.send_error(500, "out of memory")
            return
        source = body["messages"][0]["content"].removeprefix("To English: ")
        said = " ".join(WORDS[word] for word in source.split())
        choices = [{"message": {"content": f'"{said}"\n\nI hope this helps.'}} for _ in range(body["n"])]
        reply = {"answer": 42} if Fake.failing == "protocol" else {"choices": choices}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(reply).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Fake.failing, Fake.asked = "", []
    made = ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}/v1"
    made.shutdown()
    made.server_close()


def asks(server: str) -> Teacher:
    return Teacher(model="some-model", prompt="To English: {source}", server=server)


def text(count: int = 7) -> Pairs:
    return Pairs("text", [source for source, _ in sentences(count)], None, list(range(1, count + 1)))


def quick(folder: Path, **fields: Any) -> TranslationRun:
    base = {
        "student": {"shape": SHAPE},
        "sequence": {"gold_ratio": 0.5},
        "objective": {"gamma1": 1.0},
        "training": pace(1) | {"max_steps": 2, "evaluations": 1},
        "baseline": False,
        "efficiency": False,
    }
    return tiny_run(folder, **base | fields)


def test_a_server_is_asked_and_a_stopped_job_goes_on(server: str, tmp_path: Path) -> None:
    translator = prompted_translator(asks(server), Decoding(beam=1))
    assert pseudo_label(text(), translator, tmp_path / "job", shard_size=3, part=(0, 2)) is None
    first = len(Fake.asked)
    summary = pseudo_label(text(), translator, tmp_path / "job", shard_size=3, part=(1, 2))
    assert summary is not None
    assert (first, len(Fake.asked), summary.engine) == (4, 7, "server")
    labels = read_labels(tmp_path / "job")
    assert [label.source for label in labels] == text().source
    assert [label.hypotheses[0].text for label in labels] == [target for _, target in sentences(7)]
    assert Fake.asked[0]["path"] == "/v1/chat/completions"
    assert Fake.asked[0]["temperature"] == 0


@pytest.mark.parametrize(("failing", "message"), [("status", "answered 500"), ("protocol", "OpenAI's protocol")])
def test_a_server_that_fails_is_one_line(server: str, failing: str, message: str, tmp_path: Path) -> None:
    Fake.failing = failing
    with pytest.raises(RunError, match=message) as caught:
        pseudo_label(text(), prompted_translator(asks(server), Decoding(beam=1)), tmp_path / "job")
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_no_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be asked") as caught:
        pseudo_label(text(), prompted_translator(asks("http://127.0.0.1:9/v1"), Decoding(beam=1)), tmp_path / "job")
    assert "start the server" in str(caught.value.hint)


def test_a_run_with_a_server_for_a_teacher(server: str, tmp_path: Path) -> None:
    run = quick(tmp_path, teacher=asks(server).model_dump(), sequence={"decoding": {"beam": 1}})
    assert "by its translations alone" in check(run).possible
    record = distil(run)
    assert record.teacher is not None
    assert record.teacher.name == "some-model"
    assert record.teacher.scores["bleu"] == pytest.approx(100)
    assert record.compression is None
    assert record.data.examples["pseudo"] == 260


def test_a_causal_model_is_prompted(tmp_path: Path) -> None:
    made = ByteLevelBPETokenizer()
    prompts = [f"To English: {source}" for source in text(40).source]
    made.train_from_iterator(prompts, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    state = json.loads(made.to_str())["model"]
    words = GPT2Tokenizer(vocab=state["vocab"], merges=[tuple(merge) for merge in state["merges"]])
    config = GPT2Config(vocab_size=len(words), n_positions=128, n_embd=16, n_layer=1, n_head=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    words.save_pretrained(tmp_path / "gpt")
    teacher = Teacher(model=str(tmp_path / "gpt"), prompt="To English: {source}")
    asked = prompted_translator(teacher, Decoding(beam=2, max_length=6), n_best=2)
    with asked.begin() as say:
        found = say(text(3).source, 0)
        again = say(text(3).source[::-1], 0)[::-1]
    assert [len(hypotheses) for hypotheses in found] == [2, 2, 2]
    assert all(hypotheses[0].score >= hypotheses[1].score for hypotheses in found)
    assert [[one.text for one in row] for row in found] == [[one.text for one in row] for row in again]  # padding
    translator(tmp_path / "marian")
    wrong = {"model": str(tmp_path / "marian"), "prompt": "{source}"}
    BertConfig(num_hidden_layers=1).save_pretrained(tmp_path / "bert")
    with pytest.raises(DistillerError, match="is a `bert` encoder, which writes no text"):
        check(quick(tmp_path, teacher=wrong | {"model": str(tmp_path / "bert")}))
    with pytest.raises(DistillerError, match="needs no prompt"):
        check(quick(tmp_path, teacher=wrong))


@pytest.mark.parametrize(
    ("answer", "line"), [('\n "A dog." \nHope it helps', "A dog."), ("  ", ""), ('"', '"'), ("Ein", "Ein")]
)
def test_an_answer_becomes_one_line(answer: str, line: str) -> None:
    assert cleaned(answer) == line


def test_translations_in_files(tmp_path: Path) -> None:
    pairs = sentences(300)
    corpus = read_corpus(tiny_run(tmp_path).task)
    by_line = tmp_path / "said.txt"
    by_line.write_text("".join(target + "\n" for _, target in pairs[:260]), encoding="utf-8")
    table = tmp_path / "said.tsv"
    table.write_text("".join(f"{source}\t{target}\t-0.5\n" for source, target in pairs), encoding="utf-8")
    lines = tmp_path / "said.jsonl"
    rows = [{"source": source, "translations": [target, "zzz"], "scores": [-0.1, -2]} for source, target in pairs]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for file, score in ((by_line, 0.0), (table, -0.5), (lines, -0.1)):
        found = read_translations(str(file), corpus.train)
        assert {label.source: label.hypotheses[0].text for label in found}.items() >= dict(pairs[:260]).items()
        assert found[0].hypotheses[0].score == score
    record = distil(quick(tmp_path, teacher={"translations": [str(lines), str(by_line)]}))
    assert record.teacher is not None  # the file translates the development text too
    assert record.teacher.scores["bleu"] == pytest.approx(100)
    assert record.data.examples["pseudo"] == 2 * 260
    assert any("left out: seen before" in note for note in record.notes)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("short.txt", "one\ntwo\n", "has 2 lines, .* at least 260"),
        ("bad.jsonl", '{"source": "a"}\n', "line 1 is no translation"),
        ("bad.tsv", "only one column\n", "line 1 is no translation"),
        ("bad.tsv", "a\tb\tnot a number\n", "line 1 is no translation"),
    ],
)
def test_files_that_hold_no_translations(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        check(quick(tmp_path, teacher={"translations": str(tmp_path / name)}))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"teacher": {"translations": "a.tsv", "model": "b"}}, "leave out model, prompt and server"),
        ({"teacher": {"prompt": "{source}"}}, "need the name of a model"),
        ({"teacher": {"model": "m", "server": "http://x"}}, "is asked with a prompt"),
        ({"teacher": {"model": "m", "prompt": "no place"}}, "must contain {source}"),
        ({"teacher": {"translations": "a.tsv"}, "objective": {"beta1": 1}}, "by its translations alone"),
        ({"teacher": {"translations": "a.tsv"}, "sequence": None}, "needs `sequence`"),
        (
            {"task": {"kind": "translation", "train": {"source": "a.tsv"}, "monolingual_target": ["b"]}},
            "need each other",
        ),
    ],
)
def test_what_such_a_teacher_cannot_do_is_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        quick(tmp_path, **fields)


def label(source: str, *said: tuple[str, float]) -> Labelled:
    hypotheses = [Scored(text=text, score=score, tokens=1) for text, score in said]
    return Labelled(row=0, source=source, hypotheses=hypotheses)


def test_filters_leave_out_what_they_say_and_count_it() -> None:
    labels = [
        label("aaaa", ("bbbb", -1.0), ("bbbb", -2.0)),
        label("cccc", ("cccc", -3.0)),
        label("dd", ("a very long translation", -0.1)),
        label("eeee", ("ffff", -9.0)),
    ]
    assert filtered(labels, Filter(duplicates=False)) == (labels, {})
    kept, counts = filtered(labels, Filter(worst=0.25, length_ratio=2.0, copies=True))
    assert [(one.source, [h.text for h in one.hypotheses]) for one in kept] == [("aaaa", ["bbbb"])]
    assert counts == {
        "of the lowest scores": 1, "seen before": 1, "copies of their sentence": 1, "of another length": 1
    }  # fmt: skip
    with pytest.raises(ConfigError, match="asks for the teacher's scores"):
        filtered([label("a", ("b", 0.0)), label("c", ("d", 0.0))], Filter(worst=0.5))


def test_text_that_looks_wrong_is_said(tmp_path: Path) -> None:
    pairs = sentences(120)
    swapped = [(target, source) for source, target in pairs[100:]]
    corpus = {
        "train": write_pairs(tmp_path / "own", "train", pairs[:100]),
        "dev": write_pairs(tmp_path / "own", "dev", swapped),
    }
    assert "look swapped" in oddities(read_corpus(tiny_run(tmp_path, task=corpus).task))[0]
    again = {"train": corpus["train"], "dev": write_pairs(tmp_path / "own", "again", pairs[95:110])}
    assert oddities(read_corpus(tiny_run(tmp_path, task=again).task)) == [
        "5 of 15 development sentences are training sentences too: scores flatter"
    ]
    copied = [(source, source if row < 12 else target) for row, (source, target) in enumerate(pairs[:100])]
    copies = {
        "train": write_pairs(tmp_path / "own", "copies", copied),
        "dev": write_pairs(tmp_path / "own", "d", pairs[100:]),
    }
    (said,) = oddities(read_corpus(tiny_run(tmp_path, task=copies).task))
    assert said.startswith("12 of 100 pairs of")
    assert said.endswith("have the same sentence on both sides")
    fine = {"train": corpus["train"], "dev": write_pairs(tmp_path / "own", "fine", pairs[100:])}
    assert oddities(read_corpus(tiny_run(tmp_path, task=fine).task)) == []


def test_back_translation_teaches_to_say_target_text(tmp_path: Path) -> None:
    translator(tmp_path / "backward")
    (tmp_path / "mono.en").write_text("one two\nred house\n", encoding="utf-8")
    corpus = tiny_run(tmp_path).task.model_dump() | {"monolingual_target": [str(tmp_path / "mono.en")]}
    sequence = {"backward": str(tmp_path / "backward"), "decoding": {"beam": 1, "max_length": 6}, "gold_ratio": 0.5}
    teacher = {"translations": str(tmp_path / "said.tsv")}
    (tmp_path / "said.tsv").write_text("eins zwei\tone two\n", encoding="utf-8")
    record = distil(quick(tmp_path, task=corpus, teacher=teacher, sequence=sequence))
    assert record.data.examples["monolingual_target"] == 2
    assert record.data.examples["pseudo"] == 1 + 2
    assert record.teacher is None  # its file does not hold the development sentences
    strict = sequence | {"filter": {"round_trip": 100}}
    again = distil(quick(tmp_path, task=corpus, teacher=teacher, sequence=strict, output=str(tmp_path / "strict")))
    assert again.data.examples["pseudo"] == 2
    assert "1 sentences left out: their translations lead back elsewhere" in again.notes


def test_a_student_without_a_single_pseudo_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "said.tsv").write_text("eins zwei\t \n", encoding="utf-8")
    with pytest.raises(DataError, match="no pseudo-label is left"):
        distil(quick(tmp_path, teacher={"translations": str(tmp_path / "said.tsv")}))


def test_a_teacher_of_the_other_direction_is_noticed(tmp_path: Path) -> None:
    """A model that says English words for anything finds German translations of English less probable."""
    model, tokenizer = translator(tmp_path / "model")
    pairs = sentences(20)
    english = {token for _, target in pairs for ids in tokenizer.encode_targets([target]) for token in ids}
    german = {token for source, _ in pairs for ids in tokenizer.encode([source]) for token in ids} - english
    with torch.no_grad():
        model.final_logits_bias[0, sorted(german)] -= 5.0
    straight = Pairs("text", [s for s, _ in pairs], [t for _, t in pairs], list(range(1, 21)))
    crossed = Pairs("text", straight.translations, straight.source, straight.lines)
    assert wrong_way(model, tokenizer, straight) == []
    assert "look swapped" in wrong_way(model, tokenizer, crossed)[0]


def test_the_command_asks_a_server(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_pairs(tmp_path, "text", sentences(4))["source"]
    app = typer.Typer()
    app.command("pseudo-label")(command)
    app.command("other")(lambda: None)  # with one command alone, typer leaves its name out
    prompt = ["--prompt", "To English: {source}", "--server", server, "--beam", "1"]
    app(["pseudo-label", "some-model", source, "-o", str(tmp_path / "job"), "-q", *prompt], standalone_mode=False)
    assert "4 sentences" in capsys.readouterr().out
    assert [label.hypotheses[0].text for label in read_labels(tmp_path / "job")] == [t for _, t in sentences(4)]
