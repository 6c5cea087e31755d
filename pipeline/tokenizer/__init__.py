"""The tokenizer: load one by name, encode documents fast and exactly."""

from pipeline.tokenizer.encode import Encoded, Tokenizer
from pipeline.tokenizer.load import load

__all__ = ["Encoded", "Tokenizer", "load"]
