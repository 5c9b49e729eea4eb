"""What a step of word-level distillation costs, asking the teacher and reading its kept states.

    python benchmarks/translation_step.py
    python benchmarks/translation_step.py --teacher 24 6 --width 256 --vocabulary 8000

The denominator, on the same batches in turn, is the least that asking the teacher needs: its forward pass under
`inference_mode`, the student's, cross-entropy and KL over all pieces, backward, fused AdamW. `gold alone` is our step
without a teacher. Medians of processor time; the weights and the text are random.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from step_time import timed
from transformers import PreTrainedModel, TrainingArguments

from distiller.cache.folders import FolderCache
from distiller.cache.teacher_outputs import TeacherCache
from distiller.config import parse, parse_run
from distiller.config.translation import Objective, Shape
from distiller.device import describe_machine
from distiller.models.encoder_decoder import decoder_inputs
from distiller.training.batching import Batch
from distiller.translation.batches import BatchStream, Examples, collate
from distiller.translation.model import TokenIds, build_model
from distiller.translation.teacher_states import teacher_states
from distiller.translation.tokenizer import END
from distiller.translation.trainer import TranslationTrainer

WORDS = {"gamma1": 1.0, "beta1": 1.0}


def text(pairs: int, vocabulary: int) -> Examples:
    """Sentences of about 16 tokens."""
    rng = np.random.default_rng(0)

    def side() -> list[list[int]]:
        lengths = np.clip(rng.normal(15, 5, pairs).round(), 3, 40).astype(int)
        return [[*rng.integers(4, vocabulary - 1, length).tolist(), END] for length in lengths]

    return Examples(side(), side(), gold=pairs)


class PlainStep:
    """The denominator, as one would write it by hand."""

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel) -> None:
        self.student, self.teacher = student.train(), teacher.eval()
        self.optimiser = torch.optim.AdamW(student.parameters(), fused=True)

    def __call__(self, batch: Batch) -> None:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        inputs["decoder_input_ids"] = decoder_inputs(self.student, batch["labels"])
        with torch.inference_mode():
            theirs = self.teacher(**inputs).logits
        logits = self.student(**inputs).logits.flatten(0, 1)
        valid = batch["labels"].flatten() != -100
        logits, theirs = logits[valid], theirs.flatten(0, 1)[valid].clone()
        kl = F.kl_div(logits.log_softmax(-1), theirs.log_softmax(-1), log_target=True, reduction="sum") / valid.sum()
        (F.cross_entropy(logits, batch["labels"].flatten()[valid]) + kl).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


class OurStep:
    """A step of `TranslationTrainer`, as `transformers.Trainer` does it between two batches."""

    def __init__(
        self,
        student: PreTrainedModel,
        objective: dict[str, float],
        folder: Path,
        teacher: PreTrainedModel | None = None,
        cache: TeacherCache | None = None,
    ) -> None:
        wish = parse(Objective, objective, where="objective")
        arguments = TrainingArguments(
            output_dir=str(folder), use_cpu=True, optim="adamw_torch_fused", report_to=[], max_grad_norm=0
        )
        self.trainer = TranslationTrainer(
            student,
            objective=wish,
            teacher=teacher,
            teacher_cache=cache,
            score=lambda _: {},
            args=arguments,
        )
        self.trainer.create_optimizer()
        self.trainer.state.max_steps = sys.maxsize

    def __call__(self, batch: Batch) -> None:
        trainer = self.trainer
        (inputs,), totals = trainer.get_batch_samples(iter([batch]), 1, trainer.args.device)
        trainer.training_step(trainer.distillation, inputs, totals)
        assert trainer.optimizer is not None
        trainer.optimizer.step()
        trainer.distillation.zero_grad()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=int, nargs=2, default=[6, 3], metavar="LAYERS", help="of encoder and decoder")
    parser.add_argument("--student", type=int, nargs=2, default=[1, 1], metavar="LAYERS")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=3000)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    def model(layers: list[int], seed: int) -> PreTrainedModel:
        sizes = {"width": given.width, "ffn": 4 * given.width, "heads": 4}
        shape = Shape.model_validate({"encoder_layers": layers[0], "decoder_layers": layers[1], **sizes})
        return build_model(shape, tokens=TokenIds.own(given.vocabulary), seed=seed)

    pairs = text(60 * given.batches * given.batch_tokens // 1024, given.vocabulary)
    stream = BatchStream(pairs, batch_tokens=given.batch_tokens, seed=0, batches=given.batches)
    batches = [collate([stream[index]]) for index in range(given.batches)]
    teacher = model(given.teacher, 1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        training = {"batch_tokens": given.batch_tokens, "precision": "fp32"}
        run = parse_run(
            {"task": {"kind": "translation", "train": {"source": "-"}}, "objective": WORDS, "training": training}
        )
        kept, _ = teacher_states(FolderCache(folder / "cache"), teacher, pairs, run)
        assert kept is not None
        steps = {
            "by hand": PlainStep(model(given.student, 0), teacher),
            "asking the teacher": OurStep(model(given.student, 0), WORDS, folder, teacher),
            "reading its states": OurStep(model(given.student, 0), WORDS, folder, teacher, TeacherCache(kept)),
            "gold alone": OurStep(model(given.student, 0), {"gamma1": 1.0}, folder),
        }
        wall, cpu = timed(steps, batches, given.repeats)  # type: ignore[arg-type]
        size = (kept / "logits.bin").stat().st_size / sum(map(len, pairs.target))
    print(f"{describe_machine()}, teacher {given.teacher}, student {given.student}, width {given.width}, ", end="")
    print(f"{given.vocabulary} pieces, {given.batch_tokens} tokens a batch; {size:.0f} bytes a kept token\n")
    print("| step | CPU time | wall | milliseconds |\n|---|---:|---:|---:|")
    for name in steps:
        print(f"| {name} | {cpu[name] / cpu['by hand']:.2f} | {wall[name] / wall['by hand']:.2f} | {wall[name]:.0f} |")


if __name__ == "__main__":
    main()
