"""Instants, local dates and durations.

An instant is a count of nanoseconds since 1970 in UTC, a date is its ordinal in the calendar (year 1 starts with 1).
Nothing here knows what is billed.
"""

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND = 10**9
DAY = 86_400 * SECOND
EPOCH_ORDINAL = 719_163
LONGEST_DAYS = 36_600
NO_ZONES = ("localtime", "Factory", "posixrules")     # Files beside the zones, on some machines.

INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:(Z)|([+-])(\d\d):(\d\d))", re.ASCII)
DURATION = re.compile(r"P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?", re.ASCII)


# --- Instants as text ---------------------------------------------------------------------------------

def read_instant(text):
    """RFC 3339 with any offset; None if it isn't that."""
    found = INSTANT.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction, _, sign, away_hours, away_minutes = found.groups()[6:]
    if hour > 23 or minute > 59 or second > 59 or int(away_hours or 0) > 23 or int(away_minutes or 0) > 59:
        return None
    early = year == 0       # Python's years begin with 1; 4 is a leap year, too.
    try:
        ordinal = date(4 if early else year, month, day).toordinal() - (4 * 365 + 1 if early else 0)
    except ValueError:
        return None
    seconds = (ordinal - EPOCH_ORDINAL) * 86_400 + hour * 3600 + minute * 60 + second
    if sign:
        away = int(away_hours) * 3600 + int(away_minutes) * 60
        seconds -= away if sign == "+" else -away
    return seconds * SECOND + int((fraction or "").ljust(9, "0"))


def show_instant(instant):
    seconds, rest = divmod(instant, SECOND)
    days, seconds = divmod(seconds, 86_400)
    text = f"{show_date(days + EPOCH_ORDINAL)}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if rest:
        text += "." + f"{rest:09}".rstrip("0")
    return text + "Z"


def show_date(ordinal):
    return date.fromordinal(ordinal).isoformat()


# --- Local time ---------------------------------------------------------------------------------------

@lru_cache(maxsize=None)
def zone_named(name):
    """The time zone of that name, or None."""
    try:
        return ZoneInfo(name) if name and not name.startswith(("/", ".")) and name not in NO_ZONES else None
    except (ValueError, OSError, KeyError):
        return None


def local(instant, zone):
    """The date and the nanosecond of the day that clocks in the zone show."""
    away = datetime.fromtimestamp(instant // SECOND, zone).utcoffset()
    shown = instant + int(away.total_seconds()) * SECOND
    return shown // DAY + EPOCH_ORDINAL, shown % DAY


def local_date(instant, zone):
    return local(instant, zone)[0]


def when_clocks_show(ordinal, time_of_day, zone):
    """A time that clocks skip moves forward by the gap, one that they show twice is the first."""
    naive = datetime.fromordinal(ordinal) + timedelta(seconds=time_of_day // SECOND)
    away = naive.replace(tzinfo=zone).utcoffset()
    return (ordinal - EPOCH_ORDINAL) * DAY + time_of_day - int(away.total_seconds()) * SECOND


def first_instant(ordinal, zone):
    return when_clocks_show(ordinal, 0, zone)


def add_days(instant, days, zone):
    """Calendar days: from a date's first instant to a date's first instant, else to the same wall clock time."""
    if not days:
        return instant
    ordinal, time_of_day = local(instant, zone)
    if instant == first_instant(ordinal, zone):
        return first_instant(ordinal + days, zone)
    return when_clocks_show(ordinal + days, time_of_day, zone)


# --- Durations ----------------------------------------------------------------------------------------

class Duration:
    """Calendar days and an exact rest, and the text they were set in."""

    def __init__(self, days, exact, text):
        self.days, self.exact, self.text = days, exact, text

    @property
    def length(self):
        """Exact, a day as 24 hours."""
        return self.days * DAY + self.exact

    def after(self, instant, zone):
        return add_days(instant, self.days, zone) + self.exact


def days_long(days):
    return Duration(days, 0, f"P{days}D")


def read_duration(text):
    """ISO 8601 without years, months, fractions and signs; None if it isn't that."""
    found = DURATION.fullmatch(text) if isinstance(text, str) else None
    if not found or text[-1] in "PT":
        return None
    weeks, days, _, hours, minutes, seconds = (int(part) if part and part[0] != "T" else 0 for part in found.groups())
    exact, calendar = hours * 3600 + minutes * 60 + seconds, weeks * 7 + days
    if calendar > LONGEST_DAYS or exact // 86_400 > LONGEST_DAYS:
        return None
    date_text = "".join(f"{part}{letter}" for part, letter in ((weeks, "W"), (days, "D")) if part)
    time_text = "".join(f"{part}{letter}" for part, letter in ((hours, "H"), (minutes, "M"), (seconds, "S")) if part)
    shown = "P" + date_text + ("T" + time_text if time_text else "")
    return Duration(calendar, exact * SECOND, shown if date_text or time_text else "P0D")
