//! What a code, a name or somebody's error text means.
//!
//! A text is pasted from wherever it was seen: a line of a log, a stack trace, an event, several lines with the message
//! somewhere in them, quotes escaped by a logger. It is matched with the error table of the clouds, with what kubelet and
//! API server say, and with the texts that the rules' documentation quotes. What is not known is not guessed at: the nearest
//! codes are named and that is all.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalogue::{self, Entry},
    doctor::{Rule, rules},
    errors::{self, Row},
    facts::Step,
};

/// What a text is.
#[derive(Clone, Debug, PartialEq)]
pub enum Explanation {
    /// A code or its name, or a report of ours with codes in it.
    Checks(Vec<&'static Entry>),
    /// An error, or several.
    Errors(Vec<Meaning>),
    /// Nothing that is known; the codes that come nearest.
    Unknown(Vec<&'static Entry>),
}

/// What an error means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Meaning {
    /// Who says it: `AWS STS`, `Entra ID`, `the API server`.
    pub source: &'static str,
    /// The line that it was recognised by.
    pub line: String,
    /// The meaning, one sentence without a period.
    pub meaning: String,
    /// What to do; empty where the documentation of the codes says it.
    pub fix: &'static str,
    /// The codes to look at, the likeliest first.
    pub codes: Vec<&'static Entry>,
}

/// Explains a text.
#[must_use]
pub fn explain(text: &str) -> Explanation {
    let trimmed = text.trim();
    if let Some(entry) = catalogue::find(trimmed) {
        return Explanation::Checks(vec![entry]);
    }
    let text = Text::new(trimmed);
    let known = known(&text);
    if !known.is_empty() {
        return Explanation::Errors(known);
    }
    let codes = codes_in(trimmed);
    if !codes.is_empty() {
        return Explanation::Checks(codes);
    }
    let quoted = quoted(&text);
    if !quoted.is_empty() {
        return Explanation::Errors(quoted);
    }
    Explanation::Unknown(nearest(trimmed, &text))
}

/// A text in the forms in which it is compared.
struct Text {
    raw: String,
    /// Lower case, one blank for all white space, plain quotes.
    plain: String,
    /// Its words: letters and digits.
    words: BTreeSet<String>,
}

impl Text {
    fn new(raw: &str) -> Self {
        let plain = plain(raw);
        Self {
            raw: raw.to_owned(),
            words: words(&plain).map(str::to_owned).collect(),
            plain,
        }
    }

    /// Whether it has a provider's code as a word of its own; `AADSTS70021` is not in `AADSTS700213`.
    fn has_code(&self, code: &str) -> bool {
        let code = code.to_lowercase();
        self.plain.match_indices(&code).any(|(at, _)| {
            let before = self.plain[..at].chars().next_back();
            let after = self.plain[at + code.len()..].chars().next();
            // An exception's class may carry the code in front: `InvalidIdentityTokenException`.
            let ends = !after.is_some_and(char::is_alphanumeric)
                || self.plain[at + code.len()..].starts_with("exception");
            ends && !before.is_some_and(char::is_alphanumeric)
        })
    }

    /// The line that holds a piece, for people to find it in their log.
    fn line_with(&self, piece: &str) -> String {
        self.raw
            .lines()
            .find(|line| plain(line).contains(piece))
            .unwrap_or_else(|| self.raw.lines().next().unwrap_or_default())
            .trim()
            .to_owned()
    }
}

fn plain(text: &str) -> String {
    let text = text
        .replace("\\\"", "\"")
        .replace("\\n", " ")
        .replace("\\u0027", "'")
        .replace("&#39;", "'")
        .replace("&quot;", "\"");
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            '\u{2018}' | '\u{2019}' => out.push('\''),
            '\u{201c}' | '\u{201d}' => out.push('"'),
            c => out.extend(c.to_lowercase()),
        }
    }
    out
}

fn words(plain: &str) -> impl Iterator<Item = &str> {
    plain
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 2)
}

/// A row that fits, and by what.
struct Hit {
    meaning: Meaning,
    /// The pieces of the text that it was recognised by.
    by: Vec<String>,
    score: usize,
}

