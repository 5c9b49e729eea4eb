"""The distillation of other_stacks.py as users of other libraries would write it: one file, no part of Distiller.

    python benchmarks/peers.py trainer --data FOLDER --teacher FOLDER --out FOLDER --epochs 5 --precision bf16

A stack needs torch, `transformers` and itself, so that each can have an environment of its own. FOLDER of the data
holds `train.tsv` and `dev.tsv` with the columns `sentence` and `label`. The last line printed is JSON: the accuracy.
"""

import argparse
import contextlib
import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

T = 2.0
MAX_LENGTH = 64
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
Batch = dict[str, Any]


def pairs(student: Any, teacher: Any) -> list[tuple[int, int]]:
    """Layers of student and teacher that are compared, 0 the embeddings: 1 and 2, 2 and 4, 3 and 6."""
    block = teacher.config.num_hidden_layers // student.config.num_hidden_layers
    return [(layer, block * layer) for layer in range(1, student.config.num_hidden_layers + 1)]


def inputs_of(batch: Batch) -> Batch:
    """What a model reads of a batch."""
    return {name: batch[name] for name in INPUTS if name in batch}


def optimiser(model: nn.Module, rate: float) -> torch.optim.AdamW:
    """That of all stacks."""
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, fused=True)


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    """Those of a `Trainer` here."""
    fixed: dict[str, Any] = {"output_dir": str(folder), "use_cpu": True, "report_to": [], "max_grad_norm": 0.0}
    fixed |= {"optim": "adamw_torch_fused", "weight_decay": 0.0, "disable_tqdm": True}
    return TrainingArguments(**(fixed | {"learning_rate": 1e-5, "save_strategy": "no"} | changes))


