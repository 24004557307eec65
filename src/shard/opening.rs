//! The books of a shard, from the ledger: some documents are decoded while the next ones are on their way.

use std::thread::{self, JoinHandle};

use super::world::Stop;
use crate::catalog::settings::Settings;
use crate::fail_points::point;
use crate::invoice::books::Books;
use crate::invoice::keep::{Contents, Opened, Opening, Unreadable};
use crate::persist::Ledger;

/// How many documents are asked for at once.
const DOCUMENTS: usize = 16_384;

/// Opens the books that have these contents.
pub async fn open<L: Ledger>(
    ledger: &mut L,
    settings: &Settings,
    contents: &Contents,
) -> Result<Books, Stop> {
    let opening = Opening::begin(settings.clone(), contents).map_err(broken)?;
    let mut decoding = thread::spawn(move || Ok(opening));
    for keys in Books::keys(contents).chunks(DOCUMENTS) {
        let documents = ledger.read(keys).await?;
        point("K15");
        let mut opening = decoded(decoding)?;
        let keys = keys.to_vec();
        decoding = thread::spawn(move || {
            for (key, bytes) in keys.iter().zip(documents) {
                opening.take(key, bytes.as_deref())?;
            }
            Ok(opening)
        });
    }
    let mut books = decoded(decoding)?.finish();
    let lacked = books.lacked_by_opening();
    for (key, bytes) in lacked.iter().zip(ledger.read(&lacked).await?) {
        let bytes = bytes.ok_or_else(|| Stop::Broken(format!("document {key} is missing")))?;
        books.bring(key, Some(&bytes)).map_err(broken)?;
    }
    Ok(books)
}

/// Waits for what is quicker than what was awaited before it; so nothing is awaited whose end depends on chance.
fn decoded(decoding: JoinHandle<Opened<Opening>>) -> Result<Opening, Stop> {
    let opening =
        decoding.join().map_err(|_| Stop::Broken("opening the books ended in a panic".to_owned()))?;
    opening.map_err(broken)
}

fn broken(unreadable: Unreadable) -> Stop {
    Stop::Broken(unreadable.0)
}
