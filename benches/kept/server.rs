//! A Redis of our own, and what it says of its memory.

use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// It is gone with its owner.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    pub(crate) fn start() -> Server {
        let folder = std::env::temp_dir().join(format!("graceline-kept-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(folder.join("redis.sock"))
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is in the PATH");
        Server { child, folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.folder.join("redis.sock").display())
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("the address is sound");
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        for _ in 0..500 {
            if let Ok(connection) = client.get_multiplexed_async_connection_with_config(&config).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server doesn't answer");
    }

    /// The bytes that it holds for everything.
    pub(crate) async fn used(&self) -> u64 {
        let mut connection = self.connection().await;
        // What the last commit was written into is given back a little later.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let text: String =
            redis::cmd("INFO").arg("memory").query_async(&mut connection).await.expect("INFO is answered");
        let line = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
        line.and_then(|text| text.trim().parse().ok()).expect("INFO says how much is used")
    }

    /// Keys and bytes of each kind of document.
    pub(crate) async fn kinds(&self) -> Vec<(String, u64, u64)> {
        let mut connection = self.connection().await;
        let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut cursor = 0u64;
        loop {
            let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("COUNT")
                .arg(10_000)
                .query_async(&mut connection)
                .await
                .expect("SCAN is answered");
            let mut sizes = redis::pipe();
            for key in &keys {
                sizes.cmd("MEMORY").arg("USAGE").arg(key);
            }
            let sizes: Vec<u64> = sizes.query_async(&mut connection).await.expect("MEMORY USAGE is answered");
            for (key, size) in keys.iter().zip(sizes) {
                let kind = key.rsplit_once("}:").map_or(key.as_str(), |(_, document)| document);
                let kind = kind.split(':').next().unwrap_or(kind);
                let entry = kinds.entry(kind.to_owned()).or_default();
                *entry = (entry.0 + 1, entry.1 + size);
            }
            cursor = next;
            if cursor == 0 {
                return kinds.into_iter().map(|(kind, (keys, bytes))| (kind, keys, bytes)).collect();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
