"""Print what the `transformers` of this interpreter computes from an exported model:

    python -m adapters.logits_of_export MODEL TEXT OUT

Writes the logits of a text, and for a decoder the ids that it generates, and prints the ids.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    __version__,
)


def main(folder: str, text: str, out: str) -> None:
    """Load, compute, write, print."""
    kind = AutoConfig.from_pretrained(folder).model_type
    loader = AutoModelForCausalLM if kind == "modernbert-decoder" else AutoModelForMaskedLM
    model = loader.from_pretrained(folder, attn_implementation="sdpa").eval()
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids
    with torch.no_grad():
        torch.save(model(input_ids=ids).logits, Path(out))
    print(json.dumps({"version": __version__, "ids": ids[0].tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
