"""Trackers: each training is a run of its own, and one that is not installed is said before anything is trained."""

from pathlib import Path

import pytest

from distiller.config import Training, parse_run
from distiller.errors import MissingPackageError
from distiller.run import distil
from distiller.run.plan import make_plan
from distiller.training.trackers import check_trackers
from run.tiny import FAST, Workshop, workshop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("workshop"))


@pytest.mark.slow
def test_mlflow_and_tensorboard_follow_every_training(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "followed").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    training = {**FAST, "epochs": 1, "log_every": 2, "threads": 1, "report_to": ["mlflow", "tensorboard"]}
    run = shop.run(tmp_path, training=training, baseline=True, cache=str(tmp_path / "cache"))
    distil(parse_run(run))
    mlflow.set_tracking_uri((tmp_path / "followed").as_uri())
    runs = mlflow.MlflowClient().search_runs(["0"])
    assert {one.info.run_name for one in runs} == {
        "fine-tune the student without a teacher, seed 0",
        "distil, seed 0",
    }
    followed = next(one for one in runs if one.info.run_name.startswith("distil"))
    assert {"loss", "loss.prediction", "loss.mse", "eval_accuracy"} <= {*followed.data.metrics}
    assert list((tmp_path / "out").rglob("events.out.tfevents.*"))


def test_what_is_not_installed_is_said_before_training(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distiller.training.trackers.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="report_to=wandb needs the package") as raised:
        make_plan(parse_run(shop.run(tmp_path, training={**FAST, "report_to": ["wandb"]})))
    assert "distiller-nlp[wandb]" in str(raised.value)
    check_trackers([])


def test_the_former_field_is_still_read() -> None:
    assert Training.model_validate({"tensorboard": True}).report_to == ["tensorboard"]
    assert Training.model_validate({"tensorboard": False}) == Training()
