//! `cargo xtask chart`: the chart, what is generated for it, and whether it holds what it promises.

mod files;
mod values;

pub(crate) use files::files;
