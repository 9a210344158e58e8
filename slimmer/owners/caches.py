"""What package managers and model libraries keep in order not to fetch it again, and leftovers.

Where each program keeps it is said by its own documentation; `XDG_CACHE_HOME` and the programs'
own variables are read from the image's environment.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner
from slimmer.owners.paths import SHARED, folders, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_SYSTEM: dict[bytes, str] = {
    b"var/cache/apt": "apt",
    b"var/lib/apt/lists": "apt",
    b"var/cache/yum": "yum",
    b"var/cache/dnf": "dnf",
    b"var/cache/libdnf5": "dnf",
    b"var/lib/dnf/repos": "dnf",
    b"var/cache/zypp": "zypper",
    b"var/cache/apk": "apk",
    b"etc/apk/cache": "apk",
    b"var/cache/pacman": "pacman",
    b"var/cache/man": "man",
    b"var/cache/fontconfig": "fontconfig",
    b"usr/share/nltk_data": "nltk",
    b"usr/local/share/nltk_data": "nltk",
    b"usr/lib/nltk_data": "nltk",
    b"usr/local/lib/nltk_data": "nltk",
    b"nltk_data": "nltk",
    b"usr/local/share/.cache/yarn": "yarn",
    b"go/pkg/mod": "go",
    b"usr/local/cargo/registry": "cargo",
    b"usr/local/cargo/git": "cargo",
    b"tmp": "tmp",
    b"var/tmp": "tmp",
    b"var/log": "logs",
}
_AT_HOME: dict[bytes, str] = {
    b".npm": "npm",
    b".yarn/cache": "yarn",
    b".yarn/berry/cache": "yarn",
    b".local/share/pnpm/store": "pnpm",
    b".pnpm-store": "pnpm",
    b".bun/install/cache": "bun",
    b".cargo/registry": "cargo",
    b".cargo/git": "cargo",
    b"go/pkg/mod": "go",
    b".ccache": "ccache",
    b".conda/pkgs": "conda",
    b".m2/repository": "maven",
    b".gradle/caches": "gradle",
    b".ivy2/cache": "ivy",
    b".nuget/packages": "nuget",
    b".composer/cache": "composer",
    b".bundle/cache": "bundler",
    b".rustup/downloads": "rustup",
    b".rustup/tmp": "rustup",
    b".local/share/virtualenv": "virtualenv",
    b".local/share/uv/cache": "uv",
    b".keras": "keras",
    b".camel_tools": "camel_tools",
    b"nltk_data": "nltk",
    b"scikit_learn_data": "scikit-learn",
    b"stanza_resources": "stanza",
    b".EasyOCR": "easyocr",
    b".paddleocr": "paddleocr",
    b".paddlex": "paddlex",
    b".insightface": "insightface",
    b".deepface": "deepface",
    b".u2net": "rembg",
    b".flair": "flair",
    b".ollama": "ollama",
    b".modelscope": "modelscope",
    b".triton/cache": "triton",
    b".nv/ComputeCache": "nvidia",
    b".cupy/kernel_cache": "cupy",
    b".matplotlib": "matplotlib",
    b".jupyter/lab/staging": "jupyter",
    b".wget-hsts": "wget",
}
_RENAMED: dict[bytes, str] = {
    b"pypoetry": "poetry",
    b"go-build": "go",
    b"node-gyp": "npm",
    b"node": "npm",
    b"nix": "nix",
    b"torch_extensions": "torch",
    b"datalab": "datalab",
}
"""Names below `~/.cache` that are not the program's own."""

