"""The page of figures and its drawings, made by the measurement and by nothing else."""
import os
import platform
import re
import statistics
import subprocess

from . import drawings, verdicts

DRAINS = {
    "bare": "the bare client and the JSON parser, one thread, nothing kept: the ceiling",
    "graceline": "A: exactly once, deduplicated, attributed, kept in Redis with `appendfsync everysec`",
    "always": "A': the same with `appendfsync always`",
    "zipf": "B: the same with subscriptions by Zipf, exponent 1.1",
    "late": "C: the same with 10 % for a period whose invoice is finalized",
    "duplicates": "D: the same with 5 % duplicates",
    "poison": "J: the same with 1 % that can't be read or billed, in four ways",
    "streams": "Kafka Streams, exactly once, the library's own memory store at its best settings",
    "streams-packed": "the same with a store packed by hand behind the library's changelog",
    "naive-batch": "one Redis script an event, 500 in a pipeline",
}
WHOSE = ("its own", "the broker's", "Redis'")


def write(path, table, size):
    folder = path.parent / "drawings"
    folder.mkdir(exist_ok=True)
    drawn = {name: picture for name, picture in pictures(table).items() if picture}
    for name, picture in drawn.items():
        (folder / f"{name}.svg").write_text(picture)
    sections = [about(table, size), judged(table), drains(table, size), live(table), moved(table), crowd(table), growth(table)]
    for name in drawn:
        sections[SECTION_OF[name]] += f"\n![{name.replace('-', ' ')}](drawings/{name}.svg)\n"
    measured = "\n" + "\n".join(section for section in sections if section)
    before, _, rest = path.read_text().partition("<!-- measured -->")
    _, _, after = rest.partition("<!-- end of measured -->")
    path.write_text(f"{before}<!-- measured -->{measured}<!-- end of measured -->{after}")


SECTION_OF = {"rate": 2, "processor-time": 2, "latency": 3, "instances": 5, "growth-subscriptions": 6, "growth-partitions": 6}


