//! `aws`, `gcloud` and `az` on the fixture's trust documents.

use serde_json::{Map, Value, json};

use super::{Command, World, text, text_of};

impl World {
    pub(super) fn aws(&mut self, command: &Command) -> Result<(), String> {
        let words = command.arguments();
        match words.as_slice() {
            ["iam", "update-assume-role-policy"] => {
                let role = command.need(&["role-name"])?;
                let policy = self.document(command, command.need(&["policy-document"])?)?;
                let mut found = false;
                for document in self.trust.values_mut() {
                    each_role(document, &mut |known| {
                        if text_of(known, "RoleName") == role {
                            known["AssumeRolePolicyDocument"] = policy.clone();
                            found = true;
                        }
                    });
                }
                if !found {
                    // A policy alone names no role; the only one is this one's.
                    let alone: Vec<_> = self
                        .trust
                        .iter_mut()
                        .filter(|(_, document)| document.get("Statement").is_some())
                        .collect();
                    match alone.into_iter().next() {
                        Some((_, document)) => *document = policy,
                        None => return Err(format!("no role `{role}` among the documents")),
                    }
                }
                Ok(())
            }
            ["iam", "update-role"] => {
                let role = command.need(&["role-name"])?;
                let seconds: u64 = number(command, &["max-session-duration"])?;
                let mut found = false;
                for document in self.trust.values_mut() {
                    each_role(document, &mut |known| {
                        if text_of(known, "RoleName") == role {
                            known["MaxSessionDuration"] = seconds.into();
                            found = true;
                        }
                    });
                }
                found
                    .then_some(())
                    .ok_or_else(|| format!("no role `{role}`"))
            }
            ["iam", "create-open-id-connect-provider"] => {
                let url = command.need(&["url"])?;
                let host = url.trim_start_matches("https://");
                let account = command
                    .flag(&["profile"])
                    .and_then(digits)
                    .or_else(|| self.account())
                    .ok_or("nobody knows the account that the provider is created in")?;
                let arn = format!(
                    "arn:{}:iam::{account}:oidc-provider/{host}",
                    self.partition()
                );
                for document in self.trust.values_mut() {
                    if let Some(list) = document
                        .get_mut("OpenIDConnectProviderList")
                        .and_then(Value::as_array_mut)
                    {
                        list.push(json!({ "Arn": arn }));
                    }
                }
                let thumbprints = command.list(&["thumbprint-list"]).unwrap_or_default();
                self.trust.insert(
                    format!("oidc-provider-{account}-{}.json", host.replace('/', "-")),
                    json!({"Url": host, "ClientIDList": command.list(&["client-id-list"]).unwrap_or_default(),
                        "ThumbprintList": thumbprints, "CreateDate": self.now.to_string(), "Tags": []}),
                );
                Ok(())
            }
            ["iam", "add-client-id-to-open-id-connect-provider"] => {
                let client = command.need(&["client-id"])?.to_owned();
                self.edit_provider(command, |provider| {
                    if let Some(list) = provider["ClientIDList"].as_array_mut()
                        && !list.contains(&json!(client))
                    {
                        list.push(client.clone().into());
                    }
                })
            }
            ["iam", "update-open-id-connect-provider-thumbprint"] => {
                let thumbprints = command.list(&["thumbprint-list"]).unwrap_or_default();
                self.edit_provider(command, |provider| {
                    provider["ThumbprintList"] = json!(thumbprints);
                })
            }
            ["eks", "create-pod-identity-association"] => {
                let need = |flag| command.need(&[flag]).map(str::to_owned);
                let (cluster, namespace, account, role) = (
                    need("cluster-name")?,
                    need("namespace")?,
                    need("service-account")?,
                    need("role-arn")?,
                );
                let now = self.now.to_string();
                let id = format!("a-cwiitest{:06}", self.trust.len());
                let association = json!({"clusterName": cluster, "namespace": namespace, "serviceAccount": account,
                    "roleArn": role, "associationId": id, "createdAt": now, "modifiedAt": now,
                    "associationArn": format!("arn:aws:eks:eu-central-1:111122223333:podidentityassociation/{cluster}/{id}")});
                let of_list = |document: &Value| document.get("associations").is_some();
                if let Some(list) = self
                    .trust
                    .values_mut()
                    .find(|document| of_list(document))
                    .and_then(|document| document["associations"].as_array_mut())
                {
                    let mut short = association.clone();
                    if let Some(short) = short.as_object_mut() {
                        short.remove("roleArn");
                    }
                    list.push(short);
                }
                self.trust.insert(
                    format!("pod-identity-association-{id}.json"),
                    json!({ "association": association }),
                );
                Ok(())
            }
            ["eks", "update-pod-identity-association"] => {
                let id = command.need(&["association-id"])?;
                let role = command.flag(&["role-arn"]).map(str::to_owned);
                let document = self
                    .trust
                    .values_mut()
                    .find(|document| text(document, "/association/associationId") == id)
                    .ok_or_else(|| format!("no association `{id}`"))?;
                if let Some(role) = role {
                    document["association"]["roleArn"] = role.into();
                }
                Ok(())
            }
            ["eks", "delete-pod-identity-association"] => {
                let id = command.need(&["association-id"])?.to_owned();
                self.trust
                    .retain(|_, document| text(document, "/association/associationId") != id);
                for document in self.trust.values_mut() {
                    if let Some(list) = document
                        .get_mut("associations")
                        .and_then(Value::as_array_mut)
                    {
                        list.retain(|one| text_of(one, "associationId") != id);
                    }
                }
                Ok(())
            }
            ["iam", verb, ..] | ["eks", verb, ..] | ["sts", verb, ..]
                if verb.starts_with("get-")
                    || verb.starts_with("list-")
                    || verb.starts_with("describe-") =>
            {
                Ok(())
            }
            _ => Err(unknown(command)),
        }
    }

