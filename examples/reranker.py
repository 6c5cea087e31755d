"""Fine-tune an encoder to score a query and a text together, on answers and hard negatives.

    python examples/reranker.py MODEL --embedder embedder --data pairs.jsonl --out reranker

The data has the fields `query` and `positive`. Negatives are mined: the texts that an embedder
finds nearest to a query, save its own. A good one is what `examples/dense.py` makes of MODEL; the
default is MODEL itself. Load the result with `CrossEncoder("reranker")`.
Needs `pip install 'ettin-data[finetune]'`.
"""

from fine_tuning import fine_tune, needs, options, parsed, read_rows, settings, some


def main() -> None:
    parser = options(__doc__, "pairs.jsonl", batch_size=64, learning_rate=2e-5)
    parser.add_argument("--embedder", help="folder or name of the model that finds negatives")
    parser.add_argument("--negatives", type=int, default=5, help="how many to a query")
    args = parsed(parser)
    with needs("finetune"):
        import torch
        from sentence_transformers import (
            CrossEncoder,
            CrossEncoderTrainer,
            CrossEncoderTrainingArguments,
            SentenceTransformer,
            mine_hard_negatives,
        )
        from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
        from transformers import set_seed

    rows = mine_hard_negatives(
        read_rows(args.data, "query", "positive"),
        SentenceTransformer(args.embedder or args.model),
        num_negatives=args.negatives,
        output_format="labeled-pair",
    )
    set_seed(42)  # The head that scores is new.
    model = CrossEncoder(args.model, num_labels=1)
    trainer = CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(**settings(args)),
        train_dataset=rows,
        eval_dataset=some(rows),
        # One positive weighs as much as all negatives of its query.
        loss=BinaryCrossEntropyLoss(model, pos_weight=torch.tensor(float(args.negatives))),
    )
    fine_tune(trainer)


if __name__ == "__main__":
    main()
