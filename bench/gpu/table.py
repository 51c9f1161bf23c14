"""From the rounds of a cell to the table that bench-gpu prints."""

import math
import statistics

COLUMNS = "{:31}{:>9}{:>9}{:>8}{:>10}{:>10}{:>10}{:>8}{:>6}  {}"


def median(rounds: list[dict], group: str, figure: str) -> float:
    """Median over the rounds; NaN where there is no such figure."""
    found = [figures[group][figure] for figures in rounds if figures.get(group)]
    return statistics.median(found) if found else math.nan


def pass_group(rounds: list[dict]) -> str:
    """Which time of a pass counts: the device's where it was taken."""
    return "device_ms" if rounds[0].get("device_ms") else "forward"


def row(name: str, rounds: list[dict], batch: int, floor_ms: float) -> str:
    group = pass_group(rounds)
    p50 = median(rounds, group, "p50")
    each = "  ".join(f"{figures[group]['p50']:.3f}" for figures in rounds)
    host_ms = median(rounds, "host_ms", "p50")
    memory = [figures["gpu_memory_mb"] for figures in rounds if figures.get("gpu_memory_mb")]
    ratio = f"{p50 / floor_ms:.2f}" if group == "device_ms" else "-"
    return COLUMNS.format(
        name,
        f"{p50:.3f}",
        f"{median(rounds, group, 'p99'):.3f}",
        ratio,
        f"{host_ms:.3f}",
        f"{median(rounds, 'host_ms', 'p99'):.3f}",
        f"{batch * 1e3 / host_ms:.1f}",
        f"{max(memory):.0f}" if memory else "-",
        sum(figures[group]["n"] for figures in rounds),
        each,
    )


def fastest(found: dict, prefixes: tuple[str, ...]) -> tuple[str, float] | None:
    medians = {
        name: median(rounds, pass_group(rounds), "p50")
        for name, rounds in found["contenders"].items()
        if name.startswith(prefixes)
    }
    return min(medians.items(), key=lambda item: item[1]) if medians else None


def table(found: dict) -> str:
    cell, floor, machine = found["cell"], found["floor"], found["machine"]
    lines = [
        f"\n{cell['model']} {cell['size']}, batch {cell['batch']}, {cell['precision']}"
        f" on {found.get('device_name', cell['device'])}, driver {machine['driver']}, torch "
        f"{machine['torch']}",
        f"floor of an H100 {floor['ms']:.3f} ms: {floor['gflop']:.1f} GFLOP at 790 TFLOP/s take"
        f" {floor['flops_ms']:.3f} ms, {floor['weights_mb']:.0f} MB of bf16 weights at 3 TB/s"
        f" {floor['weights_ms']:.3f} ms",
        COLUMNS.format(
            "ms",
            "p50",
            "p99",
            "x floor",
            "host p50",
            "host p99",
            "frames/s",
            "GPU MB",
            "runs",
            "p50 of each round",
        ),
    ]
    lines += [
        row(name, rounds, cell["batch"], floor["ms"]) for name, rounds in sorted(found["contenders"].items())
    ]
    lines += [f"{name:31}failed: {reason}" for name, reason in found["failed"].items()]
    ours, theirs = fastest(found, ("pixio_node",)), fastest(found, ("transformers", "torch.compile"))
    if ours and theirs:
        lines.append(f"{ours[0]} / {theirs[0]} = {ours[1] / theirs[1]:.3f}")
    return "\n".join(lines)


FOOTNOTES = """
p50 and p99: one synchronised forward pass of a batch, by CUDA events (on a CPU by the wall clock), input
on the device: uint8 frames for pixio_node, normalised pixel values in the model's precision for the others,
which are spared that step.
The host's work between the events counts: launching kernels or a graph, and in Python the way to there.
host: uint8 frames of the model's size in host memory to float16 patch features in host memory, whole batch.
frames/s: such batches one after the other, by their p50.
GPU MB: the most that PyTorch's allocator reserved in the process, without the CUDA context.
Weights are random. transformers' compiled graph resizes the position embedding in every pass; eager does
beside 256x256."""
