# ruff: noqa: UP004, UP031, PTH118, PTH208, C401, C402, BLE001, F821
"""Runs inside a container, as text, under whatever Python the image has (3.6 or newer).

It imports nothing of slimmer and nothing beyond the standard library, and as little of that as it
can: what is loaded here is loaded for every module that is tried. It reads one JSON object and
writes one JSON object a line:

- `{"is": "python", "version", "prefix", "modules": {module: distribution}}`
- `{"is": "module" | "library", "name", "error", "message", "module", "file", "origin", "seconds"}`,
  where `error` is "" for what went well, else the error's type or `killed` or `timeout`
- `{"is": "alive"}` every few seconds, and `{"is": "end"}` last.

Each module is imported in a forked child of its own, so that none can help or harm another.
"""

import json
import os
import re
import select
import signal
import sys
import time

TAIL = 2000
"""Bytes of a child's stderr that are kept, for those that die without an exception."""
MESSAGE = 1000


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def module_name(path):
    """The dotted name and whether it is a package, for a file of a record; None for no module."""
    parts = path.split("/")
    last = parts.pop()
    stem, _, rest = last.partition(".")
    if rest != "py" and not (rest.endswith("so") and ("." + rest).endswith(".so")):
        return None
    package = stem == "__init__"
    if not package:
        parts.append(stem)
    if not parts or stem == "__main__" or not all(part.isidentifier() for part in parts):
        return None
    return ".".join(parts), package


def of_distribution(folder, deep):
    """The modules that a distribution's metadata folder (or file) tells of: top-level, and all."""
    listed = []
    for name in ("RECORD", "installed-files.txt"):
        try:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except (OSError, ValueError):
            continue
        for line in lines:
            path = line
            if name == "RECORD":
                path = line[1:].partition('"')[0] if line[:1] == '"' else line.partition(",")[0]
            elif path.startswith("../"):
                path = path[3:]  # relative to the folder itself
            found = module_name(path)
            if found is not None:
                listed.append(found)
        break
    packages = set(one for one, package in listed if package)
    top = set()
    for name, _ in listed:
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            start = ".".join(parts[:length])
            if start in packages:  # the outermost folder that is a package, namespaces left out
                top.add(start)
                break
        else:
            if len(parts) == 1:
                top.add(name)
    if not top:
        # A distribution of nothing but namespaces: what lies nearest to the root.
        depths = [name.count(".") for name, _ in listed]
        top = set(name for name, _ in listed if name.count(".") == min(depths))
    try:
        with open(os.path.join(folder, "top_level.txt"), encoding="utf-8") as file:
            named = [line.strip() for line in file.read().splitlines()]
    except (OSError, ValueError):
        named = []
    if not listed:
        top.update(name.replace("/", ".") for name in named if name)
    everything = set(name for name, _ in listed) if deep else set()
    return sorted(top), sorted(everything - top)


def distributions(wanted):
    """Module -> distribution for all on sys.path; of the wanted ones every submodule too."""
    top = {}
    below = {}
    for place in sys.path:
        try:
            names = sorted(os.listdir(place or "."))
        except OSError:
            continue
        for name in names:
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            distribution = canonical(name.rpartition(".")[0].split("-")[0])
            shallow, deep = of_distribution(os.path.join(place, name), distribution in wanted)
            for module in shallow:
                top.setdefault(module, distribution)
            for module in deep:
                below.setdefault(module, distribution)
    return top, dict((name, owner) for name, owner in below.items() if name not in top)


def cause(error):
    """An exception as fields, with the module or file that its chain first says is missing."""
    module = file = ""
    seen = set()
    chain = error
    while chain is not None and id(chain) not in seen:
        seen.add(id(chain))
        if isinstance(chain, ImportError) and chain.name:
            module = chain.name
            match = re.match(r"cannot import name '([^']+)'", str(chain))
            if match:
                module += "." + match.group(1)
        if isinstance(chain, OSError) and isinstance(chain.filename, str):
            file = chain.filename
        chain = chain.__cause__ or chain.__context__
    return {
        "error": type(error).__name__,
        "message": str(error)[:MESSAGE],
        "module": module,
        "file": file,
    }


def try_module(name):
    __import__(name)
    module = sys.modules.get(name)
    return getattr(module, "__file__", None) or ""


def try_library(path):
    # Not ctypes.CDLL: that adds RTLD_NOW, and many a library only loads lazily on its own.
    import ctypes

    own = ctypes.CDLL(None)
    own.dlopen.restype = ctypes.c_void_p
    own.dlopen.argtypes = [ctypes.c_char_p, ctypes.c_int]
    own.dlerror.restype = ctypes.c_char_p
    if not own.dlopen(os.fsencode(path), 1):
        raise OSError((own.dlerror() or b"?").decode("utf-8", "replace"))
    return path


