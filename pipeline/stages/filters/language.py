"""The filter by language: `datatrove` with a fastText model that lies on disk.

datatrove itself would fetch the model from the network on the first document; here the mixture
names the file, so that a build depends on nothing that it did not name.
"""

from pathlib import Path

from pipeline.config import Language
from pipeline.core.document import Document
from pipeline.core.errors import ConfigError
from pipeline.stages.filters.quality import arguments
from pipeline.stages.filters.verdict import Drop, Judge


def judge_language(options: Language, folder: Path) -> Judge:
    """Return the filter by a language's score. Raises: ConfigError for a file that is no model."""
    from datatrove.data import Document as TheirDocument
    from datatrove.pipeline.filters import LanguageFilter
    from fasttext.FastText import _FastText

    given = arguments(options)
    path = folder / given.pop("model")
    theirs = LanguageFilter(**given)
    try:
        # Where datatrove keeps a model once it is loaded.
        theirs.model._model = _FastText(str(path))
    except ValueError as error:
        raise ConfigError(
            f"filters: language.model: {path}: got {error}, expected a fastText model"
        ) from error

    def judge(document: Document) -> Document | Drop:
        passes = theirs.filter(TheirDocument(text=document.text, id=document.id))
        return document if passes else Drop("below_threshold")

    return judge
