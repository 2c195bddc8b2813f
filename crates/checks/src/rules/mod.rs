//! The rules: a file for each code, a folder for each group.
//!
//! The head of a file is the documentation of its code, for `explain`, the web page and the machine-readable catalogue; what
//! follows is the rule. One file, so that neither can change without the other in sight.

use crate::doctor::Rule;

/// Declares the files of a group and collects their rules, each with its own source as documentation.
macro_rules! group {
    ($($file:ident)*) => {
        $(mod $file;)*

        /// The rules of this group, by code.
        pub(super) const RULES: &[crate::doctor::Rule] = &[
            $($file::RULE.documented(include_str!(concat!(stringify!($file), ".rs")))),*
        ];
    };
}

mod aks;
mod app;
mod aws;
mod az;
mod cwii;
mod epi;
mod federation;
#[cfg(test)]
mod fixture;
mod gcp;
mod gke;
mod hook;
mod iss;
mod net;
mod pod;
mod tok;
mod words;

/// From the cluster outwards, as the catalogue.
pub(crate) const GROUPS: &[&[Rule]] = &[
    pod::RULES,
    cwii::RULES,
    hook::RULES,
    tok::RULES,
    iss::RULES,
    aws::RULES,
    gcp::RULES,
    az::RULES,
    epi::RULES,
    gke::RULES,
    aks::RULES,
    net::RULES,
    app::RULES,
];