def half(precision: str) -> contextlib.AbstractContextManager[Any]:
    """Autocast where bf16 is asked for."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")


# --- a Trainer by hand ------------------------------------------------------------------------------------------------


class HandWritten(Trainer):
    """What one writes without a library."""

    def __init__(self, model: nn.Module, teacher: nn.Module, args: TrainingArguments, **kwargs: Any) -> None:
        super().__init__(model=model, args=args, **kwargs)
        self.teacher = teacher.eval().requires_grad_(False)

    def compute_loss(self, model: nn.Module, inputs: Batch, return_outputs: bool = False, **_: Any) -> Any:
        """4·KL, cross-entropy, and squared distances of hidden states over valid tokens."""
        labels, inputs = inputs["labels"], inputs_of(inputs)
        with torch.no_grad(), half("bf16" if self.args.bf16 else "fp32"):
            theirs = self.teacher(**inputs, output_hidden_states=True)
        ours = model(**inputs, output_hidden_states=True)
        kd = F.kl_div(
            F.log_softmax(ours.logits / T, -1), F.softmax(theirs.logits.float() / T, -1), reduction="batchmean"
        )
        loss = T**2 * kd + F.cross_entropy(ours.logits, labels)
        mask = inputs["attention_mask"].unsqueeze(-1).to(ours.logits.dtype)
        for student, teacher in pairs(self.model, self.teacher):
            squared = F.mse_loss(ours.hidden_states[student], theirs.hidden_states[teacher], reduction="none")
            loss = loss + (squared * mask).sum() / (mask.sum() * squared.shape[-1])
        return (loss, ours.logits) if return_outputs else loss

    def prediction_step(self, model: nn.Module, inputs: Batch, *_: Any, **__: Any) -> Any:
        """Logits alone: an evaluation needs no teacher."""
        with torch.no_grad(), half("bf16" if self.args.bf16 else "fp32"):
            return None, model(**inputs_of(inputs)).logits.float(), inputs["labels"]


def by_hand(work: "Work") -> None:
    """`transformers.Trainer` with batches of similar length and dynamic padding; the teacher in every step."""
    given = work.given
    chosen = arguments(
        work.folder,
        num_train_epochs=given.epochs,
        per_device_train_batch_size=given.batch_size,
        per_device_eval_batch_size=given.batch_size,
        learning_rate=given.rate,
        logging_steps=20,
        eval_strategy="epoch",
        bf16=given.precision == "bf16",
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        seed=given.seed,
    )
    trainer = HandWritten(
        work.student,
        work.teacher,
        chosen,
        train_dataset=work.rows["train"],
        eval_dataset=work.rows["dev"],
        data_collator=work.collate,
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    )
    trainer.train()


# --- TextBrewer -------------------------------------------------------------------------------------------------------


def textbrewer(student: nn.Module, teacher: nn.Module, folder: Path, precision: str = "fp32") -> Any:
    """A `GeneralDistiller` with the same loss. It applies no T², so that is part of its weight.

    It knows of bf16 only through NVIDIA's apex, so a user overrides the step.
    """
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

    class Distiller(GeneralDistiller):
        def train_on_batch(self, batch: Batch, args: Batch) -> Any:
            with half(precision):
                return super().train_on_batch(batch, args)

    def adaptor(batch: Batch, out: Any) -> dict[str, Any]:
        found = {"logits": out.logits, "hidden": out.hidden_states, "inputs_mask": batch["attention_mask"]}
        return found | ({"losses": out.loss} if out.loss is not None else {})

    matches = [
        {"layer_T": theirs, "layer_S": ours, "feature": "hidden", "loss": "hidden_mse", "weight": 1}
        for ours, theirs in pairs(student, teacher)
    ]
    wish = DistillationConfig(
        temperature=T, kd_loss_weight=T**2, hard_label_weight=1, intermediate_matches=matches, kd_loss_type="ce"
    )
    place = TrainingConfig(device="cpu", output_dir=str(folder / "textbrewer"))
    return Distiller(place, wish, teacher, student, adaptor, adaptor)


def with_textbrewer(work: "Work") -> None:
    """`GeneralDistiller` with dynamic padding; the teacher in every step (its cache holds logits only)."""
    given = work.given
    loader = work.loader()
    distiller = textbrewer(work.student, work.teacher.eval(), work.folder, given.precision)
    with distiller:
        distiller.train(
            optimiser(work.student, given.rate),
            loader,
            num_epochs=given.epochs,
            scheduler_class=get_linear_schedule_with_warmup,
            scheduler_args={"num_warmup_steps": 0, "num_training_steps": len(loader) * given.epochs},
            callback=lambda model, step: print(step, work.accuracy(model.eval()), flush=True),
            output_hidden_states=True,
        )


# --- torchdistill -----------------------------------------------------------------------------------------------------


def with_torchdistill(work: "Work") -> None:
    """`DistillationBox` with dynamic padding and forward hooks; the teacher in every step.

    Written after its own example for GLUE. Its wrapper of a loss knows no mask, so hidden states of padding count too.
    """
    from torchdistill.core.distillation import get_distillation_box
    from torchdistill.core.interfaces.registry import register_forward_proc_func
    from torchdistill.datasets.registry import register_collate_func
    from torchdistill.losses.registry import register_func2extract_model_output
    from torchdistill.optim.registry import register_scheduler

    given = work.given

    @register_collate_func(key="padded")
    def padded(rows: Any) -> Any:
        return work.collate(rows)

    @register_forward_proc_func(key="forward_named")
    def forward_named(model: nn.Module, batch: Batch, *_: Any, **__: Any) -> Any:
        return model(**inputs_of(batch))

    @register_func2extract_model_output(key="no_loss")
    def no_loss(*_: Any, **__: Any) -> dict[str, Tensor]:
        return {}

    register_scheduler(get_linear_schedule_with_warmup, key="linear")
    body = work.teacher.base_model_prefix
    layers = [(ours - 1, theirs - 1) for ours, theirs in pairs(work.student, work.teacher)]

    def hooked(chosen: list[int]) -> dict[str, Any]:
        paths = [f"{body}.encoder.layer.{layer}" for layer in chosen]
        return {"forward_proc": "forward_named", "forward_hook": {"output": [*paths, "classifier"]}}

    def hidden(ours: int, theirs: int) -> dict[str, Any]:
        place = {"io": "output", "module_path": f"{body}.encoder.layer.{ours}", "is_from_teacher": False}
        target = {"io": "output", "module_path": f"{body}.encoder.layer.{theirs}", "is_from_teacher": True}
        wrapper = {"key": "SimpleLossWrapper", "kwargs": {"input": place, "target": target}}
        return {"criterion": {"key": "MSELoss", "kwargs": {}}, "criterion_wrapper": wrapper, "weight": 1.0}

    kd = {
        "student_module_path": "classifier",
        "student_module_io": "output",
        "teacher_module_path": "classifier",
        "teacher_module_io": "output",
        "temperature": T,
        "alpha": 1.0,
        "beta": 1.0,
    }
    terms = {"kd": {"criterion": {"key": "KDLoss", "kwargs": kd}, "weight": 1.0}}
    terms |= {f"hidden{ours}": hidden(ours, theirs) for ours, theirs in layers}
    steps = given.epochs * -(-len(work.rows["train"]) // given.batch_size)
    wish = {
        "num_epochs": given.epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "requires_supp": False,
            "sampler": {"class_or_func": torch.utils.data.RandomSampler},
            "collate_fn": "padded",
            "kwargs": {"batch_size": given.batch_size},
        },
        "teacher": {"requires_grad": False, **hooked([theirs for _, theirs in layers])},
        "student": hooked([ours for ours, _ in layers]),
        "criterion": {
            "key": "WeightedSumLoss",
            "func2extract_model_loss": "no_loss",
            "kwargs": {"sub_terms": terms},
        },
        "optimizer": {"key": "AdamW", "kwargs": {"lr": given.rate, "weight_decay": 0.0, "fused": True}},
        "scheduler": {
            "key": "linear",
            "kwargs": {"num_warmup_steps": 0, "num_training_steps": steps},
            "scheduling_step": 1,
        },
    }
    rows, here = {"train": work.rows["train"]}, torch.device("cpu")
    box = get_distillation_box(work.teacher.eval(), work.student, rows, wish, here, None, False, 1)
    for epoch in range(given.epochs):
        work.student.train()
        work.teacher.eval()
        for batch in box.train_data_loader:
            with half(given.precision):
                loss = box.forward_process(batch, targets=batch["labels"], supp_dict={})
            box.post_forward_process(loss)
        print(epoch, work.accuracy(work.student.eval()), flush=True)


# --- sentence-transformers --------------------------------------------------------------------------------------------


def with_sentence_transformers(work: "Work") -> None:
    """`MSELoss` of embeddings that the teacher has made once, as its `model_distillation.py` does.

    It computes less: the state of the first token alone is compared; there are no soft labels, no gold labels and no
    hidden states. The teacher's head then classifies the student's embeddings. (Its `MSELoss` of a `CrossEncoder` takes
    pairs of texts and one score alone.)
    """
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MSELoss
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    given = work.given

    def embedder() -> SentenceTransformer:
        body = Transformer(given.teacher, max_seq_length=MAX_LENGTH)
        return SentenceTransformer(modules=[body, Pooling(body.get_embedding_dimension(), "cls")], device="cpu")

    teacher, student = embedder(), embedder()
    body: Any = student[0].auto_model
    body.encoder.layer = nn.ModuleList(
        [body.encoder.layer[theirs - 1] for _, theirs in pairs(work.student, work.teacher)]
    )
    body.config.num_hidden_layers = work.student.config.num_hidden_layers
    with half(given.precision):
        embeddings = teacher.encode(work.texts["train"], batch_size=given.batch_size)
    chosen = SentenceTransformerTrainingArguments(
        output_dir=str(work.folder),
        use_cpu=True,
        report_to=[],
        max_grad_norm=0.0,
        optim="adamw_torch_fused",
        weight_decay=0.0,
        disable_tqdm=True,
        save_strategy="no",
        num_train_epochs=given.epochs,
        per_device_train_batch_size=given.batch_size,
        learning_rate=given.rate,
        logging_steps=20,
        bf16=given.precision == "bf16",
        seed=given.seed,
    )
    rows = Dataset.from_dict({"sentence": work.texts["train"], "label": embeddings.tolist()})
    SentenceTransformerTrainer(student, chosen, train_dataset=rows, loss=MSELoss(student)).train()
    setattr(work.student, work.student.base_model_prefix, body)  # with the teacher's pooler and classifier
    body.pooler = getattr(work.teacher, work.teacher.base_model_prefix).pooler


# --- the same around all ----------------------------------------------------------------------------------------------


def columns(path: Path) -> tuple[list[str], list[int]]:
    """Texts and labels."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["sentence"] for row in rows], [int(row["label"]) for row in rows]