    pub(super) fn gcloud(&mut self, command: &Command) -> Result<(), String> {
        let words = command.arguments();
        match words.as_slice() {
            [
                "iam",
                "workload-identity-pools",
                "providers",
                "update-oidc",
                name,
            ] => {
                command.only(&[
                    "location",
                    "workload-identity-pool",
                    "project",
                    "issuer-uri",
                    "allowed-audiences",
                    "attribute-mapping",
                    "attribute-condition",
                    "jwk-json-path",
                    "no-disabled",
                ])?;
                let jwks = command
                    .flag(&["jwk-json-path"])
                    .map(|file| self.file(file))
                    .transpose()?;
                let provider = self.google_provider(command, name)?;
                if command.flags.contains_key("no-disabled") {
                    provider["disabled"] = false.into();
                }
                if let Some(issuer) = command.flag(&["issuer-uri"]) {
                    provider["oidc"]["issuerUri"] = issuer.into();
                }
                if let Some(audiences) = command.list(&["allowed-audiences"]) {
                    provider["oidc"]["allowedAudiences"] = json!(audiences);
                }
                if let Some(mapping) = command.flag(&["attribute-mapping"]) {
                    let mapping: Map<String, Value> = split_mapping(mapping)
                        .into_iter()
                        .map(|(key, value)| (key, value.into()))
                        .collect();
                    provider["attributeMapping"] = mapping.into();
                }
                if let Some(condition) = command.flag(&["attribute-condition"]) {
                    provider["attributeCondition"] = condition.into();
                }
                if let Some(jwks) = jwks {
                    provider["oidc"]["jwksJson"] = jwks.into();
                }
                Ok(())
            }
            [
                "iam",
                "workload-identity-pools",
                "providers",
                "undelete",
                name,
            ] => {
                let provider = self.google_provider(command, name)?;
                provider["state"] = "ACTIVE".into();
                if let Some(provider) = provider.as_object_mut() {
                    provider.remove("expireTime");
                }
                Ok(())
            }
            [
                "iam",
                "workload-identity-pools",
                verb @ ("update" | "undelete"),
                name,
            ] => {
                let pool = self
                    .trust
                    .values_mut()
                    .flat_map(each_google)
                    .find(|known| {
                        text_of(known, "name").ends_with(&format!("/workloadIdentityPools/{name}"))
                    })
                    .ok_or_else(|| format!("no pool `{name}`"))?;
                if *verb == "update" && !command.flags.contains_key("no-disabled") {
                    return Err(unknown(command));
                }
                pool["state"] = "ACTIVE".into();
                if let Some(pool) = pool.as_object_mut() {
                    pool.remove("disabled");
                    pool.remove("expireTime");
                }
                Ok(())
            }
            [
                "iam",
                "service-accounts",
                verb @ ("add-iam-policy-binding" | "remove-iam-policy-binding"),
                email,
            ] => {
                command.only(&["role", "member", "project", "condition"])?;
                let (role, member) = (
                    command.need(&["role"])?.to_owned(),
                    command.need(&["member"])?.to_owned(),
                );
                let policy = self.policy_of(email)?;
                if !policy["bindings"].is_array() {
                    policy["bindings"] = json!([]);
                }
                let Some(bindings) = policy["bindings"].as_array_mut() else {
                    return Err(unknown(command));
                };
                let of_role = bindings.iter_mut().find(|binding| {
                    text_of(binding, "role") == role && binding.get("condition").is_none()
                });
                match (*verb, of_role) {
                    ("add-iam-policy-binding", Some(binding)) => {
                        if let Some(members) = binding["members"].as_array_mut() {
                            members.push(member.into());
                        }
                    }
                    ("add-iam-policy-binding", None) => {
                        bindings.push(json!({"role": role, "members": [member]}));
                    }
                    (_, Some(binding)) => {
                        if let Some(members) = binding["members"].as_array_mut() {
                            members.retain(|known| known != &json!(member));
                        }
                    }
                    _ => return Err(format!("no binding of `{role}` to take `{member}` from")),
                }
                Ok(())
            }
            ["iam", "service-accounts", "enable", email] => {
                let email = (*email).to_owned();
                let account = self
                    .trust
                    .values_mut()
                    .flat_map(each_google)
                    .find(|known| text_of(known, "email") == email)
                    .ok_or_else(|| format!("no service account `{email}`"))?;
                account["disabled"] = false.into();
                Ok(())
            }
            ["services", "enable", services @ ..] => {
                for service in services {
                    for document in self.trust.values_mut() {
                        if let Some(list) = document.as_array_mut()
                            && list.iter().any(|one| one.get("config").is_some())
                        {
                            list.push(json!({"config": {"name": service}, "state": "ENABLED"}));
                        }
                    }
                }
                Ok(())
            }
            ["container", "clusters", "update", name] => {
                let pool = command.need(&["workload-pool"])?.to_owned();
                let cluster = self.cluster(name)?;
                cluster["workloadIdentityConfig"] = json!({ "workloadPool": pool });
                Ok(())
            }
            ["container", "node-pools", "update", name] => {
                let metadata = command.need(&["workload-metadata"])?.to_owned();
                let cluster_name = command.need(&["cluster"])?.to_owned();
                let pools = self
                    .cluster(&cluster_name)
                    .ok()
                    .and_then(|cluster| cluster.get_mut("nodePools").and_then(Value::as_array_mut));
                for pool in pools.into_iter().flatten() {
                    if text_of(pool, "name") == *name {
                        pool["config"]["workloadMetadataConfig"] = json!({ "mode": metadata });
                    }
                }
                for node in &mut self.objects {
                    if text(node, "/kind") == "Node"
                        && text(node, "/metadata/labels/cloud.google.com~1gke-nodepool") == *name
                    {
                        node["metadata"]["labels"]["iam.gke.io/gke-metadata-server-enabled"] =
                            "true".into();
                    }
                }
                Ok(())
            }
            words
                if words
                    .iter()
                    .any(|w| matches!(*w, "describe" | "list" | "get-iam-policy")) =>
            {
                Ok(())
            }
            _ => Err(unknown(command)),
        }
    }