_VARIABLES: dict[str, tuple[str, bytes]] = {
    "PIP_CACHE_DIR": ("pip", b""),
    "UV_CACHE_DIR": ("uv", b""),
    "POETRY_CACHE_DIR": ("poetry", b""),
    "PIPENV_CACHE_DIR": ("pipenv", b""),
    "PDM_CACHE_DIR": ("pdm", b""),
    "CONDA_PKGS_DIRS": ("conda", b""),
    "HF_HOME": ("huggingface", b""),
    "HF_HUB_CACHE": ("huggingface", b""),
    "HF_DATASETS_CACHE": ("huggingface", b""),
    "HUGGINGFACE_HUB_CACHE": ("huggingface", b""),
    "TRANSFORMERS_CACHE": ("huggingface", b""),
    "SENTENCE_TRANSFORMERS_HOME": ("sentence-transformers", b""),
    "TORCH_HOME": ("torch", b""),
    "NLTK_DATA": ("nltk", b""),
    "CAMELTOOLS_DATA": ("camel_tools", b""),
    "KERAS_HOME": ("keras", b""),
    "TFHUB_CACHE_DIR": ("tensorflow-hub", b""),
    "STANZA_RESOURCES_DIR": ("stanza", b""),
    "MPLCONFIGDIR": ("matplotlib", b""),
    "NUMBA_CACHE_DIR": ("numba", b""),
    "TRITON_CACHE_DIR": ("triton", b""),
    "TIKTOKEN_CACHE_DIR": ("tiktoken", b""),
    "OLLAMA_MODELS": ("ollama", b""),
    "DEEPFACE_HOME": ("deepface", b"/.deepface"),
    "NPM_CONFIG_CACHE": ("npm", b""),
    "npm_config_cache": ("npm", b""),
    "YARN_CACHE_FOLDER": ("yarn", b""),
    "CCACHE_DIR": ("ccache", b""),
    "GOMODCACHE": ("go", b""),
    "GOCACHE": ("go", b""),
    "GOPATH": ("go", b"/pkg/mod"),
    "CARGO_HOME": ("cargo", b"/registry"),
    "PRE_COMMIT_HOME": ("pre-commit", b""),
}
_KNOWN = frozenset(
    b"pip uv pypoetry poetry pipenv pdm hatch conda huggingface torch torch_extensions go-build"
    b" yarn pnpm node-gyp npm ccache sccache matplotlib fontconfig pre-commit keras clip"
    b" whisper spacy tiktoken".split()
)
"""What `.cache` holds for sure, even where it lies in no user's home."""


@dataclass(frozen=True, slots=True)
class Caches:
    """Claims caches as trees; repositories of the Hugging Face hub each as a model of its own."""

    globs: Sequence[tuple[str, int]] = (("etc/passwd", 1 << 16),)

    def claims(self, index: Index) -> Iterator[Claim]:
        there = folders(index)
        homes = _homes(index, there)
        trees: defaultdict[tuple[str, str, str], list[bytes]] = defaultdict(list)

        def add(kind: str, name: str, evidence: str, tree: bytes) -> None:
            if tree in there or tree in index.visible:
                trees[kind, name, evidence].append(tree)

        for tree, name in _SYSTEM.items():
            add("cache", name, "where the system keeps it", tree)
        for home in homes:
            for tree, name in _AT_HOME.items():
                add("cache", name, "where it keeps its files in a user's home", home + tree)
        for variable, value in index.image.config.environment:
            if variable in _VARIABLES and value.startswith("/"):
                name, below = _VARIABLES[variable]
                tree = index.resolve(value.encode("utf-8", "surrogateescape") + below)
                if tree not in SHARED:
                    add("cache", name, f"{variable}={value:.200}", tree)
        roots = {home + b".cache" for home in homes}
        roots.update(
            index.resolve(value.encode("utf-8", "surrogateescape"))
            for variable, value in index.image.config.environment
            if variable == "XDG_CACHE_HOME" and value.startswith("/")
        )
        roots -= SHARED
        evidence = "a folder of the user's cache"
        for folder in there:
            around, _, last = folder.rpartition(b"/")
            if around in roots or (last in _KNOWN and around.endswith(b".cache")):
                add("cache", _RENAMED.get(last) or text(last), evidence, folder)
            elif last.startswith(b"models--"):
                repository = text(last[len(b"models--") :].replace(b"--", b"/", 1))
                if b"/".join((folder, b"snapshots")) in there or folder + b"/blobs" in there:
                    add("model", repository, "a repository of the Hugging Face hub", folder)
            elif last == b"pkgs" and around + b"/conda-meta" in there:
                add("cache", "conda", "conda's folder of packages", folder)
        for root in roots & there.keys():
            add("cache", "other", evidence, root)
        for (kind, name, reason), paths in trees.items():
            yield Claim(Owner(kind, name), reason, trees=tuple(paths))


def _homes(index: Index, there: dict[bytes, None]) -> list[bytes]:
    """Every folder that is some user's home, with a slash behind it."""
    homes = {b"root", *(f for f in there if f.startswith(b"home/") and f.count(b"/") == 1)}
    for line in index.evidence.get(b"etc/passwd", b"").split(b"\n")[:1000]:
        fields = line.split(b":")
        if len(fields) == 7:
            homes.add(index.resolve(fields[5]))
    told = [value for key, value in index.image.config.environment if key == "HOME"]
    for value in (*told, index.image.config.working_directory):
        homes.add(index.resolve(value.encode("utf-8", "surrogateescape")))
    return sorted(home + b"/" for home in homes if home and home in there)
