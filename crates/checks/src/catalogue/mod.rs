//! The codes of the catalogue. Codes are never renumbered or reused.
//!
//! Each entry states the bad thing in its name. What a code checks, why it matters and how it is mended stands in the
//! file of its rule, which the agent does without.

mod aks;
mod app;
mod aws;
mod az;
mod cwii;
mod epi;
mod gcp;
mod gke;
mod hook;
mod iss;
mod net;
mod pod;
mod tok;

/// How much a finding matters. It belongs to the code, not to the message.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Worth knowing; nothing fails because of it alone.
    Warning,
    /// The exchange fails now or at the next start, or admits somebody it must not.
    Error,
}

/// One code.
#[derive(Debug, Eq, PartialEq)]
pub struct Entry {
    /// Group and two digits, `AWS05`.
    pub code: &'static str,
    /// The bad thing, kebab-case.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The headline, without the particulars of a case.
    pub title: &'static str,
}

impl Entry {
    /// The letters of the code, `AWS`.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.code.trim_end_matches(|c: char| c.is_ascii_digit())
    }
}

/// The entry of a code or name, in any case.
#[must_use]
pub fn find(code_or_name: &str) -> Option<&'static Entry> {
    entries().find(|e| {
        e.code.eq_ignore_ascii_case(code_or_name) || e.name.eq_ignore_ascii_case(code_or_name)
    })
}

/// All entries: group by group in the order in which a diagnosis looks, by code within a group.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    GROUPS.iter().copied().flatten()
}

const fn error(code: &'static str, name: &'static str, title: &'static str) -> Entry {
    Entry {
        code,
        name,
        severity: Severity::Error,
        title,
    }
}

const fn warning(code: &'static str, name: &'static str, title: &'static str) -> Entry {
    Entry {
        code,
        name,
        severity: Severity::Warning,
        title,
    }
}

/// From the cluster outwards: what comes first is likelier to be the cause of what comes later.
const GROUPS: [&[Entry]; 13] = [
    pod::ENTRIES,
    cwii::ENTRIES,
    hook::ENTRIES,
    tok::ENTRIES,
    iss::ENTRIES,
    aws::ENTRIES,
    gcp::ENTRIES,
    az::ENTRIES,
    epi::ENTRIES,
    gke::ENTRIES,
    aks::ENTRIES,
    net::ENTRIES,
    app::ENTRIES,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_sorted_and_well_formed() {
        for group in GROUPS {
            assert!(
                group
                    .windows(2)
                    .all(|w| w[0].code < w[1].code && w[0].group() == w[1].group()),
                "sorted and unique by code"
            );
        }
        let mut names: Vec<_> = entries().map(|e| e.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]), "unique by name");
        for entry in entries() {
            assert_eq!(entry.code.len(), entry.group().len() + 2, "{}", entry.code);
            assert!(
                entry
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                entry.name
            );
            assert!(!entry.title.ends_with('.'), "{}", entry.code);
        }
    }
}
