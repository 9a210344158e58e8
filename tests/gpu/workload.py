"""What a GPU is asked for, library by library: results that can be compared, and how long it took.

    python workload.py [--list] [--device cpu] [--small] [NAME ...]

Run by the Python environment whose torch is tried, and standing on torch alone (Python 3.9 on).
Prints one JSON object a line: `environment`; `started` before each workload; then its `values`
(SHA-256 and norm of every tensor), `seconds` (median of a call) and `first` (seconds of the first
call, with all that is loaded and compiled for it), or its `error` or why it was `skipped`;
`libraries` at the end, all that is mapped by then. An error is a result: it is told, and the next
workload runs. Exits with 3 where an error broke the CUDA context; what was not started is left.

All is as repeatable as torch can make it: fixed seeds, inputs made on the CPU, deterministic
algorithms, no TF32. Where a library adds in an order of its own choice, the inputs are small whole
numbers, whose sums are exact in any order.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import json
import math
import os
import platform
import re
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[], dict[str, Any]]

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# A pool of compilers is one more thing that may fail or linger.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

SEED = 20240229
SAMPLES = 9
SAMPLE_SECONDS = 0.02
"""A sample is as many calls as take this long: no clock's grain, no launch's hiccup counts."""
WARM_UP_SECONDS = 0.25
"""How long a workload runs before it is timed: a time, not a number of calls, since a product of
0.14 ms took 0.14 to 0.23 ms from one run of the same files to the next."""
BROKEN = 3

WORKLOADS: dict[str, Callable[[Bench], Run]] = {}
"""Each makes its inputs, and gives what does the work once and returns its tensors by name."""


class Skipped(Exception):  # noqa: N818
    """A workload that has nothing to run on here."""


class Bench:
    """Where the work is done, and what its inputs are."""

    def __init__(self, torch: Any, device: str, small: bool) -> None:
        self.torch = torch
        self.device = device
        self.small = small
        self.generator = torch.Generator().manual_seed(SEED)

    def size(self, full: int, small: int) -> int:
        return small if self.small else full

    def normal(self, *shape: int, dtype: Any = None, grad: bool = False) -> Any:
        made = self.torch.randn(shape, generator=self.generator, dtype=self.torch.float32)
        made = made.to(self.device, dtype or self.torch.float32)
        return made.requires_grad_() if grad else made

    def whole(self, *shape: int, dtype: Any = None, limit: int = 8) -> Any:
        made = self.torch.randint(-limit, limit + 1, shape, generator=self.generator)
        return made.to(self.device, dtype or self.torch.float32)

    def module(self, made: Any, dtype: Any = None) -> Any:
        """A module whose weights were made on the CPU."""
        return made.to(self.device, dtype or self.torch.float32)

    def wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()


def workload(make: Callable[[Bench], Run]) -> Callable[[Bench], Run]:
    WORKLOADS[make.__name__] = make
    return make


def with_gradients(output: Any, **inputs: Any) -> dict[str, Any]:
    """The output, and the gradients of the sum of its squares."""
    leaves = list(inputs.values())
    for leaf in leaves:
        leaf.grad = None
    (output.float() ** 2).sum().backward()
    told = {f"grad {name}": leaf.grad for name, leaf in inputs.items()}
    return {"output": output.detach(), **told}


# torch's own kernels: libtorch_cuda


@workload
def elementwise(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(4096, 64)
    a, b = bench.normal(n, n), bench.normal(n, n)

    def run() -> dict[str, Any]:
        return {
            "mixed": torch.sin(a) * torch.exp(b) + torch.relu(a),
            "softmax": torch.softmax(a, 1),
            "norm": torch.nn.functional.layer_norm(b, (n,)),
            "sum": (a * b).sum(0),
        }

    return run


@workload
def sort_and_scan(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(1 << 22, 1 << 10)
    keys = bench.whole(n, dtype=torch.int64, limit=1 << 20)
    values = bench.normal(n)
    places = keys.remainder(1000)

    def run() -> dict[str, Any]:
        return {
            "sorted": torch.sort(values)[0],
            "order": torch.sort(keys, stable=True)[1],
            "top": torch.topk(values, 100)[0],
            "scan": torch.cumsum(keys, 0),
            "unique": torch.unique(keys),
            "added": torch.zeros(1000, dtype=torch.int64, device=bench.device).index_add(
                0, places, keys
            ),
        }

    return run


@workload
def random(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(1 << 22, 1 << 10)

    def run() -> dict[str, Any]:
        torch.manual_seed(SEED)
        where = {"device": bench.device}
        return {
            "uniform": torch.rand(n, **where),
            "normal": torch.randn(n, dtype=torch.float64, **where),
            "whole": torch.randint(0, 1000, (n,), **where),
            "order": torch.randperm(n, **where),
            "exponential": torch.empty(n, **where).exponential_(),
            "poisson": torch.poisson(torch.full((n,), 4.0, **where)),
            "dropout": torch.nn.functional.dropout(torch.ones(n, **where), 0.3),
        }

    return run


def attention(bench: Bench, backend: str) -> Run:
    torch = bench.torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    shape = (4, 16, bench.size(1024, 64), 64)
    query, key, value = (bench.normal(*shape, dtype=torch.bfloat16, grad=True) for _ in range(3))

    def run() -> dict[str, Any]:
        with sdpa_kernel(getattr(SDPBackend, backend)):
            output = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, is_causal=True
            )
            return with_gradients(output, query=query, key=key, value=value)

    return run


@workload
def attention_flash(bench: Bench) -> Run:
    return attention(bench, "FLASH_ATTENTION")


@workload
def attention_efficient(bench: Bench) -> Run:
    return attention(bench, "EFFICIENT_ATTENTION")


# cuBLAS, cuBLASLt, CUTLASS


def matmul(bench: Bench, dtype: Any, n: int) -> Run:
    a, b = bench.normal(n, n, dtype=dtype), bench.normal(n, n, dtype=dtype)
    return lambda: {"product": a @ b}


@workload
def matmul_fp32(bench: Bench) -> Run:
    return matmul(bench, bench.torch.float32, bench.size(4096, 64))


@workload
def matmul_fp64(bench: Bench) -> Run:
    return matmul(bench, bench.torch.float64, bench.size(2048, 64))


@workload
def matmul_bf16(bench: Bench) -> Run:
    return matmul(bench, bench.torch.bfloat16, bench.size(8192, 64))


@workload
def matmul_fp16(bench: Bench) -> Run:
    return matmul(bench, bench.torch.float16, bench.size(8192, 64))


@workload
def matmul_complex(bench: Bench) -> Run:
    n = bench.size(2048, 64)
    a = bench.torch.complex(bench.normal(n, n), bench.normal(n, n))
    return lambda: {"product": a @ a}


@workload
def matmul_odd(bench: Bench) -> Run:
    torch = bench.torch
    vector, matrix = bench.normal(1537), bench.normal(1013, 1537)
    left, right = bench.normal(31, 129, 67), bench.normal(31, 67, 45)
    return lambda: {"vector": torch.mv(matrix, vector), "batch": torch.bmm(left, right)}


@workload
def linear_gelu(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(4096, 64)
    layer = torch.nn.functional.linear
    a, weight = (bench.normal(n, n, dtype=torch.bfloat16, grad=True) for _ in range(2))
    bias = bench.normal(n, dtype=torch.bfloat16, grad=True)
    return lambda: with_gradients(
        torch.nn.functional.gelu(layer(a, weight, bias)), a=a, weight=weight, bias=bias
    )


@workload
def matmul_int8(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(4096, 64)
    a, b = (bench.whole(n, n, dtype=torch.int8, limit=100) for _ in range(2))
    return lambda: {"product": torch._int_mm(a, b)}


def matmul_fp8(bench: Bench, by_row: bool) -> Run:
    torch, n = bench.torch, bench.size(4096, 64)
    a, b = (bench.normal(n, n).to(torch.float8_e4m3fn) for _ in range(2))
    shapes = ((n, 1), (1, n)) if by_row else ((), ())
    scales = [torch.full(shape, 0.5, device=bench.device) for shape in shapes]
    return lambda: {
        "product": torch._scaled_mm(
            a, b.t(), scale_a=scales[0], scale_b=scales[1], out_dtype=torch.bfloat16
        )
    }


@workload
def matmul_fp8_by_tensor(bench: Bench) -> Run:
    return matmul_fp8(bench, by_row=False)


@workload
def matmul_fp8_by_row(bench: Bench) -> Run:
    return matmul_fp8(bench, by_row=True)


@workload
def matmul_grouped(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(1024, 64)
    a = bench.normal(4 * n, n, dtype=torch.bfloat16)
    b = bench.normal(4, n, n, dtype=torch.bfloat16).transpose(-2, -1)
    ends = torch.arange(1, 5, dtype=torch.int32, device=bench.device) * n
    return lambda: {"products": torch._grouped_mm(a, b, offs=ends)}


# cuDNN


def convolution(bench: Bench, layer: Any, shape: tuple[int, ...], **how: Any) -> Run:
    torch = bench.torch
    dtype = how.get("dtype", torch.float32)
    layer = bench.module(layer, dtype)
    images = bench.normal(*shape, dtype=dtype)
    if how.get("channels_last"):
        layer, images = (each.to(memory_format=torch.channels_last) for each in (layer, images))
    images.requires_grad_()
    return lambda: with_gradients(
        layer(images), images=images, weight=layer.weight, bias=layer.bias
    )


@workload
def conv2d(bench: Bench) -> Run:
    side = bench.size(112, 16)
    return convolution(bench, bench.torch.nn.Conv2d(64, 128, 3, 1, 1), (16, 64, side, side))


@workload
def conv2d_half(bench: Bench) -> Run:
    torch, side = bench.torch, bench.size(112, 16)
    layer = torch.nn.Conv2d(64, 128, 3, 2, 1)
    shape = (32, 64, side, side)
    return convolution(bench, layer, shape, dtype=torch.bfloat16, channels_last=True)


@workload
def conv2d_grouped(bench: Bench) -> Run:
    side = bench.size(112, 16)
    layer = bench.torch.nn.Conv2d(64, 64, 5, padding=2, groups=64)
    return convolution(bench, layer, (16, 64, side, side))


@workload
def conv3d(bench: Bench) -> Run:
    side = bench.size(32, 8)
    return convolution(bench, bench.torch.nn.Conv3d(16, 32, 3, padding=1), (4, 16, *3 * (side,)))


@workload
def conv_transposed(bench: Bench) -> Run:
    side = bench.size(56, 8)
    layer = bench.torch.nn.ConvTranspose2d(64, 32, 4, 2, 1)
    return convolution(bench, layer, (16, 64, side, side))


@workload
def batch_norm(bench: Bench) -> Run:
    torch, side = bench.torch, bench.size(56, 8)
    layer = bench.module(torch.nn.BatchNorm2d(64, track_running_stats=False))
    images = bench.normal(32, 64, side, side, grad=True)
    return lambda: with_gradients(
        layer(images), images=images, weight=layer.weight, bias=layer.bias
    )


def recurrent(bench: Bench, kind: str) -> Run:
    torch, n = bench.torch, bench.size(512, 16)
    layer = bench.module(getattr(torch.nn, kind)(n, n, num_layers=2, bidirectional=True))
    steps = bench.normal(bench.size(64, 5), 32, n, grad=True)
    weights = {name: weight for name, weight in layer.named_parameters() if "l0" in name}
    return lambda: with_gradients(layer(steps)[0], steps=steps, **weights)


@workload
def lstm(bench: Bench) -> Run:
    return recurrent(bench, "LSTM")


@workload
def gru(bench: Bench) -> Run:
    return recurrent(bench, "GRU")


# cuFFT


@workload
def fft(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(2048, 64)
    plane = torch.complex(bench.normal(n, n), bench.normal(n, n))
    odd = bench.normal(64, 3 * 5 * 7 * 11)
    return lambda: {
        "plane": torch.fft.fft2(plane),
        "back": torch.fft.ifft2(plane),
        "odd": torch.fft.rfft(odd),
    }


@workload
def fft_large(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(1 << 24, 1 << 10)
    long = torch.complex(bench.normal(n), bench.normal(n))
    prime = bench.normal(bench.size(1_000_003, 1009), dtype=torch.float64)
    return lambda: {"long": torch.fft.fft(long), "prime": torch.fft.rfft(prime)}


# cuSPARSE, cuSPARSELt


@workload
def sparse(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(4096, 64)
    kept = bench.whole(n, n).eq(8) & bench.whole(n, n).eq(8)
    matrix = (bench.whole(n, n) * kept).to_sparse_csr()
    dense, vector = bench.whole(n, 64), bench.whole(n)
    return lambda: {
        "by vector": matrix @ vector,
        "by dense": matrix @ dense,
        "listed": matrix.to_sparse_coo() @ dense,
        "by sparse": (matrix @ matrix).to_dense(),
        "sampled": torch.sparse.sampled_addmm(matrix, dense, dense.t().contiguous()).values(),
    }


@workload
def sparse_triangular(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(4096, 64)
    lower = torch.tril(bench.whole(n, n, dtype=torch.float64) * bench.whole(n, n).eq(8), -1)
    matrix = (lower / n + torch.eye(n, dtype=torch.float64, device=bench.device)).to_sparse_csr()
    right = bench.whole(n, 8, dtype=torch.float64)
    return lambda: {"solved": torch.triangular_solve(right, matrix, upper=False)[0]}


@workload
def semi_structured(bench: Bench) -> Run:
    torch = bench.torch
    if bench.device != "cuda" or not torch.backends.cusparselt.is_available():
        raise Skipped("this torch has no cuSPARSELt")
    from torch.sparse import SparseSemiStructuredTensor, to_sparse_semi_structured

    SparseSemiStructuredTensor._FORCE_CUTLASS = False
    n = bench.size(4096, 128)
    mask = torch.tensor([0, 0, 1, 1], device=bench.device).tile((n, n // 4))
    matrix = to_sparse_semi_structured((bench.normal(n, n) * mask).to(torch.float16))
    dense = bench.normal(n, n, dtype=torch.float16)
    return lambda: {"product": matrix @ dense}


# cuSOLVER


def definite(bench: Bench, n: int) -> Any:
    torch = bench.torch
    a = bench.normal(n, n, dtype=torch.float64)
    return a @ a.T / n + torch.eye(n, dtype=torch.float64, device=bench.device)


def with_cusolver(bench: Bench) -> None:
    if bench.device == "cuda":
        bench.torch.backends.cuda.preferred_linalg_library("cusolver")


@workload
def solver(bench: Bench) -> Run:
    with_cusolver(bench)
    torch, n = bench.torch, bench.size(2048, 32)
    a, b = definite(bench, n), bench.normal(n, 16, dtype=torch.float64)
    return lambda: {
        "solved": torch.linalg.solve(a, b),
        "cholesky": torch.linalg.cholesky(a),
        "qr": torch.linalg.qr(a)[1],
        "inverse": torch.linalg.inv(a.float()),
        "least squares": torch.linalg.lstsq(a, b).solution,
    }


@workload
def svd(bench: Bench) -> Run:
    with_cusolver(bench)
    torch, n = bench.torch, bench.size(512, 32)
    a = bench.normal(n, n)

    def run() -> dict[str, Any]:
        left, values, right = torch.linalg.svd(a)
        return {"left": left, "values": values, "right": right}

    return run


@workload
def eigh(bench: Bench) -> Run:
    with_cusolver(bench)
    torch, n = bench.torch, bench.size(1024, 32)
    a = definite(bench, n)
    batch = torch.stack([a[:32, :32] + index for index in range(64)])

    def run() -> dict[str, Any]:
        values, vectors = torch.linalg.eigh(a)
        return {"values": values, "vectors": vectors, "batch": torch.linalg.eigh(batch)[0]}

    return run


# cuRAND's host interface, which torch links and never calls


@workload
def curand(bench: Bench) -> Run:
    if bench.device != "cuda":
        raise Skipped("cuRAND writes to GPU memory")
    torch, n = bench.torch, bench.size(1 << 22, 1 << 10)
    paths = [path for path in mapped() if Path(path).name.startswith("libcurand.so")]
    if not paths:
        raise Skipped("this torch does not load libcurand")
    library = ctypes.CDLL(paths[0])

    def called(name: str, *arguments: Any) -> None:
        status = getattr(library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} gave {status}")

    kinds = {"xorwow": 101, "mrg32k3a": 121, "mt19937": 142, "philox": 161, "sobol32": 201}
    count = ctypes.c_size_t(n)

    def run() -> dict[str, Any]:
        told = {}
        bench.wait()
        for name, kind in kinds.items():
            generator = ctypes.c_void_p()
            called("curandCreateGenerator", ctypes.byref(generator), kind)
            try:
                if kind < 200:
                    seed = ctypes.c_ulonglong(SEED)
                    called("curandSetPseudoRandomGeneratorSeed", generator, seed)
                uniform, normal = (torch.empty(n, device="cuda") for _ in range(2))
                place = ctypes.c_void_p(uniform.data_ptr())
                called("curandGenerateUniform", generator, place, count)
                place = ctypes.c_void_p(normal.data_ptr())
                called(
                    "curandGenerateNormal",
                    *(generator, place, count, ctypes.c_float(0), ctypes.c_float(1)),
                )
                bench.wait()
            finally:
                called("curandDestroyGenerator", generator)
            told[f"{name} uniform"], told[f"{name} normal"] = uniform, normal
        return told

    return run


# What compiles for the GPU at run time: NVRTC, and triton with its ptxas


@workload
def nvrtc(bench: Bench) -> Run:
    if bench.device != "cuda":
        raise Skipped("NVRTC compiles for GPUs")
    torch, n = bench.torch, bench.size(1 << 22, 1 << 10)
    source = "template <typename T> T fused(T x, T y) { return x * y + x - y; }"
    fused = torch.cuda.jiterator._create_jit_fn(source)
    a, b = bench.normal(n), bench.normal(n)
    return lambda: {"fused": fused(a, b), "bessel": torch.special.modified_bessel_k0(a.abs() + 1)}


@workload
def nccl(bench: Bench) -> Run:
    if bench.device != "cuda":
        raise Skipped("NCCL connects GPUs")
    torch, n = bench.torch, bench.size(1 << 24, 1 << 10)
    import torch.distributed as dist

    if not dist.is_nccl_available():
        raise Skipped("this torch has no NCCL")
    torch.cuda.set_device(0)
    if not dist.is_initialized():
        meeting = Path(tempfile.mkdtemp(prefix="nccl-")) / "meeting"
        dist.init_process_group("nccl", init_method=meeting.as_uri(), world_size=1, rank=0)
    numbers = bench.normal(n)

    def run() -> dict[str, Any]:
        total, mean = numbers.clone(), numbers.clone()
        dist.all_reduce(total)
        # With one rank a sum is a copy at most; a mean is what NCCL starts a kernel for.
        dist.all_reduce(mean, op=dist.ReduceOp.AVG)
        return {"sum": total, "mean": mean}

    return run


@workload
def compiled(bench: Bench) -> Run:
    torch, n = bench.torch, bench.size(4096, 64)
    if not any(shutil.which(name) for name in (os.environ.get("CC"), "gcc", "clang", "cc") if name):
        raise Skipped("no C compiler, which triton builds its launcher with")
    if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        raise Skipped("no Python.h, which triton builds its launcher with")
    if bench.device == "cuda" and importlib.util.find_spec("triton") is None:
        raise Skipped("no triton")

    # Nothing in here depends on the order of a sum, which the tuner may choose by its stopwatch.
    @torch.compile(fullgraph=True, dynamic=False)
    def fused(a: Any, b: Any, counts: Any) -> tuple[Any, ...]:
        mixed = torch.sin(a) * b + torch.relu(a)
        return mixed, mixed.amax(1), (counts * 3).sum(1)

    a, b, counts = bench.normal(n, n), bench.normal(n, n), bench.whole(n, n, dtype=torch.int64)

    def run() -> dict[str, Any]:
        mixed, largest, counted = fused(a, b, counts)
        return {"mixed": mixed, "largest": largest, "counted": counted}

    return run


def mapped() -> list[str]:
    """The shared libraries of this process."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    paths = {line.split(maxsplit=5)[5] for line in maps if "/" in line}
    return sorted(path for path in paths if ".so" in Path(path).name)


