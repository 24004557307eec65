//! What is asked over HTTP: whether the process lives, whether it works, and its figures. Nothing can be changed here.
//!
//! Whoever asks slowly, at length or too often gets no answer, so that nobody can keep others from theirs for long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::invoice::write::{Object, push_display, push_text};
use crate::shard::health::{Health, State};

/// How much of them is taken at once.
const CONNECTIONS_MAX: usize = 128;

/// How long the head of a request may take, and how large it may be.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// How long a connection may last, whatever it does.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// Listens, and answers in the background. Returns where.
pub async fn serve(listen: &str, health: Arc<Health>) -> Result<SocketAddr, String> {
    let refuse = |error| {
        format!(
            "http.listen: {listen} can't be listened on ({error}): choose another address, or \"\" for none"
        )
    };
    let listener = TcpListener::bind(listen).await.map_err(refuse)?;
    let address = listener.local_addr().map_err(refuse)?;
    info!(%address, "Answers health and metrics.");
    let routes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health);
    tokio::spawn(accept(listener, routes));
    Ok(address)
}

async fn accept(listener: TcpListener, routes: Router) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let seat = seats.clone().acquire_owned().await.expect("the seats are never taken away");
        match listener.accept().await {
            Ok((stream, _)) => {
                let answered = answer(stream, routes.clone());
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(CONNECTION_TIME_MAX, answered).await;
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

/// Answers what one connection asks. How it ends is the caller's business alone.
async fn answer(stream: TcpStream, routes: Router) {
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await;
}

async fn metrics(Shared(health): Shared<Arc<Health>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], health.metrics())
}

/// 200 if this process is a member of the group and every shard it has runs, else 503; either way what keeps it, and
/// each shard.
async fn readyz(Shared(health): Shared<Arc<Health>>) -> impl IntoResponse {
    let shards = health.shards();
    let waits_for = health.waits_for();
    let is_ready = waits_for.is_none() && shards.iter().all(|(_, state)| *state == State::Running);
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    object.flag("ready", is_ready);
    object.optional("waits_for", waits_for.as_deref(), push_text);
    let list = object.member("shards");
    list.push(b'[');
    for (place, (shard, state)) in shards.iter().enumerate() {
        if place > 0 {
            list.push(b',');
        }
        let mut entry = Object::open(list);
        push_display(entry.member("shard"), shard);
        entry.text("state", state.name());
        if let State::Stopped(why) = state {
            entry.text("why", why);
        }
        entry.close();
    }
    list.push(b']');
    object.close();
    out.push(b'\n');
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], out)
}
