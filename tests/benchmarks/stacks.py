"""The heavy levers on real stacks of wheels: bytes by lever, and what still works afterwards.

    python tests/benchmarks/stacks.py opencv polars --work FOLDER [--python PYTHON3.11] >> table.md

Installs each stack with pip as a user would (CPython 3.11, binary wheels, with bytecode), makes an
image of one layer of it, has `slimmer plan` and `slimmer slim` cut it down (`--policy balanced
--gpu sm_90`, and `--swap` where the stack has a CPU build), and tries before and after, on the
same path: to import every module but tests and programs, to load every shared library with all
its symbols bound, to calculate something on the CPU, to check every line of every RECORD, `pip
check`, and `readelf`. Prints one Markdown table, one row for each stack; FOLDER needs about three
times the size of the largest stack and is left empty. Exits with 1 where something worked before
and does not after.

Where the machine has no NVIDIA driver, what needs one fails before and has to fail alike after.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import traceback
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).parents[2]
SITE = "usr/local/lib/python3.11/site-packages"
CHUNK = 1 << 20
LARGEST_HASHED = 64 << 20
"""Bytes of a file up to which its hash in RECORD is checked, and not its size alone."""
PATIENCE = 120
"""Seconds that one module may take to import, or one library to load."""


LEVERS = ("device-code", "symbols", "swap")
HEADS = (
    *("stack", "MB before", "device code", "symbols", "swap", "other steps", "MB after", "left"),
    *("modules imported", "libraries loaded", "gone with CUDA", "lost"),
)


@dataclass(frozen=True, slots=True)
class Stack:
    """Distributions that are installed together, and what to do with them."""

    requires: tuple[str, ...]
    task: str
    """Python that calculates on the CPU and prints what came out."""
    swap: str = ""
    for_gpu: tuple[str, ...] = ()
    """Modules of the CPU build that need what the swap takes away; they cannot be imported in
    pip's own installation of it either."""
    arguments: tuple[str, ...] = ()
    """Further ones for pip."""


