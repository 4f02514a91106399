#!/usr/bin/env python3
"""A driver for Muster: this host as a device, in a hundred lines.

It speaks the protocol of docs/reference/driver-protocol.md: a line of JSON for each request, lines of output,
and one answer. Copy it, and put your device in place of the host.
"""
import base64
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

LINES = sys.stdin.buffer


class Failure(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Requests:
    """Lines from Muster. Reading them is never more than that: a cancel may come at any time."""

    def __init__(self):
        self.held = b""

    def fileno(self):
        return LINES.fileno()

    def next(self):
        while b"\n" not in self.held:
            more = os.read(LINES.fileno(), 1 << 16)
            if not more:
                sys.exit(0)  # Muster has gone: so do we.
            self.held += more
        line, self.held = self.held.split(b"\n", 1)
        return json.loads(line)


REQUESTS = Requests()


def say(**line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def output(request, stream, data):
    say(id=request["id"], output=stream, data=base64.b64encode(data).decode())


def run(request):
    if request["dir"] and not os.path.isdir(request["dir"]):
        raise Failure("not-found", request["dir"])
    if request["user"]:
        raise Failure("unsupported", "this driver knows no other users")
    with tempfile.TemporaryFile() as given:
        given.write(base64.b64decode(request["stdin"]))
        given.seek(0)
        try:
            child = subprocess.Popen(
                request["args"], stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=request["dir"], env={**os.environ, **dict(request["env"])}, start_new_session=True)
        except FileNotFoundError:
            return {"exit": {"code": 127}}
        except (PermissionError, OSError):
            return {"exit": {"code": 126}}
    limit = request["time_limit_ms"]
    end = time.monotonic() + limit / 1000 if limit is not None else None
    done = os.pidfd_open(child.pid)
    pipes = {child.stdout: "stdout", child.stderr: "stderr"}
    for pipe in pipes:
        os.set_blocking(pipe.fileno(), False)
    try:
        while True:
            wait = max(0, end - time.monotonic()) if end is not None else None
            ready, _, _ = select.select([done, REQUESTS, *pipes], [], [], wait)
            for pipe in [p for p in pipes if p in ready or done in ready]:
                while data := pipe.read(1 << 16):
                    output(request, pipes[pipe], data)
                    if done not in ready:
                        break
                if data == b"":
                    del pipes[pipe]
            if REQUESTS in ready and REQUESTS.next().get("cancel") == request["id"]:
                raise Failure("timeout", "cancelled")
            if done in ready:
                code = child.wait()
                return {"exit": {"signal": -code} if code < 0 else {"code": code}}
            if end is not None and time.monotonic() >= end:
                return {"exit": "time-limit"}
    finally:
        os.close(done)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def push(request):
    path, left = request["path"], request["size"]
    above = os.path.dirname(path)
    wrong = Failure("not-found", above) if not os.path.isdir(above) else None
    if os.path.isdir(path):
        wrong = Failure("refused", "it is a directory")
    part = tempfile.TemporaryFile()
    # What comes is taken also where it is of no use: the next line is a request again.
    while left > 0:
        line = REQUESTS.next()
        if "cancel" in line:
            raise Failure("timeout", "cancelled")
        data = base64.b64decode(line["data"])
        left -= len(data)
        part.write(data)
    if wrong:
        raise wrong
    part.seek(0)
    with tempfile.NamedTemporaryFile(dir=above, delete=False) as file:
        shutil.copyfileobj(part, file)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
    return {}


def pull(request):
    with open(request["path"], "rb") as file:
        file.seek(request["offset"])
        while data := file.read(48 << 10):
            output(request, "stdout", data)
    return {}


def told(info):
    kinds = [(stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "link")]
    kind = next((kind for is_it, kind in kinds if is_it(info.st_mode)), "other")
    answer = {"kind": kind, "mode": info.st_mode & 0o7777, "modified_millis": info.st_mtime_ns // 10**6}
    return {**answer, "size": info.st_size} if kind == "file" else answer


def listed(request):
    return [{"name": entry.name, **told(entry.stat(follow_symlinks=False))} for entry in os.scandir(request["path"])]


def remove(request):
    path = request["path"]
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.remove(path)
    return {}


def processes(_):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                name = comm.read().strip()
            found.append({"pid": int(pid), "uid": os.stat(f"/proc/{pid}").st_uid, "name": name})
        except OSError:
            pass  # It has ended meanwhile.
    return found


def send(request):
    if not 0 < request["pid"] < 1 << 31:
        raise Failure("refused", "there is no such process")
    os.kill(request["pid"], request["signal"])
    return {}


def nothing(action):
    def call(request):
        action(request["path"])
        return {}
    return call


CALLS = {
    "probe": lambda request: {},
    "exec": run,
    "push": push,
    "pull": pull,
    "list": listed,
    "stat": lambda request: told(os.stat(request["path"])),
    "make-dir": nothing(lambda path: os.makedirs(path, exist_ok=True)),
    "remove": remove,
    "make-executable": nothing(lambda path: os.chmod(path, os.stat(path).st_mode | 0o111)),
    "test-root": lambda request: tempfile.gettempdir(),
    "processes": processes,
    "signal": send,
    "info": lambda request: [["os", " ".join(os.uname()[::2])], ["hostname", os.uname().nodename]],
}


def answer(request):
    try:
        return {"ok": CALLS[request["call"]](request)}
    except Failure as e:
        return {"error": {"code": e.code, "message": str(e)}}
    except (FileNotFoundError, NotADirectoryError) as e:
        return {"error": {"code": "not-found", "message": str(e.filename or e)}}
    except OSError as e:
        return {"error": {"code": "refused", "message": str(e)}}


def main():
    hello = REQUESTS.next()["hello"]
    if hello["protocol"] != 1:
        sys.exit(f"Muster speaks version {hello['protocol']} of the protocol, this driver speaks 1")
    say(hello={"protocol": 1, "capabilities": ["exec", "files", "processes", "info"], "streams": True})
    while True:
        request = REQUESTS.next()
        if "call" in request:  # What is left of something cancelled is passed over.
            say(id=request["id"], **answer(request))


main()
