//! The demo's story, whole: the same lines each time.

use super::desk::Desk;

const STORY: &str = include_str!("demo.txt");

#[test]
fn the_demo_tells_the_same_story_each_time() {
    // It goes by no configuration of the servers that are there.
    let said = Desk::at("127.0.0.1:1", "").does(&["demo"], "");
    // A busy machine may let something be heard so late that it is told behind its place.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&said), sorted(STORY), "{said}");
}