def grid(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def about(table, size):
    commits = " and ".join(dict.fromkeys(line["commit"] for line in table.all)) or "nothing"
    return (
        f"Measured on {machine()}. Broker, Redis and processor share them, and the generator too where usage comes at a rate. "
        f"Program as of {commits}; {versions()}. Where a row has several rounds its figure is the median of those beside which "
        f"nothing else used more than 0.2 of a core; of all, if there is no such round.\n"
    )


def judged(table):
    rows = []
    for one in verdicts.verdicts(table):
        rows.append([one.row, one.work, f"**{one.measured}**" if one.holds is False else one.measured, mark(one.must, one.holds), mark(one.aim, one.reached)])
    return grid(["", "what", "measured", "must", "aim"], rows)


def mark(bound, holds):
    return bound + {True: " ✓", False: " ✗", None: ""}[holds] if bound else ""


def drains(table, size):
    rows = []
    for name, words in DRAINS.items():
        row = verdicts.row_of(table, name)
        if row:
            rows.append([f"`{name}`", *drained(table, row, name)])
    if not rows:
        return ""
    sent = table.of("A", "graceline")[0]["sent"]
    notes = "\n".join(f"- `{name}`: {words}." for name, words in DRAINS.items() if verdicts.row_of(table, name))
    head = ["", "k events/s (lowest–highest)", "of the bare client", "µs an event, in all", "own", "broker", "Redis", "MB", "rounds", "others' cores"]
    return (
        f"### Drains\n\n{sent['events']:,} events of {sent['value_bytes'] // sent['events']} bytes on {sent['partitions']} partitions, "
        f"100,000 subscriptions, {sent['duplicates']:,} duplicates, {sent['out_of_order']:,} out of order, unless it says otherwise; "
        f"in turn, from the opening of the books, which know all subscriptions and have seen no usage, to the last commit, and checked "
        f"after each. The bare client's time begins with its first message. A script an event is measured on "
        f"{size.naive_events:,} of them.\n\n{grid(head, rows)}\n{notes}\n"
    )


def drained(table, row, name):
    low, high = table.range(row, name, "rate")
    part = verdicts.share(table, name)
    costs = [f"{table.median(row, name, figure):.2f}" for figure in ("total_us", "own_us", "broker_us", "redis_us")]
    resident = table.median(row, name, "resident_mb")
    warm = table.median(row, name, "warm")
    rate = f"{table.median(row, name, 'rate') / 1000:.0f} ({low / 1000:.0f}–{high / 1000:.0f})" + (f", warm {warm / 1000:.0f}" if warm else "")
    others = statistics.median(line["others_cores"] for line in table.of(row, name))
    return [rate, f"{part:.2f}" if part else "", *costs, f"{resident:.0f}" if resident else "", len(table.of(row, name)), f"{others:.2f}"]


def live(table):
    rows = []
    for name in table.names("A-live"):
        for one in table.of("A-live", name):
            if "p50_ms" in one:
                ages = [f"{one[figure]:.0f}" for figure in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")]
                cores = [f"{one[f'{whose}_cores']:.2f}" for whose in ("own", "broker", "redis", "generator")]
                rows.append([f"{one['sent_rate'] / 1000:.0f} k", *ages, *cores, f"{one['others_cores']:.2f}"])
    if not rows:
        return ""
    head = ["events/s", "p50", "p90", "p99", "p99.9", "max", "cores: own", "broker", "Redis", "generator", "others"]
    return (
        "### From append to visible\n\nMilliseconds from an event's append time to the first look at Redis, every 2 ms, in which its shard's "
        f"position has passed it.\n\n{grid(head, rows)}"
    )


def moved(table):
    words = []
    for one in table.of("E", "drafts"):
        if "all_out_s" in one:
            words.append(
                f"- {one['drafts']:,} drafts due at one instant, acks=all: the last announcement was appended {one['all_out_s']:.1f} s after it, "
                f"of which one second is what clocks may differ by (`billing.clock_skew_limit`). Usage came at {one['rate'] / 1000:.0f} k/s: "
                f"{one['usage_kept']:.0%} of it was taken meanwhile, 99 of 100 events within {one['p99_ms'] or 0:.0f} ms. "
                f"It took {one['own_s']:.1f} s of the processor, {one['broker_s']:.1f} of the broker, {one['redis_s']:.1f} of Redis."
            )
    starts = table.of("F", "start")
    if starts:
        each = ", ".join(f"{one['first_s']:.1f} s ({one['processor_s']:.1f} s of processor)" for one in starts)
        words.append(f"- Start, from the program's to the first new event's being in Redis: {each}.")
    pauses = {kind: sorted(pause for line in table.of("F'", kind) for pause in line["pauses_ms"]) for kind in ("join", "leave")}
    for kind, said in (("join", "An instance comes and takes half of the shards"), ("leave", "It leaves, and they go back")):
        if pauses[kind]:
            words.append(f"- {said}, at 20 k events/s: pauses of {pauses[kind][0]:.0f} to {pauses[kind][-1]:.0f} ms, half below {statistics.median(pauses[kind]):.0f}.")
    for one in table.of("F'", "kill"):
        noticed = f", {one['after_detection_s']:.2f} s after the broker had given it up" if "after_detection_s" in one else ""
        words.append(f"- kill -9 with `session.timeout.ms=6000`: the last shard went on {one['after_kill_s']:.1f} s after it{noticed}.")
    return "### Deadlines, starts and hand-overs\n\n" + "\n".join(words) + "\n" if words else ""


def crowd(table):
    ways = {line["way"] for line in table.of("G")}
    rows = [[one["instances"], f"{one['rate'] / 1000:.0f}", f"{one['times']:.2f}", f"{one['cores']:.2f}"] for one in table.of("G")]
    if not rows:
        return ""
    how = "the kernel's control groups, 5 ms of every 20" if ways == {"control group"} else "stopping it whenever it is ahead of its share"
    return (
        f"### Several instances\n\nEach is held to a quarter of a core, by {how}; 20,000 subscriptions, 4 shards.\n\n"
        + grid(["instances", "k events/s", "times one", "cores used"], rows)
    )


def growth(table):
    rows = []
    for one in table.of("growth"):
        costs = [f"{one[figure]:.2f}" for figure in ("total_us", "own_us", "broker_us", "redis_us")]
        rate = [f"{one['rate'] / 1000:.0f}", f"{one['rate'] / one['bare']:.2f}"]
        rows.append([f"{one['subscriptions']:,}", one["partitions"], *rate, *costs, f"{one['resident_mb']:.0f}", f"{one['others_cores']:.2f}"])
    if not rows:
        return ""
    events = table.of("growth")[0]["events"]
    head = ["subscriptions", "partitions", "k events/s", "of the bare client", "µs in all", "own", "broker", "Redis", "MB", "others' cores"]
    return f"### How cost grows\n\nDrains of {events:,} events, one each.\n\n{grid(head, rows)}"


def pictures(table):
    known = [name for name in DRAINS if verdicts.row_of(table, name)]
    rates, costs = [], []
    for name in known:
        row = verdicts.row_of(table, name)
        rate = table.median(row, name, "rate") / 1000
        rates.append((name, [rate], f"{rate:.0f} k/s"))
        costs.append((name, [table.median(row, name, f"{whose}_us") for whose in ("own", "broker", "redis")], f"{table.median(row, name, 'total_us'):.2f} µs"))
    found = {}
    if known:
        found["rate"] = drawings.bars("events a second, median of the rounds", [], rates)
        found["processor-time"] = drawings.bars("µs of processor an event", WHOSE, costs)
    ages = [one for one in table.of("A-live") if "p50_ms" in one]
    if ages:
        shares = [(f"{one['name']}/s, {figure}", [one[f"{figure}_ms"]], f"{one[f'{figure}_ms']:.0f} ms") for one in ages for figure in ("p50", "p90", "p99", "p999")]
        found["latency"] = drawings.bars("from append to visible in Redis", [], shares)
    if table.of("G"):
        found["instances"] = drawings.bars(
            "instances, each with a quarter of a core", [], [(f"{one['instances']}", [one["rate"]], f"{one['rate'] / 1000:.0f} k/s") for one in table.of("G")])
    for figure, fixed, usual in (("subscriptions", "partitions", 4), ("partitions", "subscriptions", 100_000)):
        points = sorted((one for one in table.of("growth") if one[fixed] == usual), key=lambda one: one[figure])
        if len(points) > 1:
            series = [[one[name] for one in points] for name in ("total_us", "own_us", "redis_us", "broker_us")]
            found[f"growth-{figure}"] = drawings.lines(
                f"µs of processor an event, by {figure}", ("in all", "processor", "Redis", "broker"), [f"{one[figure]:,}" for one in points], series)
    return found


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    with open("/proc/meminfo") as file:
        memory = int(re.search(r"\d+", file.readline()).group()) / 1024 / 1024
    linux = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} processors ({models[0] if models else platform.machine()}), {memory:.0f} GiB, Linux {linux}"


def versions():
    redis = subprocess.run(["redis-server", "--version"], text=True, capture_output=True).stdout
    java = subprocess.run(["java", "-version"], text=True, capture_output=True).stderr
    found = [re.search(pattern, text) for pattern, text in ((r"v=(\S+)", redis), (r'version "([^"]+)"', java))]
    names = [match.group(1) if match else "unknown" for match in found]
    return f"Kafka 4.1 (1 GB heap), Redis {names[0]}, Java {names[1]}"
