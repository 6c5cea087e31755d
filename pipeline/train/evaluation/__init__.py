"""Evaluation: models, and rows or sentences -> what the models make of them.

`opened_models` opens checkpoints and models. `row_losses` computes the losses of rows, which
`held_out` and `recall` choose; `sentence_scores` scores sentences, which `minimal_pairs` and `bias`
compare. `curves` draws the answers over training.
"""

from pipeline.train.evaluation.curves import check_folder, check_picture, draw_curves, write_events
from pipeline.train.evaluation.suites import evaluate_models

__all__ = ["check_folder", "check_picture", "draw_curves", "evaluate_models", "write_events"]
