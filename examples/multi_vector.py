"""Fine-tune an encoder to embed every token of a text (ColBERT), on pairs of a query and an answer.

    python examples/multi_vector.py MODEL --data pairs.jsonl --out colbert

The data has the fields `query` and `positive`, and perhaps `negative`; the other texts of a batch
are negatives too. Load the result with PyLate's `models.ColBERT("colbert")`.
Needs `pip install 'ettin-data[colbert]'` in an environment of its own, as PyLate wants older
libraries than the other examples.
"""

from fine_tuning import fine_tune, needs, options, parsed, read_rows, settings, some


def main() -> None:
    parser = options(__doc__, "pairs.jsonl", batch_size=64, learning_rate=3e-5)
    parser.add_argument("--mini-batch-size", type=int, default=16, help="rows in memory at once")
    args = parsed(parser)
    with needs("colbert"):
        from pylate import losses, models, utils
        from sentence_transformers import (
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from transformers import AutoConfig, set_seed

    rows = read_rows(args.data, "query", "positive", optional="negative")
    longest = AutoConfig.from_pretrained(args.model).max_position_embeddings
    set_seed(42)  # The projection to small vectors is new.
    model = models.ColBERT(args.model, document_length=longest)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(**settings(args), batch_sampler="no_duplicates"),
        train_dataset=rows,
        eval_dataset=some(rows),
        loss=losses.CachedContrastive(model, mini_batch_size=args.mini_batch_size),
        data_collator=utils.ColBERTCollator(model.tokenize),
    )
    fine_tune(trainer)


if __name__ == "__main__":
    main()
