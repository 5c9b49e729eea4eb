"""The student's vocabulary cut down to the texts of its task, and how many texts that changes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from distiller.augment import check_policy
from distiller.config import Run
from distiller.errors import ConfigError
from distiller.models.load import NO_LIMIT, token_count
from distiller.models.students import same_vocabulary
from distiller.models.vocabulary import Vocabulary, cut_tokenizer, token_ids
from distiller.record import VocabularyFacts
from distiller.tasks.data import TRANSFER, QuestionSplit, TaskData
from distiller.tasks.encode import EncodedSplit
from distiller.tasks.tokens import Tokens, encode_split
from distiller.tasks.windows import EncodedQuestions

if TYPE_CHECKING:
    from distiller.run.plan import RunPlan


def task_vocabulary(
    run: Run, data: TaskData, tokenizer: PreTrainedTokenizerBase, student: PretrainedConfig
) -> tuple[Vocabulary, bool]:
    """What `run` keeps of the student's vocabulary, and whether all texts that it learns from keep their tokens.

    Only texts for training are counted, labelled or not; development rows stay unseen. Raises as `cut_tokenizer` does.
    """
    task = run.task.model_copy(update={"truncate": True})
    counts = np.zeros(token_count(tokenizer), dtype=np.int64)
    for split in data.transfer:
        # texts that are longer than the longest input are counted whole: new ones may begin where these end
        length = task.max_length if isinstance(split, QuestionSplit) else None
        encoded = encode_split(split, tokenizer, task, length or NO_LIMIT, unanswered=True)
        counts += np.bincount(encoded.tokens, minlength=len(counts))
    wish = run.student.vocabulary
    size = wish if isinstance(wish, int) else None
    vocabulary = cut_tokenizer(tokenizer, counts, size, also=token_ids(student).values())
    gone = np.ones(len(counts), dtype=bool)
    gone[vocabulary.kept[vocabulary.kept < len(counts)]] = False
    rewritten = set(check_policy(run.augmentation)) - {"mixup"}
    return vocabulary, not rewritten and not counts[gone].any()


def vocabulary_facts(plan: "RunPlan", tokens: Tokens, teacher_tokens: Tokens) -> VocabularyFacts | None:
    """How many pieces are left, and the share of texts of each split that now have other tokens.

    `None` if nothing was cut. Raises `ConfigError` if texts are to be compared token by token and cannot be.
    """
    vocabulary = plan.vocabulary
    if vocabulary is None:
        return None
    whole: Mapping[str, EncodedSplit] = teacher_tokens
    if plan.teacher is None or not same_vocabulary(vocabulary.source, plan.teacher_tokenizer):
        splits, task = plan.data.splits, plan.run.task
        whole = {name: encode_split(splits[name], vocabulary.source, task, plan.max_length) for name in tokens}
    affected = {name: _share_affected(vocabulary, tokens[name], whole[name]) for name in tokens}
    if (
        plan.token_by_token
        and not plan.by_characters
        and plan.teacher is not None
        and any(affected.get(name) for name in TRANSFER)
    ):
        raise ConfigError(
            "some training texts have other pieces in the student's vocabulary than in the teacher's",
            hint="leave out student.vocabulary, or objectives that compare tokens",
        )
    return VocabularyFacts(pieces=len(vocabulary), whole=vocabulary.whole, affected=affected)


def vocabulary_line(facts: VocabularyFacts) -> str:
    """For people: what was cut, and what that changed."""
    shares = ", ".join(f"{100 * share:.1f} % of {name}" for name, share in facts.affected.items())
    return (
        f"the student's vocabulary has {facts.pieces:,} of {facts.whole:,} pieces; texts that are read in smaller "
        f"pieces for it: {shares}"
    )


def _share_affected(vocabulary: Vocabulary, tokens: EncodedSplit, whole: EncodedSplit) -> float:
    ours, theirs = _texts(tokens), _texts(whole)
    texts = max(len(ours), len(theirs))
    same = 0
    for number in ours.keys() & theirs.keys():
        same += vocabulary.same(ours[number], theirs[number])
    return 1 - same / texts


def _texts(encoded: EncodedSplit) -> dict[int, np.ndarray]:
    """The tokens of each text; for a question those of all its windows."""
    rows = np.split(encoded.tokens, encoded.starts[1:-1])
    if not isinstance(encoded, EncodedQuestions):
        return dict(enumerate(rows))
    found: dict[int, list[np.ndarray]] = {}
    for question, row in zip(encoded.questions.tolist(), rows, strict=True):
        found.setdefault(question, []).append(row)
    return {question: np.concatenate(windows) for question, windows in found.items()}