class Work:
    """Models and tokens, as every stack's user loads them."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.folder = Path(given.out)
        tokenizer = AutoTokenizer.from_pretrained(given.teacher)
        self.teacher: Any = AutoModelForSequenceClassification.from_pretrained(given.teacher, dtype=torch.float32)
        self.student = copy.deepcopy(self.teacher)
        body = getattr(self.student, self.student.base_model_prefix)
        body.encoder.layer = nn.ModuleList(list(body.encoder.layer)[1::2])
        self.student.config.num_hidden_layers = len(body.encoder.layer)
        self.texts: dict[str, list[str]] = {}
        self.rows: dict[str, list[Batch]] = {}
        for name in ("train", "dev"):
            self.texts[name], labels = columns(Path(given.data) / f"{name}.tsv")
            found = tokenizer(self.texts[name], truncation=True, max_length=MAX_LENGTH)
            self.rows[name] = [
                {column: found[column][row] for column in found} | {"labels": label} for row, label in enumerate(labels)
            ]
        self.collate = DataCollatorWithPadding(tokenizer)

    def loader(self) -> DataLoader[Any]:
        """Batches in random order."""
        rows: Any = self.rows["train"]
        return DataLoader(rows, self.given.batch_size, shuffle=True, collate_fn=lambda some: dict(self.collate(some)))

    def accuracy(self, model: nn.Module) -> float:
        """Of the development rows, those whose class `model` names."""
        right = 0
        rows = sorted(self.rows["dev"], key=lambda row: len(row["input_ids"]))
        for start in range(0, len(rows), self.given.batch_size):
            batch = self.collate(rows[start : start + self.given.batch_size])
            with torch.no_grad(), half(self.given.precision):
                right += int((model(**inputs_of(batch)).logits.argmax(-1) == batch["labels"]).sum())
        return right / len(rows)


STACKS: dict[str, Callable[[Work], None]] = {
    "trainer": by_hand,
    "textbrewer": with_textbrewer,
    "torchdistill": with_torchdistill,
    "sentence-transformers": with_sentence_transformers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", choices=list(STACKS))
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    work = Work(given)
    STACKS[given.stack](work)
    work.student.save_pretrained(work.folder / "student")
    print(json.dumps({"accuracy": work.accuracy(work.student.eval())}))


if __name__ == "__main__":
    main()
