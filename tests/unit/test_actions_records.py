"""Records that tell the truth about what left and what changed."""

from __future__ import annotations

import csv
import hashlib
import io
import json

from systems import SITE, distribution, facts, summed

from slimmer.actions.records import Records
from slimmer.splice import Copy, Literal, Splice, view

INFO = f"{SITE}/pkg-1.0.dist-info"


def rewritten(files, removed=(), splices=None, **others) -> dict[str, bytes]:
    """The records that change, as they come out."""
    image = facts(files, **others)
    found = {}
    for rewrite in Records()(
        image,
        frozenset(path.encode() for path in removed),
        {path.encode(): splice for path, splice in (splices or {}).items()},
    ):
        old = files[rewrite.path.decode()]
        assert rewrite.before == len(old)
        read = view(lambda offset, length, old=old: old[offset : offset + length], rewrite.splice)
        found[rewrite.path.decode()] = read(0, rewrite.splice.size)
    return found


def test_record_loses_the_lines_of_what_left_and_no_other_byte():
    files = distribution("pkg", {"pkg/a.py": b"a", "pkg/tests/b.py": b"b", "pkg/c.py": b"c"})
    [(path, record)] = rewritten(files, [f"{SITE}/pkg/tests/b.py"]).items()

    old = files[path].splitlines(keepends=True)
    assert path == f"{INFO}/RECORD"
    assert record == b"".join(line for line in old if b"tests" not in line)


def test_record_tells_the_hash_and_size_of_what_changed():
    old = b"0123456789" * 1000
    files = distribution("pkg", {"pkg/lib.so": old, "pkg/a.py": b"a"})
    splice = Splice.of((Copy(0, 10), Literal(b"new"), Copy(9000, 500)))
    new = old[:10] + b"new" + old[9000:9500]
    [(_, record)] = rewritten(files, splices={f"{SITE}/pkg/lib.so": splice}).items()

    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(record.decode()))}
    assert rows["pkg/lib.so"] == [summed(new), str(len(new))]
    assert rows["pkg/a.py"] == [summed(b"a"), "1"]


def test_rows_keep_their_quotes_and_line_ends_and_empty_columns():
    name = 'pkg/odd, "name".py'
    told = (
        b'"pkg/odd, ""name"".py",sha256=abc,3\r\n'
        b"pkg/__pycache__/x.pyc,,\r\n"
        b"pkg/gone.py,sha256=abc,4\r\n"
        b"../../../bin/tool,sha256=abc,9\r\n"
        b"pkg-1.0.dist-info/RECORD,,"
    )
    files = {
        f"{SITE}/{name}": b"odd",
        f"{SITE}/pkg/__pycache__/x.pyc": b"pyc",
        f"{SITE}/pkg/gone.py": b"gone",
        "usr/bin/tool": b"tool",
        f"{INFO}/RECORD": told,
    }
    lines = told.splitlines(keepends=True)
    changes = {f"{SITE}/pkg/__pycache__/x.pyc": Splice.of((Literal(b"p"),))}
    assert rewritten(files, [f"{SITE}/pkg/gone.py"], changes) == {
        f"{INFO}/RECORD": b"".join(lines[:2] + lines[3:])
    }
    assert rewritten(files, ["usr/bin/tool"]) == {f"{INFO}/RECORD": b"".join(lines[:3] + lines[4:])}
    odd = rewritten(files, splices={f"{SITE}/{name}": Splice.of((Literal(b"newer"),))})
    first = f'"pkg/odd, ""name"".py",{summed(b"newer")},5\r\n'.encode()
    assert odd == {f"{INFO}/RECORD": b"".join([first, *lines[1:]])}


def test_what_leaves_whole_needs_no_record():
    files = distribution("pkg", {"pkg/a.py": b"a"})

    assert rewritten(files, list(files)) == {}
    assert rewritten(files) == {}


