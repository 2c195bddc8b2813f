//! The user of a container may not read its token file.
//!
//! ## What it checks
//!
//! The kubelet's rule for the mode and owner of a projected token: with `fsGroup`, or where every container and init
//! container sets the same `runAsUser`, the file has mode 0600, belongs to that user, and `fsGroup` may read it; otherwise it
//! belongs to root and has the volume's `defaultMode`, which is 0644 unless somebody set it. Kubelets before 1.19 always gave
//! 0600. Each container that mounts a token is asked whether its user may read the file. A user that only the image knows is
//! not judged, unless `runAsNonRoot` says that it is not root.
//!
//! ## Why it matters
//!
//! Everything else is right, and the SDK says that it may not open the file.
//!
//! ## How it looks
//!
//! ```text
//! open /var/run/secrets/eks.amazonaws.com/serviceaccount/token: permission denied
//! ```
//!
//! ## How to fix it
//!
//! Set `fsGroup` in the pod's security context, or leave `defaultMode` out.
//!
//! ## How to verify the fix
//!
//! `kubectl exec POD -- head -c1 PATH` prints a character.
//!
//! ## References
//!
//! - Kubernetes, "Configure a Security Context for a Pod or Container":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
//! - Kubernetes enhancement 1205, "Bound Service Account Tokens", section "File Permission":
//!   <https://github.com/kubernetes/enhancements/blob/master/keps/sig-auth/1205-bound-service-account-tokens/README.md>
//! - Kubernetes issue 82573, "Projected serviceAccountToken has mode of mounted file hardcoded to 0600":
//!   <https://github.com/kubernetes/kubernetes/issues/82573>

use serde_json::{Value, json};

use crate::{
    doctor::{Case, Container, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, patch},
};

