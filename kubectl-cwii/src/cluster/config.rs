//! Which cluster, as whom: kubeconfigs, flags and the pod's own environment, by the rules of client-go.
//!
//! kube reads one kubeconfig and builds a client from it. It differs from kubectl where that matters here, so the rules
//! stand in this file: files that `KUBECONFIG` names and that do not exist are passed over; an empty `current-context`
//! is none; a context may lack its cluster or user; `tokenFile` comes before `token`; the flags override members in the
//! way of client-go's `tools/clientcmd`; groups without a user are not impersonated in silence; and no error repeats a
//! part of the file, which holds secrets.
//!
//! Sources: "Organizing Cluster Access Using kubeconfig Files"
//! (<https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>), "kubeconfig (v1)"
//! (<https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>).

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use http::Uri;
use kube::config::{AuthInfo, Cluster, Context};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    cli::Globals,
    problem::{Problem, described},
};

/// The environment that configuration is read from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) kubeconfig: Option<OsString>,
    pub(crate) home: Option<PathBuf>,
    /// `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
    pub(crate) service: Option<(String, String)>,
    /// Where the kubelet puts a pod's credentials.
    pub(crate) service_account: PathBuf,
}

impl Environment {
    pub(crate) fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            kubeconfig: std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()),
            // Windows has the second; client-go asks for the first there as well.
            home: text("HOME")
                .or_else(|| text("USERPROFILE").filter(|_| cfg!(windows)))
                .map(PathBuf::from),
            service: text("KUBERNETES_SERVICE_HOST").zip(text("KUBERNETES_SERVICE_PORT")),
            service_account: SERVICE_ACCOUNT.into(),
        }
    }
}

/// How to reach a cluster, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// The kubeconfig's context; none in a pod, and where flags name everything.
    pub(crate) context: Option<String>,
    /// The kubeconfig's name of the cluster.
    pub(crate) cluster_name: Option<String>,
    /// The kubeconfig's name of the user.
    pub(crate) user_name: Option<String>,
    /// Where the API server is.
    pub(crate) server: Uri,
    /// The namespace of what is named without one.
    pub(crate) namespace: String,
    pub(crate) cluster: Cluster,
    pub(crate) user: AuthInfo,
    /// Where all of this comes from, for messages.
    pub(crate) source: String,
}

impl Access {
    /// Reads what flags, environment and kubeconfigs say.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no kubeconfig, a name that is in none, or nothing at all.
    pub(crate) fn load(flags: &Globals, environment: &Environment) -> Result<Self, Problem> {
        let merged = Merged::load(flags, environment)?;
        let names_something = flags.context.is_some()
            || flags.cluster.is_some()
            || flags.user.is_some()
            || flags.server.is_some();
        let mut access = if merged.is_empty() && !merged.named && !names_something {
            match &environment.service {
                Some(service) => in_cluster(service, &environment.service_account)?,
                None => return Err(merged.nothing()),
            }
        } else {
            merged.select(flags)?
        };
        access.override_by(flags)?;
        Ok(access)
    }

    /// The API server's URL, for messages.
    pub(crate) fn server_text(&self) -> String {
        self.server.to_string().trim_end_matches('/').to_owned()
    }

