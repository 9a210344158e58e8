#!/usr/bin/env python3
"""A loopback front to the package index, so that pip in the build caches what it downloads.

pip keeps a download in its cache only if the server's answer says that it may
be kept (Cache-Control, ETag). The public index says so; mirrors and filtering
proxies often drop these headers. Behind one of those the reference image would
be built without the gigabytes in pip's cache - the very waste that it is there
to show. This front passes everything through as it is, and puts back the
headers of the public index where they are missing.

It also keeps the image clean of the build machine: pip in the image talks plain
HTTP to the loopback address, while certificates and the index's address stay out
here and are taken from this machine's own pip configuration.

usage: index_proxy.py [LARGEST_CACHEABLE_FILE_IN_BYTES]

Files larger than that are marked as not to be kept; without it, everything may
be. Prints its port on standard output and serves until it is stopped. Serves
only files from hosts that the index itself has linked to. Standard library only.
"""

import hashlib
import http.server
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

# The values that the public index sends.
PAGE_CACHE = "max-age=600, public"
FILE_CACHE = "max-age=365000000, immutable, public"

PAGE_TYPES = ("text/html", "application/vnd.pypi.simple")
LINK = re.compile(rb"(https?)://([A-Za-z0-9.:-]+)/")


def pip_setting(name):
    """A value of the host's pip configuration, or None."""
    found = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", f"global.{name}"],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or None if found.returncode == 0 else None


def pip_default_index():
    """The index that pip uses when nobody configured one; pip knows, we need not."""
    code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


INDEX = (pip_setting("index-url") or pip_default_index()).rstrip("/")
CONTEXT = ssl.create_default_context(cafile=pip_setting("cert"))
LARGEST_CACHEABLE = int(sys.argv[1]) if len(sys.argv) > 1 else sys.maxsize
allowed_hosts = set()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def upstream_url(self):
        if self.path.startswith("/simple/"):
            return INDEX + "/" + self.path.removeprefix("/simple/")
        # /file/<scheme>/<host>/<path>, as rewritten in the index pages below
        match = re.fullmatch(r"/file/(https?)/([^/]+)/(.*)", self.path)
        if match and match[2] in allowed_hosts:
            return f"{match[1]}://{match[2]}/{match[3]}"
        return None

    def do_GET(self):
        url = self.upstream_url()
        if url is None:
            self.send_error(404)
            return
        headers = {"Accept": self.headers.get("Accept", "*/*"), "Accept-Encoding": "identity"}
        try:
            answer = urllib.request.urlopen(
                urllib.request.Request(url, headers=headers), context=CONTEXT, timeout=180
            )
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        with answer:
            self.pass_on(url, answer)

    def pass_on(self, url, answer):
        content_type = answer.headers.get("Content-Type", "application/octet-stream")
        is_page = content_type.startswith(PAGE_TYPES)
        body = None
        length = answer.headers.get("Content-Length")
        if is_page or length is None:
            body = answer.read()
            if is_page:
                body = self.link_through_here(body)
            length = str(len(body))
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", length)
        if int(length) > LARGEST_CACHEABLE:
            self.send_header("Cache-Control", "no-store")
        else:
            identity = url.encode() if body is None else body
            etag = f'"{hashlib.sha256(identity).hexdigest()[:32]}"'
            self.send_header("ETag", answer.headers.get("ETag") or etag)
            default = PAGE_CACHE if is_page else FILE_CACHE
            self.send_header("Cache-Control", answer.headers.get("Cache-Control") or default)
        self.end_headers()
        if body is not None:
            self.wfile.write(body)
        else:
            shutil.copyfileobj(answer, self.wfile, 1 << 20)

    def link_through_here(self, page):
        """Index pages link to files by absolute address; let those come through here too."""
        here = self.headers["Host"].encode()

        def rewrite(match):
            allowed_hosts.add(match[2].decode())
            return b"http://%s/file/%s/%s/" % (here, match[1], match[2])

        return LINK.sub(rewrite, page)

    def log_message(self, *args):
        pass


def main():
    # Loopback only, and a port that is free.
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