TORCH = """
import hashlib, torch
torch.manual_seed(7); torch.set_num_threads(1)
def told(t): return hashlib.sha256(t.detach().contiguous().numpy().tobytes()).hexdigest()[:16]
a = torch.randn(200, 200, dtype=torch.float64)
print(told(a @ a), told(torch.linalg.inv(a)), [told(part) for part in torch.linalg.svd(a)])
print(told(torch.linalg.eigh(a @ a.T)[0]), told(torch.linalg.solve(a, a.T)))
x = torch.randn(4, 3, 32, 32, requires_grad=True)
first, last = torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 5)
net = torch.nn.Sequential(first, torch.nn.BatchNorm2d(8), torch.nn.GELU(), last)
net(x).square().sum().backward()
print(told(x.grad), told(torch.view_as_real(torch.fft.fft2(x))))
gru = torch.nn.GRU(8, 16, 2); print(told(gru(torch.randn(5, 2, 8))[0]))
print(told(torch.sparse.mm(torch.eye(20).to_sparse_csr(), torch.ones(20, 3))))
"""
JAX = """
import hashlib, jax, jax.numpy as jnp, numpy
def told(t): return hashlib.sha256(numpy.asarray(t).tobytes()).hexdigest()[:16]
a = jax.random.normal(jax.random.PRNGKey(7), (100, 100))
f = jax.jit(lambda x: jnp.sum(jnp.tanh(x @ x)))
print(jax.default_backend(), told(f(a)), told(jax.grad(f)(a)))
print(told(jnp.fft.fft2(a)), told(jnp.linalg.svd(a)[1]))
x = jax.random.normal(jax.random.PRNGKey(8), (1, 3, 16, 16))
print(told(jax.lax.conv(x, x[:, :, :3, :3], (1, 1), "SAME")))
"""
TENSORFLOW = """
import hashlib, numpy, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
def told(t): return hashlib.sha256(numpy.asarray(t).tobytes()).hexdigest()[:16]
a = tf.random.stateless_normal((60, 60), (1, 2))
x = tf.random.stateless_normal((2, 16, 16, 3), (3, 4))
k = tf.random.stateless_normal((3, 3, 3, 4), (5, 6))
with tf.GradientTape() as tape:
    tape.watch(k); y = tf.reduce_sum(tf.nn.conv2d(x, k, 1, "SAME") ** 2)
print(told(a @ a), told(tape.gradient(y, k)), told(tf.linalg.svd(a)[0]))
print(told(tf.signal.fft2d(tf.cast(a, tf.complex64))))
print(told(tf.function(lambda v: tf.nn.softmax(v @ v))(a)), tf.config.list_physical_devices("GPU"))
"""
XGBOOST = """
import hashlib, numpy, xgboost
x = numpy.random.default_rng(7).normal(size=(400, 9)); y = (x[:, 0] * x[:, 1] > 0).astype(int)
options = {"objective": "binary:logistic", "nthread": 1, "seed": 1}
m = xgboost.train(options, xgboost.DMatrix(x, y), 20)
print(hashlib.sha256(m.predict(xgboost.DMatrix(x)).tobytes()).hexdigest())
"""
ONNXRUNTIME = """
import hashlib, numpy, onnxruntime as o
from onnxruntime.datasets import get_example
for name in ("sigmoid.onnx", "logreg_iris.onnx", "mul_1.onnx"):
    s = o.InferenceSession(get_example(name), providers=["CPUExecutionProvider"])
    shape = [d if isinstance(d, int) else 3 for d in s.get_inputs()[0].shape]
    x = numpy.random.default_rng(7).normal(size=shape).astype("float32")
    print(name, [repr(v) for v in s.run(None, {s.get_inputs()[0].name: x})])
"""
STACKS: Mapping[str, Stack] = {
    "opencv": Stack(
        ("opencv-python-headless",),
        """
import hashlib, cv2, numpy
cv2.setNumThreads(1); a = numpy.random.default_rng(7).integers(0, 255, (200, 300, 3), "uint8")
out = [cv2.resize(a, (77, 99)), cv2.GaussianBlur(a, (5, 5), 1.5), cv2.Canny(a, 50, 150),
       cv2.dft(a[:, :, 0].astype("float32")), cv2.imdecode(cv2.imencode(".jpg", a)[1], 1),
       cv2.imencode(".png", a)[1], cv2.imencode(".webp", a)[1]]
print([hashlib.sha256(x.tobytes()).hexdigest()[:16] for x in out])
""",
    ),
    "av": Stack(
        ("av", "numpy"),
        """
import hashlib, io, av, numpy
sink = io.BytesIO(); out = av.open(sink, "w", format="matroska")
s = out.add_stream("mpeg4", rate=25); s.width, s.height, s.pix_fmt = 128, 96, "yuv420p"
s.codec_context.thread_count = 1
for n in range(12):
    frame = av.VideoFrame.from_ndarray(numpy.full((96, 128, 3), n * 20, "uint8"), "rgb24")
    for packet in s.encode(frame): out.mux(packet)
for packet in s.encode(): out.mux(packet)
out.close()
read = av.open(io.BytesIO(sink.getvalue())).decode(video=0)
frames = [frame.to_ndarray(format="rgb24").tobytes() for frame in read]
print(len(frames), hashlib.sha256(b"".join(frames)).hexdigest(), len(av.codecs_available))
""",
    ),
    "polars": Stack(
        ("polars", "numpy", "pyarrow"),
        """
import polars as pl
d = pl.DataFrame({"k": [i % 7 for i in range(1000)], "v": [i * 0.5 for i in range(1000)]})
g = d.lazy().group_by("k").agg(pl.col("v").sum(), pl.col("v").std().alias("s")).sort("k").collect()
print(g.rows(), d.join(g, on="k").select(pl.col("v").quantile(0.3)).item(), g.to_arrow().nbytes)
""",
    ),
    "xgboost": Stack(("xgboost",), XGBOOST, "xgboost=cpu"),
    "onnxruntime-gpu": Stack(("onnxruntime-gpu[cuda,cudnn]",), ONNXRUNTIME, "onnxruntime-gpu=cpu"),
    "cupy": Stack(
        ("cupy-cuda12x[ctk]",),
        """
import cupy, numpy
from cupy.cuda import nvrtc
code = 'extern "C" __global__ void f(float *x) { x[threadIdx.x] *= 2; }'
p = nvrtc.createProgram(code, "f.cu", [], [])
nvrtc.compileProgram(p, ["--gpu-architecture=compute_90"])
print(nvrtc.getVersion(), nvrtc.getPTX(p))
try: print(cupy.arange(5))
except Exception as error: print(type(error).__name__, error)
""",
    ),
    "faiss-gpu": Stack(
        ("faiss-gpu-cu12",),
        """
import hashlib, faiss, numpy
faiss.omp_set_num_threads(1)
x = numpy.random.default_rng(7).normal(size=(2000, 32)).astype("float32")
i = faiss.index_factory(32, "IVF16,PQ8"); i.train(x); i.add(x)
d, n = i.search(x[:20], 5)
print(hashlib.sha256(d.tobytes() + n.tobytes()).hexdigest(), i.ntotal)
""",
    ),
    "ctransformers": Stack(
        ("ctransformers[cuda]",),
        """
import ctransformers, ctypes
from ctransformers.lib import find_library
for gpu in (False, True):
    print(find_library(None, gpu).split("site-packages")[-1])
""",
    ),
    "jax": Stack(("jax[cuda12]",), JAX, "jax=cpu", ("jax._src.lib.mosaic_gpu",)),
    "jax-cuda13": Stack(("jax[cuda13]",), JAX, "jax=cpu", ("jax._src.lib.mosaic_gpu",)),
    "tensorflow": Stack(("tensorflow",), TENSORFLOW),
    "tensorflow-cuda": Stack(("tensorflow[and-cuda]",), TENSORFLOW, "tensorflow=cpu"),
    "torch-2.13.0": Stack(
        ("torch==2.13.0", "numpy"),
        TORCH,
        "torch=cpu",
        ("torch._native.ops.bmm_outer_product.triton_kernels",),
    ),
    "torch-2.9.0": Stack(("torch==2.9.0", "numpy"), TORCH),
    "bitsandbytes": Stack(
        ("bitsandbytes", "numpy", "packaging"),
        "import importlib.metadata as m; print(m.version('bitsandbytes'))",
        arguments=("--no-deps",),
    ),
    "science": Stack(
        ("numpy", "scipy", "pandas", "scikit-image", "scikit-learn", "spacy", "numba", "lightgbm"),
        """
import hashlib, io, numpy, pandas, scipy.linalg, scipy.fft, scipy.sparse.linalg, scipy.optimize
import skimage.filters, sklearn.linear_model, sklearn.ensemble, spacy, numba, lightgbm
def told(t): return hashlib.sha256(numpy.ascontiguousarray(t).tobytes()).hexdigest()[:16]
r = numpy.random.default_rng(7); a = r.normal(size=(80, 80)); y = a[:, 0] > 0
print(told(scipy.linalg.svd(a)[1]), told(scipy.fft.dctn(a)), told(skimage.filters.gaussian(a, 2)))
print(told(scipy.sparse.linalg.eigsh(a + a.T, 3, v0=a[0])[0]))
print(scipy.optimize.minimize(lambda v: (v ** 2).sum(), a[0]).fun)
print(told(sklearn.ensemble.RandomForestClassifier(9, random_state=1).fit(a, y).predict_proba(a)))
print(told(sklearn.linear_model.LogisticRegression().fit(a, y).coef_))
trees = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1, min_child_samples=2)
print(told(trees.fit(a, y).predict_proba(a)))
print(numba.njit(lambda v: (v * v).sum())(a), pandas.DataFrame(a).groupby(0).sum().sum().sum())
print([token.text for token in spacy.blank("en")("Nobody reads this twice, do they?")])
""",
    ),
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What works in one site folder; equal for two that work alike."""

    modules: dict[str, str]
    """`ok`, or how the import failed."""
    libraries: dict[str, str]
    task: str
    records: tuple[str, ...]
    """Lines of RECORD files that are not true."""
    pip_check: str
    readelf: dict[str, str] = field(default_factory=dict)
    """Warnings by file; empty where there are none."""

    @staticmethod
    def of(site: Path, stack: Stack, python: str, work: Path) -> Trial:
        home = _empty(work / "home")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Some packages load these by themselves before what needs them.
        folders = ":".join(sorted(map(str, site.glob("nvidia/*/lib"))))
        told = {
            what: json.loads(
                _output(
                    [python, "-I", "-S", __file__, "--probe", what, str(site)],
                    input=stack.task,
                    cwd=home,
                    env={**environment, "LD_LIBRARY_PATH": folders * (what == "libraries")},
                )
            )
            for what in PROBES
        }
        return Trial(
            told["modules"],
            told["libraries"],
            told["task"],
            tuple(_untrue(site)),
            _pip_check(site, python),
            _readelf(site, told["libraries"]),
        )


# What runs inside the interpreter that tries.


def _modules(site: Path) -> list[str]:
    """Every module but tests, programs and what no import statement can name."""
    found = set()
    for path in site.rglob("*"):
        relative = path.relative_to(site)
        if path.suffix == ".py":
            name = relative.with_suffix("")
        elif path.name.endswith((".abi3.so", "-x86_64-linux-gnu.so")):
            name = relative.with_name(path.name.partition(".")[0])
        else:
            continue
        parts = name.parts[:-1] if name.name == "__init__" else name.parts
        if (
            parts
            and all(part.isidentifier() for part in parts)
            and not {"tests", "test", "__main__", "idle_test", "conftest"} & set(parts)
        ):
            found.add(".".join(parts))
    return sorted(found)


def _libraries(site: Path) -> list[str]:
    found = []
    for path in site.rglob("*.so*"):
        if path.is_file():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    found.append(str(path.relative_to(site)))
    return sorted(found)


def _said(error: BaseException, site: str) -> str:
    text = re.sub(r"0x[0-9a-f]+", "0x", f"{type(error).__name__}: {error}".replace(site, "SITE"))
    return text.partition("\n")[0][:300]


def _each(
    names: Sequence[str], attempt: Callable[[str], object], site: str, alone: bool
) -> dict[str, str]:
    """The outcome of an attempt at each name, in a process of its own that may die.

    Not `alone`, the next attempts go on in the same process until it dies.
    """
    outcome: dict[str, str] = {}
    start = 0
    while start < len(names):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            with os.fdopen(writer, "w", buffering=1) as told:
                for name in names[start : start + 1 if alone else None]:
                    signal.alarm(PATIENCE)
                    try:
                        attempt(name)
                        said = "ok"
                    except BaseException as error:  # noqa: BLE001
                        said = _said(error, site)
                    told.write(json.dumps([name, said]) + "\n")
                told.flush()
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            for line in told:
                with contextlib.suppress(ValueError):
                    name, said = json.loads(line)
                    outcome[name] = said
        _, status = os.waitpid(child, 0)
        done = start
        while done < len(names) and names[done] in outcome:
            done += 1
        if done < len(names) and (not alone or done == start):
            outcome[names[done]] = f"died: {os.waitstatus_to_exitcode(status)}"
            done += 1
        start = done
    return outcome


def _probe_modules(site: Path) -> dict[str, str]:
    return _each(_modules(site), importlib.import_module, str(site), alone=False)


def _probe_libraries(site: Path) -> dict[str, str]:
    import ctypes

    return _each(
        _libraries(site), lambda name: ctypes.CDLL(str(site / name)), str(site), alone=True
    )


def _probe_task(site: Path) -> str:
    source = sys.stdin.read()
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        try:
            exec(compile(source, "task", "exec"), {"__name__": "task"})
        except BaseException as error:  # noqa: BLE001
            traceback.print_exc()
            print(_said(error, str(site)))
    return told.getvalue().replace(str(site), "SITE")


PROBES: Mapping[str, Callable[[Path], Any]] = {
    "modules": _probe_modules,
    "libraries": _probe_libraries,
    "task": _probe_task,
}


def probe(what: str, site: Path) -> None:
    # Whatever a library writes by itself goes to the log.
    answer = os.dup(1)
    os.dup2(2, 1)
    import site as python_site

    sys.prefix = sys.exec_prefix = str(site.parents[2])
    python_site.PREFIXES[:] = [sys.prefix]
    python_site.addsitedir(str(site))
    told = json.dumps(PROBES[what](site))
    with os.fdopen(answer, "w") as sink:
        sink.write(told)
    os._exit(0)


# What runs outside.


def _untrue(site: Path) -> Iterator[str]:
    for record in sorted(site.glob("*.dist-info/RECORD")):
        with record.open(newline="", encoding="utf-8") as lines:
            for name, hashed, size in csv.reader(lines):
                path = site / name
                where = f"{record.parent.name}: {name}"
                if not path.is_file():
                    yield f"{where} is missing"
                elif size and path.stat().st_size != int(size):
                    yield f"{where} has another size"
                elif hashed and path.stat().st_size <= LARGEST_HASHED:
                    kind, _, value = hashed.partition("=")
                    digest = hashlib.new(kind, path.read_bytes()).digest()
                    if urlsafe_b64encode(digest).rstrip(b"=").decode() != value:
                        yield f"{where} has another hash"


def _pip_check(site: Path, python: str) -> str:
    code = (
        "import sys, glob, ensurepip;"
        "pip = glob.glob(ensurepip.__path__[0] + '/_bundled/pip*.whl');"
        "sys.path[:0] = [sys.argv.pop(1), *pip];"
        "from pip._internal.cli.main import main; raise SystemExit(main(['check']))"
    )
    ran = subprocess.run(
        [python, "-I", "-S", "-c", code, str(site)], capture_output=True, text=True, check=False
    )
    return ran.stdout


def _readelf(site: Path, libraries: Mapping[str, str]) -> dict[str, str]:
    if shutil.which("readelf") is None:
        return {}
    told = {}
    for name in libraries:
        ran = subprocess.run(
            ["readelf", "-lSW", str(site / name)], capture_output=True, text=True, check=False
        )
        if ran.returncode or ran.stderr:
            told[name] = ran.stderr.replace(str(site), "SITE")[:200]
    return told


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _output(command: Sequence[str], **how: Any) -> str:
    log(f"$ {' '.join(command[:9])}")
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, check=True, **how
    ).stdout


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def install(stack: Stack, root: Path, python: str, work: Path) -> None:
    command = [
        *(python, "-m", "pip", "install", "--prefix", str(root / "usr/local")),
        *("--ignore-installed", "--only-binary=:all:", "--no-cache-dir", "--quiet"),
        *("--progress-bar=off",),
        *("--root-user-action=ignore", "--no-warn-script-location", "--no-warn-conflicts"),
        *stack.arguments,
        *stack.requires,
    ]
    # The host's own links may hold another build under the same version.
    environment = {
        **os.environ,
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
        "TMPDIR": str(work),
    }
    _output(command, env=environment)


class _Hashing(io.RawIOBase):
    """A file that is hashed as it is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.digest.update(content)
        self.size += len(content)
        return self._file.write(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def make_image(root: Path, layout: Path) -> None:
    """An OCI layout of one uncompressed layer."""
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def tidy(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with _Hashing(layout / "layer") as sink:
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as tar:
            tar.add(root / "usr", "usr", filter=tidy)
        diff_id, size = sink.digest.hexdigest(), sink.size
    (layout / "layer").rename(blobs / diff_id)

    def put(fields: Mapping[str, object], kind: str) -> dict[str, object]:
        text = json.dumps(fields).encode()
        name = hashlib.sha256(text).hexdigest()
        (blobs / name).write_bytes(text)
        media_type = f"application/vnd.oci.image.{kind}.v1+json"
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(text)}

    config = put(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        },
        "config",
    )
    layer = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": f"sha256:{diff_id}",
        "size": size,
    }
    entry = put({"schemaVersion": 2, "config": config, "layers": [layer]}, "manifest")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))


