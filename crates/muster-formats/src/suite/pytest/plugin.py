# Muster's pytest plug-in, run as `python -c BOOT CONFIG COUNT ITEM... PYTEST-ARGUMENT...`.
# Writes one JSON object a line to file descriptor 3. Works on pytest 6 to 9, Python 3.6 and later.
import fcntl, json, os, sys

config_in = json.loads(sys.argv[1])
count = int(sys.argv[2])
wanted = dict.fromkeys(sys.argv[3 : 3 + count])
arguments = sys.argv[3 + count :]
# A test may close low file descriptors; children must not inherit the pipe.
pipe = fcntl.fcntl(3, fcntl.F_DUPFD_CLOEXEC, 100)
os.close(3)
owner = os.getpid()

if config_in.get("script"):
    # The `pytest` script does not put the current directory on the path, `python -m pytest` does.
    sys.path.pop(0)

import pytest

sys.argv = [os.path.join(os.path.dirname(pytest.__file__), "__main__.py")] + arguments
major = int(pytest.__version__.split(".")[0])
limit = config_in["limit"]


def clean(text):
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def cut(text):
    text = clean(text)
    if len(text) <= limit:
        return text
    dropped = len(text) - limit
    return "%s\n[muster: %d characters of output cut here]\n%s" % (text[: limit // 2], dropped, text[-(limit // 2) :])


def tell(**event):
    if os.getpid() != owner:
        return  # a forked child that came back into pytest
    data = memoryview((json.dumps(event) + "\n").encode("utf-8"))
    while data:
        data = data[os.write(pipe, data) :]


def short(report):
    """One line: what went wrong, and where."""
    longrepr = report.longrepr
    if isinstance(longrepr, tuple) and len(longrepr) == 3:
        reason = str(longrepr[2])
        return clean(reason[9:] if reason.startswith("Skipped: ") else reason)
    crash = getattr(longrepr, "reprcrash", None)
    if crash is not None:
        first = str(crash.message).strip().split("\n")[0]
        path = os.path.relpath(str(crash.path))
        if path.startswith(os.pardir):
            path = os.path.basename(path)
        return clean("%s (%s:%s)" % (first, path, crash.lineno))
    lines = [line for line in str(longrepr or "").strip().split("\n") if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    return clean((errors or lines or [""])[-1])


def text_of(report):
    if report.outcome != "failed":
        return ""
    return cut(getattr(report, "longreprtext", None) or report.longrepr or "")


class Muster:
    def __init__(self):
        self.sent = {}
        self.files = None
        self.foreign = 0

    @pytest.hookimpl(hookwrapper=True)
    def pytest_cmdline_main(self, config):
        # One process, all of what was asked for: the batch is Muster's, not xdist's or -x's.
        for name, value in (("numprocesses", None), ("dist", "no"), ("tx", []), ("maxfail", 0)):
            if hasattr(config.option, name):
                setattr(config.option, name, value)
        yield

    def pytest_configure(self, config):
        if not count:
            return
        root = str(config.rootdir) if major < 7 else str(config.rootpath)
        files = set()
        for nodeid in wanted:
            path = os.path.realpath(os.path.join(root, nodeid.split("::")[0]))
            if not os.path.exists(path):
                return  # not a file's own name: look everywhere
            while path not in files:
                files.add(path)
                path = os.path.dirname(path)
        self.files = files

    def ignore(self, path):
        # Only what leads to a wanted item is collected. Packages need their `__init__.py`.
        if self.files is None or os.path.basename(path) in ("__init__.py", "conftest.py"):
            return None
        real = os.path.realpath(path)
        if real in self.files or any(real.startswith(f + os.sep) for f in self.leaves()):
            return None
        return True

    def leaves(self):
        # A wanted "file" that is a directory is collected whole.
        if not hasattr(self, "_leaves"):
            whole = {n.split("::")[0] for n in wanted}
            self._leaves = [f for f in self.files if os.path.isdir(f) and any(f.endswith(os.sep + w) for w in whole)]
        return self._leaves

    if major < 7:

        def pytest_ignore_collect(self, path):
            return self.ignore(str(path))

    else:

        def pytest_ignore_collect(self, collection_path):
            return self.ignore(str(collection_path))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_collection_modifyitems(self, config, items):
        yield
        if count:
            kept = [item for item in items if item.nodeid in wanted]
            other = [item for item in items if item.nodeid not in wanted]
            if other:
                config.hook.pytest_deselected(items=other)
                items[:] = kept

    def pytest_collectreport(self, report):
        if report.outcome == "passed":
            return
        if count and report.outcome == "failed":
            of_ours = [w for w in wanted if not report.nodeid or w == report.nodeid or w.startswith(report.nodeid + "::")]
            self.foreign += not of_ours
        tell(e="collect", id=clean(report.nodeid), outcome=report.outcome, message=short(report), text=text_of(report))

    def pytest_collection_finish(self, session):
        tell(e="ready", capture=session.config.option.capture != "no")
        if not count:
            for item in session.items:
                tell(e="item", id=clean(item.nodeid))

    def pytest_runtest_logstart(self, nodeid, location):
        tell(e="start", id=clean(nodeid))

    def pytest_runtest_logreport(self, report):
        sections = list(report.sections)
        new = sections[self.sent.get(report.nodeid, 0) :]
        self.sent[report.nodeid] = len(sections)
        context = getattr(report, "context", None)
        sub = None
        if context is not None:
            kwargs = getattr(context, "kwargs", None) or {}
            named = ", ".join("%s=%s" % pair for pair in sorted(kwargs.items()))
            sub = clean(" ".join(part for part in (str(getattr(context, "msg", None) or ""), named) if part) or "subtest")
        tell(
            e="phase",
            id=clean(report.nodeid),
            when=report.when,
            outcome=report.outcome,
            seconds=getattr(report, "duration", 0.0),
            message=short(report) if report.longrepr else "",
            text=text_of(report),
            sections=[[clean(name), cut(content)] for name, content in new],
            xfail=clean(report.wasxfail) if hasattr(report, "wasxfail") else None,
            sub=sub,
        )

    def pytest_runtest_logfinish(self, nodeid, location):
        self.sent.pop(nodeid, None)
        tell(e="finish", id=clean(nodeid))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        tell(e="end", exit=int(exitstatus), foreign=self.foreign)


sys.exit(int(pytest.main(arguments, plugins=[Muster()])))