/// The rows of the tables that fit, the most telling first. Of rows that were recognised by the same words only the most
/// telling is kept.
fn known(text: &Text) -> Vec<Meaning> {
    let mut hits: Vec<Hit> = errors::rows()
        .filter_map(|row| cloud(row, text))
        .chain(
            CLUSTER
                .iter()
                .rev()
                .enumerate()
                .filter_map(|(rank, row)| cluster(row, rank, text)),
        )
        .collect();
    // Stable: the tables have the more telling rows first.
    hits.sort_by_key(|hit| std::cmp::Reverse(hit.score));
    let mut kept: Vec<Hit> = Vec::new();
    for hit in hits {
        let is_new = hit.by.iter().all(|piece| {
            !kept
                .iter()
                .any(|other| other.by.iter().any(|had| had.contains(piece.as_str())))
        });
        if is_new {
            kept.push(hit);
        }
    }
    kept.into_iter().map(|hit| hit.meaning).collect()
}

/// A row of a cloud's table.
fn cloud(row: &Row, text: &Text) -> Option<Hit> {
    let code = row.codes.iter().find(|code| text.has_code(code));
    let piece = row
        .texts
        .iter()
        .filter(|piece| text.plain.contains(**piece))
        .max_by_key(|piece| piece.len());
    // People paste the message without the code; a long piece of it is telling enough.
    let telling = piece.is_some_and(|piece| piece.len() >= TELLING);
    // `Code: text`, as the doctor and many people write it, is about an exchange unless every service has such a code.
    let is_bare = code.is_some_and(|code| {
        (piece.is_some() || !UBIQUITOUS.contains(code))
            && text.plain.starts_with(&format!("{}:", code.to_lowercase()))
    });
    let context = is_bare || row.steps.iter().any(|step| speaks_of(*step, text));
    let fits = (row.codes.is_empty() || code.is_some() || telling)
        && (row.texts.is_empty() || piece.is_some())
        && (code.is_some() || piece.is_some())
        && (context || telling || code.is_some_and(|code| !GENERIC.contains(code)));
    if !fits {
        return None;
    }
    let by: Vec<String> = code
        .iter()
        .map(|code| code.to_lowercase())
        .chain(piece.iter().map(|piece| (**piece).to_owned()))
        .collect();
    let line = by.last().map(|piece| text.line_with(piece));
    Some(Hit {
        score: by.iter().map(String::len).sum::<usize>() + if context { 8 } else { 0 },
        meaning: Meaning {
            source: source(row),
            line: line.unwrap_or_default(),
            meaning: row.meaning.to_owned(),
            fix: row.fix,
            codes: codes_of(row),
        },
        by,
    })
}

/// A row of what the cluster says; an earlier one is the more telling, whatever the length of its words.
fn cluster(row: &ClusterRow, rank: usize, text: &Text) -> Option<Hit> {
    row.all
        .iter()
        .all(|piece| text.plain.contains(piece))
        .then(|| Hit {
            score: 2 * TELLING + rank,
            by: row.all.iter().map(|piece| (*piece).to_owned()).collect(),
            meaning: Meaning {
                source: row.source,
                line: text.line_with(row.all.first().copied().unwrap_or_default()),
                meaning: row.meaning.to_owned(),
                fix: row.fix,
                codes: entries(row.codes),
            },
        })
}

/// Length from which a piece of a message says by itself who wrote it.
const TELLING: usize = 16;

/// Codes that other services of the clouds use as well; the operation must be named beside them.
const GENERIC: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "ValidationError",
    "ExpiredToken",
    "ExpiredTokenException",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "ResourceNotFoundException",
    "InvalidTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
    "IncompleteSignature",
    "MalformedPolicyDocument",
    "MalformedPolicyDocumentException",
    "invalid_request",
    "invalid_scope",
    "unsupported_grant_type",
    "unsupported_token_type",
    "quota_exceeded",
];

/// Codes that tell nothing even where a text begins with them.
const UBIQUITOUS: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "ValidationError",
    "invalid_request",
];

/// Whether a text names the operation or the service of a step.
fn speaks_of(step: Step, text: &Text) -> bool {
    let names: &[&str] = match step {
        Step::AssumeRoleWithWebIdentity => &[
            "assumerolewithwebidentity",
            "webidentityerr",
            "web identity",
        ],
        Step::GetCallerIdentity => &["getcalleridentity"],
        Step::ContainerCredentials => &[
            "pod identity",
            "pod-identity",
            "eks-auth",
            "eks auth",
            "eksauth",
            "assumeroleforpodidentity",
            "169.254.170.23",
            "container credentials",
        ],
        Step::GoogleTokenExchange => &["sts.googleapis.com", "invalid_grant", "oauth2"],
        Step::GoogleImpersonation => &["iamcredentials", "generateaccesstoken"],
        Step::GoogleMetadata => &["metadata"],
        Step::EntraToken => &["aadsts"],
        Step::Configuration | Step::TokenFile => &[],
    };
    names.iter().any(|name| text.plain.contains(name))
}

