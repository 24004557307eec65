"""Exact decimals: how they are read, rounded and shown."""

import re
from fractions import Fraction

DECIMAL_TEXT = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
JSON_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", re.ASCII)

LONGEST_TEXT = 64
LONGEST = 2**127
INTEGER_DIGITS = 15
PRICE_INTEGER_DIGITS = 12
FRACTION_DIGITS = 12


class Number(str):
    """A JSON number as it was written."""


def normal(text):
    """Sign, digits without zeros at either end, and the exponent of the last one: equal for equal values."""
    sign, whole, fraction, exponent = JSON_NUMBER.fullmatch(text).groups()
    digits = (whole + (fraction or "")).lstrip("0")
    power = int(exponent or 0) - len(fraction or "")
    kept = digits.rstrip("0")
    if not kept:
        return "", "", 0
    return sign, kept, power + len(digits) - len(kept)


def read_decimal(value, integer_digits=INTEGER_DIGITS):
    """A decimal text or JSON number in range, as a fraction; None if it isn't that."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        return None
    if not isinstance(value, Number) and not DECIMAL_TEXT.fullmatch(value):
        return None
    sign, digits, power = normal(value)
    if -power > FRACTION_DIGITS or len(digits) + power > integer_digits:
        return None
    amount = Fraction(int(digits or "0")) * Fraction(10) ** power
    return -amount if sign else amount


def read_price(value):
    """A price or rate: not negative, with up to 12 integer digits."""
    price = read_decimal(value, PRICE_INTEGER_DIGITS)
    return None if price is None or price < 0 else price


def read_whole(value):
    """A JSON number that is an integer, however it is written."""
    if not isinstance(value, Number):
        return None
    if re.fullmatch(r"-?\d+", value, re.ASCII):
        return int(value) if len(value) < 40 and -LONGEST <= int(value) < LONGEST else None
    amount = read_decimal(value)
    return int(amount) if amount is not None and amount.denominator == 1 else None


def round_half_up(amount):
    """To an integer, halves away from zero."""
    rounded = (2 * abs(amount.numerator) + amount.denominator) // (2 * amount.denominator)
    return -rounded if amount < 0 else rounded


def round_to_places(amount, places):
    scale = Fraction(10) ** places
    return Fraction(round_half_up(Fraction(amount) * scale)) / scale


def show_decimal(amount):
    """Plain decimal with at most 12 places, no zeros at the end."""
    scaled = round_half_up(Fraction(amount) * 10**FRACTION_DIGITS)
    whole, rest = divmod(abs(scaled), 10**FRACTION_DIGITS)
    text = str(whole)
    if rest:
        text += "." + f"{rest:0{FRACTION_DIGITS}}".rstrip("0")
    return "-" + text if scaled < 0 else text


def number_as_text(number):
    """A JSON number in plain decimal, so that 5, 5.0 and 5e0 are one text."""
    sign, digits, power = normal(number)
    if power > 400 or power < -400:
        return f"{sign}{digits}e{power}"
    if not digits:
        return "0"
    if power >= 0:
        return sign + digits + "0" * power
    digits = digits.rjust(-power + 1, "0")
    return f"{sign}{digits[:power]}.{digits[power:]}"
