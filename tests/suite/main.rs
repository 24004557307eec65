//! Everything that is tested from outside the code, in one binary.

mod chaos;
mod contract;
mod kept;
mod live;
mod tidy;