pub(super) const RULE: Rule = Rule::new(
    "POD13",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Version,
    ],
    check,
)
.blocked_by(&["POD10", "POD14"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mut findings = Vec::new();
    let mut looked = false;
    let is_old = is_before_1_19(case);
    for mechanism in case.mechanisms() {
        let Some(token) = &mechanism.token else {
            continue;
        };
        let Some(index) = pod.list("/spec/volumes").position(|volume| {
            volume.get("name").and_then(Value::as_str) == Some(&token.source.volume)
        }) else {
            continue;
        };
        looked = true;
        let file = File::of(pod, index, is_old);
        for container in pod.containers().filter(|container| container.list != "ephemeralContainers") {
            let Some(path) = container.mount_paths(&token.source.volume).next() else {
                continue;
            };
            let user = User::of(pod, &container);
            if file.readable_by(&user) {
                continue;
            }
            let path = format!("{}/{}", path.trim_end_matches('/'), token.source.path);
            findings.push(
                finding(case, pod, &container, &file, &user, &path, index).of(mechanism.provider),
            );
            break;
        }
    }
    if !looked {
        return Ok(Outcome::not_applicable("the pod has no token of a mechanism"));
    }
    Ok(Outcome::of(findings))
}

fn finding(
    case: &Case<'_>,
    pod: &Object,
    container: &Container<'_>,
    file: &File,
    user: &User,
    path: &str,
    volume: usize,
) -> Finding {
    let who = match user.uid {
        Some(uid) => format!("user {uid}"),
        None => "a user that is not root".to_owned(),
    };
    let finding = Finding::new(
        "POD13",
        format!(
            "container `{}` runs as {who}, who may not read `{path}`: mode {:04o}, owner {}",
            container.name(),
            file.mode,
            file.owner
        ),
    )
    .at(pod.subject_at(
        &format!("/spec/volumes/{volume}/projected/defaultMode"),
        "`defaultMode` of the token's volume",
    ))
    .evidence("kubelet", if file.is_old { "before 1.19: mode 0600" } else { "owner root, mode from `defaultMode`" })
    .answered(format!("open {path}: permission denied"))
    .fix("set `fsGroup` in the pod's security context: the kubelet then gives the file to that group");
    let Some(Place {
        object,
        template: Some(template),
    }) = Place::of_pod(case)
    else {
        return finding;
    };
    let group = user.uid.filter(|uid| *uid != 0).unwrap_or(65_534);
    let context = format!("{template}/spec/securityContext");
    let mut operations = Vec::new();
    if object.get(&context).is_none() {
        operations.push(json!({"op": "add", "path": context, "value": {}}));
    }
    operations.push(json!({"op": "add", "path": format!("{context}/fsGroup"), "value": group}));
    finding
        .command(patch(object, &Value::Array(operations)))
        .applicable(Applicability::Unsafe)
}

/// A token file, as the kubelet makes it.
struct File {
    mode: i64,
    owner: i64,
    group: i64,
    is_old: bool,
}

impl File {
    fn of(pod: &Object, volume: usize, is_old: bool) -> Self {
        const DEFAULT: i64 = 0o644;
        let fs_group = pod.get("/spec/securityContext/fsGroup").and_then(Value::as_i64);
        let shared = shared_user(pod);
        if fs_group.is_none() && shared.is_none() && !is_old {
            let mode = pod
                .get(&format!("/spec/volumes/{volume}/projected/defaultMode"))
                .and_then(Value::as_i64)
                .unwrap_or(DEFAULT);
            return Self {
                mode,
                owner: 0,
                group: 0,
                is_old,
            };
        }
        Self {
            // The group that a volume is given to may read all of it.
            mode: if fs_group.is_some() { 0o640 } else { 0o600 },
            owner: shared.filter(|_| !is_old).unwrap_or(0),
            group: fs_group.unwrap_or(0),
            is_old,
        }
    }

    /// Whether this user may read it; yes where nothing says otherwise.
    fn readable_by(&self, user: &User) -> bool {
        let Some(uid) = user.uid else {
            // Of such a user nothing is known but that it is not root.
            return !user.is_never_root
                || self.mode & 0o004 != 0
                || self.mode & 0o040 != 0
                || self.owner != 0;
        };
        let in_group = user.groups.contains(&self.group) || (user.gid.is_none() && self.group == 0);
        uid == 0
            || (uid == self.owner && self.mode & 0o400 != 0)
            || (in_group && self.mode & 0o040 != 0)
            || self.mode & 0o004 != 0
    }
}

/// Who a container runs as.
struct User {
    uid: Option<i64>,
    /// The primary group, where it is set.
    gid: Option<i64>,
    groups: Vec<i64>,
    is_never_root: bool,
}

impl User {
    fn of(pod: &Object, container: &Container<'_>) -> Self {
        let get = |member: &str| {
            container
                .value
                .pointer(&format!("/securityContext/{member}"))
                .or_else(|| pod.get(&format!("/spec/securityContext/{member}")))
        };
        let gid = get("runAsGroup").and_then(Value::as_i64);
        let mut groups: Vec<i64> = pod
            .list("/spec/securityContext/supplementalGroups")
            .filter_map(Value::as_i64)
            .collect();
        groups.extend(gid);
        groups.extend(pod.get("/spec/securityContext/fsGroup").and_then(Value::as_i64));
        Self {
            uid: get("runAsUser").and_then(Value::as_i64),
            gid,
            groups,
            is_never_root: get("runAsNonRoot").and_then(Value::as_bool) == Some(true),
        }
    }
}

/// The user that every container and init container sets, if all set the same.
fn shared_user(pod: &Object) -> Option<i64> {
    let mut users = pod
        .containers()
        .filter(|container| container.list != "ephemeralContainers")
        .map(|container| User::of(pod, &container).uid);
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}

fn is_before_1_19(case: &Case<'_>) -> bool {
    let of_node = match case.node() {
        Ok(Some(node)) => node.text("/status/nodeInfo/kubeletVersion"),
        _ => None,
    };
    let version = match (of_node, case.version()) {
        (Some(version), _) => version,
        (None, Ok(Some(version))) => version.as_str(),
        _ => return false,
    };
    let mut parts = version.trim_start_matches('v').split('.');
    parts.next() == Some("1")
        && parts
            .next()
            .and_then(|minor| minor.trim_end_matches('+').parse::<u32>().ok())
            .is_some_and(|minor| minor < 19)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, facts::Fact, rules::fixture::Fixture};

    #[test]
    fn the_default_mode_is_for_everybody() {
        let fixture = Fixture::irsa().pod(|pod| pod["spec"]["securityContext"] = json!({"runAsUser": 1000}));
        assert_eq!(fixture.decide("POD13"), Ok(Outcome::Pass));
        assert_eq!(Fixture::cwii_all().decide("POD13"), Ok(Outcome::Pass));
    }

    fn narrow() -> Fixture {
        Fixture::irsa().pod(|pod| {
            pod["spec"]["volumes"][0]["projected"]["defaultMode"] = json!(0o400);
            pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "root", "image": "x"}));
            pod["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 1000});
        })
    }

    #[test]
    fn a_narrow_mode_shuts_out_a_user_that_is_not_root() {
        let Ok(Outcome::Found(findings)) = narrow().decide("POD13") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            "container `app` runs as user 1000, who may not read \
             `/var/run/secrets/eks.amazonaws.com/serviceaccount/token`: mode 0400, owner 0"
        );
        assert_eq!(
            findings[0].fix.commands,
            ["kubectl -n shop patch deployment checkout --type=json -p \
              '[{\"op\":\"add\",\"path\":\"/spec/template/spec/securityContext\",\"value\":{}},\
              {\"op\":\"add\",\"path\":\"/spec/template/spec/securityContext/fsGroup\",\"value\":1000}]'"]
        );
    }

    #[test]
    fn a_group_or_a_user_of_all_containers_opens_it() {
        let group = narrow().pod(|pod| pod["spec"]["securityContext"] = json!({"fsGroup": 2000}));
        assert_eq!(group.decide("POD13"), Ok(Outcome::Pass));
        let shared = narrow().pod(|pod| pod["spec"]["containers"][1]["securityContext"] = json!({"runAsUser": 1000}));
        assert_eq!(shared.decide("POD13"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_user_that_only_the_image_knows_is_judged_where_it_is_not_root() {
        let unknown = narrow().pod(|pod| pod["spec"]["containers"][0]["securityContext"] = json!({}));
        assert_eq!(unknown.decide("POD13"), Ok(Outcome::Pass));
        let never_root = narrow()
            .pod(|pod| pod["spec"]["containers"][0]["securityContext"] = json!({"runAsNonRoot": true}));
        assert_eq!(never_root.messages("POD13").len(), 1);
    }

    // eks#8: kubelets before 1.19
    #[test]
    fn an_old_kubelet_gives_the_file_to_root_alone() {
        let fixture = Fixture::irsa()
            .pod(|pod| pod["spec"]["securityContext"] = json!({"runAsUser": 1000}))
            .with(|facts| facts.version = Fact::Known("v1.18.20-eks-1".into()));
        assert!(fixture.messages("POD13")[0].ends_with("mode 0600, owner 0"));
    }

    #[test]
    fn a_pod_without_tokens_does_not_concern_it() {
        assert!(matches!(Fixture::plain().decide("POD13"), Ok(Outcome::NotApplicable(_))));
    }
}
