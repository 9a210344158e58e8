"""What a container that is tried may do: as little as its own start allows.

An image is a stranger's program. It reaches no network unless that is asked for, gains no
privileges, and has a bounded share of memory, processes and output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import APIClient

    from slimmer.proof.trials import Trials

NARROW = ("DAC_OVERRIDE",)
"""Capabilities (capabilities(7)) of what needs none: root reads files of others, as it would."""
WIDE = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID"),
    *("SETPCAP", "SETUID", "SYS_CHROOT"),
)
"""Those of a service that starts as root and becomes somebody else; what is left of an engine's
own (raw sockets, devices, the audit log, file capabilities) is given to none."""
PROCESSES = 8192
"""Processes and threads: libraries start one for each processor, several times over."""
LOG = "64m"
"""Of what a container writes, the engine keeps so much on its disk."""


def host_config(
    client: APIClient, trials: Trials, capabilities: tuple[str, ...], memory: int
) -> Any:
    """The engine's settings for one container."""
    from docker.types import LogConfig

    resources = {"mem_limit": memory, "memswap_limit": memory} if memory else {}
    return client.create_host_config(
        network_mode="default" if trials.network else "none",
        # The engine's own default may be a driver that nothing can be read from.
        log_config=LogConfig(type="json-file", config={"max-size": LOG}),
        cap_drop=["ALL"],
        cap_add=list(capabilities),
        security_opt=["no-new-privileges"],
        pids_limit=PROCESSES,
        **resources,
    )


def memory(client: APIClient, asked: int) -> int:
    """Bytes of memory for one container; 0 where the machine does not say what it has."""
    if asked:
        return asked
    total = client.info().get("MemTotal")
    return int(total) * 3 // 4 if isinstance(total, int) and total > 0 else 0
