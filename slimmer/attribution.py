"""The ledger: which owner and which category every visible byte is put on, and by what evidence."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from slimmer.categories import Category, file_category, folder_category
from slimmer.ecosystems.python import source_of
from slimmer.files import parent
from slimmer.tar.reading import DIRECTORY, FILE, HARDLINK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slimmer.elf.contents import Binary
    from slimmer.index import Index


class Owner(NamedTuple):
    """Who put bytes into an image."""

    kind: str
    """`pip`, `deb`, `apk`, `rpm`, `conda`, `npm`, `python`, `cache`, `model`, `app`, `unowned` …"""
    name: str
    version: str = ""

    def __str__(self) -> str:
        label = f"{self.kind}:{self.name}" if self.name else self.kind
        return f"{label} {self.version}" if self.version else label


UNOWNED = Owner("unowned", "")


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """An owner's claim to some paths, and what it rests on."""

    owner: Owner
    evidence: str
    """What says so, for people: a record's path, a layer's command."""
    files: Sequence[bytes] = ()
    """Paths that the evidence names one by one. They beat any tree."""
    trees: Sequence[bytes] = ()
    """Folders claimed with all that lies below; the deepest tree wins. `b""` is the whole image."""
    layers: Sequence[int] = ()
    """Numbers of layers of which the owner holds what no file and no tree speaks for."""
    requires: tuple[str, ...] = ()
    """What the owner asks for, as its metadata says: requirement strings of its own kind."""
    metadata: bytes = b""
    """Folder (or file) of the image that says what was installed: `.dist-info`, `.egg-info` …"""
    provides: tuple[str, ...] = ()
    """Further names under which the owner meets a requirement, as its metadata writes them."""

    @property
    def site(self) -> bytes:
        """The folder that a Python distribution is installed to: around its metadata's folder."""
        return parent(self.metadata)

    def __repr__(self) -> str:
        return f"Claim({str(self.owner)!r}, {len(self.files)} files, {len(self.trees)} trees)"


class OwnerRule(Protocol):
    """One way of telling owners; the files of `slimmer/owners` each hold one."""

    @property
    def globs(self) -> Sequence[tuple[str, int]]:
        """Evidence that a scan must read: glob, and how many bytes of each file."""
        ...

    def claims(self, index: Index) -> Iterable[Claim]:
        """Every claim that the image bears out; odd evidence yields none, never an error."""
        ...


@dataclass(frozen=True, slots=True)
class Dispute:
    """A path that several owners claim by name."""

    path: bytes
    kept: Claim
    refused: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The ledger of an image: every visible path with its owner, its category and its bytes.

    >>> ledger = session.inspect().ledger
    >>> sum(ledger.size_of.values()) == ledger.index.rootfs
    True
    """

    index: Index
    claim_of: Mapping[bytes, Claim]
    """Path → the claim that holds; every visible path is in it."""
    category_of: Mapping[bytes, Category]
    """Path → its category; a file with device code inside counts as a native library here."""
    size_of: Mapping[bytes, int]
    """Path → bytes put on it; a hard link's bytes are put on one of its names."""
    disputes: tuple[Dispute, ...]
    claims: tuple[Claim, ...]
    """Every claim that was made, in the order of the rules."""
    binaries: Mapping[bytes, Binary] = field(default_factory=dict)
    """Path → what is inside a large ELF file, where it was read."""

    def __repr__(self) -> str:
        return (
            f"Attribution({self.index.image.reference!r}, {len(self.claims)} claims,"
            f" {len(self.claim_of)} paths)"
        )

    @classmethod
    def of(
        cls,
        index: Index,
        rules: Iterable[OwnerRule],
        binaries: Mapping[bytes, Binary] | None = None,
    ) -> Attribution:
        """Put every visible path on one owner and one category.

        Of two owners that name a file, the one whose rule comes first keeps it; a file named by
        nobody goes to the owner of the deepest tree around it, bytecode to its source's owner;
        what then is left to the owner of its layer.
        """
        claims = tuple(claim for rule in rules for claim in rule.claims(index))
        visible = index.visible
        named: dict[bytes, Claim] = {}
        trees: dict[bytes, Claim] = {}
        layers: dict[int, Claim] = {}
        disputed: dict[bytes, list[Claim]] = {}
        for claim in claims:
            owner = claim.owner
            for path in claim.files:
                if path in visible:
                    held = named.setdefault(path, claim)
                    if (
                        held is not claim
                        and held.owner != owner
                        and visible[path].kind is not DIRECTORY  # folders are shared by nature
                    ):
                        disputed.setdefault(path, []).append(claim)
            for tree in claim.trees:
                trees.setdefault(tree, claim)
            for number in claim.layers:
                layers.setdefault(number, claim)
        nobody = Claim(UNOWNED, "no evidence names it")
        claim_of, category_of = _put(index, named, trees, layers, nobody)
        size_of = {
            path: header.size
            for path, header in visible.items()
            if header.kind is FILE or header.size
        }
        _move_linked_bytes(index, claim_of, size_of)
        return cls(
            index,
            claim_of,
            category_of,
            size_of,
            tuple(
                Dispute(path, named[path], tuple(refused))
                for path, refused in sorted(disputed.items())
            ),
            claims,
            binaries or {},
        )

    def owner(self, path: bytes) -> Owner:
        return self.claim_of[path].owner

    def categories(self, path: bytes) -> Iterable[tuple[Category, int]]:
        """A file's bytes by category: one, or several where its inside is known."""
        size = self.size_of.get(path, 0)
        category = self.category_of[path]
        binary = self.binaries.get(path)
        if binary is None or category in (Category.TESTS, Category.CACHES):
            yield category, size
            return
        device = min(sum(binary.device_code.values()), size)
        debug = min(binary.debug, size - device)
        if device:
            yield Category.DEVICE_CODE, device
        if debug:
            yield Category.DEBUG, debug
        yield category, size - device - debug

    def paths(self) -> Mapping[Owner, Sequence[bytes]]:
        """Every visible path by owner."""
        paths: dict[Owner, list[bytes]] = defaultdict(list)
        for path, claim in self.claim_of.items():
            paths[claim.owner].append(path)
        return paths


