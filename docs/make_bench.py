"""Fill docs/benchmarks.md and draw docs/bench.svg, from what `foveal bench --json` and benchmarks/*.py found.

.venv/bin/python docs/make_bench.py      # a test fails when the page or the picture has drifted from benchmarks/results
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE, PICTURE, RESULTS = HERE / "benchmarks.md", HERE / "bench.svg", HERE.parent / "benchmarks" / "results"
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


def ratios_table(*names: str) -> list[str]:
    """Ratios alone, a column for each run."""
    runs = [{it["net"]: it for it in found(name)["results"]} for name in names]
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


def _time(timing: dict[str, float]) -> str:
    return f"{timing['median']:.1f} ({timing['low']:.1f}–{timing['high']:.1f})"


def tables() -> dict[str, list[str]]:
    """Each table of the page by its mark."""
    return {
        "steps": steps_table("default"), "ratios": ratios_table("default", "tuned", "avx2"),
        "floors": floors_table("default"), "time": time_table(), "memory": memory_table(),
        "inference": inference_table(),
    }  # fmt: skip


def filled(page: str) -> str:
    """The page with its tables as they are now, each between <!-- NAME --> and <!-- end -->."""
    for name, rows in tables().items():
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
    PAGE.write_text(filled(PAGE.read_text()))
    PICTURE.write_text(picture())
