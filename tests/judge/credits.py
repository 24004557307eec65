"""What a customer has to set against invoices: coupons, credit notes, the wallet."""

from fractions import Fraction

from numbers_exact import round_half_up


class Coupon:
    """`left` is what remains of an amount that is used up once, `uses` how many invoices it still counts on."""

    def __init__(self, cents, rate, frequency, duration):
        self.cents, self.rate = cents, rate
        self.left = cents if frequency == "once" and cents is not None else None
        self.uses = {"once": 1 if rate is not None else None, "recurring": duration, "forever": None}[frequency]

    def worth(self, open_cents):
        if self.uses == 0:
            return 0
        if self.rate is not None:
            return min(open_cents, round_half_up(open_cents * self.rate / 100))
        return min(open_cents, self.cents if self.left is None else self.left)

    def take(self, cents, uses):
        if self.left is not None:
            self.left -= cents
        if self.uses is not None:
            self.uses -= uses


class CreditNote:
    def __init__(self, cents):
        self.left = cents


class Used:
    """What one invoice took, to be given back if it is voided."""

    def __init__(self):
        self.coupons, self.notes, self.wallet = [], [], 0


class Account:
    """One customer's coupons and credits, oldest first."""

    def __init__(self):
        self.coupons, self.notes, self.wallet = [], [], 0

    def apply_coupons(self, fees, used):
        """What coupons take off a positive sum of fees."""
        open_cents = max(0, fees)
        for coupon in self.coupons:
            worth = coupon.worth(open_cents)
            if worth > 0:
                coupon.take(worth, 1)
                used.coupons.append((coupon, worth))
                open_cents -= worth
        return max(0, fees) - open_cents

    def spend(self, owed, used):
        """What credit notes, then the wallet pay."""
        left = owed
        for note in self.notes:
            paid = min(left, note.left)
            if paid:
                note.left -= paid
                used.notes.append((note, paid))
                left -= paid
        used.wallet = min(left, self.wallet)
        self.wallet -= used.wallet
        return owed - left, used.wallet

    def credit(self, cents):
        if cents:
            self.notes.append(CreditNote(cents))

    def give_back(self, used):
        for coupon, worth in used.coupons:
            coupon.take(-worth, -1)
        for note, paid in used.notes:
            note.left += paid
        self.wallet += used.wallet


def tax_on(amount, coupons, fees, rate):
    """The tax on one fee, less its share of the coupons."""
    share = Fraction(coupons * amount, fees) if coupons else 0
    return round_half_up(Fraction((amount - share) * rate))
