"""Commands: what people ask to be done to one customer's invoices and credits."""

from fractions import Fraction
from types import SimpleNamespace

from credits import Coupon, CreditNote
from fees import NO_FILTER, Line, bucket_indexes, bucket_properties
from instants import read_instant, show_instant
from invoices import Invoice, finalize, work_out
from json_text import Unreadable, canonical, read_record
from numbers_exact import read_decimal, read_price, read_whole
from records import plain_text
from usage import Malformed, read_lago


class Refused(Exception):
    """The command isn't carried out, for the reason given."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


def take_command(books, record):
    """The first record with an id decides, also when it is refused; later ones are ignored."""
    command_id = None
    try:
        command = read_command(record)
        command_id = command["command_id"]
        customer_id, found = whose(books, record, command)
        came_at = books.command_ids.get((customer_id, command_id))
        if came_at is not None and books.now <= came_at + books.settings.lateness:
            return
        books.command_ids[customer_id, command_id] = books.now
        carry_out(books, command, customer_id, found)
    except (Refused, Malformed) as refused:
        more = {} if command_id is None else {"graceline-command-id": command_id}
        books.reject("billing.rejected", record, getattr(refused, "reason", "malformed"), more)


def read_command(record):
    try:
        command = read_record(record.text)
    except Unreadable:
        raise Refused("malformed")
    if not isinstance(command, dict) or not plain_text(command.get("command_id")):
        raise Refused("malformed")
    return command


def carry_out(books, command, customer_id, found):
    name = plain_text(command.get("command"))
    if not name:
        raise Refused("malformed")
    if name not in COMMANDS:
        raise Refused("unknown_command")
    needs, act = COMMANDS[name]
    if needs == "event":
        act(books, command, customer_id)
        return
    order = act.read(command) if hasattr(act, "read") else None
    if needs == "customer":
        if not books.catalog.in_force("customer", customer_id):
            raise Refused("unknown_customer")
        act(books, customer_id, command, order)
        return
    read_name_of_invoice(command)
    if found is None:
        raise Refused("unknown_invoice" if books.catalog.in_force("customer", customer_id) else "unknown_customer")
    act(books, found, order)


def reading(reader):
    """Says how a command's members are read before anything is looked up."""
    def mark(act):
        act.read = reader
        return act
    return mark


# --- Whose, and which invoice -------------------------------------------------------------------------

def whose(books, record, command):
    """The customer, and the invoice that is named if there is one."""
    given = plain_text(command.get("external_customer_id"))
    found = named_invoice(books, command, record.key if given is None else given)
    if given is not None:
        return given, found if found and found.customer_id == given else None
    if found:
        return found.customer_id, found
    event = command.get("event")
    named = [command.get("external_subscription_id"), event.get("external_subscription_id") if isinstance(event, dict) else None]
    for subscription_id in named:
        if plain_text(subscription_id) in books.subscriptions:
            return books.subscriptions[subscription_id].customer_id, None
    return record.key, None


def read_name_of_invoice(command):
    """An invoice is named in one of three ways; anything else is malformed."""
    if command.get("invoicing_reason") is not None and plain_text(command["invoicing_reason"]) is None:
        raise Refused("malformed")
    if plain_text(command.get("invoice_id")) or plain_text(command.get("created_by")):
        return
    start = read_instant(plain_text(command.get("period_from")))
    if not plain_text(command.get("external_subscription_id")) or start is None:
        raise Refused("malformed")


