"""The card of a student: metadata that the hub's own parser reads, and nothing in a text that breaks it."""

import yaml
from huggingface_hub import ModelCard

from distiller.run.card import card
from report.test_report import HOSTILE
from report.test_run_page import record


def test_the_hub_reads_its_metadata() -> None:
    made = ModelCard(card(record()))
    data = made.data.to_dict()
    assert data["pipeline_tag"] == "text-classification"
    assert data["model-index"][0]["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.8}
    assert "base_model" not in data  # a folder is no model of the hub
    assert "0.8000 ± 0.0141" in made.text
    assert "100 development rows, means over 2 seeds" in made.text
    assert "| teacher | 0.9000 | 22,000,000 |" in made.text
    repeated = yaml.safe_load(made.text.split("```yaml\n")[1].split("```")[0])
    assert repeated["teacher"]["model"] == "./teachers/big"


def test_a_name_of_the_hub_is_said_as_one() -> None:
    one = record()
    run = one.run.model_copy(update={"teacher": one.run.teacher.model_copy(update={"model": "org/big-model"})})
    assert ModelCard(card(one.model_copy(update={"run": run}))).data.to_dict()["base_model"] == "org/big-model"


def test_texts_of_the_data_stay_in_their_place() -> None:
    text = card(record(f"{HOSTILE}\n---\n| a | `b`"))
    made = ModelCard(text)
    assert "<img" not in made.text
    assert made.data.to_dict()["library_name"] == "transformers"
    table = [line for line in made.text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {6}
