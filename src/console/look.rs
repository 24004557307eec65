//! Finds things in the store for people who ask: by name, in any shard, without owning one.

use crate::catalog::settings::Settings;
use crate::invoice::books::Books;
use crate::invoice::document::InvoiceId;
use crate::invoice::excerpt::{
    Picked, SUBSCRIPTIONS_TOGETHER, customers_in, open_invoices_in, owner_of, register_in, subscriptions_in,
};
use crate::invoice::filing::invoice_key;
use crate::invoice::instant::Instant;
use crate::invoice::keep::{Contents, Opened};
use crate::persist::reading::Reader;
use crate::persist::redis::RedisStore;
use crate::persist::{CommitNo, LedgerError, ShardId};
use crate::shard::territory::Territory;
use crate::shard::view::View;

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    Customer(&'a str),
    Subscription(&'a str),
    /// By its id or its number.
    Invoice(&'a str),
}

/// All that is one customer's, as one commit left it.
pub struct Found {
    pub shard: ShardId,
    pub commit: CommitNo,
    /// The shard's clock.
    pub now: Instant,
    pub books: Books,
}

/// How many documents are read at once.
const CHUNK: u32 = 2_000;

/// What to tell people when the store doesn't answer.
pub(super) fn unread(error: LedgerError) -> String {
    match error {
        LedgerError::Unavailable(why) => {
            format!(
                "redis can't be read: {why}: see that it runs, and that redis.url names the right place and user"
            )
        }
        error => error.to_string(),
    }
}

/// The record of a shard; `None` if it has never had a commit.
pub async fn view(reader: &mut Reader, shard: ShardId) -> Result<Option<(CommitNo, View)>, String> {
    let seen = reader.look(&[]).await.map_err(unread)?;
    seen.record.map_or(Ok(None), |record| read_view(shard, record.commit, record.record.as_deref()))
}

fn read_view(
    shard: ShardId,
    commit: CommitNo,
    record: Option<&[u8]>,
) -> Result<Option<(CommitNo, View)>, String> {
    let Some(record) = record else { return Ok(None) };
    let view = View::read(record).map_err(|why| format!("shard {shard}: {why}"))?;
    Ok(Some((commit, view)))
}

/// How many shards there are, as the first one says that has had a commit.
pub async fn shards(store: &RedisStore, configured: u32) -> Result<Option<u32>, String> {
    for shard in (0..configured).map(ShardId) {
        if let Some((_, view)) = view(&mut store.reader(shard), shard).await? {
            return Ok(Some(view.shards));
        }
    }
    Ok(None)
}

/// Whether a shard has read from the catalog which settings are in force.
pub async fn knows_settings(store: &RedisStore, configured: u32) -> Result<bool, String> {
    for shard in (0..configured).map(ShardId) {
        let found = view(&mut store.reader(shard), shard).await?;
        if found.is_some_and(|(_, view)| view.contents.settings().is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Finds it, with all that is its customer's; `None` if no shard knows it.
pub async fn find(
    store: &RedisStore,
    configured: u32,
    settings: &Settings,
    wanted: Wanted<'_>,
) -> Result<Option<Found>, String> {
    let Some(shards) = shards(store, configured).await? else {
        return Err(
            "no shard has kept anything yet: see that a processor runs, and that redis.url and redis.prefix are its \
             own"
            .to_owned(),
        );
    };
    let home = match wanted {
        Wanted::Customer(name) => {
            let any = Territory { shard: ShardId(0), shards };
            let home = any.home_of(name.as_bytes());
            home..ShardId(home.0 + 1)
        }
        Wanted::Subscription(_) | Wanted::Invoice(_) => ShardId(0)..ShardId(shards),
    };
    for shard in (home.start.0..home.end.0).map(ShardId) {
        let mut search = Search { reader: store.reader(shard), shard };
        if let Some(found) = search.find(settings, wanted).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

struct Search {
    reader: Reader,
    shard: ShardId,
}

impl Search {
    async fn find(&mut self, settings: &Settings, wanted: Wanted<'_>) -> Result<Option<Found>, String> {
        let Some((_, view)) = view(&mut self.reader, self.shard).await? else { return Ok(None) };
        let contents = &view.contents;
        let owner = match wanted {
            Wanted::Customer(name) => self.customer(contents, name).await?,
            Wanted::Subscription(name) => self.owner_of_subscription(contents, name).await?,
            Wanted::Invoice(name) => match InvoiceId::parse(name) {
                Some(id) => self.owner_of_invoice(contents, id).await?,
                None => self.owner_of_number(contents, name).await?,
            },
        };
        match owner {
            None => Ok(None),
            Some(customer) => self.excerpt(settings, customer).await.map(Some),
        }
    }

    async fn customer(&mut self, contents: &Contents, name: &str) -> Result<Option<u32>, String> {
        let mut found = None;
        self.scan("customers", 0..contents.customer_documents(), |place, key, bytes| {
            let labels = customers_in(place, key, bytes)?;
            found = labels.iter().find(|label| label.name == name).map(|label| label.customer).or(found);
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// A name may have belonged to a subscription that never began; the last one is meant.
    async fn owner_of_subscription(
        &mut self,
        contents: &Contents,
        name: &str,
    ) -> Result<Option<u32>, String> {
        let mut found = None;
        self.scan("subscriptions", 0..contents.subscription_documents(), |_, key, bytes| {
            let labels = subscriptions_in(key, bytes)?;
            found = labels.iter().rfind(|label| label.name == name).map(|label| label.customer).or(found);
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn owner_of_invoice(&mut self, contents: &Contents, id: InvoiceId) -> Result<Option<u32>, String> {
        let key = invoice_key(id);
        let documents = self.reader.documents(std::slice::from_ref(&key)).await.map_err(unread)?;
        if let [Some(bytes)] = documents.as_slice() {
            return owner_of(&key, bytes)
                .map(|(customer, _)| Some(customer))
                .map_err(|unreadable| unreadable.0);
        }
        let mut found = None;
        self.scan("subscriptions", 0..contents.subscription_documents(), |_, key, bytes| {
            let open = open_invoices_in(key, bytes)?;
            found = open.iter().find(|(_, open)| *open == id).map(|(customer, _)| *customer).or(found);
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn owner_of_number(&mut self, contents: &Contents, number: &str) -> Result<Option<u32>, String> {
        let mut candidates = Vec::new();
        self.scan("sealed", 0..contents.register_documents(), |_, key, bytes| {
            let entries = register_in(key, bytes)?.into_iter().filter(|entry| entry.may_bear(number));
            candidates.extend(entries.filter_map(|entry| entry.id()));
            Ok(())
        })
        .await?;
        for ids in candidates.chunks(CHUNK as usize) {
            let keys: Vec<String> = ids.iter().map(|id| invoice_key(*id)).collect();
            let documents = self.reader.documents(&keys).await.map_err(unread)?;
            for (key, bytes) in keys.iter().zip(documents) {
                let Some(bytes) = bytes else { continue };
                let (customer, found) = owner_of(key, &bytes).map_err(|unreadable| unreadable.0)?;
                if found.as_deref() == Some(number) {
                    return Ok(Some(customer));
                }
            }
        }
        Ok(None)
    }

    /// Everything that is a customer's. What is added while we look is picked as well.
    async fn excerpt(&mut self, settings: &Settings, customer: u32) -> Result<Found, String> {
        const TRIES_MAX: usize = 20;
        let mut picked = Picked { customer, ..Picked::default() };
        let (mut known, mut catalog) = ((0, 0), None);
        for _ in 0..TRIES_MAX {
            let keys = catalog.as_ref().map_or(Vec::new(), |contents| picked.keys(contents));
            let seen = self.reader.look(&keys).await.map_err(unread)?;
            let Some(record) = seen.record else { break };
            let Some((commit, view)) = read_view(self.shard, record.commit, record.record.as_deref())? else {
                break;
            };
            let contents = view.contents;
            let count = (contents.people().1, contents.sealed());
            if catalog.is_some() && known == count && keys == picked.keys(&contents) {
                let documents = keys.into_iter().zip(seen.documents);
                let books = Books::excerpt(settings.clone(), &contents, &picked, documents)
                    .map_err(|unreadable| format!("shard {}: {}", self.shard, unreadable.0))?;
                let now = contents.now().unwrap_or(Instant::MIN);
                return Ok(Found { shard: self.shard, commit, now, books });
            }
            self.pick(&mut picked, &contents).await?;
            (known, catalog) = (count, Some(contents));
        }
        Err(format!("shard {} changes too fast to be looked at: try again", self.shard))
    }

    async fn pick(&mut self, picked: &mut Picked, contents: &Contents) -> Result<(), String> {
        let customer = picked.customer;
        picked.subscriptions.clear();
        picked.invoices.clear();
        self.scan("subscriptions", 0..contents.subscription_documents(), |place, key, bytes| {
            let labels = subscriptions_in(key, bytes)?;
            let numbers = (place * SUBSCRIPTIONS_TOGETHER..).zip(labels);
            let his = numbers.filter(|(_, label)| label.customer == customer).map(|(number, _)| number);
            picked.subscriptions.extend(his);
            Ok(())
        })
        .await?;
        self.scan("sealed", 0..contents.register_documents(), |_, key, bytes| {
            let entries = register_in(key, bytes)?.into_iter().filter(|entry| entry.customer() == customer);
            picked.invoices.extend(entries.filter_map(|entry| entry.id()));
            Ok(())
        })
        .await
    }

    /// Reads a stretch of documents.
    async fn scan(
        &mut self,
        kind: &str,
        numbers: std::ops::Range<u32>,
        mut see: impl FnMut(u32, &str, &[u8]) -> Opened<()>,
    ) -> Result<(), String> {
        let mut first = numbers.start;
        while first < numbers.end {
            let next = numbers.end.min(first + CHUNK);
            let keys: Vec<String> = (first..next).map(|number| format!("{kind}:{number}")).collect();
            let documents = self.reader.documents(&keys).await.map_err(unread)?;
            for ((number, key), bytes) in (first..next).zip(&keys).zip(documents) {
                if let Some(bytes) = bytes {
                    see(number, key, &bytes).map_err(|unreadable| unreadable.0)?;
                }
            }
            first = next;
        }
        Ok(())
    }
}