def named_invoice(books, command, customer_id):
    """The invoice, or the window that will have one; None if there is neither."""
    if plain_text(command.get("invoice_id")):
        return next((invoice for invoice in books.invoices if invoice.id == command["invoice_id"]), None)
    if plain_text(command.get("created_by")):
        made = [invoice for invoice in books.invoices
                if invoice.created_by == command["created_by"] and invoice.customer_id == customer_id]
        return made[-1] if made else None
    start = read_instant(plain_text(command.get("period_from")))
    subscription = books.subscriptions.get(plain_text(command.get("external_subscription_id")))
    if subscription is None or start is None:
        return None
    opening = command.get("invoicing_reason") == "subscription_starting"
    for invoice in books.invoices:
        if invoice.window and invoice.window.subscription is subscription and invoice.window.start == start \
                and invoice.opening == opening:
            return invoice
    window = subscription.current
    if window and window.start == start and not opening:
        return SimpleNamespace(customer_id=subscription.customer_id, status="accruing", window=window, opening=False,
                               kind="subscription", created_by=None)
    return None


def need_draft(invoice):
    if invoice.status != "draft":
        raise Refused("invoice_not_draft")


def need_finalized(invoice):
    if invoice.status == "accruing":
        raise Refused("invoice_not_draft")
    if invoice.status != "finalized":
        raise Refused("invoice_not_finalized")


def amount_of(command, name):
    cents = read_whole(command.get(name))
    if cents is None or not 0 < cents:
        raise Refused("malformed")
    return cents


def retake(books, invoice):
    """A draft whose amounts stand still shows those of now from here on."""
    if books.settings.refresh == "at_finalization":
        invoice.kept = work_out(books, invoice)
    invoice.notify = True


# --- Drafts -------------------------------------------------------------------------------------------

def finalize_invoice(books, invoice, _order):
    need_draft(invoice)
    finalize(books, invoice)


def refresh_invoice(books, invoice, _order):
    need_draft(invoice)
    retake(books, invoice)


def read_fee_name(command):
    filter_values, group = command.get("filter"), command.get("grouped_by")
    if not plain_text(command.get("charge_code")):
        raise Refused("malformed")
    if not isinstance(filter_values, (dict, type(None))) or not isinstance(group, (dict, type(None))):
        raise Refused("malformed")
    return SimpleNamespace(charge_code=command["charge_code"], filter=filter_values, group=group)


def read_edit(command):
    order = read_fee_name(command)
    order.units = order.amount = None
    order.name = command.get("invoice_display_name")
    if order.name is not None and plain_text(order.name) is None:
        raise Refused("malformed")
    if command.get("units") is not None:
        order.units = read_decimal(command["units"])
        if order.units is None:
            raise Refused("malformed")
    if command.get("amount_cents") is not None:
        order.amount = read_whole(command["amount_cents"])
        if order.amount is None:
            raise Refused("malformed")
    order.changes = order.units is not None or order.amount is not None
    if (order.units is not None and order.amount is not None) or (not order.changes and order.name is None):
        raise Refused("malformed")
    return order


def fee_named(books, invoice, order):
    """The charge and the key of the fee. A filter is named by its values, a group by all of its keys."""
    if invoice.kind != "subscription" or invoice.opening:
        raise Refused("unknown_charge")
    plan = books.catalog.find("plan", invoice.window.plan_code)
    charge = next((charge for charge in plan.charges if charge.code == order.charge_code), None)
    if charge is None:
        raise Refused("unknown_charge")
    for index in bucket_indexes(charge):
        values = None if index == NO_FILTER else charge.filters[index].values
        if canonical(values) == canonical(order.filter):
            keys = bucket_properties(charge, index).group_keys
            return charge, (charge.code, index, read_group(keys, order.group))
    raise Refused("unknown_charge")


def read_group(keys, group):
    if set(keys) != set(group or {}):
        raise Refused("unknown_charge")
    if any(value is not None and plain_text(value) is None for value in (group or {}).values()):
        raise Refused("unknown_charge")
    return tuple((key, group[key]) for key in keys) if keys else None


