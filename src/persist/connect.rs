//! Finds the node that holds a shard, and speaks to it on a connection that nobody else uses.
//!
//! One way for all kinds of Redis: connect to a node we know (with Sentinel: to the master it names), and where that
//! node answers that the shard is elsewhere (a cluster's `MOVED`), go there. Nothing is retried or reconnected behind
//! the caller's back: a connection that failed is dropped, and the next claim looks again.

use super::LedgerError;
use super::settings::{RedisSettings, SettingsError};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError, ServerError, TlsCertificates, Value,
};
use std::path::Path;
use std::time::Duration;

/// The nodes we were told of, and how to speak to any node.
pub(super) struct Nodes {
    /// Nodes of Redis, or with `sentinel` the Sentinels.
    told: Vec<ConnectionInfo>,
    sentinel: Option<Sentinel>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

struct Sentinel {
    master: String,
    login: RedisConnectionInfo,
}

/// A connection of one owner to one node.
pub(super) struct Connection {
    link: MultiplexedConnection,
    /// Where it leads; also to follow a cluster's redirection, with the same login and certificates.
    to: ConnectionInfo,
    response_timeout: Duration,
}

impl Nodes {
    pub(super) fn new(settings: &RedisSettings) -> Result<Nodes, SettingsError> {
        let certificates = certificates(settings)?;
        let told = settings.urls()?.iter().map(|url| node(url, &certificates)).collect::<Result<_, _>>()?;
        let sentinel =
            settings.sentinel_master.clone().map(|master| Sentinel { master, login: login(settings) });
        Ok(Nodes {
            told,
            sentinel,
            connect_timeout: settings.connect_timeout(),
            response_timeout: settings.response_timeout(),
        })
    }

    /// Connects to the master that Sentinel names, or to the first node that answers.
    pub(super) async fn connect(&self) -> Result<Connection, LedgerError> {
        let mut failures = Vec::new();
        for told in &self.told {
            let connected = match &self.sentinel {
                None => self.connect_to(told.clone()).await,
                Some(sentinel) => self.connect_to_master(told, sentinel).await,
            };
            match connected {
                Ok(connection) => return Ok(connection),
                Err(failure) => failures.push(failure),
            }
        }
        Err(LedgerError::Unavailable(failures.join("; ")))
    }

    /// Connects to the node that another one points to, as `host:port`.
    pub(super) async fn connect_instead(
        &self,
        from: &Connection,
        place: &str,
    ) -> Result<Connection, LedgerError> {
        let elsewhere = elsewhere(&from.to, place)
            .ok_or_else(|| LedgerError::Unavailable(format!("{} points to {place:?}", from.node())))?;
        self.connect_to(elsewhere).await.map_err(LedgerError::Unavailable)
    }

    async fn connect_to_master(
        &self,
        told: &ConnectionInfo,
        sentinel: &Sentinel,
    ) -> Result<Connection, String> {
        let mut asked = self.connect_to(told.clone().set_redis_settings(sentinel.login.clone())).await?;
        let mut question = redis::pipe();
        question.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&sentinel.master);
        let answer = asked.ask(&question, 0).await.map_err(|why| why.to_string())?;
        let place = match answer.as_slice() {
            [Value::Array(place)] => place.iter().map(text_of).collect::<Option<Vec<_>>>(),
            [Value::ServerError(refused)] => return Err(asked.refused("SENTINEL", refused)),
            _ => None,
        };
        match place.as_deref() {
            Some([host, port]) => match elsewhere(told, &format!("{host}:{port}")) {
                Some(master) => self.connect_to(master).await,
                None => Err(format!("the sentinel at {} names no usable address", asked.node())),
            },
            _ => Err(format!("the sentinel at {} knows no master `{}`", asked.node(), sentinel.master)),
        }
    }

    async fn connect_to(&self, to: ConnectionInfo) -> Result<Connection, String> {
        // A response has our own time limit, which grows with the request.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(None);
        let client = Client::open(to.clone()).map_err(|why| describe(&to, &why))?;
        match client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(link) => Ok(Connection { link, to, response_timeout: self.response_timeout }),
            Err(why) => Err(describe(&to, &why)),
        }
    }
}

impl Connection {
    /// Sends all commands at once and waits for all their answers; an error of the server is an answer.
    ///
    /// An `Err` means that nobody knows which of them were carried out: the connection is of no further use.
    pub(super) async fn ask(&mut self, commands: &Pipeline, bytes: usize) -> Result<Vec<Value>, LedgerError> {
        const MIB: usize = 1 << 20;
        let limit = self.response_timeout + Duration::from_secs((bytes / MIB) as u64);
        let count = commands.len();
        let answers = tokio::time::timeout(limit, self.link.send_packed_commands(commands, 0, count)).await;
        match answers {
            Ok(Ok(answers)) if answers.len() == count => Ok(answers),
            Ok(Ok(_)) => Err(self.unavailable("answers are missing")),
            Ok(Err(why)) => Err(LedgerError::Unavailable(describe(&self.to, &why))),
            Err(_) => Err(self.unavailable(&format!("no answer within {} ms", limit.as_millis()))),
        }
    }

    /// The address of the node, for messages.
    pub(super) fn node(&self) -> String {
        self.to.addr().to_string()
    }

