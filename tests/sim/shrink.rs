//! Makes a history that fails smaller, as long as it still fails.

use super::history::History;
use super::sim::prove;

/// So many times it is tried to live with less.
const TRIES_MAX: usize = 300;

/// What is wrong, without what is special to one history.
fn kind(fault: &str) -> String {
    let line = fault.lines().next().unwrap_or_default();
    line.chars().filter(|letter| !letter.is_ascii_digit()).take(24).collect()
}

pub(super) fn shrink(mut history: History, fault: &str) -> History {
    let wanted = kind(fault);
    let mut tries = 0;
    let mut size = history.events.len() / 2;
    while size > 0 && tries < TRIES_MAX {
        let mut from = 0;
        let mut has_shrunk = false;
        while from < history.events.len() && tries < TRIES_MAX {
            let mut smaller = history.clone();
            smaller.events.drain(from..(from + size).min(smaller.events.len()));
            tries += 1;
            if prove(&smaller).is_err_and(|fault| kind(&fault) == wanted) {
                history = smaller;
                has_shrunk = true;
            } else {
                from += size;
            }
        }
        if !has_shrunk || size > history.events.len() {
            size = (size / 2).min(history.events.len() / 2);
        }
    }
    history
}
