"""Fine-tune an encoder to embed a text as weights of few words (SPLADE), on queries and answers.

    python examples/sparse.py MODEL --data pairs.jsonl --out splade

The data has the fields `query` and `positive`, and perhaps `negative`; the other texts of a batch
are negatives too. Load the result with `SparseEncoder("splade")`.
Needs `pip install 'ettin-data[finetune]'`.
"""

from fine_tuning import fine_tune, needs, options, parsed, read_rows, settings, some


def main() -> None:
    parser = options(__doc__, "pairs.jsonl", batch_size=16, learning_rate=2e-5)
    args = parsed(parser, "ForMaskedLM")
    with needs("finetune"):
        from sentence_transformers import (
            SparseEncoder,
            SparseEncoderTrainer,
            SparseEncoderTrainingArguments,
        )
        from sentence_transformers.sparse_encoder.losses import (
            SparseMultipleNegativesRankingLoss,
            SpladeLoss,
        )

    rows = read_rows(args.data, "query", "positive", optional="negative")
    # The largest logit of each word of the vocabulary over the tokens of a text.
    model = SparseEncoder(args.model)
    trainer = SparseEncoderTrainer(
        model=model,
        args=SparseEncoderTrainingArguments(**settings(args), batch_sampler="no_duplicates"),
        train_dataset=rows,
        eval_dataset=some(rows),
        loss=SpladeLoss(
            model,
            loss=SparseMultipleNegativesRankingLoss(model),
            query_regularizer_weight=5e-5,
            document_regularizer_weight=3e-5,
        ),
    )
    fine_tune(trainer)


if __name__ == "__main__":
    main()
