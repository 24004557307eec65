"""Who competes: how each is run, and how its books are checked."""
import dataclasses
import json
import os
import signal
import subprocess
import time
import urllib.request

from . import books, servers


@dataclasses.dataclass(frozen=True)
class Work:
    """Which events are drained."""

    topic: str
    options: tuple = ()


PLAIN = Work("usage.events")
SKEWED = Work("usage.skewed", ("--zipf", "1.1"))
TWICE = Work("usage.twice", ("--duplicates", "0.05"))


@dataclasses.dataclass
class Run:
    events: int
    seconds: float
    own: float
    broker: float
    redis: float
    others_cores: float
    resident_mb: int
    fault: str = ""

    @property
    def rate(self):
        return 0 if self.fault else self.events / self.seconds

    def micros(self, seconds):
        return seconds / self.events * 1e6

    @property
    def total_micros(self):
        return self.micros(self.own + self.broker + self.redis)

    def line(self, name):
        busy = "  beside others" if self.others_cores > 0.2 else ""
        wrong = f"  WRONG: {self.fault}" if self.fault else ""
        return (
            f"{name:12} {self.micros(self.own):6.2f} + broker {self.micros(self.broker):5.2f} + Redis "
            f"{self.micros(self.redis):5.2f} µs an event, {self.rate / 1000:7.1f} k/s, {self.resident_mb} MB, others "
            f"{self.others_cores:.2f} cores{busy}{wrong}"
        )


class Watch:
    """What has been used since it was started: by the competitor, the broker, Redis, and anything else."""

    def __init__(self, at, pid):
        self.pids = [pid, at.pid("kafka"), at.pid("redis")]
        self.before = self.look()

    def look(self):
        return [servers.processor_seconds(pid) for pid in self.pids], servers.machine_seconds(), time.monotonic()

    def stop(self, events):
        (used, machine, now), (used_before, machine_before, begun) = self.look(), self.before
        own, broker, redis = (now - before for now, before in zip(used, used_before))
        seconds = now - begun
        others = max(0.0, machine - machine_before - own - broker - redis) / seconds
        return Run(events, seconds, own, broker, redis, others, servers.resident_mb(self.pids[0]))


class Peer:
    """A program that says FIRST with its first event and DONE {…} after its last."""

    needs_java = False
    work = PLAIN

    def __init__(self, name, command, check=lambda told, sent: ""):
        self.name, self.command, self.check = name, command, check

    def drain(self, at, tag):
        at.forget()
        sent = at.sent[self.work.topic]
        process = subprocess.Popen(self.command(at, sent, tag), stdout=subprocess.PIPE, text=True, bufsize=1)
        watch = run = None
        for line in process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "FIRST" and watch is None:
                watch = Watch(at, process.pid)
            elif word == "DONE":
                told = json.loads(rest)
                run = watch.stop(told["events"])
                run.seconds = told.get("seconds", run.seconds)
                run.fault = self.check(told, sent)
        process.wait()
        if run is None:
            raise SystemExit(f"bench/run: {self.name} ended with {process.returncode} before it was done")
        return run


class Streams(Peer):
    needs_java = True


class Graceline:
    """Its progress is read from its metrics; its books from Redis."""

    needs_java = False
    port = 28180

    def __init__(self, name, work=PLAIN, fsync="everysec"):
        self.name, self.work, self.fsync = name, work, fsync

    def drain(self, at, tag):
        at.forget(self.fsync)
        sent = at.sent[self.work.topic]
        env = dict(
            os.environ,
            GRACELINE__KAFKA__BROKERS=at.brokers,
            GRACELINE__KAFKA__GROUP=f"bench-{tag}-{time.time_ns()}",
            GRACELINE__REDIS__URL=at.redis,
            GRACELINE__TOPICS__USAGE=self.work.topic,
            GRACELINE__HTTP__LISTEN=f"127.0.0.1:{self.port}",
        )
        with open(at.dir / "graceline.log", "w") as log:
            program = str(at.root / "target" / "release" / "graceline")
            process = subprocess.Popen([program, "run"], env=env, stdout=log, stderr=log)
        begun = self.await_events(process, 1)
        watch = Watch(at, process.pid)
        self.await_events(process, sent["events"])
        run = watch.stop(sent["events"] - begun)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        run.fault = books.fault(at, sent)
        return run

    def await_events(self, process, wanted):
        """Waits until so many have been decided; says how many have."""
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise SystemExit(f"bench/run: graceline ended with {process.returncode}")
            decided = self.decided()
            if decided >= wanted:
                return decided
            time.sleep(0.05)
        raise SystemExit("bench/run: graceline took longer than ten minutes")

    def decided(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("graceline_fates_total")))


def all_of_them(quick):
    def bare(*more):
        return lambda at, sent, tag: [at.program("bare-rdkafka"), "--brokers", at.brokers, *more]

    def streams(store):
        def command(at, sent, tag):
            jar = at.root / "bench" / "kafka-streams" / "target"
            app = f"peer-{store}-{tag}-{time.time_ns()}"
            # The fastest settings that were found for it on two cores.
            heap = ["-Xms8g", "-Xmx8g", "-Xmn3g", "-XX:+UseParallelGC", "-XX:+UseTransparentHugePages"]
            return [
                "java", *heap, "-cp", f"{jar}/kafka-streams-peer-1.jar:{jar}/libs/*", "peer.Main", f"brokers={at.brokers}",
                f"events={sent['events']}", f"store={store}", "threads=2", "commit=1000", "cached=none", f"app={app}",
                f"state={at.dir / app}",
            ]
        return command

    def naive(mode, events):
        return lambda at, sent, tag: [
            at.program("naive-redis"), "--brokers", at.brokers, "--redis", at.redis, "--mode", mode,
            "--events", str(min(events, sent["events"])),
        ]

    few = [Peer("bare", bare()), Graceline("graceline")]
    if quick:
        return few
    return few + [
        Graceline("graceline-always", fsync="always"),
        Graceline("graceline-skewed", SKEWED),
        Graceline("graceline-twice", TWICE),
        Peer("bare-batch", bare("--batch", "1000")),
        Streams("streams", streams("memory")),
        Streams("streams-packed", streams("packed")),
        Peer("naive-batch", naive("batch", 1_000_000)),
        Peer("naive-each", naive("each", 200_000)),
    ]
