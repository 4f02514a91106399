"""Drives an agent of the SUT protocol with Mozilla's own client, devicemanager of mozdevice 0.48.

That client was written for Python 2. It is translated here mechanically (2to3), and since it holds bytes
in its strings, its sockets and files are wrapped in ones that do the same with Latin-1. Not a line of it
is changed otherwise.

Usage: devicemanager.py PORT ROOT NUMBER-OF-REBOOTS
"""

import builtins
import importlib.util
import io
import os
import socket
import sys
import tempfile
import types

import setuptools  # noqa: F401  for `distutils`, which newer Pythons no longer have
from fissix.refactor import RefactoringTool, get_fixers_from_package


def translated():
    """The client's two modules, for this Python."""
    spec = importlib.util.find_spec("mozdevice")
    source = spec.submodule_search_locations[0]
    tool = RefactoringTool(get_fixers_from_package("fissix.fixes"))
    directory = tempfile.mkdtemp()
    for name in ["devicemanager.py", "devicemanagerSUT.py"]:
        with open(os.path.join(source, name), encoding="utf-8") as file:
            tree = tool.refactor_string(file.read() + "\n", "a module")
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(str(tree))
    sys.path.insert(0, directory)
    import devicemanager
    import devicemanagerSUT

    return devicemanager, devicemanagerSUT


class Text(str):
    """A string as Python 2 had it."""

    def decode(self, *_):
        return str(self)


def as_bytes(value):
    return value.encode("latin-1") if isinstance(value, str) else value


class Socket(socket.socket):
    def send(self, data, *rest):
        return super().send(as_bytes(data), *rest)

    def sendall(self, data, *rest):
        return super().sendall(as_bytes(data), *rest)

    def recv(self, *args):
        return Text(super().recv(*args).decode("latin-1"))

    def accept(self):
        descriptor, address = self._accept()
        return Socket(fileno=descriptor), address


class Memory(io.BytesIO):
    def write(self, data):
        return super().write(as_bytes(data))

    def read(self, *args):
        return Text(super().read(*args).decode("latin-1"))

    def getvalue(self):
        return Text(super().getvalue().decode("latin-1"))


class Written:
    def __init__(self, file):
        self.file = file

    def write(self, data):
        self.file.write(as_bytes(data))

    def close(self):
        self.file.close()


def opened(name, mode="r"):
    file = builtins.open(name, mode)
    return Written(file) if mode == "wb" else file


devicemanager, sut = translated()
sut.socket = types.SimpleNamespace(**{**vars(socket), "socket": Socket})
sut.io = devicemanager.io = types.SimpleNamespace(StringIO=Memory)
sut.open = opened
sut.DeviceManagerSUT.reboot_settling_time = 0


def shell(device, *args, **more):
    out = Memory()
    code = device.shell(list(args), out, **more)
    # It leaves a zero byte where it has cut off the line with the code.
    return code, str(out.getvalue()).rstrip("\0\n")


def fails(call, *args, **more):
    try:
        call(*args, **more)
    except devicemanager.DMError:
        return True
    return False


def main(port, root, reboots):
    device = sut.DeviceManagerSUT("127.0.0.1", port=port, retryLimit=2)
    assert device.agentProductName == "MusterSUTAgent", device.agentProductName
    assert device.deviceRoot == root + "/tests", device.deviceRoot
    base = device.deviceRoot + "/a"

    here = tempfile.mkdtemp()
    content = bytes(range(256)) * 300 + b"$>\0\nreturn code [1]\n$>\0"
    local = os.path.join(here, "local")
    with open(local, "wb") as file:
        file.write(content)
    device.mkDirs(base + "/b/c/file")
    assert device.dirExists(base + "/b/c") and not device.dirExists(base + "/none")
    assert device.listFiles(base + "/b/c") == []
    device.pushFile(local, base + "/b/c/file")
    assert device.fileExists(base + "/b/c/file") and not device.fileExists(base + "/b/c/none")
    assert device.listFiles(base + "/b/c") == ["file"]
    assert device.pullFile(base + "/b/c/file") == content.decode("latin-1")
    assert device.pullFile(base + "/b/c/file", 5, 7) == content[5:12].decode("latin-1")
    device.getFile(base + "/b/c/file", local + "-back")
    assert open(local + "-back", "rb").read() == content
    assert device.validateFile(base + "/b/c/file", local)
    assert fails(device.pullFile, base + "/none")
    # It can talk on after a failure.
    device = sut.DeviceManagerSUT("127.0.0.1", port=port, retryLimit=2)

    tree = os.path.join(here, "tree")
    os.makedirs(os.path.join(tree, "sub"))
    for name in ["one", "sub/two", "sub/empty"]:
        with open(os.path.join(tree, name), "wb") as file:
            file.write(b"" if name.endswith("empty") else name.encode())
    device.pushDir(tree, base + "/tree")
    device.getDirectory(base + "/tree", tree + "-back")
    assert open(tree + "-back/sub/two", "rb").read() == b"sub/two"
    assert open(tree + "-back/sub/empty", "rb").read() == b""
    device.copyTree(base + "/tree", base + "/copy")
    assert device.fileExists(base + "/copy/sub/two")
    device.moveTree(base + "/copy", base + "/moved")
    assert not device.dirExists(base + "/copy") and device.fileExists(base + "/moved/one")
    device.chmodDir(base + "/moved")
    device.removeFile(base + "/moved/one")
    assert not device.fileExists(base + "/moved/one")
    device.removeDir(base + "/moved")
    assert not device.dirExists(base + "/moved")
    assert fails(device._runCmds, [{"cmd": "frobnicate"}])

    assert shell(device, "echo", "hi") == (0, "hi"), shell(device, "echo", "hi")
    assert shell(device, "sh", "-c", 'echo "a (b) & c"; exit 3') == (3, "a (b) & c")
    assert shell(device, "true")[0] == 0 and shell(device, "false")[0] == 1
    assert shell(device, "printf", "no end") == (0, "no end")
    assert shell(device, "sh", "-c", "echo $A-$B", env={"A": "1", "B": "x y"}) == (0, "1-x y")
    assert shell(device, "pwd", cwd=base) == (0, base)
    assert shell(device, "echo", "root", root=True) == (0, "root")
    much = shell(device, "sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done")
    assert much == (0, "\n".join(str(i) for i in range(3000)))
    assert device.shellCheckOutput(["echo", "checked"]) == "checked"

    processes = device.getProcessList()
    assert all(len(p) == 3 for p in processes) and any(p[0] == os.getpid() for p in processes)
    assert device.processExist("no-such-process") is None
    info = device.getInfo()
    for name in ["os", "id", "uptime", "uptimemillis", "systime", "screen", "memory", "process", "disk", "power"]:
        assert info[name], name
    assert info["rotation"] == ["ROTATION:0"] and int(info["uptimemillis"][0]) > 0
    assert device.getCurrentTime() > 10**12
    assert device.dirExists(device.getTempDir())
    device.installApp(base + "/b/c/file")
    device.uninstallApp("known")
    assert fails(device.uninstallApp, "other")
    for _ in range(reboots):
        device.reboot(ipAddr="127.0.0.1", wait=True)
        assert device.dirExists(base)
    print("driven")


main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
