//! Against real servers: what they really do when asked, cut off and restarted.

mod kafka;
