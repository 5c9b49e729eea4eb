"""The `use.py` of an export: a short program that answers with the exported model and does not need this library.

It is assembled from parts that read text, run the model and turn logits into answers, and is then tried out.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from distiller.deploy.finished import Finished
from distiller.deploy.forms import FORMS, input_arrays, input_names
from distiller.deploy.runtimes import Runtime
from distiller.models.heads import HEADS
from distiller.tasks.alignment import tag_names
from distiller.tasks.answers import answers
from distiller.tasks.data import QuestionSplit, Split, TaggedSplit, sample
from distiller.tasks.windows import EncodedQuestions, null_token
from distiller.tasks.words import SET_APART, SPACED, WORD

TRIED = 16
"""Development texts on which a script must say what the library says."""

USAGE = {
    "classification": 'the class of each text and its probability: python use.py "some text" "another text"',
    "multilabel": 'the labels of each text: python use.py "some text" "another text"',
    "regression": 'a number for each text: python use.py "some text" "another text"',
    "tagging": 'a tag for each word: python use.py "some text" "another text"',
    "qa": 'the answer to a question about a text: python use.py "the question" "the text"',
}
PAIRS = "; texts go in pairs, first and second in turn"
ENGINES = {
    "onnxruntime": (
        "numpy tokenizers onnxruntime",
        "import onnxruntime\n",
        """session = onnxruntime.InferenceSession(str(HERE / "model.onnx"))


def run(arrays):
    return session.run(None, arrays)
""",
    ),
    "openvino": (
        "numpy tokenizers openvino",
        "import openvino\n",
        """model = openvino.Core().compile_model(HERE / "model.xml", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})


def run(arrays):
    found = model(arrays)
    return [found[output] for output in model.outputs]
""",
    ),
    "transformers": (
        "torch transformers",
        "import torch\nfrom transformers import {model_class}\n",
        """model = {model_class}.from_pretrained(HERE).eval()


def run(arrays):
    with torch.inference_mode():
        found = model(**{{name: torch.from_numpy(array) for name, array in arrays.items()}})
    return [value.numpy() for value in found.to_tuple() if isinstance(value, torch.Tensor)]
""",
    ),
}
"""Engine → what to install, its imports, and a function from arrays to outputs."""
HEAD = '''"""Prints {usage}.

Needs only: pip install {packages}. Written by Distiller beside an exported model.
"""

import json
{standard}import sys
from pathlib import Path

import numpy as np
{imports}{tokenizer_import}
HERE = Path(__file__).resolve().parent
FACTS = json.loads((HERE / "export.json").read_text("utf-8"))
LABELS = FACTS["labels"]
{tokenizer}
{engine}

def arrays(rows):
    found = {{"input_ids": [row.ids for row in rows], "attention_mask": [row.attention_mask for row in rows]}}
    found["token_type_ids"] = [row.type_ids for row in rows]
    return {{name: np.array(found[name], dtype=np.int64) for name in FACTS["inputs"]}}

'''
FAST = """tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))  # pads, and cuts at the model's longest input
"""
SLOW = """tokenizer = AutoTokenizer.from_pretrained(HERE)  # has no tokenizer.json, which would need less
"""
ENCODE_FAST = """    return arrays(tokenizer.encode_batch(list(texts)))
"""
ENCODE_SLOW = """    rows = [(text, None) if isinstance(text, str) else text for text in texts]
    first, second = [row[0] for row in rows], None if rows[0][1] is None else [row[1] for row in rows]
    found = tokenizer(first, second, padding=True, truncation=True, max_length=FACTS["max_length"])
    return {{name: np.array(found[name], dtype=np.int64) for name in FACTS["inputs"]}}
"""
TEXTS = '''
def encode(texts):
    """`texts` has a text, or a pair of texts, for each row."""
{encode}


def predict(texts):
    logits = run(encode(texts))[0]
{answer}


if __name__ == "__main__":
    given = sys.argv[1:]
    for text, found in zip(given{every}, predict({given}), strict=True):
        print(*found, text, sep="\\t")
'''
ANSWERS = {
    "classification": """    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return [(LABELS[row.argmax()], round(float(row.max()), 4)) for row in shares]
""",
    "multilabel": """    return [(", ".join(LABELS[n] for n in np.flatnonzero(row > 0)),) for row in logits]
""",
    "regression": """    return [(round(float(value), 4),) for value in logits.reshape(-1)]