def unpack(layout: Path, root: Path) -> None:
    """The merged tree of a layout with uncompressed layers, of which none deletes anything."""
    _empty(root)
    blobs = layout / "blobs/sha256"

    def blob(fields: Mapping[str, Any]) -> Path:
        return blobs / fields["digest"].partition(":")[2]

    entry = json.loads((layout / "index.json").read_text())["manifests"][0]
    for layer in json.loads(blob(entry).read_text())["layers"]:
        with tarfile.open(blob(layer)) as tar:
            # Python 3.11.4 and later ask for a filter; Debian 12's 3.11.2 does not know the word.
            trusted = {"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(root, **trusted)


def size_of(root: Path) -> int:
    """Bytes of the files, hard links once: what slimmer calls unpacked."""
    seen = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            seen[status.st_ino] = status.st_size
    return sum(seen.values())


def slimmed(work: Path, arguments: Sequence[str]) -> tuple[dict[str, Any], int]:
    """The plan for the image in `work`, and the bytes of what was written by it."""
    slimmer = [sys.executable, "-m", "slimmer"]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "TMPDIR": str(work)}
    plan = work / "plan.json"
    source = f"oci:{work}/image:latest"
    _output(
        [*slimmer, "plan", source, "--no-cache", "--policy=balanced", *arguments, "-o", str(plan)],
        env=environment,
        cwd=work,
    )
    shutil.rmtree(work / "slim", ignore_errors=True)
    log(
        _output(
            [
                *(*slimmer, "slim", source, "--no-cache", "--no-verify", "--plan", str(plan)),
                *("--compression=none", "-o", f"oci:{work}/slim:latest"),
            ],
            env=environment,
            cwd=work,
        )
    )
    fields = json.loads(plan.read_text())
    plan.unlink()
    unpack(work / "slim", work / "root")
    shutil.rmtree(work / "slim")
    return fields, size_of(work / "root")