@reading(read_edit)
def edit_fee(books, invoice, order):
    need_draft(invoice)
    charge, key = fee_named(books, invoice, order)
    if order.units is not None and charge.model in ("percentage", "dynamic"):
        raise Refused("not_supported")
    before = invoice.edits.get(key)
    if before and order.name is None:
        order.name = before.name
    if before and not order.changes:
        order.units, order.amount, order.changes = before.units, before.amount, before.changes
    invoice.edits[key] = order
    retake(books, invoice)


@reading(read_fee_name)
def reset_fee(books, invoice, order):
    need_draft(invoice)
    _charge, key = fee_named(books, invoice, order)
    if key not in invoice.edits or not invoice.edits[key].changes:
        raise Refused("not_edited")
    del invoice.edits[key]
    retake(books, invoice)


# --- Payments -----------------------------------------------------------------------------------------

def read_payment(command):
    if command.get("status") not in ("succeeded", "failed"):
        raise Refused("malformed")
    return command["status"]


@reading(read_payment)
def record_payment(books, invoice, status):
    need_finalized(invoice)
    if invoice.payment == "succeeded":
        raise Refused("already_paid")
    if invoice.payment == status:
        return
    invoice.payment = status
    if status == "succeeded" and invoice.kind == "credit":
        books.account(invoice.customer_id).wallet += invoice.credits
    clear_overdue(books, invoice, "invoice.payment_status_updated", status == "succeeded")


def lose_dispute(books, invoice, _order):
    need_finalized(invoice)
    if invoice.dispute_lost_at is not None:
        raise Refused("already_disputed")
    invoice.dispute_lost_at = books.now
    clear_overdue(books, invoice, "invoice.payment_dispute_lost", True)


def void_invoice(books, invoice, _order):
    need_finalized(invoice)
    invoice.status, invoice.voided_at = "voided", books.now
    books.account(invoice.customer_id).give_back(invoice.used)
    clear_overdue(books, invoice, "invoice.voided", True)


def clear_overdue(books, invoice, cause, clears):
    """The cause is told first; both notices show the flag as it is then."""
    was_overdue = invoice.overdue and clears
    if was_overdue:
        invoice.overdue = False
    books.announce(cause, invoice)
    if was_overdue:
        books.announce("invoice.payment_overdue_cleared", invoice)


# --- Credits ------------------------------------------------------------------------------------------

def read_coupon(command):
    rate = command.get("percentage_rate")
    cents, rate = command.get("amount_cents"), None if rate is None else read_decimal(rate)
    frequency, duration = command.get("frequency"), read_whole(command.get("frequency_duration"))
    if (cents is None) == (rate is None) or not plain_text(command.get("coupon_code")):
        raise Refused("malformed")
    if command.get("percentage_rate") is not None and (rate is None or not 0 < rate <= 100):
        raise Refused("malformed")
    if plain_text(frequency) not in ("once", "recurring", "forever"):
        raise Refused("malformed")
    if frequency == "recurring" and (duration is None or duration < 1):
        raise Refused("malformed")
    return Coupon(None if cents is None else amount_of(command, "amount_cents"), rate, frequency, duration)


@reading(read_coupon)
def apply_coupon(books, customer_id, _command, coupon):
    books.account(customer_id).coupons.append(coupon)


@reading(lambda command: amount_of(command, "credits_cents"))
def top_up(books, customer_id, _command, cents):
    books.account(customer_id).wallet += cents


@reading(lambda command: amount_of(command, "amount_cents"))
def create_credit_note(books, customer_id, _command, cents):
    books.account(customer_id).notes.append(CreditNote(cents))


# --- Invoices made at once ----------------------------------------------------------------------------

def read_one_off(command):
    fees = command.get("fees")
    if not isinstance(fees, list) or not fees:
        raise Refused("malformed")
    return [read_one_off_fee(fee) for fee in fees]


