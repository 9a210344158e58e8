#!/usr/bin/env bash
# Builds the reference images:  build.sh [TORCH_VERSION ...]   (default: 2.9.0 2.13.0)
#
# Needs root, debootstrap, python3 with pip, and a running Docker engine.
# May be run again at any time: what is there already is kept (base image) or
# comes from the build cache. README.md says what comes out and why.
#
# PIP_CACHE_LIMIT  the largest file, in bytes, that pip may keep in its cache
#                  (default 50000000; "none" for no limit, as on the public index:
#                  4 GB more for torch 2.9.0)
set -euo pipefail
cd "$(dirname "$0")"

versions=("$@")
if [ ${#versions[@]} -eq 0 ]; then
    versions=(2.9.0 2.13.0)
fi

suite=bookworm
base_tag=reference:base
cache_limit=${PIP_CACHE_LIMIT:-50000000}
proxy_arguments=()
if [ "$cache_limit" != none ]; then
    proxy_arguments=("$cache_limit")
fi

work=$(mktemp -d)
proxy_pid=
cleanup() {
    if [ -n "$proxy_pid" ]; then
        kill "$proxy_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

# The steps that install with pip take the index's address as a build secret, so
# that no layer records it; that takes a client which can drive BuildKit. An
# engine's own older client can, a newer one can only with its buildx plugin:
# try every client there is.
find_client() {
    local client
    while read -r client; do
        if DOCKER_BUILDKIT=1 "$client" build --help 2>/dev/null | grep -q -- '--secret'; then
            echo "$client"
            return
        fi
    done < <(type -ap docker)
    echo "build.sh: no docker client here can use BuildKit" >&2
    return 1
}

# The Debian mirror of this machine: the first "deb" line or "URIs:" field.
# Taken from the host, because a build machine may reach only its own mirror.
host_mirror() {
    local lists=(/etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list)
    awk -v suite="$suite" '
        /^URIs:/                          { uri = $2 }
        /^Suites:/ && $2 == suite && uri  { print uri; exit }
        /^deb / { for (i = 2; i < NF; i++) if ($(i + 1) == suite) { print $i; exit } }
    ' "${lists[@]}" 2>/dev/null
}

# A Debian base as the official images have it: debootstrap's minimal system,
# without package lists and downloads, and with apt told to keep it that way.
build_base() {
    local root=$work/base mirror
    mirror=$(host_mirror)
    debootstrap --variant=minbase "$suite" "$root" ${mirror:+"$mirror"} > "$work/debootstrap.log" || {
        tail -n 20 "$work/debootstrap.log" >&2
        return 1
    }
    chroot "$root" apt-get clean
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/log/bootstrap.log

    # No daemon is to start while packages are installed.
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    # Downloaded packages are deleted right after they are installed.
    cat > "$root/etc/apt/apt.conf.d/docker-clean" <<'CONF'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
CONF
    echo 'Acquire::GzipIndexes "true";' > "$root/etc/apt/apt.conf.d/docker-gzip-indexes"
    echo 'Acquire::Languages "none";' > "$root/etc/apt/apt.conf.d/docker-no-languages"
    echo 'Apt::AutoRemove::SuggestsImportant "false";' > "$root/etc/apt/apt.conf.d/docker-autoremove-suggests"
    # debootstrap copies these two from the host; an image brings its own, or none.
    echo localhost > "$root/etc/hostname"
    : > "$root/etc/resolv.conf"

    tar --directory "$root" --numeric-owner --one-file-system --create . |
        docker import --change 'CMD ["bash"]' --message "debootstrap --variant=minbase $suite" - "$base_tag"
    rm -rf "$root"
}

# pip in the build finds its index through index_proxy.py, which says why.
start_proxy() {
    # A pipe, so that the port is known as soon as the proxy listens.
    exec {port_pipe}< <(exec python3 index_proxy.py "${proxy_arguments[@]}")
    proxy_pid=$!
    read -r port <&"$port_pipe"
    printf '[global]\nindex-url = http://127.0.0.1:%s/simple\ntrusted-host = 127.0.0.1\ntimeout = 180\n' \
        "$port" > "$work/pip.conf"
}

client=$(find_client)

# Only what the images copy goes to the engine.
mkdir "$work/context"
cp -r requirements.txt app "$work/context"
rm -rf "$work/context/app/__pycache__"

if ! docker image inspect "$base_tag" > /dev/null 2>&1; then
    build_base
fi

start_proxy
for version in "${versions[@]}"; do
    # The host's network, because the proxy listens on its loopback address.
    DOCKER_BUILDKIT=1 "$client" build \
        --progress plain \
        --network host \
        --secret "id=pip,src=$work/pip.conf" \
        --build-arg "TORCH_VERSION=$version" \
        --tag "reference:torch-$version" \
        --file Dockerfile \
        "$work/context"
done
