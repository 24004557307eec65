"""An invoice: its dates, its document, and how it becomes final."""

from types import SimpleNamespace

from fees import base_fee, base_line, late_lines, usage_lines
from instants import SECOND, days_long, first_instant, local_date, show_date, show_instant
from numbers_exact import round_half_up, show_decimal
from periods import LEAST_DAYS
from records import EXPONENTS
import credits

FOREVER_AGO = -(10**30)


class Invoice:
    """What is billed to a customer at once. A draft is worked out anew each time; a final one keeps its document."""

    def __init__(self, kind, reason, customer_id, window, base):
        self.kind, self.reason, self.customer_id, self.window, self.base = kind, reason, customer_id, window, base
        self.opening = reason == "subscription_starting"
        self.version, self.status, self.announced = 0, "draft", False
        self.notify, self.refresh_at = False, None
        self.document = self.sent = self.kept = None
        self.edits, self.lines_given = {}, []
        self.created_by = self.zone = self.used = None
        self.overdue_at = self.will_be_due_at = None
        self.payment, self.overdue, self.dispute_lost_at, self.voided_at = "pending", False, None, None
        self.id = None

    @classmethod
    def that_opens(cls, window):
        invoice = cls("subscription", "subscription_starting", window.subscription.customer_id, window, window.start)
        invoice.id = f"{window.subscription.id}/{show_instant(window.start)}/opening"
        return invoice

    @classmethod
    def of_window(cls, window):
        invoice = cls("subscription", window.reason, window.subscription.customer_id, window, window.end)
        invoice.id = f"{window.subscription.id}/{show_instant(window.start)}"
        return invoice

    def order(self):
        """The order at one instant."""
        subscription_id = self.window.subscription.id if self.window else ""
        start = self.window.start if self.window else FOREVER_AGO
        return self.customer_id.encode(), start, subscription_id.encode(), 0 if self.opening else 1


# --- Grace and dates ----------------------------------------------------------------------------------

def least_length(interval):
    return LEAST_DAYS[interval] * 86_400 * SECOND if isinstance(interval, str) else interval.length


def grace_of(books, invoice):
    """The customer's own, else the longest rule that holds and fits, else the entity's or the default if it fits."""
    customer, entity = books.customer(invoice.customer_id), books.entity_of(invoice.customer_id)
    if invoice.kind != "subscription" or (invoice.opening and customer.collection == "charge_automatically"):
        return days_long(0)
    if customer.grace:
        return customer.grace
    plan = books.catalog.find("plan", invoice.window.plan_code)
    holds = {"subscription_cycle": invoice.reason == "subscription_periodic",
             "metered_price": bool(plan.charges) and not invoice.opening}
    zone = books.zone_of(invoice.customer_id)

    def fits(grace):
        return grace is not None and grace.length < least_length(plan.interval)

    delays = [rule.delay for rule in entity.rules if fits(rule.delay) and all(holds[name] for name in rule.conditions)]
    if delays:
        return max(delays, key=lambda delay: delay.after(invoice.base, zone))
    return next((grace for grace in (entity.grace, books.settings.grace) if fits(grace)), days_long(0))


def finalization_instant(books, invoice):
    return grace_of(books, invoice).after(invoice.base, books.zone_of(invoice.customer_id))


# --- Lines --------------------------------------------------------------------------------------------

def currency_of(books, invoice):
    plan = books.catalog.find("plan", invoice.window.plan_code) if invoice.window else None
    customer, entity = books.customer(invoice.customer_id), books.entity_of(invoice.customer_id)
    return (plan.currency if plan else None) or customer.currency or entity.currency


def tariff_of(books, invoice):
    """The catalog now, as far as the window's prices ask for it."""
    plan = books.catalog.find("plan", invoice.window.plan_code)
    metrics = {charge.metric_code: books.catalog.find("billable_metric", charge.metric_code) for charge in plan.charges}
    return SimpleNamespace(plan=plan, metrics=metrics, exponent=EXPONENTS.get(currency_of(books, invoice), 2),
                           zone=books.zone_of(invoice.customer_id))


def fee_until(books, plan, window, end, cut):
    """The base fee of the days used, as the time zone now counts them."""
    return base_fee(plan, window, end, cut, books.zone_of(window.subscription.customer_id))


def advance_line(books, window):
    """The base fee that is paid before the window runs, as planned when it started."""
    plan = books.catalog.find("plan", window.plan_code)
    if not plan.in_advance or not plan.amount_cents:
        return None
    end, cut = window.first_planned
    return base_line(plan, window, end, fee_until(books, plan, window, end, cut))