def read_one_off_fee(fee):
    if not isinstance(fee, dict) or not plain_text(fee.get("invoice_display_name")):
        raise Refused("malformed")
    name = fee["invoice_display_name"]
    if (fee.get("amount_cents") is None) == (fee.get("unit_amount_cents") is None):
        raise Refused("malformed")
    units = Fraction(1) if fee.get("units") is None and fee.get("amount_cents") is not None else read_price(fee.get("units"))
    if units is None:
        raise Refused("malformed")
    if fee.get("amount_cents") is not None:
        return Line("one_off", name, whole_cents(fee["amount_cents"]), None, units)
    price = read_price(fee["unit_amount_cents"])
    if price is None:
        raise Refused("malformed")
    return Line("one_off", name, units * price, None, units)


def whole_cents(value):
    cents = read_whole(value)
    if cents is None or cents < 0:
        raise Refused("malformed")
    return cents


@reading(read_one_off)
def create_one_off(books, customer_id, command, lines):
    make_at_once(books, "one_off", customer_id, command, lines)


@reading(lambda command: amount_of(command, "credits_cents"))
def purchase_credits(books, customer_id, command, cents):
    lines = [Line("one_off", "Prepaid credits", Fraction(cents), None)]
    make_at_once(books, "credit", customer_id, command, lines).credits = cents


def make_at_once(books, kind, customer_id, command, lines):
    invoice = books.add_invoice(Invoice(kind, None, customer_id, None, books.now))
    invoice.id = f"{customer_id}/{command['command_id']}/{show_instant(books.now)}"
    invoice.created_by, invoice.lines_given = command["command_id"], lines
    finalize(books, invoice)
    return invoice


# --- Taking usage back --------------------------------------------------------------------------------

def cancel_event(books, command, customer_id):
    if not isinstance(command.get("event"), dict) or not plain_text(command["event"].get("transaction_id")):
        raise Refused("malformed")
    named = read_lago(command["event"])
    given = plain_text(command.get("external_customer_id"))
    if given and not books.catalog.in_force("customer", customer_id):
        raise Refused("unknown_customer")
    event = books.holder((named.whose, named.identity))
    subscription = books.subscriptions.get(named.whose[1])
    if event is None or event.fate == "cancelled" or (given and subscription and subscription.customer_id != given):
        raise Refused("unknown_event")
    if event.content != named.content:
        raise Refused("content_mismatch")
    invoice = (event.carrier or event.window).invoice if event.window else None
    if invoice and invoice.status != "draft":
        raise Refused("invoice_not_draft")
    if not can_be_taken_back(books, event):
        raise Refused("not_supported")
    if event in books.parked:
        books.parked.remove(event)
    for subscription in books.subscriptions.values():
        if event in subscription.ahead:
            subscription.ahead.remove(event)
    books.settle(event, "cancelled")


def can_be_taken_back(books, event):
    metric = books.catalog.find("billable_metric", event.code)
    if metric.aggregation in ("max_agg", "latest_agg"):
        return False
    if event.carrier and event.pricing == "increment":
        charges = event.window.tariff.plan.charges
    elif event.window:
        charges = books.catalog.find("plan", (event.carrier or event.window).plan_code).charges
    else:
        subscription = books.owner_of(event)[0]
        charges = books.charges_at(subscription, event.happened_at) if subscription else []
    return not any(charge.metric_code == event.code and charge.model == "percentage" for charge in charges)


COMMANDS = {
    "invoice.finalize": ("invoice", finalize_invoice), "invoice.refresh": ("invoice", refresh_invoice),
    "invoice.void": ("invoice", void_invoice), "fee.edit": ("invoice", edit_fee), "fee.reset": ("invoice", reset_fee),
    "payment.record": ("invoice", record_payment), "payment.dispute_lost": ("invoice", lose_dispute),
    "coupon.apply": ("customer", apply_coupon), "wallet.top_up": ("customer", top_up),
    "credit_note.create": ("customer", create_credit_note), "invoice.create_one_off": ("customer", create_one_off),
    "wallet.purchase": ("customer", purchase_credits), "event.cancel": ("event", cancel_event)}
