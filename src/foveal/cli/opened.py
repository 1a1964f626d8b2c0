"""Opening the RUN of a command."""

from typing import TYPE_CHECKING

from foveal.cli.own_layers import check_used, import_layers

if TYPE_CHECKING:
    from foveal.run import Run


def open_run(
    path: str,
    layers: str | None = None,
    *,
    tta: str | None = None,
    threads: int | None = None,
    isa: str | None = None,
) -> "Run":
    """The run folder or model file, with the layers of one's own that it needs. Raises RunError, UsageError."""
    from foveal.layers.base import to_json
    from foveal.run import load_run

    own = import_layers(layers)
    run = load_run(path, tta=tta, threads=threads, isa=isa)
    check_used(layers, own, to_json(run.model.net))
    return run
