"""Tagged sentences from files and data sets: what comes out, and every way in which they can be wrong."""

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.config import Task
from distiller.errors import ConfigError
from distiller.tasks import load_task
from distiller.tasks.conll import read_conll
from distiller.tasks.data import TaggedSplit, TaskData
from tasks.tiny import refused

GOOD = "EU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\nBlackburn NNP I-PER\n"


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def rows(data: TaskData, split: str) -> TaggedSplit:
    found = data.splits[split]
    assert isinstance(found, TaggedSplit)
    return found


def written(data: TaskData, split: str = "train") -> list[list[tuple[str, str]]]:
    found = rows(data, split)
    assert found.tags is not None
    return [
        [(word, data.labels[tag]) for word, tag in zip(*row, strict=True)]
        for row in zip(found.words, found.tags, strict=True)
    ]


# Counted with awk over the files: runs of lines with content, and such lines; tags with `cut | sort -u`.
UD_EWT = {"train": (12544, 204577), "dev": (2001, 25147), "test": (2077, 25094)}


@pytest.mark.parametrize(("label", "tags"), [("upos", 17), ("xpos", 49)])
def test_ud_ewt_is_read_whole(shared: Path, label: str, tags: int) -> None:
    folder = shared / "data" / "ud_en_ewt"
    chosen: Any = {} if label == "upos" else {"label": label}
    data = load_task(Task(name="ud-ewt", data=str(folder), **chosen))
    assert (data.kind, data.metric, data.published_max_length, data.skipped) == ("tagging", "token_accuracy", 128, {})
    for split, counts in UD_EWT.items():
        found = rows(data, split)
        assert (len(found), sum(map(len, found.words))) == counts
        lines = (folder / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        column = 1 if label == "upos" else 2
        oracle = [
            [(cells[0], cells[column]) for cells in (line.split("\t") for line in block)]
            for there, block in groupby(lines, key=bool)
            if there
        ]
        assert written(data, split) == oracle
    assert len(data.labels) == tags
    assert data.labels == tuple(sorted(data.labels))


def test_ud_ewt_in_the_official_files(tmp_path: Path) -> None:
    text = (
        "# newdoc id = a\n# sent_id = 1\n"
        "1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n"
        "1\tdo\tdo\tAUX\tVBP\t_\t2\taux\t_\t_\n"
        "2\tn't\tnot\tPART\tRB\t_\t0\troot\t_\t_\n"
        "2.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_\n"
        "3\t#\t#\tSYM\tNN\t_\t2\tdep\t_\t_\n\n"
        "# sent_id = 2\n1\t20 000\t20000\tNUM\tCD\t_\t0\troot\t_\t_\n\n"
    )
    for split in ("train", "dev"):
        write(tmp_path / f"en_ewt-ud-{split}.conllu", text)
    data = load_task(Task(name="ud-ewt", data=str(tmp_path), label="xpos"))
    assert written(data) == [[("do", "VBP"), ("n't", "RB"), ("#", "NN")], [("20 000", "CD")]]
    assert set(data.splits) == {"train", "dev"}
    file = str(tmp_path / "en_ewt-ud-train.conllu")
    assert written(load_task(Task(train=file, dev=file)))[0] == [("do", "AUX"), ("n't", "PART"), ("#", "SYM")]
    assert written(load_task(Task(train=file, dev=file, text="lemma", label="deprel")))[1] == [("20000", "root")]


def test_ud_ewt_says_what_it_needs(tmp_path: Path) -> None:
    assert "needs the folder" in refused(Task(name="ud-ewt"), ConfigError).message
    assert "has no `train.tsv` or" in refused(Task(name="ud-ewt", data=str(tmp_path))).message
    assert "no tags `upso`" in refused(Task(name="ud-ewt", data=str(tmp_path), label="upso"), ConfigError).message
    assert "task.columns" in refused(Task(name="ud-ewt", data=str(tmp_path), columns=["a"]), ConfigError).message


SENTENCES = [[("EU", "B-ORG"), ("rejects", "O")], [("Peter", "B-PER"), ("Blackburn", "I-PER")]]


@pytest.mark.parametrize("ending", [".conll", ".bio", ".iob", ".iob2", ".txt", ".tsv"])
@pytest.mark.parametrize("separator", ["\t", " ", "   "])
def test_columns_are_separated_by_tabs_or_spaces(tmp_path: Path, ending: str, separator: str) -> None:
    text = "\ufeff-DOCSTART- -X- O\n\n".replace(" ", separator) + GOOD.replace(" ", separator).replace("\n", "\r\n")
    file = write(tmp_path / f"ner{ending}", text)
    kind: Any = {"kind": "tagging"} if ending in (".txt", ".tsv") else {}
    data = load_task(Task(train=file, dev=file, **kind))
    assert (data.name, data.kind, data.labels) == ("ner", "tagging", ("B-ORG", "B-PER", "I-PER", "O"))
    assert data.metrics == ("entity_f1", "entity_precision", "entity_recall", "token_accuracy")
    assert written(data) == written(data, "dev") == SENTENCES
    task = Task(train=file, dev=file, columns=["token", "pos", "ner"], text="token", label="pos", **kind)
    assert written(load_task(task))[1] == [("Peter", "NNP"), ("Blackburn", "NNP")]
    assert load_task(task).metrics == ("token_accuracy", "token_f1_macro")


def test_a_hash_is_a_word_where_it_has_its_columns(tmp_path: Path) -> None:
    text = "# text = #1 a b c\n# SYM O\n1 NUM O\n\n#begin document x\na DET B-X\n# SYM O\n\n# only a comment\n\n\n"
    for name, separator in (("spaces.conll", " "), ("tabs.conll", "\t")):
        told = text.replace(" O", f"{separator}O").replace(" B-X", f"{separator}B-X")
        for tag in ("SYM", "NUM", "DET"):
            told = told.replace(f" {tag}", f"{separator}{tag}")
        table = read_conll(write(tmp_path / name, told))
        assert table.columns["text"] == (("#", "1"), ("a", "#"))
        assert list(table.lines or ()) == [2, 6]


WORD = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=4).filter(lambda w: w[0] not in "#-")


