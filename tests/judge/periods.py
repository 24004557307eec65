"""Where periods end, and which share of an interval a window of them is.

A subscription lives in windows, one behind the other without a gap. A window is a period, or the part of one under one
plan. It is bound when it starts, in the time zone then in force.
"""

from datetime import date
from fractions import Fraction

from instants import first_instant, local_date

STEPS = {"daily": ("days", 1), "weekly": ("days", 7), "monthly": ("months", 1), "quarterly": ("months", 3),
         "semiannual": ("months", 6), "yearly": ("months", 12)}
LEAST_DAYS = {"daily": 1, "weekly": 7, "monthly": 28, "quarterly": 90, "semiannual": 181, "yearly": 365}


# --- Boundary dates -----------------------------------------------------------------------------------

def month_of(ordinal):
    day = date.fromordinal(ordinal)
    return day.year * 12 + day.month - 1


def day_in_month(month, day):
    """The ordinal of that day of the month, or of the month's last."""
    year, index = divmod(month, 12)
    while True:
        try:
            return date(year, index + 1, day).toordinal()
        except ValueError:
            day -= 1


def boundary(interval, origin, number):
    """The date that is so many intervals from the origin."""
    unit, size = STEPS[interval]
    if unit == "days":
        return origin + number * size
    return day_in_month(month_of(origin) + number * size, date.fromordinal(origin).day)


def origin_of(interval, billing_time, anchor):
    """A date from which all boundaries are counted."""
    if billing_time == "anniversary":
        return anchor
    unit, size = STEPS[interval]
    if unit == "days":
        return anchor - date.fromordinal(anchor).weekday() if size == 7 else anchor
    return day_in_month(month_of(anchor) // size * size, 1)


def boundaries_after(interval, billing_time, anchor, ordinal):
    """The boundary before or at the date, then all later ones in order."""
    origin = origin_of(interval, billing_time, anchor)
    unit, size = STEPS[interval]
    if unit == "days":
        number = (ordinal - origin) // size
    else:
        number = (month_of(ordinal) - month_of(origin)) // size - 1
        while boundary(interval, origin, number + 1) <= ordinal:
            number += 1
    while True:
        yield boundary(interval, origin, number)
        number += 1


# --- Windows ------------------------------------------------------------------------------------------

class Window:
    """A stretch of a subscription under one plan; from its end on it has an invoice.

    `boundary` is where its period ends if nothing cuts it; `end` is known once it is over.
    """

    def __init__(self, subscription, start, plan, zone, used, on_boundary):
        self.subscription, self.start, self.zone = subscription, start, zone
        self.used_date, self.used_instant = used    # The last boundary that was met; its instant once it was one.
        self.end = self.cut = self.reason = None
        self.invoice = self.following = None
        self.skipped = False
        self.start_date = self.used_date if on_boundary or start == subscription.started_at else local_date(start, zone)
        self.before = None              # The invoice that bills this window's base fee if that is paid in advance.
        self.billed_before = None       # What that invoice billed, once it is sealed; at once if it was too old to be made.
        self.tariff = self.base_fee = None      # As sealed with its own invoice.
        self.take_plan(plan)

    def take_plan(self, plan):
        """Bounds the window by the plan's interval."""
        self.plan_code = plan.key
        self.interval = plan.interval
        if isinstance(self.interval, str):
            self.bind_to_dates()
        else:
            length = self.interval.length
            begun = self.subscription.started_at
            self.boundary = begun + ((self.start - begun) // length + 1) * length
            self.boundary_date = self.interval_date = None

    def bind_to_dates(self):
        """The first boundary date after the one used last whose midnight is after the start."""
        subscription = self.subscription
        dates = boundaries_after(self.interval, subscription.billing_time, subscription.anchor, self.used_date)
        previous = next(dates)
        for ordinal in dates:
            self.boundary = first_instant(ordinal, self.zone)
            if self.boundary > self.start:
                break
            previous = ordinal
        self.interval_date, self.boundary_date = previous, ordinal

    def planned_end(self):
        """Where the window will end as things stand, and what ends it."""
        subscription = self.subscription
        end, cut = self.boundary, None
        if subscription.change and subscription.change.at < end:
            end, cut = subscription.change.at, "change"
        if subscription.ended_at is not None and subscription.ended_at <= end:
            end, cut = subscription.ended_at, "end"
        return end, cut

    def plan_as_begun(self):
        """Notes how far the base fee is billed ahead."""
        self.first_planned = self.planned_end()

    def is_cut(self):
        """It ended otherwise than was planned; to end at its boundary after all is no cut."""
        at_boundary = self.end == self.boundary == self.first_planned[0]
        return (self.end, self.cut) != self.first_planned and not at_boundary

    def contains(self, instant):
        return self.start <= instant < (self.planned_end()[0] if self.end is None else self.end)

    def share(self, end, cut, zone):
        """The share of the whole interval that is covered from the start to this end, by dates in the zone."""
        if self.boundary_date is None:
            return Fraction(end - self.start, self.interval.length)
        first = max(self.start_date, self.interval_date)
        if end >= self.boundary:
            behind = self.boundary_date
        elif cut == "change":
            behind = local_date(end, zone)
        else:
            behind = local_date(end - 1, zone) + 1
        behind = min(max(behind, first), self.boundary_date)
        return Fraction(behind - first, self.boundary_date - self.interval_date)

    def interval_length(self):
        """Of the whole interval, exact."""
        if self.boundary_date is None:
            return self.interval.length
        met = self.used_instant is not None and self.used_date == self.interval_date
        return self.boundary - (self.used_instant if met else first_instant(self.interval_date, self.zone))
