"""Evaluation: models and the output that they were trained on -> losses of chosen rows.

`opened_models` opens checkpoints and models, `row_losses` computes what a model makes of rows;
`held_out` and `recall` choose the rows and say what the losses mean.
"""

from pipeline.train.evaluation.suites import SUITES, evaluate_models

__all__ = ["SUITES", "evaluate_models"]
