"""Fill docs/benchmarks.md and algorithms.md and draw bench.svg, from what `foveal bench` and benchmarks/*.py found.

.venv/bin/python docs/make_bench.py      # a test fails when the page or the picture has drifted from benchmarks/results
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE, PICTURE, RESULTS = HERE / "benchmarks.md", HERE / "bench.svg", HERE.parent / "benchmarks" / "results"
ALGORITHMS = HERE / "algorithms.md"
LABELS = {
    "vgg": "BN-VGG", "nin": "NIN", "nin-bn": "NIN, batch norm", "lenet": "LeNet", "mlp": "MLP",
    "resnet": "ResNet, small", "depthwise": "depthwise",
}  # fmt: skip
OURS, THEIRS = "#0072b2", "#d55e00"  # told apart by the colour-blind too (Okabe and Ito)


def found(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def steps_table(name: str) -> list[str]:
    """Steps of one run of `foveal bench --against torch`."""
    rows = [
        "| network (batch) | foveal, ms (p10–p90) | PyTorch, ms (p10–p90) | mode | ratio | GFLOP/s as if direct | "
        "computed | of the peak loop |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for it in found(name)["results"]:
        ours, theirs = it["times"]["foveal"], it["times"][it["best"]]
        direct, true = (1e3 * it["gflop"][kind] / ours["median"] for kind in ("direct", "true"))
        rows.append(
            f"| {LABELS[it['net']]} ({it['batch']}) | {_time(ours)} | {_time(theirs)} | {it['best']} | "
            f"**{it['ratio']:.2f}** | {direct:.0f} | {true:.0f} | {100 * true / it['peak']:.0f} % |"
        )
    return rows


def ratios_table(*names: str, machine: str = "") -> list[str]:
    """Ratios alone, a column for each run."""
    runs = [{it["net"]: it for it in found(machine + name)["results"]} for name in names]
    rows = ["| network |" + "".join(f" {name} |" for name in names), "|---|" + "---|" * len(names)]
    return rows + [f"| {LABELS[net]} |" + "".join(f" {run[net]['ratio']:.2f} |" for run in runs) for net in runs[0]]


def floors_table(name: str) -> list[str]:
    """How far each network's step is from what its arithmetic and its traffic alone would take."""
    rows = [
        "| network | ms | arithmetic alone, ms | traffic alone, ms | bytes a step | of the bandwidth |",
        "|---|---|---|---|---|---|",
    ]
    for it in found(name)["results"]:
        ms = it["times"]["foveal"]["median"]
        compute, memory = 1e3 * it["gflop"]["true"] / it["peak"], 1e3 * it["gigabytes"] / it["bandwidth"]
        rows.append(
            f"| {LABELS[it['net']]} | {ms:.1f} | {compute:.1f} | {memory:.1f} | {1e3 * it['gigabytes']:,.0f} MB | "
            f"{100 * memory / ms:.0f} % |"
        )
    return rows


def time_table() -> list[str]:
    rows = ["| recipe | from | foveal | PyTorch | ratio |", "|---|---|---|---|---|"]
    for it in found("time_to_accuracy"):
        ours, theirs = (f"{it[who]['seconds']:.0f} s, {it[who]['accuracy']:.2f} %" for who in ("foveal", "torch"))
        rows.append(f"| {it['recipe']} | {it['from']} | {ours} | {theirs} | **{it['ratio']:.2f}** |")
    return rows


def memory_table() -> list[str]:
    rows = [
        "| network (batch) | foveal: beyond import, whole | PyTorch: beyond import, whole | share |",
        "|---|---|---|---|",
    ]
    for it in found("memory"):
        ours, theirs = it["foveal"], it["torch"]
        rows.append(
            f"| {LABELS[it['net']]} ({it['batch']}) | {ours['training']:.0f} MB, {ours['whole']:.0f} MB | "
            f"{theirs['training']:.0f} MB, {theirs['whole']:.0f} MB | "
            f"{100 * ours['training'] / theirs['training']:.0f} % |"
        )
    return rows