fn source(row: &Row) -> &'static str {
    match row.steps.first() {
        Some(Step::AssumeRoleWithWebIdentity | Step::GetCallerIdentity) => "AWS STS",
        Some(Step::ContainerCredentials) => "EKS Pod Identity",
        Some(Step::GoogleTokenExchange) => "Google STS",
        Some(Step::GoogleImpersonation) => "Google IAM credentials",
        Some(Step::GoogleMetadata) => "the GKE metadata server",
        Some(Step::EntraToken) => "Entra ID",
        _ => "cwii",
    }
}

/// The row's own code first, then what else leads to the same answer.
fn codes_of(row: &Row) -> Vec<&'static Entry> {
    let more = ALSO
        .iter()
        .find(|(id, _)| *id == row.id)
        .map(|(_, codes)| *codes)
        .unwrap_or_default();
    let mut codes: Vec<_> = row.code.into_iter().collect();
    codes.extend(more.iter().filter(|code| Some(**code) != row.code));
    entries(&codes)
}

fn entries(codes: &[&str]) -> Vec<&'static Entry> {
    codes
        .iter()
        .filter_map(|code| catalogue::find(code))
        .collect()
}

/// An error that is known by its text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// Who says it: `AWS STS`, `Entra ID`, `the API server`.
    pub source: &'static str,
    /// Its codes, of which one is there; none where the text alone tells.
    pub codes: &'static [&'static str],
    /// Pieces of its text, lower case; none where the code alone tells.
    pub pieces: &'static [&'static str],
    /// Whether all of the pieces are there, or one.
    pub all: bool,
    /// The meaning, one sentence without a period.
    pub meaning: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// The checks to look at, the likeliest first.
    pub checks: Vec<&'static Entry>,
}

/// All errors that are known by their texts: what the clouds say, then what the cluster says.
pub fn known_errors() -> impl Iterator<Item = Known> {
    let clouds = errors::rows().map(|row| Known {
        source: source(row),
        codes: row.codes,
        pieces: row.texts,
        all: false,
        meaning: row.meaning,
        fix: row.fix,
        checks: codes_of(row),
    });
    let cluster = CLUSTER.iter().map(|row| Known {
        source: row.source,
        codes: &[],
        pieces: row.all,
        all: true,
        meaning: row.meaning,
        fix: row.fix,
        checks: entries(row.codes),
    });
    clouds.chain(cluster)
}

/// Rows with more than one code behind them, by the row's id.
const ALSO: &[(&str, &[&str])] = &[
    // The token was valid; everything in a trust policy gives the same answer.
    (
        "A1",
        &[
            "AWS04", "AWS05", "AWS06", "AWS07", "AWS08", "AWS09", "AWS10", "AWS11",
        ],
    ),
    ("A2", &["AWS01", "ISS01", "ISS02", "TOK06"]),
    ("A3", &["AWS03", "TOK03", "ISS10"]),
    ("A4", &["AWS03", "TOK03"]),
    (
        "A5",
        &["ISS05", "ISS06", "ISS07", "ISS08", "ISS09", "ISS10"],
    ),
    ("A6", &["AWS02", "ISS08"]),
    ("A16", &["TOK09", "TOK05", "APP04"]),
    ("A17", &["TOK09", "TOK05", "APP04"]),
    ("A19", &["ISS05", "ISS06"]),
    ("P1", &["EPI04", "EPI14"]),
    ("G19", &["GCP08", "GKE04"]),
    ("G27", &["GKE04", "GCP08"]),
    ("G2", &["GCP02", "GCP01"]),
    ("G3", &["GCP04", "TOK03"]),
    ("G4", &["GCP03", "ISS02"]),
    ("G6", &["ISS05", "ISS06", "ISS07", "ISS08", "GCP14"]),
    ("G7", &["ISS10", "GCP14"]),
    ("G17", &["GCP07", "GCP08", "GKE05"]),
    ("70021", &["AZ03", "AZ04", "AZ05", "AZ06"]),
    ("700211", &["AZ03", "ISS03", "AZ06"]),
    ("700212", &["AZ04", "TOK03", "AZ06"]),
    ("700213", &["AZ05", "AZ06"]),
    ("700024", &["TOK05", "TOK09", "APP04"]),
    ("90061", &["AZ14", "ISS05", "ISS06", "ISS07", "ISS08"]),
    ("700016", &["AZ01", "AZ02"]),
    ("90002", &["AZ02", "AZ08"]),
];

