//! What is asked over HTTP: whether the process lives, whether it works, and its figures. Nothing can be changed here.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::get;
use tracing::info;

use crate::invoice::document::{Object, push_text};
use crate::shard::health::{Health, State};

/// Listens, and answers in the background.
pub async fn serve(listen: &str, health: Arc<Health>) -> Result<(), String> {
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| {
        format!(
            "http.listen: {listen} can't be listened on ({error}): choose another address, or \"\" for none"
        )
    })?;
    info!(listen, "Answers health and metrics.");
    let routes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(async |Shared(health): Shared<Arc<Health>>| health.metrics()))
        .with_state(health);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(())
}

/// 200 if every shard of this process runs, else 503; either way each shard and what keeps it.
async fn readyz(Shared(health): Shared<Arc<Health>>) -> (StatusCode, String) {
    let shards = health.shards();
    let is_ready = shards.iter().all(|(_, state)| *state == State::Running);
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    object.flag("ready", is_ready);
    let list = object.member("shards");
    list.push(b'[');
    for (place, (shard, state)) in shards.iter().enumerate() {
        if place > 0 {
            list.push(b',');
        }
        let mut entry = Object::open(list);
        entry.number("shard", shard);
        match state {
            State::Opening => entry.text("state", "opening"),
            State::Running => entry.text("state", "running"),
            State::Stopped(why) => {
                entry.text("state", "stopped");
                push_text(entry.member("why"), why);
            }
        }
        entry.close();
    }
    list.push(b']');
    object.close();
    out.push(b'\n');
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, String::from_utf8_lossy(&out).into_owned())
}