def child(kind, names, out, err):
    """Try one name after another and tell of each; never returns."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(err, 2)
        for name in names:
            begun = time.time()
            fields = {"error": "", "message": "", "module": "", "file": "", "origin": ""}
            try:
                fields["origin"] = (try_module if kind == "module" else try_library)(name)
            except BaseException as error:
                fields.update(cause(error))
            fields.update({"is": kind, "name": name, "seconds": round(time.time() - begun, 3)})
            os.write(out, (json.dumps(fields) + "\n").encode())
    finally:
        os._exit(0)


class Child(object):
    """One forked child, what it still has to do, and what it wrote so far."""

    def __init__(self, kind, names):
        self.kind = kind
        self.left = list(names)
        self.held = b""
        self.tail = b""
        self.expired = False
        self.begun = time.time()
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.out)
            os.close(self.err)
            child(kind, self.left, out, err)
        os.close(out)
        os.close(err)

    def heard(self):
        """Keep the end of what it wrote to stderr; False once it closed that."""
        chunk = os.read(self.err, 65536)
        self.tail = (self.tail + chunk)[-TAIL:]
        return bool(chunk)

    def results(self):
        """The lines that came, and whether there can be more."""
        chunk = os.read(self.out, 65536)
        lines = (self.held + chunk).split(b"\n")
        self.held = lines.pop()
        if lines:
            del self.left[: len(lines)]
            self.begun = time.time()
        # Not the pipe's end alone: a process that the module started may hold it open.
        return lines, bool(chunk and self.left)

    def kill(self):
        for target in (os.killpg, os.kill):  # its own session, so that its children go with it
            try:
                target(self.pid, signal.SIGKILL)
            except OSError:
                pass

    def end(self):
        """Wait for it; what to say of the name it died on, or None when it did them all."""
        self.kill()
        status = os.waitpid(self.pid, 0)[1]
        while select.select([self.err], [], [], 0)[0]:
            chunk = os.read(self.err, 65536)
            if not chunk:
                break
            self.tail = (self.tail + chunk)[-TAIL:]
        os.close(self.out)
        os.close(self.err)
        if not self.left:
            return None
        name = self.left.pop(0)
        how = "timeout" if self.expired else "killed"
        number = status & 127
        return {
            "is": self.kind,
            "name": name,
            "error": how,
            "message": (
                "still busy after %.0f s" % (time.time() - self.begun)
                if self.expired
                else ("signal %d: " % number if number and number != 9 else "")
                + self.tail.decode("utf-8", "replace")[-MESSAGE:].strip()
            ),
            "module": "",
            "file": "",
            "origin": "",
            "seconds": round(time.time() - self.begun, 3),
        }


def say(fields):
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def work(jobs, workers, timeout, deadline):
    """Run every job, (kind, names), at most so many at a time."""
    jobs = list(reversed(jobs))
    running = []
    pipes = {}
    spoken = time.time()
    while jobs or running:
        while jobs and len(running) < workers:
            one = Child(*jobs.pop())
            running.append(one)
            pipes[one.out] = pipes[one.err] = one
        ready = select.select(list(pipes), [], [], 0.5)[0]
        now = time.time()
        ended = []
        for descriptor in ready:
            one = pipes[descriptor]
            if descriptor == one.err:
                if not one.heard():
                    del pipes[one.err]
                continue
            lines, more = one.results()
            for line in lines:
                sys.stdout.write(line.decode() + "\n")
                spoken = now
            if not more:
                ended.append(one)
        sys.stdout.flush()
        for one in running:
            if one not in ended and (now - one.begun > timeout or now > deadline):
                one.expired = True
                ended.append(one)
        for one in ended:
            running.remove(one)
            pipes.pop(one.out, None)
            pipes.pop(one.err, None)
            verdict = one.end()
            if verdict is not None:
                say(verdict)
                if one.left:
                    jobs.append((one.kind, one.left))
        if now > deadline and jobs:
            say({"is": "stopped", "left": sum(len(names) for _, names in jobs)})
            return
        if now - spoken > 5:
            say({"is": "alive"})
            spoken = now


def main(request):
    # What was started with -c finds the working directory's files first; a service may not.
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    # Each child would compile anew what has no bytecode yet; this container is thrown away.
    sys.dont_write_bytecode = False
    top, deep = {}, {}
    modules = request["modules"]
    if modules is None:
        top, deep = distributions(set(request["deep"]))
        single, several = sorted(top), sorted(deep)
    else:
        single, several = modules["single"], modules["several"]
    say(
        {
            "is": "python",
            "version": "%d.%d.%d" % sys.version_info[:3],
            "prefix": sys.prefix,
            "modules": dict(top, **deep),
            "single": single,
            "several": several,
            "libraries": len(request["libraries"]),
        }
    )
    jobs = [("module", [name]) for name in single]
    groups = {}
    for name in several:
        groups.setdefault(name.partition(".")[0], []).append(name)
    jobs += [("module", names) for _, names in sorted(groups.items())]
    jobs += [("library", [path]) for path in request["libraries"]]
    try:
        processors = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        processors = os.cpu_count() or 1
    work(
        jobs,
        request["workers"] or max(1, min(processors, 8)),
        request["timeout"],
        time.time() + request["limit"],
    )
    say({"is": "end"})


if __name__ == "__main__":
    with open(REQUEST) as _file:
        _request = json.load(_file)
    main(_request)
