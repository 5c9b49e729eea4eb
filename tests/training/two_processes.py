"""Run by `test_processes.py`, as one process or as one of two: first gradients, logs and a development score."""

import os
import sys
from pathlib import Path

import torch

from distiller import config
from distiller.training.batching import count
from distiller.training.trainer import DistillationTrainer
from training.tiny import (
    CRITICS,
    DECOMPOSABLE,
    Eq1,
    Examples,
    Gradients,
    arguments,
    as_written,
    batch,
    collate,
    gradients_of,
    student,
    teacher,
    term,
    weights_of,
)

SUMS = config.Objective(
    gamma1=0.5, beta2=1, gamma2=0.5, intermediate=[*(term(loss) for loss in DECOMPOSABLE), term("mse", "emd")]
)
APART = config.Critic(name="transformer", options=CRITICS["transformer"], gather=False)
CONTRAST = config.Objective(gamma1=0.5, intermediate=[term("mi_alpha", critic=APART)])
GATHERED = config.Objective(gamma1=0.5, beta2=1, intermediate=[term("mi_alpha"), term("mi_alpha", "emd")])


def scores(prediction) -> dict[str, float]:
    hits = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": float(hits.mean()), "size": len(hits), "sum": float(prediction.predictions[:, 0].sum())}


def measure(folder: Path, objective: config.Objective, **given: int) -> dict:
    seen = Gradients()
    made = DistillationTrainer(
        student(),
        teacher=teacher(),
        objective=as_written(objective),
        args=arguments(folder, max_steps=1, **given),
        train_dataset=Examples(8, augmented=True),
        eval_dataset=Examples(13, 1),
        data_collator=collate,
        compute_metrics=scores,
        callbacks=[seen],
    )
    seen.module = made.distillation
    with torch.no_grad():  # a critic's baseline starts at zero, which would hide its gradients
        for parameter in made.distillation.objective.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    made.train()
    logs = {name: value for name, value in made.state.log_history[0].items() if name.startswith("loss")}
    after = made.evaluate()
    return {
        "gradients": seen.first,
        "logs": logs,
        "scores": {name: after[f"eval_{name}"] for name in ("accuracy", "size", "sum")},
    }


def trained(folder: Path, steps: int, *, resume: bool = False) -> dict[str, torch.Tensor]:
    """The weights of the best of `steps`, each of which leaves a checkpoint."""
    every = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    made = DistillationTrainer(
        student(),
        teacher=teacher(),
        objective=as_written(config.Objective(gamma1=0.5, intermediate=[term("mse")])),
        args=arguments(folder, max_steps=steps, load_best_model_at_end=True, lr_scheduler_type="constant", **every),
        train_dataset=Examples(40),
        eval_dataset=Examples(13, 1),
        data_collator=collate,
    )
    made.train(resume_from_checkpoint=resume)
    return weights_of(made.distillation)


def share(rows: slice) -> dict[str, torch.Tensor]:
    """What some of eight examples have to do with the loss of all."""
    eq1, whole = Eq1(GATHERED, student(), teacher()), batch(8)
    with torch.no_grad():
        for parameter in eq1.parts.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    part = {name: value[rows] for name, value in whole.items()}
    heard = {"original": eq1.teacher(part)}
    loss, components = eq1.model(views={"original": part}, teacher=heard, totals=count([whole]))
    loss.backward()
    return {"loss": loss.detach(), **components, **gradients_of(eq1.model)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sizes = {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4}
    objectives = {"sums": SUMS, "contrast": CONTRAST, "gathered": GATHERED}
    results = {name: measure(folder, objective, **sizes) for name, objective in objectives.items()}
    assert torch.distributed.get_world_size() == 2
    results["straight"] = trained(folder / "straight", 2)
    trained(folder / "resumed", 1)
    results["resumed"] = trained(folder / "resumed", 2, resume=True)
    results["uneven"] = share(slice(0, 2) if os.environ["RANK"] == "0" else slice(2, 8))
    for value in results["uneven"].values():
        torch.distributed.all_reduce(value)
    if os.environ["RANK"] == "0":
        torch.save(results, folder / "two.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
