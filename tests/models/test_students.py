from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, RobertaConfig

from distiller.config import Student
from distiller.errors import ConfigError, ModelError
from distiller.models.architectures import ARCHITECTURES, architecture
from distiller.models.cost import parameter_count
from distiller.models.folders import load_tokenizer
from distiller.models.load import load_model
from distiller.models.students import build_student, picked_layers, same_vocabulary, student_config, student_tokenizer
from models.tiny import FAMILIES, WORDS, tiny_model, tiny_tokenizer

# ALGORITHMS.md section 7.2: the published checkpoints, counted without their task heads.
TABLE_6 = {
    "bert-base": 109_482_240,
    "roberta-large": 355_359_744,
    "electra-large": 334_092_288,
    "tinybert-6": 66_955_008,
    "bert-pkd-4": 52_779_264,
    "bert-medium": 41_373_184,
    "bert-small": 28_763_648,
    "tinybert-4": 14_350_248,
    "electra-small": 13_483_008,
    "bert-mini": 11_170_560,
    "bert-tiny": 4_385_920,
    "distilbert": 66_362_880,
}


def build(student: Student, teacher=None, **options):
    given = {"kind": "classification", "labels": ["neg", "pos"], "seed": 3, "teacher_tokenizer": tiny_tokenizer()}
    return build_student(student, teacher_model=teacher or tiny_model("bert", vocab_size=len(WORDS)), **given | options)


def layer_weights(model, layer: int) -> dict[str, torch.Tensor]:
    mark = f".{layer}."
    return {name.partition(mark)[2]: value for name, value in model.base_model.state_dict().items() if mark in name}


@pytest.mark.parametrize("name", TABLE_6)
def test_parameter_counts_of_table_6(name: str) -> None:
    assert architecture(name).parameters == TABLE_6[name]
    with torch.device("meta"):
        model = AutoModel.from_config(architecture(name).config())
    assert sum(parameter.numel() for parameter in model.parameters()) == TABLE_6[name]


def test_the_table_has_every_row() -> None:
    assert set(ARCHITECTURES) == set(TABLE_6)
    with pytest.raises(ConfigError, match="bert-tinny") as error:
        architecture("bert-tinny")
    assert error.value.hint == "did you mean `bert-tiny`?"


@given(source=st.integers(1, 24), keep=st.integers(1, 24))
def test_picked_layers_are_in_range_and_in_order(source: int, keep: int) -> None:
    for pick in ("first", "last", "every"):
        if keep > source:
            with pytest.raises(ModelError, match="cannot start from"):
                picked_layers(pick, source=source, keep=keep)
        else:
            found = picked_layers(pick, source=source, keep=keep)
            assert found == sorted(set(found))
            assert len(found) == keep
            assert {*found} <= {*range(source)}
            assert pick == "first" or found[-1] == source - 1


def test_every_keeps_the_last_layer_of_each_block() -> None:
    assert picked_layers("every", source=6, keep=3) == [1, 3, 5]
    assert picked_layers("every", source=12, keep=4) == [2, 5, 8, 11]
    assert picked_layers("last", source=12, keep=4) == [8, 9, 10, 11]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("pick", "kept"), [("first", [0, 1]), ("last", [2, 3]), ("every", [1, 3]), ([3, 1], [3, 1])], ids=str
)
def test_teacher_layers_are_copied_bit_for_bit(family: str, pick, kept: list[int]) -> None:
    teacher = tiny_model(family)
    layers = None if isinstance(pick, list) else 2
    student, _ = build(Student(layers=layers, pick=pick), teacher)
    assert student.config.num_hidden_layers == 2
    for ours, theirs in enumerate(kept):
        copied, source = layer_weights(student, ours), layer_weights(teacher, theirs)
        assert copied
        assert all(torch.equal(value, source[name]) for name, value in copied.items())
    stored = teacher.state_dict()
    rest = {n: v for n, v in student.state_dict().items() if ".layer." not in n and ".layers." not in n}
    assert len(rest) > 4
    assert all(torch.equal(value, stored[name]) for name, value in rest.items())  # embeddings, pooler and head
    assert teacher.config.num_hidden_layers == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_full_copy_computes_what_the_teacher_computes(family: str) -> None:
    teacher, ids = tiny_model(family), torch.randint(3, 13, (2, 6), generator=torch.Generator().manual_seed(0))
    student, _ = build(Student(), teacher, attention="eager")
    assert student.training
    assert torch.equal(student.eval()(ids).logits, teacher(ids).logits)
    student.base_model.get_input_embeddings().weight.data.zero_()
    assert teacher.get_input_embeddings().weight.abs().sum() > 0


def test_real_weights_with_fewer_layers(shared: Path) -> None:
    place = str(shared / "models" / "minilm-l6-h384")
    source = load_model(place, kind="classification", labels=["neg", "pos"])
    student, tokenizer = build(Student(model=place, layers=3))
    for ours, theirs in enumerate([1, 3, 5]):
        source_layer = layer_weights(source, theirs)
        assert all(torch.equal(value, source_layer[name]) for name, value in layer_weights(student, ours).items())
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
    assert len(tokenizer) == 30522
    again, _ = build(Student(model=place, architecture=None, layers=1, pick=[4]))
    assert torch.equal(layer_weights(again, 0)["output.dense.weight"], layer_weights(source, 4)["output.dense.weight"])


