//! Where the doctor's facts come from: manifests, trust documents, the cluster.
//!
//! Whatever the source, everything that was read lies in one [`store::Store`], each object once, and each workload's facts are
//! put together from it.

pub(crate) mod assemble;
pub(crate) mod gather;
pub(crate) mod live;
pub(crate) mod manifest;
pub(crate) mod rbac;
pub(crate) mod store;
pub(crate) mod sweep;
pub(crate) mod workload;
mod yaml;
