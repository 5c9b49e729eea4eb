"""What the attention kernels cost on this processor in bf16: a model that only answers, and a step of one that learns.

    python benchmarks/attention.py                     # the shape of MiniLM-L6: about five minutes on one core
    python benchmarks/attention.py --size tiny         # does it run? seconds

Weights are random, which changes no time. Each figure is the least processor time of `--repeats` batches on one thread,
the kernels in turn, so that other work on the machine tells less. A teacher is asked as a run does (`FrozenTeacher`).
"""

import argparse
import time
from collections.abc import Callable

import torch
from transformers import BertConfig, BertForSequenceClassification

from distiller.device import autocast, describe_machine
from distiller.training.teacher import FrozenTeacher

SIZES = {
    "minilm": {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12, "num_hidden_layers": 6},
    "tiny": {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1},
}
KERNELS = ("eager", "sdpa")
TOKENS = (24, 48, 96, 192, 384)


def batch_of(tokens: int, texts: int) -> dict[str, torch.Tensor]:
    """Random texts, of which the last is a quarter shorter than the first."""
    ids = torch.randint(1000, 20_000, (texts, tokens))
    lengths = torch.linspace(tokens, 0.75 * tokens, texts).long()
    return {"input_ids": ids, "attention_mask": (torch.arange(tokens) < lengths[:, None]).long()}


def model_of(size: str, kernel: str, dropout: float) -> BertForSequenceClassification:
    """A model of random weights whose attention has `dropout` while it learns."""
    torch.manual_seed(0)
    config = BertConfig(**SIZES[size], attention_probs_dropout_prob=dropout)
    return BertForSequenceClassification._from_config(config, attn_implementation=kernel)


def asking(size: str, kernel: str, batch: dict[str, torch.Tensor]) -> Callable[[], object]:
    """One batch for a teacher."""
    teacher = FrozenTeacher(model_of(size, kernel, 0.1), set(), set(), device=torch.device("cpu"), precision="bf16")
    return lambda: teacher(batch)


def learning(size: str, kernel: str, batch: dict[str, torch.Tensor], dropout: float) -> Callable[[], object]:
    """One forward and backward pass."""
    model = model_of(size, kernel, dropout).train()

    def step() -> None:
        with autocast("cpu", "bf16"):
            logits = model(**batch).logits
        logits.float().logsumexp(-1).sum().backward()

    return step


def least_milliseconds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Processor time of each call, the least of `repeats`; the first time of each is not counted."""
    found = dict.fromkeys(calls, float("inf"))
    for turn in range(repeats + 1):
        for name, call in calls.items():
            started = time.process_time()
            call()
            if turn:
                found[name] = min(found[name], 1000 * (time.process_time() - started))
    return found


def main() -> None:
    """Print a table, and the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="minilm")
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS, help="lengths of texts")
    parser.add_argument(
        "--texts",
        type=int,
        default=32,
        help="texts in a step, a teacher is asked for twice as many; a quarter from 384 on",
    )
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()), f"torch {torch.__version__}")
    print(f"{'':26}{'tokens':>8}{'texts':>8}{'eager ms':>12}{'SDPA ms':>12}{'eager / SDPA':>14}")
    for tokens in asked.tokens:
        texts = asked.texts if tokens < 384 else max(1, asked.texts // 4)
        batch, asked_at_once = batch_of(tokens, texts), batch_of(tokens, 2 * texts)
        rows = {
            "answers": {kernel: asking(asked.size, kernel, asked_at_once) for kernel in KERNELS},
            "learns, dropout 0.1": {kernel: learning(asked.size, kernel, batch, 0.1) for kernel in KERNELS},
            "learns, no dropout": {kernel: learning(asked.size, kernel, batch, 0.0) for kernel in KERNELS},
        }
        for name, calls in rows.items():
            took = least_milliseconds(calls, asked.repeats)
            ratio = took["eager"] / took["sdpa"]
            size = 2 * texts if name == "answers" else texts
            print(f"{name:26}{tokens:8}{size:8}{took['eager']:12.1f}{took['sdpa']:12.1f}{ratio:14.2f}", flush=True)


if __name__ == "__main__":
    main()
