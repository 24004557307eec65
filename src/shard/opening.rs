//! The books of a shard, from the ledger: some documents are decoded while the next ones are on their way.

use std::iter::Peekable;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::world::Stop;
use crate::catalog::settings::Settings;
use crate::fail_points::point;
use crate::invoice::books::Books;
use crate::invoice::keep::{Contents, Opened, Opening, Unreadable};
use crate::persist::Ledger;

/// How many documents are asked for at once: some megabytes.
const DOCUMENTS: usize = 4_096;
/// The same of those that are large.
const LARGE_DOCUMENTS: usize = 64;

/// Some keys, and the documents under them.
type Lot = (Vec<String>, Vec<Option<Vec<u8>>>);

/// Opens the books that have these contents.
pub async fn open<L: Ledger>(
    ledger: &mut L,
    settings: &Settings,
    contents: &Contents,
) -> Result<Books, Stop> {
    let opening = Opening::begin(settings.clone(), contents).map_err(broken)?;
    let (lots, queue) = sync_channel(1);
    let decoding = thread::spawn(move || decode(opening, &queue));
    let mut keys = Books::keys(contents).peekable();
    while let Some(some) = next_keys(&mut keys) {
        let documents = ledger.read(&some).await?;
        point("K15");
        // This waits for what is quicker than what was awaited before it; so nothing is awaited whose end depends on chance.
        // Where nobody takes it any more, the end of decoding says why.
        if lots.send((some, documents)).is_err() {
            break;
        }
    }
    drop(lots);
    let opened =
        decoding.join().map_err(|_| Stop::Broken("opening the books ended in a panic".to_owned()))?;
    let mut books = opened.map_err(broken)?.finish();
    let lacked = books.lacked_by_opening();
    for (key, bytes) in lacked.iter().zip(ledger.read(&lacked).await?) {
        let bytes = bytes.ok_or_else(|| Stop::Broken(format!("document {key} is missing")))?;
        books.bring(key, Some(&bytes)).map_err(broken)?;
    }
    Ok(books)
}

/// The keys of the next lot.
fn next_keys(keys: &mut Peekable<impl Iterator<Item = String>>) -> Option<Vec<String>> {
    let are_large = is_large(keys.peek()?);
    let most = if are_large { LARGE_DOCUMENTS } else { DOCUMENTS };
    let mut some = Vec::with_capacity(most);
    while some.len() < most
        && let Some(key) = keys.next_if(|key| is_large(key) == are_large)
    {
        some.push(key);
    }
    Some(some)
}

fn is_large(key: &str) -> bool {
    key.starts_with("ids:")
}

fn decode(mut opening: Opening, lots: &Receiver<Lot>) -> Opened<Opening> {
    for (keys, documents) in lots {
        for (key, bytes) in keys.iter().zip(documents) {
            opening.take(key, bytes.as_deref())?;
        }
    }
    Ok(opening)
}

fn broken(unreadable: Unreadable) -> Stop {
    Stop::Broken(unreadable.0)
}