/// What SDKs, kubelet and API server say.
struct ClusterRow {
    source: &'static str,
    /// Pieces of the text, lower case, all of which must be there.
    all: &'static [&'static str],
    meaning: &'static str,
    fix: &'static str,
    codes: &'static [&'static str],
}

/// Sources: the texts of botocore, google-auth and azure-identity; of kube-apiserver's webhook dispatcher and of the ServiceAccount, quota and Pod Security admission
/// plugins, and of the kubelet's volume manager; Kubernetes documentation, "Dynamic Admission Control".
const CLUSTER: &[ClusterRow] = &[
    ClusterRow {
        source: "the SDK",
        all: &["permission denied", "/token"],
        meaning: "the container's user may not read the token's file",
        fix: "let all containers of the pod run as one user, or set `securityContext.fsGroup`",
        codes: &["POD13", "TOK01"],
    },
    ClusterRow {
        source: "the SDK",
        all: &["no such file", "token"],
        meaning: "the token's file is not in this container: nothing was injected, or not into it",
        fix: "look at the pod's volumes and at this container's mounts",
        codes: &["POD10", "POD03", "TOK10", "TOK01", "POD12"],
    },
    ClusterRow {
        source: "the SDK",
        all: &["certificate_verify_failed"],
        meaning: "the SDK does not trust the certificate that it was shown",
        fix: "give the container the certificate authority of the proxy in between, and look at the clock",
        codes: &["NET04", "TOK05"],
    },
    ClusterRow {
        source: "the SDK",
        all: &["169.254.170.23", "refused"],
        meaning: "no Pod Identity agent listens on the pod's node",
        fix: "install the add-on eks-pod-identity-agent, and look at its pods",
        codes: &["EPI01", "EPI02", "EPI09"],
    },
    ClusterRow {
        source: "the SDK",
        all: &["169.254.170.23", "timed out"],
        meaning: "the Pod Identity agent of the node does not answer the pod",
        fix: "except 169.254.170.23 and [fd00:ec2::23] from proxies and from what NetworkPolicies deny",
        codes: &["EPI09", "EPI11", "EPI10"],
    },
    ClusterRow {
        source: "the SDK",
        all: &["could not connect to the endpoint url"],
        meaning: "the SDK got no connection to the cloud's endpoint",
        fix: "let the pod reach the endpoint's port 443: a route, a NetworkPolicy, a proxy, a VPC endpoint",
        codes: &["NET02", "NET06", "NET05", "NET01"],
    },
    ClusterRow {
        source: "the SDK",
        all: &["connect timeout on endpoint url"],
        meaning: "the SDK got no connection to the cloud's endpoint",
        fix: "let the pod reach the endpoint's port 443: a route, a NetworkPolicy, a proxy, a VPC endpoint",
        codes: &["NET02", "NET06", "NET05", "NET08"],
    },
    ClusterRow {
        source: "Google's SDK",
        all: &["default credentials were not found"],
        meaning: "nothing tells the SDK which credentials to take: nothing was injected, or not into this container",
        fix: "look at the pod's GOOGLE_APPLICATION_CREDENTIALS; on GKE, at its metadata server",
        codes: &["POD10", "CWII07", "HOOK01", "GKE01"],
    },
    ClusterRow {
        source: "Google's SDK",
        all: &["defaultcredentialserror", "was not found"],
        meaning: "the credentials document that GOOGLE_APPLICATION_CREDENTIALS names is not there",
        fix: "look at the volume of the document and at this container's mounts",
        codes: &["GCP10", "POD10"],
    },
    ClusterRow {
        source: "Google's SDK",
        all: &["unable to parse subject_token"],
        meaning: "the credentials document says that the token's file is JSON, and it is not",
        fix: "take `format` out of `credential_source`: a projected token is plain text",
        codes: &["GCP10"],
    },
    ClusterRow {
        source: "Azure's SDK",
        all: &["workloadidentitycredential", "not fully configured"],
        meaning: "a variable that the SDK needs is not in this container",
        fix: "look which of AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE it lacks",
        codes: &["AZ09", "POD07", "CWII07"],
    },
    ClusterRow {
        source: "Google IAM",
        all: &["iam.workloadidentitypoolproviders"],
        meaning: "an organization policy does not allow this issuer to a provider",
        fix: "ask who keeps the policy to allow the issuer",
        codes: &["GCP09"],
    },
    ClusterRow {
        source: "the API server",
        all: &["failed calling webhook", "x509"],
        meaning: "the API server does not trust the certificate that the webhook serves",
        fix: "bring the `caBundle` of the webhook configuration and the served certificate together",
        codes: &["HOOK05"],
    },
    ClusterRow {
        source: "the API server",
        all: &["failed calling webhook", "no endpoints available"],
        meaning: "no pod of the webhook is ready",
        fix: "bring the webhook's pods up, more than one of them",
        codes: &["HOOK06"],
    },
    ClusterRow {
        source: "the API server",
        all: &["failed calling webhook", "connection refused"],
        meaning: "the webhook's Service leads to a port on which nothing listens",
        fix: "compare the Service's target port with the port that the webhook serves on",
        codes: &["HOOK06", "HOOK07"],
    },
    ClusterRow {
        source: "the API server",
        all: &["failed calling webhook", "not found"],
        meaning: "the Service of the webhook does not exist",
        fix: "install the webhook again, or remove the configuration that it left behind",
        codes: &["HOOK06", "HOOK01"],
    },
    ClusterRow {
        source: "the API server",
        all: &["failed calling webhook", "deadline exceeded"],
        meaning: "the webhook did not answer in time: the API server cannot reach it, or it is starved",
        fix: "let the control plane reach the webhook's port, and give the webhook the CPU that it needs",
        codes: &["HOOK07", "HOOK09"],
    },
    ClusterRow {
        source: "the API server",
        all: &["failed calling webhook", "i/o timeout"],
        meaning: "the webhook did not answer in time: the API server cannot reach it, or it is starved",
        fix: "let the control plane reach the webhook's port, and give the webhook the CPU that it needs",
        codes: &["HOOK07", "HOOK09"],
    },
    ClusterRow {
        source: "the API server",
        all: &["failed calling webhook", ": eof"],
        meaning: "the connection to the webhook broke on the way",
        fix: "look at what stands between the control plane and the webhook's port",
        codes: &["HOOK07"],
    },
    ClusterRow {
        source: "the API server",
        all: &["failed calling webhook"],
        meaning: "the API server could not call the webhook",
        fix: "look at the webhook's Service, endpoints and certificate",
        codes: &["HOOK05", "HOOK06", "HOOK07"],
    },
    ClusterRow {
        source: "the API server",
        all: &["error looking up service account", "not found"],
        meaning: "the pod names a ServiceAccount that does not exist in its namespace",
        fix: "create the ServiceAccount, or name the right one in the pod template",
        codes: &["POD02", "POD21"],
    },
    ClusterRow {
        source: "the API server",
        all: &["exceeded quota"],
        meaning: "a ResourceQuota of the namespace leaves no room for the pod, with what was injected into it",
        fix: "give the injected container smaller requests, or the namespace a larger quota",
        codes: &["POD17", "POD21"],
    },
    ClusterRow {
        source: "the API server",
        all: &["violates podsecurity"],
        meaning: "the namespace's Pod Security level does not admit the pod",
        fix: "give every container a security context that the level allows",
        codes: &["POD17", "POD21"],
    },
    ClusterRow {
        source: "the kubelet",
        all: &["mountvolume.setup failed", "failed to fetch token"],
        meaning: "the kubelet gets no ServiceAccount token for the pod",
        fix: "look at the rest of the message: it is what the API server answered to the request for a token",
        codes: &["POD21", "TOK02"],
    },
];

