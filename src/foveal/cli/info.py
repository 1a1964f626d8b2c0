"""foveal info: the installation and the machine."""

from importlib.metadata import version

import click

from foveal.cli.options import json_option, machine_options
from foveal.cli.output import print_json


@click.command(short_help="Show version, instruction sets, threads and compute kernels.")
@machine_options
@json_option
def info(threads: int | None, isa: str | None, as_json: bool) -> None:
    """Show what foveal is and what it finds on this machine.

    \b
    Example:
      foveal info
      FOVEAL_ISA=avx2 FOVEAL_THREADS=1 foveal info --json
    """
    from foveal.data.cache import LIMIT, cache_folder, cache_size
    from foveal.kernels import available_isas, kernel_names, resolve_isa, resolve_threads

    chosen, kernels, size = resolve_isa(isa), kernel_names(), cache_size(cache_folder())
    facts = {
        "version": version("foveal"),
        "isa": chosen,
        "isa_available": list(available_isas()),
        "threads": resolve_threads(threads),
        "kernels": list(kernels),
        "cache": str(cache_folder()),
        "cache_bytes": size,
        "cache_limit_bytes": LIMIT,
    }
    if as_json:
        print_json(facts)
        return
    click.echo(f"foveal {facts['version']}")
    click.echo(f"instruction set  {chosen} (this processor: {', '.join(available_isas())})")
    click.echo(f"threads          {facts['threads']}")
    click.echo(f"image cache      {facts['cache']} ({size / 1e6:.0f} MB of {LIMIT / 1e6:.0f} MB)")
    click.echo(f"compute kernels  {len(kernels)}: {', '.join(kernels)}")