def test_other_names_of_a_changed_file_are_told_too():
    files = distribution("pkg", {"pkg/a.so": b"old"})
    record = files[f"{INFO}/RECORD"].replace(b"pkg/a.so", b"pkg/b.so")
    files[f"{INFO}/RECORD"] = record
    splice = {f"{SITE}/pkg/a.so": Splice.of((Literal(b"newer"),))}
    links = {f"{SITE}/pkg/b.so": f"{SITE}/pkg/a.so"}
    [(_, told)] = rewritten(files, splices=splice, links=links).items()

    assert f"pkg/b.so,{summed(b'newer')},5\n".encode() in told


def test_installed_files_of_an_egg_info_folder():
    info = f"{SITE}/pkg-1.0.egg-info"
    files = {
        f"{SITE}/pkg/a.py": b"a",
        f"{SITE}/pkg/b.py": b"b",
        f"{info}/PKG-INFO": b"Name: pkg\nVersion: 1.0\n",
        f"{info}/installed-files.txt": b"../pkg/a.py\n../pkg/b.py\nPKG-INFO\n",
    }
    assert rewritten(files, [f"{SITE}/pkg/b.py"]) == {
        f"{info}/installed-files.txt": b"../pkg/a.py\nPKG-INFO\n"
    }


def test_the_record_of_a_conda_package():
    path = "opt/conda/conda-meta/pkg-1-0.json"
    entry = {"path_type": "hardlink", "sha256": "00", "sha256_in_prefix": "00", "size_in_bytes": 3}
    told = {
        "name": "pkg",
        "version": "1",
        "files": ["lib/a.so", "lib/b.so"],
        "paths_data": {
            "paths": [{"_path": "lib/a.so", **entry}, {"_path": "lib/b.so", **entry}],
            "paths_version": 1,
        },
    }
    files = {
        path: json.dumps(told, indent=2).encode(),
        "opt/conda/lib/a.so": b"aaa",
        "opt/conda/lib/b.so": b"bbb",
    }
    change = {"opt/conda/lib/a.so": Splice.of((Literal(b"newer"),))}
    [(_, text)] = rewritten(files, ["opt/conda/lib/b.so"], change).items()

    new = json.loads(text)
    assert new["files"] == ["lib/a.so"]
    [kept] = new["paths_data"]["paths"]
    assert (kept["_path"], kept["size_in_bytes"]) == ("lib/a.so", 5)
    assert kept["sha256_in_prefix"] == hashlib.sha256(b"newer").hexdigest()
    assert kept["sha256"] == "00"
    assert text.startswith(b'{\n  "name": "pkg"')


def test_a_record_that_is_no_csv_keeps_every_byte_of_what_is_not_about_it():
    told = b"pkg/a.py,,\n\n" + b"a" * 5000 + b'"b\npkg/b.py,,\npkg/c.py,"x\n'
    files = {f"{SITE}/pkg/{name}.py": b"" for name in "abc"} | {f"{INFO}/RECORD": told}

    [(_, record)] = rewritten(files, [f"{SITE}/pkg/a.py"]).items()
    assert record == told.removeprefix(b"pkg/a.py,,\n")


def test_a_record_never_gets_the_hashes_of_another_image():
    """One keeper for many images, each of which has a file of the same name and another content."""
    keeper = Records()
    for number in range(200):
        content = f"{number:06d}".encode() * 100
        files = distribution("pkg", {"pkg/a.bin": content})
        image = facts(files)
        path = f"{SITE}/pkg/a.bin".encode()
        splice = Splice.of((Copy(0, 300),))
        [rewrite] = keeper(image, frozenset(), {path: splice})
        record = files[rewrite.path.decode()]
        read = view(
            lambda offset, length, old=record: old[offset : offset + length], rewrite.splice
        )

        assert summed(content[:300]).encode() in read(0, rewrite.splice.size)
        del image  # its place in memory, and so its id, may be the next one's
