//! TOK: the token.

use super::{Entry, error};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "TOK01",
        "token-unusable",
        "the token file is missing or does not hold a token",
    ),
    error(
        "TOK03",
        "audience-mismatch",
        "the token's audience is not what the cloud expects",
    ),
    error(
        "TOK04",
        "subject-unexpected",
        "the token\'s subject is not that of a ServiceAccount",
    ),
    error(
        "TOK05",
        "clocks-differ",
        "the clocks differ by more than the cloud tolerates",
    ),
    error(
        "TOK06",
        "token-of-another-issuer",
        "the token comes from an issuer that does not belong here",
    ),
    error(
        "TOK09",
        "token-stale",
        "the token is older than it should be: nobody refreshes it",
    ),
    error(
        "TOK12",
        "algorithm-unsupported",
        "the cloud does not accept the token's signature algorithm",
    ),
];