def _put(
    index: Index,
    named: Mapping[bytes, Claim],
    trees: Mapping[bytes, Claim],
    layers: Mapping[int, Claim],
    nobody: Claim,
) -> tuple[dict[bytes, Claim], dict[bytes, Category]]:
    """Owner and category of every visible path; what a folder says is worked out once."""
    claim_of: dict[bytes, Claim] = {}
    category_of: dict[bytes, Category] = {}
    root = trees.get(b"", nobody)
    folders: dict[bytes, tuple[Claim, Category | None]] = {b"": (root, None)}
    evidence = index.evidence
    layer_of = index.layer_of
    bytecode = Category.BYTECODE
    caches = Category.CACHES
    models = Category.MODELS
    orphans: list[bytes] = []

    def folder(path: bytes) -> tuple[Claim, Category | None]:
        chain: list[bytes] = []
        while path not in folders:
            chain.append(path)
            path = path[: max(path.rfind(b"/"), 0)]
        claim, category = folders[path]
        for path in reversed(chain):
            claim = trees.get(path, claim)
            category = folder_category(path, category)
            folders[path] = (claim, category)
        return claim, category

    # The second hot loop: 66,550 paths.
    for path, header in index.visible.items():
        slash = path.rfind(b"/")
        directory = path[:slash] if slash > 0 else b""
        around = folders.get(directory)
        tree, place = around if around is not None else folder(directory)
        claim = named.get(path)
        kind = header.kind
        if claim is None:
            if path in trees:
                claim = trees[path]
            elif kind is FILE and path.endswith(b".pyc"):
                claim = named.get(source_of(path) or path, tree)
            else:
                claim = tree
            if claim.owner is UNOWNED:
                claim = layers.get(layer_of[path], claim)
                if claim.owner is UNOWNED and path.endswith(b".pyc"):
                    orphans.append(path)
        claim_of[path] = claim
        if kind is not FILE and kind is not HARDLINK:
            category_of[path] = place or Category.DATA
            continue
        head = evidence.get(path)
        category = file_category(path[slash + 1 :], place, header.mode, head, header.size)
        if claim.owner.kind == "cache" and category is not models:
            category = caches
        elif category is bytecode and place is Category.TESTS:
            category = Category.TESTS
        category_of[path] = category
    for path in orphans:
        # Compiled by a later step than the one that copied the source.
        claim_of[path] = claim_of.get(source_of(path) or path, nobody)
    return claim_of, category_of


def _move_linked_bytes(
    index: Index, claim_of: Mapping[bytes, Claim], size_of: dict[bytes, int]
) -> None:
    """Put a linked file's bytes on the name that needs them: a cache only lends them.

    uv links site-packages to its cache; deleting the cache gives nothing back.
    """
    for files in index.files.held.values():
        for file in files:
            # One of the names that are to be seen carries the bytes of all.
            lender = next((name for name in file.names if size_of.get(name)), None)
            if lender is None or claim_of[lender].owner.kind != "cache":
                continue
            for name in file.names:
                if claim_of[name].owner.kind != "cache":
                    size_of[name], size_of[lender] = size_of[lender], 0
                    break
