"""The Python contenders of bench/forward.py, each a process of its own that carries out orders: KIND."""

import json
import os
import statistics
import sys
import time
from pathlib import Path

MODELS = {
    "tiny": dict(hidden_size=192, num_hidden_layers=4, num_attention_heads=3),
    "vitb16": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12),
}
SIDE = 256
N_WARM_UP = 3


def threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))


def environment() -> dict[str, str]:
    return {
        "OMP_NUM_THREADS": str(threads()),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "HF_HUB_OFFLINE": "1",
    }


def one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else "no reason given"


class Transformers:
    """PixioModel, as it is or compiled."""

    def load(self, model: str, compiled: bool):
        import torch

        self._torch, network = torch, transformers_model(model)
        torch.set_num_threads(threads())
        self._model = torch.compile(network) if compiled else network
        self._pixels = torch.randn(1, 3, SIDE, SIDE)

    def forward(self):
        with self._torch.inference_mode():
            self._model(pixel_values=self._pixels)


class OnnxRuntime:
    """The exported model."""

    def load(self, path: str):
        import numpy as np
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._pixels = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE), dtype=np.float32)

    def forward(self):
        self._session.run(None, {"pixel_values": self._pixels})


class Exporter:
    """Writes model.onnx and int8.onnx, and refuses them when they compute something else."""

    def export(self, model: str, folder: str):
        import onnxruntime
        import torch
        from onnxruntime.quantization import QuantType, quantize_dynamic

        class Tokens(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = transformers_model(model)

            def forward(self, pixel_values):
                return self.model(pixel_values=pixel_values).last_hidden_state

        plain, int8 = Path(folder, "model.onnx"), Path(folder, "int8.onnx")
        tokens, pixels = Tokens(), torch.randn(1, 3, SIDE, SIDE)
        torch.onnx.export(tokens, (pixels,), plain, input_names=["pixel_values"], dynamo=True)
        quantize_dynamic(plain, int8, weight_type=QuantType.QInt8)
        with torch.inference_mode():
            wanted = tokens(pixels)
        for path, least in ((plain, 0.99999), (int8, 0.99)):
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            got = torch.from_numpy(session.run(None, {"pixel_values": pixels.numpy()})[0])
            cosine = torch.nn.functional.cosine_similarity(got, wanted, dim=-1).min().item()
            if cosine < least:
                raise ValueError(f"{path.name} differs from the model: cosine {cosine:.5f}")


def transformers_model(model: str):
    import torch
    from transformers import PixioConfig, PixioModel

    torch.manual_seed(0)
    return PixioModel(PixioConfig(**MODELS[model], attn_implementation="sdpa")).eval()


def measure(contender, n_runs: int) -> dict:
    for _ in range(N_WARM_UP):
        contender.forward()
    wall, cpu = [], []
    for _ in range(n_runs):
        started, started_cpu = time.perf_counter(), time.process_time()
        contender.forward()
        cpu.append((time.process_time() - started_cpu) * 1e3)
        wall.append((time.perf_counter() - started) * 1e3)
    return {"wall_ms": statistics.median(wall), "cpu_ms": statistics.median(cpu)}


def serve(kind: str):
    """Carries out orders, a JSON object a line, until standard input ends."""
    # Exporters and compilers print to standard output too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contender = {"transformers": Transformers, "onnx": OnnxRuntime, "export": Exporter}[kind]()
    for line in sys.stdin:
        order = json.loads(line)
        do = order.pop("do")
        try:
            said = measure(contender, **order) if do == "measure" else getattr(contender, do)(**order)
        except Exception as err:
            said = {"error": one_line(f"{type(err).__name__}: {err}")}
        print(json.dumps(said or {}), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