/// Codes that stand in a text as our own reports write them: `error[TOK03]`, `warning[AWS12]`.
fn codes_in(text: &str) -> Vec<&'static Entry> {
    let mut found: Vec<&'static Entry> = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let is_code = word.len() >= 4 && word.ends_with(|c: char| c.is_ascii_digit());
        if is_code
            && let Some(entry) = catalogue::find(word)
            && !found.contains(&entry)
        {
            found.push(entry);
        }
    }
    found
}

/// Rules whose documentation quotes a line that stands in the text, give or take what varies.
fn quoted(text: &Text) -> Vec<Meaning> {
    const FEWEST_WORDS: usize = 5;
    let mut found: Vec<(usize, Meaning)> = Vec::new();
    for (rule, entry) in documented() {
        for line in looks(rule) {
            let plain = plain(&line);
            let expected: BTreeSet<&str> = words(&plain).collect();
            let shared = expected
                .iter()
                .filter(|word| text.words.contains(**word))
                .count();
            // Names and addresses differ, so one word in four may.
            if expected.len() < FEWEST_WORDS || shared * 4 < expected.len() * 3 {
                continue;
            }
            found.push((
                shared,
                Meaning {
                    source: said_by(entry.code),
                    line: text
                        .raw
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .trim()
                        .to_owned(),
                    meaning: entry.title.to_owned(),
                    fix: "",
                    codes: vec![entry],
                },
            ));
            break;
        }
    }
    found.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
    let best = found.first().map_or(0, |(shared, _)| *shared);
    found
        .into_iter()
        .filter(|(shared, _)| *shared == best)
        .map(|(_, meaning)| meaning)
        .collect()
}

