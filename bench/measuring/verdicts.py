"""What must be, what is wanted, and what was measured."""
import dataclasses
import typing


NOT_MEASURED = "not measured"


@dataclasses.dataclass
class Verdict:
    row: str
    work: str
    measured: str
    must: str
    # None where it wasn't measured, or where nothing is asked.
    holds: typing.Optional[bool]
    aim: str = ""
    reached: typing.Optional[bool] = None


def share(table, name, of="bare"):
    """A drain's rate as a share of another's."""
    rates = [table.median(row_of(table, one), one, "rate") for one in (name, of)]
    return rates[0] / rates[1] if None not in rates and rates[1] else None


def row_of(table, name):
    return next((line["row"] for line in table.all if line["name"] == name), None)


class Judge:
    """Collects verdicts on figures that have to be at least, or at most, something."""

    def __init__(self):
        self.all = []

    def at_least(self, row, work, value, must, aim=None, unit="", digits=2):
        self.judge(row, work, value, must, aim, unit, digits, "≥", lambda found, bound: found >= bound)

    def at_most(self, row, work, value, must, aim=None, unit="", digits=2):
        self.judge(row, work, value, must, aim, unit, digits, "≤", lambda found, bound: found <= bound)

    def judge(self, row, work, value, must, aim, unit, digits, sign, holds):
        def words(number):
            return f"{number * 100:.{digits}f} %" if unit == "%" else f"{number:.{digits}f}{unit}"

        def bound(number):
            return "" if number is None else f"{sign} {number * 100:g} %" if unit == "%" else f"{sign} {number:g}{unit}"

        measured = NOT_MEASURED if value is None else words(value)
        met, reached = (None if None in (value, asked) else holds(value, asked) for asked in (must, aim))
        self.all.append(Verdict(row, work, measured, bound(must), met, bound(aim), reached))


def verdicts(table):
    judge = Judge()
    drains(table, judge)
    live(table, judge)
    due(table, judge)
    standing(table, judge)
    handovers(table, judge)
    for instances, must in (("2", 1.9), ("4", 3.6)):
        judge.at_least("G", f"{instances} instances of a quarter of a core against one", table.median("G", instances, "times"), must, unit=" ×")
    return judge.all


def drains(table, judge):
    judge.at_least("A", "rate, as a share of the bare client's", share(table, "graceline"), 0.45, 0.65)
    rate = table.median("A", "graceline", "rate")
    for name, who, must, aim in (
        ("streams", "Kafka Streams", 3, None), ("streams-packed", "Kafka Streams with a hand-packed store", None, 3),
    ):
        for figure, when in (("rate", "the whole run"), ("warm", "without its first quarter")):
            if must or figure == "warm":
                other = table.median("peers", name, figure)
                times = rate / other if rate is not None and other else None
                judge.at_least("A", f"rate against {who}, {when}", times, must, aim, " ×", 1)
    naive = table.median("peers", "naive-batch", "rate")
    judge.at_least("A", "rate against a script an event in Redis", rate / naive if rate is not None and naive else None, 5, None, " ×", 1)
    judge.at_most("A", "processor, broker and Redis for a million events", table.median("A", "graceline", "total_us"), 4, 2.5, " s")
    for row, name, work, must, aim in (
        ("A'", "always", "Redis syncs each commit: share of A", 0.85, 0.95), ("B", "zipf", "subscriptions by Zipf 1.1: share of A", 1.1, None),
        ("C", "late", "10 % late: share of A", 0.9, None), ("D", "duplicates", "5 % duplicates: share of A", 0.95, None),
        ("J", "poison", "1 % can't be billed, all of it in the dead letters: share of A", 0.9, None),
    ):
        judge.at_least(row, work, share(table, name, "graceline"), must, aim)


def live(table, judge):
    for name in ("50k", "200k"):
        judge.at_most("A-live", f"{name} events/s, append to visible: half of them", table.median("A-live", name, "p50_ms"), 25, None, " ms", 0)
        judge.at_most("A-live", f"{name} events/s: 99 of 100", table.median("A-live", name, "p99_ms"), 80, 50, " ms", 0)


def due(table, judge):
    [one] = table.of("E", "drafts")[-1:] or [{}]
    drafts = f"{one.get('drafts', 1_000_000):,}"
    judge.at_most("E", f"{drafts} drafts due at one instant: all announced", table.median("E", "drafts", "all_out_s"), 10, 4, " s", 1)
    judge.at_least("E", "usage meanwhile, as a share of what comes", table.median("E", "drafts", "usage_kept"), 0.5, None, "%", 0)


def standing(table, judge):
    judge.at_most("F", "start to first event, with all that H holds", table.median("F", "start", "first_s"), 8, 3, " s", 1)
    for figure, work, must, aim in (
        ("redis_ids_mb", "Redis: a million ids", 24, 18), ("redis_drafts_mb", "Redis: a million open drafts with all documents", 600, 300),
        ("process_ids_mb", "processor: a million ids", 36, 18),
        ("process_drafts_mb", "processor: a million subscriptions with open drafts", 400, 250),
    ):
        judge.at_most("H", work, table.median("H", "bytes", figure), must, aim, " MB", 0)
    judge.at_most("I", "nothing happens: of a core", table.median("I", "idle", "core"), 0.01, None, "%", 2)
    judge.at_most("I", "nothing happens: commands to Redis a second", table.median("I", "idle", "commands"), 5, None, "", 1)


def handovers(table, judge):
    pauses = [pause for kind in ("join", "leave") for line in table.of("F'", kind) for pause in line["pauses_ms"]]
    longest = max(pauses) / 1000 if pauses else None
    judge.at_most("F'", f"planned hand-over of half the shards: the longest of {len(pauses)} pauses", longest, 1, 0.3, " s")
    judge.at_most("F'", "kill -9: back after the broker has noticed", table.median("F'", "kill", "after_detection_s"), 2, 1, " s")


def text(table):
    found = [one for one in verdicts(table) if one.measured != NOT_MEASURED]
    width = max((len(one.work) for one in found), default=0)
    return "\n".join(f"{one.row:7} {one.work:{width}}  {one.measured:>10}  {word(one)}" for one in found)


def word(one):
    """How a figure stands to what is asked of it, in a word or two."""
    if one.holds is False:
        return f"NOT {one.must}"
    asked = one.aim if one.reached or one.holds is None else one.must
    return asked if one.reached is not False or one.holds else f"not {one.aim}"
