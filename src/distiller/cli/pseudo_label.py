"""`distiller pseudo-label`: a teacher translates a corpus, as a job that can be stopped and continued."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distiller.cli.label import part_of
from distiller.errors import ConfigError

if TYPE_CHECKING:
    from distiller.config.translation import Decoding, Teacher
    from distiller.translation.pairs import Pairs
    from distiller.translation.translators import Translator


def pseudo_label(
    model: Annotated[str, typer.Argument(help="The teacher: any encoder–decoder, or with --prompt a causal model.")],
    source: Annotated[str, typer.Argument(help="Sentences, one a line, or a .tsv file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the job.")],
    beam: Annotated[int, typer.Option(help="1 is greedy.", min=1)] = 4,
    n_best: Annotated[int, typer.Option(help="Translations kept for each sentence.", min=1)] = 1,
    length_penalty: Annotated[float, typer.Option(min=0, help="Above 0, beams prefer longer sentences.")] = 0.6,
    sample: Annotated[
        int | None, typer.Option(help="Sample from the k most probable tokens instead; 0 from all.", min=0)
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of sampling.", min=1e-3)] = 1.0,
    seed: Annotated[int, typer.Option(help="Of sampling.")] = 0,
    int8: Annotated[bool, typer.Option("--int8", help="Compute with 8-bit weights (CTranslate2).")] = False,
    engine: Annotated[str, typer.Option(help="auto, ctranslate2 or transformers.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all cores by default.")] = None,
    shard_size: Annotated[int, typer.Option(help="Sentences between two savings.", min=1)] = 1000,
    part: Annotated[str, typer.Option(help="I/N: only every N-th shard from the I-th, for N processes.")] = "0/1",
    max_tokens: Annotated[int, typer.Option(help="Longest sentence in tokens.", min=1, max=510)] = 128,
    skip_bad: Annotated[bool, typer.Option(help="Leave out empty and over-long sentences, and count them.")] = False,
    source_language: Annotated[
        str | None, typer.Option("--from", help="Language code, for mBART, M2M100, NLLB.")
    ] = None,
    target_language: Annotated[str | None, typer.Option("--to", help="Language code.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Text before each sentence, for T5.")] = None,
    prompt: Annotated[str | None, typer.Option(help='Ask a causal model: "Translate to English: {source}".')] = None,
    server: Annotated[str | None, typer.Option(help="Address with OpenAI's protocol that is asked instead.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted job where it stopped.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Translate a corpus with a teacher; a student learns from the result with `sequence.pseudo_labels=[FOLDER]`.

    Examples:

        distiller pseudo-label outputs/nmt-hybrid/teacher train.de -o labels --beam 5 --n-best 5
        distiller pseudo-label facebook/nllb-200-distilled-600M web.de -o labels --from deu_Latn --to eng_Latn
        distiller pseudo-label outputs/nmt-hybrid/teacher web.de -o labels --part 0/4 --int8 --resume
        distiller pseudo-label my-llm train.de -o labels --server http://127.0.0.1:8000/v1 \\
            --prompt "Translate to English: {source}"
    """
    from distiller.cli.console import progress
    from distiller.config import parse
    from distiller.config.translation import Decoding, Teacher
    from distiller.translation import pseudo_labels

    decoding = parse(
        Decoding,
        {
            "beam": 1 if sample is not None else beam,
            "length_penalty": length_penalty,
            "sampling_top_k": sample,
            "sampling_temperature": temperature,
            "engine": engine,
            "compute": "int8" if int8 else "float32",
            "threads": threads,
        },
        where="pseudo-label",
    )
    if n_best > decoding.beam and sample is None:
        raise ConfigError(f"{n_best} translations need a beam of at least {n_best}", hint=f"--beam {n_best}")
    languages = {"source": source_language, "target": target_language, "prefix": prefix}
    asked = {"model": model, "prompt": prompt, "server": server, "languages": languages}
    teacher = parse(Teacher, asked, where="pseudo-label")
    pairs, translator = _opened(teacher, source, decoding, n_best=n_best, max_tokens=max_tokens, skip_bad=skip_bad)
    summary = pseudo_labels.pseudo_label(
        pairs,
        translator,
        output,
        shard_size=shard_size,
        part=part_of(part, "--part"),
        seed=seed,
        resume=resume,
        console=None if quiet else progress(),
    )
    if summary is None:
        typer.echo(f"part {part} is done; the job is finished by the process that finds all parts done", err=True)
        return
    typer.echo(
        f"{summary.sentences:,} sentences, {summary.tokens:,} tokens, {summary.tokens_per_second:,.0f} tokens/s "
        f"({summary.engine}) · {output / pseudo_labels.RESULT}"
    )


def _opened(
    teacher: "Teacher", source: str, decoding: "Decoding", *, n_best: int, max_tokens: int, skip_bad: bool
) -> "tuple[Pairs, Translator]":
    """The sentences in the file `source` that the teacher can read, and the teacher."""
    from distiller.config.shapes import LONGEST
    from distiller.models.encoder_decoder import longest_text
    from distiller.translation.corpus import usable_sentences
    from distiller.translation.students import load_translator
    from distiller.translation.translators import model_translator, prompted_translator

    if teacher.says_only:
        pairs = usable_sentences(source, None, max_tokens=max_tokens, skip_bad=skip_bad)
        return pairs, prompted_translator(teacher, decoding, n_best=n_best)
    assert teacher.model is not None
    model, tokenizer = load_translator(teacher.model, teacher.languages)
    most = min(LONGEST, longest_text(model) or LONGEST)
    pairs = usable_sentences(source, tokenizer, max_tokens=max_tokens, most=most, skip_bad=skip_bad)
    return pairs, model_translator(model, tokenizer, decoding, n_best=n_best)
