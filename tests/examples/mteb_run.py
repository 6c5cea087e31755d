"""Evaluate a model by mteb on pairs of a query and an answer: `mteb_run.py MODEL PAIRS`.

Prints the main score, nDCG@10.
"""

import json
import sys
from pathlib import Path
from typing import Any

import mteb
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from sentence_transformers import SentenceTransformer


class Pairs(AbsTaskRetrieval):
    """Which of all answers is that of a query."""

    metadata = TaskMetadata(
        name="Pairs",
        description="Answers to queries.",
        dataset={"path": "local", "revision": "1"},
        type="Retrieval",
        category="t2t",
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def load_data(self, *_: Any, **__: Any) -> None:
        rows = [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
        queries = [{"id": f"q{n}", "text": row["query"]} for n, row in enumerate(rows)]
        corpus = [{"id": f"d{n}", "text": row["positive"]} for n, row in enumerate(rows)]
        split = {
            "queries": Dataset.from_list(queries),
            "corpus": Dataset.from_list(corpus),
            "relevant_docs": {f"q{n}": {f"d{n}": 1} for n in range(len(rows))},
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


(result,) = mteb.evaluate(SentenceTransformer(sys.argv[1]), [Pairs()], cache=None).task_results
print(result.get_score())
