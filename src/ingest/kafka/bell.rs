//! Wakes a thread that has nothing to do.

use super::client::Plain;
use super::timer::Duration;
use rdkafka::consumer::BaseConsumer;
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

/// Rung by whoever has something for a thread. A ring before the thread waits isn't lost. The thread must not wait by
/// parking elsewhere: it would hear there what it was to hear here.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<OnceLock<Thread>>);

impl Bell {
    /// From now on it wakes this thread.
    pub(crate) fn is_heard_here(&self) {
        let _ = self.0.set(thread::current());
    }

    pub(crate) fn ring(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }

    /// Lets a client ring when something comes and nothing was there. Whoever hears it has to take all there is.
    pub(crate) fn hang_on(&self, consumer: &mut BaseConsumer<Plain>) {
        let bell = self.clone();
        consumer.set_nonempty_callback(move || bell.ring());
    }

    pub(crate) fn wait(&self, at_most: Duration) {
        thread::park_timeout(at_most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard() {
        let bell = Bell::default();
        bell.is_heard_here();
        bell.ring();
        // Else the test never ends.
        bell.wait(Duration::MAX);
    }
}
