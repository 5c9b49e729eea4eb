"""The baseline score of Table 7 of arXiv:2109.11105: a small BiLSTM trained on the task from scratch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.autodistiller.embeddings import count_words, words_of
from distiller.cache.folders import default_folder, writable
from distiller.errors import DamagedError, DataError, warn
from distiller.files import read_sealed, write_sealed

if TYPE_CHECKING:
    import torch

    from distiller.tasks.data import TaskData

TRAIN, DEV = 2000, 500
"""Examples used of each split: the score tells easy tasks from hard ones, and more would not tell it better."""
LENGTH = 64
"""Words of a text that are read."""
VOCABULARY = 20_000
VERSION = 2
"""Goes up when the same data may get another score."""


def bilstm_score(data: "TaskData", *, epochs: int = 5, seed: int = 0, cache: Path | None = None) -> float:
    """The best development score over `epochs`, on the task's own metric, of a BiLSTM on up to 2,000 examples.

    Embedding 100, one layer of 128 per direction, maximum over words, pairs as [u; v; |u - v|; u * v], one hidden layer
    of 128, dropout 0.3, Adam 1e-3. Stored in `cache` (`$DISTILLER_CACHE` or `~/.cache/distiller`) by the fingerprint of
    the data. Raises `DataError` for tagging and question answering.
    """
    if data.kind not in ("classification", "regression"):
        raise DataError(f"the BiLSTM baseline is for texts with a label, and `{data.name}` is {data.kind}")
    folder = cache or default_folder()
    file = folder / "bilstm" / f"{data.fingerprint[:24]}-{data.metric}-{epochs}-{seed}-{VERSION}.json"
    if file.is_file():
        try:
            return float(read_sealed(file)["score"])
        except DamagedError as error:
            warn(f"{error.message}: it is made again")
    score = _train(data, epochs, seed)
    if writable(folder):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(file, {"score": score, "metric": data.metric, "task": data.name})
    return score


def _train(data: "TaskData", epochs: int, seed: int) -> float:
    import torch
    from torch.nn import functional

    from distiller.device import seeded
    from distiller.tasks.data import sample
    from distiller.tasks.metrics import scores

    train: Any = data.splits["train"]
    dev: Any = data.splits["dev"]
    train = train.take(sample(len(train), TRAIN, seed=seed))
    dev = dev.take(sample(len(dev), DEV, seed=seed))
    counts = count_words([*train.texts, *(train.pairs or ())])
    known = sorted(counts, key=lambda word: (-counts[word], word))[:VOCABULARY]
    ids = {word: number + 2 for number, word in enumerate(known)}  # 0 pads, 1 is any other word
    labels = torch.tensor(train.labels)
    regression = data.kind == "regression"
    with seeded(seed):
        model = _model(len(ids) + 2, 1 if regression else len(data.labels), pairs=train.pairs is not None)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        best = float("-inf")
        inputs, held_out = _encode(train, ids), _encode(dev, ids)
        middle, width = (labels.float().mean(), labels.float().std()) if regression else (0.0, 1.0)
        for _ in range(epochs):
            model.train()
            for rows in torch.randperm(len(labels)).split(32):
                logits = model([column[rows] for column in inputs])
                loss = (
                    functional.mse_loss(logits[:, 0], (labels[rows].float() - middle) / width)
                    if regression
                    else functional.cross_entropy(logits, labels[rows])
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            model.eval()
            with torch.no_grad():
                parts = [model([column[rows] for column in held_out]) for rows in torch.arange(len(dev)).split(256)]
            logits = torch.cat(parts) * width + middle
            best = max(best, scores(data, logits.numpy(), torch.tensor(dev.labels).numpy())[data.metric])
    return best


def _encode(split: Any, ids: dict[str, int]) -> "list[torch.Tensor]":
    import torch

    columns = []
    for texts in (split.texts, split.pairs):
        if texts is not None:
            rows = [[ids.get(word, 1) for word in words_of(text)[:LENGTH]] or [1] for text in texts]
            columns.append(torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows]))
    return columns


def _model(words: int, outputs: int, *, pairs: bool) -> "torch.nn.Module":
    import torch
    from torch import nn

    class BiLSTM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(words, 100, padding_idx=0)
            self.lstm = nn.LSTM(100, 128, bidirectional=True, batch_first=True)
            self.head = nn.Sequential(
                nn.Dropout(0.3),
                nn.Linear(1024 if pairs else 256, 128),
                nn.ReLU(),
                nn.Dropout(0.3),
                nn.Linear(128, outputs),
            )

        def read(self, text: torch.Tensor) -> torch.Tensor:
            lengths = (text > 0).sum(1)
            packed = nn.utils.rnn.pack_padded_sequence(
                self.embed(text), lengths, batch_first=True, enforce_sorted=False
            )
            states, _ = nn.utils.rnn.pad_packed_sequence(
                self.lstm(packed)[0], batch_first=True, padding_value=-1e4, total_length=LENGTH
            )
            return states.amax(1)

        def forward(self, columns: list[torch.Tensor]) -> torch.Tensor:
            u = self.read(columns[0])
            if len(columns) == 1:
                return self.head(u)
            v = self.read(columns[1])
            return self.head(torch.cat([u, v, (u - v).abs(), u * v], -1))

    return BiLSTM()
