//! A stretch of network between the processors and a server, as bad as a test wants it.

use super::clock::pause_ms;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Takes connections and carries what is said over them, both ways. Dropping it ends them all.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    weather: Arc<Weather>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    There,
    Back,
}

#[derive(Default)]
struct Weather {
    target: Mutex<String>,
    /// Connections are counted.
    count: AtomicU64,
    /// Those below are ended.
    cut_below: AtomicU64,
    /// Over those below nothing comes any more, and nobody is told.
    dead_below: AtomicU64,
    holds_there: AtomicBool,
    holds_back: AtomicBool,
    delay_ms: AtomicU64,
    is_over: AtomicBool,
}

const LOOK_EVERY_MS: u64 = 10;

impl Proxy {
    pub(super) fn start() -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("a listener can be asked");
        let address = listener.local_addr().expect("it has an address");
        let weather = Arc::<Weather>::default();
        let seen = weather.clone();
        thread::spawn(move || seen.receive(&listener));
        Proxy { address, weather }
    }

    pub(super) fn lead_to(&self, target: &str) {
        *self.weather.target.lock().unwrap_or_else(PoisonError::into_inner) = target.to_owned();
    }

    /// What is said takes so long, each way.
    pub(super) fn delay(&self, ms: u64) {
        self.weather.delay_ms.store(ms, Ordering::Relaxed);
    }

    /// What is said one way gets lost for a while: its sender tries again and again, and everything comes in the end.
    pub(super) fn hold(&self, way: Way, is_held: bool) {
        let holds = match way {
            Way::There => &self.weather.holds_there,
            Way::Back => &self.weather.holds_back,
        };
        holds.store(is_held, Ordering::Relaxed);
    }

    /// Ends every connection there is.
    pub(super) fn cut(&self) {
        self.weather.cut_below.store(self.weather.count.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Lets every connection there is fall silent for good, without a word to either end.
    pub(super) fn silence(&self) {
        self.weather.dead_below.store(self.weather.count.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.weather.is_over.store(true, Ordering::Relaxed);
    }
}

impl Weather {
    fn receive(self: &Arc<Weather>, listener: &TcpListener) {
        while !self.is_over.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((client, _)) => self.connect(client),
                Err(_) => pause_ms(LOOK_EVERY_MS),
            }
        }
    }

    fn connect(self: &Arc<Weather>, client: TcpStream) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Where nobody is, the client's connection ends as well.
        let Ok(server) = TcpStream::connect(target) else { return };
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let again = |stream: &TcpStream| stream.try_clone().expect("a connection has two ends");
        for (from, to, way) in
            [(again(&client), again(&server), Way::There), (again(&server), again(&client), Way::Back)]
        {
            let weather = self.clone();
            thread::spawn(move || weather.carry(from, to, way, number));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, way: Way, number: u64) {
        let patience = Some(Duration::from_millis(LOOK_EVERY_MS));
        let _ = (from.set_nonblocking(false), from.set_read_timeout(patience), to.set_nodelay(true));
        let mut bytes = vec![0; 256 << 10];
        while !self.is_over.load(Ordering::Relaxed) && number >= self.cut_below.load(Ordering::Relaxed) {
            if self.is_silent(way, number) {
                pause_ms(LOOK_EVERY_MS);
                continue;
            }
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => {
                    pause_ms(self.delay_ms.load(Ordering::Relaxed));
                    while self.is_silent(way, number) && !self.is_over.load(Ordering::Relaxed) {
                        pause_ms(LOOK_EVERY_MS);
                    }
                    if to.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    fn is_silent(&self, way: Way, number: u64) -> bool {
        let holds = match way {
            Way::There => &self.holds_there,
            Way::Back => &self.holds_back,
        };
        holds.load(Ordering::Relaxed) || number < self.dead_below.load(Ordering::Relaxed)
    }
}