def told_of(value: Any) -> dict[str, Any]:
    """What is kept of a tensor; without numpy, which an environment need not have."""
    torch = sys.modules["torch"]
    value = value.detach()
    if value.layout != torch.strided:
        value = value.to_dense()
    value = value.cpu().contiguous().resolve_conj().resolve_neg()
    raw = ctypes.string_at(value.data_ptr(), value.numel() * value.element_size())
    wide = value.to(torch.complex128 if value.is_complex() else torch.float64)
    return {
        "sha256": hashlib.sha256(raw).hexdigest(),
        "norm": float(wide.abs().square().sum().sqrt()),
        "shape": list(value.shape),
        "dtype": str(value.dtype),
    }


def measured(bench: Bench, name: str) -> dict[str, Any]:
    bench.torch.manual_seed(SEED)
    bench.generator.manual_seed(SEED)
    run = WORKLOADS[name](bench)
    bench.wait()
    started = time.perf_counter()
    outcome = run()
    bench.wait()
    first = time.perf_counter() - started
    values = {key: told_of(value) for key, value in outcome.items()}
    del outcome
    started = time.perf_counter()
    while time.perf_counter() - started < WARM_UP_SECONDS:
        run()
        bench.wait()
    started = time.perf_counter()
    run()
    bench.wait()
    calls = min(max(math.ceil(SAMPLE_SECONDS / (time.perf_counter() - started)), 1), 1000)
    samples = []
    for _ in range(SAMPLES):
        bench.wait()
        started = time.perf_counter()
        for _ in range(calls):
            run()
        bench.wait()
        samples.append((time.perf_counter() - started) / calls)
    return {"values": values, "seconds": statistics.median(samples), "first": first}


