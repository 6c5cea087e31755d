"""The recipe: how a model is trained in one phase, parsed once and strictly.

`values` says what there is to declare, with `model` and `rates`, which also works out the learning
rate; `kinds` says what only recipes hold. `load` is the door, through the same checks as mixtures;
`schema` is the JSON Schema.
"""

from pipeline.recipe.load import load_recipe
from pipeline.recipe.model import ModelKind, ModelSpec
from pipeline.recipe.rates import RateSpec, Shape, learning_rate
from pipeline.recipe.values import (
    ObjectiveSpec,
    OptimizerSpec,
    Phase,
    Precision,
    Recipe,
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
