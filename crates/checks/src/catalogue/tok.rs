//! TOK: the token.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "TOK01",
        "token-unusable",
        "the token file is missing or does not hold a token",
    ),
    error(
        "TOK02",
        "token-not-minted",
        "the API server mints no such token for the ServiceAccount",
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
        "TOK07",
        "token-of-a-deleted-object",
        "the token is bound to an object that no longer exists",
    ),
    warning(
        "TOK08",
        "token-lifetime-unexpected",
        "the token lives longer or shorter than the pod asks for",
    ),
    error(
        "TOK09",
        "token-stale",
        "the token is older than it should be: nobody refreshes it",
    ),
    error(
        "TOK10",
        "token-path-not-projected",
        "the token file is a copy that nobody refreshes",
    ),
    error(
        "TOK11",
        "token-of-the-api-server",
        "the token is meant for the API server and not for a cloud",
    ),
    error(
        "TOK12",
        "algorithm-unsupported",
        "the cloud does not accept the token's signature algorithm",
    ),
];