def own_base(books, window):
    """The window's line for its own base fee, and what that fee comes to over all invoices."""
    plan = books.catalog.find("plan", window.plan_code)
    due = fee_until(books, plan, window, window.end, window.cut)
    billed = window.billed_before
    if billed is None and window.before and window.before.status == "draft" and plan.in_advance:
        line = advance_line(books, window)
        billed = (line.exact, line.amount) if line else (0, 0)
    if billed is not None:
        if not plan.amount_cents or (plan.in_advance and not window.is_cut()):
            return None, billed[1]
        line = base_line(plan, window, window.end, due - billed[1])
        line.amount = round_half_up(due) - billed[1]
        return line, round_half_up(due)
    if not plan.amount_cents:
        return None, 0
    return base_line(plan, window, window.end, due), round_half_up(due)


def lines_of(books, invoice):
    """All lines that show, in order."""
    if invoice.kind != "subscription":
        return invoice.lines_given
    window = invoice.window
    if invoice.opening:
        line = advance_line(books, window)
        return [line] if line else []
    own, fee = own_base(books, window)
    ahead = advance_line(books, window.following) if window.following else None
    lines = [line for line in (own, ahead) if line]
    lines += usage_lines(window, tariff_of(books, invoice), books.events_in(window), fee, invoice.edits).values()
    for original in books.originals_on(window):
        known, late = books.late_events(original, window)
        lines += late_lines(original, original.tariff, original.base_fee, known, late)
    return [line for line in lines if line.shown]


def show_line(line, exponent):
    start, end = line.period or (None, None)
    return {
        "type": line.kind, "charge_code": line.charge_code, "billable_metric_code": line.metric_code,
        "invoice_display_name": line.name, "filter": line.filter, "grouped_by": line.group,
        "period_from": start and show_instant(start), "period_to": end and show_instant(end),
        "units": show_decimal(line.units), "events_count": line.events, "amount_cents": line.amount,
        "precise_amount": show_decimal(line.exact / 10**exponent), "edited": line.edited}


# --- Amounts ------------------------------------------------------------------------------------------

def amounts_of(books, invoice, lines, coupons, spend):
    """The sums. `spend` takes what is owed and answers what credit notes and the wallet pay of it."""
    fees = sum(line.amount for line in lines)
    taxes = sum(credits.tax_on(line.amount, coupons, fees, tax_rate(books, invoice)) for line in lines)
    with_taxes = fees - coupons + taxes
    notes, prepaid = spend(max(0, with_taxes))
    return {
        "fees_amount_cents": fees, "coupons_amount_cents": coupons,
        "sub_total_excluding_taxes_amount_cents": fees - coupons, "taxes_amount_cents": taxes,
        "sub_total_including_taxes_amount_cents": with_taxes, "credit_notes_amount_cents": notes,
        "prepaid_credit_amount_cents": prepaid, "total_amount_cents": max(0, with_taxes) - notes - prepaid}


def tax_rate(books, invoice):
    if invoice.kind == "credit":
        return 0
    customer = books.customer(invoice.customer_id)
    codes = books.entity_of(invoice.customer_id).tax_codes if customer.tax_codes is None else customer.tax_codes
    return sum(books.catalog.find("tax", code).rate for code in codes) / 100 if codes else 0


def nothing_spent(_owed):
    return 0, 0


# --- The document -------------------------------------------------------------------------------------

def work_out(books, invoice):
    """Lines and sums of a draft, as they are now."""
    lines = lines_of(books, invoice)
    exponent = EXPONENTS.get(currency_of(books, invoice), 2)
    return [show_line(line, exponent) for line in lines], amounts_of(books, invoice, lines, 0, nothing_spent)


def document_of(books, invoice):
    """The whole document but its version. A draft's amounts stand still if that is the setting."""
    if invoice.document:
        return dict(invoice.document, **payment_fields(invoice))
    if books.settings.refresh == "at_finalization":
        if invoice.kept is None:
            invoice.kept = work_out(books, invoice)
        fees, amounts = invoice.kept
    else:
        fees, amounts = work_out(books, invoice)
    expected = finalization_instant(books, invoice)
    return build_document(books, invoice, fees, amounts, expected, expected)