    fn override_by(&mut self, flags: &Globals) -> Result<(), Problem> {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
        let cluster = &mut self.cluster;
        if let Some(path) = text(&flags.certificate_authority) {
            cluster.certificate_authority = Some(path);
            cluster.certificate_authority_data = None;
        }
        if let Some(insecure) = flags.insecure_skip_tls_verify {
            cluster.insecure_skip_tls_verify = Some(insecure);
            if insecure && flags.certificate_authority.is_none() {
                cluster.certificate_authority = None;
                cluster.certificate_authority_data = None;
            }
        }
        // A server that was named by hand has its own name, not the kubeconfig's.
        if flags.tls_server_name.is_some() || flags.server.is_some() {
            cluster.tls_server_name.clone_from(&flags.tls_server_name);
        }
        let user = &mut self.user;
        if let Some(path) = text(&flags.client_certificate) {
            user.client_certificate = Some(path);
            user.client_certificate_data = None;
        }
        if let Some(path) = text(&flags.client_key) {
            user.client_key = Some(path);
            user.client_key_data = None;
        }
        if flags.as_user.is_some() {
            user.impersonate.clone_from(&flags.as_user);
        }
        if flags.as_uid.is_some() {
            user.impersonate_uid.clone_from(&flags.as_uid);
        }
        if !flags.as_group.is_empty() {
            user.impersonate_groups = Some(flags.as_group.clone());
        }
        let somebody = user.impersonate.as_deref().is_some_and(|u| !u.is_empty());
        let more = user.impersonate_uid.is_some()
            || user
                .impersonate_groups
                .as_ref()
                .is_some_and(|g| !g.is_empty())
            || user
                .impersonate_user_extra
                .as_ref()
                .is_some_and(|e| !e.is_empty());
        if more && !somebody {
            return Err(
                Problem::new("a group, UID or extra is to be impersonated, but no user")
                    .help("name the user with --as"),
            );
        }
        if let Some(namespace) = &flags.namespace {
            self.namespace.clone_from(namespace);
        }
        Ok(())
    }
}

/// Names of contexts, clusters or users of the kubeconfigs, for completion; none where they cannot be read.
pub(crate) fn names(what: &str, flags: &Globals, environment: &Environment) -> Vec<String> {
    fn first<T>(entries: Vec<(String, T)>) -> Vec<String> {
        entries.into_iter().map(|(name, _)| name).collect()
    }
    let Ok(merged) = Merged::load(flags, environment) else {
        return Vec::new();
    };
    match what {
        "context" => first(merged.contexts),
        "cluster" => first(merged.clusters),
        _ => first(merged.users),
    }
}

/// What the kubeconfigs say together. The first file that has an entry wins.
#[derive(Debug, Default)]
struct Merged {
    /// The files that were looked for.
    files: Vec<PathBuf>,
    /// The entries that a relative path would be looked up from are absolute already.
    clusters: Vec<(String, Cluster)>,
    users: Vec<(String, AuthInfo)>,
    contexts: Vec<(String, Context)>,
    current: Option<String>,
    /// Whether anybody named a kubeconfig.
    named: bool,
}

impl Merged {
    fn load(flags: &Globals, environment: &Environment) -> Result<Self, Problem> {
        let mut merged = Self {
            named: flags.kubeconfig.is_some() || environment.kubeconfig.is_some(),
            ..Self::default()
        };
        if let Some(path) = &flags.kubeconfig {
            merged.add(path, true)?;
        } else if let Some(list) = &environment.kubeconfig {
            for path in std::env::split_paths(list).filter(|p| !p.as_os_str().is_empty()) {
                merged.add(&path, false)?;
            }
        } else if let Some(home) = &environment.home {
            merged.add(&home.join(".kube/config"), false)?;
        }
        Ok(merged)
    }

