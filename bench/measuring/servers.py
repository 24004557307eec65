"""A real Kafka and a real Redis for the measurement."""
import contextlib
import json
import os
import subprocess

from . import store


class Servers:
    def __init__(self, root):
        self.root = root
        self.dir = root / "target" / "services" / "bench"
        self.env = dict(os.environ, SERVICES_DIR=str(self.dir), SERVICES_KAFKA_HEAP="1g", SERVICES_REDIS_REWRITE="4gb")
        for name in ("KAFKA_BROKERS", "REDIS_URL"):
            self.env.pop(name, None)

    def __enter__(self):
        self.services("down", "--wipe")
        told = self.services("up")
        for line in told.splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            setattr(self, {"KAFKA_BROKERS": "brokers", "REDIS_URL": "redis"}[name], value)
        self.store = store.Store(self.redis)
        return self

    def __exit__(self, *_):
        self.services("down", "--wipe")

    def services(self, *words):
        command = [str(self.root / "dev" / "services"), *words]
        return subprocess.run(command, env=self.env, check=True, text=True, stdout=subprocess.PIPE).stdout

    def pid(self, name):
        return int((self.dir / name / "pid").read_text())

    @property
    def logs(self):
        return self.dir / "kafka" / "log"

    def program(self, name):
        return str(self.root / "target" / "bench" / "release" / name)

    def load(self, prefix, *options):
        """Writes usage and the catalog under a prefix; says what a right count of them is."""
        return read_sent(self.load_later(prefix, *options))

    def load_later(self, prefix, *options):
        """The same, without waiting for it."""
        command = [self.program("load"), "--brokers", self.brokers, "--topic", f"{prefix}usage.events"]
        command += ["--catalog-topic", f"{prefix}billing.catalog", *map(str, options)]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)

    def make_topic(self, name):
        self.load("", "--topic", name, "--events", 0, "--only", "events")

    def forget(self, fsync="everysec"):
        """Empties Redis, so that everybody starts with the same."""
        self.store.ask("CONFIG", "SET", "appendfsync", fsync)
        self.store.ask("FLUSHALL")
        with contextlib.suppress(RuntimeError):
            # One is under way already.
            self.store.ask("BGREWRITEAOF")


def read_sent(loading):
    """Waits for the generator, and says what it has sent: its catalog's records are counted too."""
    told, _ = loading.communicate()
    if loading.returncode:
        raise SystemExit(f"bench/run: the generator ended with {loading.returncode}")
    lines = [line.split(" ", 1) for line in told.splitlines()]
    about = {word: json.loads(rest) for word, rest in lines if word in ("events", "catalog")}
    return {**about.get("events", {}), "catalog": about.get("catalog", {}).get("records", 0)}
