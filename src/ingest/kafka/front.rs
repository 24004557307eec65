//! What clients of the embedded broker talk to.
//!
//! The broker behind it knows its own library: it answers wrongly what others ask first (which requests are served), reads
//! the newer versions of some requests amiss, and wakes nobody who waits for records. So this stands before it, says which
//! versions of which requests go well, lets nothing else through, and is named in every answer as the place to go to.

mod groups;
mod walk;

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use groups::Groups;
use walk::Walk;

/// How many connections are served at once; a client has two or three.
const CONNECTIONS_MAX: usize = 512;

/// The broker keeps 5 MB of a partition, so nobody has much use for larger requests.
const REQUEST_BYTES_MAX: usize = 16 << 20;
/// All there is of many partitions may come in one answer.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// An empty fetch is answered when its time is over, whatever comes meanwhile.
const FETCH_WAIT_MAX_MS: i32 = 100;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const JOIN_GROUP: i16 = 11;
const HEARTBEAT: i16 = 12;
const API_VERSIONS: i16 = 18;

/// The requests that are served, from which version to which. All versions have the fixed layout that came before
/// "flexible" ones; of `API_VERSIONS` only the answer is made here.
const SERVED: [(i16, i16, i16); 17] = [
    (PRODUCE, 0, 8),
    (FETCH, 4, 11),
    (2, 1, 5), // ListOffsets
    (METADATA, 0, 8),
    (8, 2, 7), // OffsetCommit
    (9, 1, 5), // OffsetFetch
    (FIND_COORDINATOR, 0, 2),
    (JOIN_GROUP, 0, 5),
    (HEARTBEAT, 0, 3),
    (13, 0, 2), // LeaveGroup
    (14, 0, 3), // SyncGroup
    (API_VERSIONS, 0, 4),
    (22, 0, 1), // InitProducerId
    (24, 0, 1), // AddPartitionsToTxn
    (25, 0, 1), // AddOffsetsToTxn
    (26, 0, 1), // EndTxn
    (28, 0, 2), // TxnOffsetCommit
];

/// What is to be done with an answer.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    AsItIs,
    /// Nobody waits for it.
    Nothing,
    /// This is the answer, whatever the broker says.
    Instead(Vec<u8>),
    Produced(i16),
    Metadata(i16),
    Coordinator(i16),
}

/// The answers that are still to come, by the number that a client gave its request.
type Awaited = Mutex<HashMap<i32, Answer>>;

