//! Whether anybody listens where Redis should be: one that is away is waited for, one that is wrong is named.

use std::net::ToSocketAddrs;
use std::time::Duration;

use tokio::net::TcpStream;

/// Whether anybody listens at one of the addresses. What they have to say is another question.
pub(super) async fn reach(url: &str) -> Result<(), String> {
    const CONNECT_MAX: Duration = Duration::from_secs(5);
    let mut failures = Vec::new();
    for address in addresses(url) {
        let place = address.clone();
        let found = tokio::task::spawn_blocking(move || place.to_socket_addrs()).await;
        let sockets = match found {
            Ok(Ok(sockets)) => sockets.collect::<Vec<_>>(),
            Ok(Err(error)) => {
                failures.push(format!("{address}: {error}"));
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(sockets.as_slice())).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: no answer within {} s", CONNECT_MAX.as_secs())),
        }
    }
    // A socket in the file system has no address; whoever asks there gets an answer at once.
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// The `host:port`s of a URL, without the login.
fn addresses(url: &str) -> Vec<String> {
    const PORT: u16 = 6379;
    let Some((scheme, rest)) = url.split_once("://") else { return Vec::new() };
    if scheme.ends_with("unix") {
        return Vec::new();
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    let has_port = |host: &str| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = |host: &str| if has_port(host) { host.to_owned() } else { format!("{host}:{PORT}") };
    hosts.split(',').map(|host| address(host.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port_and_no_login() {
        assert_eq!(addresses("redis://u:p@a:1,b/0"), ["a:1", "b:6379"]);
        assert_eq!(addresses("rediss://[::1]:7?x=y"), ["[::1]:7"]);
        assert!(addresses("unix:///run/redis.sock").is_empty());
    }
}