""",
}
TAGGING = '''
def words_of(text):
    """What blanks and punctuation separate, and single letters in scripts that have no blanks between words."""
    return re.findall(FACTS["spaced" if re.search(FACTS["set_apart"], text) else "words"], text)


def predict(sentences):
    """The tag of each word; a sentence is a list of words, or a text. `_`: behind the longest input."""
    words = [words_of(one) if isinstance(one, str) else one for one in sentences]
    rows = tokenizer.encode_batch([[{space}word for word in row] for row in words], is_pretokenized=True)
    logits = run(arrays(rows))[0]
    found = []
    for tags, row, given in zip(logits.argmax(-1), rows, words, strict=True):
        first = {{}}
        for position, word in enumerate(row.word_ids):
            first.setdefault(word, position)
        found.append([LABELS[tags[first[n]]] if n in first else "_" for n in range(len(given))])
    return found


if __name__ == "__main__":
    for text, tags in zip(sys.argv[1:], predict(sys.argv[1:]), strict=True):
        print(*(f"{{word}}/{{tag}}" for word, tag in zip(words_of(text), tags, strict=True)))
'''
QA = '''
def answer(question, context):
    """The part of `context` that answers `question`; long contexts are read in overlapping windows."""
    tokenizer.no_truncation()
    room = FACTS["max_length"] - tokenizer.num_special_tokens_to_add(True)
    longest = min(FACTS["max_question_length"], room - 1)
    asked = tokenizer.encode(question, add_special_tokens=False).offsets[:longest]
    overlap = min(FACTS["stride"], room - len(asked) - 1)
    tokenizer.enable_truncation(FACTS["max_length"], stride=overlap, strategy="only_second")
    whole = tokenizer.encode(question[: asked[-1][1]] if asked else question, context)
    windows = [whole, *whole.overflowing]
    most = {}  # the window in which a token has most context around it: an answer starts only there
    for number, window in enumerate(windows):
        inside = [position for position, sequence in enumerate(window.sequence_ids) if sequence == 1]
        for place, position in enumerate(inside):
            around = min(place, len(inside) - 1 - place) + 0.01 * len(inside)
            most[window.offsets[position]] = max(most.get(window.offsets[position], (-1, 0)), (around, -number))
    best, nothing = (-np.inf, 0, 0), np.inf
    for number, window in enumerate(windows):
        start, end = (np.array(scores[0]) for scores in run(arrays([window])))
{null}        inside = np.array([sequence == 1 for sequence in window.sequence_ids])
        own = inside & np.array([most.get(span, (0, 1))[1] == -number for span in window.offsets])
        sums = np.where(own, start, -np.inf)[:, None] + np.where(inside, end, -np.inf)[None, :]
        sums = np.where(np.tri(len(start), k=-1) + np.tri(len(start), k=-FACTS["max_answer_length"]).T, -np.inf, sums)
        first, last = divmod(int(sums.argmax()), len(start))
        best = max(best, (sums[first, last], window.offsets[first][0], window.offsets[last][1]))
    return {answer}context[best[1] : best[2]]


if __name__ == "__main__":
    print(answer(sys.argv[1], sys.argv[2]))
'''


MAIN = 'if __name__ == "__main__":\n'
WRONG_TEXTS = """    if {wrong}:
        sys.exit(__doc__)
"""
NULL_SCORE = """        null = window.ids.index(FACTS["null_token"])
        nothing = min(nothing, start[null] + end[null])
"""
NULL_TEXT = """"" if nothing - best[0] > FACTS["null_threshold"] else """


def write_script(source: Finished, form: str, folder: Path) -> dict[str, Any]:
    """Write the tokenizer, `use.py` and the student's card into an export; returns the facts that the script reads."""
    fast = _save_tokenizer(source, folder)
    body = _body(source, fast=fast).replace(MAIN, MAIN + WRONG_TEXTS.format(wrong=_wrong_call(source)))
    (folder / "use.py").write_text(_head(source, form, fast=fast) + body, encoding="utf-8")
    card = source.folder / "README.md"
    if card.is_file() and not (folder / card.name).exists():
        shutil.copy2(card, folder / card.name)
    return _facts(source)


def _head(source: Finished, form: str, *, fast: bool) -> str:
    """How the script is called, its imports, and the functions that read texts and run the model."""
    packages, imports, engine = ENGINES[FORMS[form].traits["engine"]]
    names = {"model_class": HEADS[source.kind].__name__}
    if not fast and "transformers" not in packages:
        packages += " transformers"
    return HEAD.format(
        usage=USAGE[source.kind] + (PAIRS if source.pairs and source.kind != "qa" else ""),
        packages=packages,
        standard="import re\n" if source.kind == "tagging" else "",
        imports=imports.format(**names),
        tokenizer_import="from tokenizers import Tokenizer\n" if fast else "from transformers import AutoTokenizer\n",
        tokenizer=(FAST if fast else SLOW).rstrip(),
        engine=engine.format(**names),
    )


