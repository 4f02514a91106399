"""Muster in Buildbot: a step that runs tests, what exit codes mean, and what announces builds.

Put this file beside `master.cfg`. Nothing of it is needed on the workers but the program `muster`.
"""

import json

from buildbot import config
from buildbot.process import buildstep
from buildbot.process import logobserver
from buildbot.process.results import CANCELLED
from buildbot.process.results import EXCEPTION
from buildbot.process.results import FAILURE
from buildbot.process.results import RETRY
from buildbot.process.results import SKIPPED
from buildbot.process.results import SUCCESS
from buildbot.process.results import WARNINGS
from buildbot.reporters.generators.build import BuildStatusGenerator
from buildbot.reporters.http import HttpStatusPush
from buildbot.reporters.message import MessageFormatterFunction
from twisted.internet import defer

# How `muster run` ends: what the tests said fails the build, what the lab did is tried again.
RESULTS = {
    0: SUCCESS,
    1: FAILURE,
    2: EXCEPTION,
    3: RETRY,
    4: SKIPPED,
    5: WARNINGS,
    8: EXCEPTION,
    70: EXCEPTION,
    124: FAILURE,
    130: CANCELLED,
    143: CANCELLED,
}

# How `muster reserve` and `muster device` end; every other code is that of what ran on the device.
DEVICE_RESULTS = {0: SUCCESS, 2: EXCEPTION, 3: RETRY, 8: EXCEPTION, 130: CANCELLED, 143: CANCELLED}

# Verdicts that fail a run, and whose logs are worth a page of their own.
BAD = {"fail", "timeout", "crash", "abort", "error", "unexpected-pass"}


class _Retries:
    """RETRY, but not for ever: Buildbot itself would try again without end."""

    retries_max = 2

    @defer.inlineCallbacks
    def bounded(self, result):
        if result != RETRY:
            return result
        tries = 0
        for request in self.build.requests:
            builds = yield self.master.data.get(("buildrequests", request.id, "builds"))
            tries = max(tries, len(builds))
        if tries > self.retries_max:
            yield self.addCompleteLog("retries", f"the lab failed {tries} times: given up\n")
            return EXCEPTION
        return result


class _Events(logobserver.LogLineObserver):
    """Follows the events that Muster writes while it runs."""

    def outLineReceived(self, line):
        self.step.event(line)


class MusterRun(_Retries, buildstep.ShellMixin, buildstep.BuildStep):
    """`muster run`, on the lab of `server` or on the worker itself.

    build, tests  URLs, fetched once by Muster; without `tests`, the area is in the step's directory
    changeset     what is tested, for the record
    on            which devices will do: CEL over their labels
    args          further arguments of `muster run`: patterns, `--tags`, `--timeout`
    retries_max   how often a build is tried again where the lab failed

    The step has the live output, and as logs of their own the events, JUnit, the report as a page, and the
    output of items that failed. Statistics: `tests-total`, `tests-failed`, `tests-passed`.
    """

    name = "muster"
    description = ["testing"]
    progressMetrics = ("output", "tests")
    renderables = ["server", "muster_build", "tests", "changeset", "on", "args"]
    # Limit: a page for each of ten thousand failures helps nobody.
    logs_max = 25

    def __init__(
        self,
        server=None,
        build=None,
        tests=None,
        changeset=None,
        on=None,
        args=(),
        muster="muster",
        retries_max=2,
        **kwargs,
    ):
        # Muster stops its run at a TERM, and is given the time to say what came of it.
        kwargs.setdefault("sigtermTime", 60)
        kwargs.setdefault("timeout", None)
        kwargs.setdefault("logEnviron", False)
        kwargs = self.setupShellMixin(kwargs, prohibitArgs=["command", "logfiles", "decodeRC"])
        super().__init__(**kwargs)
        if on is not None and server is None:
            config.error("MusterRun: `on` chooses among the devices of a `server`")
        # `build` is Buildbot's own name for the build that a step is of.
        self.server, self.muster_build, self.tests = server, build, tests
        self.changeset, self.on, self.args = changeset, on, args
        self.muster, self.retries_max = muster, retries_max
        self.counts, self.address, self.bad, self.ended = {}, None, {}, 0
        self.logfiles = {"junit": "muster-junit.xml", "events": "muster-events.jsonl", "report": "muster-report.html"}
        self.lazylogfiles = True

    def event(self, line):
        try:
            event = json.loads(line)
        except ValueError:
            return
        kind = event.get("event")
        if kind == "run-started":
            self.address = event["address"]
        elif kind == "attempt-ended":
            name = "/".join(filter(None, [event["test"], event["item"]]))
            frames = (event["result"].get("output") or {}).get("frames") or []
            self.bad[name] = "".join(frame.get("text", "") for frame in frames)
        elif kind == "item-ended":
            name = "/".join(filter(None, [event["test"], event["item"]]))
            self.ended += 1
            self.setProgress("tests", self.ended)
            if event["verdict"] not in BAD:
                self.bad.pop(name, None)
        elif kind == "run-ended":
            self.counts = event["counts"]

    @defer.inlineCallbacks
    def run(self):
        command = [self.muster]
        if self.server:
            command += ["--server", self.server]
        command += ["run", "--progress", "plain"]
        for flag, value in (
            ("--build", self.muster_build),
            ("--tests", self.tests),
            ("--changeset", self.changeset),
            ("--on", self.on),
        ):
            if value:
                command += [flag, str(value)]
        command += ["--report", "junit:muster-junit.xml", "--report", "jsonl:muster-events.jsonl"]
        command += ["--report", "html:muster-report.html"]
        if self.server:
            command.append("--wait")
        command += list(self.args)
        self.env = {"MUSTER_COLOR": "never", "CI": "true", **(self.env or {})}
        cmd = yield self.makeRemoteShellCommand(command=command)
        # The log of the events is made when the first of them is there.
        self.addLogObserver("events", _Events())
        yield self.runCommand(cmd)
        result = RESULTS.get(cmd.rc, EXCEPTION)
        bad = sum(self.counts.get(v, 0) for v in BAD)
        self.setStatistic("tests-total", sum(self.counts.values()))
        self.setStatistic("tests-failed", bad)
        self.setStatistic("tests-passed", self.counts.get("pass", 0))
        for name in sorted(self.bad)[: self.logs_max]:
            yield self.addCompleteLog(f"failed {name}".replace("/", " "), self.bad[name] or "it printed nothing\n")
        words = [f"{n} {verdict}" for verdict, n in sorted(self.counts.items())]
        self.descriptionDone = [self.address or "muster", ", ".join(words) or f"exit code {cmd.rc}"]
        if self.address:
            self.setProperty("muster_run", self.address, "MusterRun")
        return (yield self.bounded(result))