    fn add(&mut self, path: &Path, must_exist: bool) -> Result<(), Problem> {
        let shown = path.display();
        self.files.push(path.to_owned());
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(()),
            Err(error) => {
                return Err(Problem::new(format!(
                    "the kubeconfig `{shown}` could not be read: {}",
                    described(&error)
                )));
            }
        };
        // Where the error is, and not what stands there.
        let documents: Vec<Value> = serde_saphyr::from_slice_multiple(&bytes).map_err(|error| {
            let place = error.location().map_or_else(String::new, |place| {
                format!(", line {}, column {}", place.line(), place.column())
            });
            Problem::new(format!("the kubeconfig `{shown}` is not YAML{place}"))
        })?;
        let directory = std::path::absolute(path)
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned))
            .unwrap_or_default();
        for document in documents {
            match &document {
                Value::Null => {}
                Value::Object(_) => self.add_document(&document, &directory, path)?,
                _ => {
                    return Err(Problem::new(format!(
                        "the kubeconfig `{shown}` holds no mapping, expected `clusters`, `users` and `contexts`"
                    )));
                }
            }
        }
        Ok(())
    }

    fn add_document(
        &mut self,
        document: &Value,
        directory: &Path,
        path: &Path,
    ) -> Result<(), Problem> {
        let absolute = |file: &mut Option<String>| {
            if let Some(file) = file.as_mut().filter(|file| !file.is_empty()) {
                *file = directory.join(&*file).to_string_lossy().into_owned();
            }
        };
        for (name, mut cluster) in entries::<Cluster>(document, "clusters", "cluster", path)? {
            absolute(&mut cluster.certificate_authority);
            add_new(&mut self.clusters, name, cluster);
        }
        for (name, mut user) in entries::<AuthInfo>(document, "users", "user", path)? {
            absolute(&mut user.client_certificate);
            absolute(&mut user.client_key);
            absolute(&mut user.token_file);
            // A bare name is looked up in PATH.
            if let Some(exec) = &mut user.exec
                && exec.command.as_ref().is_some_and(|c| c.contains('/'))
            {
                absolute(&mut exec.command);
            }
            add_new(&mut self.users, name, user);
        }
        for (name, context) in entries::<Context>(document, "contexts", "context", path)? {
            add_new(&mut self.contexts, name, context);
        }
        if self.current.is_none() {
            self.current = document["current-context"]
                .as_str()
                .filter(|name| !name.is_empty())
                .map(str::to_owned);
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.clusters.is_empty() && self.users.is_empty() && self.contexts.is_empty()
    }

    fn select(self, flags: &Globals) -> Result<Access, Problem> {
        let source = self.source();
        let context_name = flags
            .context
            .as_ref()
            .filter(|name| !name.is_empty())
            .or(self.current.as_ref());
        let context = match context_name {
            Some(name) => match find(&self.contexts, name) {
                Some(context) => context.clone(),
                None => return Err(unknown("context", name, &source, &self.contexts)),
            },
            None if flags.server.is_none() && flags.cluster.is_none() => {
                let problem = if self.is_empty() {
                    self.nothing()
                } else {
                    Problem::new(format!("no context is chosen in {source}"))
                        .help("choose one with --context, or with")
                        .help("  kubectl config use-context NAME")
                };
                return Err(problem);
            }
            None => Context::default(),
        };
        let cluster_name = flags
            .cluster
            .clone()
            .or(Some(context.cluster).filter(|name| !name.is_empty()));
        let cluster = match &cluster_name {
            Some(name) => match find(&self.clusters, name) {
                Some(cluster) => cluster.clone(),
                // A server of its own needs no cluster of the kubeconfig.
                None if flags.server.is_some() && flags.cluster.is_none() => Cluster::default(),
                None => return Err(unknown("cluster", name, &source, &self.clusters)),
            },
            None => Cluster::default(),
        };
        let user_name = flags
            .user
            .clone()
            .or(context.user.filter(|name| !name.is_empty()));
        let user = match &user_name {
            Some(name) => match find(&self.users, name) {
                Some(user) => user.clone(),
                None => return Err(unknown("user", name, &source, &self.users)),
            },
            None => AuthInfo::default(),
        };
        let server = flags
            .server
            .as_ref()
            .or(cluster.server.as_ref())
            .filter(|server| !server.is_empty());
        let Some(server) = server else {
            return Err(Problem::new(format!(
                "the cluster has no `server` in {source}"
            )));
        };
        Ok(Access {
            server: server_url(server)?,
            context: context_name.cloned(),
            cluster_name,
            user_name,
            namespace: context
                .namespace
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            cluster,
            user,
            source,
        })
    }

    fn source(&self) -> String {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|file| format!("`{}`", file.display()))
            .collect();
        match &*files {
            [] => "the flags".to_owned(),
            [one] => format!("the kubeconfig {one}"),
            _ => format!("the kubeconfigs {}", files.join(", ")),
        }
    }

    fn nothing(&self) -> Problem {
        let looked = if self.files.is_empty() {
            "no kubeconfig is named and there is no home directory".to_owned()
        } else {
            format!("{} names no cluster or does not exist", self.source())
        };
        Problem::new(format!("no cluster is configured: {looked}")).help(
            "name a kubeconfig with --kubeconfig or KUBECONFIG, or an API server with --server",
        )
    }
}

