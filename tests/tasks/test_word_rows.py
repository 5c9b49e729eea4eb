"""Words in rows of their own: tables whose column numbers the sentences, and CoNLL files of any order of columns."""

import random
from pathlib import Path

import pytest

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks import TaskData, load_task
from distiller.tasks.data import TaggedSplit
from distiller.tasks.new_texts import Form, read_new_texts

SENTENCES = [
    [(name, "NNP", "B-per"), (verb, "VBZ", "O"), (place, "NNP", "B-geo")]
    for name, verb, place in zip(
        ["Anna", "Bob", "Ada", "Eve"], ["sees", "leaves", "likes", "has"], ["Rome", "Oslo", "Bonn", "Bern"], strict=True
    )
]
WORDS = tuple(tuple(word for word, _, _ in sentence) for sentence in SENTENCES)


def tagged(data: TaskData) -> list[tuple[tuple[str, ...], list[str]]]:
    """The sentences of the training rows with their tags as words."""
    split = data.splits["train"]
    assert isinstance(split, TaggedSplit)
    assert split.tags is not None
    tags = [[data.labels[tag] for tag in row] for row in split.tags]
    return list(zip(split.words, tags, strict=True))


EXPECTED = [(words, [tag for _, _, tag in sentence]) for words, sentence in zip(WORDS, SENTENCES, strict=True)]