def inference_table() -> list[str]:
    rows = [
        "| network | batch | foveal, ms | PyTorch, ms | ratio | onnxruntime, ms | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for it in found("inference"):
        cells = [f"{it[who]:.2f} | {it[who] / it['foveal']:.2f}" for who in ("torch", "onnxruntime")]
        rows.append(f"| {LABELS[it['net']]} | {it['batch']} | {it['foveal']:.2f} | {' | '.join(cells)} |")
    return rows


def keras_jax_table() -> list[str]:
    """Steps beside Keras and JAX, each in a process of its own with foveal."""
    rows = [
        "| network | foveal, ms | Keras, ms | ratio | foveal, ms | JAX, ms | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    every = {(it["net"], it["peer"]): it for it in found("keras_jax")}
    for net in dict.fromkeys(net for net, _ in every):
        cells = []
        for peer in ("keras", "jax"):
            it = every[net, peer]
            theirs = min(ms for name, ms in it["ms"].items() if name != "foveal")
            cells.append(f"{it['ms']['foveal']:.1f} | {theirs:.1f} | {it['ratio']:.2f}")
        rows.append(f"| {LABELS[net]} | {' | '.join(cells)} |")
    return rows


def data_table() -> list[str]:
    """Images a second from archives of JPEGs."""
    rows = [
        "| archive | foveal, images/s | all that loading does | PyTorch DataLoader | with draft | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for it in found("loading"):
        ways = ("foveal", "foveal_load_dataset", "pytorch", "pytorch_draft")
        cells = [f"{it[way]['images_per_second']:,}" for way in ways]
        rows.append(f"| {it['archive']} | {' | '.join(cells)} | **{it['foveal_over_pytorch']:.2f}** |")
    return rows


def footprint_table() -> list[str]:
    it = found("footprint")
    figures = {
        "wheel": f"{it['wheel_mb']:.2f} MB", "environment": f"{it['environment_mb']:.0f} MB",
        "build from sources": f"{it['build_seconds']:.0f} s",
        "`import foveal`, beyond NumPy": f"{it['import_beyond_numpy_seconds']:.3f} s",
        "process start to first trained batch": f"{it['first_batch_seconds']:.2f} s",
        "Python in a training step": f"{it['train_step_python_us']:.0f} µs",
    }  # fmt: skip
    return ["| what | foveal |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures.items())]


def growth_table() -> list[str]:
    rows = [
        "| changed | batch | threads | width | image | foveal, ms | images/s | PyTorch, ms | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for it in found("growth")["growth"]:
        rows.append(
            f"| {it['changed']} | {it['batch']} | {it['threads']} | {it['width']:g} | {it['size']}×{it['size']} | "
            f"{it['foveal']:.1f} | {1e3 * it['batch'] / it['foveal']:,.0f} | {it['torch']:.1f} | {it['ratio']:.2f} |"
        )
    return rows


def neighbour_table() -> list[str]:
    rows = [
        "| network | foveal, ms alone | beside it | times as slow | PyTorch, times as slow |",
        "|---|---|---|---|---|",
    ]
    for it in found("growth")["neighbour"]:
        alone, busy = it["ms"]["foveal"]
        ours, theirs = it["slower"]["foveal"], it["slower"]["torch"]
        rows.append(f"| {LABELS[it['net']]} | {alone:.1f} | {busy:.1f} | **{ours:.2f}** | {theirs:.2f} |")
    return rows


def grid() -> dict[tuple[str, str], dict[str, Any]]:
    """Results of benchmarks/shapes.py: (layer, direction) → instruction set → row."""
    every: dict[tuple[str, str], dict[str, Any]] = {}
    for isa in ("avx512", "avx2"):
        for it in found(f"shapes_{isa}")["rows"]:
            every.setdefault((it["layer"], it["direction"]), {})[isa] = it
    return every


def shapes_table() -> list[str]:
    """A row for each layer: what runs it, its share of the peak or of the bandwidth, and its ratio to PyTorch."""
    rows = [
        "| layer | algorithm | AVX-512: forward, backward | ratio | AVX2: forward, backward | ratio |",
        "|---|---|---|---|---|---|",
    ]
    every = grid()
    for layer in dict.fromkeys(layer for layer, _ in every):
        cells = []
        for isa in ("avx512", "avx2"):
            ways = [every[layer, direction][isa] for direction in ("forward", "backward")]
            cells += [", ".join(map(_share, ways)), ", ".join(f"{it['ratio']:.2f}" for it in ways)]
        rows.append(f"| {layer} | {every[layer, 'forward']['avx512']['algorithm']} | {' | '.join(cells)} |")
    return rows


def losses_list() -> list[str]:
    """Rows in which PyTorch is faster."""
    behind = [
        (it["ratio"], f"- {layer}, {direction}, {'AVX-512' if isa == 'avx512' else 'AVX2'}: {it['ratio']:.2f}")
        for (layer, direction), row in grid().items()
        for isa, it in row.items()
        if it["ratio"] < 1
    ]
    return [text for _, text in sorted(behind)] or ["None."]


def refusals_table() -> list[str]:
    """What each algorithm of convolutions answered to one of the layers that it refused."""
    rows = ["| algorithm | a layer that it refused | because |", "|---|---|---|"]
    seen = set()
    for (layer, _), row in grid().items():
        for text in row["avx512"]["refused"]:
            if text not in seen:
                seen.add(text)
                name, _, reason = text.partition(": ")
                rows.append(f"| {name} | {layer} | {reason} |")
    return [*rows[:2], *sorted(rows[2:])]


def _share(it: dict[str, Any]) -> str:
    peak, bandwidth = 100 * it["of_peak"], 100 * it["of_bandwidth"]
    return f"{peak:.0f} %" if it["algorithm"] not in ("values", "depthwise") else f"{bandwidth:.0f} % of bandwidth"


def _time(timing: dict[str, float]) -> str:
    return f"{timing['median']:.1f} ({timing['low']:.1f}–{timing['high']:.1f})"


def tables() -> dict[str, list[str]]:
    """Each table of the pages by its mark."""
    return {
        "steps": steps_table("default"), "ratios": ratios_table("default", "tuned", "avx2"),
        "xeon steps": steps_table("xeon_default"),
        "xeon ratios": ratios_table("default", "tuned", "avx2", machine="xeon_"),
        "floors": floors_table("default"), "time": time_table(), "memory": memory_table(),
        "inference": inference_table(), "keras and jax": keras_jax_table(), "growth": growth_table(),
        "neighbour": neighbour_table(), "data": data_table(), "footprint": footprint_table(),
        "shapes": shapes_table(), "losses": losses_list(), "refusals": refusals_table(),
    }  # fmt: skip


def filled(page: str) -> str:
    """The page with its tables as they are now, each between <!-- NAME --> and <!-- end -->."""
    for name, rows in tables().items():
        if f"<!-- {name} -->" not in page:
            continue
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        page = before + mark + "\n".join(rows) + "\n" + rest[rest.index("<!-- end -->") :]
    return page


def picture() -> str:
    """Bars: images a second of both sides, PyTorch's being 1."""
    results = found("default")["results"]
    row, left, unit, top = 34, 130, 118, 46
    high, wide = top + row * len(results) + 16, left + int(unit * 4.2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">',
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
        '<text x="12" y="20" fill="#202020" font-weight="bold">Training steps a second, PyTorch = 1 (2 cores)</text>',
        f'<rect x="{left}" y="29" width="10" height="10" fill="{OURS}"/>'
        f'<text x="{left + 15}" y="38" fill="#202020">foveal</text>',
        f'<rect x="{left + 70}" y="29" width="10" height="10" fill="{THEIRS}"/>'
        f'<text x="{left + 85}" y="38" fill="#202020">PyTorch, its best mode</text>',
    ]
    for number, it in enumerate(results):
        y = top + row * number
        parts += [
            f'<text x="{left - 8}" y="{y + 17}" text-anchor="end" fill="#202020">{LABELS[it["net"]]}</text>',
            f'<rect x="{left}" y="{y + 2}" width="{unit * it["ratio"]:.1f}" height="14" fill="{OURS}"/>',
            f'<rect x="{left}" y="{y + 17}" width="{unit}" height="8" fill="{THEIRS}"/>',
            f'<text x="{left + unit * it["ratio"] + 6:.1f}" y="{y + 14}" fill="#202020">{it["ratio"]:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    for path in (PAGE, ALGORITHMS):
        path.write_text(filled(path.read_text()))
    PICTURE.write_text(picture())
