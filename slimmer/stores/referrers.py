"""What speaks of one manifest by its digest, and so of no other: signatures, attestations, SBOMs.

Known forms: BuildKit's attestation manifests (annotation `vnd.docker.reference.digest`), OCI
referrers (`manifest.md`, `subject`), and cosign's tags (`sha256-….sig`, `.att`, `.sbom`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from slimmer.errors import SlimmerError
from slimmer.image import Digest, json_value
from slimmer.stores.oci import ATTESTATION, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slimmer.edits.drafts import Draft

    Read = Callable[[str], bytes | None]
    """A document of a layout by its path, or None."""

COSIGN = re.compile(r"sha256-([0-9a-f]{64})\.(sig|att|sbom)\Z")
WORDS = {"sig": "signature", "att": "attestation", "sbom": "SBOM"}


def notices(draft: Draft) -> tuple[str, ...]:
    """One sentence for each thing that speaks of the source and is not carried over."""
    image = draft.image
    if image.manifest is None or image.origin is None:
        return ()
    try:
        found = sorted(set(_found(image.origin.document, Digest.of(image.manifest))))
    except SlimmerError:
        return ()  # whether the index is in order was for the reader to say
    why = "is of the original alone" if draft.changed else "is not carried over"
    return tuple(f"the {kind} ({name}) {why}" for kind, name in found)


def _found(read: Read, digest: Digest) -> Iterator[tuple[str, str]]:
    todo = ["index.json"]
    seen: set[str] = set()
    while todo and len(seen) < 1000:
        path = todo.pop()
        raw = None if path in seen else read(path)
        seen.add(path)
        if raw is None:
            continue
        fields: Any = json_value(raw, path)
        entries = fields.get("manifests") if isinstance(fields, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, dict):
                continue
            notes = entry.get("annotations") or {}
            own = str(entry.get("digest", ""))
            tag = COSIGN.search(str(notes.get(REFERENCE, "")))
            if tag and tag[1] == digest.hex:
                yield f"cosign {WORDS[tag[2]]}", tag[0]
            if notes.get("vnd.docker.reference.digest") == digest:
                kind = "attestation" if "attestation" in str(notes.get(ATTESTATION)) else "referrer"
                yield kind, own[:19]
            elif own != digest and own.startswith("sha256:"):
                blob = f"blobs/sha256/{own[7:]}"
                if "index" in str(entry.get("mediaType")) or "list" in str(entry.get("mediaType")):
                    todo.append(blob)
                else:
                    manifest = json_value(read(blob) or b"{}", blob)
                    subject = manifest.get("subject") if isinstance(manifest, dict) else None
                    if isinstance(subject, dict) and subject.get("digest") == digest:
                        kind = str(manifest.get("artifactType") or "referrer")
                        yield kind, own[:19]