@given(said=st.lists(st.lists(st.tuples(WORD, st.sampled_from("AB")), min_size=1, max_size=4), min_size=1, max_size=4))
@settings(deadline=None, max_examples=50)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, said: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "again.conll"
    for separator in ("\t", " "):
        path.write_text("\n\n".join("\n".join(map(separator.join, one)) for one in said), encoding="utf-8", newline="")
        table = read_conll(path)
        columns = zip(table.columns["text"], table.columns["label"], strict=True)
        assert [list(zip(*one, strict=True)) for one in columns] == said


def test_lists_in_json_lines_and_parquet(tmp_path: Path) -> None:
    objects = [{"tokens": [w for w, _ in s], "ner": [t for _, t in s]} for s in SENTENCES]
    named: Any = {"text": "tokens", "label": "ner"}
    lines = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, objects)))
    assert written(load_task(Task(train=lines, dev=lines, **named))) == SENTENCES
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.Table.from_pylist(objects), tmp_path / "a.parquet")
    file = str(tmp_path / "a.parquet")
    assert written(load_task(Task(train=file, dev=file, **named))) == SENTENCES
    labels = ["O", "B-PER", "I-PER", "B-ORG"]
    ids = [{**one, "ner": [labels.index(tag) for tag in one["ner"]]} for one in objects]
    parquet.write_table(arrow.Table.from_pylist(ids), tmp_path / "ids.parquet")
    numbers = str(tmp_path / "ids.parquet")
    assert written(load_task(Task(train=numbers, dev=numbers, labels=labels, **named))) == SENTENCES
    assert load_task(Task(train=numbers, dev=numbers, **named)).labels == ("0", "1", "2", "3")


def test_lists_of_class_labels_in_a_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = ["O", "B-PER", "I-PER", "B-ORG"]
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "tags": datasets.List(datasets.ClassLabel(names=names))}
    )

    def made(hidden: bool) -> Any:
        tags = [[-1 if hidden else names.index(tag) for _, tag in s] for s in SENTENCES]
        columns = {"tokens": [[w for w, _ in s] for s in SENTENCES], "tags": tags}
        return datasets.Dataset.from_dict(columns, features=features)

    whole = datasets.DatasetDict({"train": made(False), "validation": made(False), "test": made(True)})
    whole.save_to_disk(str(tmp_path / "ner"))
    data = load_task(Task(data=str(tmp_path / "ner"), text="tokens", label="tags"))
    assert (data.kind, data.labels) == ("tagging", tuple(names))
    assert written(data) == written(data, "dev") == SENTENCES
    assert rows(data, "test").tags is None


