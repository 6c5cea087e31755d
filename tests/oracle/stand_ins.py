"""Write stand-ins for two packages that the public MDS package imports and shards never need.

Enters: nothing. Leaves: `torchvision` and `transformers` beside the packages of the interpreter
that runs this, with the imported names and nothing in them.
"""

import sysconfig
from pathlib import Path

NAMES = {
    "torchvision.datasets": "VisionDataset",
    "torchvision.transforms.functional": "to_tensor",
    "transformers.feature_extraction_utils": "BatchFeature",
    "transformers.models.auto.tokenization_auto": "AutoTokenizer",
    "transformers.tokenization_utils_base": "BatchEncoding",
}


def main() -> None:
    """Write one module a name."""
    site = Path(sysconfig.get_path("purelib"))
    for module, name in NAMES.items():
        path = site.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"class {name}:\n    pass\n")


if __name__ == "__main__":
    main()
