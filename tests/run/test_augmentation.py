"""Runs with an augmentation policy: reproduced, resumed, counted, and refused where it makes no sense."""

from pathlib import Path
from typing import Any

import pytest

import distiller
from distiller.augment.operators import AUGMENTERS
from distiller.config import parse_run
from distiller.errors import ConfigError
from distiller.run.plan import make_plan
from distiller.tasks import load_task
from distiller.training.teacher import FrozenTeacher
from run.tiny import FAST, Cut, Workshop, cut_after, repeatable

SWAP = {"name": "random", "options": {"ra_mode": "swap", "alpha": 0.3}}
POLICY: dict[str, Any] = {
    "augmentation": [SWAP, "mixup"],
    "training": FAST | {"epochs": 2, "log_every": 2, "threads": 1},
}


def run(shop: Workshop, folder: Path, **fields: Any) -> distiller.Run:
    return parse_run(shop.run(folder, **POLICY | fields))


@pytest.fixture(scope="module")
def whole(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], distiller.Record]:
    folder = tmp_path_factory.mktemp("augmented")
    record = distiller.distil(run(shop, folder))
    return repeatable(folder / "out"), record


def seeds(found: dict[str, Any]) -> Any:
    return found["seeds"], found["score"], found["student"]


def losses(record: distiller.Record) -> list[float]:
    return [value for entry in record.seeds[0].history for name, value in entry.items() if name.startswith("loss/")]


def test_every_term_of_both_views_is_in_the_log(whole: tuple[dict[str, Any], distiller.Record]) -> None:
    logged = {name for entry in whole[1].seeds[0].history for name in entry if name.startswith("loss/")}
    terms = ("prediction", "label", "mse")
    assert logged == {f"loss/{prefix}{term}" for prefix in ("", "augmented_") for term in terms}


def test_what_the_policy_did_is_counted(whole: tuple[dict[str, Any], distiller.Record]) -> None:
    counts = whole[1].cost.augmentation
    assert counts["random.texts"] == 2 * 160
    assert 0 <= counts.get("random.unchanged", 0) < 320
    assert 0 <= whole[1].cost.waiting_share < 1


@pytest.mark.parametrize("workers", [0, 2])
def test_the_number_of_workers_changes_nothing(
    shop: Workshop, tmp_path: Path, whole: tuple[dict[str, Any], distiller.Record], workers: int
) -> None:
    distiller.distil(run(shop, tmp_path, training=POLICY["training"] | {"workers": workers}))
    assert seeds(repeatable(tmp_path / "out")) == seeds(whole[0])


@pytest.mark.parametrize("steps", [3, 8])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    shop: Workshop, tmp_path: Path, whole: Any, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut_after(patch, steps)
        with pytest.raises(Cut):
            distiller.distil(run(shop, tmp_path))
    record = distiller.distil(run(shop, tmp_path), resume=True)
    assert seeds(repeatable(tmp_path / "out")) == seeds(whole[0])
    assert record.cost.augmentation == whole[1].cost.augmentation


def test_other_texts_in_every_epoch_unless_they_are_to_last(shop: Workshop, tmp_path: Path, whole: Any) -> None:
    distiller.distil(run(shop, tmp_path, augmentation_refresh=2))
    assert seeds(repeatable(tmp_path / "out")) != seeds(whole[0])


def test_runs_that_augment_alike_ask_the_teacher_once(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the trials of a study do, which differ in their objective and share seed, data and policy."""
    asked: list[int] = []
    listen = FrozenTeacher.__call__
    monkeypatch.setattr(FrozenTeacher, "__call__", lambda self, inputs: asked.append(1) or listen(self, inputs))

    def trained(kept: str, **fields: Any) -> tuple[distiller.Record, int]:
        asked.clear()
        training = POLICY["training"] | {"cache_teacher": kept, "workers": 0, "precision": "fp32"}
        folder = tmp_path / f"{kept}{fields}"
        given = {"augmentation": [SWAP], "augmentation_refresh": 2, "cache": str(tmp_path / "cache")} | fields
        return distiller.distil(run(shop, folder, training=training, **given)), len(asked)

    plain, every = trained("never")
    cached, once = trained("auto")
    assert every == 2 * 2 * 5  # two views in two epochs of five batches
    assert once == 3 + 5  # the training set in batches of 64, and the augmented view in the first epoch
    assert losses(cached) == pytest.approx(losses(plain), rel=1e-4)
    _, again = trained("auto", objective={"intermediate": [{"loss": "cos"}], "gamma2": 0})
    assert again == 0


@pytest.mark.parametrize(("defaults", "gold"), [("paper", 0), ("distiller", 0.5)])
def test_weights_with_and_without_augmentation(shop: Workshop, tmp_path: Path, defaults: str, gold: float) -> None:
    """The paper's gold labels count with augmentation alone (appendix G), ours always."""

    def weights(**fields: Any) -> tuple[Any, ...]:
        wish = {"objective": {"defaults": defaults, "intermediate": [{"loss": "mse"}]}}
        found = make_plan(run(shop, tmp_path, **wish | fields)).run.objective
        return found.beta1, found.gamma1, found.beta2, found.gamma2, found.augmented_label

    assert weights(augmentation=[]) == (1, gold, 0, 0, "teacher_soft")
    assert weights() == (1, 0.5, 1, 0.5, "teacher_soft")
    assert weights(augmentation=["mixup"]) == (1, 0.5, 1, 0.5, "gold")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"augmentation": ["mixup", SWAP]}, "put `mixup` last"),
        ({"augmentation": [SWAP, SWAP]}, "twice"),
        ({"augmentation": ["shuffle"]}, "no augmentation operator is called `shuffle`"),
        ({"augmentation": [], "objective": {"beta2": 1}}, "no operator makes one"),
        ({"objective": {"beta2": 0, "gamma2": 0, "intermediate": []}}, "nothing reads what"),
        ({"augmentation": [{"name": "contextual", "options": {"model": "nowhere/at-all"}}]}, "nowhere"),
        ({"augmentation": [{"name": "mixup", "options": {"align_segments": True}}]}, "this task has single texts"),
    ],
)
def test_policies_that_make_no_sense_are_refused_before_any_training(
    shop: Workshop, tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(distiller.DistillerError) as error:
        distiller.distil(run(shop, tmp_path, **fields))
    assert words in f"{error.value.message} {error.value.hint}"
    assert not (tmp_path / "out" / "record.json").exists()


def test_an_operator_that_fails_leaves_texts_as_they_are_and_is_counted(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = AUGMENTERS["random"]

    def fails(passages: Any, rngs: Any, *, ra_mode: str = "mix", alpha: float = 0.1, wordnet: Any = None) -> Any:
        if any("good" in passage.words for passage in passages):
            raise ValueError("no")
        return [passage.unchanged for passage in passages]

    monkeypatch.setitem(AUGMENTERS.entries, "random", type(entry)(fails, entry.source, entry.traits))  # type: ignore[arg-type]
    record = distiller.distil(run(shop, tmp_path, training=POLICY["training"] | {"workers": 0}))
    texts = load_task(record.run.task).splits["train"].texts  # type: ignore[union-attr]
    assert record.cost.augmentation["random.failed"] == 2 * sum("good" in text.split() for text in texts)
    assert any("random failed on" in note for note in record.notes)


def test_missing_weights_of_an_operator_are_a_users_mistake(shop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(distiller.DistillerError) as error:
        distiller.distil(run(shop, tmp_path, augmentation=["back_translation"]))
    assert error.value.exit_code == 2
    assert isinstance(error.value, ConfigError)
