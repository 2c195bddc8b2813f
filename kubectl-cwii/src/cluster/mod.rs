//! The Kubernetes API as the commands use it: configuration by kubectl's rules, credentials, and a client that says why
//! it could not look.

pub(crate) mod client;
pub(crate) mod config;
mod exec;
mod names;
mod proxy;
pub(crate) mod resource;
mod tls;
pub(crate) mod webhook;

pub(crate) use client::{Cluster, Failure, ListOptions, fact};
pub(crate) use config::Access;
pub(crate) use resource::Resource;
