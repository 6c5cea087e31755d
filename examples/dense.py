"""Fine-tune an encoder to embed a text as one vector, on pairs of a query and an answer.

    python examples/dense.py MODEL --data pairs.jsonl --out embedder

The data has the fields `query` and `positive`, and perhaps `negative`. The other texts of a batch
are negatives too: a large batch teaches more, and costs time but no memory, as the loss takes it in
parts. Load the result with `SentenceTransformer("embedder")`.
Needs `pip install 'ettin-data[finetune]'`.
"""

from fine_tuning import fine_tune, needs, options, parsed, read_rows, settings, some


def main() -> None:
    parser = options(__doc__, "pairs.jsonl", batch_size=512, learning_rate=8e-5)
    parser.add_argument("--mini-batch-size", type=int, default=32, help="rows in memory at once")
    args = parsed(parser)
    with needs("finetune"):
        from sentence_transformers import (
            SentenceTransformer,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.sentence_transformer.losses import (
            CachedMultipleNegativesRankingLoss,
        )

    rows = read_rows(args.data, "query", "positive", optional="negative")
    # The mean over tokens, up to the length that the model knows.
    model = SentenceTransformer(args.model)
    trainer = SentenceTransformerTrainer(
        model=model,
        # A positive that comes twice in a batch would be its own negative.
        args=SentenceTransformerTrainingArguments(**settings(args), batch_sampler="no_duplicates"),
        train_dataset=rows,
        eval_dataset=some(rows),
        loss=CachedMultipleNegativesRankingLoss(model, mini_batch_size=args.mini_batch_size),
    )
    fine_tune(trainer)


if __name__ == "__main__":
    main()