def _body(source: Finished, *, fast: bool) -> str:
    """What the script makes of the model's outputs."""
    tokenizer: Any = source.tokenizer
    if source.kind == "tagging":
        # a tokenizer of bytes knows most words with the space before them
        spaced = fast and "ByteLevel" in repr(tokenizer.backend_tokenizer.pre_tokenizer)
        return TAGGING.format(space='" " + ' if spaced else "")
    if source.kind == "qa":
        known = source.run is not None and source.run.task.null_answers
        body = QA.replace("{null}", NULL_SCORE if known else "").replace("{answer}", NULL_TEXT if known else "")
        return body if known else body.replace("best, nothing = (-np.inf, 0, 0), np.inf", "best = (-np.inf, 0, 0)")
    return TEXTS.format(
        encode=(ENCODE_FAST if fast else ENCODE_SLOW).rstrip(),
        answer=ANSWERS[source.kind].rstrip(),
        every="[::2]" if source.pairs else "",
        given="list(zip(given[::2], given[1::2], strict=True))" if source.pairs else "given",
    )


def _wrong_call(source: Finished) -> str:
    """The condition of the script under which it says how it is called."""
    if source.kind == "qa":
        return "len(sys.argv) != 3"
    return "len(sys.argv) < 3 or len(sys.argv) % 2 == 0" if source.pairs else "len(sys.argv) < 2"


def _facts(source: Finished) -> dict[str, Any]:
    """What the script reads beside the model."""
    facts: dict[str, Any] = {"inputs": input_names(source), "labels": source.labels, "max_length": source.max_length}
    if source.kind == "qa":
        task = source.run.task if source.run else None
        for name, default in (("stride", 128), ("max_question_length", 64), ("max_answer_length", 30)):
            facts[name] = getattr(task, name, default)
        if task is not None and task.null_answers:
            facts |= {"null_token": null_token(source.tokenizer), "null_threshold": task.null_threshold}
    if source.kind == "tagging":
        facts |= {"words": WORD.pattern, "spaced": SPACED.pattern, "set_apart": SET_APART.pattern}
    return facts


def _save_tokenizer(source: Finished, folder: Path) -> bool:
    """The tokenizer's own files and, where it has one, a `tokenizer.json` that pads and truncates by itself."""
    tokenizer: Any = source.tokenizer
    before, tokenizer.model_max_length = tokenizer.model_max_length, source.max_length
    tokenizer.save_pretrained(folder)
    tokenizer.model_max_length = before
    if not tokenizer.is_fast:
        return False
    from tokenizers import Tokenizer

    alone = Tokenizer.from_file(str(folder / "tokenizer.json"))
    alone.enable_truncation(source.max_length, strategy="only_second" if source.kind == "qa" else "longest_first")
    alone.enable_padding(
        pad_id=tokenizer.pad_token_id,
        pad_token=tokenizer.pad_token,
        pad_type_id=tokenizer.pad_token_type_id,
        direction=tokenizer.padding_side,
    )
    alone.save(str(folder / "tokenizer.json"))
    return True


def try_script(source: Finished, folder: Path, run: Runtime) -> float | None:
    """Share of some development texts on which `use.py` answers as the library does with the same exported model.

    `None` where there are no texts. Raises what the script raises.
    """
    dev = source.tokens("dev")
    if dev is None:
        return None
    split, encoded = dev
    script = imported(folder / "use.py")
    rows = sample(len(split), TRIED, seed=0)
    if isinstance(split, QuestionSplit) and isinstance(encoded, EncodedQuestions):
        return _answers_agree(source, split.take(rows), script, run)
    same = 0
    for row in rows:
        logits = run(input_arrays(source, encoded, [row]))
        if isinstance(split, TaggedSplit):
            assert source.labels is not None
            assert encoded.gold is not None
            words = list(split.words[row])
            ours = tag_names(logits[0].argmax(-1), encoded.gold[row], source.labels, words=len(words))
            same += ours == script.predict([words])[0]
        elif isinstance(split, Split):
            text = split.texts[row] if split.pairs is None else (split.texts[row], split.pairs[row])
            same += bool(np.allclose(script.run(script.encode([text]))[0], logits, atol=1e-3))
    return same / len(rows)


def _answers_agree(source: Finished, split: QuestionSplit, script: Any, run: Runtime) -> float:
    from distiller.tasks.tokens import encode_split

    assert source.run is not None
    task = source.run.task
    encoded = encode_split(split, source.tokenizer, task, source.max_length)
    assert isinstance(encoded, EncodedQuestions)
    logits = np.zeros((len(encoded), max(encoded.lengths), 2), dtype=np.float32)
    for row in range(len(encoded)):
        logits[row, : encoded.lengths[row]] = run(input_arrays(source, encoded, [row]))[0]
    found = answers(encoded, split, logits[..., 0], logits[..., 1], **task.answer_limits)
    said = [script.answer(question, context) for question, context in zip(split.questions, split.contexts, strict=True)]
    return sum(one == found[key].text for one, key in zip(said, split.question_ids, strict=True)) / len(split)


def imported(file: Path) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location("use", file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(file.read_text(encoding="utf-8"), file, "exec"), module.__dict__)  # leaves no __pycache__ there
    return module
