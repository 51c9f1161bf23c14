"""Compiles a Pixio encoder and its heads with AOTInductor, as a plan in JSON says. Started by `pixio_node
build`.

Needs only torch. The plan names architecture, taps, heads, sizes, batches, precision, device and the folder
to write to. Each line on stdout is one JSON object: `torch`, `progress`, `package` or `error`. The weights
stay outside the packages, so that one serves every checkpoint of its architecture.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # At run time an environment without torch is told so.
    import torch
    from torch import Tensor, nn

    from .model import Architecture


def main(plan_file: str) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        import torch
    except ImportError as err:
        say(
            error=f"{sys.executable} has no torch that works ({first_line(err)}): run scripts/setup "
            "--engines, or give --python"
        )
        sys.exit(1)
    say(torch=torch.__version__.split("+")[0])
    try:
        plan = json.loads(Path(plan_file).read_text())
        os.nice(plan["niceness"])
        for made in packages(plan, stage_for(plan, Path(plan_file).resolve().parent)):
            say(package=made)
    except Exception as err:
        say(error=explained(err))
        raise


def stage_for(plan: dict, work: Path) -> Stage:
    """Where the plan's models are made; a build for CUDA also gets what it needs of the system."""
    from . import cross, cuda

    if plan["device"] == "cpu":
        return Stage()
    capability = plan["capability"]
    cuda.prepare(work, is_cross=capability is not None)
    stage = Stage() if capability is None else cross.stand_in(capability)
    cuda.build_for(plan["march"])
    return stage


class Stage:
    """Where models are made and traced: on the plan's device."""

    def placing(self) -> contextlib.AbstractContextManager:
        """Where tensors are made."""
        return contextlib.nullcontext()

    def exporting(self) -> contextlib.AbstractContextManager:
        """Where models are exported."""
        return contextlib.nullcontext()


