//! How Redis is reached, as the operator says it. Secrets stay inside: nothing here prints them.

use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where Redis is, and how to speak to it.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis[s]://[user:password@]host[:port][,host[:port]…][/database]`, or `unix:///path`. Several hosts are nodes
    /// of one cluster, or the Sentinels. `rediss` is TLS.
    pub url: String,
    /// What every key begins with.
    pub prefix: String,
    /// The name Sentinel knows the master by. If given, the hosts of `url` are Sentinels.
    pub sentinel_master: Option<String>,
    /// Who we are to the Sentinels; the user of `url` is for Redis itself.
    pub sentinel_username: Option<String>,
    pub sentinel_password: Option<String>,
    /// Certificates (PEM) that may sign the server's; without it, those of the public authorities.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and key (PEM), where the server asks for one.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub connect_timeout_ms: u64,
    /// How long an answer may take. Large commits get more time, a second for each MiB.
    pub response_timeout_ms: u64,
}

impl Default for RedisSettings {
    fn default() -> Self {
        RedisSettings {
            url: "redis://127.0.0.1:6379".to_owned(),
            prefix: "graceline".to_owned(),
            sentinel_master: None,
            sentinel_username: None,
            sentinel_password: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            connect_timeout_ms: 2_000,
            response_timeout_ms: 5_000,
        }
    }
}

impl RedisSettings {
    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_ms)
    }

    /// A prefix with braces would move the hash tag, one with a colon or a blank would be hard to read.
    pub(super) fn check_prefix(&self) -> Result<(), SettingsError> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if self.prefix.is_empty() || !self.prefix.bytes().all(safe) {
            return Err(SettingsError::new("redis.prefix must be letters, digits, `_`, `.` or `-`"));
        }
        Ok(())
    }

    /// The addresses in `url`, each as a URL of its own.
    pub(super) fn urls(&self) -> Result<Vec<String>, SettingsError> {
        let (scheme, rest) = self.url.split_once("://").ok_or_else(SettingsError::url)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let hosts_at = authority.rfind('@').map_or(0, |at| at + 1);
        let (login, hosts) = authority.split_at(hosts_at);
        Ok(hosts.split(',').map(|host| format!("{scheme}://{login}{}{tail}", host.trim())).collect())
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("url", &without_login(&self.url))
            .field("prefix", &self.prefix)
            .field("sentinel_master", &self.sentinel_master)
            .field("sentinel_username", &self.sentinel_username.as_ref().map(|_| HIDDEN))
            .field("sentinel_password", &self.sentinel_password.as_ref().map(|_| HIDDEN))
            .field("ca_file", &self.ca_file)
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("response_timeout_ms", &self.response_timeout_ms)
            .finish()
    }
}

const HIDDEN: &str = "…";

/// The URL as it may be shown. What can't be taken apart is not shown at all.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rfind('@')) {
        (Some(_), None) => url.to_owned(),
        (Some((scheme, _)), Some(at)) if at > scheme.len() => format!("{scheme}://{HIDDEN}{}", &url[at..]),
        _ => HIDDEN.to_owned(),
    }
}

/// A setting that can't be used, in one line that says what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(String);

impl SettingsError {
    pub(super) fn new(line: impl Into<String>) -> SettingsError {
        SettingsError(line.into())
    }

    /// The URL itself is never quoted: it may hold a password.
    pub(super) fn url() -> SettingsError {
        SettingsError::new(
            "redis.url must be redis[s]://[user:password@]host[:port][,host[:port]…][/database] or unix:///path",
        )
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> RedisSettings {
        RedisSettings { url: url.to_owned(), ..RedisSettings::default() }
    }

    #[track_caller]
    fn check_urls(url: &str, expected: &[&str]) {
        assert_eq!(settings(url).urls().unwrap(), expected);
    }

    #[test]
    fn each_host_has_the_login_and_the_database() {
        check_urls("redis://a", &["redis://a"]);
        check_urls("redis://a:1,b:2/3", &["redis://a:1/3", "redis://b:2/3"]);
        check_urls("rediss://u:p,q@a:1, [::1]:2", &["rediss://u:p,q@a:1", "rediss://u:p,q@[::1]:2"]);
        check_urls("unix:///run/redis.sock?db=1", &["unix:///run/redis.sock?db=1"]);
    }

    #[test]
    fn debug_shows_no_secret() {
        for url in
            ["redis://ann:canary@a:1,b:2/0", "redis://:canary@a", "canary@a", "rediss://x:p/canary@w@a:1"]
        {
            let mut settings = settings(url);
            settings.sentinel_password = Some("canary".to_owned());
            settings.sentinel_username = Some("canary".to_owned());
            let shown = format!("{settings:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[track_caller]
    fn check_prefix(prefix: &str, usable: bool) {
        let settings = RedisSettings { prefix: prefix.to_owned(), ..RedisSettings::default() };
        assert_eq!(settings.check_prefix().is_ok(), usable, "{prefix:?}");
    }

    #[test]
    fn a_prefix_cant_move_the_hash_tag() {
        check_prefix("graceline", true);
        check_prefix("eu-1.billing_2", true);
        check_prefix("", false);
        check_prefix("a{b}", false);
        check_prefix("a:b", false);
        check_prefix("a*", false);
    }
}