def write_table(path: Path, column: str, *, everywhere: bool) -> Path:
    lines = [f"{column},Word,POS,Tag"]
    for number, sentence in enumerate(SENTENCES, start=1):
        for position, cells in enumerate(sentence):
            named = f"Sentence: {number}" if everywhere or position == 0 else ""
            lines.append(",".join([named, *cells]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("column", ["Sentence #", "sentence_id", "sent_idx", "sentence", "sentid"])
def test_a_column_says_of_which_sentence_a_word_is(tmp_path: Path, column: str, everywhere: bool) -> None:
    path = write_table(tmp_path / "ner.csv", column, everywhere=everywhere)
    data = load_task(Task(train=str(path), dev=str(path), text="Word", label="Tag"))
    assert tagged(data) == EXPECTED
    assert any(f"the words of each `{column}`" in note for note in data.notes)
    parts = load_task(Task(train=str(path), dev=str(path), text="Word", label="POS", kind="tagging"))
    assert parts.labels == ("NNP", "VBZ")
    new = read_new_texts(path, Form(Task(text="Word", label="Tag")), tagging=True)
    assert new.words == list(WORDS)


def test_a_word_without_a_tag_is_named_by_the_line_of_its_sentence(tmp_path: Path) -> None:
    path = write_table(tmp_path / "ner.csv", "Sentence #", everywhere=False)
    path.write_text(path.read_text(encoding="utf-8").replace("leaves,VBZ,O", "leaves,VBZ,"), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 5, word 2: `Tag` is"):
        load_task(Task(train=str(path), dev=str(path), text="Word", label="Tag"))
    data = load_task(Task(train=str(path), dev=str(path), text="Word", label="Tag", skip_bad=True))
    assert tagged(data) == [EXPECTED[0], *EXPECTED[2:]]


PARTS = [["DET", "NOUN", "VERB"], ["PRON", "VERB"], ["ADJ", "NOUN", "VERB", "NOUN"], ["NOUN", "VERB"]]


def test_parts_of_speech_are_tags_of_words(tmp_path: Path) -> None:
    """In rows of their own, and between blanks where sentences of several lengths have as many as words."""
    rows = [f"{number},{part.lower()}{number},{part}" for number, said in enumerate(PARTS) for part in said]
    path = tmp_path / "words.csv"
    path.write_text("\n".join(["sentence_id,text,label", *rows]), encoding="utf-8")
    data = load_task(Task(train=str(path), dev=str(path)))
    assert [tags for _, tags in tagged(data)] == PARTS
    lines = [f"{' '.join(f'w{n}{part}' for n, part in enumerate(said))},{' '.join(said)}" for said in PARTS]
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    data = load_task(Task(train=str(path), dev=str(path)))
    assert [tags for _, tags in tagged(data)] == PARTS
    path.write_text("\n".join(["text,label", *lines, "a dull film,very bad"]), encoding="utf-8")
    assert load_task(Task(train=str(path), dev=str(path))).kind == "classification"


def test_what_has_a_sentence_in_each_row_stays_a_table_of_rows(tmp_path: Path) -> None:
    """Of aspects of one word each, with classes that mark no entities, and of rows that are sentences."""
    aspects = tmp_path / "aspects.csv"
    lines = [f"s{n // 3},word{n},{('good', 'bad')[n % 2]}" for n in range(12)]
    aspects.write_text("\n".join(["sentence_id,text,label", *lines]), encoding="utf-8")
    assert load_task(Task(train=str(aspects))).kind == "classification"
    path = tmp_path / "rows.csv"
    lines = [f"{n},Ann sees{n} Rome,B-per O B-geo" for n in range(12)]
    path.write_text("\n".join(["sentence_id,text,label", *lines]), encoding="utf-8")
    data = load_task(Task(train=str(path), dev=str(path)))
    assert tagged(data)[3] == (("Ann", "sees3", "Rome"), ["B-per", "O", "B-geo"])


ORDERS = {
    "word tag": "{word} {tag}",
    "word part chunk tag": "{word} {part} B-NP {tag}",
    "number word tag": "{number}\t{word}\t{tag}",
    "number word part tag": "{number} {word} {part} {tag}",
    "tag word": "{tag}\t{word}",
    "tag start end word": "{tag}\t{start}\t{end}\t{word}",
    "tag part word": "{tag} {part} {word}",
}


@pytest.mark.parametrize("order", ORDERS)
def test_words_and_tags_of_a_conll_file_are_found(tmp_path: Path, order: str) -> None:
    path = tmp_path / "train.conll"
    blocks: list[str] = []
    for sentence in SENTENCES:
        cells = [
            {"word": word, "part": part, "tag": tag, "number": at, "start": 5 * at, "end": 5 * at + len(word)}
            for at, (word, part, tag) in enumerate(sentence, start=1)
        ]
        blocks.append("\n".join(ORDERS[order].format(**one) for one in cells))
    path.write_text("-DOCSTART- -X- O O\n\n" + "\n\n".join(blocks) + "\n", encoding="utf-8")
    data = load_task(Task(train=str(path), dev=str(path)))
    assert tagged(data) == EXPECTED
    names = order.split()
    said = f"words are taken from column {names.index('word') + 1} of {len(names)}, tags from column"
    assert any(said in note for note in data.notes) == (order != "word tag")
    assert read_new_texts(path, Form(Task()), tagging=True).words == list(WORDS)


def test_words_with_their_numbers_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.conll"
    path.write_text("1 Anna\n2 sees\n\n1 Bob\n2 leaves\n", encoding="utf-8")
    assert read_new_texts(path, Form(Task()), tagging=True).words == [("Anna", "sees"), ("Bob", "leaves")]


def test_numbers_are_words_and_tags_where_there_is_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_text("7 1\n8 0\n\n9 0\n5 1\n", encoding="utf-8")
    data = load_task(Task(train=str(path), dev=str(path), columns=["text", "label"]))
    assert tagged(data) == [(("7", "8"), ["1", "0"]), (("9", "5"), ["0", "1"])]
    path.write_text("Anna 1\nsees 0\n\nBob 1\nsees 0\n", encoding="utf-8")
    assert tagged(load_task(Task(train=str(path), dev=str(path))))[1] == (("Bob", "sees"), ["1", "0"])


def test_a_last_column_of_words_is_not_taken_for_tags(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "train.conll"
    lines = [f"{rng.choice(['NN', 'VB', 'DT'])} word{n}" + ("\n" if n % 9 == 8 else "") for n in range(200)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="200 different tags in its column 2, more than words in its column 1") as error:
        load_task(Task(train=str(path)))
    assert "task.columns" in str(error.value.hint)
    assert load_task(Task(train=str(path), columns=["label", "text"])).labels == ("DT", "NN", "VB")
