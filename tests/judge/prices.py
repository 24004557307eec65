"""What usage adds up to and what that costs, in exact fractions.

A reading is one event as a metric sees it: its value, when it happened, and its place in the order of arrival.
"""

from fractions import Fraction
from math import ceil, floor

from numbers_exact import FRACTION_DIGITS, Number, number_as_text, read_decimal, round_to_places


# --- Values -------------------------------------------------------------------------------------------

def as_text(value):
    """How a property counts where texts are compared; None if it isn't a text, number or boolean."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return number_as_text(value)
    return value if isinstance(value, str) else None


def value_for(metric, properties):
    """What the metric takes from an event: missing, invalid or the value."""
    if metric.aggregation == "count_agg":
        return None, Fraction(1)
    found = properties.get(metric.field)
    if found is None:
        return "missing_field", None
    value = as_text(found) if metric.aggregation == "unique_count_agg" else read_decimal(found)
    return (None, value) if value is not None else ("invalid_value", None)


# --- Aggregation --------------------------------------------------------------------------------------

def aggregate(metric, readings, window):
    """The units before rounding."""
    values = [reading.value for reading in readings]
    if metric.aggregation == "count_agg":
        return Fraction(len(values))
    if metric.aggregation == "sum_agg":
        return sum(values, Fraction(0))
    if metric.aggregation == "unique_count_agg":
        return Fraction(len(set(values)))
    if not values:
        return Fraction(0)
    if metric.aggregation == "max_agg":
        return max(values)
    if metric.aggregation == "latest_agg":
        return max(readings, key=lambda reading: (reading.happened_at, reading.order)).value
    stood = sum((reading.value * max(0, window.end - max(reading.happened_at, window.start)) for reading in readings), Fraction(0))
    return stood / window.interval_length()


def round_units(metric, units):
    scale = Fraction(10) ** metric.places
    if metric.rounding == "round":
        units = round_to_places(units, metric.places)
    elif metric.rounding == "ceil":
        units = ceil(units * scale) / scale
    elif metric.rounding == "floor":
        units = floor(units * scale) / scale
    return round_to_places(units, FRACTION_DIGITS)


# --- Charge models ------------------------------------------------------------------------------------

def price_units(model, properties, units):
    """The price of units by a model that needs nothing else, in the major unit."""
    if units < 0:
        return Fraction(0)
    if model == "standard":
        return units * properties.amount
    if model == "package":
        return max(0, ceil((units - properties.free) / properties.size)) * properties.amount
    if model == "volume":
        tier = next(tier for tier in properties.tiers if tier.top is None or units <= tier.top)
        return units * tier.price + tier.flat
    share = Fraction(1, 100) if model == "graduated_percentage" else 1
    return sum((inside * tier.price * share + tier.flat for tier, inside in tiers_reached(properties.tiers, units)), Fraction(0))


def tiers_reached(tiers, units):
    """Each tier that holds units, and how many; the first one always."""
    below = Fraction(0)
    for index, tier in enumerate(tiers):
        if index and units <= below:
            return
        top = units if tier.top is None else min(units, tier.top)
        yield tier, max(Fraction(0), top - below)
        if tier.top is None:
            return
        below = tier.top


def price_percentage(properties, metric, readings, window, units):
    """The rate on what is above the free part, the fixed fee for each event that isn't wholly in it."""
    if units < 0:
        return Fraction(0)
    free, paid_events = free_part(properties, metric, readings, window)
    return max(Fraction(0), units - free) * properties.rate / 100 + paid_events * properties.fixed


def free_part(properties, metric, readings, window):
    """The free amount that was used up in the order of arrival, and how many events it doesn't wholly cover."""
    events_left, amount = properties.free_events, properties.free_amount
    if not events_left and not amount:
        return Fraction(0), len(readings)
    in_order = sorted(readings, key=lambda reading: reading.order)
    used = total = Fraction(0)
    for count in range(len(in_order)):
        before, total = total, worth(metric, in_order[:count + 1], window)
        if events_left and count >= events_left:
            return used, len(in_order) - count
        if amount and used + total - before > amount:
            return amount, len(in_order) - count
        used += total - before
        if amount and used == amount:
            return used, len(in_order) - count - 1
    return used, 0


def worth(metric, readings, window):
    """What a free part goes by: the aggregate, of a weighted sum the plain one."""
    if metric.aggregation == "weighted_sum_agg":
        return sum((reading.value for reading in readings), Fraction(0))
    return aggregate(metric, readings, window)


def price(charge, properties, metric, readings, window, exponent):
    """Units and exact price in minor units of one bucket of a charge."""
    units = round_units(metric, aggregate(metric, readings, window))
    if charge.model == "dynamic":
        return units, Fraction(0) if units < 0 else sum((reading.precise or Fraction(0) for reading in readings), Fraction(0))
    if charge.model == "percentage":
        major = price_percentage(properties, metric, readings, window, units)
    else:
        major = price_units(charge.model, properties, units)
    return units, major * 10**exponent
