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
    let mut text = Vec::with_capacity(2000);
    document.write_to(None, &mut text);
    condensed(&[&text])
}

/// Appends a document as its webhook has it, and condenses what it says.
pub fn write_and_digest(document: &Document, version: u32, out: &mut Vec<u8>) -> u64 {
    let from = out.len();
    let version = document.write_to(Some(version), out);
    condensed(&[&out[from..version.start], &out[version.end..]])
}

/// Parts of a text are condensed like the whole.
fn condensed(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write(part);
    }
    hasher.finish128().h1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_text_is_cut_makes_no_difference() {
        let text: Vec<u8> = (0..100).collect();
        for cut in 0..text.len() {
            let (head, rest) = text.split_at(cut);
            assert_eq!(condensed(&[head, rest]), condensed(&[&text]), "cut at {cut}");
        }
    }
}
