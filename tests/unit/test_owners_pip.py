"""Python distributions, as pip, uv, setuptools and conda leave them behind."""

from __future__ import annotations

import json

from tiny import image, layer

from slimmer import owners
from slimmer.attribution import Attribution
from slimmer.index import Index

SITE = "usr/local/lib/python3.11/site-packages"


def ledger(*tars: bytes, **about: object) -> Attribution:
    built = image(*tars, **about)  # type: ignore[arg-type]
    return Attribution.of(Index.scan(built, owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


def metadata(name: str, version: str = "1.0", *lines: str) -> bytes:
    fields = [f"Name: {name}", f"Version: {version}", *lines]
    return "\n".join(["Metadata-Version: 2.1", *fields, "", "Name: not this one"]).encode()


def distribution(
    name: str, *rows: str, site: str = SITE, version: str = "1.0", requires: tuple[str, ...] = ()
) -> dict[str, bytes]:
    """An installed distribution's metadata folder; `rows` are the paths of its RECORD."""
    folder = f"{name}-{version}.dist-info"
    record = "".join(f"{row},sha256=x,1\n" for row in (*rows, f"{folder}/METADATA"))
    lines = [f"Requires-Dist: {text}" for text in requires]
    return {
        f"{site}/{folder}/METADATA": metadata(name, version, *lines),
        f"{site}/{folder}/RECORD": (record + f"{folder}/RECORD,,\n").encode(),
    }


def test_a_record_names_files_scripts_and_bundled_libraries():
    held = ledger(
        layer(
            {
                f"{SITE}/one/__init__.py": b"1",
                f"{SITE}/One.libs/libz.so": b"22",
                "usr/local/bin/one": b"333",
                **distribution("One", "one/__init__.py", "One.libs/libz.so", "../../../bin/one"),
            }
        )
    )

    assert {"pip:one 1.0"} == {
        owner(held, path)
        for path in (
            f"{SITE}/one/__init__.py",
            f"{SITE}/One.libs/libz.so",
            "usr/local/bin/one",
            f"{SITE}/One-1.0.dist-info/RECORD",
        )
    }


def test_bytecode_that_no_record_lists_belongs_to_its_source():
    held = ledger(
        layer(
            {
                f"{SITE}/six.py": b"1",
                f"{SITE}/__pycache__/six.cpython-311.pyc": b"22",
                **distribution("six", "six.py"),
            }
        )
    )

    assert "pip:six 1.0" == owner(held, f"{SITE}/__pycache__/six.cpython-311.pyc")


def test_a_folder_that_one_distribution_alone_made_is_its_own_with_what_was_added():
    held = ledger(
        layer(
            {
                f"{SITE}/one/a.py": b"1",
                f"{SITE}/one/kernels/made.nbi": b"22",
                **distribution("one", "one/a.py"),
            }
        )
    )

    assert "pip:one 1.0" == owner(held, f"{SITE}/one/kernels/made.nbi")


def test_a_namespace_folder_is_nobody_s_alone():
    held = ledger(
        layer(
            {
                f"{SITE}/nvidia/cublas/a.so": b"1",
                f"{SITE}/nvidia/cudnn/a.so": b"22",
                f"{SITE}/nvidia/stray": b"333",
                **distribution("nvidia_cublas_cu12", "nvidia/cublas/a.so"),
                **distribution("nvidia-cudnn-cu12", "nvidia/cudnn/a.so"),
            }
        )
    )

    assert "pip:nvidia-cublas-cu12 1.0" == owner(held, f"{SITE}/nvidia/cublas/a.so")
    assert "pip:nvidia-cudnn-cu12 1.0" == owner(held, f"{SITE}/nvidia/cudnn/a.so")
    assert "unowned" == owner(held, f"{SITE}/nvidia/stray")


def test_two_records_that_name_a_file_are_a_dispute_that_is_kept():
    held = ledger(
        layer(
            {
                f"{SITE}/nvidia/__init__.py": b"1",
                **distribution("a", "nvidia/__init__.py"),
                **distribution("b", "nvidia/__init__.py"),
            }
        )
    )

    (dispute,) = held.disputes
    assert ("pip:a 1.0", ["pip:b 1.0"]) == (
        str(dispute.kept.owner),
        [str(claim.owner) for claim in dispute.refused],
    )


def test_quoted_names_in_a_record_are_read_as_csv():
    record = '"odd,name.py",,\n"say ""hi"".txt",,\nodd-1.0.dist-info/RECORD,,\n'
    held = ledger(
        layer(
            {
                f"{SITE}/odd,name.py": b"1",
                f'{SITE}/say "hi".txt': b"22",
                f"{SITE}/odd-1.0.dist-info/RECORD": record.encode(),
            }
        )
    )

    assert "pip:odd 1.0" == owner(held, f"{SITE}/odd,name.py")
    assert "pip:odd 1.0" == owner(held, f'{SITE}/say "hi".txt')


def test_rows_lead_through_the_symlinks_of_a_virtual_environment():
    site = "opt/venv/lib/python3.11/site-packages"
    held = ledger(
        layer(
            {
                "opt/venv/pyvenv.cfg": b"home = /usr/local/bin\nversion = 3.11.9\n",
                f"{site}/a.so": b"1",
                "opt/venv/bin/tool": b"22",
                **distribution(
                    "a",
                    "../../../lib64/python3.11/site-packages/a.so",
                    "../../../bin/tool",
                    site=site,
                ),
            },
            symlinks={"opt/venv/lib64": "lib"},
        )
    )

    assert "pip:a 1.0" == owner(held, f"{site}/a.so")
    assert "pip:a 1.0" == owner(held, "opt/venv/bin/tool")
    assert "python 3.11.9" == owner(held, "opt/venv/pyvenv.cfg")


def test_rows_lead_through_a_symlink_inside_site_packages():
    held = ledger(
        layer(
            {f"{SITE}/real/a.py": b"1", **distribution("a", "alias/a.py")},
            symlinks={f"{SITE}/alias": "real"},
        )
    )

    assert "pip:a 1.0" == owner(held, f"{SITE}/real/a.py")


def test_scripts_of_a_target_folder_are_found_where_pip_moved_them():
    held = ledger(
        layer(
            {
                "opt/lib/one.py": b"1",
                "opt/lib/bin/one": b"22",
                **distribution("one", "one.py", "../../bin/one", site="opt/lib"),
            }
        )
    )

    assert "pip:one 1.0" == owner(held, "opt/lib/bin/one")


def test_distributions_may_lie_at_the_root():
    held = ledger(layer({"one.py": b"1", **distribution("one", "one.py", site="")}))

    assert "pip:one 1.0" == owner(held, "one.py")


def test_vendored_metadata_belongs_to_the_distribution_around_it():
    vendored = distribution("inner", "inner.py", site=f"{SITE}/outer/extern")
    rows = [path.removeprefix(f"{SITE}/") for path in vendored]
    held = ledger(
        layer(
            {
                f"{SITE}/outer/extern/inner.py": b"1",
                **vendored,
                **distribution("outer", "outer/extern/inner.py", *rows),
            }
        )
    )

    assert {"pip:outer 1.0"} == {owner(held, path) for path in vendored}
    assert () == held.disputes
    assert ["outer"] == [c.owner.name for c in held.claims if c.owner.kind == "pip"]


def test_a_wheel_unpacked_in_uv_s_cache_is_the_cache_s_but_its_bytes_the_site_s():
    cache = "root/.cache/uv/archive-v0/abc"
    cached = distribution("one", "one.py", site=cache)
    links = {path.replace(cache, SITE): path for path in (*cached, f"{cache}/one.py")}
    held = ledger(layer({f"{cache}/one.py": b"x" * 7, **cached}, links=links))

    assert "cache:uv" == owner(held, f"{cache}/one.py")
    assert "pip:one 1.0" == owner(held, f"{SITE}/one.py")
    assert (0, 7) == (
        held.size_of[f"{cache}/one.py".encode()],
        held.size_of[f"{SITE}/one.py".encode()],
    )


def test_an_editable_distribution_owns_its_source_tree():
    direct = {"url": "file:///srv/code", "dir_info": {"editable": True}}
    held = ledger(
        layer({"srv/code/pkg/a.py": b"1"}),
        layer(
            {
                f"{SITE}/__editable__.code-1.0.pth": b"/srv/code",
                f"{SITE}/code-1.0.dist-info/direct_url.json": json.dumps(direct).encode(),
                **distribution("code", "__editable__.code-1.0.pth"),
            }
        ),
    )

    assert "pip:code 1.0" == owner(held, "srv/code/pkg/a.py")
    assert "pip:code 1.0" == owner(held, f"{SITE}/__editable__.code-1.0.pth")


def test_an_editable_distribution_never_owns_a_folder_of_the_system():
    direct = {"url": "file:///usr", "dir_info": {"editable": True}}
    held = ledger(
        layer(
            {
                "usr/bin/tool": b"1",
                f"{SITE}/code-1.0.dist-info/direct_url.json": json.dumps(direct).encode(),
                **distribution("code"),
            }
        )
    )

    assert "unowned" == owner(held, "usr/bin/tool")


def test_an_egg_link_leads_to_the_source_tree():
    held = ledger(
        layer(
            {
                f"{SITE}/code.egg-link": b"/srv/code/src\n../\n",
                "srv/code/src/code/a.py": b"1",
                "srv/code/src/code.egg-info/PKG-INFO": metadata("code", "2.0"),
            }
        )
    )

    assert "pip:code 2.0" == owner(held, "srv/code/src/code/a.py")
    assert "pip:code 2.0" == owner(held, f"{SITE}/code.egg-link")


def test_an_egg_owns_its_folder():
    egg = f"{SITE}/old-1.2-py3.11.egg"
    held = ledger(
        layer({f"{egg}/old/a.py": b"1", f"{egg}/EGG-INFO/PKG-INFO": metadata("old", "1.2")})
    )

    assert "pip:old 1.2" == owner(held, f"{egg}/old/a.py")


def test_installed_files_are_relative_to_their_egg_info():
    info = f"{SITE}/old-1.0-py3.11.egg-info"
    held = ledger(
        layer(
            {
                f"{SITE}/old.py": b"1",
                "usr/local/bin/old": b"22",
                f"{info}/PKG-INFO": metadata("old"),
                f"{info}/installed-files.txt": b"../old.py\n../../../../bin/old\nPKG-INFO\n",
                f"{info}/requires.txt": b"six\n\n[:python_version < '3']\nfutures\n[more]\nlxml\n",
            }
        )
    )

    assert "pip:old 1.0" == owner(held, f"{SITE}/old.py")
    assert "pip:old 1.0" == owner(held, "usr/local/bin/old")
    assert {("six", "futures ; (python_version < '3')", 'lxml ; extra == "more"')} == {
        claim.requires for claim in held.claims if claim.owner.name == "old"
    }


def test_without_a_record_the_top_level_names_are_claimed():
    site = "usr/lib/python3/dist-packages"
    held = ledger(
        layer(
            {
                f"{site}/yaml/a.py": b"1",
                f"{site}/single.py": b"22",
                f"{site}/PyYAML-6.0.egg-info/PKG-INFO": metadata("PyYAML", "6.0"),
                f"{site}/PyYAML-6.0.egg-info/top_level.txt": b"yaml\nsingle\n",
            }
        )
    )

    assert "pip:pyyaml 6.0" == owner(held, f"{site}/yaml/a.py")
    assert "pip:pyyaml 6.0" == owner(held, f"{site}/single.py")


def test_conda_s_record_of_the_same_installation_is_no_dispute():
    site = "opt/conda/lib/python3.11/site-packages"
    files = ["lib/python3.11/site-packages/one.py"]
    files += [path.removeprefix("opt/conda/") for path in distribution("one", site=site)]
    record = {"name": "one", "version": "1.0", "files": files, "depends": ["python >=3.11"]}
    held = ledger(
        layer(
            {
                f"{site}/one.py": b"1",
                **distribution("one", "one.py", site=site),
                "opt/conda/conda-meta/one-1.0-0.json": json.dumps(record).encode(),
            }
        )
    )

    assert "conda:one 1.0" == owner(held, f"{site}/one.py")
    assert () == held.disputes


def test_what_pip_put_in_place_of_conda_s_is_pip_s():
    site = "opt/conda/lib/python3.11/site-packages"
    folder = "lib/python3.11/site-packages"
    record = {
        "name": "one",
        "version": "0.9",
        "files": [f"{folder}/one.py", f"{folder}/one-0.9.dist-info/METADATA"],
    }
    held = ledger(
        layer(
            {
                f"{site}/one.py": b"1",
                **distribution("one", "one.py", site=site),
                "opt/conda/conda-meta/one-0.9-0.json": json.dumps(record).encode(),
            }
        )
    )

    assert "pip:one 1.0" == owner(held, f"{site}/one.py")


def test_damaged_metadata_yields_claims_or_none_but_never_an_error():
    junk = b'\xff\x00"\n../../../../../../etc/passwd,,\n",\x1b[31m'
    held = ledger(
        layer(
            {
                "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
                f"{SITE}/junk-1.dist-info/RECORD": junk,
                f"{SITE}/junk-1.dist-info/METADATA": junk,
                f"{SITE}/junk-1.dist-info/direct_url.json": b'{"dir_info": 3}',
                f"{SITE}/junk.egg-link": junk,
                f"{SITE}/.egg-info/PKG-INFO": b"",
                f"{SITE}/EGG-INFO/PKG-INFO": b"",
                "a.dist-info/RECORD": b"",
                "opt/conda/conda-meta/junk.json": b'{"name": []',
            }
        )
    )

    assert set(held.claim_of) == set(held.index.visible)
