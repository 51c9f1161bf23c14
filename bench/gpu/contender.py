"""A Python contender of bench-gpu in a process of its own: told on standard input what to do, a JSON object a
line."""

import json
import os
import sys
import time

from cell import MODELS, N_CLS, PATCH

# Cards lower their clocks when idle.
WARM_SECS = 0.5


def one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else "no reason given"


def percentiles(millis: list[float]) -> dict:
    import numpy as np

    p50, p95, p99 = np.percentile(millis, [50, 95, 99])
    return {"n": len(millis), "p50": p50, "p95": p95, "p99": p99}


class PythonContender:
    """transformers' PixioModel with random weights, as it is or compiled."""

    def load(
        self, model: str, size: list[int], batch: int, device: str, precision: str, mode: str | None
    ) -> dict:
        """Makes the model and has it compiled, which the first passes do."""
        import torch
        from transformers import PixioConfig, PixioModel

        started = time.monotonic()
        self._torch, self._device, self._cuda = torch, torch.device(device), device.startswith("cuda")
        if self._cuda:
            torch.cuda.set_device(self._device)
        self._hidden, n_blocks, n_heads = MODELS[model]
        config = PixioConfig(
            hidden_size=self._hidden,
            num_hidden_layers=n_blocks,
            num_attention_heads=n_heads,
            attn_implementation="sdpa",
        )
        self._dtype = getattr(torch, precision)
        torch.manual_seed(0)
        with torch.device(self._device):
            network = PixioModel(config)
        network = network.to(self._dtype).eval()
        self._model = torch.compile(network, mode=mode) if mode else network
        self._make_inputs(batch, *size)
        # With CUDA graphs the first pass compiles, the second records, the third replays.
        for _ in range(4):
            self._host_to_host()
        if self._cuda:
            # What float32 weights and autotuning took does not count.
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        name = torch.cuda.get_device_name(self._device) if self._cuda else "CPU"
        return {"secs": time.monotonic() - started, "device_name": name}

    def _make_inputs(self, batch: int, width: int, height: int):
        torch = self._torch
        self._frames = torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8)
        n_patches = (width // PATCH) * (height // PATCH)
        self._features = torch.empty(batch, n_patches, self._hidden, dtype=torch.float16)
        if self._cuda:
            self._frames, self._features = self._frames.pin_memory(), self._features.pin_memory()
        self._mean = torch.tensor([0.485, 0.456, 0.406], device=self._device).view(3, 1, 1) * 255
        self._deviation = torch.tensor([0.229, 0.224, 0.225], device=self._device).view(3, 1, 1) * 255
        self._pixels = self._normalised(self._frames.to(self._device))

    def _normalised(self, frames):
        pixels = (frames.permute(0, 3, 1, 2).float() - self._mean) / self._deviation
        return pixels.to(self._dtype).contiguous()

    def _forward(self, pixels):
        # Tells CUDA graphs that the outputs of the pass before are no longer needed.
        self._torch.compiler.cudagraph_mark_step_begin()
        with self._torch.inference_mode():
            return self._model(pixel_values=pixels).last_hidden_state

    def _host_to_host(self):
        tokens = self._forward(self._normalised(self._frames.to(self._device, non_blocking=True)))
        self._features.copy_(tokens[:, N_CLS:].half(), non_blocking=True)
        self._synchronise()

    def _synchronise(self):
        if self._cuda:
            self._torch.cuda.synchronize(self._device)

    def _warm(self):
        until, n_passes = time.monotonic() + WARM_SECS, 0
        while n_passes < 5 or time.monotonic() < until:
            self._host_to_host()
            n_passes += 1

    def measure(self, n_runs: int) -> dict:
        """One turn: single passes, then whole ways from host memory to host memory."""
        self._warm()
        forward, device, host = [], [], []
        cpu = time.process_time()
        for _ in range(n_runs):
            wall_millis, device_millis = self._timed_pass()
            forward.append(wall_millis)
            device.append(device_millis)
        cpu_millis = (time.process_time() - cpu) / n_runs * 1e3
        for _ in range(n_runs):
            started = time.perf_counter()
            self._host_to_host()
            host.append((time.perf_counter() - started) * 1e3)
        memory = self._torch.cuda.max_memory_reserved(self._device) / 1e6 if self._cuda else None
        return {
            "forward": percentiles(forward),
            "forward_cpu_ms": cpu_millis,
            "host_ms": percentiles(host),
            "device_ms": percentiles(device) if self._cuda else None,
            "gpu_memory_mb": memory,
        }

    def _timed_pass(self) -> tuple[float, float | None]:
        """Wall time of a synchronised pass and, on CUDA, the time between two events around it."""
        events = [self._torch.cuda.Event(enable_timing=True) for _ in range(2)] if self._cuda else []
        started = time.perf_counter()
        if self._cuda:
            events[0].record()
        self._forward(self._pixels)
        if self._cuda:
            events[1].record()
        self._synchronise()
        wall_millis = (time.perf_counter() - started) * 1e3
        return wall_millis, events[0].elapsed_time(events[1]) if self._cuda else None


def serve_contender():
    """Carries out orders until standard input ends."""
    # Compilers print to standard output too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contender = PythonContender()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            said = getattr(contender, order.pop("do"))(**order)
        except Exception as err:
            said = {"error": one_line(f"{type(err).__name__}: {err}")}
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    serve_contender()