def end_with_parent() -> None:
    """Ends this process and all that it has started when whoever started it closes its standard input or
    dies."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def say(**said: object) -> None:
    print(json.dumps(said), flush=True)


def explained(err: Exception) -> str:
    """One line, with the way out where it is known."""
    text = first_line(err)
    if type(err).__name__ == "Unmet":
        return text
    if type(err).__name__ == "InvalidCxxCompiler" or ("compiler" in text.lower() and "found" in text.lower()):
        return f"there is no C++ compiler here: install g++ ({text})"
    if isinstance(err, OSError) and err.errno == 28:
        return f"no space is left for {err.filename or 'the engine'}: free some, or give --out another folder"
    if "No space left" in str(err):
        return "no space is left on the device: free some, or give --out another folder"
    return f"{type(err).__name__}: {text}"


def first_line(err: Exception) -> str:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[0] if lines else type(err).__name__


def packages(plan: dict, stage: Stage) -> Iterator[dict]:
    """Compiles every package of the plan and describes each."""
    # A GPU's kernels are tuned for one batch size, a CPU's serve all.
    whole = [1, max(plan["batches"])]
    batches = [whole] if plan["device"] == "cpu" else [[batch, batch] for batch in plan["batches"]]
    parts = {"backbone": backbone} | {name: partial(head, about) for name, about in plan["heads"].items()}
    todo = [(part, size, batch) for part in parts for size in plan["sizes"] for batch in batches]
    for n, (part, (width, height), batch) in enumerate(todo, start=1):
        suffix = "" if batch is whole else f"-batch{batch[0]}"
        file = f"{part}-{width}x{height}{suffix}.pt2"
        started = time.monotonic()
        say(progress=f"[{n}/{len(todo)}] {file}: compiling")
        # Two, where it may vary: export takes a length of one for a constant.
        smallest, largest = batch
        model, example = parts[part](plan, stage, width, height, max(smallest, min(largest, 2)))
        constants = compile_package(plan, stage, model, example, batch, Path(plan["out"], file))
        size = Path(plan["out"], file).stat().st_size / 1e6
        say(progress=f"[{n}/{len(todo)}] {file}: {size:.1f} MB in {time.monotonic() - started:.0f} s")
        yield dict(part=part, file=file, size=f"{width}x{height}", batch=batch, constants=constants)


def backbone(plan: dict, stage: Stage, width: int, height: int, n: int) -> tuple[nn.Module, Tensor]:
    """The encoder and `n` images."""
    import torch

    from .model import Architecture, Pixio

    arch = Architecture(**plan["architecture"])
    model = placed(plan, stage, lambda: Pixio(arch, height, width, plan["taps"]))
    if plan["precision"] == "int8":
        quantize(model, {"int_mm": IntMm, "avx2": Avx2}[plan["int8_kernel"]])
    elif (
        plan["device"] == "cpu"
        and dtype_of(plan) == torch.float32
        and is_onednn_faster(arch, model.patch.weight)
    ):
        use_onednn(model)
    with stage.placing():
        return model, torch.zeros(n, height, width, 3, dtype=torch.uint8, device=plan["device"])


def head(about: dict, plan: dict, stage: Stage, width: int, height: int, n: int) -> tuple[nn.Module, Tensor]:
    """A head's network and the tokens of `n` images."""
    import torch

    from .heads import OnTokens
    from .model import PATCH

    hidden, n_cls = plan["architecture"]["hidden_size"], plan["architecture"]["n_cls_tokens"]
    grid = (height // PATCH, width // PATCH)
    kind, n_taps, n_outputs = about["head"], about["n_taps"], about["n_outputs"]
    model = placed(plan, stage, lambda: OnTokens(kind, n_taps, hidden, n_cls, n_outputs, grid))
    n_tokens = n_cls + grid[0] * grid[1]
    shape = (n, n_taps, n_tokens, hidden)
    with stage.placing():
        return model, torch.zeros(shape, dtype=dtype_of(plan), device=plan["device"])


def dtype_of(plan: dict) -> torch.dtype:
    import torch

    return {"int8": torch.float32}.get(plan["precision"]) or getattr(torch, plan["precision"])


def placed(plan: dict, stage: Stage, make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` makes, on its device with any values: torch's own would be drawn twice, and on the CPU."""
    import torch

    with torch.device("meta"):
        model = make().eval().requires_grad_(False).to(dtype_of(plan))
        if plan["device"] != "cpu":
            # As the node holds the weights of convolutions on a GPU, whose kernels read them so: they would
            # else be converted in every run.
            model = model.to(memory_format=torch.channels_last)
    with stage.placing():
        model = model.to_empty(device=plan["device"])
    for parameter in model.parameters():
        parameter.normal_(0, 0.02)
    return model


def compile_package(
    plan: dict, stage: Stage, model: nn.Module, example: Tensor, batch: list[int], file: Path
) -> dict:
    """Writes one package and returns the constants that it is to be given."""
    import torch

    smallest, largest = batch
    varying = ({0: torch.export.Dim("batch", min=smallest, max=largest)},) if smallest < largest else None
    configs = {"aot_inductor.link_libtorch": False, "aot_inductor.package_constants_in_so": False}
    # Short biases would become literals.
    configs["always_keep_tensor_constants"] = True
    # Of a matrix product's kernels, which are compiled and timed here, the fastest.
    configs["max_autotune_gemm"] = plan["max_autotune"]
    if plan["device"] == "cpu":
        # As many threads as the node asks for, not as many as were here.
        configs["cpp.dynamic_threads"] = True
        # Inductor tries the CPU's vector instructions on a library linked like the package, which without
        # libtorch cannot be loaded, and would then use none.
        configs["cpp.vec_isa_ok"] = True
    if plan["device"] != "cpu":
        # Kernels of the packages before would else be packed too.
        from torch._inductor.codecache import CudaKernelParamCache

        CudaKernelParamCache.cache_clear()
    with torch.no_grad():
        with stage.exporting():
            exported = torch.export.export(model, (example,), dynamic_shapes=varying)
        torch._inductor.aoti_compile_and_package(exported, package_path=str(file), inductor_configs=configs)
    return {name: form(tensor) for name, tensor in model.state_dict().items()}


def form(tensor: Tensor) -> dict:
    """What a constant must be."""
    described = dict(dtype=str(tensor.dtype).removeprefix("torch."), shape=list(tensor.shape))
    # Dense in another order than that of its axes.
    return described if tensor.is_contiguous() else described | {"channels_last": True}


class IntMm:
    """Integer products by torch._int_mm: int8 tokens, int8 `weight` [in, out]."""

    @staticmethod
    def buffers(n_out: int, n_in: int) -> dict:
        import torch

        return {"weight": torch.zeros(n_in, n_out, dtype=torch.int8)}

    @staticmethod
    def product(rounded: Tensor, layer: nn.Module) -> Tensor:
        import torch

        return torch._int_mm(rounded.to(torch.int8), layer.weight)


class Avx2:
    """Integer products by the node's own operator (src/ffi/int8.cpp): tokens as bytes with 128 added, int8
    `weight` [out / 16, in / 4, 16, 4], and int32 `offset` [out], the excess that those 128 add."""

    @staticmethod
    def buffers(n_out: int, n_in: int) -> dict:
        import torch

        weight = torch.zeros(n_out // 16, n_in // 4, 16, 4, dtype=torch.int8)
        return {"weight": weight, "offset": torch.zeros(n_out, dtype=torch.int32)}

    @staticmethod
    def product(rounded: Tensor, layer: nn.Module) -> Tensor:
        import torch

        return torch.ops.pixio.int8_product((rounded + 128).to(torch.uint8), layer.weight) - layer.offset


def declare_int8_product() -> None:
    """The compiler needs to know the operator's shapes alone; what computes it is in the node."""
    import torch

    torch.library.define("pixio::int8_product", "(Tensor x, Tensor weight) -> Tensor")
    torch.library.register_fake(
        "pixio::int8_product",
        lambda x, weight: x.new_empty(x.shape[0], weight.shape[0] * 16, dtype=torch.int32),
    )


def quantize(model: nn.Module, kernel: type[IntMm | Avx2]) -> None:
    """Has the linear layers of the blocks multiply integers: int8 weights with a scale per output, made by
    the node when it loads the engine (src/engine/int8.rs), and tokens with a scale each, found as they
    come."""
    import torch

    class QuantizedLinear(torch.nn.Module):
        """x W^T + b on the kernel's int8 `weight` and float32 `scale` [out]."""

        def __init__(self, linear: torch.nn.Linear) -> None:
            super().__init__()
            for name, tensor in kernel.buffers(linear.out_features, linear.in_features).items():
                self.register_buffer(name, tensor)
            self.register_buffer("scale", torch.ones(linear.out_features))
            self.bias = linear.bias

        def forward(self, x: Tensor) -> Tensor:
            rows = x.flatten(0, -2)
            scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-9) / 127
            product = kernel.product((rows / scale).round(), self).to(x.dtype) * scale * self.scale
            return (product if self.bias is None else product + self.bias).unflatten(0, x.shape[:-1])

    if kernel is Avx2:
        declare_int8_product()
    for block in model.blocks:
        for name, layer in list(block.named_children()):
            if isinstance(layer, torch.nn.Linear):
                setattr(block, name, QuantizedLinear(layer))


def use_onednn(model: nn.Module) -> None:
    """Has every linear layer ask oneDNN by name; torch would ask MKL."""
    import torch

    class Linear(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    for module in model.modules():
        if type(module) is torch.nn.Linear:
            module.__class__ = Linear


def is_onednn_faster(arch: Architecture, like: Tensor) -> bool:
    """Which of torch's two matrix products wins on this CPU: on AMD's processors MKL may pass over the widest
    instructions."""
    import torch

    if not torch.backends.mkldnn.is_available():
        return False
    x, weight = like.new_ones(256, arch.hidden_size), like.new_ones(arch.mlp_hidden, arch.hidden_size)
    products = [
        lambda: torch.nn.functional.linear(x, weight),
        lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""),
    ]
    shortest = [float("inf")] * 2
    for _ in range(20):
        for which, product in enumerate(products):
            started = time.perf_counter()
            product()
            shortest[which] = min(shortest[which], time.perf_counter() - started)
    return shortest[1] < shortest[0]
