//! Points at which a test lets this process die, or stand still: `GRACELINE_FAIL_AT='K05 3 die 200'` is the third time
//! that anybody passes point K05, and 200 µs later.
//!
//! Without the feature `fail-points` nothing of it is in the program.

/// Somebody passes a point.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub(crate) fn point(_: &str) {}

#[cfg(feature = "fail-points")]
pub(crate) use planted::point;

#[cfg(feature = "fail-points")]
mod planted {
    use std::process::Command;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    struct Order {
        point: String,
        hit: u64,
        is_final: bool,
        delay: Duration,
    }

    static ORDER: LazyLock<Option<Order>> = LazyLock::new(|| {
        let text = std::env::var("GRACELINE_FAIL_AT").ok()?;
        let words: Vec<&str> = text.split(' ').collect();
        let [point, hit, what, delay_us] = words[..] else {
            panic!("GRACELINE_FAIL_AT has four words: {text}")
        };
        let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{word} is no number"));
        let delay = Duration::from_micros(number(delay_us));
        Some(Order { point: point.to_owned(), hit: number(hit), is_final: what == "die", delay })
    });

    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(crate) fn point(name: &str) {
        let Some(order) = &*ORDER else { return };
        if order.point != name || PASSED.fetch_add(1, Ordering::Relaxed) + 1 != order.hit {
            return;
        }
        eprintln!("Fail point {name}.");
        if order.delay.is_zero() {
            return fail(order);
        }
        std::thread::spawn(|| {
            #[expect(clippy::disallowed_methods, reason = "a test asked for it")]
            std::thread::sleep(order.delay);
            fail(order);
        });
    }

    fn fail(order: &Order) {
        if order.is_final {
            #[expect(clippy::disallowed_methods, reason = "a test asked for it")]
            std::process::abort();
        }
        let id = std::process::id().to_string();
        Command::new("kill").args(["-s", "STOP", &id]).status().expect("a process can be stopped");
    }
}