/// The entries of one list, by name. An entry of another shape is named by its place, and its content is not repeated.
fn entries<T: DeserializeOwned + Default>(
    document: &Value,
    list: &str,
    member: &str,
    path: &Path,
) -> Result<Vec<(String, T)>, Problem> {
    let wrong = |place: String, expected: &str| {
        Problem::new(format!(
            "`{place}` of the kubeconfig `{}` is not {expected}",
            path.display()
        ))
    };
    let items = match &document[list] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        _ => return Err(wrong(list.to_owned(), "a list")),
    };
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let name = item["name"]
                .as_str()
                .ok_or_else(|| wrong(format!("{list}[{index}].name"), "a text"))?;
            let mut content = item[member].clone();
            if content.is_null() {
                return Ok((name.to_owned(), T::default()));
            }
            // Required by kube's types, not by kubectl.
            if member == "context"
                && let Some(context) = content.as_object_mut()
            {
                context.entry("cluster").or_insert_with(|| "".into());
            }
            let entry = serde_json::from_value(content).map_err(|_| {
                wrong(
                    format!("{list}[{index}].{member}"),
                    "what `kubeconfig.v1` says",
                )
            })?;
            Ok((name.to_owned(), entry))
        })
        .collect()
}

fn add_new<T>(entries: &mut Vec<(String, T)>, name: String, entry: T) {
    if find(entries, &name).is_none() {
        entries.push((name, entry));
    }
}

fn find<'e, T>(entries: &'e [(String, T)], name: &str) -> Option<&'e T> {
    entries
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, entry)| entry)
}

fn unknown<T>(what: &str, name: &str, source: &str, known: &[(String, T)]) -> Problem {
    let problem = Problem::new(format!("{what} `{name}` does not exist in {source}"));
    let names = known.iter().map(|(name, _)| name.as_str());
    match crate::target::nearest(name, names) {
        Some(nearest) => problem.help(format!("there is a {what} `{nearest}`")),
        None if what == "context" => problem
            .help("list the contexts with")
            .help("  kubectl config get-contexts"),
        None => problem,
    }
}

fn server_url(text: &str) -> Result<Uri, Problem> {
    let whole = text.trim();
    let trimmed = whole.trim_end_matches('/');
    // As client-go reads a host without a scheme.
    let whole = if whole.contains("://") {
        trimmed.to_owned()
    } else {
        format!("https://{trimmed}")
    };
    whole
        .parse::<Uri>()
        .ok()
        .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
        .ok_or_else(|| {
            Problem::new(format!(
                "`{text}` is not the URL of an API server, expected one such as `https://10.0.0.1:6443`"
            ))
        })
}

/// What the kubelet gives every pod. "Accessing the API from within a Pod"
/// (<https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>).
fn in_cluster((host, port): &(String, String), directory: &Path) -> Result<Access, Problem> {
    let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let namespace = fs::read_to_string(directory.join("namespace"))
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let user = AuthInfo {
        token_file: Some(file("token")),
        ..AuthInfo::default()
    };
    let cluster = Cluster {
        certificate_authority: Some(file("ca.crt")),
        ..Cluster::default()
    };
    Ok(Access {
        context: None,
        cluster_name: None,
        user_name: None,
        server: server_url(&format!("https://{host}:{port}"))?,
        namespace,
        cluster,
        user,
        source: "the service account of this pod".to_owned(),
    })
}

