"""What a user may have meant: near misses, and names that other libraries have for the same thing."""

import difflib
from collections.abc import Iterable
from typing import Final

# other libraries' names of models, optimizers, schedules and so on, in lower case without punctuation
_OTHER_NAMES: Final = {
    "resnet9": "resnet", "resnet18": "resnet", "resnet34": "resnet", "resnet50": "resnet", "resnext": "resnet",
    "wideresnet": "resnet", "vgg11": "vgg", "vgg16": "vgg", "vgg19": "vgg", "vgg16bn": "vgg", "lenet5": "lenet",
    "airbench94": "airbench", "airbench96": "airbench",
    "cnn": "lenet", "networkinnetwork": "nin", "perceptron": "mlp", "dense": "mlp", "linear": "mlp",
    "sgdm": "momentum", "sgdmomentum": "momentum", "nag": "momentum", "nesterov": "momentum", "sgdnesterov": "momentum",
    "rmsproptf": "rmsprop", "adamwfused": "adamw", "fusedadam": "adam",
    "onecycle": "one-cycle", "onecyclelr": "one-cycle", "1cycle": "one-cycle", "fitonecycle": "one-cycle",
    "cosineannealing": "cosine", "cosineannealinglr": "cosine", "cosinedecay": "cosine", "cos": "cosine",
    "steplr": "step", "multistep": "step", "multisteplr": "step", "piecewise": "step",
    "exp": "exponential", "exponentiallr": "exponential", "exponentialdecay": "exponential",
    "linearlr": "linear", "poly": "linear", "polynomial": "linear", "noam": "inverse-sqrt", "rsqrt": "inverse-sqrt",
    "const": "constant", "constantlr": "constant", "fixed": "constant",
    "hflip": "flip", "fliplr": "flip", "mirror": "flip", "randomhorizontalflip": "flip", "horizontalflip": "flip",
    "randomcrop": "shift", "crop": "shift", "translate": "shift", "default": "standard", "auto": "standard",
    "randomerasing": "cutout", "erasing": "cutout", "off": "none", "false": "none",
    "globalaveragepooling": "gap", "avg": "gap", "avgpool": "gap", "flatten": "fc", "linearhead": "fc",
    "avx512f": "avx512", "avx": "avx2", "arm": "neon", "numpy": "reference", "python": "reference",
    "scalar": "baseline",
}  # fmt: skip


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The known name that a word most likely stands for, None if none is near."""
    names = list(known)
    plain = "".join(c for c in word.casefold() if c.isalnum())
    for name in names:
        if plain and plain == "".join(c for c in name.casefold() if c.isalnum()):
            return name
    if (other := _OTHER_NAMES.get(plain)) in names:
        return other
    near = difflib.get_close_matches(word.casefold(), names, 1, cutoff)
    return near[0] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "; did you mean cosine?", as a message ends, or "" if no known name is near."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""