def bad_lines(tmp_path: Path, *objects: Any) -> str:
    good = [{"text": ["a", f"b{n}"], "label": ["X", "Y"]} for n in range(4)]
    return write(tmp_path / "bad.jsonl", "\n".join(json.dumps(one) for one in [*good[:2], *objects, *good[2:]]))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"text": ["a", "b"], "label": ["X"]}, r"`.*bad\.jsonl`, line 3: 2 word\(s\) but 1 tag\(s\) in `label`"),
        ({"text": [], "label": []}, r"line 3: `text` is an empty list"),
        ({"text": "a b", "label": ["X", "Y"]}, r"line 3: `text` is not a list but 'a b'"),
        ({"label": ["X"]}, r"line 3: `text` is missing"),
        ({"text": ["a"], "label": []}, r"line 3: `label` is an empty list"),
        ({"text": ["a", ""], "label": ["X", "Y"]}, r"line 3, word 2: `text` is ''"),
        ({"text": ["a", 1], "label": ["X", "Y"]}, r"line 3, word 2: `text` is 1"),
        ({"text": ["a", "\ud800"], "label": ["X", "Y"]}, "line 3, word 2: `text` holds half of a surrogate pair"),
        ({"text": ["a", "b"], "label": ["X", None]}, r"line 3, word 2: `label` is None"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_or_left_out(tmp_path: Path, bad: Any, said: str) -> None:
    file = bad_lines(tmp_path, bad)
    error = refused(Task(train=file))
    assert re.search(said, error.message)
    with pytest.warns(UserWarning, match=r"bad\.jsonl`: left out 1 bad row\(s\), the first: .*line 3") as warned:
        data = load_task(Task(train=file, skip_bad=True))
    assert len(warned) == 1
    assert data.skipped == {"train": 1}
    assert sorted(rows(data, "train").ids + rows(data, "dev").ids) == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("c X\nd\n", "line 5: 1 column(s), where there should be 2"),
        ("c X\nd X Y\n", "line 5: 3 column(s), where there should be 2"),
        ("c X\n#d\n", "line 5: 1 column(s), where there should be 2"),
        ("c\tX\n\tY\n", "line 5: the column `text` is empty"),
    ],
)
def test_a_broken_line_is_named_or_its_sentence_left_out(tmp_path: Path, sentence: str, said: str) -> None:
    text = "a X\nb Y\n\n" + sentence + "\na X\nb Y\n"
    file = write(tmp_path / "bad.conll", text.replace(" ", "\t") if "\t" in sentence else text)
    assert refused(Task(train=file, dev=file)).message.endswith(said)
    with pytest.warns(UserWarning, match="left out 1 bad row"):
        data = load_task(Task(train=file, dev=write(tmp_path / "dev.conll", "a X\n"), skip_bad=True))
    assert (written(data), data.skipped) == ([[("a", "X"), ("b", "Y")]] * 2, {"train": 1})


def test_a_tag_outside_the_training_set(tmp_path: Path) -> None:
    train = write(tmp_path / "train.conll", GOOD)
    dev = write(tmp_path / "dev.conll", "# id\nEU NNP B-ORG\n\nCamel NNP B-MISC\nx y O\n")
    error = refused(Task(train=train, dev=dev))
    assert error.message == f"`{dev}`, line 4, word 1: `label` is 'B-MISC', which is not in the tag set"
    with pytest.warns(UserWarning, match="left out 1 bad row"):
        data = load_task(Task(train=train, dev=dev, skip_bad=True))
    assert (written(data, "dev"), data.skipped) == ([[("EU", "B-ORG")]], {"dev": 1})
    labels = ["O", "B-ORG", "B-PER", "I-PER", "B-MISC"]
    assert load_task(Task(train=train, dev=dev, labels=labels)).labels == tuple(labels)
    assert "a label twice" in refused(Task(train=train, dev=dev, labels=["O", "O"]), ConfigError).message


def test_files_without_anything_to_learn(tmp_path: Path) -> None:
    blank = write(tmp_path / "blank.conll", "\n \n# a comment\n\t\n\r\n")
    assert refused(Task(train=blank)).message == f"`{blank}` is empty: there is no word in it"
    one = write(tmp_path / "one.conll", "a X\nb X\n\nc X\n")
    assert "every `label` is `X`" in refused(Task(train=one, dev=one)).message
    words = write(tmp_path / "words.conll", "a\nb\n")
    assert "has no column `label`; its columns are `text`" in refused(Task(train=words, dev=words)).message
    bad = write(tmp_path / "all.jsonl", '{"text": ["a"], "label": []}\n')
    assert "no sentence that can be used" in refused(Task(train=bad, skip_bad=True)).message
    good = write(tmp_path / "good.conll", GOOD)
    assert "names `a` twice" in refused(Task(train=good, columns=["a", "b", "a"]), ConfigError).message
    assert "tagging has no pairs" in refused(Task(train=good, dev=good, text_pair="2"), ConfigError).message
    assert rows(load_task(Task(train=good, dev=good, test=words)), "test").tags is None


def test_held_out_and_limited_like_any_task(tmp_path: Path) -> None:
    file = write(tmp_path / "many.conll", "\n".join(f"w{n} {'XY'[n % 2]}\nz X\n" for n in range(40)))
    data = load_task(Task(train=file, dev_fraction=0.25, train_limit=12))
    assert [len(data.splits[name]) for name in ("train", "dev")] == [12, 10]
    assert not set(rows(data, "train").ids) & set(rows(data, "dev").ids)
    for split in ("train", "dev"):
        found = rows(data, split)
        assert [row[0] for row in found.words] == [f"w{n}" for n in found.ids]
    assert data.fingerprint == load_task(Task(train=file, dev_fraction=0.25, train_limit=12)).fingerprint
    assert data.fingerprint != load_task(Task(train=file, dev_fraction=0.25, train_limit=11)).fingerprint


def test_splits_refuse_tags_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="not every word has one tag"):
        TaggedSplit("x", (("a", "b"),), ((1,),))
    assert TaggedSplit("x", (("a",),), ((1,),)).fingerprint != TaggedSplit("x", (("a",),), ((0,),)).fingerprint