    pub(super) fn az(&mut self, command: &Command) -> Result<(), String> {
        let words = command.arguments();
        match words.as_slice() {
            [
                "identity",
                "federated-credential",
                verb @ ("create" | "update" | "delete"),
            ] => {
                let name = command.need(&["name", "n"])?.to_owned();
                let identity = command.need(&["identity-name"])?.to_owned();
                let given = json!({
                    "issuer": command.flag(&["issuer"]), "subject": command.flag(&["subject"]),
                    "audiences": command.list(&["audiences", "audience"]),
                });
                self.credential(verb, &name, &given, |id| {
                    id.to_lowercase().contains(&format!(
                        "/userassignedidentities/{}/",
                        identity.to_lowercase()
                    ))
                })
            }
            [
                "ad",
                "app",
                "federated-credential",
                verb @ ("create" | "update" | "delete"),
            ] => {
                let parameters = match command.flag(&["parameters"]) {
                    Some(text) => self.document(command, text)?,
                    None => json!({}),
                };
                let name = command
                    .flag(&["federated-credential-id"])
                    .unwrap_or_else(|| text_of(&parameters, "name"))
                    .to_owned();
                self.credential(verb, &name, &parameters, |_| false)
            }
            ["aks", "update"] => {
                for document in self.trust.values_mut() {
                    if document.get("oidcIssuerProfile").is_none()
                        && document.get("securityProfile").is_none()
                        && document.get("agentPoolProfiles").is_none()
                    {
                        continue;
                    }
                    if command.flags.contains_key("enable-oidc-issuer") {
                        document["oidcIssuerProfile"]["enabled"] = true.into();
                    }
                    if command.flags.contains_key("enable-workload-identity") {
                        document["securityProfile"]["workloadIdentity"]["enabled"] = true.into();
                    }
                }
                Ok(())
            }
            words if words.iter().any(|w| matches!(*w, "show" | "list")) => Ok(()),
            _ => Err(unknown(command)),
        }
    }

