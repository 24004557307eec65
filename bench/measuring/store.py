"""Redis, as somebody who only looks sees it."""
import json
import socket
import urllib.parse


class Store:
    """One connection, one command at a time or many together."""

    def __init__(self, url):
        where = urllib.parse.urlparse(url)
        self.socket = socket.create_connection((where.hostname, where.port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers = self.socket.makefile("rb", 1 << 20)

    def ask(self, *words):
        parts = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
        return self.answer()

    def answer(self):
        line = self.answers.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(f"Redis refuses: {rest.decode()}")
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind != b"$":
            return rest
        return None if rest == b"-1" else self.answers.read(int(rest) + 2)[:-2]

    def info(self, section):
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def used_bytes(self):
        """What its keys take: without what it holds for connections and for the append-only file."""
        memory = {name: int(value) for name, value in self.info("memory").items() if value.isdigit()}
        return memory["used_memory"] - memory["mem_clients_normal"] - memory["mem_aof_buffer"]

    def commands(self):
        return int(self.info("stats")["total_commands_processed"])

    def shard(self, number):
        """A shard's record; None before its first commit."""
        text = self.ask("GET", shard_key(number))
        return json.loads(text)["record"] if text else None


def shard_key(number):
    return f"graceline:{{{number}}}:shard"


USAGE, CATALOG = 4, 0


def position(record, log=USAGE):
    """How far a shard's record says that one of its logs has been taken."""
    at = (record or {}).get("positions", [0] * 5)[log]
    return at or 0