class MusterDevice(_Retries, buildstep.ShellMixin, buildstep.BuildStep):
    """One command with a device of the lab that is reserved for it, and given back after.

    The command finds the device's address in MUSTER_DEVICE_ADDRESS, from which `muster device` takes it. Its
    exit code is the step's: 0 SUCCESS, what the lab failed at RETRY, any other FAILURE.
    """

    name = "device"
    renderables = ["server", "on", "run_command", "hold"]

    def __init__(self, command, on, server, hold="30m", muster="muster", retries_max=2, **kwargs):
        kwargs.setdefault("sigtermTime", 30)
        kwargs.setdefault("logEnviron", False)
        kwargs = self.setupShellMixin(kwargs, prohibitArgs=["command", "decodeRC"])
        super().__init__(**kwargs)
        self.run_command, self.on, self.server, self.hold = command, on, server, hold
        self.muster, self.retries_max = muster, retries_max

    @defer.inlineCallbacks
    def run(self):
        reserve = [self.muster, "--server", self.server, "reserve", self.on, "--for", self.hold]
        name = f"{self.build.builder.name}/{self.build.number}"
        command = [*reserve, "--reason", f"buildbot {name}", "--", *self.run_command]
        cmd = yield self.makeRemoteShellCommand(command=command)
        yield self.runCommand(cmd)
        return (yield self.bounded(DEVICE_RESULTS.get(cmd.rc, FAILURE)))


class MusterResult(buildstep.BuildStep):
    """What `muster bridge buildbot` reported of a build that Muster tested: properties become the result."""

    name = "muster"

    def run(self):
        code = str(self.getProperty("muster_exit", ""))
        # Muster has tried again where that could help.
        result = RESULTS.get(int(code), EXCEPTION) if code.isdigit() else EXCEPTION
        self.descriptionDone = [self.getProperty("muster_summary", "") or f"exit code {code}"]
        return EXCEPTION if result == RETRY else result


def announce_to_muster(url, secret, builders):
    """A reporter that announces ended builds of these builders to `muster bridge buildbot`.

    url     where the bridge listens, `http://127.0.0.1:7118/buildbot`
    secret  what both know, from a secret provider: `util.Secret("muster-bridge")`
    """
    formatter = MessageFormatterFunction(lambda context: context["build"], "json", want_properties=True)
    generator = BuildStatusGenerator(builders=builders, message_formatter=formatter, report_new=False)
    return HttpStatusPush(serverUrl=url, auth=("buildbot", secret), generators=[generator])
