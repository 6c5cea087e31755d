"""ettin-data: from a mixture file to ordered, verified training shards.

mixture -> plan -> sources -> tokenize -> chunks -> sample -> order -> shards -> manifest -> verify.
"""

from pipeline.version import VERSION as __version__

__all__ = ["__version__"]
