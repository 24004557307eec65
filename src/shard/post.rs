//! The post: notices leave in the order of their commits, and whoever asks learns how far they are out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::fail_points::point;
use crate::publish::{self, NoticeError, NoticeLog};

/// How far the notices are out, or why they aren't.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    UpTo(u64),
    Refused(String),
}

/// As soon as so many notices are together, those of further commits wait until they are out.
const NOTICES_MAX: usize = 20_000;

/// Sends the notices of each commit in turn, those together that have come meanwhile; what nobody answers for is sent
/// again.
pub(super) async fn send_letters<N: NoticeLog>(
    log: Arc<N>,
    mut queue: mpsc::UnboundedReceiver<(u64, Vec<publish::Notice>)>,
    report: watch::Sender<Sent>,
) {
    while let Some((mut number, mut notices)) = queue.recv().await {
        while notices.len() < NOTICES_MAX
            && let Ok((next, more)) = queue.try_recv()
        {
            number = next;
            notices.extend(more);
        }
        let notices: Arc<[publish::Notice]> = notices.into();
        let mut pause = Duration::from_millis(50);
        loop {
            match log.append(notices.clone()).await {
                Ok(()) => break pass_points(&notices),
                Err(NoticeError::Unavailable(why)) => {
                    warn!(why, "Notices wait until somebody answers for them.");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                Err(refused) => {
                    let _ = report.send(Sent::Refused(refused.to_string()));
                    return;
                }
            }
        }
        if report.send(Sent::UpTo(number + 1)).is_err() {
            return;
        }
    }
}

fn pass_points(notices: &[publish::Notice]) {
    point("K20");
    if notices.iter().any(|notice| notice.topic.ends_with(".rejected")) {
        point("K28");
    }
}
