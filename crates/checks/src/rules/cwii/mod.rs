//! What cwii promises in a cluster.

use cwii_contract::{
    Difference, Plan, Provider, Warning, annotations, differences, names, types::shorten_to,
};

use super::words::Place;
use crate::{
    doctor::{Case, Gap, Object, Replay},
    facts::Fact,
};

group! { cwii01 cwii02 cwii03 cwii04 cwii05 cwii06 cwii07 }

/// Where a live pod is not as the webhook would make it, for one provider. What its own template brings, what the webhook's
/// version alone explains, and containers that others added are no differences.
pub(super) fn altered(
    case: &Case<'_>,
    replay: &Replay,
    provider: Provider,
) -> Result<Vec<Difference>, Gap> {
    let pod = case.pod()?;
    let Ok(plan) = &replay.plan else {
        return Ok(Vec::new());
    };
    let Some(plan) = only(plan, provider) else {
        return Ok(Vec::new());
    };
    let version = pod.annotation("cwii.dev/webhook-version");
    let knows_images = matches!(
        &case
            .look(crate::doctor::Need::WebhookSettings)
            .webhook_settings,
        Fact::Known(_)
    ) && version.is_none_or(|version| version == plan.version);
    let own: Vec<String> = replay
        .admitted
        .iter()
        .flat_map(|admitted| differences(admitted.value(), &plan))
        .map(|difference| difference.what)
        .collect();
    Ok(differences(pod.value(), &plan)
        .into_iter()
        .filter(|difference| !difference.pointer.starts_with("/metadata/annotations/"))
        .filter(|difference| !own.contains(&difference.what))
        .filter(|difference| {
            let is_image = difference.pointer.starts_with("/spec/initContainers/")
                && difference.pointer.ends_with("/image");
            knows_images || !is_image
        })
        .filter(|difference| !is_of_a_late_container(pod, replay, &difference.pointer))
        .collect())
}

/// Whether a pod carries anything of a provider's injection.
pub(super) fn is_injected(pod: &Object, provider: Provider) -> bool {
    let volume = names::token_volume(provider);
    pod.list("/spec/volumes")
        .any(|found| found.get("name").and_then(serde_json::Value::as_str) == Some(volume))
}

/// The part of a plan that is one provider's.
fn only(plan: &Plan, provider: Provider) -> Option<Plan> {
    let part = plan
        .providers
        .iter()
        .find(|planned| planned.provider == provider)?;
    Some(Plan {
        providers: vec![part.clone()],
        ..plan.clone()
    })
}

/// Whether a pointer leads into a container that the template does not have: somebody else put it in, maybe after us.
fn is_of_a_late_container(pod: &Object, replay: &Replay, pointer: &str) -> bool {
    let Some(admitted) = &replay.admitted else {
        return false;
    };
    let mut members = pointer.split('/').skip(2);
    let (Some(list), Some(index)) = (members.next(), members.next()) else {
        return false;
    };
    let Ok(index) = index.parse::<usize>() else {
        return false;
    };
    pod.containers()
        .find(|container| container.list == list && container.index == index)
        .is_some_and(|container| {
            !admitted
                .containers()
                .any(|other| other.list == list && other.name() == container.name())
        })
}

/// The annotation that a warning speaks of: its place, its key and its value.
fn place_of<'a>(case: &Case<'a>, warning: &Warning) -> Option<(Place<'a>, &'a str, &'a str)> {
    let (layers, _) = case.known().ok()?;
    let text = warning.as_str();
    let (mut key_found, mut object_found) = (None, None);
    let mut first = usize::MAX;
    for layer in &layers {
        for (key, _) in layer.keys.iter() {
            // As the contract writes it: long names are cut.
            let name = format!(
                "`{}` of {}",
                shorten_to(key, 70),
                shorten_to(&layer.object.to_string(), 60)
            );
            if let Some(at) = text.find(&name)
                && at < first
            {
                first = at;
                key_found = Some(key.to_owned());
                object_found = Some(layer.object.clone());
            }
        }
    }
    let (key, object) = (key_found?, object_found?);
    let of_pod = Place::of_pod(case);
    Place::all(case)
        .into_iter()
        .find(|place| {
            if object.kind == "Pod" {
                of_pod.is_some_and(|of_pod| {
                    of_pod.template == place.template && of_pod.object == place.object
                })
            } else {
                place.template.is_none()
                    && place.object.kind() == object.kind
                    && place.object.name() == object.name
            }
        })
        .and_then(|place| {
            let (key, value) = place.annotations().find(|(found, _)| *found == key)?;
            Some((place, key, value))
        })
}

/// Whether nobody says anything to cwii.
fn is_silent(case: &Case<'_>) -> Result<bool, Gap> {
    Ok(!case.layers()?.iter().any(|layer| {
        layer
            .keys
            .iter()
            .any(|(key, _)| key.starts_with(annotations::PREFIX))
    }))
}

/// The provider that a key is of.
fn provider_of(key: &str) -> Option<Provider> {
    annotations::find(key)
        .and_then(|(row, provider)| {
            provider.or_else(|| {
                Provider::ALL
                    .into_iter()
                    .find(|provider| row.key.starts_with(&format!("{provider}-")))
            })
        })
        .or_else(|| annotations::find_native(key).map(|(_, provider)| provider))
}
