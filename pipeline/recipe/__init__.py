"""The recipe: how a model is trained in one phase, parsed once and strictly.

`values` says what there is to declare, `kinds` what only recipes hold; `load` is the door, through
the same checks as mixtures; `rates` gives the learning rate, `schema` the JSON Schema.
"""

from pipeline.recipe.load import load_recipe
from pipeline.recipe.rates import learning_rate
from pipeline.recipe.values import (
    ModelKind,
    ModelSpec,
    ObjectiveSpec,
    OptimizerSpec,
    Phase,
    Precision,
    RateSpec,
    Recipe,
    Shape,
    Start,
    checkpoint_prefix,
)

__all__ = [
    "ModelKind",
    "ModelSpec",
    "ObjectiveSpec",
    "OptimizerSpec",
    "Phase",
    "Precision",
    "RateSpec",
    "Recipe",
    "Shape",
    "Start",
    "checkpoint_prefix",
    "learning_rate",
    "load_recipe",
]
