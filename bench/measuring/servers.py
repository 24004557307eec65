"""A real Kafka and a real Redis for the measurement, and what they cost while it runs."""
import json
import os
import subprocess

TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["VmRSS"].split()[0]) // 1024


def machine_seconds():
    with open("/proc/stat") as file:
        numbers = [int(word) for word in file.readline().split()[1:]]
    return (sum(numbers[:8]) - numbers[3] - numbers[4]) / TICK


class Servers:
    def __init__(self, root):
        self.root = root
        self.dir = root / "target" / "services" / "bench"
        self.sent = {}
        self.env = dict(os.environ, SERVICES_DIR=str(self.dir), SERVICES_KAFKA_HEAP="1g")
        for name in ("KAFKA_BROKERS", "REDIS_URL"):
            self.env.pop(name, None)

    def __enter__(self):
        self.services("down", "--wipe")
        told = self.services("up")
        for line in told.splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            setattr(self, {"KAFKA_BROKERS": "brokers", "REDIS_URL": "redis"}[name], value)
        return self

    def __exit__(self, *_):
        self.services("down", "--wipe")

    def services(self, *words):
        command = [str(self.root / "dev" / "services"), *words]
        return subprocess.run(command, env=self.env, check=True, text=True, stdout=subprocess.PIPE).stdout

    def pid(self, name):
        return int((self.dir / name / "pid").read_text())

    def program(self, name):
        return str(self.root / "target" / "bench" / "release" / name)

    def load(self, work, events):
        """Writes events, and the catalog if nobody has yet; notes what a right count of them is."""
        command = [self.program("load"), "--brokers", self.brokers, "--events", str(events), "--span", "86400"]
        command += ["--topic", work.topic, *work.options, *(["--only", "events"] if self.sent else [])]
        told = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
        [line] = [line for line in told.splitlines() if line.startswith("events ")]
        self.sent[work.topic] = json.loads(line.split(" ", 1)[1])

    def forget(self, fsync="everysec"):
        """Empties Redis between runs, so that everybody starts with the same."""
        subprocess.run(["redis-cli", "-u", self.redis, "config", "set", "appendfsync", fsync], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["redis-cli", "-u", self.redis, "flushall"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["redis-cli", "-u", self.redis, "bgrewriteaof"], check=True, stdout=subprocess.DEVNULL)