/// Who says what the pages of a group quote.
fn said_by(code: &str) -> &'static str {
    match code.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "AWS" => "AWS",
        "EPI" => "EKS Pod Identity",
        "GCP" => "Google",
        "GKE" => "GKE",
        "AZ" => "Entra ID",
        "AKS" => "AKS",
        "CWII" => "cwii",
        "POD" | "HOOK" => "the cluster",
        _ => "something on the way",
    }
}

/// The few codes that come nearest: by spelling for a word, by shared rare words for a text.
fn nearest(raw: &str, text: &Text) -> Vec<&'static Entry> {
    const SHOWN: usize = 3;
    if !raw.contains(char::is_whitespace) {
        let word = raw.to_lowercase();
        let mut near: Vec<_> = catalogue::entries()
            .map(|entry| {
                let code = strsim::damerau_levenshtein(&word, &entry.code.to_lowercase());
                let name = strsim::normalized_damerau_levenshtein(&word, entry.name);
                // One slip in a code, a third of a name.
                (entry, code <= 1 || name >= 0.66, code, name)
            })
            .filter(|(_, near, ..)| *near)
            .collect();
        near.sort_by(|a, b| b.3.total_cmp(&a.3).then_with(|| a.2.cmp(&b.2)));
        return near
            .into_iter()
            .take(SHOWN)
            .map(|(entry, ..)| entry)
            .collect();
    }
    let documents: Vec<_> = documented()
        .map(|(rule, entry)| {
            let own = format!("{} {} {}", entry.name, entry.title, looks(rule).join(" "));
            let words: BTreeSet<String> = words(&plain(&own)).map(str::to_owned).collect();
            (entry, words)
        })
        .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in documents.iter().flat_map(|(_, words)| words) {
        *counts.entry(word).or_insert(0) += 1;
    }
    // A word that few codes have says more: its weight is the share of codes that lack it.
    let weight = |word: &str| {
        let count = counts.get(word).copied().unwrap_or(documents.len());
        (documents.len() - count) * 100 / documents.len().max(1)
    };
    let mut near: Vec<_> = documents
        .iter()
        .map(|(entry, words)| {
            let shared: Vec<_> = words.intersection(&text.words).collect();
            let score: usize = shared.iter().map(|word| weight(word)).sum();
            (score, shared.len(), *entry)
        })
        // Two rare words at least: one is chance.
        .filter(|(score, shared, _)| *shared >= 2 && *score >= 150)
        .collect();
    near.sort_by_key(|(score, ..)| std::cmp::Reverse(*score));
    near.into_iter()
        .take(SHOWN)
        .map(|(.., entry)| entry)
        .collect()
}

fn documented() -> impl Iterator<Item = (&'static Rule, &'static Entry)> {
    rules().filter_map(|rule| Some((rule, rule.entry()?)))
}

