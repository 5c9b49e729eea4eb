"""Peak memory and time of the vocabulary-sized losses, whole and in chunks.

    python benchmarks/translation_memory.py                       # 2,000 target tokens, 32,000 pieces, width 256
    python benchmarks/translation_memory.py --tokens 8000

Each case is a process of its own, which computes both losses and their gradients; memory is the peak of the process
over what it had before, or of the accelerator where there is one.
"""

import argparse
import os
import subprocess
import sys
import time

import torch

from distiller.device import accelerator, describe_machine, peak_memory_megabytes
from distiller.objectives.vocabulary import Head, TokenStates, vocabulary_losses


def case(given: argparse.Namespace, megabytes: float) -> str:
    """Megabytes at the peak and seconds of one step, after a small one that loads every kernel."""
    device = accelerator()

    def step(tokens: int) -> float:
        rng = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> torch.Tensor:
            return (0.02 * torch.randn(*shape, generator=rng)).to(device)

        ours = Head(draw(given.vocabulary, given.width).requires_grad_(), draw(given.vocabulary).requires_grad_())
        theirs = Head(draw(given.vocabulary, given.width), draw(given.vocabulary))
        student = TokenStates(draw(tokens, given.width).requires_grad_(), ours)
        labels = torch.randint(given.vocabulary, (tokens,), generator=rng).to(device)
        started = time.perf_counter()
        found = vocabulary_losses(
            student, labels, TokenStates(draw(tokens, given.width), theirs), chunk_megabytes=megabytes
        )
        (found.nll + found.word).backward()
        return time.perf_counter() - started + 0 * float(found.nll)

    step(8)
    before = peak_memory_megabytes()
    seconds = step(given.tokens)
    return f"{peak_memory_megabytes() - before:.0f} {seconds:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1e6, 128, 64, 32, 16])
    parser.add_argument("--case", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case is not None:
        print(case(given, given.case))
        return
    print(f"{describe_machine()}, {given.tokens} tokens, {given.vocabulary} pieces, width {given.width}\n")
    print("| chunk, MB | tokens a chunk | peak memory, MB | seconds a step |\n|---:|---:|---:|---:|")
    sizes = [f"--{name}={getattr(given, name)}" for name in ("tokens", "vocabulary", "width")]
    for megabytes in given.megabytes:
        command = [sys.executable, __file__, *sizes, f"--case={megabytes}"]
        # freed tensors go back to the system at once, so that the peak is that of what lives, not of old holes
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        memory, seconds = done.stdout.split()
        tokens = min(given.tokens, int(megabytes * 1e6 / (4 * given.vocabulary)))
        name = "whole" if tokens == given.tokens else f"{megabytes:g}"
        print(f"| {name} | {tokens} | {memory} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
