//! Everything that is tested from outside the code, in one binary.

mod books;
mod chaos;
mod console;
mod contract;
mod kept;
mod live;
mod schemas;
mod tidy;
