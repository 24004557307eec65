"""What has been measured: a line of JSON each, kept so that rows measured one after the other come on one page."""
import hashlib
import json
import statistics
import subprocess
import time

from .watch import OTHERS_MAX


class Results:
    def __init__(self, root, quick):
        self.file = root / "target" / "bench" / "results.jsonl"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.mark = {"program": program(root), "commit": commit(root), "quick": quick, "run": time.time_ns()}

    def note(self, row, name, words, **figures):
        """Keeps one measurement, and tells whoever waits."""
        line = {**self.mark, "row": row, "name": name, "at": time.strftime("%F %T"), **figures}
        with open(self.file, "a") as file:
            file.write(json.dumps(line) + "\n")
        disturbed = " (beside others)" if figures.get("others_cores", 0) > OTHERS_MAX else ""
        wrong = f"  WRONG: {figures['fault']}" if figures.get("fault") else ""
        print(f"{time.strftime('%T')}  {row:7} {name:18} {words}{disturbed}{wrong}", flush=True)

    def lines(self):
        """What is known of this program at this scale: of each row and name, what its latest run has measured."""
        if not self.file.exists():
            return []
        fits = [line for line in map(json.loads, open(self.file))
                if line["program"] == self.mark["program"] and line["quick"] == self.mark["quick"]]
        latest = {(line["row"], line["name"]): line["run"] for line in fits}
        return [line for line in fits if latest[line["row"], line["name"]] == line["run"]]

    def wrong(self):
        return [line for line in self.lines() if line["run"] == self.mark["run"] and line.get("fault")]


class Table:
    """Lines, asked for by row and name."""

    def __init__(self, lines):
        self.all = lines

    def of(self, row, name=None):
        return [line for line in self.all if line["row"] == row and name in (None, line["name"])]

    def names(self, row):
        return list(dict.fromkeys(line["name"] for line in self.of(row)))

    def calm(self, row, name):
        """The rounds that nothing else disturbed, if there are any."""
        rounds = self.of(row, name)
        return [line for line in rounds if line.get("others_cores", 0) <= OTHERS_MAX] or rounds

    def median(self, row, name, figure):
        """None if it wasn't measured; 0 if books were wrong."""
        rounds = self.calm(row, name)
        found = [line[figure] for line in rounds if figure in line]
        if not found:
            return None
        return 0 if any(line.get("fault") for line in self.of(row, name)) else statistics.median(found)

    def range(self, row, name, figure):
        found = [line[figure] for line in self.of(row, name) if figure in line]
        return (min(found), max(found)) if found else None


def program(root):
    """Names what is measured: the same sources are the same program, whatever else has been committed."""
    digest = hashlib.sha256()
    for path in sorted([*(root / "src").rglob("*.rs"), root / "Cargo.toml", root / "Cargo.lock"]):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def commit(root):
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, text=True, capture_output=True)
    return git.stdout.strip() or "unknown"
