"""The page of figures and its drawings, made by the measurement and by nothing else."""
import platform
import statistics

DESCRIPTIONS = {
    "bare": "the bare client and the JSON parser, one thread, nothing kept: the ceiling",
    "bare-batch": "the same, taking up to 1000 messages at a time",
    "graceline": "exactly once, deduplicated, attributed, kept in Redis",
    "graceline-always": "the same with Redis' `appendfsync always`",
    "graceline-skewed": "the same with subscriptions by Zipf, exponent 1.1",
    "graceline-twice": "the same with 5 % duplicates",
    "streams": "Kafka Streams, exactly once, the library's own memory store at its best settings",
    "streams-packed": "the same with a store packed by hand behind the library's changelog",
    "naive-batch": "one Redis script an event, 500 in a pipeline",
    "naive-each": "one Redis script an event, one after the other",
}


class Result:
    """What the rounds of one competitor come to."""

    def __init__(self, name, runs):
        self.name, self.runs = name, runs
        self.wrong = [run.fault for run in runs if run.fault]
        self.rate = 0 if self.wrong else statistics.median(run.rate for run in runs)
        self.rates = sorted(run.rate for run in runs)
        self.own = statistics.median(run.micros(run.own) for run in runs)
        self.broker = statistics.median(run.micros(run.broker) for run in runs)
        self.redis = statistics.median(run.micros(run.redis) for run in runs)
        self.total = statistics.median(run.total_micros for run in runs)
        self.resident_mb = max(run.resident_mb for run in runs)
        self.others = max(run.others_cores for run in runs)

    def line(self, bare):
        share = f", {self.rate / bare.rate:.2f} of the bare client" if bare and bare.rate and bare is not self else ""
        return f"{self.name}: {self.total:.2f} µs an event in all, {self.rate / 1000:.0f} k/s{share}"


def write(path, results, asked, sent):
    drawings = path.parent / "drawings"
    drawings.mkdir(exist_ok=True)
    ordered = list(results.values())
    (drawings / "processor-time.svg").write_text(costs(ordered))
    (drawings / "rate.svg").write_text(rates(ordered))
    path.write_text(text(path, ordered, asked, sent))


def text(path, results, asked, sent):
    """The measured part of the page: from one mark to the other; what people wrote around it stays."""
    rows = "\n".join(
        f"| {one.name} | {one.total:.2f} | {one.own:.2f} | {one.broker:.2f} | {one.redis:.2f} | {one.rate / 1000:.0f} "
        f"({one.rates[0] / 1000:.0f}–{one.rates[-1] / 1000:.0f}) | {one.resident_mb} | {one.others:.1f} |"
        for one in results
    )
    notes = "\n".join(f"- `{one.name}`: {DESCRIPTIONS[one.name]}." for one in results)
    measured = f"""
{sent['events']:,} events of {sent['value_bytes'] // sent['events']} bytes, {sent['partitions']} partitions, 100,000
subscriptions, {sent['duplicates']:,} duplicates, {sent['out_of_order']:,} out of order; {asked.rounds} rounds, competitors in
turn; broker, Redis (`everysec`) and competitor on the same {machine()}.

| | µs of processor an event, in all | own | broker | Redis | k events/s (lowest–highest) | MB | others' cores |
|---|---|---|---|---|---|---|---|
{rows}

{notes}

![processor time](drawings/processor-time.svg)

![rate](drawings/rate.svg)
"""
    before, _, rest = path.read_text().partition("<!-- measured -->")
    _, _, after = rest.partition("<!-- end of measured -->")
    return f"{before}<!-- measured -->{measured}<!-- end of measured -->{after}"


def machine():
    with open("/proc/cpuinfo") as file:
        lines = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{len(lines)} processors ({lines[0] if lines else platform.machine()})"


BAR, GAP, LEFT, WIDTH = 22, 10, 130, 760


def costs(results):
    longest = max(one.own + one.broker + one.redis for one in results)
    bars = []
    for place, one in enumerate(results):
        x = LEFT
        for value, colour in ((one.own, "#3b6ea5"), (one.broker, "#d08c3f"), (one.redis, "#a54b3b")):
            width = value / longest * (WIDTH - LEFT - 80)
            bars.append(bar(place, x, width, colour))
            x += width
        bars.append(label(place, x + 6, f"{one.total:.2f} µs"))
    legend = "µs of processor an event: blue its own, orange the broker's, red Redis'"
    return drawing(results, bars, legend)


def rates(results):
    longest = max(one.rate for one in results) or 1
    bars = []
    for place, one in enumerate(results):
        width = one.rate / longest * (WIDTH - LEFT - 80)
        bars += [bar(place, LEFT, width, "#3b6ea5"), label(place, LEFT + width + 6, f"{one.rate / 1000:.0f} k/s")]
    return drawing(results, bars, "events a second, median of the rounds")


def bar(place, x, width, colour):
    return f'<rect x="{x:.1f}" y="{30 + place * (BAR + GAP)}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'


def label(place, x, words):
    return f'<text x="{x:.1f}" y="{46 + place * (BAR + GAP)}">{words}</text>'


def drawing(results, bars, legend):
    names = [f'<text x="0" y="{46 + place * (BAR + GAP)}">{one.name}</text>' for place, one in enumerate(results)]
    height = 40 + len(results) * (BAR + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="white"/><text x="0" y="16">{legend}</text>'
        + "".join(names + bars) + "</svg>\n"
    )