def told_error(error: BaseException) -> str:
    """Type and message without what differs from one place or process to the next."""
    text = f"{type(error).__name__}: {error}"
    for place in sorted((path for path in sys.path if len(path) > 1), key=len, reverse=True):
        text = text.replace(place, "<path>")
    text = text.replace(tempfile.gettempdir(), "<tmp>")
    return re.sub(r"0x[0-9a-f]+", "<address>", text)[:600]


def environment(torch: Any) -> dict[str, Any]:
    """The versions; what cannot be told is an error's text."""
    asked: dict[str, Callable[[], Any]] = {
        "python": platform.python_version,
        "torch": lambda: str(torch.__version__),
        "cuda": lambda: torch.version.cuda,
        "cudnn": lambda: torch.backends.cudnn.version(),
        "nccl": lambda: ".".join(map(str, torch.cuda.nccl.version())),
        "built for": lambda: torch.cuda.get_arch_list(),
        "available": lambda: torch.cuda.is_available(),
        "gpu": lambda: torch.cuda.get_device_name(0),
        "capability": lambda: list(torch.cuda.get_device_capability(0)),
        "from": lambda: str(Path(torch.__file__).parent.parent),
    }
    found: dict[str, Any] = {}
    for key, ask in asked.items():
        try:
            found[key] = ask()
        except Exception as error:  # noqa: BLE001
            found[key] = None
            found.setdefault("errors", {})[key] = told_error(error)
    return found


