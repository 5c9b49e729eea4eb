"""A `transformers.Trainer` script that distils: three lines are new.

python examples/02_trainer_drop_in.py  # tiny models, made here
python examples/02_trainer_drop_in.py TEACHER STUDENT  # folders or ids of fine-tuned models, labels bad/good
"""

import sys
import tempfile

from tiny_inputs import taught, tiny_bert, tiny_dataset, tiny_tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainingArguments,
)

from distiller import DistillationTrainer


def main() -> None:
    if len(sys.argv) > 2:
        teacher, student = (AutoModelForSequenceClassification.from_pretrained(name) for name in sys.argv[1:3])
        tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    else:
        teacher, student, tokenizer = taught(tiny_bert(4)), tiny_bert(2, seed=1), tiny_tokenizer()
    dev = tiny_dataset(64, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = DistillationTrainer(  # 1: instead of `Trainer`
            model=student,
            teacher=teacher,  # 2
            objective={"intermediate": [{"loss": "cos"}], "gamma1": 0.5},  # 3
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=8,
                learning_rate=2e-3,
                per_device_train_batch_size=16,
                eval_strategy="epoch",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=tiny_dataset(256),
            eval_dataset=dev,
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            compute_metrics=lambda seen: {"accuracy": float((seen.predictions.argmax(-1) == seen.label_ids).mean())},
        )
        trainer.train()
        print(f"student accuracy {trainer.evaluate()['eval_accuracy']:.3f} on {len(dev)} examples")


if __name__ == "__main__":
    main()