/// The lines that a rule's documentation quotes under "How it looks".
fn looks(rule: &Rule) -> Vec<String> {
    let section = rule
        .documentation()
        .section("How it looks")
        .unwrap_or_default();
    let mut inside = false;
    section
        .lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            inside && !fence
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<&'static str> {
        match explain(text) {
            Explanation::Checks(entries) => entries.iter().map(|entry| entry.code).collect(),
            Explanation::Errors(meanings) => meanings
                .iter()
                .filter_map(|meaning| meaning.codes.first())
                .map(|entry| entry.code)
                .collect(),
            Explanation::Unknown(_) => Vec::new(),
        }
    }

    #[test]
    fn a_code_and_a_name_are_found_in_any_case() {
        for text in ["TOK03", "tok03", " audience-mismatch\n"] {
            assert_eq!(codes(text), ["TOK03"], "{text}");
        }
    }

    #[test]
    fn our_own_report_is_read_by_its_codes() {
        assert_eq!(
            codes("error[TOK03]: token audience is odd\nwarning[AWS12]: no region"),
            ["TOK03", "AWS12"]
        );
    }

    #[test]
    fn what_people_paste_is_recognised() {
        for (text, expected) in [
            (
                "An error occurred (AccessDenied) when calling the AssumeRoleWithWebIdentity operation: Not authorized to perform sts:AssumeRoleWithWebIdentity",
                "AWS05",
            ),
            // botocore, Go SDK, Java SDK
            (
                "botocore.errorfactory.InvalidIdentityTokenException: An error occurred (InvalidIdentityToken) when calling the AssumeRoleWithWebIdentity operation: No OpenIDConnect provider found in your account for https://oidc.example.com/id/1",
                "AWS01",
            ),
            (
                "WebIdentityErr: failed to retrieve credentials\ncaused by: InvalidIdentityToken: Incorrect token audience\n\tstatus code: 400, request id: 1-2-3",
                "AWS03",
            ),
            (
                "operation error STS: AssumeRoleWithWebIdentity, https response error StatusCode: 400, RequestID: x, InvalidIdentityToken: Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
                "ISS05",
            ),
            (
                "ExpiredTokenException: Token expired: current date/time 1760000000 must be before the expiration date/time 1759990000 (AssumeRoleWithWebIdentity)",
                "TOK09",
            ),
            (
                "Request ARN is invalid ValidationError AssumeRoleWithWebIdentity",
                "AWS10",
            ),
            (
                r#"{"level":"error","msg":"{\"error\":\"invalid_grant\",\"error_description\":\"The audience in ID Token [https://kubernetes.default.svc] does not match the expected audience.\"}"}"#,
                "GCP04",
            ),
            (
                "google.auth.exceptions.OAuthError: ('Error code unauthorized_client: The given credential is rejected by the attribute condition.', '{}')",
                "GCP05",
            ),
            (
                "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
                "GCP07",
            ),
            (
                "invalid_request: Invalid value for \u{201c}audience\u{201d}. x",
                "GCP01",
            ),
            (
                "azure.core.exceptions.ClientAuthenticationError: (invalid_client) AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:a:b'.\r\nTrace ID: 1\r\nTimestamp: 2026-11-22 10:00:00Z",
                "AZ05",
            ),
            (
                "error 70021? AADSTS70021: No matching federated identity record found",
                "AZ03",
            ),
            ("AADSTS700024", "TOK05"),
            (
                "Unauthorized Exception! EKS does not have permissions to assume the associated role.",
                "EPI04",
            ),
            (
                "Error creating: Internal error occurred: failed calling webhook \"pods.cwii.dev\": failed to call webhook: Post \"https://cwii-webhook.cwii-system.svc:443/mutate?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "HOOK05",
            ),
            (
                "failed calling webhook \"a\": no endpoints available for service \"cwii-webhook\"",
                "HOOK06",
            ),
            (
                "failed calling webhook \"a\": Post \"https://x?timeout=10s\": context deadline exceeded",
                "HOOK07",
            ),
            (
                "InvalidClientTokenId: The security token included in the request is invalid",
                "AWS20",
            ),
            (
                "PermissionError: [Errno 13] Permission denied: '/var/run/secrets/cwii.dev/aws/token'",
                "POD13",
            ),
            (
                "open /var/run/secrets/eks.amazonaws.com/serviceaccount/token: no such file or directory",
                "POD10",
            ),
            (
                "SSL validation failed for https://sts.eu-central-1.amazonaws.com/ [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
                "NET04",
            ),
            (
                "Could not connect to the endpoint URL: \"https://sts.eu-central-1.amazonaws.com/\"",
                "NET02",
            ),
            (
                "dial tcp 169.254.170.23:80: connect: connection refused",
                "EPI01",
            ),
            (
                "google.auth.exceptions.DefaultCredentialsError: Your default credentials were not found.",
                "POD10",
            ),
            (
                "Unable to parse subject_token from JSON file '/x' using key 'k'",
                "GCP10",
            ),
            (
                "WorkloadIdentityCredential authentication unavailable. The workload options are not fully configured.",
                "AZ09",
            ),
            (
                "Error creating: pods \"a-\" is forbidden: error looking up service account shop/a: serviceaccount \"a\" not found",
                "POD02",
            ),
        ] {
            assert_eq!(codes(text), [expected], "{text}");
        }
    }

    #[test]
    fn two_errors_in_one_log_are_both_explained() {
        let log = "10:00 AADSTS700212: No matching federated identity record found for presented assertion audience\n10:01 An error occurred (AccessDenied) when calling the AssumeRoleWithWebIdentity operation: Not authorized to perform sts:AssumeRoleWithWebIdentity";
        let mut found = codes(log);
        found.sort_unstable();
        assert_eq!(found, ["AWS05", "AZ04"]);
        let Explanation::Errors(meanings) = explain(log) else {
            panic!("errors");
        };
        assert!(meanings.iter().any(|m| m.line.starts_with("10:00")));
        assert!(meanings.iter().any(|m| m.line.starts_with("10:01")));
    }

    #[test]
    fn an_error_of_another_service_is_not_taken_for_one_of_federation() {
        for text in [
            "An error occurred (AccessDenied) when calling the GetObject operation: Access Denied",
            "ValidationError: 1 validation error detected",
            "panic: runtime error: index out of range",
            "",
            "\u{1b}[31m\0",
        ] {
            assert!(
                matches!(explain(text), Explanation::Unknown(_)),
                "{text}: {:?}",
                explain(text)
            );
        }
    }

    #[test]
    fn what_is_nearly_a_code_or_a_name_is_offered() {
        let near = |text: &str| match explain(text) {
            Explanation::Unknown(near) => near.iter().map(|entry| entry.code).collect(),
            other => panic!("{other:?}"),
        };
        let found: Vec<_> = near("audience-mismach");
        assert_eq!(found.first(), Some(&"TOK03"));
        let found: Vec<_> = near("TOK99");
        assert!(
            found.iter().all(|code| code.starts_with("TOK")),
            "{found:?}"
        );
        let found: Vec<_> = near("zzzzzzzzzzzz");
        assert!(found.is_empty());
    }

    #[test]
    fn every_row_of_the_tables_is_reached_by_its_own_words() {
        for row in errors::rows() {
            // Rows that only a status tells cannot be told from a text.
            if row.codes.is_empty() && row.texts.is_empty() {
                continue;
            }
            let context = match row.steps[0] {
                Step::AssumeRoleWithWebIdentity => "AssumeRoleWithWebIdentity",
                Step::GetCallerIdentity => "GetCallerIdentity",
                Step::ContainerCredentials => "169.254.170.23",
                Step::GoogleTokenExchange => "sts.googleapis.com",
                Step::GoogleImpersonation => "iamcredentials.googleapis.com",
                Step::GoogleMetadata => "metadata.google.internal",
                _ => "",
            };
            let text = format!(
                "{context}: {}: {}",
                row.codes.first().copied().unwrap_or_default(),
                row.texts.first().copied().unwrap_or_default()
            );
            let Explanation::Errors(found) = explain(&text) else {
                panic!("{}: {text}", row.id);
            };
            assert!(
                found.iter().any(|meaning| meaning.meaning == row.meaning),
                "{}: {text}: {found:#?}",
                row.id
            );
        }
    }

    #[test]
    fn the_codes_that_rows_lead_to_exist() {
        let ids: Vec<_> = errors::rows().map(|row| row.id).collect();
        for (id, codes) in ALSO {
            assert!(ids.contains(id), "{id}");
            assert!(!codes.is_empty());
        }
        let all = ALSO.iter().flat_map(|(_, codes)| *codes);
        for code in all.chain(CLUSTER.iter().flat_map(|row| row.codes)) {
            assert!(catalogue::find(code).is_some(), "{code}");
        }
        for row in CLUSTER {
            assert!(row.all.iter().all(|piece| *piece == piece.to_lowercase()));
        }
    }
}