    /// Creates, changes or deletes a federated identity credential in the list that holds its owner's.
    fn credential(
        &mut self,
        verb: &str,
        name: &str,
        given: &Value,
        is_owner: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let is_list = |file: &str, document: &Value| match document.as_array() {
            Some(list) if list.is_empty() => {
                let file = file.to_lowercase();
                file.contains("credential") || file.contains("fic")
            }
            Some(list) => list.iter().all(|one| one.get("issuer").is_some()),
            None => false,
        };
        let now = self.trust.len();
        let mut lists: Vec<_> = self
            .trust
            .iter_mut()
            .filter(|(file, document)| is_list(file, document))
            .map(|(_, document)| document)
            .collect();
        let owned = lists.iter().position(|list| {
            list.as_array()
                .into_iter()
                .flatten()
                .any(|one| is_owner(text_of(one, "id")))
        });
        let named = lists.iter().position(|list| {
            list.as_array()
                .into_iter()
                .flatten()
                .any(|one| text_of(one, "name") == name || text_of(one, "id") == name)
        });
        let index = named.or(owned).unwrap_or(0);
        if lists.is_empty() {
            return Err("no list of federated credentials among the documents".into());
        }
        let Some(list) = lists.swap_remove(index).as_array_mut() else {
            return Err("no list of federated credentials".into());
        };
        let at = list
            .iter()
            .position(|one| text_of(one, "name") == name || text_of(one, "id") == name);
        match (verb, at) {
            ("delete", Some(at)) => {
                list.remove(at);
            }
            ("create", Some(_)) => return Err(format!("there is a credential `{name}` already")),
            ("create", None) => {
                let id = match list.first().map(|one| text_of(one, "id")) {
                    Some(id) if id.contains('/') => {
                        let base = id.rsplit_once('/').map_or(id, |(base, _)| base);
                        format!("{base}/{name}")
                    }
                    _ => format!("00000000-0000-4000-8000-{now:012}"),
                };
                list.push(json!({"id": id, "name": name, "issuer": given["issuer"], "subject": given["subject"],
                    "audiences": given["audiences"]}));
            }
            (_, Some(at)) => {
                for member in ["issuer", "subject", "audiences"] {
                    if let Some(value) = given.get(member).filter(|value| !value.is_null()) {
                        list[at][member] = value.clone();
                    }
                }
            }
            (_, None) => return Err(format!("there is no credential `{name}`")),
        }
        Ok(())
    }

    /// JSON that a flag holds, or the file that it names.
    fn document(&self, command: &Command, value: &str) -> Result<Value, String> {
        let text = match value
            .strip_prefix("file://")
            .or_else(|| value.strip_prefix('@'))
        {
            Some(file) => self.file(file)?,
            None => value.to_owned(),
        };
        serde_json::from_str(&text).map_err(|error| format!("{error} in `{}`", command.text))
    }

    /// A file that a command wrote, or a document of the fixture.
    fn file(&self, name: &str) -> Result<String, String> {
        if let Some(text) = self.files.get(name) {
            return Ok(text.clone());
        }
        let base = name.rsplit('/').next().unwrap_or(name);
        self.trust
            .get(base)
            .map(Value::to_string)
            .ok_or_else(|| format!("no file `{name}`"))
    }

    /// Which account commands are for: that of the only role.
    fn account(&self) -> Option<String> {
        let mut arn = None;
        for document in self.trust.values() {
            let mut document = document.clone();
            each_role(&mut document, &mut |role| {
                arn.get_or_insert_with(|| text_of(role, "Arn").to_owned());
            });
        }
        let arn = arn.or_else(|| {
            let annotation = "/metadata/annotations/eks.amazonaws.com~1role-arn";
            let own = "/metadata/annotations/cwii.dev~1aws-role-arn";
            self.objects
                .iter()
                .flat_map(|object| [text(object, annotation), text(object, own)])
                .find(|arn| !arn.is_empty())
                .map(str::to_owned)
        })?;
        arn.split(':').nth(4).and_then(digits)
    }

