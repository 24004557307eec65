//! Short digests: names of invoices, and documents condensed for comparison.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::document::{Document, InvoiceId};
use super::instant::Instant;

/// The id of a subscription's invoice: the same in every replay.
pub fn invoice_id(subscription: &str, period_from: Instant, is_opening: bool) -> InvoiceId {
    let mark = if is_opening { "opening" } else { "period" };
    name(&[mark.as_bytes(), subscription.as_bytes(), &period_from.0.to_be_bytes()])
}

/// The id of an invoice that a command made. The command's own id may be used again once it is free, so the instant
/// belongs to it.
pub fn ordered_invoice_id(customer: &str, command_id: &str, at: Instant) -> InvoiceId {
    name(&[b"command", customer.as_bytes(), command_id.as_bytes(), &at.0.to_be_bytes()])
}

/// What the last invoice that a command made is found under; no invoice bears it as its id.
pub fn last_invoice_of(customer: &str, command_id: &str) -> InvoiceId {
    name(&[b"created_by", customer.as_bytes(), command_id.as_bytes()])
}

fn name(parts: &[&[u8]]) -> InvoiceId {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part);
    }
    InvoiceId(hasher.finish128().as_u128())
}

/// What a document says, condensed; its version doesn't count.
pub fn digest_of(document: &Document) -> u64 {
    let mut text = Vec::with_capacity(1200);
    document.write_to(None, &mut text);
    let mut hasher = SipHasher13::new();
    hasher.write(&text);
    hasher.finish128().h1
}
