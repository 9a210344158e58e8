"""Model weights that no package brought, told by their format wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner
from slimmer.categories import Category, file_category, model_format
from slimmer.owners.caches import Caches
from slimmer.owners.paths import SHARED, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_SAVED_MODEL = b"saved_model.pb"
_BESIDE = (b"config.json", b"tokenizer.json", b"tokenizer_config.json", b"modules.json")
"""What lies beside the weights in a model's own folder, as the Hugging Face libraries write it."""


@dataclass(frozen=True, slots=True)
class Models:
    """Claims large files of a model format, or the whole folder where it is plainly a model's.

    A claim by format is the weakest: whoever names the file keeps it, and so does a cache.
    """

    globs: Sequence[tuple[str, int]] = (("**/saved_model.pb", 64),)

    def claims(self, index: Index) -> Iterator[Claim]:
        trees: dict[bytes, str] = {}
        for path, head in index.evidence.items():
            folder, _, name = path.rpartition(b"/")
            if name == _SAVED_MODEL:
                trees[path if _wide(index, folder) else folder] = "TensorFlow"
            elif file_category(name, None, 0, head) is Category.MODELS:
                whole = any(folder + b"/" + beside in index.visible for beside in _BESIDE)
                tree = folder if whole and not _wide(index, folder) else path
                trees[tree] = model_format(head) or text(name.rpartition(b".")[2])
        if not trees:
            return
        cached = {tree for claim in Caches().claims(index) for tree in claim.trees}
        for tree, found in trees.items():
            if not _below(tree, cached):
                yield Claim(
                    Owner("model", _name(tree)), f"weights by their format, {found}", (), (tree,)
                )


def _wide(index: Index, folder: bytes) -> bool:
    """Whether a folder is certainly more than a model."""
    working = index.image.config.working_directory.encode("utf-8", "surrogateescape")
    return folder in SHARED or folder == working.strip(b"/")


def _below(path: bytes, trees: set[bytes]) -> bool:
    while path not in trees:
        if b"/" not in path:
            return False
        path = path[: path.rfind(b"/")]
    return True


def _name(tree: bytes) -> str:
    """A folder's or a file's own name; of a folder that is only a version, the one around it."""
    around, _, name = tree.rpartition(b"/")
    return text(around.rpartition(b"/")[2] if name.isdigit() and around else name)
