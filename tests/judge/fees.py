"""The lines of an invoice, worked out anew from its events each time.

Amounts are in minor units: `exact` is a fraction, `amount` its one rounding. A tariff is the catalog as far as prices ask
for it: plan, metrics, exponent of the currency, time zone. An invoice that isn't sealed has that of now, a sealed one its own.
"""

from fractions import Fraction
from types import SimpleNamespace

from numbers_exact import round_half_up
from prices import as_text, price, price_units, value_for

NO_FILTER = -1


class Line:
    """One fee."""

    def __init__(self, kind, name, exact, period, units=Fraction(1), events=0, shown=True, charge=None, part=None, edited=False):
        self.kind, self.name, self.exact, self.amount = kind, name, Fraction(exact), round_half_up(Fraction(exact))
        self.period, self.units, self.events, self.shown, self.edited = period, units, events, shown, edited
        self.charge_code = charge.code if charge else None
        self.metric_code = charge.metric_code if charge else None
        self.filter, self.group = part or (None, None)


# --- Usage of one period ------------------------------------------------------------------------------

def usage_lines(window, tariff, events, base_fee, edits):
    """Every line that usage can make, shown or not, by its place in the order."""
    share = window.share(window.end, window.cut, tariff.zone)
    period = (window.start, window.end)
    lines, paid = {}, base_fee
    for place, charge in enumerate(tariff.plan.charges):
        own = charge_lines(window, tariff, charge, events, edits)
        for key, line in own.items():
            lines[(place, 0, key)] = line
        reached = sum(line.amount for line in own.values())
        missing = up_to(charge.minimum_cents, share, reached)
        lines[(place, 1)] = Line("commitment", charge_name(tariff, charge), missing, period, shown=missing != 0, charge=charge)
        paid += reached + missing
    missing = up_to(tariff.plan.commitment_cents, share, paid)
    lines[("plan",)] = Line("commitment", tariff.plan.name, missing, period, shown=missing != 0)
    return lines


def up_to(minimum, share, reached):
    """What is missing to a share of a minimum; none is asked for if the whole is 0."""
    return max(0, round_half_up(minimum * share) - reached) if minimum else 0


def charge_lines(window, tariff, charge, events, edits):
    metric = tariff.metrics[charge.metric_code]
    buckets = {(index, None): [] for index in bucket_indexes(charge) if not bucket_properties(charge, index).group_keys}
    for edited_charge, *bucket in edits:
        if edited_charge == charge.code:
            buckets.setdefault(tuple(bucket), [])
    for event in events:
        if event.code == charge.metric_code and event.attributed > charge.added:
            reading = SimpleNamespace(value=value_for(metric, event.properties)[1], happened_at=event.happened_at,
                                      order=event.order, precise=event.precise)
            buckets.setdefault(bucket_of(charge, event.properties), []).append(reading)
    lines = {}
    for bucket in sorted(buckets, key=in_order):
        edit = edits.get((charge.code, *bucket))
        lines[bucket] = bucket_line(window, tariff, charge, metric, bucket, buckets[bucket], edit)
    return lines


def bucket_line(window, tariff, charge, metric, bucket, readings, edit):
    index, group = bucket
    properties = bucket_properties(charge, index)
    units, exact = price(charge, properties, metric, readings, window, tariff.exponent)
    name = charge_name(tariff, charge)
    values = None
    if index != NO_FILTER:
        values, name = charge.filters[index].values, charge.filters[index].name or name
    if edit and edit.units is not None:
        units, exact = edit.units, price_units(charge.model, properties, edit.units) * 10**tariff.exponent
    if edit and edit.amount is not None:
        exact = Fraction(edit.amount)
    if edit and edit.name is not None:
        name = edit.name
    edited = bool(edit) and edit.changes
    shown = edited or bool(readings) or units != 0 or round_half_up(exact) != 0
    return Line("charge", name, exact, (window.start, window.end), units, len(readings), shown, charge,
                (values, None if group is None else dict(group)), edited)


def charge_name(tariff, charge):
    return charge.name or tariff.metrics[charge.metric_code].name


# --- Buckets: filters and groups ----------------------------------------------------------------------

def bucket_indexes(charge):
    return [NO_FILTER, *range(len(charge.filters))]


def bucket_properties(charge, index):
    return charge.properties if index == NO_FILTER else charge.filters[index].properties


def bucket_of(charge, properties):
    """The filter with the most keys that all match, ties to the first, and the group within it."""
    index, most = NO_FILTER, 0
    for place, part in enumerate(charge.filters):
        matches = all(as_text(properties.get(key)) in values for key, values in part.values.items())
        if matches and len(part.values) > most:
            index, most = place, len(part.values)
    keys = bucket_properties(charge, index).group_keys
    return index, group_of(keys, properties) if keys else None


def group_of(keys, properties):
    return tuple((key, as_text(properties.get(key))) for key in keys)


def in_order(bucket):
    index, group = bucket
    return index, [(value is not None, value or "") for _, value in group or ()]


# --- Late usage ---------------------------------------------------------------------------------------

def late_lines(original, tariff, base_fee, known, late):
    """What late events add to a sealed period, line by line."""
    before = usage_lines(original, tariff, known, base_fee, {})
    after = usage_lines(original, tariff, known + late, base_fee, {})
    for key in sorted(after, key=place_in_order):
        line, old = after[key], before.get(key)
        if old:
            line.units -= old.units
            line.exact -= old.exact
            line.amount -= old.amount
            line.events -= old.events
        if line.kind == "commitment":
            line.units = Fraction(1)
            line.shown = line.amount != 0
        else:
            line.kind, line.shown = "late_usage", line.events > 0
        yield line


def place_in_order(key):
    if key == ("plan",):
        return (1,)
    place, kind, *bucket = key
    return (0, place, kind, in_order(bucket[0]) if bucket else ())


# --- Base fee -----------------------------------------------------------------------------------------

def base_fee(plan, window, end, cut, zone):
    return plan.amount_cents * window.share(end, cut, zone)


def base_line(plan, window, end, exact):
    return Line("subscription", plan.name, exact, (window.start, end))
