"""The table of a first run on a GPU, and what its steps have to say beside figures."""

import math
from collections.abc import Iterator
from pathlib import Path

from table import median, pass_group

COLUMNS = "{:44}{:>9}{:>9}{:>9}{:>11}{:>9}{:>9}{:>9}{:>9}{:>7}{:>8}{:>11}"
# Steps whose figures are engines of pixio_node, and what tells them from others.
BENCHES = {
    "frames": "",
    "frames with heads": ", heads loaded",
    "without cuDNN attention": ", without cuDNN attention",
    "max-autotune": ", beside max-autotune",
    "four cameras": ", four cameras",
}


def table(first: dict) -> str:
    """`first` is what the results' file holds of a first run."""
    steps, floor_ms = first["steps"], first["floor"]["ms"]
    compiled = fastest_compiled(steps)
    about = steps.get("machine", {})
    gpu = about.get("gpu") or {}
    lines = [
        f"\n{first['cell']['model']} {first['cell']['size']}, batch {first['cell']['batch']}, "
        f"{first['cell']['precision']} on {gpu.get('name', first['cell']['device'])}, driver "
        f"{about.get('driver', '-')}, torch {about.get('torch', '-')}; floor of an H100 {floor_ms:.3f} ms",
        COLUMNS.format(
            "ms",
            "p50",
            "p99",
            "/ floor",
            "/ compile",
            "before",
            "behind",
            "to host",
            "queued",
            "waits",
            "GPU MB",
            "cosine",
        ),
    ]
    for name, rounds, cosine in rows(steps):
        lines.append(row(name, rounds, cosine, floor_ms, compiled))
    lines += [*heads(steps), *rates(steps), *builds(steps), *starts(steps), *tests(steps)]
    for name, found in steps.items():
        if found["outcome"] != "done":
            lines.append(f"{name}: {found['outcome']}: {found['reason']}")
    return "\n".join([*lines, FOOTNOTES])


def rows(steps: dict) -> Iterator[tuple[str, list[dict], float | None]]:
    """Name, rounds and cosine of everything that was timed."""
    for step, told in BENCHES.items():
        yield from engines(steps, steps.get(step, {}), told)
    for folder, entry in steps.get("compiled elsewhere", {}).items():
        if isinstance(entry, dict) and "model" in entry:
            yield from engines(steps, entry, f", beside {folder} ({entry['model']})")
    for step in ("contenders", "torch.compile max-autotune"):
        for name, rounds in steps.get(step, {}).get("contenders", {}).items():
            yield name, rounds, None


def engines(steps: dict, found: dict, told: str) -> Iterator[tuple[str, list[dict], float | None]]:
    for engine in found.get("engines", []):
        folder = Path(engine["engine"]).name
        which = "" if folder == "eager" else f" {folder}"
        yield f"{engine['kind']}{which}{told}", [engine], cosine_of(steps, folder)


def cosine_of(steps: dict, folder: str) -> float | None:
    """That of the backbone: from the manifest of an engine built here, else from its proof at start."""
    if folder in (elsewhere := steps.get("compiled elsewhere", {})) and isinstance(elsewhere[folder], dict):
        return elsewhere[folder].get("cosine")
    step = {"native": "build"}.get(folder, folder.replace("-", " "))
    found = steps.get(step) or steps.get(folder) or {}
    packages = found.get("packages", {})
    return min(
        (about["cosine"] for file, about in packages.items() if file.startswith("backbone")), default=None
    )


def fastest_compiled(steps: dict) -> float:
    """Of torch.compile's graphs, ms; NaN without one."""
    medians = [
        median(rounds, pass_group(rounds), "p50")
        for name, rounds, _ in rows(steps)
        if name.startswith("torch.compile")
    ]
    return min(medians, default=math.nan)


def row(name: str, rounds: list[dict], cosine: float | None, floor_ms: float, compiled_ms: float) -> str:
    group = pass_group(rounds)
    is_gpu = group == "device_ms"
    p50 = median(rounds, group, "p50")
    forward, host = median(rounds, "forward", "p50"), median(rounds, "host_ms", "p50")
    memory = [figures["gpu_memory_mb"] for figures in rounds if figures.get("gpu_memory_mb")]
    waits, queued = rounds[0].get("waits"), median(rounds, "queue_ms", "p50")
    return COLUMNS.format(
        name[:44],
        f"{p50:.3f}",
        f"{median(rounds, group, 'p99'):.3f}",
        f"{p50 / floor_ms:.2f}" if is_gpu else "-",
        "-" if math.isnan(compiled_ms) else f"{p50 / compiled_ms:.2f}",
        f"{forward - p50:.3f}" if is_gpu else "-",
        f"{host - forward:.3f}",
        f"{host:.3f}",
        "-" if math.isnan(queued) else f"{queued:.3f}",
        "-" if waits is None else f"{waits:g}",
        f"{max(memory):.0f}" if memory else "-",
        f"{cosine:.7f}" if cosine is not None else "-",
    )


def heads(steps: dict) -> Iterator[str]:
    for engine in steps.get("frames with heads", {}).get("engines", []):
        for head in engine.get("heads", []):
            yield (
                f"{engine['kind']}: forward and heads take {head['without_ms']:.3f} ms, with {head['name']} "
                f"{head['with_ms']:.3f} ms"
            )


def rates(steps: dict) -> Iterator[str]:
    for engine in steps.get("four cameras", {}).get("engines", []):
        one, all_four = engine["frames_per_second_at_saturation"], engine["frames_per_second_of_all_cameras"]
        if all_four:
            yield f"{engine['kind']}: {one:.1f} frames/s of one camera, {all_four:.1f} of four together"


def builds(steps: dict) -> Iterator[str]:
    for step in ("build", "without cuDNN attention", "max-autotune"):
        found = steps.get(step, {})
        if "build_secs" in found:
            yield f"{step}: the engine was built in {found['build_secs']:.0f} s"
        for file, about in found.get("packages", {}).items():
            cosine, difference = about["cosine"], about["largest_difference"]
            yield f"  {file}: cosine {cosine:.7f}, largest difference {difference:.1e}"
    for step in ("contenders", "torch.compile max-autotune"):
        for name, secs in steps.get(step, {}).get("load_secs", {}).items():
            yield f"{name}: loaded and compiled in {secs:.0f} s"


def starts(steps: dict) -> Iterator[str]:
    for name, secs in steps.get("starts", {}).items():
        if isinstance(secs, list):
            turns = ", ".join(f"{one:.1f}" for one in secs)
            yield f"{name}: {turns} s from nothing to the features of one image, one start after the other"


def tests(steps: dict) -> Iterator[str]:
    for step in ("tests", "full memory"):
        found = steps.get(step, {})
        if "n_passed" in found:
            yield f"{step}: {found['n_passed']} passed, failed: {', '.join(found['failed']) or 'none'}"
            if found["outcome"] != "done":
                yield f"  the last one begun: {found['last']}"
            yield from (f"  {said}" for said in found["no_graph"])


FOOTNOTES = """
p50, p99: a forward pass by CUDA events (on a CPU by the wall clock), input on the device. before: what a
pass takes longer by the wall clock, from images in host memory until its tokens are there. behind: what
float16 patch features in host memory take on top of that. Both are differences of medians. to host: the
whole way, from images in host memory to features there. queued: of that, until the last of it is queued.
waits: for the GPU on that way. GPU MB: the most that PyTorch's allocator reserved, without the CUDA
context. cosine: with the eager model in float32, when the engine was built. / compile: to the fastest of
torch.compile."""