@dataclass(frozen=True, slots=True)
class Compared:
    """What two trials say together."""

    lost: tuple[str, ...]
    """What worked and does not any more, or works otherwise, though it is still there."""
    left: int
    """Modules and libraries that worked and left for good."""
    cells: tuple[str, str]
    """Modules and libraries, before and after, for people."""

    @staticmethod
    def of(before: Trial, after: Trial, for_gpu: Sequence[str] | None) -> Compared:
        """`for_gpu` are modules that may fail after a swap; None without one, where what failed
        has to fail alike."""
        lost = []
        left = 0
        cells = []
        for kind in ("modules", "libraries"):
            old, new = getattr(before, kind), getattr(after, kind)
            for name, said in old.items():
                if name not in new or (for_gpu and name in for_gpu and new[name] != "ok"):
                    left += said == "ok"
                elif new[name] != said and (said == "ok" or for_gpu is None):
                    lost.append(f"{kind}: {name}: {said} → {new[name]}")
            lost += [
                f"{kind}: {name} is new: {said}"
                for name, said in new.items()
                if name not in old and said != "ok"
            ]
            good = [sum(said == "ok" for said in one.values()) for one in (old, new)]
            cells.append(f"{good[0]:,} → {good[1]:,} of {len(new):,}")
        if before.task != after.task:
            lost.append(f"task: {before.task} → {after.task}")
        lost += [f"RECORD: {text}" for text in after.records if text not in before.records]
        if before.pip_check != after.pip_check:
            lost.append(f"pip check: {before.pip_check} → {after.pip_check}")
        lost += [
            f"readelf: {name}: {said}"
            for name, said in after.readelf.items()
            if before.readelf.get(name) != said
        ]
        return Compared(tuple(lost), left, (cells[0], cells[1]))


