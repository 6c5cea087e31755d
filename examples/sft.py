"""Fine-tune a decoder to complete prompts: all of its weights, or an adapter of low rank.

    python examples/sft.py MODEL --data prompts.jsonl --out assistant
    python examples/sft.py MODEL --data prompts.jsonl --out adapter --lora

The data has the fields `prompt` and `completion`; the loss is that of completions, which end with
the model's end of text. Load the result, a model or an adapter, with
`AutoModelForCausalLM.from_pretrained("assistant")`. Needs `pip install 'ettin-data[finetune]'`.
"""

from fine_tuning import fine_tune, needs, options, parsed, read_rows, settings, some


def main() -> None:
    parser = options(__doc__, "prompts.jsonl", batch_size=16, learning_rate=None)
    parser.add_argument("--lora", action="store_true", help="train and save an adapter of low rank")
    args = parsed(parser, "ForCausalLM")
    # An adapter starts from nothing and takes larger steps.
    args.learning_rate = args.learning_rate or (2e-4 if args.lora else 2e-5)
    with needs("finetune"):
        from peft import LoraConfig
        from transformers import set_seed
        from trl import SFTConfig, SFTTrainer

    rows = read_rows(args.data, "prompt", "completion")
    adapter = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    set_seed(42)  # Half of an adapter begins at random.
    trainer = SFTTrainer(
        model=args.model,
        args=SFTConfig(**settings(args)),
        train_dataset=rows,
        eval_dataset=some(rows),
        peft_config=adapter if args.lora else None,
    )
    fine_tune(trainer)


if __name__ == "__main__":
    main()
