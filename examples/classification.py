"""Fine-tune an encoder to classify texts or pairs of texts: on rows of your own, or a task of GLUE.

    python examples/classification.py MODEL --data labels.jsonl --out classifier
    python examples/classification.py MODEL --data mnli --epochs 3 --out mnli

The data has the fields `text` and `label`, and perhaps `text_pair`; labels are all words or all
whole numbers. A task of GLUE, which is fetched from the Hub, is measured on its validation split.
Load the result with `pipeline("text-classification", "classifier")`.
Needs `pip install 'ettin-data[finetune]'`.
"""

import sys
from typing import Any

from fine_tuning import fine_tune, needs, options, parsed, read_rows, settings, some

GLUE = {
    "cola": ["sentence"],
    "mnli": ["premise", "hypothesis"],
    "mrpc": ["sentence1", "sentence2"],
    "qnli": ["question", "sentence"],
    "qqp": ["question1", "question2"],
    "rte": ["sentence1", "sentence2"],
    "sst2": ["sentence"],
    "stsb": ["sentence1", "sentence2"],
    "wnli": ["sentence1", "sentence2"],
}
MEASURES = {"cola": "matthews", "mrpc": "f1", "qqp": "f1", "stsb": "spearman"}


def read_glue(task: str) -> tuple[Any, Any]:
    """Return the rows of a task to train on, and those to measure on."""
    from datasets import load_dataset

    splits = load_dataset("nyu-mll/glue", task)
    splits = splits.rename_columns(dict(zip(GLUE[task], ["text", "text_pair"], strict=False)))
    return splits["train"], splits["validation_matched" if task == "mnli" else "validation"]


def measure(predicted: Any) -> dict[str, float]:
    """Return the measures of GLUE for logits [rows, classes], or numbers [rows, 1], and labels."""
    from scipy.stats import spearmanr
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    logits, labels = predicted
    if logits.shape[1] == 1:
        return {"spearman": spearmanr(logits[:, 0], labels).statistic}
    found = logits.argmax(axis=1)
    measures = {
        "accuracy": accuracy_score(labels, found),
        "matthews": matthews_corrcoef(labels, found),
    }
    return measures | ({"f1": f1_score(labels, found)} if logits.shape[1] == 2 else {})


def main() -> None:
    args = parsed(options(__doc__, "labels.jsonl", batch_size=32, learning_rate=5e-5))
    with needs("finetune"):
        from transformers import (
            AutoModelForSequenceClassification,
            AutoTokenizer,
            Trainer,
            TrainingArguments,
            set_seed,
        )

    if args.data in GLUE:
        rows, held_out = read_glue(args.data)
    else:
        rows = read_rows(args.data, "text", "label", optional="text_pair")
        rows = rows.class_encode_column("label")
        held_out = some(rows)
        if rows.features["label"].num_classes < 2:
            sys.exit(f"{args.data}: got one label in all rows, expected two or more")
    names = getattr(rows.features["label"], "names", ["similarity"])
    set_seed(42)  # The head that classifies is new.
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model,
        id2label=dict(enumerate(names)),
        label2id={name: n for n, name in enumerate(names)},
    )
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    longest = model.config.max_position_embeddings

    def tokenize(batch: Any) -> Any:
        return tokenizer(batch["text"], batch.get("text_pair"), truncation=True, max_length=longest)

    trainer = Trainer(
        model=model,
        args=TrainingArguments(**settings(args)),
        train_dataset=rows.map(tokenize, batched=True),
        eval_dataset=held_out.map(tokenize, batched=True),
        processing_class=tokenizer,
        compute_metrics=measure,
    )
    if args.data in GLUE:
        fine_tune(trainer, MEASURES.get(args.data, "accuracy"), of="rows of the validation split")
    else:
        fine_tune(trainer, "accuracy")


if __name__ == "__main__":
    main()
