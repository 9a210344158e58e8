"""What the base system generates for itself, so that no package's list names it.

Each path is told with the program that writes it; nothing is claimed by place alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_FILES = {
    "ldconfig": "etc/ld.so.cache",
    "useradd, groupadd and passwd": "etc/passwd etc/passwd- etc/group etc/group- etc/shadow"
    " etc/shadow- etc/gshadow etc/gshadow- etc/subuid etc/subuid- etc/subgid etc/subgid-"
    " etc/.pwd.lock",
    "the installer of the base system": "etc/hostname etc/hosts etc/resolv.conf etc/fstab"
    " etc/mtab etc/machine-id etc/timezone etc/localtime etc/adjtime etc/default/locale"
    " etc/locale.conf etc/vconsole.conf etc/apt/sources.list var/lib/dbus/machine-id"
    " etc/apt/sources.list.d/debian.sources etc/apt/sources.list.d/ubuntu.sources",
    "the builder of the container's base": "etc/apt/apt.conf.d/docker-clean"
    " etc/apt/apt.conf.d/docker-autoremove-suggests etc/apt/apt.conf.d/docker-gzip-indexes"
    " etc/apt/apt.conf.d/docker-no-languages etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
    " etc/dpkg/dpkg.cfg.d/excludes etc/dpkg/dpkg.cfg.d/docker usr/sbin/policy-rc.d .dockerenv",
    "base-files, from its templates": "etc/profile etc/motd etc/nsswitch.conf etc/networks"
    " root/.bashrc root/.profile etc/inputrc etc/shells var/lib/shells.state etc/environment",
    "pam-auth-update": "etc/pam.d/common-account etc/pam.d/common-auth etc/pam.d/common-password"
    " etc/pam.d/common-session etc/pam.d/common-session-noninteractive",
    "apt": "var/lib/apt/extended_states",
    "update-ca-certificates": "etc/ca-certificates.conf etc/ca-certificates.conf.dpkg-old"
    " etc/ssl/certs/ca-certificates.crt etc/ssl/cert.pem",
    "install-info": "usr/share/info/dir",
    "update-mime-database": "usr/share/mime/mime.cache usr/share/mime/globs usr/share/mime/globs2"
    " usr/share/mime/magic usr/share/mime/aliases usr/share/mime/subclasses"
    " usr/share/mime/icons usr/share/mime/generic-icons usr/share/mime/XMLnamespaces"
    " usr/share/mime/treemagic usr/share/mime/types usr/share/mime/version",
    "update-desktop-database": "usr/share/applications/mimeinfo.cache",
    "glib-compile-schemas": "usr/share/glib-2.0/schemas/gschemas.compiled",
    "locale-gen": "usr/lib/locale/locale-archive etc/locale.gen etc/locale.alias",
    "systemd-hwdb": "usr/lib/udev/hwdb.bin etc/udev/hwdb.bin",
    "update-xmlcatalog": "etc/sgml/catalog etc/xml/catalog etc/xml/catalog.old",
}
_FOLDERS = {
    "update-alternatives": "etc/alternatives var/lib/alternatives",
    "update-rc.d": "etc/rc0.d etc/rc1.d etc/rc2.d etc/rc3.d etc/rc4.d etc/rc5.d etc/rc6.d"
    " etc/rcS.d",
    "ldconfig": "var/cache/ldconfig",
    "debconf": "var/cache/debconf",
    "update-ca-certificates": "etc/ssl/certs etc/pki/ca-trust/extracted",
    "deb-systemd-helper": "var/lib/systemd/deb-systemd-helper-enabled"
    " var/lib/systemd/deb-systemd-helper-masked var/lib/systemd/deb-systemd-user-helper-enabled"
    " etc/systemd/system etc/systemd/user var/lib/systemd",
    "pam-auth-update": "var/lib/pam",
    "ucf": "var/lib/ucf",
    "locale-gen": "usr/lib/locale/C.utf8 var/lib/locales",
    "gtk-update-icon-cache": "usr/share/icons/hicolor/icon-theme.cache",
    "maintainer scripts of Debian packages": "var/lib/sgml-base var/lib/xml-core"
    " var/lib/emacsen-common var/lib/python var/lib/misc var/lib/vim var/lib/mecab"
    " var/lib/ghostscript",
    "apt and its daily jobs": "var/lib/apt var/backups",
    "dnf and yum": "var/lib/dnf var/lib/yum var/lib/PackageKit",
    "dbus": "var/lib/dbus",
}


@dataclass(frozen=True, slots=True)
class System:
    """Claims the files that programs of the base system write when a system is put together."""

    globs: Sequence[tuple[str, int]] = ()

    def claims(self, index: Index) -> Iterator[Claim]:
        owner = Owner("system", "")
        visible = index.visible
        files: defaultdict[str, list[bytes]] = defaultdict(list)
        trees: defaultdict[str, list[bytes]] = defaultdict(list)
        for maker, listed in _FILES.items():
            files[maker] += [path for path in listed.encode().split() if path in visible]
        for maker, listed in _FOLDERS.items():
            trees[maker] += [path for path in listed.encode().split() if path in visible]
        for maker in {**files, **trees}:
            if files[maker] or trees[maker]:
                yield Claim(owner, f"written by {maker}", tuple(files[maker]), tuple(trees[maker]))
