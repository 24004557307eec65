//! Whose business a record is: the shard that a customer's external id hashes to.

use crate::catalog::Record;
use crate::catalog::fault::Fault;
use crate::invoice::books::Books;
use crate::invoice::command::Read;
use crate::invoice::usage::{UsageEvent, Whose};
use crate::persist::ShardId;

/// One shard among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Territory {
    pub shard: ShardId,
    pub shards: u32,
}

/// What a shard does with a catalog record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It takes it, and answers for its refusal.
    Answers,
    /// It takes it as all shards do; another one answers.
    Follows,
    /// It isn't its business but for whose it is.
    Notes,
    Ignores,
}

impl Territory {
    pub fn home_of(&self, key: &[u8]) -> ShardId {
        ShardId(partition_of(key, self.shards))
    }

    pub fn is_home_of(&self, key: &[u8]) -> bool {
        self.home_of(key) == self.shard
    }

    /// A customer's and a subscription's record is its own shard's business, all others everybody's.
    pub fn part_in(&self, key: Option<&[u8]>, record: &Result<Record, Fault>) -> Part {
        let owns =
            |customer: &str| if self.is_home_of(customer.as_bytes()) { Part::Answers } else { Part::Notes };
        match record {
            Ok(Record::Customer(customer)) => owns(&customer.external_id),
            Ok(Record::Subscription(subscription)) => owns(&subscription.customer),
            Err(_) if !self.is_home_of(key.unwrap_or_default()) => Part::Ignores,
            _ if self.is_home_of(key.unwrap_or_default()) => Part::Answers,
            _ => Part::Follows,
        }
    }

    /// The shard that usage belongs to; `None` if nobody knows yet, and it is parked where it is.
    pub fn home_of_usage(
        &self,
        event: &UsageEvent<'_>,
        books: &Books,
        directory: &Directory,
    ) -> Option<ShardId> {
        match &event.whose {
            Whose::Customer(name) => Some(self.home_of(name.as_bytes())),
            Whose::Subscription(name) => self.home_of_subscription(name, books, directory),
            Whose::Either(name) => self
                .home_of_subscription(name, books, directory)
                .or_else(|| Some(self.home_of(name.as_bytes()))),
        }
    }

    fn home_of_subscription(&self, name: &str, books: &Books, directory: &Directory) -> Option<ShardId> {
        if books.knows_subscription(name) { Some(self.shard) } else { directory.find(name) }
    }

    /// The shard that a command belongs to; what says nothing of it stays where it is.
    pub fn home_of_command(
        &self,
        command: &Read<'_>,
        books: &Books,
        directory: &Directory,
    ) -> Option<ShardId> {
        let json = command.json.as_ref()?;
        let text = |name: &str| json.get(name).and_then(crate::catalog::json::Json::as_text);
        if let Some(customer) = text("external_customer_id") {
            return Some(self.home_of(customer.as_bytes()));
        }
        let of_event = match &command.event {
            Some(Ok(UsageEvent { whose: Whose::Subscription(name), .. })) => Some(name.as_ref()),
            _ => None,
        };
        self.home_of_subscription(text("external_subscription_id").or(of_event)?, books, directory)
    }
}

/// Which shards other shards' subscriptions belong to: eight bytes of their names' hashes, and the shard.
#[derive(Default)]
pub struct Directory {
    homes: std::collections::BTreeMap<u64, ShardId>,
    new: Vec<(u64, ShardId)>,
}

impl Directory {
    pub fn find(&self, subscription: &str) -> Option<ShardId> {
        self.homes.get(&hash(subscription)).copied()
    }

    /// Notes a subscription; says whether that is news.
    pub fn note(&mut self, subscription: &str, home: ShardId) -> bool {
        let hash = hash(subscription);
        if self.homes.insert(hash, home) == Some(home) {
            return false;
        }
        self.new.push((hash, home));
        true
    }

    /// The entries since this was last asked, each as twelve bytes.
    pub fn take_new(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.new.len() * 12);
        for (hash, home) in self.new.drain(..) {
            bytes.extend_from_slice(&hash.to_be_bytes());
            bytes.extend_from_slice(&home.0.to_be_bytes());
        }
        bytes
    }

    pub fn put_back(&mut self, bytes: &[u8]) {
        for entry in bytes.as_chunks::<12>().0 {
            let hash = u64::from_be_bytes(entry[..8].try_into().expect("eight bytes"));
            let home = u32::from_be_bytes(entry[8..].try_into().expect("four bytes"));
            self.homes.insert(hash, ShardId(home));
        }
    }
}

fn hash(name: &str) -> u64 {
    siphasher::sip::SipHasher13::new_with_keys(0x7375_6273_6372_6970, 0x7469_6f6e).hash(name.as_bytes())
}

/// The partition that Java's clients choose for a key, and librdkafka with `murmur2_random`.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    for (place, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_java() {
        // From Kafka's own test of its murmur2.
        let known: [(&[u8], i32); 5] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key) as i32, hash);
        }
    }
}
