"""Compiles for a GPU that is in another machine: no GPU and no driver are asked.

`stand_in` answers for that GPU wherever torch and Triton would ask the driver, and skips what would run on
it. All that is replaced in them is replaced here, each with its reason; the names are those of torch 2.11 and
Triton 3.6, and others are refused. The tensors of the model are fake: they have shapes and a device and no
memory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .cuda import Unmet

if TYPE_CHECKING:
    from torch import Tensor

# The versions whose inner parts are replaced here.
TORCH, TRITON = "2.11.", "3.6."


@dataclass(frozen=True)
class Gpu:
    """What kernels are made for. Where cards of one architecture differ, a common one's."""

    capability: tuple[int, int]
    multiprocessors: int
    # Bytes that a block may ask for.
    shared_memory: int
    threads_per_multiprocessor: int


GPUS = {
    gpu.capability: gpu
    for gpu in [
        Gpu((8, 0), 108, 166_912, 2048),
        Gpu((8, 6), 82, 101_376, 1536),
        Gpu((8, 9), 128, 101_376, 1536),
        Gpu((9, 0), 132, 232_448, 2048),
        Gpu((12, 0), 170, 101_376, 1536),
    ]
}
WARP = 32
REGISTERS = 65_536


class Stage:
    """Where models are made and traced: on fake tensors of a GPU that is not here."""

    def __init__(self) -> None:
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        # As torch.export makes its own, which takes this one's place.
        shapes = ShapeEnv(
            tracked_fakes=[],
            co_fields={},
            prefer_deferred_runtime_asserts_over_guards=False,
            trace_asserts=True,
        )
        self.mode = FakeTensorMode(shape_env=shapes, allow_non_fake_inputs=True, export=True)

    def placing(self) -> contextlib.AbstractContextManager:
        """Tensors that are made within have no memory."""
        return self.mode

    @contextlib.contextmanager
    def exporting(self) -> Iterator[None]:
        """Export takes this mode, which the tensors belong to, instead of one of its own."""
        from torch._guards import TracingContext, tracing

        with tracing(TracingContext(self.mode)):
            yield


def stand_in(capability: str) -> Stage:
    """Replaces what asks for a GPU, by answers of one of `capability` such as "9.0". It must come before
    Inductor is imported; this process can then compile for no other device.

    Raises `Unmet` for another torch or Triton than those that it knows."""
    import torch
    import triton

    for name, version, known in (("torch", torch.__version__, TORCH), ("triton", triton.__version__, TRITON)):
        if not version.startswith(known):
            raise Unmet(
                f"--for knows {name} {known}x, here is {name} {version}: give --python with that one, or "
                "build on the machine with the GPU"
            )
    major, minor = capability.split(".")
    gpu = GPUS[int(major), int(minor)]
    # Kernels are compiled in this process, for only here the functions below are replaced.
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    replace_queries(gpu)
    replace_driver(gpu)
    replace_runs(gpu)
    return Stage()


def replace_queries(gpu: Gpu) -> None:
    """What is asked of torch.cuda."""
    import torch

    major, minor = gpu.capability
    properties = SimpleNamespace(
        name=f"sm_{major}{minor}",
        major=major,
        minor=minor,
        multi_processor_count=gpu.multiprocessors,
        regs_per_multiprocessor=REGISTERS,
        max_threads_per_multi_processor=gpu.threads_per_multiprocessor,
        max_threads_per_block=1024,
        warp_size=WARP,
        shared_memory_per_block=48 << 10,
        shared_memory_per_block_optin=gpu.shared_memory,
        shared_memory_per_multiprocessor=gpu.shared_memory + 1024,
        # Enough that no choice depends on them.
        total_memory=16 << 30,
        L2_cache_size=40 << 20,
    )
    cuda: Any = torch.cuda
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_capability = lambda device=None: gpu.capability
    cuda.get_device_properties = lambda device=None: properties
    cuda.get_device_name = lambda device=None: properties.name
    cuda.is_bf16_supported = lambda *args, **kwargs: True
    # These enter the driver.
    cuda._lazy_init = lambda: None
    cuda.set_device = cuda.synchronize = lambda device=None: None
    cuda._exchange_device = cuda._maybe_exchange_device = lambda device: 0
    # Inductor keeps the state of the generator while it compiles.
    cuda.get_rng_state = lambda device=None: torch.get_rng_state()
    cuda.set_rng_state = lambda state, device=None: None


def replace_driver(gpu: Gpu) -> None:
    """What Triton asks of its driver, and the loading of what it has compiled."""
    import torch
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.driver import CudaDriver
    from triton.compiler.compiler import CompiledKernel
    from triton.runtime.errors import OutOfResources

    major, minor = gpu.capability
    properties = dict(
        max_shared_mem=gpu.shared_memory,
        max_num_regs=REGISTERS,
        multiprocessor_count=gpu.multiprocessors,
        warpSize=WARP,
    )

    class Driver(CudaDriver):
        def __init__(self) -> None:
            # Not the base's, which compiles a module that links with the driver.
            self.utils = SimpleNamespace(get_device_properties=lambda device: properties)
            self.get_current_device = lambda: 0
            self.get_current_stream = lambda device=None: 0
            self.get_device_capability = lambda device=None: gpu.capability

        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", 10 * major + minor, WARP)

        def get_active_torch_device(self) -> torch.device:
            return torch.device("cuda", 0)

    triton.runtime.driver.set_active(Driver())

    def init_handles(self: Any) -> None:
        """The kernel is not loaded. One that would not fit is refused, as the driver does."""
        if self.metadata.shared > gpu.shared_memory:
            raise OutOfResources(self.metadata.shared, gpu.shared_memory, "shared memory")
        self.module = self.function = 1
        self.n_regs = self.n_spills = 0
        self._run = lambda *args, **kwargs: None

    CompiledKernel._init_handles = init_handles


def replace_runs(gpu: Gpu) -> None:
    """What torch would run on the GPU while it compiles, or decide by what it finds there."""
    import torch
    from torch._inductor import graph
    from torch._inductor.codegen.wrapper import PythonWrapperCodegen
    from torch._inductor.fx_passes import joint_graph
    from torch._inductor.runtime.triton_heuristics import CachingAutotuner
    from torch._subclasses import fake_tensor

    # It makes a tensor there.
    fake_tensor.init_gpu_context = lambda device: None
    # These trace patterns, of which our models have none, on tensors there.
    joint_graph.lazy_init = lambda device=None: None
    # Constants are the same if they lie at the same address; fake ones all lie at zero.
    graph.is_same_tensor = lambda a, b: a is b

    def compile_kernels(self: Any) -> None:
        """Keeps the first candidate of each kernel, where torch would run all to find the fastest. There are
        one or two."""
        scope: dict[str, Any] = {}
        exec(self.kernel_autotune_defs.getvalue() + "\nasync_compile.wait(globals())\n", scope)
        for kernel in scope.values():
            if isinstance(kernel, CachingAutotuner):
                kernel.precompile()
                kernel.save_gpu_kernel("stream", kernel.launchers[0])

    PythonWrapperCodegen.generate_and_run_autotune_block = compile_kernels

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """torch chooses among its kernels by what the GPU can do, and without one takes the slowest."""
        aten = torch.ops.aten
        if q.dtype == torch.float32:
            return aten._scaled_dot_product_efficient_attention(q, k, v, None, False)[0]
        if gpu.capability == (9, 0):
            return aten._scaled_dot_product_cudnn_attention(q, k, v, None, False)[0]
        return aten._scaled_dot_product_flash_attention(q, k, v)[0]

    torch.nn.functional.scaled_dot_product_attention = attention
