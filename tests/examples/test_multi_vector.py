"""PyLate trains an export, in an environment of its own.

Needs what `tests/examples/setup.sh FOLDER` makes:
`ETTIN_EXAMPLES=FOLDER python -m pytest -m oracle`.
"""

import json
from pathlib import Path

from examples import environments
from examples.scripts import learned

pytestmark = environments.needed

LOAD = """\
import json, sys
from pylate.models import ColBERT
model = ColBERT(sys.argv[1])
query, *answers = sys.argv[2:]
embedded = [model.encode([text], is_query=text == query)[0] for text in (query, *answers)]
print(json.dumps([model.document_length, *(len(one) for one in embedded)]))
"""


def test_multi_vector_learns_which_text_answers_a_query(exports: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    few = ["--max-steps", 6, "--learning-rate", 0.001]
    printed = environments.run(
        "colbert",
        "python",
        *["-W", "error::FutureWarning"],
        *["examples/multi_vector.py", exports / "encoder", "--out", out, *few],
    )
    before, after = learned(printed)
    assert after < before * 0.8
    texts = ["why do ships float", "A hull.", "A hull displaces as much as it weighs."]
    length, *vectors = json.loads(environments.run("colbert", "python", "-c", LOAD, out, *texts))
    # As long as the model knows; a query is padded to 32 tokens, each of which has a vector.
    assert length == 400
    assert vectors[0] == 32
    assert vectors[1] < vectors[2]
