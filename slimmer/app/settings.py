"""What a project says of its image once and for all: `slimmer.toml`, or `[tool.slimmer]`.

The same keys in both. A command's own options win over them, and add to lists.

    image = "app:latest"                  # what `slimmer budget` judges when no image is named
    policy = "balanced"                   # safe, balanced, aggressive, or a file
    accept = "caution"                    # the most that a step may risk
    keep = ["pip:scipy", "*/nltk_data/"]  # owners and paths that stay
    gpu = "sm_90"                         # as --gpu; also gpu-mode, swap, find-links, index-url
    dockerfile = "Dockerfile"             # where outputs point to
    requirements = ["requirements.txt"]

    [budget]                              # see slimmer.gate.limits
    max = "4GB"

    [rules.own-tests]                     # rules of the project's own, as in a policy file
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimmer.errors import SlimmerError
from slimmer.gate.limits import METRICS, Limit, limits_of
from slimmer.policy import KEYS as POLICY
from slimmer.policy import Policy, Safety
from slimmer.toml import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TEXTS = ("image", "policy", "accept", "gpu", "gpu-mode", "index-url", "dockerfile")
LISTS = ("swap", "find-links", "requirements")
KEYS = (*TEXTS, *LISTS, "budget", *POLICY)
"""What a policy file may say is among them: it applies on top of `policy`."""
FILES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("slimmer.toml", ()),
    ("pyproject.toml", ("tool", "slimmer")),
)
"""Names in the working folder, in the order in which they are looked for, with their tables."""


class SettingsError(SlimmerError):
    """Settings that say something they cannot mean; the message names file, table and key."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the project's settings say; empty where they say nothing.

    >>> slimmer.PlanOptions().with_settings(slimmer.Settings(gpu="sm_90")).gpu
    'sm_90'
    """

    source: str = ""
    """File and table, for messages."""
    file: str = ""
    """The file that was asked for by name; empty where it was found in the working folder."""
    image: str = ""
    policy: str = ""
    accept: str = ""
    gpu: str = ""
    gpu_mode: str = ""
    index_url: str = ""
    dockerfile: str = ""
    swap: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    rules: Mapping[str, Any] = field(default_factory=dict)
    """The keys of a policy among them, as they stand."""
    limits: tuple[Limit, ...] = ()
    metric: str = ""
    """What `budget.max` bounds."""
    platforms: tuple[str, ...] = ()
    """Names of platforms whose limits count."""
    baseline: str = ""
    dive_ci: str = ""

    @classmethod
    def parse(cls, text: str, source: str, *tables: str) -> Settings | None:
        """The settings of a TOML file, in the table of that path; None where it has no such table.

        Raises SettingsError (or the error of what a key holds) that names file, table and key.
        """
        table = Table.parse(text, source, SettingsError)
        for name in tables:
            if not isinstance(table.fields.get(name), dict):
                return None
            table = table.table(name)
        return cls.of(table)

    @classmethod
    def of(cls, table: Table) -> Settings:
        """The settings of a table that has been read; raises as `parse` does."""
        table.only(KEYS)
        texts = {key: table.text(key) for key in TEXTS}
        lists = {key: table.texts(key) for key in LISTS}
        if texts["accept"]:
            Safety.parse(texts["accept"], table.place("accept"))
        if texts["gpu-mode"] not in ("", "shrink", "zero"):
            raise table.fault("gpu-mode", "'shrink' or 'zero'")
        budget = table.table("budget")
        metric = budget.text("metric")
        return cls(
            source=table.where,
            image=texts["image"],
            policy=texts["policy"],
            accept=texts["accept"],
            gpu=texts["gpu"],
            gpu_mode=texts["gpu-mode"],
            index_url=texts["index-url"],
            dockerfile=texts["dockerfile"],
            swap=lists["swap"],
            find_links=lists["find-links"],
            requirements=lists["requirements"],
            rules={key: value for key, value in table.fields.items() if key in POLICY},
            limits=limits_of(budget.fields, budget.where),
            metric=metric if metric in METRICS else "",
            platforms=budget.texts("platform"),
            baseline=budget.text("baseline"),
            dive_ci=budget.text("dive-ci"),
        )

    def chosen(self, name: str, find: Callable[[str, str], Policy]) -> Policy:
        """The policy of that name (of these settings if empty) with the project's own on top.

        `find(name, source)` gives a policy; raises PolicyError.
        """
        base = name or self.policy
        if not self.rules:
            return find(base or "safe", self.source)
        table = dict(self.rules)
        extends = table.get("extends", [])
        extends = [extends] if isinstance(extends, str) else extends
        if isinstance(extends, list) and (base or not extends):
            table["extends"] = [base or "safe", *extends]
        return Policy.of({"name": base or "safe", **table}, self.source, find)


def load_settings(named: str | None = None) -> Settings:
    """The project's settings: of the file of that name, or of the first of FILES in the working
    folder; empty ones where it has none. Raises SlimmerError.

    >>> slimmer.load_settings() == slimmer.Settings()
    True
    """
    if named is not None:
        path = Path(named)
        tables: tuple[str, ...] = ("tool", "slimmer") if path.name == "pyproject.toml" else ()
        found = Settings.parse(_read(path), named, *tables)
        if found is None:
            raise SettingsError(f"{named} has no table [tool.slimmer]")
        return replace(found, file=named)
    for name, tables in FILES:
        if Path(name).is_file():
            found = Settings.parse(_read(Path(name)), name, *tables)
            if found is not None:
                return found
    return Settings()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8", hint="TOML files are") from None
