"""Runs in the interpreter of `setup_transformers.sh`: tokenizes, decodes and tokenizes again.

Reads one JSON object from stdin: the path of `tokenizer_file` and either `texts`, or `pieces`,
lists of ids; writes the ids of the texts, or of what the pieces decode to, as JSON to stdout.
"""

import json
import os
import sys

os.environ["USE_TORCH"] = os.environ["USE_TF"] = os.environ["USE_FLAX"] = "0"

from transformers import PreTrainedTokenizerFast

# As the published tokenizer_config.json says.
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}


def main() -> None:
    asked = json.load(sys.stdin)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=asked["tokenizer_file"], clean_up_tokenization_spaces=True, **SPECIAL
    )
    texts = asked.get("texts")
    if texts is None:
        texts = tokenizer.batch_decode(asked["pieces"], skip_special_tokens=True)
    ids = tokenizer(texts, truncation=False, padding=False)["input_ids"] if texts else []
    json.dump(ids, sys.stdout)


if __name__ == "__main__":
    main()
