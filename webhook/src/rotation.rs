//! What to do next for a certificate that all replicas share: a pure function of what a replica just read.
//!
//! A Secret holds the certificate, the MutatingWebhookConfiguration the authorities that the API server trusts
//! (`caBundle`). No replica leads. Each reads the configuration, then the Secret, takes one step, and writes it against
//! the version that it read, so that of two who take the same step one is told to look again. Nothing is remembered
//! between steps but what stands in those two objects: a replica may end at any point and another goes on.
//!
//! One rule keeps every admission: **an authority enters the bundle before any replica serves under it, and leaves it
//! after none does**. A rotation stages the next certificate beside the one in use, publishes both authorities, waits
//! for as long as API servers may take to hear of it (the overlap), promotes the next one, waits as long again for
//! replicas to switch, and drops the old authority. Where the Secret was changed by somebody else, what the bundle holds
//! is the only record of what is served, so it stays for an overlap as well.
//!
//! Each certificate comes with an authority of its own, whose key is thrown away once it has signed: an authority in the
//! bundle can vouch for one certificate and no other.
//!
//! `now` is the API server's clock, from the `Date` of its answer. It is the clock by which certificates are judged,
//! and it is the same for all replicas.

/// Seconds after 1970.
pub type Seconds = i64;

/// An authority's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// DER.
    pub der: Vec<u8>,
    /// When it expires.
    pub expires: Seconds,
}

/// What matters of a certificate that can be served: its key fits, and its authority signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// Who signed it.
    pub authority: Authority,
    /// When it was made.
    pub issued: Seconds,
    /// When it or its authority expires.
    pub expires: Seconds,
    /// Whether it is for every name that is asked for.
    pub covers: bool,
}

/// What a place for a certificate holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Slot {
    /// Nothing.
    #[default]
    Empty,
    /// Something that cannot be served.
    Unusable,
    /// A certificate, perhaps an expired one.
    Holds(Certificate),
}

impl Slot {
    fn live(&self, now: Seconds) -> Option<&Certificate> {
        match self {
            Self::Holds(certificate) if certificate.expires > now => Some(certificate),
            _ => None,
        }
    }
}

/// What the Secret holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shared {
    /// What replicas serve.
    pub current: Slot,
    /// What they will serve.
    pub next: Slot,
    /// Authorities of what some may still serve.
    pub previous: Vec<Authority>,
    /// When the bundle was first seen with the next authority in it.
    pub published: Option<Seconds>,
    /// When authorities were last added to `previous`.
    pub replaced: Option<Seconds>,
    /// Somebody asked for a new certificate.
    pub asked: bool,
}

impl Shared {
    /// The bundle as it has to be: current, next, previous, each once.
    #[must_use]
    pub fn bundle(&self, now: Seconds) -> Vec<Authority> {
        let slots = [&self.current, &self.next];
        let live = slots.into_iter().filter_map(|slot| slot.live(now));
        let mut bundle: Vec<Authority> = Vec::new();
        for authority in live.map(|c| &c.authority).chain(&self.previous) {
            if !bundle.contains(authority) {
                bundle.push(authority.clone());
            }
        }
        bundle
    }

    /// How far a rotation is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match (&self.current, &self.next) {
            (Slot::Holds(_), Slot::Holds(_)) => Phase::BeforeSwitch,
            (Slot::Holds(_), _) if !self.previous.is_empty() => Phase::AfterSwitch,
            (Slot::Holds(_), _) => Phase::Steady,
            _ => Phase::Waiting,
        }
    }
}

/// How far a rotation is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// There is no certificate.
    Waiting,
    /// No rotation is under way.
    Steady,
    /// The next certificate is made, and API servers learn to trust it.
    BeforeSwitch,
    /// It is the current one, and replicas begin to serve it.
    AfterSwitch,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Waiting,
        Self::Steady,
        Self::BeforeSwitch,
        Self::AfterSwitch,
    ];

    /// As metrics spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Steady => "steady",
            Self::BeforeSwitch => "before_switch",
            Self::AfterSwitch => "after_switch",
        }
    }
}

/// What a replica sees when it looks.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The Secret.
    pub shared: &'a Shared,
    /// The `caBundle` of each webhook of the configuration; none where there is no such configuration.
    pub bundles: &'a [Vec<Authority>],
    /// What this replica serves.
    pub serving: Option<&'a Certificate>,
    /// The API server's clock.
    pub now: Seconds,
    /// How long the bundle holds old and new, before the switch and after it; seconds.
    pub overlap: Seconds,
}

/// Why a certificate is replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Two thirds of its life are over.
    Age,
    /// It is not for all names that are asked for.
    Names,
    /// Somebody asked for it.
    Asked,
}

impl Reason {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "two thirds of its lifetime are over",
            Self::Names => "it is not for every name of --tls-self-signed",
            Self::Asked => "the Secret's annotation cwii.dev/rotate asks for it",
        }
    }
}

