"""The objectives are plain functions: use them in a loop of your own, without a `Run` or a trainer.

    python examples/04_loss_functions_alone.py

Each returns one number for each example; what to weight and how to reduce is up to you.
"""

import torch
from tiny_inputs import taught, tiny_bert, tiny_rows, tiny_tokenizer

from distiller.losses import cos, kl
from distiller.objectives import skip


def main() -> None:
    tokenizer = tiny_tokenizer()
    teacher, student = taught(tiny_bert(4)), tiny_bert(2, seed=1).train()
    layers = skip(teacher.config.num_hidden_layers, student.config.num_hidden_layers)
    optimizer = torch.optim.AdamW(student.parameters(), 2e-3)
    texts = [text for text, _ in tiny_rows(320)]  # no label is needed: the teacher has answers
    for step in range(40):
        batch = tokenizer(texts[8 * step : 8 * step + 32], padding=True, return_tensors="pt")
        with torch.no_grad():
            taught_by = teacher(**batch, output_hidden_states=True)
        heard = student(**batch, output_hidden_states=True)
        soft = kl(heard.logits, taught_by.logits, temperature=2.0)
        hidden = sum(
            cos(heard.hidden_states[pair.student], taught_by.hidden_states[pair.teacher], batch["attention_mask"])
            for pair in layers
        )
        loss = soft.mean() + 0.5 * hidden.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            agree = (heard.logits.argmax(-1) == taught_by.logits.argmax(-1)).float().mean()
            print(f"step {step + 1:3}  kl {soft.mean():.4f}  cos {hidden.mean():.4f}  agreement {agree:.2f}")


if __name__ == "__main__":
    main()
