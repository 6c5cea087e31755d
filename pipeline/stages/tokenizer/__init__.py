"""The tokenizer: load one by name, encode documents fast and exactly."""

from pipeline.stages.tokenizer.encode import Tokenizer
from pipeline.stages.tokenizer.resolve import EMBEDDED, load_tokenizer, read_json
from pipeline.stages.tokenizer.special_ids import read_frame
from pipeline.stages.tokenizer.tokenize import tokenize, without_content

__all__ = [
    "EMBEDDED",
    "Tokenizer",
    "load_tokenizer",
    "read_frame",
    "read_json",
    "tokenize",
    "without_content",
]
