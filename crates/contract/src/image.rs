//! Image references, and the patterns with which an operator says which of them a pod may ask for.

use std::{fmt, str::FromStr};

use crate::types::ParseError;

/// Reference of a container image: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
/// Source: the grammar of the `distribution/reference` package, which container runtimes share.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Image(String);

impl Image {
    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names one version: by digest, or by a tag other than `latest`.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        let (name, digest) = split(&self.0, '@');
        digest.is_some() || tag(name).1.is_some_and(|tag| tag != "latest")
    }

    /// Last part of the path, without tag and digest: `aws-cli` of `public.ecr.aws/aws-cli/aws-cli:2.0`.
    #[must_use]
    pub fn last_path_part(&self) -> &str {
        let name = tag(split(&self.0, '@').0).0;
        name.rsplit('/').next().unwrap_or(name)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Image {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let wrong =
            || ParseError::new(s, "an image reference, `[HOST/]PATH[:TAG][@sha256:DIGEST]`");
        let (name, digest) = split(s, '@');
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(wrong().hint("what follows `@` is no digest"));
        }
        let (name, tag) = tag(name);
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(
                wrong().hint("a tag has at most 128 letters, digits or any of `_.-` and begins with none of `.-`")
            );
        }
        let (host, path) = match name.split_once('/') {
            Some((host, path))
                if host == "localhost" || host.contains(['.', ':']) || has_upper(host) =>
            {
                (Some(host), path)
            }
            _ => (None, name),
        };
        if host.is_some_and(|host| !is_host(host)) {
            return Err(wrong().hint("what stands before the first `/` is no host"));
        }
        if path.len() > 255 || !path.split('/').all(is_path_part) {
            return Err(wrong().hint(
                "a path has lower-case letters and digits, with `.`, `_`, `__` or `-` between them",
            ));
        }
        Ok(Self(s.to_owned()))
    }
}

/// A glob over a whole image reference: `*` is any run of characters other than `/`, `**` any run at all.
/// Nothing else is special, and the pattern has to fit from the first character to the last.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ImagePattern(String);

impl ImagePattern {
    /// Whether the pattern fits the image.
    #[must_use]
    pub fn matches(&self, image: &Image) -> bool {
        glob(self.0.as_bytes(), image.0.as_bytes())
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImagePattern {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        // What may stand in a reference, and the star.
        if !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:/@+*[]".contains(&b))
        {
            Ok(Self(s.to_owned()))
        } else {
            Err(ParseError::new(
                s,
                "a pattern over image references such as `ghcr.io/example/*`",
            ))
        }
    }
}

/// Backtracks to the last `*` and, where that is stopped by a `/`, to the last `**`: linear in all but contrived patterns,
/// and never worse than the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        if pattern[p..].starts_with(b"**") {
            p += 2;
            double = Some((p, t));
            star = None;
        } else if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
        } else if p == pattern.len() && t == text.len() {
            return true;
        } else if p < pattern.len() && t < text.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((next, from)) =
            star.filter(|&(_, from)| text.get(from).is_some_and(|&b| b != b'/'))
        {
            star = Some((next, from + 1));
            (p, t) = (next, from + 1);
        } else if let Some((next, from)) = double.filter(|&(_, from)| from < text.len()) {
            double = Some((next, from + 1));
            star = None;
            (p, t) = (next, from + 1);
        } else {
            return false;
        }
    }
}

fn split(s: &str, at: char) -> (&str, Option<&str>) {
    s.split_once(at)
        .map_or((s, None), |(before, after)| (before, Some(after)))
}

/// A tag stands behind the last colon, unless that colon is a port's.
fn tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
        _ => (name, None),
    }
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        let length = match algorithm {
            "sha256" => 64..=64,
            "sha384" => 96..=96,
            "sha512" => 128..=128,
            _ => 32..=256,
        };
        !algorithm.is_empty()
            && algorithm
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b))
            && length.contains(&hex.len())
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn has_upper(host: &str) -> bool {
    host.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        // IPv6 literals stand in brackets.
        Some(rest) => {
            let Some((address, rest)) = rest.split_once(']') else {
                return false;
            };
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            return rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        }
        None => split(host, ':'),
    };
    port.is_none_or(is_port)
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Alphanumeric runs with `.`, `_`, `__` or any number of `-` between them.
fn is_path_part(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().copied().is_some_and(alphanumeric)
        || !bytes.last().copied().is_some_and(alphanumeric)
    {
        return false;
    }
    bytes.split(|&b| alphanumeric(b)).all(|between| {
        matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|&b| b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_as_runtimes_accept_them() {
        let digest = "0".repeat(64);
        for text in [
            "nginx",
            "google/cloud-sdk:slim",
            "localhost/x",
            "localhost:5000/a/b:1",
            "registry.example.com:5000/team/a__b/c-d.e--f:v1.0_x",
            "[::1]:5000/x",
            "mcr.microsoft.com/azure-cli:latest",
            "MyHost/x",
            &format!("ghcr.io/cwii-dev/cwii-agent:0.1.0@sha256:{digest}"),
        ] {
            assert!(text.parse::<Image>().is_ok(), "{text}");
        }
        for text in [
            "",
            " ",
            "a b",
            "Nginx",
            "a//b",
            "a/",
            "/a",
            "a:",
            "a@sha256:12",
            "a:.x",
            "host.io:port/x",
            "a_-b",
            "a___b",
            "https://ghcr.io/x",
            "x:1:2",
        ] {
            assert!(text.parse::<Image>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pinned_image_has_a_digest_or_a_tag_that_does_not_move() {
        for (text, pinned, last) in [
            ("a/aws-cli", false, "aws-cli"),
            ("localhost:5000/aws-cli", false, "aws-cli"),
            ("aws-cli:latest", false, "aws-cli"),
            ("aws-cli:2", true, "aws-cli"),
            (
                &format!("x/aws-cli@sha256:{}", "a".repeat(64)),
                true,
                "aws-cli",
            ),
        ] {
            let image: Image = text.parse().unwrap();
            assert_eq!(
                (image.is_pinned(), image.last_path_part()),
                (pinned, last),
                "{text}"
            );
        }
    }

    #[test]
    fn one_star_stays_within_a_part_and_two_cross_them() {
        for (pattern, image, matches) in [
            (
                "ghcr.io/cwii-dev/*",
                "ghcr.io/cwii-dev/cwii-agent:0.1.0",
                true,
            ),
            ("ghcr.io/cwii-dev/*", "ghcr.io/cwii-dev/x/y", false),
            ("ghcr.io/**", "ghcr.io/cwii-dev/x/y:1", true),
            ("ghcr.io/**", "ghcr.io.evil.com/x", false),
            ("**/aws-cli:*", "public.ecr.aws/aws-cli/aws-cli:2", true),
            ("**/aws-cli:*", "public.ecr.aws/aws-cli/aws-cli/x:2", false),
            ("*", "nginx", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("a/*/c**z", "a/b/cd/e/z", true),
            ("a/*/c**z", "a/b/x/cz", false),
            ("nginx", "nginx", true),
            ("nginx", "nginx:1", false),
        ] {
            let pattern: ImagePattern = pattern.parse().unwrap();
            assert_eq!(
                pattern.matches(&image.parse().unwrap()),
                matches,
                "{pattern} {image}"
            );
        }
    }
}
