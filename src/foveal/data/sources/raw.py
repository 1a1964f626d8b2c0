"""What a source gives: images in the parts that it came in, not yet split."""

from dataclasses import dataclass

from foveal.data.images import Images
from foveal.data.preprocess import Preprocess


@dataclass(frozen=True)
class Options:
    """What a user can say about reading: size in pixels, whether to skip unreadable files, whether to use the cache.

    preprocess: read the images as a model's were, whatever their own size.
    """

    size: int | None = None
    skip_bad: bool = False
    cache: bool = True
    preprocess: Preprocess | None = None


@dataclass(frozen=True, eq=False)
class Raw:
    """A source's images: validation and test as given, None where the source has no such part."""

    name: str
    train: Images
    validation: Images | None
    test: Images | None
    preprocess: Preprocess  # not yet fitted
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Images]:
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: images for name, images in given.items() if images is not None}