def broken(bench: Bench) -> bool:
    """Whether nothing works any more in this process, as after an illegal access on the GPU."""
    try:
        bench.wait()
    except Exception:  # noqa: BLE001
        try:
            return bool(bench.torch.cuda.is_initialized())
        except Exception:  # noqa: BLE001
            return False
    return False


def settled(torch: Any) -> None:
    """As repeatable as it gets."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="all of them without any")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="sizes to try the script itself")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--environment", action="store_true", help="run no workload")
    options = parser.parse_args()
    if options.list:
        print(*WORKLOADS, sep="\n")
        return 0
    unknown = sorted(set(options.names) - set(WORKLOADS))
    if unknown:
        parser.error(f"no workload is called {', '.join(unknown)}")
    # Libraries print as they please; only this script's lines go to the real standard output.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(**line: Any) -> None:
        print(json.dumps(line, default=str), file=lines, flush=True)

    names = [] if options.environment else options.names or list(WORKLOADS)
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {}
    try:
        import torch

        found = environment(torch)
        settled(torch)
    except Exception as error:  # noqa: BLE001
        tell(environment={**found, "errors": {"torch": told_error(error)}})
        for name in names:
            tell(started=name)
            tell(name=name, error=told_error(error))
        return 0
    tell(environment=found)
    bench = Bench(torch, options.device, options.small)
    for name in names:
        tell(started=name)
        try:
            tell(name=name, **measured(bench, name))
        except Skipped as error:
            tell(name=name, skipped=str(error))
        except Exception as error:  # noqa: BLE001
            tell(name=name, error=told_error(error))
            if broken(bench):
                return BROKEN
    if (
        "nccl" in names
        and "torch.distributed" in sys.modules
        and torch.distributed.is_initialized()
    ):
        torch.distributed.destroy_process_group()
    tell(libraries=mapped())
    return 0


if __name__ == "__main__":
    sys.exit(main())