def test_an_architecture_on_real_weights(shared: Path) -> None:
    place = str(shared / "models" / "bert-tiny")
    student, _ = build(Student(architecture="bert-tiny", model=place))
    assert parameter_count(student, head=False) == TABLE_6["bert-tiny"]
    with pytest.raises(ModelError, match="a student 256 wide cannot take layers that are 128 wide"):
        build(Student(architecture="bert-mini", model=place))


def test_random_students_come_from_the_seed_alone() -> None:
    spec = Student(config={"hidden_size": 16, "intermediate_size": 24}, layers=1)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, _ = build(spec, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two, _ = build(spec, seed=3)
    other, _ = build(spec, seed=4)
    assert one.config.hidden_size == 16
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert not torch.equal(
        one.bert.encoder.layer[0].output.dense.weight, other.bert.encoder.layer[0].output.dense.weight
    )


@pytest.mark.parametrize("name", ["bert-tiny", "electra-small"])
def test_a_random_student_reads_the_teachers_tokens(name: str) -> None:
    tokenizer = tiny_tokenizer([*WORDS, "extra"])
    student, found = build(Student(architecture=name, layers=1), teacher_tokenizer=tokenizer)
    assert found is tokenizer
    assert student.config.vocab_size == len(WORDS) + 1
    student(**tokenizer("the quick fox", "was good", return_tensors="pt"))


def test_a_random_student_of_another_family_takes_the_teachers_token_types() -> None:
    tokenizer = tiny_tokenizer()
    teacher = tiny_model("roberta", type_vocab_size=1, vocab_size=len(WORDS))
    assert isinstance(teacher.config, RobertaConfig)
    student, _ = build(Student(init="random", layers=1), teacher, teacher_tokenizer=tokenizer)
    assert student.config.pad_token_id == tokenizer.pad_token_id
    student(**tokenizer("the quick fox", "was good", return_tensors="pt"))


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "distilbert", "mpnet"])
def test_dropout_of_every_family(family: str) -> None:
    student, _ = build(Student(dropout=0.0, attention_dropout=0.0, layers=2), tiny_model(family))
    ids = torch.randint(3, 13, (2, 6))
    hidden = [student.base_model(ids).last_hidden_state for _ in range(2)]
    assert torch.equal(*hidden)
    noisy, _ = build(Student(dropout=0.0, attention_dropout=0.5, layers=2), tiny_model(family))
    assert not torch.equal(*[noisy.base_model(ids).last_hidden_state for _ in range(2)])


def test_regression_students() -> None:
    student, _ = build(Student(layers=1), kind="regression", labels=None)
    assert student(torch.tensor([[2, 5, 3]])).logits.shape == (1, 1)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Student(layers=5), "a student of 5 layers cannot start from a source of 4"),
        (Student(pick=[0, 9]), "no layer 9"),
        (Student(pick=[0, 1], layers=3), "names 2 layers for a student of 3"),
        (Student(config={"hidden_size": 16}, init="teacher"), "16 wide cannot take layers that are 32 wide"),
        (Student(config={"intermediate_size": 64}, init="teacher"), "has shape"),
        (Student(architecture="distilbert", init="teacher"), "`distilbert` student cannot take"),
        (Student(config={"num_attention_heads": 5}, init="random"), "cannot be built"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_said_in_words(spec: Student, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Student(init="pretrained"), "without pretrained weights"),
        (Student(config={"hiden_size": 16}), "no field `hiden_size`"),
        (Student(config={"hidden_size": "wide"}), "hidden_size"),
        (Student(architecture="bert-huge"), "bert-huge"),
    ],
    ids=str,
)
def test_impossible_configurations(spec: Student, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(spec)


def test_the_configuration_can_be_had_without_weights() -> None:
    teacher = tiny_model("bert").config
    assert student_config(Student(layers=2), teacher=teacher).num_hidden_layers == 2
    assert student_config(Student(architecture="bert-pkd-4"), teacher=teacher).hidden_size == 768
    with pytest.raises(ModelError, match="cannot start from"):
        student_config(Student(layers=6), teacher=teacher)


def test_same_vocabulary(shared: Path) -> None:
    tiny, mini = (load_tokenizer(shared / "models" / name) for name in ("bert-tiny", "minilm-l6-h384"))
    assert same_vocabulary(tiny, mini)
    assert not same_vocabulary(tiny, tiny_tokenizer())
    assert not same_vocabulary(tiny_tokenizer(do_lower_case=True), tiny_tokenizer(do_lower_case=False))
    assert not same_vocabulary(tiny_tokenizer(), tiny_tokenizer([*WORDS[:-2], *WORDS[:-3:-1]]))
    own = student_tokenizer(Student(model=str(shared / "models" / "bert-tiny")), tiny_tokenizer())
    assert same_vocabulary(own, tiny)
