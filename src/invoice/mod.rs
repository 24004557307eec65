//! What usage means. Pure: no clock, no I/O, one door, [`books::Books::decide`].

pub mod aggregate;
pub mod books;
pub mod calendar;
pub mod command;
pub mod digest;
pub mod document;
pub mod exact;
pub mod ids;
pub mod instant;
pub mod keep;
pub mod notice;
pub mod period;
pub mod price;
pub mod quantity;
pub(crate) mod text;
pub mod usage;
pub mod waiting;
pub mod warm;

mod adopt;
mod attribute;
mod cancel;
mod counting;
mod figures;
mod grace;
mod held;
mod kept;
mod kept_bills;
mod late;
mod lifecycle;
mod marked;
mod parking;
mod settle;
mod windows;