def versions(site: Path) -> dict[str, str]:
    """The version of each distribution, by its normalised name."""
    told = {}
    for folder in sorted(site.glob("*.dist-info")):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        told[re.sub(r"[-_.]+", "-", name).lower()] = version
    return told


def measured(name: str, work: Path, python: str) -> Iterator[tuple[str, bool]]:
    """Rows of the table, and whether each holds."""
    stack = STACKS[name]
    root = _empty(work) / "root"
    install(stack, root, python, work)
    site = root / SITE
    held = versions(site)
    log(f"{name}: {held}")
    asked = [re.split(r"[\[=]", text) for text in stack.requires]
    title = ", ".join(
        f"{text.partition('==')[0]} {held[first]}"
        for (first, *_), text in zip(asked, stack.requires, strict=True)
    )
    before = Trial.of(site, stack, python, work)
    log(f"{name}: the task says {before.task}")
    log(f"{name}: fails before: {[one for one in before.modules.items() if one[1] != 'ok']}")
    log(f"{name}: fails before: {[one for one in before.libraries.items() if one[1] != 'ok']}")
    log(f"{name}: {before.records}, {before.pip_check}, {before.readelf}")
    size_before = size_of(root)
    make_image(root, work / "image")
    shutil.rmtree(root)
    runs = [(title, ("--gpu=sm_90",))]
    if stack.swap:
        runs.append((f"the same, `--swap {stack.swap}`", (f"--swap={stack.swap}",)))
    for title, arguments in runs:
        plan, size_after = slimmed(work, arguments)
        for_gpu = None if title == runs[0][0] else stack.for_gpu
        compared = Compared.of(before, Trial.of(site, stack, python, work), for_gpu)
        lost = list(compared.lost)
        if (size_before, size_after) != (plan["before"]["unpacked"], plan["after"]["unpacked"]):
            lost.append(f"promised {plan['before']} → {plan['after']}, got {size_after}")
        for text in lost:
            log(f"LOST {title}: {text[:900]}")
        by = dict.fromkeys((*LEVERS, "other"), 0)
        for step in plan["steps"]:
            by[step["action"] if step["action"] in LEVERS else "other"] += step["saves"]["unpacked"]
        by["other"] = size_before - size_after - sum(by[lever] for lever in LEVERS)
        sizes = [size_before, *by.values(), size_after]
        cells = [
            title,
            *(f"{size / 1e6:,.1f}" for size in sizes),
            f"{100 * size_after / size_before:.0f} %",
            *compared.cells,
            f"{compared.left:,}",
            f"{len(lost):,}",
        ]
        log(f"| {' | '.join(cells)} |")
        yield f"| {' | '.join(cells)} |", not lost
    shutil.rmtree(work)


def main() -> int:
    if sys.argv[1:2] == ["--probe"]:
        probe(sys.argv[2], Path(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stacks", nargs="+", choices=STACKS, metavar="STACK")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--python", default="python3.11", help="CPython 3.11 with pip")
    options = parser.parse_args()
    python = shutil.which(options.python)
    if python is None:
        parser.error(f"there is no {options.python}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    print(f"| {' | '.join(HEADS)} |\n|{' --- |' * len(HEADS)}", flush=True)
    held = True
    for name in options.stacks:
        for row, holds in measured(name, options.work.resolve() / name, python):
            print(row, flush=True)
            held &= holds
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
