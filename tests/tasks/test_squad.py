"""Question data: the real files, other layouts of the same rows, and rows that cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distiller.config import Task
from distiller.errors import ConfigError, DataError
from distiller.tasks import load_task
from distiller.tasks.data import Answer, QuestionSplit
from distiller.tasks.squad import DEV_QUESTIONS

CONTEXT = "Über 24–10: the café won."


def entry(key: Any = "q1", question: Any = "Who won?", answers: Any = (("café", 16),), **more: Any) -> dict[str, Any]:
    return {"id": key, "question": question, "answers": [{"text": t, "answer_start": s} for t, s in answers], **more}


def squad_file(*entries: Any, context: Any = CONTEXT) -> dict[str, Any]:
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(entries)}]}]}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    """Loads a file with these contents as training and development data."""

    def loaded(content: Any, **fields: Any) -> Any:
        path = tmp_path / "train.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        (tmp_path / "dev.json").write_text(json.dumps(squad_file(entry())), encoding="utf-8")
        return load_task(Task(**{"train": str(path), "dev": str(tmp_path / "dev.json"), "kind": "qa", **fields}))

    return loaded


def questions(data: Any, split: str = "train") -> QuestionSplit:
    assert isinstance(data.splits[split], QuestionSplit)
    return data.splits[split]


@pytest.mark.filterwarnings("error")
def test_every_question_of_the_real_files_can_be_used(shared: Path) -> None:
    folder = shared / "data" / "squad"
    data = load_task(Task(name="squad", data=str(folder)))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 7691, "dev": DEV_QUESTIONS}
    assert (data.kind, data.labels, data.metrics, data.skipped) == ("qa", (), ("answer_f1", "exact_match"), {})
    assert data.published_max_length == 320
    dev = questions(data, "dev")
    raw = [
        (paragraph["context"], one)
        for article in json.loads((folder / "dev-v1.1.json").read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for one in paragraph["qas"]
    ]
    assert dev.question_ids == tuple(one["id"] for _, one in raw)
    assert dev.contexts == tuple(context for context, _ in raw)
    for row in range(0, len(dev), 501):
        assert dev.questions[row] == raw[row][1]["question"]
        assert (dev.answers or ())[row] == tuple(Answer(a["text"], a["answer_start"]) for a in raw[row][1]["answers"])


@pytest.mark.filterwarnings("ignore:`squad` has")
def test_a_file_a_table_and_a_data_set_hold_the_same_questions(load: Callable[..., Any], tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    entries = [entry(), entry("q2", "What?", [("café", 16), ("the café", 12)])]
    file = questions(load(squad_file(*entries)))
    rows = [
        {"id": f"q{n}", "context": CONTEXT, "question": question, "answers": answers}
        for n, question, answers in (
            (1, "Who won?", {"text": ["café"], "answer_start": [16]}),
            (2, "What?", {"text": ["café", "the café"], "answer_start": [16, 12]}),
        )
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    DatasetDict({"train": Dataset.from_list(rows), "validation": Dataset.from_list(rows)}).save_to_disk(
        str(tmp_path / "saved")
    )
    table = questions(load(squad_file(entry()), train=str(tmp_path / "rows.jsonl")))
    hub = load_task(Task(name="squad", data=str(tmp_path / "saved")))
    assert file.answers == ((Answer("café", 16),), (Answer("café", 16), Answer("the café", 12)))
    assert file == table == questions(hub)
    assert file.fingerprint == table.fingerprint == questions(hub, "dev").fingerprint
    assert file.fingerprint != file.take([1, 0]).fingerprint
    assert file.take([1]).question_ids == ("q2",)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "cells",
    [
        {"answers": ["café"]},
        {"answers": "café"},
        {"answers": [{"text": "café"}]},
        {"answers": {"text": ["café"]}},
        {"answers": '{"text": ["café"], "answer_start": [16]}'},
        {"answers": "{'text': array(['café'], dtype=object), 'answer_start': array([16], dtype=int32)}"},  # pandas
        {"answer": "café"},
        {"answer_text": "café", "answer_start": "16.0", "is_impossible": "False"},
    ],
    ids=str,
)
def test_answers_are_read_as_tables_have_them(load: Callable[..., Any], tmp_path: Path, cells: dict[str, Any]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": "q1", "question": "Who?", "context": CONTEXT, **cells}), encoding="utf-8")
    assert questions(load(squad_file(entry()), train=str(path))).answers == ((Answer("café", 16),),)


def test_an_answer_that_says_no_place_stands_where_it_stands_first(load: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"question": "Who?", "context": f"{n}: the café, that café", "answers": ["café"]} for n in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.warns(UserWarning, match="answers to 3 question.s. have no `answer_start` and stand several times"):
        data = load(squad_file(entry()), train=str(path))
    assert questions(data).answers == ((Answer("café", 7),),) * 3
    rows[1]["answers"] = ["tea"]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match="line 2, question `2`: the answer 'tea' is not in its context"):
        load(squad_file(entry()), train=str(path))


def test_a_squad_file_needs_no_kind(load: Callable[..., Any]) -> None:
    assert load(squad_file(entry()), kind=None).kind == "qa"


def test_held_out_questions_are_about_contexts_of_their_own(load: Callable[..., Any]) -> None:
    texts = [f"{n} {CONTEXT}" for n in range(6)]
    content = squad_file()
    content["data"][0]["paragraphs"] = [
        {"context": text, "qas": [entry(f"{n}-{q}", answers=[("café", 18)]) for q in range(3)]}
        for n, text in enumerate(texts)
    ]
    data = load(content, dev=None, dev_fraction=0.3)
    train, dev = questions(data), questions(data, "dev")
    assert (len(train), len(dev)) == (12, 6)
    assert not set(train.contexts) & set(dev.contexts)
    with pytest.raises(DataError, match="about one context"):
        load(squad_file(entry(), entry("q2")), dev=None)


def test_answers_of_a_test_split_may_be_hidden(load: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps(squad_file(entry(answers=()))), encoding="utf-8")
    assert questions(load(squad_file(entry()), test=str(tmp_path / "test.json")), "test").answers is None


BAD = {
    "offset": (entry("q2", answers=[("café", 15)]), r"question `q2`: the answer 'café' is not at character 15"),
    "beyond": (entry("q2", answers=[("café", 999)]), r"not at character 999 of its context, where there is nothing"),
    "negative": (entry("q2", answers=[("café", -9)]), r"not at character -9"),
    "no number": (entry("q2", answers=[("café", "16")]), r"`answer_start` is '16'"),
    "no answer": ({**entry("q2"), "answers": None}, r"question `q2` has no answer"),
    "empty answer": (entry("q2", answers=[("", 3)]), r"`answer text` is empty"),
    "both": (entry("q2", is_impossible=True), r"`is_impossible` is true, and there are answers"),
    "twice": (entry("q1"), r"row 2: the id `q1` is also that of row 1"),
    "no id": (entry(None), r"row 2: `id` is missing"),
    "empty question": (entry("q2", "  "), r"question `q2`: `question` is empty"),
    "odd question": (entry("q2", ["Who?"]), r"`question` is \['Who\?'\]"),
    "surrogate": (entry("q2", "Who \ud83d?"), r"half of a surrogate pair at character 4"),
    "odd answers": ({**entry("q2"), "answers": 7}, r"`answers` is 7"),
    "no object": ("q2", r"paragraph 1: question 2 is not an object but 'q2'"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_question_is_named_or_left_out(load: Callable[..., Any], name: str) -> None:
    bad, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        load(squad_file(entry(), bad))
    assert "train.json" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2
    with pytest.warns(UserWarning, match=r"train\.json`: left out 1 bad row\(s\), the first: .*" + message):
        data = load(squad_file(entry(), bad, entry("q3")), skip_bad=True)
    assert (questions(data).question_ids, dict(data.skipped)) == (("q1", "q3"), {"train": 1})


@pytest.mark.filterwarnings("ignore:.*left out")
def test_what_is_no_squad_file_is_said(load: Callable[..., Any]) -> None:
    for content, message in (
        ("{", "not JSON"),
        ({"articles": []}, "no list `data`"),
        ({"data": [{"title": "t"}]}, "article 1: there is no list `paragraphs`"),
        ({"data": [{"paragraphs": [{"context": "c"}]}]}, "article 1, paragraph 1: there is no list `qas`"),
        ({"data": []}, "no question that can be used"),
        (squad_file(entry(), context=" "), "question `q1`: `context` is empty"),
        (squad_file(entry(), context=None), "question `q1`: `context` is missing"),
        ([{"text": "t", "label": "l"}], "no column `question`; its columns are `text`, `label`"),
        ([{"question": "q", "text": "t"}], "no column `context`; its columns are `question`, `text`(\\n|$)"),
    ):
        with pytest.raises(DataError, match=message):
            load(content)
    with pytest.raises(DataError, match="no question that can be used"):
        load(squad_file(entry(), context=" "), skip_bad=True)


def test_fields_without_meaning_are_refused(load: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"task\.text_pair has no meaning for question answering"):
        load(squad_file(entry()), text_pair="context")


def test_the_folder_of_squad(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs its data"):
        load_task(Task(name="squad"))
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        with pytest.raises(DataError):
            load_task(Task(name="squad", data=str(tmp_path)))
        (tmp_path / name).write_text(json.dumps(squad_file(entry())), encoding="utf-8")
    with pytest.warns(UserWarning, match="has 1 development questions, the official ones are 10570"):
        data = load_task(Task(name="squad", data=str(tmp_path)))
    assert (data.name, len(data.splits["train"])) == ("squad", 1)
    (tmp_path / "train-more.json").write_text(json.dumps(squad_file(entry("a"), entry("b"))), encoding="utf-8")
    with pytest.raises(DataError, match=r"several train files: `train-more\.json`, `train-v1\.1\.json`"):
        load_task(Task(name="squad", data=str(tmp_path)))
    with pytest.warns(UserWarning, match="not comparable"):
        data = load_task(Task(name="squad", data=str(tmp_path), train="train-more.json", dev="dev-v1.1.json"))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2, "dev": 1}