/// One step. Each but `Rest` writes one object, and then the replica looks again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Make the first certificate, or one in place of one that cannot be served. These authorities stay trusted.
    Fill(Vec<Authority>),
    /// Write what this replica serves into a Secret that has lost it. These authorities stay trusted.
    Restore(Vec<Authority>),
    /// Somebody else put another certificate into the Secret. These authorities stay trusted.
    Keep(Vec<Authority>),
    /// Make the next certificate.
    Stage(Reason),
    /// The next certificate cannot be served: throw it away.
    Discard,
    /// Make this the bundle.
    Publish(Vec<Authority>),
    /// The bundle lost the next authority: what was waited counts no more.
    Unmark,
    /// The bundle holds the next authority: write down when.
    Mark,
    /// Make the next certificate the current one.
    Promote,
    /// Write down when `previous` came to be.
    MarkReplaced,
    /// Forget the previous authorities.
    Drop,
    /// There is nothing to do now.
    Rest,
}

/// What to do next.
#[must_use]
pub fn next(view: View<'_>) -> Step {
    let View {
        shared,
        bundles,
        serving,
        now,
        overlap,
    } = view;
    let serving = serving.filter(|certificate| certificate.expires > now);
    let next = shared.next.live(now);
    let Some(current) = shared.current.live(now) else {
        if let Some(serving) = serving {
            let others = strangers(bundles, std::slice::from_ref(&serving.authority), now);
            return Step::Restore(others);
        }
        return match next {
            // Nothing that works can be lost, so there is nothing to wait for but the bundle.
            Some(next) if trusted(bundles, &next.authority) => Step::Promote,
            Some(_) if !bundles.is_empty() => Step::Publish(shared.bundle(now)),
            Some(_) => Step::Rest,
            None => Step::Fill(strangers(bundles, &[], now)),
        };
    };
    if bundles.is_empty() {
        return Step::Rest;
    }
    let bundle = shared.bundle(now);
    if !trusted(bundles, &current.authority) {
        let mut others = strangers(bundles, &bundle, now);
        others.truncate(MAX_PREVIOUS.saturating_sub(shared.previous.len()));
        if !others.is_empty() {
            return Step::Keep(others);
        }
    }
    match (&shared.next, next) {
        (Slot::Empty, _) => {
            let ages = now >= current.issued + (current.expires - current.issued) / 3 * 2;
            let reasons = [
                (shared.asked, Reason::Asked),
                (!current.covers, Reason::Names),
                (ages, Reason::Age),
            ];
            if let Some((_, reason)) = reasons.into_iter().find(|(holds, _)| *holds) {
                return Step::Stage(reason);
            }
        }
        (_, None) => return Step::Discard,
        (_, Some(_)) => {}
    }
    if bundles.iter().any(|published| *published != bundle) {
        let lost = next.is_some_and(|next| !trusted(bundles, &next.authority));
        return if lost && shared.published.is_some() {
            Step::Unmark
        } else {
            Step::Publish(bundle)
        };
    }
    if next.is_some() {
        match shared.published {
            Some(since) if since > now + overlap => return Step::Mark,
            Some(since) if since + overlap <= now => return Step::Promote,
            Some(_) => {}
            None => return Step::Mark,
        }
    }
    if !shared.previous.is_empty() {
        let serves_it = serving.is_some_and(|s| shared.previous.contains(&s.authority));
        match shared.replaced {
            Some(since) if since > now + overlap => return Step::MarkReplaced,
            Some(since) if since + overlap <= now && !serves_it => return Step::Drop,
            Some(_) => {}
            None => return Step::MarkReplaced,
        }
    }
    Step::Rest
}

/// Whether a replica shall begin to serve the Secret's current certificate in place of what it serves now. `seen`: for
/// how long this replica has seen that certificate's authority in the bundle, without a break.
#[must_use]
pub fn switches(view: View<'_>, seen: Option<Seconds>) -> bool {
    let Some(current) = view.shared.current.live(view.now) else {
        return false;
    };
    let Some(serving) = view.serving.filter(|s| s.expires > view.now) else {
        return true;
    };
    let lost = !trusted(view.bundles, &serving.authority);
    let is_trusted = trusted(view.bundles, &current.authority);
    // Half of it: the authority of what is served now goes a whole overlap after the switch.
    is_trusted && (lost || seen.is_some_and(|seen| seen * 2 >= view.overlap))
}

/// Whether every webhook of the configuration trusts an authority.
#[must_use]
pub fn trusted(bundles: &[Vec<Authority>], authority: &Authority) -> bool {
    !bundles.is_empty() && bundles.iter().all(|bundle| bundle.contains(authority))
}

/// Authorities of the bundles that are not among the known ones and have not expired.
fn strangers(bundles: &[Vec<Authority>], known: &[Authority], now: Seconds) -> Vec<Authority> {
    let mut strangers: Vec<Authority> = Vec::new();
    for authority in bundles.iter().flatten() {
        let counts = authority.expires > now && !known.contains(authority);
        if counts && !strangers.contains(authority) && strangers.len() < MAX_PREVIOUS {
            strangers.push(authority.clone());
        }
    }
    strangers
}

/// A rotation leaves one behind. More come from hands and other tools, and a bundle must not grow by them for ever.
const MAX_PREVIOUS: usize = 4;
