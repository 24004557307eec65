"""Graceline's processor, started and looked at from outside."""
import os
import signal
import subprocess
import time
import urllib.request

from . import store

PORT = 28180
PATIENCE_S = 300


class Processor:
    """An instance of `graceline run`. Instances with one group share the shards."""

    def __init__(self, at, prefix, partitions=4, group=None, place=0, **settings):
        self.at, self.prefix, self.partitions, self.place = at, prefix, partitions, place
        self.group = group or f"bench-{time.time_ns()}"
        self.port = PORT + place
        self.settings = settings
        self.process = None

    def start(self):
        env = {
            "KAFKA__BROKERS": self.at.brokers,
            "KAFKA__GROUP": self.group,
            "REDIS__URL": self.at.redis,
            "TOPICS__PREFIX": self.prefix,
            "TOPICS__PARTITIONS": str(self.partitions),
            "HTTP__LISTEN": f"127.0.0.1:{self.port}",
            **self.settings,
        }
        program = str(self.at.root / "target" / "release" / "graceline")
        with open(self.log, "w") as log:
            env = dict(os.environ, **{f"GRACELINE__{name}": value for name, value in env.items()})
            self.process = subprocess.Popen([program, "run"], env=env, stdout=log, stderr=log)
        return self

    @property
    def log(self):
        return self.at.dir / f"graceline-{self.place}.log"

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        self.end(signal.SIGTERM)

    def kill(self):
        self.end(signal.SIGKILL)

    def end(self, number):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise SystemExit("bench/run: graceline didn't end within a minute")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.end(signal.SIGKILL)

    def figures(self):
        """What it says of itself: each figure by its name and labels."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def sum_of(self, name):
        return int(sum(value for key, value in self.figures().items() if key.partition("{")[0] == f"graceline_{name}"))

    def decided(self):
        return self.sum_of("fates_total")

    def running(self):
        return int(self.figures().get('graceline_shards{state="running"}', 0))

    def records(self):
        return [self.at.store.shard(number) for number in range(self.partitions)]

    def taken(self, log=store.USAGE):
        """How many records of a log Redis says have been taken."""
        return sum(store.position(record, log) for record in self.records())

    def await_catalog(self, records):
        self.until(lambda: min(store.position(record, store.CATALOG) for record in self.records()) >= records)

    def until(self, holds, pause=0.02, patience=PATIENCE_S):
        """Waits until something is true; says what it was in the end."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SystemExit(f"bench/run: graceline ended with {self.process.returncode}; see {self.log}")
            found = holds()
            if found:
                return found
            time.sleep(pause)
        raise SystemExit(f"bench/run: graceline took longer than {patience} s; see {self.log}")