const DEFAULT_NAMESPACE: &str = "default";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
current-context: a
clusters:
- {name: c, cluster: {server: "https://k8s:6443/", tls-server-name: t, certificate-authority-data: eA==, certificate-authority: ca.crt}}
users:
- {name: u, user: {client-certificate-data: eA==, client-key-data: eA==, exec: {command: ./plugin}}}
- {name: v, user: {client-key: key, exec: {command: plugin}}}
contexts:
- {name: a, context: {cluster: c, user: u, namespace: shop}}
- {name: b, context: {user: v}}
"#;

    fn load(change: impl FnOnce(&mut Globals)) -> Access {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, CONFIG).unwrap();
        let mut flags = Globals {
            kubeconfig: Some(path),
            ..Globals::default()
        };
        change(&mut flags);
        let mut access = Access::load(&flags, &Environment::default()).unwrap();
        // The directory is another one each time.
        let place = format!("{}/", dir.path().display());
        for path in [
            &mut access.cluster.certificate_authority,
            &mut access.user.client_key,
        ] {
            *path = path.take().map(|path| path.replace(&place, "dir/"));
        }
        if let Some(exec) = &mut access.user.exec {
            exec.command = exec.command.take().map(|c| c.replace(&place, "dir/"));
        }
        access
    }

    #[test]
    fn paths_are_looked_up_from_the_file_and_bare_programs_in_path() {
        let access = load(|_| {});
        assert_eq!(access.server_text(), "https://k8s:6443");
        assert_eq!(access.namespace, "shop");
        assert_eq!(
            access.cluster.certificate_authority.as_deref(),
            Some("dir/ca.crt")
        );
        let plugin = |access: &Access| access.user.exec.as_ref().unwrap().command.clone().unwrap();
        assert_eq!(plugin(&access), "dir/./plugin");
        let other = load(|flags| {
            flags.context = Some("b".into());
            flags.cluster = Some("c".into());
        });
        assert_eq!(plugin(&other), "plugin");
        assert_eq!(other.user.client_key.as_deref(), Some("dir/key"));
        assert_eq!(other.namespace, "default");
    }

    #[test]
    fn flags_override_as_in_clientcmd() {
        let access = load(|flags| flags.server = Some("10.0.0.1:6443/".into()));
        assert_eq!(access.server_text(), "https://10.0.0.1:6443");
        assert_eq!(
            access.cluster.tls_server_name, None,
            "the name of another server"
        );
        let access = load(|flags| flags.insecure_skip_tls_verify = Some(true));
        assert_eq!(access.cluster.certificate_authority_data, None);
        assert_eq!(access.cluster.certificate_authority, None);
        let access = load(|flags| flags.certificate_authority = Some("other.crt".into()));
        assert_eq!(
            access.cluster.certificate_authority.as_deref(),
            Some("other.crt")
        );
        assert_eq!(access.cluster.certificate_authority_data, None);
        let access = load(|flags| {
            flags.client_certificate = Some("x.crt".into());
            flags.client_key = Some("x.key".into());
        });
        assert!(
            access.user.client_certificate_data.is_none() && access.user.client_key_data.is_none()
        );
        let access = load(|flags| flags.namespace = Some("other".into()));
        assert_eq!(access.namespace, "other");
    }

    #[test]
    fn a_pod_finds_its_own_api_server() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("namespace"), "shop\n").unwrap();
        let environment = Environment {
            service: Some(("fd00::1".into(), "443".into())),
            service_account: dir.path().to_owned(),
            ..Environment::default()
        };
        let access = Access::load(&Globals::default(), &environment).unwrap();
        assert_eq!(access.server_text(), "https://[fd00::1]:443");
        assert_eq!(access.namespace, "shop");
        assert!(access.user.token_file.unwrap().ends_with("/token"));
        // Something was named: the pod's own credentials are not for that.
        let flags = Globals {
            context: Some("x".into()),
            ..Globals::default()
        };
        assert!(Access::load(&flags, &environment).is_err());
    }

    #[test]
    fn a_server_is_a_url_or_a_host() {
        for (text, url) in [
            ("https://a.example/prefix/", "https://a.example/prefix"),
            ("a.example", "https://a.example/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ] {
            assert_eq!(server_url(text).unwrap().to_string(), url);
        }
        for text in ["ftp://a", "https://", "a b"] {
            assert!(server_url(text).is_err(), "{text}");
        }
    }
}
