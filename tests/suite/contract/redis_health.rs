//! The check before any shard is opened, against servers that are not as they should be.

use super::ledger_in_redis::to;
use super::redis_server::{Server, ask, ask_text};
use graceline::persist::Token;
use graceline::persist::health::{Finding, Severity, check};
use graceline::persist::settings::RedisSettings;
use redis::Value;

async fn found(settings: &RedisSettings) -> Vec<Finding> {
    check(settings, Token(7)).await
}

#[track_caller]
fn expect(findings: &[Finding], severity: Severity, part: &str) {
    let found = findings.iter().any(|finding| finding.severity == severity && finding.line.contains(part));
    assert!(found, "{part}: {findings:#?}");
}

#[tokio::test]
async fn a_good_redis_has_no_errors_and_keeps_no_trace() {
    let server = Server::durable().await;
    let findings = found(&to(&server.url())).await;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:#?}");
    assert_eq!(ask(&server.url(), &["DBSIZE"]).await, Value::Int(0));
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_named() {
    let findings = found(&to("redis://user:canary@127.0.0.1:1")).await;
    expect(&findings, Severity::Error, "can't be reached: 127.0.0.1:1: Connection refused");
    assert!(!format!("{findings:?}").contains("canary"));
}

#[tokio::test]
async fn settings_that_cant_be_used_are_named() {
    expect(&found(&to("http://127.0.0.1")).await, Severity::Error, "redis.url must be");
}

#[tokio::test]
async fn a_wrong_password_is_named_without_showing_it() {
    let server = Server::durable().await;
    ask(&server.url(), &["ACL", "SETUSER", "ledger", "on", ">right", "~*", "+@all"]).await;
    let findings = found(&to(&server.url().replace("://", "://ledger:canary@"))).await;
    expect(&findings, Severity::Error, "can't be reached");
    expect(&findings, Severity::Error, "Password authentication failed");
    assert!(!format!("{findings:?}").contains("canary"));
}

#[tokio::test]
async fn what_is_set_wrong_is_named() {
    let arguments = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--timeout", "60"];
    let server = Server::start(&arguments).await;
    let findings = found(&to(&server.url())).await;
    expect(&findings, Severity::Error, "maxmemory-policy allkeys-lru");
    expect(&findings, Severity::Warning, "appendonly no");
    expect(&findings, Severity::Warning, "timeout 60");
    let address = server.address();
    let shown = findings.iter().find(|finding| finding.line.contains("timeout 60")).unwrap().to_string();
    assert!(shown.starts_with(&format!("warning: redis {address} has timeout 60: ")), "{shown}");
}

#[tokio::test]
async fn a_replica_is_named() {
    let server = Server::durable().await;
    ask(&server.url(), &["REPLICAOF", "127.0.0.1", "1"]).await;
    let findings = found(&to(&server.url())).await;
    expect(&findings, Severity::Error, "is a replica");
    expect(&findings, Severity::Error, "READONLY");
}

#[tokio::test]
async fn a_full_redis_is_named() {
    let server = Server::durable().await;
    ask(&server.url(), &["CONFIG", "SET", "maxmemory", "1"]).await;
    expect(&found(&to(&server.url())).await, Severity::Error, "OOM");
}

/// Each right is needed, and its absence is told.
#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let server = Server::durable().await;
    let url = server.url().replace("://", "://ledger:secret@");
    for command in ["watch", "multi", "exec", "get", "getrange", "setrange", "mget", "mset", "unlink", "info"]
    {
        let without = format!("-{command}");
        ask(&server.url(), &["ACL", "SETUSER", "ledger", "reset", "on", ">secret", "~*", "+@all", &without])
            .await;
        let findings = found(&to(&url)).await;
        expect(&findings, Severity::Error, "NOPERM");
        expect(&findings, Severity::Error, &format!("'{command}'"));
    }
    ask(&server.url(), &["ACL", "SETUSER", "ledger", "reset", "on", ">secret", "~other:*", "+@all"]).await;
    expect(&found(&to(&url)).await, Severity::Error, "NOPERM");
}

#[tokio::test]
async fn a_user_without_config_is_told_what_was_not_checked() {
    let server = Server::durable().await;
    ask(&server.url(), &["ACL", "SETUSER", "ledger", "on", ">secret", "~*", "+@all", "-config"]).await;
    let findings = found(&to(&server.url().replace("://", "://ledger:secret@"))).await;
    expect(&findings, Severity::Note, "nobody checked appendfsync");
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:#?}");
    assert!(ask_text(&server.url(), &["PING"]).await.contains("PONG"));
}
