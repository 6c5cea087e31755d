"""ettin-data: from a mixture file to ordered, verified training shards.

mixture -> sources -> filter, dedup, tokenize, chunk, sample -> shards -> order -> manifest -> feed.
"""

from pipeline.version import VERSION as __version__

__all__ = ["__version__"]