    pub(super) fn unavailable(&self, why: &str) -> LedgerError {
        LedgerError::Unavailable(format!("{}: {why}", self.node()))
    }

    /// One line for an error that the server answered.
    pub(super) fn refused(&self, command: &str, error: &ServerError) -> String {
        format!("{} refused {command}: {}", self.node(), error_text(error))
    }
}

/// The server's own words, cut short: some errors quote what was sent.
pub(super) fn error_text(error: &ServerError) -> String {
    const CHARS_MAX: usize = 160;
    let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
    text.trim_end().chars().take(CHARS_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// An error of the connection. Neither the address nor the error shows a password.
fn describe(to: &ConnectionInfo, why: &RedisError) -> String {
    format!("{}: {why}", to.addr())
}

pub(super) fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

fn node(url: &str, certificates: &Option<TlsCertificates>) -> Result<ConnectionInfo, SettingsError> {
    let told = url.into_connection_info().map_err(|_| SettingsError::url())?;
    let told = match (told.addr(), certificates) {
        (ConnectionAddr::TcpTls { .. }, Some(certificates)) => {
            Client::build_with_tls(told, certificates.clone())
                .map_err(|why| SettingsError::new(format!("redis.ca_file, cert_file or key_file: {why}")))?
                .get_connection_info()
                .clone()
        }
        (ConnectionAddr::TcpTls { .. }, None) => told,
        (_, Some(_)) => {
            return Err(SettingsError::new("redis.ca_file and redis.cert_file need a rediss:// url"));
        }
        (_, None) => told,
    };
    let login = told.redis_settings().clone().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    // Without this a commit waits up to 40 ms for the acknowledgement of the one before.
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(Duration::from_secs(30)));
    Ok(told.set_redis_settings(login).set_tcp_settings(tcp))
}

/// Who we are to the Sentinels.
fn login(settings: &RedisSettings) -> RedisConnectionInfo {
    let mut login =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    if let Some(username) = &settings.sentinel_username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.sentinel_password {
        login = login.set_password(password);
    }
    login
}

fn certificates(settings: &RedisSettings) -> Result<Option<TlsCertificates>, SettingsError> {
    // Fails if the program has already chosen one, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let root_cert = settings.ca_file.as_deref().map(|path| pem("redis.ca_file", path)).transpose()?;
    let client_tls = match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig {
            client_cert: pem("redis.cert_file", cert)?,
            client_key: pem("redis.key_file", key)?,
        }),
        (None, None) => None,
        _ => return Err(SettingsError::new("redis.cert_file and redis.key_file go together")),
    };
    Ok((root_cert.is_some() || client_tls.is_some()).then_some(TlsCertificates { client_tls, root_cert }))
}

fn pem(setting: &str, path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|why| SettingsError::new(format!("{setting} {}: {why}", path.display())))
}

/// The same login and certificates at another address. An empty host is the host we already speak to.
fn elsewhere(from: &ConnectionInfo, place: &str) -> Option<ConnectionInfo> {
    let (new_host, new_port) = place.rsplit_once(':')?;
    let new_port: u16 = new_port.parse().ok()?;
    let mut addr = from.addr().clone();
    match &mut addr {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            *port = new_port;
            if !new_host.is_empty() {
                *host = new_host.trim_matches(['[', ']']).to_owned();
            }
        }
        _ => return None,
    }
    Some(from.clone().set_addr(addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_elsewhere(from: &str, place: &str, expected: Option<&str>) {
        let from = node(from, &None).unwrap();
        let found = elsewhere(&from, place);
        assert_eq!(found.as_ref().map(|found| found.addr().to_string()).as_deref(), expected);
        if let Some(found) = found {
            assert_eq!(found.redis_settings().password(), from.redis_settings().password());
        }
    }

    #[test]
    fn a_redirection_keeps_login_and_encryption() {
        check_elsewhere("redis://u:p@a:1", "b:2", Some("b:2"));
        check_elsewhere("rediss://u:p@a:1", "b:2", Some("b:2"));
        check_elsewhere("redis://u:p@a:1", ":2", Some("a:2"));
        check_elsewhere("redis://u:p@a:1", "::1:2", Some("::1:2"));
        check_elsewhere("redis://u:p@a:1", "?", None);
        check_elsewhere("redis://u:p@a:1", "b:x", None);
        check_elsewhere("unix:///run/redis.sock", "b:2", None);
    }

    #[track_caller]
    fn check_refused(settings: RedisSettings, line: &str) {
        let refused = Nodes::new(&settings).err().expect("these settings can't be used").to_string();
        assert!(refused.contains(line), "{refused}");
        assert!(!refused.contains("canary"), "{refused}");
    }

    #[test]
    fn settings_that_cant_be_used_are_named_without_secrets() {
        let url = |url: &str| RedisSettings { url: url.to_owned(), ..RedisSettings::default() };
        check_refused(url("http://u:canary@a"), "redis.url must be");
        check_refused(url("u:canary@a"), "redis.url must be");
        check_refused(url("redis://u:canary@a:port"), "redis.url must be");
        let plain = RedisSettings { ca_file: Some("/nowhere/ca.pem".into()), ..url("redis://a") };
        check_refused(plain, "redis.ca_file /nowhere/ca.pem");
        let half = RedisSettings { cert_file: Some("/nowhere/cert.pem".into()), ..url("rediss://a") };
        check_refused(half, "go together");
    }
}
