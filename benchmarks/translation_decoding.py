"""The two engines of pseudo-labelling: the same model, sentences and search in `transformers` and CTranslate2.

    python benchmarks/translation_decoding.py MODEL ../shared/data/de-en/multi30k/test_2016_flickr.de \\
        ../shared/data/de-en/multi30k/test_2016_flickr.en

MODEL is a folder with a translation model, e.g. `outputs/demo-translation/student`. Processor time and tokens of the
translations; *same* is the share of sentences that come out word for word as with `transformers`, *scores apart* the
mean difference of their scores.
"""

import argparse
import time
from statistics import fmean

import torch

from distiller.config.translation import Decoding, Parallel
from distiller.device import describe_machine
from distiller.translation.engines import Hypothesis, engine
from distiller.translation.pairs import read_pairs
from distiller.translation.scores import score
from distiller.translation.students import load_translator

WARM_UP = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, vocabulary = load_translator(given.model)
    pairs = read_pairs(Parallel(source=given.source, target=given.target))
    pairs = pairs.take(range(min(given.sentences, len(pairs))))
    sentences = vocabulary.encode(pairs.source)
    print(f"{describe_machine()}, {len(pairs)} sentences\n")
    print("| search | engine | tokens/s | times | BLEU | same | scores apart |\n|---|---|---:|---:|---:|---:|---:|")
    for beam in (1, 4):
        reference: list[Hypothesis] = []
        slowest = 0.0
        for name, compute in (("transformers", "float32"), ("ctranslate2", "float32"), ("ctranslate2", "int8")):
            wish = {"beam": beam, "engine": name, "compute": compute, "max_length": 80, "threads": given.threads}
            with engine(model, vocabulary, Decoding.model_validate(wish)) as run:
                run(sentences[:WARM_UP], 0)
                started = time.process_time()
                found = [hypotheses[0] for hypotheses in run(sentences, 0)]
                seconds = time.process_time() - started
            reference = reference or found
            slowest = slowest or seconds
            alike = [(a.score, b.score) for a, b in zip(reference, found, strict=True) if a.tokens == b.tokens]
            bleu = score(vocabulary.decode([one.tokens for one in found]), pairs.translations).values["bleu"]
            speed = sum(len(one.tokens) for one in found) / seconds
            apart = fmean(abs(a - b) for a, b in alike)
            label = name if name == "transformers" else f"{name}, {compute}"
            row = [f"beam {beam}" if beam > 1 else "greedy", label, f"{speed:,.0f}", f"{slowest / seconds:.1f}"]
            row += [f"{bleu:.2f}", f"{100 * len(alike) / len(found):.1f} %", f"{apart:.1e}"]
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