    fn partition(&self) -> String {
        let mut partition = "aws".to_owned();
        for document in self.trust.values() {
            let mut document = document.clone();
            each_role(&mut document, &mut |role| {
                if let Some(found) = text_of(role, "Arn").split(':').nth(1) {
                    found.clone_into(&mut partition);
                }
            });
        }
        partition
    }

    fn edit_provider(
        &mut self,
        command: &Command,
        change: impl Fn(&mut Value),
    ) -> Result<(), String> {
        let arn = command.need(&["open-id-connect-provider-arn"])?;
        let host = arn
            .split_once(":oidc-provider/")
            .map(|(_, host)| host)
            .ok_or_else(|| unknown(command))?;
        let mut found = false;
        for document in self.trust.values_mut() {
            if text_of(document, "Url").trim_start_matches("https://") == host
                && ["", arn].contains(&text_of(document, "Arn"))
            {
                change(document);
                found = true;
            }
        }
        found
            .then_some(())
            .ok_or_else(|| format!("no provider `{arn}`"))
    }

    fn google_provider(&mut self, command: &Command, name: &str) -> Result<&mut Value, String> {
        let pool = command.need(&["workload-identity-pool"])?.to_owned();
        let tail = format!("/workloadIdentityPools/{pool}/providers/{name}");
        self.trust
            .values_mut()
            .flat_map(each_google)
            .find(|known| text_of(known, "name").ends_with(&tail))
            .ok_or_else(|| format!("no provider `{tail}`"))
    }

    /// The allow policy of a service account: the only one, or that in the file with its name.
    fn policy_of(&mut self, email: &str) -> Result<&mut Value, String> {
        let is_policy = |document: &Value| {
            document.get("bindings").is_some()
                || document.get("etag").is_some() && document.get("name").is_none()
        };
        let mut names: Vec<String> = self
            .trust
            .iter()
            .filter(|(_, document)| is_policy(document))
            .map(|(name, _)| name.clone())
            .collect();
        let name = match names.as_slice() {
            [only] => only.clone(),
            _ => {
                let user = email.split('@').next().unwrap_or(email).to_owned();
                names.retain(|name| name.contains(email) || name.contains(&user));
                names
                    .first()
                    .cloned()
                    .ok_or_else(|| format!("no policy of `{email}`"))?
            }
        };
        self.trust
            .get_mut(&name)
            .ok_or_else(|| format!("no policy of `{email}`"))
    }

    fn cluster(&mut self, name: &str) -> Result<&mut Value, String> {
        self.trust
            .values_mut()
            .flat_map(each_google)
            .find(|known| text_of(known, "name") == name && known.get("nodePools").is_some())
            .ok_or_else(|| format!("no cluster `{name}`"))
    }
}

/// The resources of a document of Google's: itself, or the elements of a list.
fn each_google(document: &mut Value) -> Vec<&mut Value> {
    match document {
        Value::Array(list) => list.iter_mut().collect(),
        one => vec![one],
    }
}

fn each_role(document: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    if document.get("RoleName").is_some() {
        visit(document);
        return;
    }
    if let Some(role) = document.get_mut("Role") {
        visit(role);
        return;
    }
    let list = match document {
        Value::Array(list) => Some(list),
        Value::Object(members) => members.get_mut("Roles").and_then(Value::as_array_mut),
        _ => None,
    };
    for role in list.into_iter().flatten() {
        if role.get("RoleName").is_some() || role.get("Role").is_some() {
            each_role(role, visit);
        }
    }
}

/// `a=b,c=d`, where values are expressions that may hold commas.
fn split_mapping(text: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in text.split(',') {
        match part.split_once('=') {
            Some((key, value)) if key.starts_with("google.") || key.starts_with("attribute.") => {
                pairs.push((key.to_owned(), value.to_owned()));
            }
            _ => {
                if let Some((_, value)) = pairs.last_mut() {
                    value.push(',');
                    value.push_str(part);
                }
            }
        }
    }
    pairs
}

fn digits(text: &str) -> Option<String> {
    (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.to_owned())
}

fn number(command: &Command, names: &[&str]) -> Result<u64, String> {
    command.need(names)?.parse().map_err(|_| unknown(command))
}

fn unknown(command: &Command) -> String {
    format!("the interpreter does not know `{}`", command.text)
}
