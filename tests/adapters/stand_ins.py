"""Stand-ins for packages that Composer imports and a feed never needs.

Other packages look whether they are there, and take more of them if so: hence they are put in place
only once those have been imported.
"""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

_MODULES = [
    "mcli",
    "torchvision",
    "torchvision.datasets",
    "torchvision.models",
    "torchvision.models.resnet",
    "torchvision.ops",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.utils",
]


def put_in_place() -> None:
    """Let modules be imported from which any name can be, with nothing in it."""
    for name in _MODULES:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        module.__getattr__ = _stand_in  # type: ignore[method-assign]
        sys.modules[name] = module
        above, _, own = name.rpartition(".")
        if above:
            setattr(sys.modules[above], own, module)


def _stand_in(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})
