"""Law 1: owned + unowned + overwritten + deleted = unpacked, to the byte, on any image."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples
from tiny import image, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.attribution import Attribution
from slimmer.index import Index
from slimmer.tar.reading import DIRECTORY

SITE = "usr/local/lib/python3.11/site-packages"
NAMES = [
    *(f"{SITE}/{name}" for name in ("a/x.py", "a/__pycache__/x.cpython-311.pyc", "b.so", "c/t")),
    f"{SITE}/a-1.dist-info/METADATA",
    f"{SITE}/b-2.dist-info/METADATA",
    "usr/local/lib/python3.11/os.py",
    "usr/bin/tool",
    "bin/tool",
    "root/.cache/pip/x",
    "root/.cache/uv/archive-v0/h/a/x.py",
    "srv/app/main.py",
    "srv/app/tests/test_a.py",
    "etc/passwd",
    "tmp/x",
    "opt/weights.safetensors",
]
RECORDS = {
    f"{SITE}/a-1.dist-info/RECORD": st.lists(
        st.sampled_from(["a/x.py", "b.so", "../../../../bin/tool", "/bin/tool", '"c/t"', "", "\0"])
    ).map(lambda rows: "".join(f"{row},,\n" for row in rows).encode()),
    f"{SITE}/b-2.dist-info/RECORD": st.just(b"b.so,,\nb-2.dist-info/RECORD,,\n"),
    "var/lib/dpkg/info/tool.list": st.sampled_from([b"/bin/tool\n", b"/usr/bin/tool\n/etc\n"]),
    "var/lib/dpkg/status": st.binary(max_size=40),
}
COMMANDS = ["COPY . /srv/app # buildkit", "RUN x", "/bin/sh -c #(nop) ADD file:1 in / ", ""]


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    contents = st.binary(max_size=12)
    files = dict(draw(st.dictionaries(st.sampled_from(NAMES), contents, max_size=8)))
    for path, record in RECORDS.items():
        if draw(st.booleans()):
            files[path] = draw(record)
    links = {}
    if files and draw(st.booleans()):
        links[f"{SITE}/linked"] = draw(st.sampled_from(sorted(files)))
    symlinks = {"bin": "usr/bin"} if draw(st.booleans()) and "bin/tool" not in files else {}
    removed = draw(st.lists(st.sampled_from([*NAMES, "usr", SITE, "root/.cache"]), max_size=2))
    opaque = draw(st.lists(st.sampled_from(["srv", "usr/local"]), max_size=1))
    return layer(files, removed=removed, opaque=opaque, links=links, symlinks=symlinks)


@st.composite
def images(draw: st.DrawFn) -> Index:
    layers = draw(st.lists(tars(), min_size=1, max_size=4))
    commands = [draw(st.sampled_from(COMMANDS)) for _ in layers]
    return Index.scan(
        image(*layers, created_by=commands, runtime={"WorkingDir": "/srv/app"}),
        owners.evidence(),
    )


@settings(max_examples=examples(150), deadline=None)
@given(index=images())
def test_every_byte_is_put_on_one_owner_or_told_to_be_hidden(index: Index):
    ledger = Attribution.of(index, owners.default)

    by_owner = {
        owner: sum(ledger.size_of.get(path, 0) for path in paths)
        for owner, paths in ledger.paths().items()
    }
    assert index.unpacked == sum(by_owner.values()) + index.overwritten + index.deleted


@settings(max_examples=examples(150), deadline=None)
@given(index=images())
def test_every_visible_path_has_one_owner_and_one_category(index: Index):
    ledger = Attribution.of(index, owners.default)

    assert list(index.visible) == list(ledger.claim_of)
    assert set(index.visible) == set(ledger.category_of)
    assert sum(len(paths) for paths in ledger.paths().values()) == len(index.visible)


@settings(max_examples=examples(100), deadline=None)
@given(index=images())
def test_categories_add_up_to_what_is_visible(index: Index):
    ledger = Attribution.of(index, owners.default)

    parts = [size for path in index.visible for _, size in ledger.categories(path)]
    assert index.rootfs == sum(parts)
    assert all(size >= 0 for size in parts)


@settings(max_examples=examples(100), deadline=None)
@given(index=images())
def test_disputes_are_kept_exactly_where_two_owners_name_a_file(index: Index):
    ledger = Attribution.of(index, owners.default)

    named: dict[bytes, set[object]] = {}
    for claim in ledger.claims:
        for path in claim.files:
            if path in index.visible and index.visible[path].kind is not DIRECTORY:
                named.setdefault(path, set()).add(claim.owner)
    assert {path for path, told in named.items() if len(told) > 1} == {
        dispute.path for dispute in ledger.disputes
    }
    for dispute in ledger.disputes:
        assert dispute.kept is ledger.claim_of[dispute.path]
        assert all(claim.owner != dispute.kept.owner for claim in dispute.refused)


@settings(max_examples=examples(100), deadline=None)
@given(index=images())
def test_the_graph_counts_the_ledger_s_bytes_and_no_others(index: Index):
    ledger = Attribution.of(index, owners.default)
    graph = DependencyGraph.of(ledger)

    for owner, distribution in graph.distributions.items():
        mine = [path for path, claim in ledger.claim_of.items() if claim.owner == owner]
        assert distribution.size == sum(ledger.size_of.get(path, 0) for path in mine)


@settings(max_examples=examples(60), deadline=None)
@given(index=images())
def test_the_ledger_is_the_same_every_time(index: Index):
    one, other = (Attribution.of(index, owners.default) for _ in range(2))

    assert [str(one.owner(path)) for path in index.visible] == [
        str(other.owner(path)) for path in index.visible
    ]
    assert all(index.visible[d.path].kind is not DIRECTORY for d in one.disputes)


SEEDS = {
    "var/lib/dpkg/status": b"Package: a\nVersion: 1\nDepends: b | c (>= 1), d\n\nPackage: b\n",
    "var/lib/dpkg/info/a.list": b"/.\n/usr\n/usr/bin\n/usr/bin/tool\n",
    "var/lib/dpkg/diversions": b"/usr/bin/tool\n/usr/bin/tool.x\nb\n",
    "var/lib/dpkg/status.d/base": b"Package: base\nVersion: 3\n",
    "var/lib/dpkg/status.d/base.md5sums": b"00  usr/bin/tool\n",
    "var/lib/apt/extended_states": b"Package: a\nAuto-Installed: 1\n",
    "lib/apk/db/installed": b"P:a\nV:1\nD:so:x !y\np:so:x=1\nF:usr/bin\nR:tool\n\n",
    "var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0\x10\0\x02\x02\0@  ",
    "opt/conda/conda-meta/a-1-0.json": b'{"name":"a","version":"1","files":["lib/x"]}',
    f"{SITE}/a-1.dist-info/RECORD": b'"a,b",,\n../../../../bin/tool,,\na/x.py,sha256=1,2\n',
    f"{SITE}/a-1.dist-info/METADATA": b"Name: A\nVersion: 1\nRequires-Dist: b[x]>1; extra=='y'\n\n",
    f"{SITE}/a-1.dist-info/direct_url.json": b'{"url":"file:///srv","dir_info":{"editable":true}}',
    f"{SITE}/b.egg-info/PKG-INFO": b"Name: b\nVersion: 2\n",
    f"{SITE}/b.egg-info/requires.txt": b"a\n[x:python_version<'3']\nc\n",
    f"{SITE}/b.egg-info/installed-files.txt": b"../b.py\n",
    f"{SITE}/c.egg-link": b"/srv/app\n.\n",
    "usr/local/include/python3.11/patchlevel.h": b'#define PY_VERSION "3.11.9"\n',
    "usr/local/lib/python3.11/os.py": b"",
    "opt/v/pyvenv.cfg": b"home = /usr/local/bin\nversion = 3.11.9\n",
    "srv/node_modules/a/package.json": b'{"name":"a","version":"1","dependencies":{"b":"*"}}',
    "usr/local/include/node/node_version.h": b"#define NODE_MAJOR_VERSION 20\n",
    "etc/passwd": b"me:x:1:1::/home/me:/bin/sh\n",
    "srv/app/requirements.txt": b"a[x]==1\n-r b\n",
    "srv/app/pyproject.toml": b'[project]\ndependencies = ["a"]\n',
    "usr/bin/tool": b"x",
}


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for path, seed in SEEDS.items():
        content = bytearray(seed)
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(content)))
            content[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=6))
        if draw(st.integers(0, 9)):
            files[path] = bytes(content)
    return files


@settings(max_examples=examples(300), deadline=None)
@given(files=mutated())
def test_no_evidence_whatever_makes_a_rule_or_the_graph_fail(files: dict[str, bytes]):
    index = Index.scan(
        image(layer(files), created_by=["COPY . /srv"], runtime={"WorkingDir": "/srv/app"}),
        owners.evidence(),
    )
    ledger = Attribution.of(index, owners.default)
    graph = DependencyGraph.of(ledger)

    assert set(index.visible) == set(ledger.claim_of)
    assert all(graph.chains(owner) for owner in graph.distributions)