/// Serves all who come, until it is dropped.
pub(super) async fn serve(listener: TcpListener, broker: SocketAddr) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let groups = Arc::new(Groups::default());
    loop {
        let seat = seats.clone().acquire_owned().await.expect("the seats are never taken away");
        match listener.accept().await {
            Ok((client, peer)) => {
                let groups = groups.clone();
                tokio::spawn(async move {
                    if let Err(error) = carry(client, broker, &groups).await {
                        debug!(%peer, %error, "A connection to the embedded broker ended.");
                    }
                    drop(seat);
                });
            }
            // No descriptor is left, most likely; some will be given back.
            Err(error) => {
                warn!(%error, "A connection could not be taken.");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Carries requests and answers of one client, until it or the broker hangs up.
async fn carry(client: TcpStream, broker: SocketAddr, groups: &Groups) -> Result<()> {
    let port = client.local_addr()?.port();
    let broker = TcpStream::connect(broker).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (asks, hears) = client.into_split();
    let (answers, listens) = broker.into_split();
    let awaited = Awaited::default();
    tokio::select! {
        end = carry_requests(asks, listens, &awaited, groups) => end,
        end = carry_answers(answers, hears, &awaited, port) => end,
    }
}

async fn carry_requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    awaited: &Awaited,
    groups: &Groups,
) -> Result<()> {
    loop {
        let mut frame = read_frame(&mut from, REQUEST_BYTES_MAX).await?;
        let (number, answer) = admit(&mut frame, groups).ok_or_else(|| unserved(&frame))?;
        awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(number, answer);
        write_frame(&mut to, &frame).await?;
    }
}

async fn carry_answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    awaited: &Awaited,
    port: u16,
) -> Result<()> {
    loop {
        let mut frame = read_frame(&mut from, ANSWER_BYTES_MAX).await?;
        let number = Walk::over(&mut frame).i32().ok_or(ErrorKind::InvalidData)?;
        let answer = awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        let edited = match answer.ok_or(ErrorKind::InvalidData)? {
            Answer::AsItIs => Some(()),
            Answer::Nothing => continue,
            Answer::Instead(answer) => {
                frame = answer;
                Some(())
            }
            Answer::Produced(version) => take_times_away(&mut frame, version),
            Answer::Metadata(version) => name_brokers(&mut frame, version, port),
            Answer::Coordinator(version) => name_coordinator(&mut frame, version, port),
        };
        edited.ok_or(ErrorKind::InvalidData)?;
        write_frame(&mut to, &frame).await?;
    }
}

/// What follows a length of four bytes. Memory is taken as bytes come, not as they are announced.
async fn read_frame(from: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> Result<Vec<u8>> {
    let announced = from.read_i32().await?;
    let length = usize::try_from(announced).ok().filter(|length| *length <= bytes_max);
    let length =
        length.ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("{announced} bytes in one")))?;
    let mut frame = Vec::new();
    from.take(length as u64).read_to_end(&mut frame).await?;
    if frame.len() == length { Ok(frame) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

async fn write_frame(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> Result<()> {
    to.write_all(&(frame.len() as i32).to_be_bytes()).await?;
    to.write_all(frame).await
}

/// As a broker does, nothing is answered to a request that isn't served: the connection ends.
fn unserved(frame: &[u8]) -> Error {
    let head = &frame[..frame.len().min(4)];
    Error::new(ErrorKind::Unsupported, format!("a request that isn't served: {head:?}"))
}

/// Makes a request fit for the broker. Returns its number and what is to be done with its answer, or nothing if it isn't
/// served.
fn admit(frame: &mut Vec<u8>, groups: &Groups) -> Option<(i32, Answer)> {
    let mut walk = Walk::over(frame);
    let (api, version, number) = (walk.i16()?, walk.i16()?, walk.i32()?);
    if api == API_VERSIONS {
        ask_for_nothing(frame)?;
        return Some((number, Answer::Instead(versions(number, version))));
    }
    SERVED.iter().find(|served| served.0 == api && (served.1..=served.2).contains(&version))?;
    walk.text()?;
    let answer = match api {
        PRODUCE => {
            if version >= 3 {
                walk.text()?;
            }
            if walk.i16()? == 0 { Answer::Nothing } else { Answer::Produced(version) }
        }
        FETCH => {
            // Behind the replica's id.
            let wait_ms = walk.skip(4)?.i32()?.min(FETCH_WAIT_MAX_MS);
            walk.back(4).put(&wait_ms.to_be_bytes())?;
            Answer::AsItIs
        }
        METADATA => Answer::Metadata(version),
        FIND_COORDINATOR => Answer::Coordinator(version),
        JOIN_GROUP => {
            if groups.join(frame, version)? {
                Answer::AsItIs
            } else {
                ask_for_nothing(frame)?;
                Answer::Instead(groups::refusal(number, version))
            }
        }
        HEARTBEAT => {
            groups.hear(walk.word()?);
            Answer::AsItIs
        }
        _ => Answer::AsItIs,
    };
    Some((number, answer))
}

/// Makes it a question that the broker answers without reading it, so that the answer which takes the place of that one
/// comes in its turn.
fn ask_for_nothing(frame: &mut [u8]) -> Option<()> {
    let mut walk = Walk::over(frame);
    walk.put(&API_VERSIONS.to_be_bytes())?;
    walk.put(&0_i16.to_be_bytes())
}

/// Says which requests are served. To a version from the future, only in which versions that can be asked.
fn versions(number: i32, version: i16) -> Vec<u8> {
    const UNSUPPORTED_VERSION: i16 = 35;
    const FLEXIBLE_FROM: i16 = 3;
    let is_known =
        SERVED.iter().any(|(api, min, max)| *api == API_VERSIONS && (*min..=*max).contains(&version));
    let (error, version) = if is_known { (0, version) } else { (UNSUPPORTED_VERSION, 0) };
    let served = SERVED.iter().filter(|(api, ..)| is_known || *api == API_VERSIONS);
    let is_flexible = version >= FLEXIBLE_FROM;
    let mut frame = number.to_be_bytes().to_vec();
    frame.extend(i16::to_be_bytes(error));
    let count = served.clone().count();
    if is_flexible {
        // One more than there are, in seven bits; fewer than 127 are served.
        frame.push(count as u8 + 1);
    } else {
        frame.extend((count as i32).to_be_bytes());
    }
    for (api, min, max) in served {
        frame.extend([api, min, max].iter().flat_map(|number| number.to_be_bytes()));
        frame.extend(is_flexible.then_some(0));
    }
    if version >= 1 {
        // Nobody is slowed down.
        frame.extend(0_i32.to_be_bytes());
    }
    frame.extend(is_flexible.then_some(0));
    frame
}

/// The broker keeps no append times, and says 1234 where one belongs.
fn take_times_away(frame: &mut [u8], version: i16) -> Option<()> {
    if version < 2 {
        return Some(());
    }
    let mut walk = Walk::over(frame);
    for _ in 0..walk.skip(4)?.i32()? {
        for _ in 0..walk.text()?.i32()? {
            // Behind partition, error and offset.
            walk.skip(14)?.put(&(-1_i64).to_be_bytes())?;
            if version >= 5 {
                walk.skip(8)?;
            }
            if version >= 8 {
                // It has nothing to say of single records.
                walk.skip(4)?.text()?;
            }
        }
    }
    Some(())
}

/// The broker leads the cluster as well, which it doesn't say.
fn name_brokers(frame: &mut [u8], version: i16, port: u16) -> Option<()> {
    let mut walk = Walk::over(frame);
    let mut broker = 0_i32;
    for _ in 0..walk.skip(if version >= 3 { 8 } else { 4 })?.i32()? {
        broker = walk.i32()?;
        walk.text()?.put(&i32::from(port).to_be_bytes())?;
        if version >= 1 {
            walk.text()?;
        }
    }
    if version >= 2 {
        walk.text()?;
    }
    if version >= 1 {
        walk.put(&broker.to_be_bytes())?;
    }
    Some(())
}

fn name_coordinator(frame: &mut [u8], version: i16, port: u16) -> Option<()> {
    let mut walk = Walk::over(frame);
    walk.skip(if version >= 1 { 8 } else { 4 })?;
    if walk.i16()? != 0 {
        return Some(());
    }
    if version >= 1 {
        walk.text()?;
    }
    walk.skip(4)?.text()?.put(&i32::from(port).to_be_bytes())?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(mut frame: Vec<u8>) -> (Option<(i32, Answer)>, Vec<u8>) {
        let answer = admit(&mut frame, &Groups::default());
        (answer, frame)
    }

    #[test]
    fn a_version_from_the_future_hears_which_ones_there_are() {
        let answer = [0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
        assert_eq!(versions(7, 9), answer);
        let (asked, passed_on) = admitted(vec![0, 18, 0, 9, 0, 0, 0, 7, 0xff, 0xff, 0]);
        assert_eq!(asked, Some((7, Answer::Instead(answer.to_vec()))));
        assert_eq!(passed_on[..8], [0, 18, 0, 0, 0, 0, 0, 7]);
    }

    #[test]
    fn a_known_version_hears_what_is_served() {
        let known = versions(7, 3);
        assert_eq!(known.len(), 4 + 2 + 1 + SERVED.len() * 7 + 4 + 1);
        assert_eq!(known[..13], [0, 0, 0, 7, 0, 0, SERVED.len() as u8 + 1, 0, 0, 0, 0, 0, 8]);
        assert_eq!(versions(7, 0).len(), 4 + 2 + 4 + SERVED.len() * 6);
    }

    #[test]
    fn nobody_waits_long_for_records() {
        let request = |wait_ms: i32| {
            let mut frame = vec![0, 1, 0, 11, 0, 0, 0, 1, 0, 1, b'x', 0xff, 0xff, 0xff, 0xff];
            frame.extend(wait_ms.to_be_bytes());
            frame
        };
        assert_eq!(admitted(request(5000)), (Some((1, Answer::AsItIs)), request(100)));
        assert_eq!(admitted(request(5)), (Some((1, Answer::AsItIs)), request(5)));
    }

    #[test]
    fn answers_that_nobody_waits_for_are_kept_back() {
        let request = |acks| vec![0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, acks, 0, 0, 0, 0];
        assert_eq!(admitted(request(0)).0, Some((1, Answer::Nothing)));
        assert_eq!(admitted(request(1)).0, Some((1, Answer::Produced(7))));
    }

    #[test]
    fn what_is_cut_off_or_not_served_is_refused() {
        for request in [
            &[0, 1, 0, 11, 0, 0, 0, 1, 0, 9, b'x'][..],
            &[0, 1, 0, 12, 0, 0, 0, 1, 0, 0],
            &[0, 19, 0, 0, 0, 0, 0, 1, 0, 0],
            &[0, 18, 0],
            &[],
        ] {
            assert_eq!(admitted(request.to_vec()).0, None, "{request:?}");
        }
    }
}