def build_document(books, invoice, fees, amounts, expected, issued_at):
    customer, entity = books.customer(invoice.customer_id), books.entity_of(invoice.customer_id)
    zone, window = books.zone_of(invoice.customer_id), invoice.window
    term = next(term for term in (customer.term, entity.term, books.settings.term) if term is not None)
    issued = local_date(issued_at, zone)
    end = None if window is None else window.first_planned[0] if invoice.opening else window.end
    document = {
        "id": invoice.id, "number": None, "sequential_id": None, "status": invoice.status, "invoice_type": invoice.kind,
        "invoicing_reason": invoice.reason, "billing_entity_code": entity.key,
        "customer": {"external_id": customer.key, "name": customer.name, "timezone": books.zone_name_of(invoice.customer_id)},
        "external_subscription_id": window and window.subscription.id, "plan_code": window and window.plan_code,
        "currency": currency_of(books, invoice), "period_from": window and show_instant(window.start),
        "period_to": None if end is None else show_instant(end), "grace_period": grace_of(books, invoice).text,
        "expected_finalization_at": show_instant(expected), "finalized_at": None, "issuing_date": show_date(issued),
        "net_payment_term": term, "payment_due_date": show_date(issued + term), "fees": fees}
    return dict(document, **payment_fields(invoice), **amounts)


def payment_fields(invoice):
    return {
        "status": invoice.status, "payment_status": invoice.payment, "payment_overdue": invoice.overdue,
        "payment_dispute_lost_at": invoice.dispute_lost_at and show_instant(invoice.dispute_lost_at),
        "voided_at": invoice.voided_at and show_instant(invoice.voided_at)}


# --- Becoming final -----------------------------------------------------------------------------------

def finalize(books, invoice):
    """Seals the invoice as the catalog is now, and tells of it and of the late usage on it."""
    lines = lines_of(books, invoice)
    entity = books.entity_of(invoice.customer_id)
    expected = finalization_instant(books, invoice)
    was_draft = invoice.announced
    invoice.announced, invoice.notify, invoice.refresh_at = True, False, None
    if invoice.kind == "subscription":
        seal_window(books, invoice)
    if invoice.kind == "subscription" and not entity.finalize_zero and not sum(line.amount for line in lines):
        close_without_number(books, invoice, lines, expected)
        if was_draft:
            books.announce("invoice.updated", invoice)
    else:
        seal(books, invoice, lines, entity, expected)
        books.announce("invoice.finalized", invoice)
    if invoice.window and not invoice.opening:
        books.tell_of_late_usage(invoice)


def seal_window(books, invoice):
    window = invoice.window
    if invoice.opening:
        note_billed_before(books, window)
        return
    if window.following:
        note_billed_before(books, window.following)
    _line, window.base_fee = own_base(books, window)
    window.tariff = tariff_of(books, invoice)


def note_billed_before(books, window):
    line = advance_line(books, window)
    if line:
        window.billed_before = (line.exact, line.amount)
    elif books.catalog.find("plan", window.plan_code).in_advance:
        window.billed_before = (0, 0)


def seal(books, invoice, lines, entity, expected):
    account = books.account(invoice.customer_id)
    fees = sum(line.amount for line in lines)
    invoice.used = credits.Used()
    coupons = account.apply_coupons(fees, invoice.used) if invoice.kind == "subscription" else 0
    spend = (lambda owed: account.spend(owed, invoice.used)) if invoice.kind == "subscription" else nothing_spent
    amounts = amounts_of(books, invoice, lines, coupons, spend)
    account.credit(-min(0, amounts["sub_total_including_taxes_amount_cents"]))
    invoice.status = "finalized"
    if amounts["total_amount_cents"] == 0:
        invoice.payment = "succeeded"
    shown = [show_line(line, EXPONENTS.get(currency_of(books, invoice), 2)) for line in lines]
    document = build_document(books, invoice, shown, amounts, expected, books.now)
    document["finalized_at"] = show_instant(books.now)
    document["sequential_id"], document["number"] = books.next_number(entity, invoice.customer_id)
    invoice.document = document
    set_payment_deadlines(books, invoice, document["net_payment_term"])


def close_without_number(books, invoice, lines, expected):
    invoice.status, invoice.payment = "closed", "succeeded"
    shown = [show_line(line, EXPONENTS.get(currency_of(books, invoice), 2)) for line in lines]
    amounts = amounts_of(books, invoice, lines, 0, nothing_spent)
    document = build_document(books, invoice, shown, amounts, expected, books.now)
    document["finalized_at"], document["payment_due_date"] = show_instant(books.now), None
    invoice.document = document


def set_payment_deadlines(books, invoice, term):
    invoice.zone = books.zone_of(invoice.customer_id)
    due = local_date(books.now, invoice.zone) + term
    invoice.overdue_at = first_instant(due + 1, invoice.zone)
    days = books.settings.will_be_due_days
    if days is not None:
        instant = first_instant(due - days, invoice.zone)
        invoice.will_be_due_at = instant if instant > books.now else None
