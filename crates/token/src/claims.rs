//! The claims of a token (RFC 7519, section 4) and what kube-apiserver adds to them.
//!
//! Accessors give the common, strict reading. Where a cloud reads more (AWS takes times in strings and numbers as
//! subjects) its evaluator looks at [`Claims::members`].

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// The payload of a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    /// All members as they came; of a duplicate one the last, as every cloud reads it.
    pub members: Map<String, Value>,
}

impl Claims {
    /// `iss`, if it is a string.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// `sub`, if it is a string.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// `aud`: one string, or the strings of an array. Empty when it is absent or anything else.
    #[must_use]
    pub fn audiences(&self) -> Vec<&str> {
        match self.members.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// `azp`, the authorized party of OpenID Connect, if it is a string. AWS prefers it to `aud`.
    #[must_use]
    pub fn authorized_party(&self) -> Option<&str> {
        self.text("azp")
    }

    /// `exp`, if it is a whole number of seconds. Fractions and strings of digits are none.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.time("exp")
    }

    /// `iat`, if it is a whole number of seconds.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.time("iat")
    }

    /// `nbf`, if it is a whole number of seconds.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.time("nbf")
    }

    /// `jti`, the token's own name, which kube-apiserver sets since 1.29.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.text("jti")
    }

    /// From `iat` to `exp`. Negative where they are the wrong way round.
    #[must_use]
    pub fn lifetime(&self) -> Option<SignedDuration> {
        Some(self.expires_at()?.duration_since(self.issued_at()?))
    }

    /// The private claim `kubernetes.io` of kube-apiserver's tokens, if it is an object. Members of another shape than
    /// kube-apiserver's are left out.
    #[must_use]
    pub fn kubernetes(&self) -> Option<Kubernetes> {
        let claim = self.members.get("kubernetes.io")?.as_object()?;
        let reference = |name: &str| {
            let object = claim.get(name)?.as_object()?;
            Some(Reference {
                name: object.get("name")?.as_str()?.to_owned(),
                uid: object.get("uid").and_then(Value::as_str).map(str::to_owned),
            })
        };
        Some(Kubernetes {
            namespace: claim
                .get("namespace")
                .and_then(Value::as_str)
                .map(str::to_owned),
            service_account: reference("serviceaccount"),
            pod: reference("pod"),
            node: reference("node"),
            secret: reference("secret"),
            warn_after: claim.get("warnafter").and_then(timestamp),
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        timestamp(self.members.get(name)?)
    }
}

/// The claim `kubernetes.io`. Source: `privateClaims` in kube-apiserver's `pkg/serviceaccount/claims.go`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kubernetes {
    /// Namespace of the ServiceAccount, and of pod and secret.
    pub namespace: Option<String>,
    /// The ServiceAccount.
    pub service_account: Option<Reference>,
    /// The pod that the token is bound to.
    pub pod: Option<Reference>,
    /// The pod's node, or the node that the token is bound to; since 1.30.
    pub node: Option<Reference>,
    /// The secret that the token is bound to.
    pub secret: Option<Reference>,
    /// From here on the use of an extended token is reported by the API server. Only on tokens of the default audience
    /// under `--service-account-extend-token-expiration`.
    pub warn_after: Option<Timestamp>,
}

/// An object that a token names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// Name.
    pub name: String,
    /// UID, which a namesake created later does not share.
    pub uid: Option<String>,
}

/// A JSON whole number as seconds since 1970. Numbers that no calendar holds are none.
pub(crate) fn timestamp(value: &Value) -> Option<Timestamp> {
    Timestamp::from_second(value.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(members: Value) -> Claims {
        match members {
            Value::Object(members) => Claims { members },
            _ => Claims::default(),
        }
    }

    #[test]
    fn the_claims_of_a_projected_token_are_read() {
        let claims = claims(json!({
            "aud": ["sts.amazonaws.com"],
            "exp": 1_767_272_400,
            "iat": 1_767_268_800,
            "iss": "https://issuer.example.com",
            "jti": "7e3b3f0a",
            "kubernetes.io": {
                "namespace": "shop",
                "node": {"name": "node-1", "uid": "n"},
                "pod": {"name": "checkout-0", "uid": "p"},
                "serviceaccount": {"name": "checkout", "uid": "s"},
                "warnafter": 1_767_272_407
            },
            "nbf": 1_767_268_800,
            "sub": "system:serviceaccount:shop:checkout"
        }));
        assert_eq!(claims.issuer(), Some("https://issuer.example.com"));
        assert_eq!(
            claims.subject(),
            Some("system:serviceaccount:shop:checkout")
        );
        assert_eq!(claims.audiences(), ["sts.amazonaws.com"]);
        assert_eq!(claims.id(), Some("7e3b3f0a"));
        assert_eq!(claims.authorized_party(), None);
        assert_eq!(claims.lifetime(), Some(SignedDuration::from_hours(1)));
        assert_eq!(claims.not_before(), claims.issued_at());
        let reference = |name: &str, uid: &str| {
            Some(Reference {
                name: name.to_owned(),
                uid: Some(uid.to_owned()),
            })
        };
        assert_eq!(
            claims.kubernetes(),
            Some(Kubernetes {
                namespace: Some("shop".to_owned()),
                service_account: reference("checkout", "s"),
                pod: reference("checkout-0", "p"),
                node: reference("node-1", "n"),
                secret: None,
                warn_after: Timestamp::from_second(1_767_272_407).ok(),
            })
        );
    }

    #[test]
    fn audiences_are_a_string_or_the_strings_of_an_array() {
        let audiences = |aud: Value| claims(json!({ "aud": aud })).audiences().join(",");
        assert_eq!(audiences(json!("a")), "a");
        assert_eq!(audiences(json!("")), "");
        assert_eq!(audiences(json!(["a", 1, "b", ["c"]])), "a,b");
        assert_eq!(audiences(json!([])), "");
        assert_eq!(audiences(json!({"a": 1})), "");
        assert!(Claims::default().audiences().is_empty());
        assert_eq!(claims(json!({"aud": ""})).audiences(), [""]);
    }

    #[test]
    fn only_whole_numbers_within_the_calendar_are_times() {
        for (value, expected) in [
            (json!(0), Some(0)),
            (json!(-1), Some(-1)),
            (json!(1_767_268_800), Some(1_767_268_800)),
            (json!(1.5), None),
            (json!(1e9), None),
            (json!("1767268800"), None),
            (json!(null), None),
            (json!(true), None),
            (json!(i64::MAX), None),
            (json!(u64::MAX), None),
        ] {
            let claims = claims(json!({ "exp": value }));
            assert_eq!(
                claims.expires_at().map(Timestamp::as_second),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn a_subject_that_is_no_string_stands_in_the_members_alone() {
        let claims = claims(json!({"sub": 7, "iss": null, "azp": ["a"]}));
        assert_eq!(claims.subject(), None);
        assert_eq!(claims.issuer(), None);
        assert_eq!(claims.authorized_party(), None);
        assert_eq!(claims.members["sub"], 7);
    }

    #[test]
    fn kubernetes_claims_of_another_shape_are_left_out() {
        assert_eq!(claims(json!({"kubernetes.io": "x"})).kubernetes(), None);
        let odd = claims(
            json!({"kubernetes.io": {"namespace": 1, "pod": {"uid": "p"}, "node": {"name": "n"}}}),
        );
        assert_eq!(
            odd.kubernetes(),
            Some(Kubernetes {
                node: Some(Reference {
                    name: "n".to_owned(),
                    uid: None,
                }),
                ..Kubernetes::default()
            })
        );
    }
}
